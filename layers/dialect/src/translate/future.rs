use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header, response::Parts};
use http_body::Body;
use pin_project::pin_project;
use tollway_core::{BoxError, Dialect, ErrorClass, Failure, Metered};

use super::{Asked, Form, TranslateBody, body::Collect, losses::UNSUPPORTED, stream::Stream};
use crate::{
    BadRequest, ErrorReply,
    headers::{forget_body, is_plain},
};

/// What of the request has no counterpart in the target's form, in the client's words.
const DROPPED: HeaderName = HeaderName::from_static("x-tollway-dropped");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
/// What of the reply is Tollway's own estimate.
const ESTIMATE: HeaderName = HeaderName::from_static("x-tollway-estimate");

/// Response future of [`Translate`](super::Translate).
///
/// Dropped, it drops the inner call, or the reply that is being read.
#[pin_project]
pub struct TranslateFuture<F, R> {
    #[pin]
    state: State<F, R>,
}

#[pin_project(project = StateProj)]
enum State<F, R> {
    Passing(#[pin] F, Option<HeaderValue>),
    Translating(#[pin] F, Option<Box<Exchange>>),
    Reading(Option<Box<Reading<R>>>),
    Answered(Option<Response<TranslateBody<R>>>),
    Refused(Option<BadRequest>),
}

/// One translated call.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) asked: Asked,
    /// The form of the provider's reply.
    pub(super) from: Form,
    pub(super) dropped: Option<HeaderValue>,
    pub(super) max_reply: usize,
}

/// A reply that is read whole.
struct Reading<R> {
    parts: Parts,
    body: Collect<R>,
    exchange: Exchange,
}

impl<F, R> TranslateFuture<F, R> {
    /// `dropped`: what this provider would have refused.
    pub(super) fn passing(future: F, dropped: Option<HeaderValue>) -> Self {
        Self { state: State::Passing(future, dropped) }
    }

    pub(super) fn translating(future: F, exchange: Exchange) -> Self {
        Self { state: State::Translating(future, Some(Box::new(exchange))) }
    }

    /// Nobody has been asked, so the target is not to blame. One that speaks the client's form may
    /// take what this one has no place for.
    pub(super) fn refused(refused: BadRequest) -> Self {
        let class = match refused.code() {
            Some(UNSUPPORTED) => ErrorClass::NotFound,
            _ => ErrorClass::Invalid,
        };
        let failure = Failure::new(class, refused.message());
        Self { state: State::Refused(Some(refused.with_source(failure.into()))) }
    }

    /// The answer to a question for a count, where the target can't be asked.
    pub(super) fn counted(form: Form, tokens: u64) -> Self {
        let key = if form == Form::Generate { "totalTokens" } else { "input_tokens" };
        let body = Bytes::from(format!("{{\"{key}\":{tokens}}}"));
        let mut response = Response::new(TranslateBody::whole(body.clone()));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CONTENT_LENGTH, body.len().into());
        headers.insert(ESTIMATE, HeaderValue::from_static("input_tokens"));
        Self { state: State::Answered(Some(response)) }
    }
}

impl<F, R> std::fmt::Debug for TranslateFuture<F, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TranslateFuture").finish_non_exhaustive()
    }
}

impl<F, R, E> Future for TranslateFuture<F, R>
where
    F: Future<Output = Result<Response<R>, E>>,
    E: Into<BoxError>,
    R: Body<Data = Bytes> + Unpin,
    R::Error: Into<BoxError>,
{
    type Output = Result<Response<TranslateBody<R>>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let (response, exchange) = match this.state.as_mut().project() {
                StateProj::Passing(future, dropped) => {
                    let mut response = ready!(future.poll(cx)).map_err(Into::into)?;
                    if let Some(dropped) = dropped.take() {
                        response.headers_mut().insert(DROPPED, dropped);
                    }
                    return Poll::Ready(Ok(response.map(TranslateBody::passing)));
                }
                StateProj::Translating(future, exchange) => {
                    let response = ready!(future.poll(cx)).map_err(Into::into)?;
                    (response, exchange.take().expect("polled after it was ready"))
                }
                StateProj::Reading(slot) => {
                    let reading = slot.as_mut().expect("polled after it was ready");
                    let read = ready!(reading.body.poll(cx));
                    let reading = slot.take().expect("it was there a line ago");
                    return Poll::Ready(Ok(reading.finish(read)));
                }
                StateProj::Answered(slot) => {
                    return Poll::Ready(Ok(slot.take().expect("polled after it was ready")));
                }
                StateProj::Refused(slot) => {
                    let refused = slot.take().expect("polled after it was ready");
                    return Poll::Ready(Err(refused.into()));
                }
            };
            let (parts, body) = response.into_parts();
            if parts.status.is_success() && exchange.asked.stream && is_stream(&parts) {
                return Poll::Ready(Ok(exchange.stream(parts, body)));
            }
            let body = Collect::new(body, exchange.max_reply);
            let reading = Reading { parts, body, exchange: *exchange };
            this.state.set(State::Reading(Some(Box::new(reading))));
        }
    }
}

fn request_id(headers: &HeaderMap) -> Option<&HeaderValue> {
    headers.get(X_REQUEST_ID).or_else(|| headers.get(REQUEST_ID))
}

/// Gemini says in the body when to come back; the others' SDKs look for a header.
fn tell_wait(headers: &mut HeaderMap, failure: &Failure) {
    if let Some(wait) = failure.retry_after() {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        headers.entry(header::RETRY_AFTER).or_insert_with(|| seconds.into());
    }
}

fn is_stream(parts: &Parts) -> bool {
    let kind = parts.headers.get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
        && is_plain(&parts.headers)
}

impl Exchange {
    fn stream<R>(self, parts: Parts, body: R) -> Response<TranslateBody<R>> {
        let stream = Stream::new(self.from, &self.asked).with_max_event(self.max_reply);
        self.respond_stream(parts, TranslateBody::streaming(body, stream))
    }

    fn respond_stream<R>(
        self,
        mut parts: Parts,
        body: TranslateBody<R>,
    ) -> Response<TranslateBody<R>> {
        let kind = if self.asked.form == Form::Generate && !self.asked.sse {
            "application/json"
        } else {
            "text/event-stream; charset=utf-8"
        };
        parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        parts.headers.remove(header::CONTENT_LENGTH);
        forget_body(&mut parts.headers);
        self.respond(parts, body)
    }

    fn respond<R>(self, mut parts: Parts, body: TranslateBody<R>) -> Response<TranslateBody<R>> {
        // Each family's SDK looks for the id under a name of its own.
        if let Some(id) = request_id(&parts.headers).cloned() {
            match self.asked.form.dialect() {
                Dialect::OpenAi => parts.headers.insert(X_REQUEST_ID, id),
                Dialect::Anthropic => parts.headers.insert(REQUEST_ID, id),
                _ => None,
            };
        }
        if let Some(dropped) = self.dropped {
            parts.headers.insert(DROPPED, dropped);
        }
        Response::from_parts(parts, body)
    }

    fn respond_whole<R>(self, mut parts: Parts, body: Bytes) -> Response<TranslateBody<R>> {
        let headers = &mut parts.headers;
        forget_body(headers);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CONTENT_LENGTH, body.len().into());
        headers.remove(header::TRANSFER_ENCODING);
        self.respond(parts, TranslateBody::whole(body))
    }

    /// A reply in the way that the client asked for, though the provider may have chosen the other.
    fn translate(&self, parts: &Parts, body: &[u8]) -> Result<Bytes, Failure> {
        let Self { asked, from, .. } = self;
        match asked.stream {
            true => Ok(super::reply_as_stream(body, *from, asked)?),
            false if is_stream(parts) => super::stream_as_reply(body, *from, asked),
            false => Ok(super::reply(body, *from, asked)?),
        }
    }

    /// The provider's error, told by its class and words in the client's form.
    fn failed<R>(self, mut parts: Parts, failure: Failure) -> Response<TranslateBody<R>> {
        let dialect = self.asked.form.dialect();
        let id = request_id(&parts.headers).cloned();
        let mut error = ErrorReply::of(&failure);
        // Gemini says of a bad key that the request is bad.
        let of_the_key =
            failure.class() == ErrorClass::Auth && parts.status == StatusCode::BAD_REQUEST;
        if parts.status.is_client_error() && !of_the_key {
            error.status = parts.status;
        }
        error.request_id = id.as_ref().and_then(|id| id.to_str().ok());
        let (status, body) = (error.status_in(dialect), error.body_in(dialect));
        parts.status = status;
        tell_wait(&mut parts.headers, &failure);
        parts.extensions.insert(failure);
        self.respond_whole(parts, body)
    }
}

impl<R> Reading<R> {
    fn finish(self, read: Result<Option<Bytes>, BoxError>) -> Response<TranslateBody<R>> {
        let Self { mut parts, exchange, .. } = self;
        let told = parts.extensions.get::<Failure>().cloned();
        // An answer that was withheld is an answer, whatever it is held to be.
        let answered = parts.status.is_success()
            && told.as_ref().is_none_or(|told| told.class() == ErrorClass::ContentFilter);
        if let Some(failure) = told.clone().filter(|_| !answered) {
            return exchange.failed(parts, failure);
        }
        let translated = match read {
            Ok(Some(body)) => exchange.translate(&parts, &body),
            Ok(None) => Err(Failure::new(ErrorClass::Server, TOO_LARGE)),
            Err(error) => Err(Failure::new(ErrorClass::Network, BROKE).with_source(error)),
        };
        match translated {
            Ok(body) if exchange.asked.stream => {
                exchange.respond_stream(parts, TranslateBody::whole(body))
            }
            Ok(body) => exchange.respond_whole(parts, body),
            Err(failure) => {
                parts.extensions.remove::<Metered>();
                exchange.failed(parts, told.unwrap_or(failure))
            }
        }
    }
}

const TOO_LARGE: &str = "The provider's reply is too large to be translated.";
const BROKE: &str = "The connection to the provider broke in the middle of its reply.";
