use std::{
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use http_body::Body;
use tollway_core::{BoxError, GuardedBody};
use tower_service::Service;

use crate::{
    Reservation, ResponseFuture, Settle,
    limiter::{Entry, Limiter},
};

/// A service that takes from its limits before it calls the inner one.
///
/// Readiness is the inner service's; limits are decided in `call`.
#[derive(Debug)]
pub struct RateLimit<S, T = ()> {
    inner: S,
    limiter: Arc<Limiter>,
    settle: Arc<T>,
}

impl<S, T> RateLimit<S, T> {
    pub(crate) fn new(inner: S, limiter: Arc<Limiter>, settle: Arc<T>) -> Self {
        Self { inner, limiter, settle }
    }
}

impl<S: Clone, T> RateLimit<S, T> {
    /// The instance that was polled ready is the one that is called, later.
    fn ready(&mut self) -> S {
        let clone = self.inner.clone();
        std::mem::replace(&mut self.inner, clone)
    }
}

impl<S: Clone, T> Clone for RateLimit<S, T> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), self.limiter.clone(), self.settle.clone())
    }
}

impl<S, B, R, T> Service<Request<B>> for RateLimit<S, T>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    S::Error: Into<BoxError>,
    R: Body,
    T: Settle,
{
    type Response = Response<GuardedBody<R, Reservation<T>>>;
    type Error = BoxError;
    type Future = ResponseFuture<S, B, T>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        self.limiter.greet(&mut parts);
        match self.limiter.enter(&parts) {
            Entry::Admitted(mut claims) => {
                if let Some(downgraded) = self.limiter.downgraded(&mut claims) {
                    parts.extensions.insert(downgraded);
                }
                let reservation =
                    Reservation::new(&self.limiter, &self.settle, claims, None, &parts);
                let future = self.inner.call(Request::from_parts(parts, body));
                ResponseFuture::running(future, reservation)
            }
            Entry::Refused(error) => ResponseFuture::refused(error),
            Entry::Waiting(place) => {
                let call = (self.ready(), Request::from_parts(parts, body));
                ResponseFuture::waiting(place, call, self.settle.clone())
            }
            Entry::Asking(asking) => {
                let call = (self.ready(), Request::from_parts(parts, body));
                let limiter = self.limiter.clone();
                ResponseFuture::asking(asking, call, limiter, self.settle.clone())
            }
        }
    }
}
