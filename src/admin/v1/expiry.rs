use jiff::{Timestamp, civil::Date, tz::TimeZone};

use super::ApiError;
use crate::policy;

/// From when on something is of no use, in milliseconds since 1970: a time from `now` on (`30d`), a moment
/// (`2026-12-31T18:00:00Z`), or the beginning of a day of the policy's time zone (`2026-12-31`).
///
/// # Errors
///
/// It is none of them, or over already.
pub(super) fn expiry(text: &str, now: u64, zone: &TimeZone) -> Result<u64, ApiError> {
    let wrong = |why: &str| {
        let text: String = text.chars().take(80).collect();
        let expected = "a time such as `30d`, a day such as `2026-12-31`, or a moment such as `2026-12-31T18:00:00Z`";
        ApiError::bad("expires", format!("expires: `{text}` {why}; expected {expected}"))
    };
    let day = || text.parse::<Date>().ok()?.to_zoned(zone.clone()).ok();
    // A moment reads as a day, too.
    let moment = text.parse::<Timestamp>().ok().or_else(|| Some(day()?.timestamp()));
    let at = match moment {
        Some(at) => u64::try_from(at.as_millisecond()).unwrap_or(0),
        None => {
            let time = policy::duration(text).map_err(|why| wrong(&why))?;
            now.saturating_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
        }
    };
    if at > now { Ok(at) } else { Err(wrong("is over already")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expiries_are_times_days_or_moments() {
        // 2026-11-22T00:00:00Z.
        const NOW: u64 = 1_795_305_600_000;
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        let read = |text: &str| expiry(text, NOW, &berlin);
        assert_eq!(read("30d").unwrap(), NOW + 30 * 86_400_000);
        assert_eq!(read("1h30m").unwrap(), NOW + 5_400_000);
        assert_eq!(read("2026-11-23").unwrap(), NOW + 23 * 3_600_000, "midnight in Berlin");
        assert_eq!(read("2026-11-22T00:00:01Z").unwrap(), NOW + 1_000);
        assert_eq!(read("2026-11-22T02:00:00+01:00").unwrap(), NOW + 3_600_000);
        for (text, said) in [
            ("0", "over already"),
            ("2026-11-22", "over already"),
            ("1970-01-01", "over already"),
            ("soon", "not a time"),
            ("", "empty"),
            ("30", "no unit"),
            ("-3d", "not a time"),
            ("400d", "longer than a year"),
            ("2026-13-01", "`2026-13-01`"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.message().contains(said), "{text}: {}", error.message());
        }
    }
}
