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
use tollway_route::{BadHeader, is_own};
use tower_layer::Layer;
use tower_service::Service;

use super::routes::Decider;

pub(super) static DRY_RUN: HeaderName = HeaderName::from_static("x-tollway-dry-run");
const YES: [&str; 5] = ["true", "1", "?1", "yes", "on"];
const NO: [&str; 5] = ["false", "0", "?0", "no", "off"];

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
pub(super) struct Rehearsed(BoxError);

impl fmt::Display for Rehearsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Rehearsed {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.0)
    }
}

/// Service of [`RehearseLayer`].
#[derive(Clone, Debug)]
pub(super) struct Rehearse<S> {
    inner: S,
    decider: Decider,
}

/// Whether only the decision is wanted. What is neither yes nor no is refused, which sends nothing either.
fn is_rehearsal(headers: &HeaderMap) -> Result<bool, BadHeader> {
    let is_in = |words: &[&str], text: &str| words.iter().any(|it| it.eq_ignore_ascii_case(text));
    let said = BadHeader::read(headers, &DRY_RUN, "`true` or `false`", |text| {
        (is_in(&YES, text) || is_in(&NO, text)).then(|| is_in(&YES, text))
    });
    Ok(said?.unwrap_or(false))
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

    fn call(&mut self, request: Request<RequestBody<B>>) -> Self::Future {
        // Most requests say nothing to this proxy.
        if !request.headers().keys().any(is_own) {
            return RehearseFuture::Passed(self.inner.call(request));
        }
        let said = self.decider.check(request.headers());
        let decided = match said.and_then(|()| is_rehearsal(request.headers())) {
            Ok(false) => return RehearseFuture::Passed(self.inner.call(request)),
            Ok(true) => self.decider.rehearse(&request).map(|it| it.json().to_string()),
            Err(bad) => Err(bad.into()),
        };
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
        let said = |value: &str| {
            let value = HeaderValue::from_str(value).unwrap();
            is_rehearsal(&HeaderMap::from_iter([(DRY_RUN.clone(), value)]))
        };
        for (yes, no) in YES.iter().zip(NO) {
            assert_eq!((said(yes), said(no)), (Ok(true), Ok(false)), "{yes}, {no}");
        }
        assert_eq!((said("TRUE"), said("False")), (Ok(true), Ok(false)));
        for neither in ["", "2", "flase", "true false", "dry"] {
            assert_eq!(
                said(neither).map_err(|bad| bad.name().to_owned()),
                Err("x-tollway-dry-run".to_owned()),
                "{neither}"
            );
        }
        assert_eq!(is_rehearsal(&HeaderMap::new()), Ok(false));
    }
}
