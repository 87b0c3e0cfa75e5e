use std::{fmt, ops::Range, time::SystemTime};

use jiff::{Timestamp, civil::Date, tz::TimeZone};

/// A day or a month of the calendar. Printed as `2026-11-22` or `2026-11`.
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

/// Seconds since 1970; a date before that counts as that moment.
pub(crate) fn seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

impl Period {
    /// The day, of UTC, that `time` lies in. Dates outside 1970 to 9999 count as the nearest day
    /// inside.
    pub fn day(time: SystemTime) -> Self {
        Self::day_in(time, &TimeZone::UTC)
    }

    /// The day in this zone that `time` lies in.
    pub fn day_in(time: SystemTime, zone: &TimeZone) -> Self {
        let at = Timestamp::from_second(seconds(time)).unwrap_or(Timestamp::MAX);
        Self::of(zone.to_datetime(at).date())
    }

    /// The month, of UTC, that `time` lies in.
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

    /// The seconds since 1970 that this day lasts in this zone; none that can be told: empty.
    pub(crate) fn lasts(self, zone: &TimeZone) -> Range<i64> {
        let start = |date: Date| Some(date.to_zoned(zone.clone()).ok()?.timestamp().as_second());
        let date = Date::new(self.year, self.month, self.day.max(1)).ok();
        let next = date.and_then(|date| start(date.tomorrow().ok()?));
        date.and_then(start).zip(next).map_or(0..0, |(start, end)| start..end)
    }

    fn of(date: Date) -> Self {
        let date = date.max(Date::constant(1970, 1, 1));
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
    fn days_of_a_zone_last_as_long_as_its_clocks_say() {
        let berlin = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        // Half an hour before midnight and at midnight of the day on which an hour comes twice.
        for (seconds, expected, hours) in [
            (1_792_877_400, "2026-10-24", 24),
            (1_792_879_200, "2026-10-25", 25),
            (1_774_821_600, "2026-03-30", 24),
            (1_774_821_599, "2026-03-29", 23),
        ] {
            let day =
                Period::day_in(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds), &berlin);
            let lasts = day.lasts(&berlin);
            assert_eq!(day.to_string(), expected);
            assert_eq!(lasts.end - lasts.start, hours * 3600, "{day}");
            assert!(lasts.contains(&i64::try_from(seconds).unwrap()));
        }
    }

    #[test]
    fn dates_out_of_range_are_the_nearest_day() {
        let before = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(Period::day(before).to_string(), "1970-01-01");
        assert_eq!(day(i64::MAX as u64 - 1), "9999-12-30", "the last that a zone can be asked of");
        let west = TimeZone::fixed(jiff::tz::offset(-5));
        assert_eq!(Period::day_in(SystemTime::UNIX_EPOCH, &west).to_string(), "1970-01-01");
    }
}
