//! Quotas: those of limits, and those that single keys have in their place.

use std::time::{Duration, SystemTime};

use tollway_store::limits::{Kind, Period, Shape, Zone};

use crate::ConfigError;

/// How much is allowed in what time. Amounts are whole numbers of any unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quota {
    /// A bucket that holds `burst` and fills at `amount` per `per`. Over any time `t` at most
    /// `burst + t * amount / per` is taken.
    TokenBucket {
        /// Refilled in each `per`.
        amount: u64,
        /// Time in which `amount` comes back.
        per: Duration,
        /// What a full bucket holds: the most that can be taken at once.
        burst: u64,
    },
    /// Never more than `amount` in any span of `window`, wherever the span begins: what a
    /// provider's published requests or tokens a minute mean.
    ///
    /// Exact for a single request; takes less than `window / 64` apart are remembered together and
    /// leave together with the last of them, so a busy window errs to the safe side by under 1.6 %.
    SlidingWindow {
        /// The most in any window.
        amount: u64,
        /// The window's length.
        window: Duration,
    },
    /// `amount` in each hour, day or month of the calendar: quotas and budgets. Of UTC, unless
    /// the limit has a [zone](crate::LimitBuilder::zone).
    Calendar {
        /// The most in one period.
        amount: u64,
        /// Which period.
        period: Period,
    },
    /// At most `amount` at the same time; given back when the reply ends, whatever it used.
    Concurrent {
        /// The most at the same time.
        amount: u64,
    },
}

/// A quota that one key has in the place of its limit's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyQuota {
    /// How much the key is allowed, before the limit's headroom.
    pub quota: Quota,
    /// From when on the limit's quota holds again; `None`: never.
    pub until: Option<SystemTime>,
}

/// What all quotas of a limit have in common, those of its keys too.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Terms {
    pub(crate) headroom: u8,
    pub(crate) warn_at: Option<u8>,
    pub(crate) zone: Zone,
}

impl Terms {
    pub(crate) fn shape(&self, quota: Quota) -> Result<Shape, ConfigError> {
        let (kind, capacity) = self.kind(quota)?;
        let warn = self.warn_at.map(|percent| percent_of(capacity, percent).max(1));
        Ok(Shape { kind, capacity, warn })
    }

    fn kind(&self, quota: Quota) -> Result<(Kind, u64), ConfigError> {
        let amount = |amount: u64| match amount {
            0 => Err(ConfigError("an amount is at least 1")),
            amount => Ok(percent_of(amount, 100_u8.saturating_sub(self.headroom)).max(1)),
        };
        Ok(match quota {
            Quota::TokenBucket { amount: rate, per, burst } => {
                (Kind::Bucket { rate: amount(rate)?, per: nanos(per)? }, amount(burst)?)
            }
            Quota::SlidingWindow { amount: most, window } => {
                (Kind::Window { window: nanos(window)? }, amount(most)?)
            }
            Quota::Calendar { amount: most, period } => {
                (Kind::Calendar(period.of(self.zone)), amount(most)?)
            }
            Quota::Concurrent { amount: most } => (Kind::Concurrent, amount(most)?),
        })
    }
}

fn percent_of(amount: u64, percent: u8) -> u64 {
    // At most `amount`, as no percentage here is above 100.
    (u128::from(amount) * u128::from(percent) / 100) as u64
}

fn nanos(time: Duration) -> Result<u64, ConfigError> {
    match u64::try_from(time.as_nanos()) {
        Ok(0) => Err(ConfigError("a time is longer than zero")),
        Ok(nanos) => Ok(nanos),
        Err(_) => Err(ConfigError("a time is shorter than 584 years")),
    }
}
