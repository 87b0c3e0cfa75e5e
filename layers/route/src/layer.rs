use std::sync::Arc;

use tower_layer::Layer;

use crate::{RouteService, Router};

/// Puts a [`RouteService`] in front of a service. All services it makes share the router's state.
#[derive(Debug)]
pub struct RouteLayer<T = (), H = ()> {
    router: Router,
    shared: Arc<(T, H)>,
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
        Self { router, shared: Arc::new((state, hook)) }
    }

    /// The router: the routes for reading, and decisions without a request.
    pub fn router(&self) -> &Router {
        &self.router
    }
}

impl<T, H> Clone for RouteLayer<T, H> {
    fn clone(&self) -> Self {
        Self { router: self.router.clone(), shared: self.shared.clone() }
    }
}

impl<S, T, H> Layer<S> for RouteLayer<T, H> {
    type Service = RouteService<S, T, H>;

    fn layer(&self, inner: S) -> Self::Service {
        RouteService::new(inner, self.router.clone(), self.shared.clone())
    }
}
