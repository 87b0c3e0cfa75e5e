//! Classifying an error reply: the class fits the status, the wait that a header names is the wait,
//! and what the caller is shown is bounded, valid JSON and never the words about a credential.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode};
use serde_json::Value;
use tollway_core::{ErrorClass, Failure};
use tollway_dialect::openai::error::{body_of, classify, classify_event, shape};

use super::input;

/// As it comes over the wire: a status line, header lines, an empty line, a body.
pub fn check(data: &[u8]) {
    let (head, body) = input::split_head(data);
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let word = line.split(|byte| *byte == b' ').nth(1);
    let status = word.and_then(|word| StatusCode::from_bytes(word).ok());
    let status = status.unwrap_or(StatusCode::BAD_REQUEST);
    let headers = input::headers(head);
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000);
    let failure = classify(status, &headers, body, now);
    shown(&failure);
    fits(failure.class(), status);
    assert_eq!(told(&failure), told(&classify(status, &headers, body, now)), "twice the same");
    if let Some(asked) = plain_wait(&headers) {
        let told = failure.retry_after();
        assert!(told == Some(asked) || !failure.retryable_on_same_target(), "{told:?} {asked:?}");
    }
    let event = classify_event(body, now);
    shown(&event);
    let bare = classify(status, &HeaderMap::new(), body, now);
    assert_eq!(bare.class(), failure.class(), "headers changed the class");
}

fn told(failure: &Failure) -> (ErrorClass, &str, Option<Duration>) {
    (failure.class(), failure.message(), failure.retry_after())
}

fn shown(failure: &Failure) {
    let message = failure.message();
    assert!(!message.is_empty() && message.chars().count() <= 500, "{message}");
    let body: Value = serde_json::from_slice(&body_of(failure)).expect("JSON");
    assert_eq!(body["error"]["message"], message);
    assert_eq!(body["error"]["type"], shape(failure.class()).kind);
    if failure.class() == ErrorClass::Auth {
        let rest = message.strip_prefix("The provider refused the credential");
        let rest = rest.unwrap_or(message).trim_end_matches('.');
        let reason = rest.strip_prefix(" (").and_then(|rest| rest.strip_suffix(')'));
        let number = reason.and_then(|reason| reason.get(..3)?.parse::<u16>().ok());
        assert!(rest.is_empty() || number.is_some(), "shows the provider's words: {message}");
    }
}

fn fits(class: ErrorClass, status: StatusCode) {
    use ErrorClass::{Auth, Cancelled, ContentFilter, ContextLength, Invalid, NotFound, Quota};
    let of_the_request = [Auth, ContentFilter, ContextLength, Invalid, NotFound];
    match status.as_u16() {
        402 => assert_eq!(class, Quota),
        429 => assert!(!matches!(class, Auth | Invalid | NotFound), "{class}"),
        500.. => assert!(!of_the_request.contains(&class), "{class} for {status}"),
        _ => {}
    }
    assert_ne!(class, Cancelled, "a provider cannot know that");
}

/// Whole seconds or milliseconds, where nothing else is said.
fn plain_wait(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok();
    let number = |text: &str| match text.len() {
        1..=9 if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
        _ => None,
    };
    match text("retry-after-ms") {
        Some(millis) => number(millis).map(Duration::from_millis),
        None => text("retry-after").and_then(number).map(Duration::from_secs),
    }
}
