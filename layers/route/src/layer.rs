use std::sync::Arc;

use tower_layer::Layer;

use crate::{RouteService, Router};

/// Puts a [`RouteService`] in front of a service. All services it makes share the router's state.
#[derive(Debug)]
pub struct RouteLayer<T = (), H = (), R = ()> {
    router: Router,
    shared: Arc<Shared<T, H, R>>,
}

/// What a layer's services share besides the router.
#[derive(Debug)]
pub(crate) struct Shared<T, H, R> {
    pub(crate) state: T,
    pub(crate) hook: H,
    pub(crate) reads: R,
}

impl RouteLayer {
    /// A layer that takes every target for ready and tells nobody.
    pub fn new(router: Router) -> Self {
        Self::with(router, (), ())
    }
}

impl<T, H> RouteLayer<T, H> {
    /// A layer that passes over what `state` (a [`TargetState`](crate::TargetState)) reports out,
    /// and tells `hook` each [`Event`](crate::Event).
    pub fn with(router: Router, state: T, hook: H) -> Self {
        Self::with_signals(router, state, hook, ())
    }
}

impl<T, H, R> RouteLayer<T, H, R> {
    /// The same, where `reads` (a [`ReadSignals`](crate::ReadSignals)) finds out what routes ask
    /// about prompts, hours and regions.
    pub fn with_signals(router: Router, state: T, hook: H, reads: R) -> Self {
        Self { router, shared: Arc::new(Shared { state, hook, reads }) }
    }

    /// The router: the routes for reading, and decisions without a request.
    pub fn router(&self) -> &Router {
        &self.router
    }
}

impl<T, H, R> Clone for RouteLayer<T, H, R> {
    fn clone(&self) -> Self {
        Self { router: self.router.clone(), shared: self.shared.clone() }
    }
}

impl<S, T, H, R> Layer<S> for RouteLayer<T, H, R> {
    type Service = RouteService<S, T, H, R>;

    fn layer(&self, inner: S) -> Self::Service {
        RouteService::new(inner, self.router.clone(), self.shared.clone())
    }
}
