use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderValue, header};

/// How long a reply asks its caller to wait: `retry-after-ms` (milliseconds, decimals allowed), else
/// `Retry-After` in seconds (decimals allowed) or as an HTTP date (RFC 9110, section 10.2.3, in all
/// three forms).
///
/// Nothing sensible (negative, garbage, not ASCII) is `None`; a date that has passed is zero. Not
/// capped: the caller's policy says how long it obeys. Never panics, whatever the bytes.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use http::HeaderMap;
///
/// let mut headers = HeaderMap::new();
/// headers.insert("retry-after", "1.5".parse().unwrap());
/// let wait = tollway_retry::retry_after(&headers, SystemTime::UNIX_EPOCH);
/// assert_eq!(wait, Some(Duration::from_millis(1500)));
/// ```
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    if let Some(wait) = headers.get("retry-after-ms").and_then(milliseconds) {
        return Some(wait);
    }
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Some((seconds, nanos)) = decimal(text) {
        return Some(Duration::new(seconds, nanos));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or(Duration::ZERO))
}

/// Whether the reply forbids trying the same target again (`x-should-retry: false`, as OpenAI and
/// its clients use it).
pub fn forbids_retry(headers: &HeaderMap) -> bool {
    headers
        .get("x-should-retry")
        .is_some_and(|value| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"false"))
}

fn milliseconds(value: &HeaderValue) -> Option<Duration> {
    let (whole, nanos) = decimal(value.to_str().ok()?.trim())?;
    Some(Duration::from_millis(whole).saturating_add(Duration::from_nanos(u64::from(nanos) / 1000)))
}

/// Whole units and billionths of a plain decimal number (`12`, `1.5`); too many digits saturate.
fn decimal(text: &str) -> Option<(u64, u32)> {
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
        Some(_) => return None,
        None => (text, ""),
    };
    let plain = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !plain(whole) || !plain(fraction) {
        return None;
    }
    let whole = whole.parse().unwrap_or(u64::MAX);
    let digits = fraction.bytes().chain(std::iter::repeat(b'0')).take(9);
    Some((whole, digits.fold(0, |nanos, digit| nanos * 10 + u32::from(digit - b'0'))))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Duration = Duration::from_secs(784_111_777 - 30);

    fn parse(pairs: &[(&'static str, &str)]) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        retry_after(&headers, SystemTime::UNIX_EPOCH + NOW)
    }

    fn seconds(text: &str) -> Option<Duration> {
        parse(&[("retry-after", text)])
    }

    #[test]
    fn seconds_whole_and_decimal() {
        assert_eq!(seconds("20"), Some(Duration::from_secs(20)));
        assert_eq!(seconds(" 0 "), Some(Duration::ZERO));
        assert_eq!(seconds("0.25"), Some(Duration::from_millis(250)));
        assert_eq!(seconds("1.9999999999"), Some(Duration::new(1, 999_999_999)));
        assert_eq!(seconds("31536000"), Some(Duration::from_secs(31_536_000)));
        assert_eq!(seconds("99999999999999999999999"), Some(Duration::from_secs(u64::MAX)));
    }

    #[test]
    fn dates_in_all_three_forms() {
        for date in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(seconds(date), Some(Duration::from_secs(30)), "{date}");
        }
        assert_eq!(seconds("Tue, 06 Nov 1984 08:49:37 GMT"), Some(Duration::ZERO));
    }

    #[test]
    fn milliseconds_come_first() {
        let both = |ms| parse(&[("retry-after-ms", ms), ("retry-after", "7")]);
        assert_eq!(both("1500"), Some(Duration::from_millis(1500)));
        assert_eq!(both("0.5"), Some(Duration::from_micros(500)));
        assert_eq!(both("soon"), Some(Duration::from_secs(7)));
        assert_eq!(both("-1"), Some(Duration::from_secs(7)));
    }

    #[test]
    fn garbage_is_no_hint() {
        for text in ["", "-1", "+1", "1e3", "1.", ".5", "1.2.3", "inf", "NaN", "2 s", "1,5", "é"] {
            assert_eq!(seconds(text), None, "{text:?}");
        }
        assert_eq!(parse(&[]), None);
    }

    #[test]
    fn only_false_forbids() {
        let with = |value: &'static str| {
            forbids_retry(
                &[(
                    http::HeaderName::from_static("x-should-retry"),
                    HeaderValue::from_static(value),
                )]
                .into_iter()
                .collect(),
            )
        };
        assert!(with("false") && with(" False "));
        assert!(!with("true") && !with("") && !forbids_retry(&HeaderMap::new()));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(ms: Vec<u8>, seconds: Vec<u8>, now: u32) {
            let mut headers = HeaderMap::new();
            for (name, bytes) in [("retry-after-ms", ms), ("retry-after", seconds)] {
                if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                    headers.insert(name, value);
                }
            }
            let _ = retry_after(&headers, SystemTime::UNIX_EPOCH + Duration::from_secs(now.into()));
            let _ = forbids_retry(&headers);
        }

        #[test]
        fn nearly_right_values_do_not_panic(text in "[0-9.:, A-Za-z+-]{0,40}") {
            let _ = seconds(&text);
        }

        #[test]
        fn reads_back_any_number(whole in 0..1_000_000_000_u64, millis in 0..1000_u32) {
            let wait = Duration::new(whole, millis * 1_000_000);
            prop_assert_eq!(seconds(&format!("{whole}.{millis:03}")), Some(wait));
        }
    }
}
