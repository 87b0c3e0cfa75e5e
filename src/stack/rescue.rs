//! The one place where an error becomes an answer, in the caller's dialect.

use std::{
    any::Any,
    convert::Infallible,
    error::Error,
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Request, Response, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use http_body_util::{Either, Full};
use pin_project::pin_project;
use tollway_circuit_breaker::{CircuitOpen, Reason};
use tollway_core::{BoxError, Dialect, ErrorClass, Failure, find_error};
use tollway_dialect::{BadRequest, ErrorReply, openai, recognize};
use tollway_identify::Unauthorized;
use tollway_pace::Paced;
use tollway_rate_limit::{LimitExceeded, Unit};
use tollway_retry::Attempts;
use tollway_route::{BadHeader, NoRoute, NoneAble};
use tower_layer::Layer;
use tower_service::Service;

use super::{models::ModelForbidden, providers::in_words, rehearse::Rehearsed};
use crate::upstream::drop_stale_phrase;

/// A reply that came, or the answer made of an error.
type Rescued<R> = Response<Either<R, Full<Bytes>>>;

/// How often and where a request was tried, where it was more than once.
const ATTEMPTS: HeaderName = HeaderName::from_static("x-tollway-attempts");
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

#[derive(Clone, Copy, Debug)]
pub(super) struct RescueLayer;

impl<S> Layer<S> for RescueLayer {
    type Service = Rescue<S>;

    fn layer(&self, inner: S) -> Rescue<S> {
        Rescue { inner }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Rescue<S> {
    inner: S,
}

impl<S, B, R> Service<Request<B>> for Rescue<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: Into<BoxError>,
{
    type Response = Rescued<R>;
    type Error = Infallible;
    type Future = RescueFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // The stack's services are always ready; a limit refuses in `call`, where it can say why.
        let _ = ready!(self.inner.poll_ready(cx));
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (dialect, _) = recognize(request.method(), request.uri().path(), request.headers());
        RescueFuture { inner: self.inner.call(request), dialect }
    }
}

#[pin_project]
#[derive(Debug)]
pub(super) struct RescueFuture<F> {
    #[pin]
    inner: F,
    /// The client's.
    dialect: Dialect,
}

impl<F, R, E> Future for RescueFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Rescued<R>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut reply = match ready!(this.inner.poll(cx)) {
            Ok(reply) => reply.map(Either::Left),
            Err(error) => answer(&*error.into(), *this.dialect).map(Either::Right),
        };
        drop_stale_phrase(&mut reply);
        if let Some(attempts) = reply.extensions().get::<Attempts>() {
            let value = attempts.header_value();
            reply.headers_mut().insert(ATTEMPTS, value);
        }
        Poll::Ready(Ok(reply))
    }
}

/// An error before it is written for a client of one dialect.
struct Answer {
    status: StatusCode,
    message: String,
    kind: &'static str,
    param: Option<String>,
    code: Option<&'static str>,
    retry_after: Option<Duration>,
    /// Tells official SDKs not to try again by themselves.
    final_: bool,
}

impl Answer {
    fn new(
        status: StatusCode,
        kind: &'static str,
        code: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self {
            status,
            message: message.into(),
            kind,
            param: None,
            code: Some(code),
            retry_after: None,
            final_: false,
        }
    }

    fn of(failure: &Failure) -> Self {
        let shape = openai::error::shape(failure.class());
        Self {
            status: shape.status,
            message: failure.message().to_owned(),
            kind: shape.kind,
            param: None,
            code: shape.code,
            retry_after: failure.retry_after(),
            final_: failure.class() == ErrorClass::Quota,
        }
    }

    fn into_response(self, dialect: Dialect) -> Response<Full<Bytes>> {
        let mut error = ErrorReply::new(self.status, &self.message);
        error.kind = self.kind;
        (error.param, error.code) = (self.param.as_deref(), self.code);
        error.retry_after = self.retry_after;
        let mut reply = Response::new(Full::new(error.body_in(dialect)));
        *reply.status_mut() = error.status_in(dialect);
        let headers = reply.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(wait) = self.retry_after {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if self.final_ {
            headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
        }
        reply
    }
}

fn answer(error: &(dyn Error + 'static), dialect: Dialect) -> Response<Full<Bytes>> {
    let mut reply = to_answer(error).into_response(dialect);
    if let Some(full) = find_error::<LimitExceeded>(error) {
        full.write_headers(reply.headers_mut());
    }
    let decided = find_error::<Rehearsed>(error).is_none();
    if let Some(nobody) = find_error::<NoneAble>(error).filter(|_| decided) {
        reply.extensions_mut().insert(nobody.plan().clone());
    }
    if let Some(tried) = find_error::<tollway_retry::RetryError>(error) {
        reply.extensions_mut().insert(tried.attempts().clone());
    }
    reply
}

fn to_answer(error: &(dyn Error + 'static)) -> Answer {
    if let Some(refused) = find_error::<Unauthorized>(error) {
        let (kind, code) = ("invalid_request_error", "invalid_api_key");
        return Answer::new(StatusCode::UNAUTHORIZED, kind, code, refused.to_string());
    }
    if let Some(forbidden) = find_error::<ModelForbidden>(error) {
        let (kind, code) = ("invalid_request_error", "model_not_allowed");
        return Answer {
            param: Some("model".to_owned()),
            ..Answer::new(StatusCode::FORBIDDEN, kind, code, forbidden.to_string())
        };
    }
    if let Some(bad) = find_error::<BadRequest>(error) {
        // A body that came too slowly is not a body that broke off.
        let late = |error: &&io::Error| error.kind() == io::ErrorKind::TimedOut;
        if let Some(late) = find_error::<io::Error>(bad).filter(late) {
            let (kind, code) = ("invalid_request_error", "request_timeout");
            return Answer::new(StatusCode::REQUEST_TIMEOUT, kind, code, late.to_string());
        }
        return Answer {
            status: bad.status(),
            message: bad.message().to_owned(),
            kind: "invalid_request_error",
            param: bad.param().map(str::to_owned),
            code: bad.code(),
            retry_after: None,
            final_: false,
        };
    }
    if let Some(bad) = find_error::<BadHeader>(error) {
        let (kind, code) = ("invalid_request_error", "invalid_header");
        return Answer {
            param: Some(bad.name().to_owned()),
            ..Answer::new(StatusCode::BAD_REQUEST, kind, code, bad.to_string())
        };
    }
    if let Some(nowhere) = find_error::<NoRoute>(error) {
        let (kind, code) = ("invalid_request_error", "model_not_found");
        return Answer {
            param: Some("model".to_owned()),
            ..Answer::new(StatusCode::NOT_FOUND, kind, code, nowhere.to_string())
        };
    }
    if let Some(nobody) = find_error::<NoneAble>(error) {
        let code = match nobody.is_too_long() {
            true => "context_length_exceeded",
            false => "no_capable_target",
        };
        let (status, kind) = (StatusCode::BAD_REQUEST, "invalid_request_error");
        return Answer::new(status, kind, code, nobody.to_string());
    }
    if let Some(full) = find_error::<LimitExceeded>(error) {
        let (kind, code) = match full.unit() {
            Unit::Requests => ("requests", "rate_limit_exceeded"),
            // A spent budget is not a matter of seconds: clients treat it as they do an empty account.
            Unit::NanoUsd => ("insufficient_quota", "insufficient_quota"),
            _ => ("tokens", "rate_limit_exceeded"),
        };
        return Answer {
            final_: full.never_fits() || full.unit() == Unit::NanoUsd,
            ..Answer::new(StatusCode::TOO_MANY_REQUESTS, kind, code, full.to_string())
        };
    }
    if let Some(paced) = find_error::<Paced>(error) {
        let tokens = paced.unit().is_some_and(|unit| unit != tollway_pace::Unit::Requests);
        let (kind, code) = (if tokens { "tokens" } else { "requests" }, "rate_limit_exceeded");
        return Answer {
            retry_after: Some(paced.retry_after()),
            ..Answer::new(StatusCode::TOO_MANY_REQUESTS, kind, code, paced.to_string())
        };
    }
    if let Some(open) = find_error::<CircuitOpen>(error) {
        if let Reason::Benched(class) = open.reason() {
            return keyless(class);
        }
        let failure = Failure::new(ErrorClass::Overloaded, open.to_string());
        return Answer::of(&failure.with_retry_after(open.retry_after()));
    }
    if let Some(failure) = find_error::<Failure>(error) {
        return Answer::of(failure);
    }
    if find_error::<tower::timeout::error::Elapsed>(error).is_some() {
        let message = "No reply within the time this proxy gives a request. Stream the reply, or \
                       ask the operator for a longer `server.request_deadline`.";
        let (status, code) = (StatusCode::GATEWAY_TIMEOUT, "deadline_exceeded");
        return Answer::new(status, "server_error", code, message);
    }
    tracing::error!(%error, "an error nobody knows");
    internal()
}

/// Every key is set aside. That is no overload: it passes when a person has acted, so no wait is
/// named, which an SDK might sit out.
fn keyless(class: ErrorClass) -> Answer {
    let why = in_words(class);
    let message = format!(
        "Every key by which this request could go is set aside, the last one because it is {why}. \
         The operator has to see to it: trying again soon is of no use."
    );
    let status = StatusCode::SERVICE_UNAVAILABLE;
    Answer { final_: true, ..Answer::new(status, "server_error", "provider_unavailable", message) }
}

fn internal() -> Answer {
    let message = "The proxy failed on this request. Its log says more under the id in `x-tollway-request-id`.";
    Answer::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", "internal_error", message)
}

/// The answer to a request on which the proxy panicked.
pub(super) fn panicked(panic: Box<dyn Any + Send>) -> Response<Full<Bytes>> {
    let said = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    tracing::error!(panic = said, "a request panicked");
    // Whose request it was, nobody knows any more.
    internal().into_response(Dialect::OpenAi)
}
