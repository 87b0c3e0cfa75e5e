use jiff::tz::TimeZone;

use crate::error::{ConfigError, Kind};

/// How much [`Totals`](crate::Totals) keep. All must be at least 1.
///
/// A row takes about 150 bytes and there are four dimensions, so the worst case is
/// `4 * max_keys * (days + months) * 150` bytes; only keys that were really seen take room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TotalsConfig {
    /// Keys kept in a dimension for each day and each month; further ones are folded into
    /// `(other)`. Default 10,000.
    pub max_keys: usize,
    /// Days kept that saw a request. Default 62.
    pub days: usize,
    /// Months kept that saw a request. Default 13.
    pub months: usize,
    /// Where days begin at midnight. Default UTC.
    pub zone: TimeZone,
}

impl Default for TotalsConfig {
    fn default() -> Self {
        Self { max_keys: 10_000, days: 62, months: 13, zone: TimeZone::UTC }
    }
}

impl TotalsConfig {
    pub(crate) fn check(self) -> Result<Self, ConfigError> {
        for (what, count) in
            [("max_keys", self.max_keys), ("days", self.days), ("months", self.months)]
        {
            if count == 0 {
                return Err(Kind::Zero(what).into());
            }
        }
        Ok(self)
    }
}
