use std::{
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body::Body;
use tollway_core::{Ask, BoxError, Dialect, Operation, Target, WallClock};
use tower_service::Service;

use super::{
    AttemptBody, AttemptConfig, AttemptFuture,
    future::{Call, reads},
};
use crate::{RequestBody, recognize::with_path_model};

/// Fits one attempt to its [`Target`] and reads the reply as it passes.
///
/// On the way in, the target's model (into the path, where that names it) and chat's
/// `stream_options.include_usage` are spliced into the held body; every other byte stays. The reply
/// is read in the form of the request ([`Ask::dialect`](tollway_core::Ask::dialect)). On the way out, bytes pass unchanged, but for the usage that only
/// this layer asked for, the error event behind a stream that broke, and error bodies that no
/// client could read or none may; the response's extensions say what they mean:
/// [`Failure`](tollway_core::Failure) for an error, [`Metered`](tollway_core::Metered) for what is
/// used, filled while the body passes.
#[derive(Clone)]
pub struct Attempt<S> {
    pub(super) inner: S,
    pub(super) config: AttemptConfig,
    pub(super) clock: Arc<dyn WallClock>,
}

impl<S: std::fmt::Debug> std::fmt::Debug for Attempt<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attempt").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<S, B, R> Service<Request<RequestBody<B>>> for Attempt<S>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>>,
    S::Error: Into<BoxError>,
    R: Body<Data = Bytes> + Unpin,
    R::Error: Into<BoxError>,
{
    type Response = Response<AttemptBody<R>>;
    type Error = BoxError;
    type Future = AttemptFuture<S::Future, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<RequestBody<B>>) -> Self::Future {
        let call = prepare(&mut request, &self.config);
        AttemptFuture::new(self.inner.call(request), call, self.config, self.clock.clone())
    }
}

/// Edits the request in place and says how its reply is to be read.
fn prepare<B>(request: &mut Request<RequestBody<B>>, config: &AttemptConfig) -> Call {
    let ask = request.extensions().get::<Ask>();
    let dialect = ask.map_or(Dialect::OpenAi, |ask| ask.dialect);
    let operation = ask.map_or(Operation::Other, |ask| ask.operation);
    let streams = ask.is_some_and(|ask| ask.stream);
    let wants_usage = ask.is_some_and(|ask| ask.wants_usage);
    let takes_option = matches!(operation, Operation::ChatCompletions | Operation::Completions);
    let ask_for_usage = config.ask_for_usage && takes_option && streams && !wants_usage;
    let asked = ask.and_then(Ask::model);
    let target = request.extensions().get::<Target>().and_then(Target::model);
    let model = target.map(|model| &**model).filter(|model| Some(*model) != asked);
    let uri = model.and_then(|model| with_path_model(request.uri(), model));
    let body = request.body();
    let edits = body.edits();
    // Two names of a model could be read in two ways upstream.
    let model = model.or(asked.filter(|_| edits.other_model));
    let strip_usage = ask_for_usage && edits.can_ask_for_usage() && body.as_bytes().is_some();
    if let Some(head) = body.head() {
        let edited = edits.apply(head, model, strip_usage);
        let old = head.len();
        set_length(request, edited.len(), old);
        request.body_mut().set_head(edited);
    }
    if let Some(uri) = uri {
        *request.uri_mut() = uri;
    }
    if reads(operation) {
        let identity = HeaderValue::from_static("identity");
        request.headers_mut().insert(header::ACCEPT_ENCODING, identity);
    }
    let fail_refusals = config.fail_refusals;
    Call { dialect, operation, strip_usage, streams, fail_refusals }
}

/// A held body's length is known; a streaming one's changes by what was edited in its head.
fn set_length<B>(request: &mut Request<RequestBody<B>>, new: usize, old: usize) {
    let whole = request.body().as_bytes().is_some();
    let headers = request.headers_mut();
    let told = headers.get(header::CONTENT_LENGTH);
    let told = told.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    let length = match told {
        _ if whole => new,
        Some(length) => length.saturating_sub(old).saturating_add(new),
        None => return,
    };
    if told != Some(length) {
        headers.insert(header::CONTENT_LENGTH, decimal(length));
    }
    headers.remove(header::TRANSFER_ENCODING);
}

/// `HeaderValue::from` allocates twice.
fn decimal(mut number: usize) -> HeaderValue {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return HeaderValue::from_bytes(&digits[at..]).expect("digits are visible ASCII");
        }
    }
}
