use std::{fmt, time::Duration};

use tollway_core::ErrorClass;

/// When a circuit opens, for how long, and how it closes again. The same for every key.
///
/// Plain values; [`CircuitBreakerLayer::new`](crate::CircuitBreakerLayer::new) checks them.
/// Ratios, factors and weights are per mille: 500 is a half, 2000 is twofold.
///
/// ```
/// use std::time::Duration;
/// use tollway_circuit_breaker::Config;
///
/// let config = Config { open_for: Duration::from_secs(30), ..Config::default() };
/// assert_eq!(config.consecutive_failures, Some(5));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Failures in a row that open the circuit; `None`: never for this reason. Default 5.
    ///
    /// A failure counts by its weight: this many times 1000 per mille are needed.
    pub consecutive_failures: Option<u32>,
    /// Share of failed calls in the window, per mille, that opens the circuit. Default `None`.
    pub failure_ratio: Option<u32>,
    /// Opens the circuit when too many calls are slow. Default `None`.
    pub slow_calls: Option<SlowCalls>,
    /// Length of the sliding window behind both ratios; it slides in ten steps. Default 60 s.
    pub window: Duration,
    /// No ratio opens the circuit before the window holds this many calls. Default 20.
    pub min_calls: u32,
    /// How long the circuit stays open at first. Default 300 s.
    pub open_for: Duration,
    /// Each time the circuit opens again before it was fully closed, it stays open longer by this
    /// factor, per mille; 1000 or more. Default 2000.
    pub open_growth: u32,
    /// The longest the circuit stays open. Default one hour.
    pub max_open_for: Duration,
    /// Requests under way at once in a half-open circuit. Default 3.
    pub trial_requests: u32,
    /// Trials that must succeed before the circuit closes. Default 3.
    pub trial_successes: u32,
    /// A trial that hasn't ended after this gives up its place and decides nothing, so that a
    /// reply nobody reads can't hold the circuit half-open. Default 600 s.
    pub trial_timeout: Duration,
    /// After successful trials the share of requests let through grows from nothing to all, over
    /// this time; zero: all at once. Default zero.
    pub ramp: Duration,
    /// How long a key is set aside after the provider refused its credential or its account is
    /// empty. Default 300 s.
    pub bench_for: Duration,
    /// The longest that [`Advice`](crate::Advice) of others alone holds a circuit open: whoever is ill
    /// themselves finds all the world failing. Default 300 s.
    pub advice_for: Duration,
    /// How much a failure of each class counts.
    pub weights: Weights,
    /// Most keys to remember. When all of them hold something worth remembering, further keys
    /// go unguarded. Default 10,000.
    pub max_keys: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            consecutive_failures: Some(5),
            failure_ratio: None,
            slow_calls: None,
            window: Duration::from_secs(60),
            min_calls: 20,
            open_for: Duration::from_secs(300),
            open_growth: 2000,
            max_open_for: Duration::from_secs(3600),
            trial_requests: 3,
            trial_successes: 3,
            trial_timeout: Duration::from_secs(600),
            ramp: Duration::ZERO,
            bench_for: Duration::from_secs(300),
            advice_for: Duration::from_secs(300),
            weights: Weights::default(),
            max_keys: 10_000,
        }
    }
}

/// When calls are slow, and how many of them are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlowCalls {
    /// A call is slow when its reply's head (or its error) took longer than this.
    pub longer_than: Duration,
    /// Share of slow calls in the window, per mille, that opens the circuit.
    pub ratio: u32,
}

/// How much a failure of each class counts, per mille of one failure; 0 counts for nothing.
///
/// By default what the provider or the way to it is to blame for counts 1000 (overloaded, server,
/// timeout, network, and auth and quota where a classifier doesn't bench for them); rate limits,
/// which are no sign of ill health, and what the caller is to blame for count 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weights([u32; ErrorClass::ALL.len()]);

impl Default for Weights {
    fn default() -> Self {
        Self(ErrorClass::ALL.map(|class| match class {
            ErrorClass::Overloaded
            | ErrorClass::Server
            | ErrorClass::Timeout
            | ErrorClass::Network
            | ErrorClass::Auth
            | ErrorClass::Quota => 1000,
            _ => 0,
        }))
    }
}

impl Weights {
    /// The same weights, but `per_mille` for `class`.
    pub fn with(mut self, class: ErrorClass, per_mille: u32) -> Self {
        for (weight, of) in self.0.iter_mut().zip(ErrorClass::ALL) {
            if of == class {
                *weight = per_mille;
            }
        }
        self
    }

    /// The weight of `class`, per mille.
    pub fn get(&self, class: ErrorClass) -> u32 {
        let found = self.0.iter().zip(ErrorClass::ALL).find(|(_, of)| *of == class);
        found.map_or(0, |(weight, _)| *weight)
    }
}

/// The longest duration a setting may have; keeps every sum of times far from overflow.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

impl Config {
    /// Whether a circuit can work by these settings.
    ///
    /// # Errors
    ///
    /// Names the first setting that can't be, and what it may be.
    pub fn check(&self) -> Result<(), ConfigError> {
        let share = |ratio: u32| (1..=1000).contains(&ratio);
        let time = |time: Duration| !time.is_zero() && time <= LONGEST;
        let slow = self.slow_calls.unwrap_or(SlowCalls { longer_than: LONGEST, ratio: 1 });
        let rules = [
            (self.consecutive_failures != Some(0), "consecutive_failures", "1 or more"),
            (self.failure_ratio.is_none_or(share), "failure_ratio", "1 to 1000 per mille"),
            (share(slow.ratio), "slow_calls.ratio", "1 to 1000 per mille"),
            (time(slow.longer_than), "slow_calls.longer_than", TIME),
            (time(self.window), "window", TIME),
            (self.min_calls > 0, "min_calls", "1 or more"),
            (time(self.open_for), "open_for", TIME),
            (self.open_growth >= 1000, "open_growth", "1000 per mille or more"),
            (time(self.max_open_for), "max_open_for", TIME),
            (self.max_open_for >= self.open_for, "max_open_for", "at least open_for"),
            (self.trial_requests > 0, "trial_requests", "1 or more"),
            (self.trial_successes > 0, "trial_successes", "1 or more"),
            (time(self.trial_timeout), "trial_timeout", TIME),
            (self.ramp <= LONGEST, "ramp", "at most 365 days"),
            (time(self.bench_for), "bench_for", TIME),
            (time(self.advice_for), "advice_for", TIME),
            (self.max_keys > 0, "max_keys", "1 or more"),
        ];
        match rules.into_iter().find(|(holds, ..)| !holds) {
            None => Ok(()),
            Some((_, setting, expected)) => Err(ConfigError { setting, expected }),
        }
    }
}

const TIME: &str = "more than zero and at most 365 days";

/// A setting no circuit can work by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigError {
    setting: &'static str,
    expected: &'static str,
}

impl ConfigError {
    /// The field of [`Config`], as written there.
    pub fn setting(&self) -> &'static str {
        self.setting
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} must be {}", self.setting, self.expected)
    }
}

impl std::error::Error for ConfigError {}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_default_holds() {
        assert_eq!(Config::default().check(), Ok(()));
    }

    #[test]
    fn names_what_cannot_be() {
        type Spoil = fn(&mut Config);
        let cases: [(&str, Spoil); 15] = [
            ("consecutive_failures", |c| c.consecutive_failures = Some(0)),
            ("failure_ratio", |c| c.failure_ratio = Some(1001)),
            ("slow_calls.ratio", |c| {
                c.slow_calls = Some(SlowCalls { longer_than: Duration::from_secs(1), ratio: 0 });
            }),
            ("slow_calls.longer_than", |c| {
                c.slow_calls = Some(SlowCalls { longer_than: Duration::ZERO, ratio: 1 });
            }),
            ("window", |c| c.window = Duration::ZERO),
            ("min_calls", |c| c.min_calls = 0),
            ("open_for", |c| c.open_for = Duration::MAX),
            ("open_growth", |c| c.open_growth = 999),
            ("max_open_for", |c| c.max_open_for = Duration::from_secs(299)),
            ("trial_requests", |c| c.trial_requests = 0),
            ("trial_successes", |c| c.trial_successes = 0),
            ("trial_timeout", |c| c.trial_timeout = Duration::ZERO),
            ("bench_for", |c| c.bench_for = Duration::ZERO),
            ("advice_for", |c| c.advice_for = Duration::ZERO),
            ("max_keys", |c| c.max_keys = 0),
        ];
        for (setting, spoil) in cases {
            let mut config = Config::default();
            spoil(&mut config);
            assert_eq!(config.check().unwrap_err().setting(), setting);
        }
    }

    #[test]
    fn weights_are_told_apart() {
        let weights = Weights::default().with(ErrorClass::Timeout, 250);
        assert_eq!(weights.get(ErrorClass::Timeout), 250);
        assert_eq!(weights.get(ErrorClass::Server), 1000);
        assert_eq!(weights.get(ErrorClass::Invalid), 0);
    }
}
