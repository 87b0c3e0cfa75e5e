use std::{
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use tokio::time::Instant;
use tollway_core::{BoxError, Hook};
use tower_service::Service;

use crate::{
    Event, Query, ReadSignals, Refusal, Router, TargetState, future::ResponseFuture, layer::Shared,
    signals::Reading,
};

/// Writes the [`Plan`](tollway_core::Plan) into each request, or refuses it.
///
/// Reads [`Ask`](tollway_core::Ask) and [`Caller`](tollway_core::Caller) from the extensions, where
/// they are there.
#[derive(Debug)]
pub struct RouteService<S, T = (), H = (), R = ()> {
    inner: S,
    router: Router,
    shared: Arc<Shared<T, H, R>>,
}

impl<S, T, H, R> RouteService<S, T, H, R> {
    pub(crate) fn new(inner: S, router: Router, shared: Arc<Shared<T, H, R>>) -> Self {
        Self { inner, router, shared }
    }
}

impl<S: Clone, T, H, R> Clone for RouteService<S, T, H, R> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), router: self.router.clone(), shared: self.shared.clone() }
    }
}

impl<S, T, H, R, B, O> Service<Request<B>> for RouteService<S, T, H, R>
where
    S: Service<Request<B>, Response = Response<O>>,
    S::Error: Into<BoxError>,
    T: TargetState,
    H: Hook<Event>,
    R: ReadSignals<B>,
{
    type Response = Response<O>;
    type Error = BoxError;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let Shared { state, hook, reads } = &*self.shared;
        let reading = Reading(reads, &request);
        let query = Query::of(&request, Instant::now()).with_lazy(&reading);
        if let Err(bad) = query.check() {
            return ResponseFuture::refused(bad);
        }
        let event = match self.router.decide(&query, state) {
            Ok(plan) => Event::Routed(plan),
            Err(Refusal::NoRoute(refusal)) => Event::NoRoute(refusal),
            Err(Refusal::NoneAble(refusal)) => Event::NoneAble(refusal),
        };
        hook.on(&event);
        match event {
            Event::Routed(plan) => {
                request.extensions_mut().insert(plan);
                ResponseFuture::inner(self.inner.call(request))
            }
            Event::NoRoute(refusal) => ResponseFuture::refused(Refusal::from(refusal)),
            Event::NoneAble(refusal) => ResponseFuture::refused(Refusal::from(refusal)),
        }
    }
}
