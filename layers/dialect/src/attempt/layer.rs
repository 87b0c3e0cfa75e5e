use std::sync::Arc;

use tollway_core::{SystemClock, WallClock};
use tower_layer::Layer;

use super::{Attempt, AttemptConfig};
use crate::config::ConfigError;

/// Fits each attempt to its target and reads the reply as it passes; see [`Attempt`].
#[derive(Clone)]
pub struct AttemptLayer {
    config: AttemptConfig,
    clock: Arc<dyn WallClock>,
}

impl AttemptLayer {
    /// With the default settings.
    pub fn new() -> Self {
        Self { config: AttemptConfig::default(), clock: Arc::new(SystemClock) }
    }

    /// With these settings.
    ///
    /// # Errors
    ///
    /// A bound of zero.
    pub fn with_config(config: AttemptConfig) -> Result<Self, ConfigError> {
        ConfigError::check(&[
            ("max_held", config.max_held),
            ("max_held_events", config.max_held_events),
            ("max_error", config.max_error),
            ("max_reply", config.max_reply),
            ("max_event", config.max_event),
        ])?;
        Ok(Self { config, ..Self::new() })
    }

    /// Reads the date (for `Retry-After`) from `clock`.
    pub fn with_clock(mut self, clock: impl WallClock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }
}

impl Default for AttemptLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for AttemptLayer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AttemptLayer").field("config", &self.config).finish_non_exhaustive()
    }
}

impl<S> Layer<S> for AttemptLayer {
    type Service = Attempt<S>;

    fn layer(&self, inner: S) -> Attempt<S> {
        Attempt { inner, config: self.config, clock: self.clock.clone() }
    }
}
