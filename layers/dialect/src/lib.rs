//! The wire formats of LLM APIs as pure functions, and thin Tower layers on them

mod attempt;
mod config;
mod duration;
mod error;
mod inspect;
pub mod multipart;
pub mod openai;
pub mod ratelimit;
pub mod sse;
mod text;

pub use attempt::{Attempt, AttemptBody, AttemptConfig, AttemptFuture, AttemptLayer, Commit};
pub use config::ConfigError;
pub use error::BadRequest;
pub use inspect::{Inspect, InspectConfig, InspectFuture, InspectLayer, RequestBody};
