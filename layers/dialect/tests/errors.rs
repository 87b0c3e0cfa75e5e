//! Error classes, waits and shapes beyond the samples.

#![allow(clippy::unwrap_used)]

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use proptest::prelude::*;
use serde_json::Value;
use tollway_core::{ErrorClass, Failure};
use tollway_dialect::{openai::error, ratelimit::RateLimits};

/// Sun, 06 Nov 1994 08:49:37 GMT
const NOW: Duration = Duration::from_secs(784_111_777);

fn classify(status: u16, headers: &[(&'static str, &str)], body: &str) -> Failure {
    let headers: HeaderMap = headers
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
        .collect();
    let status = StatusCode::from_u16(status).unwrap();
    error::classify(status, &headers, body.as_bytes(), SystemTime::UNIX_EPOCH + NOW)
}

fn wait(headers: &[(&'static str, &str)], body: &str) -> Option<u64> {
    classify(429, headers, body).retry_after().map(|wait| wait.as_millis() as u64)
}

#[test]
fn waits_are_believed_in_order_of_trust() {
    const TEXT: &str = r#"{"error":{"message":"Please try again in 6m0s. Thanks."}}"#;
    const DELAY: &str =
        r#"{"error":{"message":"try again in 1s","details":[{"retryDelay":"3.5s"}]}}"#;
    let (ms, secs) = (("retry-after-ms", "250"), ("retry-after", "7"));
    assert_eq!(wait(&[ms, secs], TEXT), Some(250));
    assert_eq!(wait(&[secs], TEXT), Some(7000));
    assert_eq!(wait(&[("retry-after", "1.5")], TEXT), Some(1500));
    assert_eq!(wait(&[("retry-after", "Sun, 06 Nov 1994 08:50:07 GMT")], TEXT), Some(30_000));
    assert_eq!(wait(&[("retry-after", "Sun, 06 Nov 1994 08:49:00 GMT")], TEXT), Some(0));
    assert_eq!(wait(&[], DELAY), Some(3500));
    assert_eq!(wait(&[], TEXT), Some(360_000));
    assert_eq!(wait(&[("retry-after", "31536000")], TEXT), Some(31_536_000_000));
    // Nonsense is passed over, not obeyed.
    for nonsense in ["-1", "soon", "", "NaN", "1e400", "99999999999999999999999"] {
        let both = [("retry-after-ms", nonsense), ("retry-after", nonsense)];
        assert_eq!(wait(&both, TEXT), Some(360_000), "{nonsense}");
    }
}

/// What a caller writes comes back in a provider's complaint; it must not speak for the provider.
#[test]
fn no_caller_can_blame_the_key() {
    let said = |message: &str| {
        let message =
            serde_json::json!({ "error": { "message": message, "type": "invalid_request_error" } });
        (
            classify(400, &[], &message.to_string()).class(),
            error::classify_event(message.to_string().as_bytes(), SystemTime::UNIX_EPOCH).class(),
        )
    };
    for theirs in [
        "Invalid value: 'incorrect api key provided'. Supported values are: 'system' and 'user'.",
        "incorrect api key provided: Extra inputs are not permitted",
        "incorrect api key provided: a***: Extra inputs are not permitted",
        "Unrecognized request argument supplied: API key not valid",
        "your credit balance is too low: Extra inputs are not permitted",
        "messages.0.role: Input should be `user`, not `you have reached your specified api usage limits`",
    ] {
        assert_eq!(said(theirs), (ErrorClass::Invalid, ErrorClass::Invalid), "{theirs}");
    }
    for (words, class) in [
        ("API key not valid. Please pass a valid API key.", ErrorClass::Auth),
        (
            "Incorrect API key provided: xa***00. You can obtain an API key from https://console.x.ai.",
            ErrorClass::Auth,
        ),
        (
            "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing.",
            ErrorClass::Quota,
        ),
        (
            "You have reached your specified API usage limits. You will regain access on 2026-12-01 at 00:00 UTC.",
            ErrorClass::Quota,
        ),
    ] {
        assert_eq!(said(words).0, class, "{words}");
    }
}

#[test]
fn waits_in_words() {
    for (text, millis) in [
        ("Please try again in 1.146s. Visit", Some(1146)),
        ("please try again after 20 seconds", Some(20_000)),
        ("Try again in 2 minutes.", Some(120_000)),
        ("retry after 1h2m", Some(3_720_000)),
        ("try again in 120ms.", Some(120)),
        ("try again in 300 milliseconds", Some(300)),
        ("try again in a while", None),
        ("try again later", None),
    ] {
        let body = serde_json::json!({"error": {"message": text}}).to_string();
        assert_eq!(wait(&[], &body), millis, "{text}");
    }
}

#[test]
fn classes_by_status_and_code() {
    let error = |code: &str| format!(r#"{{"error":{{"message":"m","code":"{code}"}}}}"#);
    for (status, body, class) in [
        (400, String::new(), ErrorClass::Invalid),
        (400, error("content_filter"), ErrorClass::ContentFilter),
        (400, error("model_not_found"), ErrorClass::NotFound),
        (402, String::new(), ErrorClass::Quota),
        (403, String::new(), ErrorClass::Auth),
        (408, String::new(), ErrorClass::Timeout),
        (409, String::new(), ErrorClass::Invalid),
        (413, String::new(), ErrorClass::Invalid),
        (413, error("rate_limit_exceeded"), ErrorClass::RateLimit),
        (422, error("x"), ErrorClass::Invalid),
        (424, String::new(), ErrorClass::Server),
        (429, "<html>".to_owned(), ErrorClass::RateLimit),
        (429, "[]".to_owned(), ErrorClass::RateLimit),
        (429, error("billing_hard_limit_reached"), ErrorClass::Quota),
        (502, "null".to_owned(), ErrorClass::Server),
        (520, String::new(), ErrorClass::Server),
        (524, String::new(), ErrorClass::Timeout),
        (529, String::new(), ErrorClass::Overloaded),
    ] {
        let failure = classify(status, &[], &body);
        assert_eq!(failure.class(), class, "{status} {body}");
        assert!(!failure.message().is_empty());
    }
    let spent = r#"{"error":{"type":"invalid_request_error","message":"You have reached your specified API usage limits."}}"#;
    assert_eq!(classify(400, &[], spent).class(), ErrorClass::Quota);
    let long = serde_json::json!({"error": {"message": "é".repeat(10_000)}}).to_string();
    assert_eq!(classify(500, &[], &long).message().chars().count(), 500);
}

#[test]
fn what_the_other_families_say() {
    let anthropic = |kind: &str, message: &str| {
        serde_json::json!({"type": "error", "error": {"type": kind, "message": message}})
            .to_string()
    };
    let gemini = |status: &str, message: &str| {
        serde_json::json!({"error": {"code": 400, "status": status, "message": message}})
            .to_string()
    };
    let bad = "invalid_request_error";
    for (status, body, class) in [
        (400, anthropic(bad, "Your credit balance is too low to use it."), ErrorClass::Quota),
        (
            400,
            anthropic(bad, "`max_tokens` exceed context limit: 1 + 2 > 2"),
            ErrorClass::ContextLength,
        ),
        (403, anthropic("permission_error", "m"), ErrorClass::Auth),
        (404, anthropic("not_found_error", "m"), ErrorClass::NotFound),
        (500, anthropic("api_error", "m"), ErrorClass::Server),
        (504, anthropic("timeout_error", "m"), ErrorClass::Timeout),
        (400, gemini("FAILED_PRECONDITION", "Please enable billing on it."), ErrorClass::Quota),
        (400, gemini("FAILED_PRECONDITION", "User location is not supported."), ErrorClass::Auth),
        (
            400,
            gemini("INVALID_ARGUMENT", "It exceeds the maximum number of tokens allowed"),
            ErrorClass::ContextLength,
        ),
        (400, gemini("INVALID_ARGUMENT", "Unknown name"), ErrorClass::Invalid),
        (500, gemini("INTERNAL", "m"), ErrorClass::Server),
        (504, gemini("DEADLINE_EXCEEDED", "m"), ErrorClass::Timeout),
    ] {
        assert_eq!(classify(status, &[], &body).class(), class, "{status} {body}");
    }
}

#[test]
fn an_empty_limit_of_anthropics_tells_the_wait_if_nothing_else_does() {
    let (left, reset) =
        ("anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-reset");
    let at = (reset, "1994-11-06T08:50:07Z");
    assert_eq!(wait(&[(left, "0"), at], "{}"), Some(30_000));
    let tokens = [
        ("anthropic-ratelimit-output-tokens-remaining", "0"),
        ("anthropic-ratelimit-output-tokens-reset", "1994-11-06T08:49:47Z"),
    ];
    assert_eq!(wait(&tokens, "{}"), Some(10_000));
    assert_eq!(wait(&[tokens[0], tokens[1], (left, "0"), at], "{}"), Some(30_000));
    assert_eq!(wait(&[(left, "1"), at], "{}"), None);
    assert_eq!(wait(&[(left, "0"), at, ("retry-after", "7")], "{}"), Some(7000));
    let past = (reset, "1994-11-06T08:49:00Z");
    assert_eq!(wait(&[(left, "0"), past], "{}"), Some(0));
}

#[test]
fn every_class_has_a_shape() {
    for class in ErrorClass::ALL {
        let failure = Failure::new(class, "quote \" and \n line");
        let shape = error::shape(class);
        assert!(shape.status.is_client_error() || shape.status.is_server_error());
        let body: Value = serde_json::from_slice(&error::body_of(&failure)).unwrap();
        assert_eq!(body["error"]["message"], "quote \" and \n line");
        assert_eq!(body["error"]["type"], shape.kind);
        assert_eq!(body["error"]["code"].as_str(), shape.code);
        assert!(body["error"].get("param").unwrap().is_null());
        // Read back, it means the same.
        let again = error::classify(
            shape.status,
            &HeaderMap::new(),
            &error::body_of(&failure),
            SystemTime::UNIX_EPOCH,
        );
        let same = match class {
            ErrorClass::Network | ErrorClass::Cancelled => ErrorClass::Server,
            class => class,
        };
        assert_eq!(again.class(), same);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nothing_a_provider_sends_panics(
        status in 100u16..1000,
        value in "[ -~]{0,24}",
        body in prop::collection::vec(any::<u8>(), 0..80),
        text in ".{0,40}",
    ) {
        let mut headers = HeaderMap::new();
        let value = HeaderValue::from_str(&value).unwrap();
        for name in ["retry-after", "retry-after-ms", "x-ratelimit-reset-tokens", "anthropic-ratelimit-tokens-reset"] {
            headers.insert(name, value.clone());
        }
        let status = StatusCode::from_u16(status).unwrap();
        let text = serde_json::json!({"error": {"message": format!("try again in {text}"), "code": text}});
        for body in [body, text.to_string().into_bytes()] {
            let _ = error::classify(status, &headers, &body, SystemTime::UNIX_EPOCH);
        }
        let _ = RateLimits::from_headers(&headers);
    }
}
