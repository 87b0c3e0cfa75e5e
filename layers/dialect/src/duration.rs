//! Durations and dates as providers write them.

use std::time::{Duration, SystemTime};

/// Reads a duration in Go's form (`1h2m3.5s`, `250ms`, `6m0s`, `20us`); a bare number is seconds.
///
/// Negative, endless and unreadable values are `None`.
///
/// ```
/// use std::time::Duration;
/// use tollway_dialect::ratelimit::parse_duration;
///
/// assert_eq!(parse_duration("1m12.5s"), Some(Duration::from_millis(72_500)));
/// assert_eq!(parse_duration("20ms"), Some(Duration::from_millis(20)));
/// assert_eq!(parse_duration("-1s"), None);
/// ```
pub fn parse_duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let (whole, rest) = take_duration(text)?;
    rest.is_empty().then_some(whole)
}

/// The duration at the start of `text`, and what follows it.
pub(crate) fn take_duration(text: &str) -> Option<(Duration, &str)> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    let mut groups = 0;
    while rest.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        let Some((seconds, after)) = take_group(rest, groups == 0) else { break };
        total = total.checked_add(seconds)?;
        rest = after;
        groups += 1;
    }
    (groups > 0).then_some((total, rest))
}

fn take_group(text: &str, bare: bool) -> Option<(Duration, &str)> {
    let digits = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (mut number, mut rest) = text.split_at(digits);
    if let Some(plain) = number.strip_suffix('.') {
        // The full stop of a sentence.
        number = plain;
        rest = text.get(plain.len()..)?;
    }
    let units: [(&str, f64); 6] =
        [("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    let unit = units.iter().find_map(|(unit, size)| Some((*size, rest.strip_prefix(unit)?)));
    let (size, rest) = match unit {
        Some(found) => found,
        None if bare => (1.0, rest),
        None => return None,
    };
    // Whole digits first, so that 1.146 s is not 1145 ms.
    let value: f64 = number.parse().ok()?;
    let nanos = (value * size * 1e9).round();
    if !(nanos.is_finite() && (0.0..=9.2e18).contains(&nanos)) {
        return None;
    }
    Some((Duration::from_nanos(nanos as u64), rest))
}

/// `Retry-After` (RFC 9110, section 10.2.3): seconds, decimals allowed, or an HTTP date.
///
/// A date that has passed is no wait. A negative or unreadable value is `None`.
pub(crate) fn retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return parse_duration(text);
    }
    let at = http_date(text)?;
    Some(at.duration_since(now).unwrap_or(Duration::ZERO))
}

/// An HTTP date in any of its three forms (RFC 9110, section 5.6.7).
pub(crate) fn http_date(text: &str) -> Option<SystemTime> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (mut day, mut month, mut year, mut clock) = (None, None, None, None);
    for word in text.split([' ', ',', '-']).filter(|word| !word.is_empty()).skip(1) {
        if let Some(at) = MONTHS.iter().position(|name| *name == word) {
            month = Some(at as u64 + 1);
        } else if word.contains(':') {
            clock = Some(clock_seconds(word)?);
        } else if let Ok(number) = word.parse::<u64>() {
            match (day, word.len()) {
                (None, 1 | 2) => day = Some(number),
                // RFC 850's two digits: 70 and above are the last century.
                (Some(_), 2) => year = Some(number + if number >= 70 { 1900 } else { 2000 }),
                (_, 4) => year = Some(number),
                _ => return None,
            }
        } else if word != "GMT" {
            return None;
        }
    }
    instant(year?, month?, day?, clock?)
}

/// A UTC time in RFC 3339: `2026-11-22T10:15:30Z`, fractions and offsets allowed.
pub(crate) fn rfc3339(text: &str) -> Option<SystemTime> {
    let (date, time) = text.trim().split_once(['T', 't', ' '])?;
    let mut date = date.splitn(3, '-').map(|part| part.parse::<u64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let zone = time.find(['Z', 'z', '+', '-'])?;
    let (clock, zone) = time.split_at(zone);
    let clock = clock.split_once('.').map_or(clock, |(whole, _)| whole);
    let at = instant(year, month, day, clock_seconds(clock)?)?;
    match zone.split_at_checked(1)? {
        ("Z" | "z", "") => Some(at),
        ("+", offset) => at.checked_sub(Duration::from_secs(offset_seconds(offset)?)),
        ("-", offset) => at.checked_add(Duration::from_secs(offset_seconds(offset)?)),
        _ => None,
    }
}

fn offset_seconds(text: &str) -> Option<u64> {
    let (hours, minutes) = text.split_once(':')?;
    let (hours, minutes) = (hours.parse::<u64>().ok()?, minutes.parse::<u64>().ok()?);
    (hours < 24 && minutes < 60).then_some(hours * 3600 + minutes * 60)
}

fn clock_seconds(text: &str) -> Option<u64> {
    let mut parts = text.splitn(3, ':').map(|part| part.parse::<u64>().ok());
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    (hour < 24 && minute < 60 && second <= 60).then_some(hour * 3600 + minute * 60 + second)
}

fn instant(year: u64, month: u64, day: u64, seconds: u64) -> Option<SystemTime> {
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Days from civil date: March-based years, so that the leap day comes last.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1;
    let days = days.checked_sub(719_468)?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(days * 86_400 + seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unix(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn durations() {
        for (text, millis) in [
            ("1s", 1000),
            ("6m0s", 360_000),
            ("20ms", 20),
            ("59.5s", 59_500),
            ("1h2m3s", 3_723_000),
            ("8.64s", 8640),
            ("2m59.56s", 179_560),
            ("250ms", 250),
            ("0s", 0),
            ("12", 12_000),
            ("1.146s", 1146),
            ("31s", 31_000),
        ] {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "-1", "-1s", "1x", "1s2", "..s", "1.2.3s", "NaN", "inf", "1e9", "1d"]
        {
            assert_eq!(parse_duration(text), None, "{text}");
        }
        assert_eq!(parse_duration(&"9".repeat(40)), None);
    }

    #[test]
    fn retry_after_reads_seconds_and_dates() {
        let now = unix(784_111_770);
        assert_eq!(retry_after("7", now), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("1.5", now), Some(Duration::from_millis(1500)));
        assert_eq!(retry_after("31536000", now), Some(Duration::from_secs(31_536_000)));
        for date in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(retry_after(date, now), Some(Duration::from_secs(7)), "{date}");
            assert_eq!(retry_after(date, unix(784_111_800)), Some(Duration::ZERO), "{date}");
        }
        for bad in ["-1", "soon", "", "Sun, 99 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 8 GMT"] {
            assert_eq!(retry_after(bad, now), None, "{bad}");
        }
    }

    #[test]
    fn rfc3339_times() {
        assert_eq!(rfc3339("2026-11-22T10:15:30Z"), Some(unix(1_795_342_530)));
        assert_eq!(rfc3339("2026-11-22T11:15:30.25+01:00"), Some(unix(1_795_342_530)));
        assert_eq!(rfc3339("2024-02-29T00:00:00Z"), Some(unix(1_709_164_800)));
        for bad in ["", "2026-11-22", "2026-13-22T10:15:30Z", "2026-11-22T10:15Z", "x"] {
            assert_eq!(rfc3339(bad), None, "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(text in ".{0,40}", near in "[0-9.hmsTZ:, +-]{0,24}") {
            for text in [text, near] {
                let _ = (parse_duration(&text), http_date(&text), rfc3339(&text));
            }
        }
    }
}
