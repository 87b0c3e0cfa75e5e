use std::{fmt, hash::Hash, sync::Arc, time::Duration};

use http::{request, response};
use tokio::time::Instant;
use tollway_core::Hook;
use tower_layer::Layer;

use crate::{
    Config, ConfigError, Event, Pace, PaceHandle, Reading, Weights, handle::Core,
    registry::Registry,
};

/// Paces a service by what its replies tell, for each key by itself.
///
/// All services made by a layer and its clones share what is known.
pub struct PaceLayer<K> {
    core: Arc<Core<K>>,
}

impl<K: Hash + Eq + Clone> PaceLayer<K> {
    /// Paces by what `reading` finds in replies, apart for each value that `key` finds in requests;
    /// a request without one isn't paced.
    ///
    /// # Errors
    ///
    /// Names the setting of `config` that nothing can be paced by.
    pub fn new(
        config: Config,
        key: impl Fn(&request::Parts) -> Option<K> + Send + Sync + 'static,
        reading: impl Fn(&response::Parts) -> Reading + Send + Sync + 'static,
    ) -> Result<Self, ConfigError> {
        config.check()?;
        let core = Core {
            registry: Arc::new(Registry::new(config.max_keys)),
            config,
            key: Arc::new(key),
            reading: Arc::new(reading),
            weights: None,
            patience: None,
            hook: None,
            epoch: Instant::now(),
            refusal: "the provider's own limit is used up for now".into(),
        };
        Ok(Self { core: Arc::new(core) })
    }
}

impl<K> PaceLayer<K> {
    /// With what each request takes of the provider's limits; otherwise it is one request.
    #[must_use]
    pub fn with_weights(
        mut self,
        weights: impl Fn(&request::Parts) -> Weights + Send + Sync + 'static,
    ) -> Self {
        Arc::make_mut(&mut self.core).weights = Some(Arc::new(weights));
        self
    }

    /// With how long each request stands in line, instead of [`Config::patience`].
    #[must_use]
    pub fn with_patience(
        mut self,
        patience: impl Fn(&request::Parts) -> Duration + Send + Sync + 'static,
    ) -> Self {
        Arc::make_mut(&mut self.core).patience = Some(Arc::new(patience));
        self
    }

    /// Tells `hook` what happens.
    #[must_use]
    pub fn with_hook(mut self, hook: impl Hook<Event<K>> + Send + Sync + 'static) -> Self {
        Arc::make_mut(&mut self.core).hook = Some(Arc::new(hook));
        self
    }

    /// Goes on with what `known` reads, by this layer's settings: for a policy that is replaced while
    /// traffic flows. Requests under way or in line there count here too.
    #[must_use]
    pub fn with_state_of(mut self, known: &PaceHandle<K>) -> Self {
        let core = Arc::make_mut(&mut self.core);
        core.registry = known.0.registry.clone();
        core.epoch = known.0.epoch;
        self
    }

    /// Reads what is known. Take it when the layer is complete.
    pub fn handle(&self) -> PaceHandle<K> {
        PaceHandle(self.core.clone())
    }
}

impl<K> Clone for PaceLayer<K> {
    fn clone(&self) -> Self {
        Self { core: self.core.clone() }
    }
}

impl<K> fmt::Debug for PaceLayer<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PaceLayer").field("config", &self.core.config).finish_non_exhaustive()
    }
}

impl<S, K> Layer<S> for PaceLayer<K> {
    type Service = Pace<S, K>;

    fn layer(&self, inner: S) -> Self::Service {
        Pace::new(inner, self.core.clone())
    }
}
