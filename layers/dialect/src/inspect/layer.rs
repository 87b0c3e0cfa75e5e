use tower_layer::Layer;

use super::{Inspect, InspectConfig};
use crate::config::ConfigError;

/// Reads what each request asks for, before anything else looks at it; see [`Inspect`].
#[derive(Clone, Copy, Debug, Default)]
pub struct InspectLayer {
    config: InspectConfig,
}

impl InspectLayer {
    /// With the default bounds.
    pub fn new() -> Self {
        Self::default()
    }

    /// With these bounds.
    ///
    /// # Errors
    ///
    /// A bound of zero.
    pub fn with_config(config: InspectConfig) -> Result<Self, ConfigError> {
        ConfigError::check(&[
            ("max_body", config.max_body),
            ("max_upload", config.max_upload.try_into().unwrap_or(usize::MAX)),
            ("max_peek", config.max_peek),
        ])?;
        Ok(Self { config })
    }
}

impl<S> Layer<S> for InspectLayer {
    type Service = Inspect<S>;

    fn layer(&self, inner: S) -> Inspect<S> {
        Inspect { inner, config: self.config }
    }
}
