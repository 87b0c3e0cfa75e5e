use std::{fmt, hash::Hash, sync::Arc};

use http::request;
use tollway_core::Hook;
use tower_layer::Layer;

use crate::{
    ByFailure, CircuitBreaker, CircuitBreakerHandle, Config, ConfigError, Event, handle::Core,
};

/// Finds a request's key. Closures do; a type of one's own is for a layer whose type has to be named
/// ([`CircuitBreakerLayer::with_key`]).
pub trait FindKey<K> {
    /// The key whose circuit guards the request; `None`: none does.
    fn find_key(&self, request: &request::Parts) -> Option<K>;
}

impl<K, F: Fn(&request::Parts) -> Option<K>> FindKey<K> for F {
    fn find_key(&self, request: &request::Parts) -> Option<K> {
        self(request)
    }
}

/// Guards a service with one circuit breaker per key.
///
/// All services made by a layer and its clones share their circuits.
pub struct CircuitBreakerLayer<K, F, C = ByFailure> {
    core: Arc<Core<K>>,
    key: F,
    classify: C,
}

impl<K, F> CircuitBreakerLayer<K, F>
where
    K: Hash + Eq + Clone + Send + Sync,
    F: Fn(&request::Parts) -> Option<K>,
{
    /// A breaker for each value that `key` finds in requests; a request without one isn't guarded.
    ///
    /// # Errors
    ///
    /// Names the setting of `config` that no circuit can work by.
    pub fn new(config: Config, key: F) -> Result<Self, ConfigError> {
        config.check()?;
        Ok(Self { core: Arc::new(Core::new(config)), key, classify: ByFailure })
    }
}

impl<K: Hash + Eq + Clone, F, C> CircuitBreakerLayer<K, F, C> {
    /// The same guard for the keys that `key` finds. Circuits there are already stay.
    pub fn with_key<G: FindKey<K>>(self, key: G) -> CircuitBreakerLayer<K, G, C> {
        CircuitBreakerLayer { core: self.core, key, classify: self.classify }
    }

    /// With another judge of replies.
    pub fn with_classifier<D>(self, classify: D) -> CircuitBreakerLayer<K, F, D> {
        CircuitBreakerLayer { core: self.core, key: self.key, classify }
    }

    /// Tells `hook` what happens to the circuits.
    pub fn with_hook(mut self, hook: impl Hook<Event<K>> + Send + Sync + 'static) -> Self {
        Arc::make_mut(&mut self.core).hook = Some(Arc::new(hook));
        self
    }

    /// Benches together the keys for which `same` holds, e.g. all models behind one credential. Only
    /// keys that have been seen are reached; one that hasn't finds out by itself. To reach those
    /// too, put a second layer in front whose key is the credential alone.
    pub fn with_bench_together(
        mut self,
        same: impl Fn(&K, &K) -> bool + Send + Sync + 'static,
    ) -> Self {
        Arc::make_mut(&mut self.core).bench_together = Some(Arc::new(same));
        self
    }

    /// Carries on with the circuits that `handle` reads, under this layer's config. For a policy
    /// that is replaced while traffic flows.
    pub fn with_circuits_of(mut self, handle: &CircuitBreakerHandle<K>) -> Self {
        let core = Arc::make_mut(&mut self.core);
        core.registry = handle.0.registry.clone();
        core.epoch = handle.0.epoch;
        self
    }

    /// Reads and moves the circuits. Take it when the layer is complete: it tells the hook that
    /// the layer has by then.
    pub fn handle(&self) -> CircuitBreakerHandle<K> {
        CircuitBreakerHandle(self.core.clone())
    }
}

impl<K, F: Clone, C: Clone> Clone for CircuitBreakerLayer<K, F, C> {
    fn clone(&self) -> Self {
        Self { core: self.core.clone(), key: self.key.clone(), classify: self.classify.clone() }
    }
}

impl<K, F, C> fmt::Debug for CircuitBreakerLayer<K, F, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreakerLayer")
            .field("config", &self.core.config)
            .finish_non_exhaustive()
    }
}

impl<S, K, F: Clone, C: Clone> Layer<S> for CircuitBreakerLayer<K, F, C> {
    type Service = CircuitBreaker<S, K, F, C>;

    fn layer(&self, inner: S) -> Self::Service {
        CircuitBreaker::new(inner, self.core.clone(), self.key.clone(), self.classify.clone())
    }
}
