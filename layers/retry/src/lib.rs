//! Tower layer that retries with jitter, Retry-After and a budget, and fails over along a plan.

mod attempts;
mod backoff;
mod body;
mod budget;
mod classes;
mod classify;
mod config;
mod error;
mod events;
mod future;
mod header;
mod layer;
mod policy;
mod random;
mod service;
mod state;

pub use attempts::{Attempt, Attempts};
pub use backoff::{Backoff, Jitter};
pub use body::OnceBody;
pub use budget::{Budget, BudgetSettings};
pub use classes::Classes;
pub use classify::{classify, classify_error, classify_status};
pub use config::{Config, ConfigError, Prefer, Settings};
pub use error::RetryError;
pub use events::{Event, Stop};
pub use future::ResponseFuture;
pub use header::{forbids_retry, retry_after};
pub use layer::{RetryBuilder, RetryLayer};
pub use policy::{Policy, PolicyFn, Standard, policy_fn};
pub use random::{Random, SplitMix};
pub use service::Retry;

/// The moment after which a request is of no use to its caller, in the request's extensions.
///
/// No wait goes past it and no attempt starts after it. A running attempt is not cut off: that is
/// a timeout's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(pub tokio::time::Instant);
