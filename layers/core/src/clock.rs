use std::{fmt::Debug, time::SystemTime};

/// The date and time of day, injected: durations use `tokio::time`, dates use this.
///
/// Closures implement it, so a test can hold the calendar still:
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use tollway_core::WallClock;
///
/// let newyear = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
/// let clock = move || newyear;
/// assert_eq!(WallClock::now(&clock), newyear);
/// ```
pub trait WallClock: Send + Sync {
    /// The present date and time, UTC. May jump in either direction.
    fn now(&self) -> SystemTime;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl WallClock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's date")]
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

impl<F: Fn() -> SystemTime + Send + Sync> WallClock for F {
    fn now(&self) -> SystemTime {
        self()
    }
}
