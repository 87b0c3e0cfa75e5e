//! `Retry-After`: reads what a plain reader reads, agrees with the error classifier, and a retry
//! waits at least as long as asked, never much longer, and not at all beyond its bound.

use std::{
    cell::Cell,
    convert::Infallible,
    time::{Duration, SystemTime},
};

use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use tokio::time::Instant;
use tollway_dialect::openai::error::classify;
use tollway_retry::{Config, RetryLayer, Settings, SplitMix, forbids_retry, retry_after};
use tower::{Layer, ServiceExt, service_fn};

use super::input;

const NOW: u64 = 1_795_000_000;

/// Header lines; where none is any, all of it is the value of `Retry-After`.
pub fn check(data: &[u8]) {
    let mut headers = input::headers(data);
    if headers.is_empty() {
        let Ok(value) = HeaderValue::from_bytes(data) else { return };
        headers.insert("retry-after", value);
    }
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
    let wait = retry_after(&headers, now);
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let millis =
        text("retry-after-ms").and_then(decimal).map(|ms| Duration::from_secs_f64(ms / 1e3));
    let seconds = || text("retry-after").and_then(decimal).map(Duration::from_secs_f64);
    match millis.or_else(seconds) {
        Some(expected) => close(wait, expected),
        // A date is no further off than the calendar goes; more needs more digits.
        None => {
            let long = headers.values().any(|value| value.len() > 12);
            assert!(long || wait.is_none_or(|wait| wait.as_secs() < 1 << 38), "{wait:?}");
        }
    }
    agrees_with_classifier(&headers, wait, now);
    written_and_read(input::number(data), now);
    obeyed(&headers, wait, now);
}

/// A number of at most 15 digits, which a float holds; nothing else.
fn decimal(text: &str) -> Option<f64> {
    let text = text.trim();
    let plain = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let short = whole.len() <= 12 && fraction.len() <= 9;
    (short && plain(whole) && plain(fraction)).then(|| text.parse().ok())?
}

fn close(wait: Option<Duration>, expected: Duration) {
    let off = wait.map(|wait| wait.abs_diff(expected).as_secs_f64());
    let most = 1e-8 + expected.as_secs_f64() * 1e-12;
    assert!(off.is_some_and(|off| off <= most), "{wait:?}, but {expected:?} is asked");
}

fn agrees_with_classifier(headers: &HeaderMap, wait: Option<Duration>, now: SystemTime) {
    // Milliseconds of any other form are read by one of the two only.
    let millis = headers.get("retry-after-ms").map(|value| value.to_str().ok().and_then(decimal));
    let Some(wait) = wait.filter(|_| millis.is_none_or(|millis| millis.is_some())) else { return };
    // Neither obeys a wait of centuries, nor holds it exactly.
    if wait.as_secs() < 1 << 33 {
        close(classify(StatusCode::TOO_MANY_REQUESTS, headers, b"", now).retry_after(), wait);
    }
}

fn written_and_read(number: u64, now: SystemTime) {
    let with = |text: String| {
        let value = HeaderValue::from_str(&text).expect("plain text");
        retry_after(&HeaderMap::from_iter([(http::header::RETRY_AFTER, value)]), now)
    };
    assert_eq!(with(number.to_string()), Some(Duration::from_secs(number)));
    assert_eq!(with(format!("-{number}")), None);
    let date = number % 253_402_300_800;
    let stamp = jiff::Timestamp::from_second(date as i64).expect("before the year 10000");
    let date = jiff::fmt::rfc2822::DateTimePrinter::new()
        .timestamp_to_rfc9110_string(&stamp)
        .expect("after the year 0");
    let expected = (number % 253_402_300_800).saturating_sub(NOW);
    assert_eq!(with(date), Some(Duration::from_secs(expected)));
}

fn obeyed(headers: &HeaderMap, wait: Option<Duration>, now: SystemTime) {
    let settings = Settings { attempts: 2, ..Settings::default() };
    let config = Config::new(settings.clone()).expect("in their ranges");
    let layer = RetryLayer::builder(config)
        .random(SplitMix::from_seed(headers.len() as u64))
        .clock(move || now);
    let calls = Cell::new(0);
    let service = layer.build().layer(service_fn(|_: Request<()>| {
        calls.set(calls.get() + 1);
        let mut response = Response::new(());
        if calls.get() == 1 {
            *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
            *response.headers_mut() = headers.clone();
        }
        std::future::ready(Ok::<_, Infallible>(response))
    }));
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime without any I/O");
    let (took, status) = runtime.block_on(async {
        let start = Instant::now();
        let response = service.oneshot(Request::new(())).await.expect("it always answers");
        (start.elapsed(), response.status())
    });
    let beyond = wait.is_some_and(|wait| wait > settings.obey_up_to);
    if beyond || forbids_retry(headers) {
        let at_once = (1, StatusCode::TOO_MANY_REQUESTS, Duration::ZERO);
        assert_eq!((calls.get(), status, took), at_once);
        return;
    }
    assert_eq!((calls.get(), status), (2, StatusCode::OK));
    let least = wait.unwrap_or_default();
    assert!(took >= least && took <= least + Duration::from_millis(1002), "{took:?} for {wait:?}");
}
