use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use http_body::Body;
use tollway_core::{GuardedBody, Hook};
use tower_service::Service;

use crate::{CostLayer, Pricing, Record, entry::Entry, future::ResponseFuture};

/// The service that [`CostLayer`] makes.
pub struct Cost<S, P, H = ()> {
    inner: S,
    /// One count to take for each request, not one for each part of the layer.
    layer: Arc<CostLayer<P, H>>,
}

impl<S, P, H> Cost<S, P, H> {
    pub(crate) fn new(inner: S, layer: CostLayer<P, H>) -> Self {
        Self { inner, layer: Arc::new(layer) }
    }
}

impl<S: Clone, P, H> Clone for Cost<S, P, H> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), layer: self.layer.clone() }
    }
}

impl<S: fmt::Debug, P, H> fmt::Debug for Cost<S, P, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cost").field("inner", &self.inner).field("layer", &self.layer).finish()
    }
}

impl<S, P, H, B, R> Service<Request<B>> for Cost<S, P, H>
where
    S: Service<Request<B>, Response = Response<R>>,
    P: Pricing,
    H: Hook<Record>,
    R: Body,
{
    type Response = Response<GuardedBody<R, Box<Entry<P, H>>>>;
    /// The inner service's: this layer makes none, so it fits where no error is allowed (axum).
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, P, H>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let entry = Entry::open(self.layer.clone(), request.extensions());
        ResponseFuture::new(self.inner.call(request), entry)
    }
}
