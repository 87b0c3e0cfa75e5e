use std::{fmt, str::FromStr, time::SystemTime};

use jiff::{Timestamp, civil::Date, tz::TimeZone};

/// A day or a month of the calendar. Printed as `2026-11-22` or `2026-11`.
///
/// ```
/// use tollway_store::ledger::Period;
///
/// let day: Period = "2026-11-22".parse().unwrap();
/// assert_eq!(day.whole_month().to_string(), "2026-11");
/// assert_eq!(day.number(), 2026_11_22);
/// assert_eq!(Period::from_number(2026_11_00), Some(day.whole_month()));
/// assert!("2026-02-30".parse::<Period>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period {
    year: i16,
    month: i8,
    /// 0: the whole month.
    day: i8,
}

impl Period {
    /// The day that `time` lies in, UTC. Dates outside 1970 to 9999 count as the nearest day inside.
    pub fn day(time: SystemTime) -> Self {
        Self::day_in(millis(time), &TimeZone::UTC)
    }

    /// The month that `time` lies in, UTC.
    pub fn month(time: SystemTime) -> Self {
        Self::day(time).whole_month()
    }

    /// The day that this moment, in milliseconds since 1970, lies in, in this zone. Dates outside
    /// 1970 to 9999 count as the nearest day inside.
    pub fn day_in(at: u64, zone: &TimeZone) -> Self {
        let at = i64::try_from(at).unwrap_or(i64::MAX);
        let at = Timestamp::from_millisecond(at).unwrap_or(Timestamp::MAX);
        Self::of(zone.to_datetime(at).date().max(Date::constant(1970, 1, 1)))
    }

    /// The month of this day, or this month.
    #[must_use]
    pub fn whole_month(self) -> Self {
        Self { day: 0, ..self }
    }

    /// Whether this is a whole month.
    pub fn is_month(self) -> bool {
        self.day == 0
    }

    /// The day that is this many days earlier; of a month, counted from its first day.
    #[must_use]
    pub fn days_before(self, days: u32) -> Self {
        let date = Date::new(self.year, self.month, self.day.max(1)).unwrap_or(Date::MAX);
        let span = jiff::Span::new().try_days(days).ok();
        let date = span.and_then(|span| date.checked_sub(span).ok()).unwrap_or(Date::ZERO);
        Self::of(date.max(Date::constant(1970, 1, 1)))
    }

    /// As one number that sorts by time: 20261122, and 20261100 for a whole month.
    pub fn number(self) -> u32 {
        let part = |n: i16| u32::try_from(n).unwrap_or(0);
        part(self.year) * 10_000 + part(self.month.into()) * 100 + part(self.day.into())
    }

    /// Reads [`number`](Self::number).
    pub fn from_number(number: u32) -> Option<Self> {
        let year = i16::try_from(number / 10_000).ok()?;
        let month = i8::try_from(number / 100 % 100).ok()?;
        let day = i8::try_from(number % 100).ok()?;
        Date::new(year, month, day.max(1)).ok()?;
        Some(Self { year, month, day })
    }

    fn of(date: Date) -> Self {
        Self { year: date.year(), month: date.month(), day: date.day() }
    }
}

/// Milliseconds since 1970, as a ledger's times are; a date before that counts as the first of them.
pub fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
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

/// A text is neither a day nor a month.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParsePeriodError;

impl fmt::Display for ParsePeriodError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected a day such as 2026-11-22 or a month such as 2026-11")
    }
}

impl std::error::Error for ParsePeriodError {}

impl FromStr for Period {
    type Err = ParsePeriodError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |part: &str, length| {
            part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit())
        };
        let mut parts = text.splitn(3, '-');
        let (year, month, day) = (parts.next(), parts.next(), parts.next());
        let year = year.filter(|part| plain(part, 4)).ok_or(ParsePeriodError)?;
        let month = month.filter(|part| plain(part, 2)).ok_or(ParsePeriodError)?;
        let day = match day {
            None => "00",
            Some(day) if plain(day, 2) && day != "00" => day,
            Some(_) => return Err(ParsePeriodError),
        };
        let number = format!("{year}{month}{day}").parse().map_err(|_| ParsePeriodError)?;
        Self::from_number(number).ok_or(ParsePeriodError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(seconds: u64) -> String {
        Period::day_in(seconds * 1000, &TimeZone::UTC).to_string()
    }

    #[test]
    fn days_begin_at_midnight_of_the_zone() {
        assert_eq!(day(951_782_399), "2000-02-28");
        assert_eq!(day(951_782_400), "2000-02-29");
        assert_eq!(day(951_868_800), "2000-03-01");
        let east = TimeZone::fixed(jiff::tz::offset(2));
        assert_eq!(Period::day_in(951_782_399_000, &east).to_string(), "2000-02-29");
    }

    #[test]
    fn dates_out_of_range_are_the_nearest_day() {
        let west = TimeZone::fixed(jiff::tz::offset(-5));
        assert_eq!(Period::day_in(0, &west).to_string(), "1970-01-01");
        assert_eq!(Period::day_in(u64::MAX, &west).to_string(), "9999-12-30");
        assert_eq!(Period::from_number(19_700_103).unwrap().days_before(9).number(), 19_700_101);
    }

    #[test]
    fn reads_what_it_prints_and_nothing_else() {
        for text in ["2026-11-22", "2026-11", "1970-01-01"] {
            let period: Period = text.parse().unwrap();
            assert_eq!(period.to_string(), text);
            assert_eq!(Period::from_number(period.number()), Some(period));
        }
        for text in ["", "2026", "2026-1", "2026-13", "2026-11-31", "2026-11-00", "+026-11-01"] {
            assert_eq!(text.parse::<Period>(), Err(ParsePeriodError), "{text}");
        }
    }
}
