use std::time::Duration;

use crate::{
    config::ConfigError,
    random::{Random, below},
};

/// How waits are spread, so that callers that failed together do not come back together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jitter {
    /// None: the exact exponential wait.
    None,
    /// Plus or minus this many percent (0 to 100).
    Proportional(u8),
    /// Anything from zero to the exponential wait.
    Full,
    /// Anything from the first wait to three times the last one, up to the cap.
    Decorrelated,
}

/// Exponential backoff: `first`, `first * factor`, `first * factor²`, … never above `max`, with
/// [`Jitter`].
///
/// ```
/// use std::time::Duration;
/// use tollway_retry::{Backoff, Jitter};
///
/// let backoff =
///     Backoff::new(Duration::from_millis(500), 2.0, Duration::from_secs(3), Jitter::None)?;
/// let waits: Vec<_> = (0..4).map(|n| backoff.wait(n, Duration::ZERO, &|| 0).as_millis()).collect();
/// assert_eq!(waits, [500, 1000, 2000, 3000]);
/// # Ok::<(), tollway_retry::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    first: Duration,
    factor: f64,
    max: Duration,
    jitter: Jitter,
}

const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

impl Default for Backoff {
    /// 500 ms, doubling, at most 30 s, ±25 %.
    fn default() -> Self {
        Self {
            first: Duration::from_millis(500),
            factor: 2.0,
            max: Duration::from_secs(30),
            jitter: Jitter::Proportional(25),
        }
    }
}

impl Backoff {
    /// A checked backoff.
    ///
    /// # Errors
    /// Where `first` is zero or above `max`, `max` is above 24 hours, `factor` is below 1 or not
    /// finite, or a proportional jitter is above 100 %.
    pub fn new(
        first: Duration,
        factor: f64,
        max: Duration,
        jitter: Jitter,
    ) -> Result<Self, ConfigError> {
        if first.is_zero() {
            return Err(ConfigError::new("the first backoff must be longer than zero"));
        }
        if first > max {
            return Err(ConfigError::new("the first backoff must not be above the longest"));
        }
        if max > LONGEST {
            return Err(ConfigError::new("the longest backoff must be at most 24 hours"));
        }
        if !factor.is_finite() || factor < 1.0 {
            return Err(ConfigError::new("the backoff factor must be a number of at least 1"));
        }
        if matches!(jitter, Jitter::Proportional(percent) if percent > 100) {
            return Err(ConfigError::new("the jitter must be at most 100 %"));
        }
        Ok(Self { first, factor, max, jitter })
    }

    /// The wait number `n` (the first is 0), where `last` was the wait before it (zero at first).
    ///
    /// Never above the cap; never below `first` where the jitter is none or decorrelated.
    pub fn wait(&self, n: u32, last: Duration, random: &dyn Random) -> Duration {
        let plain = self.plain(n);
        match self.jitter {
            Jitter::None => plain,
            Jitter::Full => up_to(plain, random),
            Jitter::Proportional(percent) => {
                let swing = plain / 100 * u32::from(percent);
                (plain.saturating_sub(swing) + up_to(swing * 2, random)).min(self.max)
            }
            Jitter::Decorrelated => {
                let top = last.max(self.first).saturating_mul(3).min(self.max);
                self.first + up_to(top.saturating_sub(self.first), random)
            }
        }
    }

    /// The provider's own hint, never shortened; lengthened by up to a tenth (at most a second), so
    /// that all who were told the same do not come back in the same moment.
    pub(crate) fn hinted(&self, hint: Duration, random: &dyn Random) -> Duration {
        if self.jitter == Jitter::None {
            return hint;
        }
        hint.saturating_add(up_to((hint / 10).min(Duration::from_secs(1)), random))
    }

    fn plain(&self, n: u32) -> Duration {
        let power = self.factor.powi(i32::try_from(n).unwrap_or(i32::MAX));
        let seconds = (self.first.as_secs_f64() * power).min(self.max.as_secs_f64());
        // Clamped again: the way through f64 rounds.
        Duration::try_from_secs_f64(seconds).unwrap_or(self.max).clamp(self.first, self.max)
    }
}

fn up_to(most: Duration, random: &dyn Random) -> Duration {
    Duration::from_nanos(below(u64::try_from(most.as_nanos()).unwrap_or(u64::MAX), random))
}
