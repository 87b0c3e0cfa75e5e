//! Rate-limit headers: each limit comes from its own headers, its numbers are those that stand
//! there, nothing else is read, and a duration written is the duration read.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use tollway_dialect::ratelimit::{RateLimits, Reset, Window, parse_duration};

use super::input;

/// Header lines.
pub fn check(data: &[u8]) {
    let headers = input::headers(data);
    let limits = RateLimits::from_headers(&headers);
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000);
    for window in all(&limits).into_iter().flatten() {
        assert_ne!(window, Window::default(), "told nothing");
        for number in [window.limit, window.remaining].into_iter().flatten() {
            assert!(stands_in(&headers, number), "{number} made up");
        }
        let Some(reset) = window.reset else { continue };
        assert!(reset.after(SystemTime::UNIX_EPOCH) >= reset.after(now), "{reset:?}");
        if let Reset::At(at) = reset {
            assert_eq!(reset.after(at), Duration::ZERO);
        }
    }
    let none = all(&limits).iter().all(Option::is_none);
    assert_eq!(limits.is_empty(), none);

    let known = |name: &str| name.contains("ratelimit");
    let ours = headers.iter().filter(|(name, _)| known(name.as_str()));
    let ours = ours.map(|(name, value)| (name.clone(), value.clone())).collect();
    assert_eq!(RateLimits::from_headers(&ours), limits, "read from another header");
    let mut without = headers.clone();
    for part in ["limit", "remaining", "reset"] {
        without.remove(format!("x-ratelimit-{part}-requests"));
        without.remove(format!("anthropic-ratelimit-requests-{part}"));
    }
    let mut expected = limits;
    expected.requests = None;
    assert_eq!(RateLimits::from_headers(&without), expected, "one limit told another");

    durations(input::number(data));
    for value in headers.values() {
        if let Some(wait) = value.to_str().ok().and_then(parse_duration) {
            let again = format!("{}ns", wait.as_nanos());
            let exact = wait.as_nanos() < 1 << 53;
            assert!(!exact || parse_duration(&again) == Some(wait), "{wait:?}");
        }
    }
}

fn all(limits: &RateLimits) -> [Option<Window>; 5] {
    let RateLimits { requests, tokens, project_tokens, input_tokens, output_tokens, .. } = *limits;
    [requests, tokens, project_tokens, input_tokens, output_tokens]
}

fn stands_in(headers: &HeaderMap, number: u64) -> bool {
    headers.values().any(|value| {
        let text = value.to_str().unwrap_or_default().trim();
        let digits = text.trim_start_matches('+').trim_start_matches('0');
        digits == number.to_string() || (number == 0 && digits.is_empty())
    })
}

/// Go's form of a duration comes back as it was.
fn durations(number: u64) {
    let millis = number % (1 << 42);
    let (hours, minutes) = (millis / 3_600_000, millis / 60_000 % 60);
    let (seconds, rest) = (millis / 1000 % 60, millis % 1000);
    let wait = Some(Duration::from_millis(millis));
    assert_eq!(parse_duration(&format!("{hours}h{minutes}m{seconds}.{rest:03}s")), wait);
    assert_eq!(parse_duration(&format!("{}m{seconds}s{rest}ms", hours * 60 + minutes)), wait);
    assert_eq!(parse_duration(&format!("-{seconds}s")), None);
}
