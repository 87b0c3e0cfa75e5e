//! Tower layer that retries with jitter, Retry-After and a budget, and fails over along a plan.
//!
//! Alone it retries any HTTP service whose request bodies can be sent again. With a
//! [`Plan`](tollway_core::Plan) in the request's extensions it walks the plan: it writes each
//! attempt's [`Target`](tollway_core::Target) into the extensions of the attempt's request (and of the
//! response that is handed on) and calls the inner service, which sends the request there.
//!
//! ```
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use tollway_core::BoxError;
//! use tollway_retry::{Attempts, RetryLayer};
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), BoxError> {
//! let upstream = service_fn(|request: Request<Full<bytes::Bytes>>| async move {
//!     # static CALLS: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
//!     # let first = CALLS.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0;
//!     // 503 the first time, 200 the second
//!     let status = if first { 503 } else { 200 };
//!     Response::builder().status(status).body(request.into_body()).map_err(BoxError::from)
//! });
//! let response = RetryLayer::default().layer(upstream).oneshot(Request::default()).await?;
//! assert_eq!(response.status(), 200);
//! assert_eq!(Attempts::header(&response).unwrap(), "-;503, -;200");
//! # Ok(())
//! # }
//! ```
//!
//! Customised: other numbers, a shared budget, a listener, and only requests that are safe to repeat.
//!
//! ```
//! use std::time::Duration;
//! use http::{Request, Response};
//! use tollway_core::BoxError;
//! use tollway_retry::*;
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), BoxError> {
//! let backoff =
//!     Backoff::new(Duration::from_millis(100), 1.5, Duration::from_secs(5), Jitter::Full)?;
//! let config = Config::new(Settings { attempts: 5, backoff, ..Settings::default() })?;
//! let budget = Budget::new(BudgetSettings { percent: 10, ..BudgetSettings::default() })?;
//! let layer = RetryLayer::builder(config)
//!     .policy(|request: &Request<String>| {
//!         request.method().is_idempotent().then(|| request.clone())
//!     })
//!     .budget(budget.clone())
//!     .hook(|event: &Event| println!("{event:?}"))
//!     .build();
//!
//! let down = service_fn(|_| async { Ok::<_, BoxError>(Response::builder().status(502).body(())?) });
//! let get = layer.layer(down).oneshot(Request::new(String::new())).await?;
//! assert_eq!(get.extensions().get::<Attempts>().unwrap().len(), 5);
//! let post = layer.layer(down).oneshot(Request::post("/").body(String::new())?).await?;
//! assert_eq!(post.extensions().get::<Attempts>().unwrap().len(), 1);
//! # Ok(())
//! # }
//! ```
//!
//! # After a failure
//!
//! The layer judges an attempt when its future is ready: the reply's head or an error. A service
//! below that waits for the first content before it answers makes the commitment late. The
//! [`Policy`] says what went wrong; [`classify()`] has the table of classes. Then, by [`Settings`]:
//!
//! 1. A failure that neither a wait nor another target can help goes to the caller at once.
//! 2. A hint of at most `stay_up_to` (1 s) is waited out and the same target tried again.
//! 3. Else the first target of the plan that was not tried yet is tried, without a wait. What is left
//!    of a plan may be put in another order by then ([`Policy::rescore`]).
//! 4. When all were tried: of those that may be tried again, the one that can be soonest, after its
//!    hint (`Retry-After`, never shortened) or a [`Backoff`].
//! 5. Never again in the same request: a target whose failure no wait can help (`x-should-retry:
//!    false`, a request that never fits), one that asks for more than `obey_up_to` (60 s), and after an
//!    `auth` or `quota` failure every target with the same provider and key.
//!
//! [`Prefer::SameTarget`] puts repeats before step 3. Attempts are bounded in all and per target; every
//! attempt counts, also one that was refused on this side. No wait goes past the request's
//! [`Deadline`] and no attempt starts after it.
//!
//! Repeats at a target draw on a [`Budget`], shared by all clones of the layer; going to a target
//! that this request has not tried yet does not, unless `count_failovers` says so. With an empty budget
//! the walk goes on to fresh targets and otherwise ends.
//!
//! # When all attempts fail
//!
//! One outcome is handed on, untouched but for its extensions:
//!
//! - the last one, where it is final (a wrong request, say); else
//! - a reply before an error made on this side (a local refusal, no connection); of two of a kind,
//! - what the caller can act on before what only the operator can (`auth`, `quota`, `not_found`); of two
//!   of a kind,
//! - of two with a hint, the one that can be tried again sooner; else the later one.
//!
//! The other outcomes are dropped at once, so that their connections are free. During a wait no
//! response is kept either, unless [`Policy::may_keep`] says that its body holds no connection.
//!
//! # Errors
//!
//! An error that is handed on comes in a [`RetryError`] with the history of all [`Attempts`]; its
//! chain of sources is whole, so [`find_error`](tollway_core::find_error) finds what it found before.
//! The one error of this layer's own is a [`Failure`](tollway_core::Failure) of the last attempt's
//! class, for the case that the deadline comes while the inner service is not ready again and no
//! response was kept.
//!
//! # On cancel
//!
//! Dropping the future drops the running attempt or the wait at once; nothing more is tried.
//! Repeats already drawn from the budget stay drawn.
//!
//! # Cost
//!
//! Where the first attempt succeeds, the layer itself allocates nothing without a plan; with one, the
//! boxes that hold the `Target` in the extensions of request and response. What remains is the copy of
//! the request (a box, its header map, and a box for each extension), made only where a further attempt
//! is possible: with `attempts: 1`, or a policy that copies nothing, there is none.

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
mod run;
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
