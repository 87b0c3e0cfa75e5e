//! Value types and small traits that Tollway's layers share: no I/O, no runtime, no algorithm.
//!
//! Layers never import each other. What one has to tell another travels as a typed value in
//! [`http::Extensions`]; the types live here.
//!
//! | type | written by | read by | travels in |
//! |---|---|---|---|
//! | [`PeerAddr`] | the server | identify | request |
//! | [`Caller`] | identify | limits, route, cost, telemetry | request |
//! | [`Ask`] | dialect | limits, route, cost, telemetry | request |
//! | [`Plan`] | route | retry | request |
//! | [`Target`] | retry | breaker, limits, dialect, upstream | request and response |
//! | [`AtWork`] | upstream, whoever sees the caller leave | limits, retry's policy, cost, telemetry | request |
//! | [`Metered`] | dialect | limits, breaker, cost, telemetry | response |
//! | [`Failure`] | dialect, upstream | retry, breaker | response, or inside an error |
//! | [`ProxyCredential`] | upstream | dialect | response |
//!
//! ```
//! use tollway_core::{Ask, Operation};
//!
//! let mut request = http::Request::post("/v1/chat/completions").body(()).unwrap();
//! request.extensions_mut().insert(Ask::new(Operation::ChatCompletions).with_model("gpt-4o-mini"));
//! assert_eq!(request.extensions().get::<Ask>().unwrap().model(), Some("gpt-4o-mini"));
//! ```

mod ask;
mod body;
mod caller;
mod clock;
mod credential;
mod failure;
mod hook;
mod meter;
mod money;
mod names;
mod needs;
mod plan;
mod target;
mod usage;

pub use ask::{Ask, Dialect, Operation, Prompt};
pub use body::{Ending, Guard, GuardedBody};
pub use caller::{Caller, PeerAddr, Tags};
pub use clock::{SystemClock, WallClock};
pub use credential::{ProxyCredential, key_in_query};
pub use failure::{ErrorClass, Failure, Severity, SuggestedAction};
pub use hook::Hook;
pub use meter::{Meter, Metered};
pub use money::{ParseUsdError, Usd};
pub use names::{NameHash, NameMap};
pub use needs::Needs;
pub use plan::{Candidate, PerMille, Plan, Rejected};
pub use target::{AtWork, Target};
pub use usage::{Usage, UsageSource};

/// The error type that layers answer with; its source chain holds the typed reason.
///
/// [`find_error`] reads the typed reason back out.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The first error of type `E` in `error` or its chain of sources. Looks into what an
/// [`io::Error`](std::io::Error) wraps, which std's chain leaves out.
///
/// ```
/// use tollway_core::{BoxError, ErrorClass, Failure, find_error};
///
/// let error: BoxError = Failure::new(ErrorClass::Timeout, "no first byte in 30 s").into();
/// assert_eq!(find_error::<Failure>(&*error).unwrap().class(), ErrorClass::Timeout);
/// ```
pub fn find_error<'a, E: std::error::Error + 'static>(
    error: &'a (dyn std::error::Error + 'static),
) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    None
}
