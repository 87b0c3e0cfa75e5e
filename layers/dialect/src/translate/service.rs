use std::{
    sync::Arc,
    task::{Context, Poll},
    time::SystemTime,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Uri, header, uri::PathAndQuery};
use http_body::Body;
use tollway_core::{Ask, BoxError, Dialect, Operation, Target, key_in_query};
use tower_service::Service;

use super::{
    Asked, Fit, Form, TranslateBody, TranslateFuture, Translated, foreign, future::Exchange,
    layer::Shared,
};
use crate::{BadRequest, RequestBody};

const VERSION: HeaderName = HeaderName::from_static("anthropic-version");
const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const X_GOOG_API_KEY: HeaderName = HeaderName::from_static("x-goog-api-key");
/// What means something in the client's form alone.
static FORMAL: [HeaderName; 2] = [HeaderName::from_static("anthropic-beta"), VERSION];
/// What of a client's account at its own vendor is no other vendor's concern.
static ACCOUNT: [HeaderName; 4] = [
    HeaderName::from_static("openai-organization"),
    HeaderName::from_static("openai-project"),
    HeaderName::from_static("openai-beta"),
    HeaderName::from_static("x-goog-user-project"),
];

/// Speaks each [`Target`]'s form, whatever form the client speaks.
///
/// Where both speak the same, or the call has no counterpart elsewhere, the request passes as it
/// is; but reasoning of another provider is taken out of a conversation that moved
/// here, for this provider would refuse it, and told like all that is dropped. Else the request is written anew in the target's form,
/// and its [`Ask`] with it, so that what is inside sees an exchange in that form alone; and the
/// reply, whole, streamed or an error, is written in the client's.
#[derive(Clone)]
pub struct Translate<S> {
    pub(super) inner: S,
    pub(super) shared: Arc<Shared>,
}

impl<S: std::fmt::Debug> std::fmt::Debug for Translate<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Translate").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<S, B, R> Service<Request<RequestBody<B>>> for Translate<S>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>>,
    S::Error: Into<BoxError>,
    R: Body<Data = Bytes> + Unpin,
    R::Error: Into<BoxError>,
{
    type Response = Response<TranslateBody<R>>;
    type Error = BoxError;
    type Future = TranslateFuture<S::Future, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<RequestBody<B>>) -> Self::Future {
        let (Some(ask), Some(target)) =
            (request.extensions().get::<Ask>(), request.extensions().get::<Target>())
        else {
            return TranslateFuture::passing(self.inner.call(request), None);
        };
        let Some(form) = form(ask) else {
            return TranslateFuture::passing(self.inner.call(request), None);
        };
        let fit = self.shared.fits.fit(target, form).filter(|fit| fit.form != form);
        let Some(fit) = fit else {
            let own = request.body().as_bytes();
            let own = own.map(|body| foreign::strip(body, form, self.shared.strictness));
            let dropped = match own.transpose() {
                Err(refused) => return TranslateFuture::refused(refused),
                Ok(own) => own.flatten().and_then(|Translated { body, dropped }| {
                    replace_body(&mut request, body);
                    dropped
                }),
            };
            return TranslateFuture::passing(self.inner.call(request), dropped);
        };
        if ask.operation == Operation::CountTokens {
            return TranslateFuture::counted(form, ask.input_tokens);
        }
        match self.translate(&mut request, form, &fit) {
            Ok(exchange) => TranslateFuture::translating(self.inner.call(request), exchange),
            Err(refused) => TranslateFuture::refused(refused),
        }
    }
}

impl<S> Translate<S> {
    fn translate<B>(
        &self,
        request: &mut Request<RequestBody<B>>,
        form: Form,
        fit: &Fit,
    ) -> Result<Exchange, BadRequest> {
        let extensions = request.extensions();
        let ask = extensions.get::<Ask>().cloned().unwrap_or_default();
        let target = extensions.get::<Target>().and_then(Target::model).cloned();
        let body = request.body().as_bytes().cloned().unwrap_or_default();
        let named = ask.model.clone().unwrap_or_else(|| "".into());
        let model = target.unwrap_or_else(|| named.clone());
        // Encoded or not, no server may read it as a way out of its place.
        if fit.form == Form::Generate && model.split(['/', '\\']).any(|part| part == "..") {
            return Err(crate::openai::model::bad_model("can't stand in a path"));
        }
        let since = self.shared.clock.now().duration_since(SystemTime::UNIX_EPOCH);
        let mut asked = Asked::new(form, named, body);
        asked.stream = ask.stream;
        asked.wants_usage = ask.wants_usage;
        asked.sse = request.uri().query().is_some_and(|query| query.contains("alt=sse"));
        asked.nonce = self.shared.nonce();
        asked.now = since.unwrap_or_default().as_secs();
        let Translated { body, dropped } =
            super::request(&asked, &model, fit, self.shared.strictness)?;
        replace_body(request, body);
        let in_query = request.uri().query().and_then(credential_in);
        let path = PathAndQuery::try_from(fit.form.path(&model, ask.stream));
        let mut uri = request.uri().clone().into_parts();
        uri.path_and_query = path.ok();
        *request.uri_mut() = Uri::from_parts(uri)
            .map_err(|_| crate::openai::model::bad_model("can't stand in a path"))?;
        let headers = request.headers_mut();
        carry_credential(headers, in_query, fit.form.dialect());
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        lost(form, fit.form).for_each(|name| drop(headers.remove(name)));
        if fit.form == Form::Messages {
            // The version that takes what older models take; newer ones take what is left of it.
            headers.insert(VERSION, HeaderValue::from_static("2023-06-01"));
        }
        request.extensions_mut().insert(fit.form.ask(&ask));
        let max_reply = self.shared.max_reply;
        Ok(Exchange { asked, from: fit.form, dropped, max_reply })
    }
}

/// Headers that are left out where a client's form is translated to another one.
fn lost(from: Form, to: Form) -> impl Iterator<Item = &'static HeaderName> {
    let other = from.dialect() != to.dialect();
    FORMAL.iter().chain(ACCOUNT.iter().filter(move |_| other))
}

/// Whether a header of a client that speaks `from` goes along to a target that is called in `to`,
/// for whoever wants to know what the target makes of it.
///
/// ```
/// use http::HeaderName;
/// use tollway_dialect::translate::{Form, goes_along};
///
/// let beta = HeaderName::from_static("anthropic-beta");
/// assert!(goes_along(&beta, Form::Messages, Form::Messages));
/// assert!(!goes_along(&beta, Form::Chat, Form::Messages));
/// assert!(goes_along(&HeaderName::from_static("x-beta"), Form::Chat, Form::Messages));
/// ```
pub fn goes_along(header: &HeaderName, from: Form, to: Form) -> bool {
    from == to || lost(from, to).all(|name| name != header)
}

/// Gemini's clients may send their key as `?key=`.
fn credential_in(query: &str) -> Option<HeaderValue> {
    let key = query.split('&').find_map(key_in_query)?;
    HeaderValue::from_str(&key).ok()
}

/// Moves the client's credential to where the target's API wants it, for a proxy that has none of
/// its own; one that has replaces it.
fn carry_credential(headers: &mut HeaderMap, in_query: Option<HeaderValue>, to: Dialect) {
    let bearer = headers.remove(header::AUTHORIZATION);
    let named = headers.remove(X_API_KEY).or(headers.remove(X_GOOG_API_KEY)).or(in_query);
    let named = named.or_else(|| {
        let token = bearer.as_ref()?.as_bytes().strip_prefix(b"Bearer ")?;
        HeaderValue::from_bytes(token).ok()
    });
    let Some(key) = named else { return };
    let (name, mut value) = match to {
        Dialect::Anthropic => (X_API_KEY, key),
        Dialect::Gemini => (X_GOOG_API_KEY, key),
        _ => {
            let token = [b"Bearer ", key.as_bytes()].concat();
            let Ok(bearer) = HeaderValue::from_bytes(&token) else { return };
            (header::AUTHORIZATION, bearer)
        }
    };
    value.set_sensitive(true);
    headers.insert(name, value);
}

/// In which form the client asked; `None` for calls that no other form has.
fn form(ask: &Ask) -> Option<Form> {
    match (ask.operation, ask.dialect) {
        (Operation::CountTokens, Dialect::Anthropic) => Some(Form::Messages),
        (Operation::CountTokens, Dialect::Gemini) => Some(Form::Generate),
        (operation, _) => Form::of(operation),
    }
}

fn replace_body<B>(request: &mut Request<RequestBody<B>>, body: Bytes) {
    let length = HeaderValue::from(body.len());
    request.headers_mut().insert(header::CONTENT_LENGTH, length);
    request.headers_mut().remove(header::TRANSFER_ENCODING);
    *request.body_mut() = RequestBody::buffered(body);
}
