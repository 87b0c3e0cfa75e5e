use std::{num::NonZeroU32, time::Duration};

use tollway_core::ErrorClass;

/// How to go by what providers say of their own limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pacing {
    /// How long a request waits for its turn where there is no other target.
    pub wait: Duration,
}

/// When a target is left alone.
#[derive(Clone, Debug, PartialEq)]
pub struct CircuitBreaker {
    /// Failures in a row.
    pub open_after: NonZeroU32,
    /// Share of failures over a window.
    pub failure_ratio: Option<RatioTrip>,
    /// Share of slow calls over a window.
    pub slow_calls: Option<SlowTrip>,
    /// How long it stays open the first time.
    pub recover_after: Duration,
    /// Growth of that time for each failed recovery; at least 1.
    pub recover_factor: f64,
    /// Cap of that growth.
    pub recover_max: Duration,
    /// Requests let through to find out whether the target works again.
    pub trial_requests: NonZeroU32,
    /// Time over which traffic comes back after recovery; zero: at once.
    pub ramp: Duration,
    /// Weight of a failure of a class; a class not named keeps the breaker's own weight.
    pub weights: Vec<(ErrorClass, f64)>,
    /// How long a key of no use is set aside.
    pub bench: Bench,
}

/// How long a provider's key is set aside before one request tries it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bench {
    /// After the provider refused it.
    pub auth: Duration,
    /// After it ran out of money.
    pub quota: Duration,
}

impl Default for Bench {
    fn default() -> Self {
        let quarter = Duration::from_secs(15 * 60);
        Self { auth: quarter, quota: quarter }
    }
}

/// Opens on a share of failures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RatioTrip {
    /// Above 0, at most 1.
    pub ratio: f64,
    /// Over the last calls of this long.
    pub window: Duration,
    /// Not before this many calls.
    pub min_calls: NonZeroU32,
}

/// Opens on a share of slow calls.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlowTrip {
    /// What counts as slow: time to the reply's head.
    pub slower_than: Duration,
    /// Above 0, at most 1.
    pub ratio: f64,
    /// Over the last calls of this long.
    pub window: Duration,
    /// Not before this many calls.
    pub min_calls: NonZeroU32,
}

/// How often and when to try again.
#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    /// Attempts altogether, the first included.
    pub attempts: NonZeroU32,
    /// Waits between attempts at the same target.
    pub backoff: Backoff,
    /// The longest Retry-After that is waited for; longer ones go to the next target.
    pub obey_retry_after: Duration,
    /// Bound on the share of retries; `None`: none.
    pub budget: Option<RetryBudget>,
    /// The classes that are tried again or elsewhere; `None`: as each class suggests.
    pub on: Option<Vec<ErrorClass>>,
}

/// Exponential backoff.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// First wait.
    pub first: Duration,
    /// Growth; at least 1.
    pub factor: f64,
    /// Longest wait.
    pub max: Duration,
    /// How waits vary.
    pub jitter: Jitter,
}

/// How waits vary.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Jitter {
    /// Not at all.
    None,
    /// By this share in both directions, above 0 and at most 1.
    Share(f64),
    /// Anything between zero and the wait.
    Full,
    /// Between the first wait and three times the last one.
    Decorrelated,
}

/// Bound on retries: a storm must not feed itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryBudget {
    /// Retries allowed as a share of requests, above 0 and at most 1.
    pub ratio: f64,
    /// Retries a second that are always allowed.
    pub min_per_second: u32,
}
