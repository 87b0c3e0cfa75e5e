use std::{fmt, time::SystemTime};

use jiff::civil::Date;

/// A day or a month of the calendar, UTC. Printed as `2026-11-22` or `2026-11`.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use tollway_cost::Period;
///
/// let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_305_600);
/// assert_eq!(Period::day(time).to_string(), "2026-11-22");
/// assert_eq!(Period::month(time).to_string(), "2026-11");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period {
    year: i16,
    month: i8,
    /// 0: the whole month.
    day: i8,
}

const SECONDS_A_DAY: u64 = 86_400;

/// Days since 1970-01-01; a date before that counts as that day.
pub(crate) fn day_number(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs() / SECONDS_A_DAY)
}

impl Period {
    /// The day that `time` lies in. Dates outside 1970 to 9999 count as the nearest day inside.
    pub fn day(time: SystemTime) -> Self {
        Self::of_day_number(day_number(time))
    }

    /// The month that `time` lies in.
    pub fn month(time: SystemTime) -> Self {
        Self::day(time).whole_month()
    }

    /// The month of this day, or this month.
    pub fn whole_month(self) -> Self {
        Self { day: 0, ..self }
    }

    /// Whether this is a whole month.
    pub fn is_month(self) -> bool {
        self.day == 0
    }

    pub(crate) fn of_day_number(days: u64) -> Self {
        const EPOCH: Date = Date::constant(1970, 1, 1);
        let span = i64::try_from(days).ok().and_then(|d| jiff::Span::new().try_days(d).ok());
        let date = span.and_then(|span| EPOCH.checked_add(span).ok()).unwrap_or(Date::MAX);
        Self { year: date.year(), month: date.month(), day: date.day() }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)?;
        if self.day != 0 {
            write!(f, "-{:02}", self.day)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn day(seconds: u64) -> String {
        Period::day(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).to_string()
    }

    #[test]
    fn days_begin_at_midnight_utc() {
        assert_eq!(day(951_782_399), "2000-02-28");
        assert_eq!(day(951_782_400), "2000-02-29");
        assert_eq!(day(951_868_800), "2000-03-01");
    }

    #[test]
    fn dates_out_of_range_are_the_nearest_day() {
        let before = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(Period::day(before).to_string(), "1970-01-01");
        assert_eq!(Period::of_day_number(u64::MAX).to_string(), "9999-12-31");
        assert_eq!(day(i64::MAX as u64), "9999-12-31");
    }
}
