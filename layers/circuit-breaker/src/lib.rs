//! Tower layer with keyed circuit breakers that sample a reply at its end, not at its head.

mod classify;
mod config;
mod error;
mod events;
mod future;
mod handle;
mod layer;
mod registry;
mod sample;
mod service;
mod state;
mod sync;
mod window;

pub use classify::{ByFailure, Classify, Judgement, Verdict};
pub use config::{Config, ConfigError, SlowCalls, Weights};
pub use error::CircuitOpen;
pub use events::{Event, EventKind, Reason};
pub use future::ResponseFuture;
pub use handle::{CircuitBreakerHandle, State, Status};
pub use layer::CircuitBreakerLayer;
pub use sample::Sample;
pub use service::CircuitBreaker;
