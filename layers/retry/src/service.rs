use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use tollway_core::{BoxError, Hook};
use tower_service::Service;

use crate::{Event, Policy, Standard, future::ResponseFuture, layer::Shared, run::Run};

/// Made by [`RetryLayer`](crate::RetryLayer).
pub struct Retry<S, P = Standard, H = ()> {
    pub(crate) inner: S,
    pub(crate) shared: Arc<Shared<P, H>>,
}

impl<S: Clone, P, H> Clone for Retry<S, P, H> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), shared: self.shared.clone() }
    }
}

impl<S: fmt::Debug, P, H> fmt::Debug for Retry<S, P, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<S, B, R, P, H> Service<Request<B>> for Retry<S, P, H>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    S::Error: Into<BoxError>,
    P: Policy<B, R>,
    H: Hook<Event>,
{
    type Response = Response<R>;
    type Error = BoxError;
    type Future = ResponseFuture<S, B, R, P, H>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let run = Run::begin(&self.inner, &self.shared, &request);
        run.aim(&mut request);
        // The instance that was polled ready is the one called; `run` keeps a clone for later.
        ResponseFuture::new(self.inner.call(request), run)
    }
}
