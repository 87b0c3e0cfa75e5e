//! `x-tollway-dry-run`: where a request would go, and why, without sending it.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};
use http_body_util::{Either, Full};
use pin_project::pin_project;
use tollway_core::BoxError;
use tollway_dialect::RequestBody;
use tollway_route::Refusal;
use tower_layer::Layer;
use tower_service::Service;

use super::routes::Decider;

const DRY_RUN: HeaderName = HeaderName::from_static("x-tollway-dry-run");
/// What says no. Anything else says yes: who writes the header doesn't mean to pay.
const NO: [&str; 3] = ["false", "0", "?0"];

/// Answers rehearsals with the decision as JSON.
#[derive(Clone, Debug)]
pub(super) struct RehearseLayer(pub(super) Decider);

impl<S> Layer<S> for RehearseLayer {
    type Service = Rehearse<S>;

    fn layer(&self, inner: S) -> Rehearse<S> {
        Rehearse { inner, decider: self.0.clone() }
    }
}

/// A refusal that was only asked for.
#[derive(Debug)]
pub(super) struct Rehearsed(Refusal);

impl fmt::Display for Rehearsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Rehearsed {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

/// Service of [`RehearseLayer`].
#[derive(Clone, Debug)]
pub(super) struct Rehearse<S> {
    inner: S,
    decider: Decider,
}

/// Whether only the decision is wanted. The header concerns nobody else.
fn is_rehearsal(headers: &mut HeaderMap) -> bool {
    let asked = headers.remove(DRY_RUN);
    asked.is_some_and(|value| {
        !NO.iter().any(|no| value.as_bytes().eq_ignore_ascii_case(no.as_bytes()))
    })
}

impl<S, B, R> Service<Request<RequestBody<B>>> for Rehearse<S>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>, Error = BoxError>,
{
    type Response = Response<Either<R, Full<Bytes>>>;
    type Error = BoxError;
    type Future = RehearseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<RequestBody<B>>) -> Self::Future {
        if !is_rehearsal(request.headers_mut()) {
            return RehearseFuture::Passed(self.inner.call(request));
        }
        let decided = self.decider.rehearse(&request).map(|it| it.json().to_string());
        RehearseFuture::Answered(Some(decided.map_err(|refusal| Rehearsed(refusal).into())))
    }
}

/// Future of [`Rehearse`].
#[pin_project(project = RehearseProj)]
#[derive(Debug)]
pub(super) enum RehearseFuture<F> {
    Passed(#[pin] F),
    Answered(Option<Result<String, BoxError>>),
}

impl<F, R> Future for RehearseFuture<F>
where
    F: Future<Output = Result<Response<R>, BoxError>>,
{
    type Output = Result<Response<Either<R, Full<Bytes>>>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            RehearseProj::Passed(future) => future.poll(cx).map_ok(|reply| reply.map(Either::Left)),
            RehearseProj::Answered(decided) => {
                let text = decided.take().expect("polled after it was ready")?;
                let mut reply = Response::new(Either::Right(Full::from(text)));
                let headers = reply.headers_mut();
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
                Poll::Ready(Ok(reply))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_no_is_sent() {
        for (value, dry) in
            [("true", true), ("1", true), ("", true), ("false", false), ("?0", false)]
        {
            let mut headers = HeaderMap::new();
            headers.insert(DRY_RUN, HeaderValue::from_str(value).unwrap());
            assert_eq!(is_rehearsal(&mut headers), dry, "{value:?}");
            assert!(headers.is_empty(), "it goes no further");
        }
        assert!(!is_rehearsal(&mut HeaderMap::new()));
    }
}
