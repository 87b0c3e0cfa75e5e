use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

use super::ApiError;
use crate::policy;

/// From when on something is of no use, in milliseconds since 1970: a time from `now` on (`30d`), a day's
/// beginning (`2026-12-31`) or a time of a day (`2026-12-31T18:00`) by the policy's time zone, or a moment
/// with a zone of its own (`2026-12-31T18:00:00Z`, as in RFC 3339).
///
/// # Errors
///
/// It is none of them, over already, or later than the year 9999.
pub(super) fn expiry(text: &str, now: u64, zone: &TimeZone) -> Result<u64, ApiError> {
    let wrong = |why: &str| {
        let text: String = text.chars().take(80).collect();
        let expected = "a time such as `30d`, or a date such as `2026-12-31`, `2026-12-31T18:00` or \
                        `2026-12-31T18:00:00Z`";
        ApiError::bad("expires", format!("expires: `{text}` {why}; expected {expected}"))
    };
    let at = match text.parse().ok().or_else(|| of_the_zone(text, zone)) {
        Some(moment) => u64::try_from(Timestamp::as_millisecond(moment)).unwrap_or(0),
        None if is_dated(text) => {
            return Err(wrong("is no date of the calendar, or not the whole of one"));
        }
        None => {
            let time = policy::duration(text).map_err(|why| wrong(&why))?;
            let at = u128::from(now).saturating_add(time.as_millis());
            let last = u128::try_from(Timestamp::MAX.as_millisecond()).unwrap_or(0);
            if at > last {
                return Err(wrong("is later than the year 9999"));
            }
            u64::try_from(at).unwrap_or(u64::MAX)
        }
    };
    if at > now { Ok(at) } else { Err(wrong("is over already")) }
}

/// Whether it begins with a year.
fn is_dated(text: &str) -> bool {
    let year = text.split_once('-').map_or("", |(year, _)| year);
    year.len() == 4 && year.bytes().all(|digit| digit.is_ascii_digit())
}

/// A day, or a time of one, where the clock shows `zone`.
fn of_the_zone(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    // Jiff reads `2026-12-31T18:00[Europe/Paris]` too, and forgets Paris.
    let said: Option<DateTime> = (!text.contains('[')).then(|| text.parse().ok())?;
    Some(said?.to_zoned(zone.clone()).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    // 2026-11-22T00:00:00Z.
    const NOW: u64 = 1_795_305_600_000;

    fn read(text: &str) -> Result<u64, ApiError> {
        expiry(text, NOW, &TimeZone::get("Europe/Berlin").unwrap())
    }

    #[test]
    fn expiries_are_times_days_or_moments() {
        const DAY: u64 = 86_400_000;
        for (text, from_now) in [
            ("30d", 30 * DAY),
            ("1h30m", 5_400_000),
            ("400d", 400 * DAY),
            ("3660d", 3_660 * DAY),
            ("2026-11-22T00:00:01Z", 1_000),
            ("2026-11-22T02:00:00+01:00", 3_600_000),
            ("2026-11-22T02:00:00.5+01:00", 3_600_500),
            // By the clock in Berlin.
            ("2026-11-23", 23 * 3_600_000),
            ("2026-11-23T00:00", 23 * 3_600_000),
            ("2026-11-23T12:30", 35 * 3_600_000 + 1_800_000),
            ("2026-11-23 12:30:01", 35 * 3_600_000 + 1_801_000),
            ("2027-06-01T12:00", 191 * DAY + 10 * 3_600_000),
        ] {
            assert_eq!(read(text).unwrap(), NOW + from_now, "{text}");
        }
        let last = "9999-12-30".parse::<DateTime>().unwrap().to_zoned(TimeZone::UTC).unwrap();
        let last = u64::try_from(last.timestamp().as_millisecond()).unwrap();
        assert!(read("9999-12-30").unwrap().abs_diff(last) < DAY);
    }

    #[test]
    fn what_is_none_is_told() {
        for (text, said) in [
            ("0", "over already"),
            ("2026-11-22", "over already"),
            ("2026-11-22T00:59", "over already"),
            ("1970-01-01", "over already"),
            ("soon", "not a time"),
            ("", "empty"),
            ("30", "no unit"),
            ("-3d", "not a time"),
            ("99999999d", "too long"),
            (
                "213000d 213000d 213000d 213000d 213000d 213000d 213000d 213000d 213000d 213000d 213000d 213000d 213000d 213000d",
                "year 9999",
            ),
            ("2026-13-01", "`2026-13-01` is no date"),
            ("2026-02-30", "`2026-02-30` is no date"),
            ("2026-12", "`2026-12` is no date"),
            ("2026-12-31T25:00", "`2026-12-31T25:00`"),
            ("2026-12-31T18:00[Europe/Paris]", "2026-12-31T18:00:00Z"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.message().contains(said), "{text}: {}", error.message());
        }
    }
}
