use std::{
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use tollway_core::{BoxError, Hook};
use tower_service::Service;

use crate::{Event, Facts, Router, TargetState, future::ResponseFuture};

/// Writes the [`Plan`](tollway_core::Plan) into each request, or refuses it.
///
/// Reads [`Ask`](tollway_core::Ask) and [`Caller`](tollway_core::Caller) from the extensions, where
/// they are there.
#[derive(Debug)]
pub struct RouteService<S, T = (), H = ()> {
    inner: S,
    router: Router,
    shared: Arc<(T, H)>,
}

impl<S, T, H> RouteService<S, T, H> {
    pub(crate) fn new(inner: S, router: Router, shared: Arc<(T, H)>) -> Self {
        Self { inner, router, shared }
    }
}

impl<S: Clone, T, H> Clone for RouteService<S, T, H> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), router: self.router.clone(), shared: self.shared.clone() }
    }
}

impl<S, T, H, B, R> Service<Request<B>> for RouteService<S, T, H>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: Into<BoxError>,
    T: TargetState,
    H: Hook<Event>,
{
    type Response = Response<R>;
    type Error = BoxError;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let (state, hook) = &*self.shared;
        let event = match self.router.decide(&Facts::of(&request), state) {
            Ok(plan) => Event::Routed(plan),
            Err(refusal) => Event::NoRoute(refusal),
        };
        hook.on(&event);
        match event {
            Event::Routed(plan) => {
                request.extensions_mut().insert(plan);
                ResponseFuture::inner(self.inner.call(request))
            }
            Event::NoRoute(refusal) => ResponseFuture::refused(refusal),
        }
    }
}
