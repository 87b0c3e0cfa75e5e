//! UTC calendar windows as nanoseconds since 1970. No instant panics; the ends of time saturate.

/// A calendar window in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Period {
    /// From one full hour to the next.
    Hour,
    /// From midnight to midnight.
    Day,
    /// From the first of a month to the first of the next.
    Month,
}

const SECOND: u64 = 1_000_000_000;
const HOUR: u64 = 3600 * SECOND;
const DAY: u64 = 24 * HOUR;

/// Start and end of the period that holds `now`.
pub(super) fn span(period: Period, now: u64) -> (u64, u64) {
    let fixed = |length: u64| {
        let start = now - now % length;
        (start, start.saturating_add(length))
    };
    match period {
        Period::Hour => fixed(HOUR),
        Period::Day => fixed(DAY),
        Period::Month => {
            let month = month_of(now / DAY);
            (first_day(month) * DAY, first_day(month + 1).saturating_mul(DAY))
        }
    }
}

/// A length that no such period is shorter than.
pub(super) fn at_least(period: Period) -> u64 {
    match period {
        Period::Hour => HOUR,
        Period::Day => DAY,
        Period::Month => 28 * DAY,
    }
}

/// Days from 1970-01-01 to the first of `month`, counted in months from January 1970.
fn first_day(month: u64) -> u64 {
    let (year, month) = (1970 + month / 12, month % 12);
    let before = year - 1;
    let leap_days = before / 4 - before / 100 + before / 400;
    let days = before * 365 + leap_days - 719_162;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let lengths = [31, 28 + u64::from(leap), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    days + lengths.iter().take(month as usize).sum::<u64>()
}

fn month_of(day: u64) -> u64 {
    // No month is longer than 31 days, so this is never late, and early by a few months at most.
    let mut month = (day / 31).max(day * 12 / 366);
    while first_day(month + 1) <= day {
        month += 1;
    }
    month
}

#[cfg(test)]
mod tests {
    use jiff::{Timestamp, ToSpan, tz::TimeZone};

    use super::*;

    fn nanos(text: &str) -> u64 {
        u64::try_from(text.parse::<Timestamp>().unwrap().as_nanosecond()).unwrap()
    }

    #[test]
    fn months_have_their_lengths() {
        for (now, start, end) in [
            ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "1970-02-01T00:00:00Z"),
            ("2028-02-29T23:59:59.999999999Z", "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"),
            ("2100-02-28T12:00:00Z", "2100-02-01T00:00:00Z", "2100-03-01T00:00:00Z"),
            ("2026-12-31T23:59:59Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        ] {
            assert_eq!(span(Period::Month, nanos(now)), (nanos(start), nanos(end)), "{now}");
        }
    }

    #[test]
    fn the_end_of_time_is_no_panic() {
        for period in [Period::Hour, Period::Day, Period::Month] {
            let (start, end) = span(period, u64::MAX);
            assert!(start < end);
        }
    }

    proptest::proptest! {
        /// A second implementation of the calendar agrees.
        #[test]
        fn agrees_with_jiff(now in 0..nanos("2500-01-01T00:00:00Z")) {
            let date = Timestamp::from_nanosecond(now.into()).unwrap().to_zoned(TimeZone::UTC);
            let first = date.first_of_month().unwrap().start_of_day().unwrap();
            let next = &first + 1.month();
            let nanos = |date: &jiff::Zoned| u64::try_from(date.timestamp().as_nanosecond()).unwrap();
            proptest::prop_assert_eq!(span(Period::Month, now), (nanos(&first), nanos(&next)));
            let day = date.start_of_day().unwrap();
            proptest::prop_assert_eq!(span(Period::Day, now).0, nanos(&day));
        }
    }
}
