use std::sync::Arc;

use tower_layer::Layer;

use crate::{Config, ConfigError, Identifier, Identify};

/// Puts an [`Identify`] in front of a service. All services it makes share one state.
#[derive(Debug)]
pub struct IdentifyLayer<H = ()> {
    identifier: Identifier,
    hook: Arc<H>,
}

impl IdentifyLayer {
    /// A layer with these settings that tells nobody.
    ///
    /// # Errors
    ///
    /// See [`Identifier::new`].
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        Ok(Self { identifier: Identifier::new(config)?, hook: Arc::new(()) })
    }
}

impl<H> IdentifyLayer<H> {
    /// The same layer, which tells `hook` an [`Event`](crate::Event) for each request.
    pub fn with_hook<H2>(self, hook: H2) -> IdentifyLayer<H2> {
        IdentifyLayer { identifier: self.identifier, hook: Arc::new(hook) }
    }

    /// The decision by itself, for programs that have no service to wrap.
    pub fn identifier(&self) -> &Identifier {
        &self.identifier
    }
}

impl<H> Clone for IdentifyLayer<H> {
    fn clone(&self) -> Self {
        Self { identifier: self.identifier.clone(), hook: self.hook.clone() }
    }
}

impl<S, H> Layer<S> for IdentifyLayer<H> {
    type Service = Identify<S, H>;

    fn layer(&self, inner: S) -> Self::Service {
        Identify::new(inner, self.identifier.clone(), self.hook.clone())
    }
}
