//! Response headers that tell a client how a limit stands.

use std::{fmt::Write, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{Period, Quota, Standing, Unit};

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

const REQUESTS: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit-requests"),
    HeaderName::from_static("x-ratelimit-remaining-requests"),
    HeaderName::from_static("x-ratelimit-reset-requests"),
];
const TOKENS: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit-tokens"),
    HeaderName::from_static("x-ratelimit-remaining-tokens"),
    HeaderName::from_static("x-ratelimit-reset-tokens"),
];

/// Whole seconds, rounded up: whoever waits that long is never early.
pub(crate) fn seconds(time: Duration) -> u64 {
    time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0))
}

pub(crate) fn write(standing: &Standing, headers: &mut HeaderMap) {
    // draft-ietf-httpapi-ratelimit-headers: structured fields, `w` and `t` in whole seconds.
    let mut policy = format!("\"{}\";q={}", standing.limit, standing.capacity);
    if let Some(window) = window(standing.quota) {
        let _ = write!(policy, ";w={window}");
    }
    let mut limit = format!("\"{}\";r={}", standing.limit, standing.remaining);
    if let Some(reset) = standing.reset {
        let _ = write!(limit, ";t={}", seconds(reset));
    }
    insert(headers, POLICY, &policy);
    insert(headers, LIMIT, &limit);

    let [capacity, remaining, reset] = match (standing.unit, standing.quota) {
        (_, Quota::Concurrent { .. }) => return,
        (Unit::Requests, _) => REQUESTS,
        (Unit::Tokens | Unit::InputTokens | Unit::OutputTokens, _) => TOKENS,
        _ => return,
    };
    headers.insert(capacity, standing.capacity.into());
    headers.insert(remaining, standing.remaining.into());
    if let Some(time) = standing.reset {
        insert(headers, reset, &go_duration(time));
    }
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    // A limit's name is checked when it is built, so the value always fits.
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// Seconds of the window that a full capacity is for; only where they are whole and always the same.
fn window(quota: Quota) -> Option<u64> {
    let window = match quota {
        Quota::TokenBucket { amount, per, burst } => {
            // The time in which a whole bucket comes back.
            let nanos = per.as_nanos().checked_mul(burst.into())? / u128::from(amount.max(1));
            Duration::from_nanos(u64::try_from(nanos).ok()?)
        }
        Quota::SlidingWindow { window, .. } => window,
        Quota::Calendar { period: Period::Hour, .. } => Duration::from_secs(3600),
        Quota::Calendar { period: Period::Day, .. } => Duration::from_secs(86_400),
        Quota::Calendar { period: Period::Month, .. } | Quota::Concurrent { .. } => return None,
    };
    (window.subsec_nanos() == 0).then_some(window.as_secs()).filter(|seconds| *seconds > 0)
}

/// As Go prints a duration, to the millisecond and rounded up: `20ms`, `59.5s`, `1m2.5s`, `1h0m3s`.
fn go_duration(time: Duration) -> String {
    let millis = time.as_nanos().div_ceil(1_000_000);
    if millis == 0 {
        return "0s".into();
    }
    if millis < 1000 {
        return format!("{millis}ms");
    }
    let (seconds, millis) = (millis / 1000, millis % 1000);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let mut text = String::new();
    if hours > 0 {
        let _ = write!(text, "{hours}h");
    }
    if hours > 0 || minutes > 0 {
        let _ = write!(text, "{minutes}m");
    }
    let _ = write!(text, "{seconds}");
    if millis > 0 {
        let fraction = format!("{millis:03}");
        let _ = write!(text, ".{}", fraction.trim_end_matches('0'));
    }
    text.push('s');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_printed_as_go_does() {
        for (nanos, text) in [
            (0, "0s"),
            (1, "1ms"),
            (20_000_000, "20ms"),
            (999_999_999, "1s"),
            (59_500_000_000, "59.5s"),
            (62_500_000_000, "1m2.5s"),
            (360_000_000_000, "6m0s"),
            (3_603_000_000_000, "1h0m3s"),
            (8_640_000_000, "8.64s"),
        ] {
            assert_eq!(go_duration(Duration::from_nanos(nanos)), text);
        }
    }

    #[test]
    fn seconds_are_rounded_up() {
        assert_eq!(seconds(Duration::ZERO), 0);
        assert_eq!(seconds(Duration::from_nanos(1)), 1);
        assert_eq!(seconds(Duration::from_secs(7)), 7);
        assert_eq!(seconds(Duration::MAX), u64::MAX);
    }
}
