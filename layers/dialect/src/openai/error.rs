//! Errors: reading those of every provider, whichever form they speak, and writing OpenAI's.

use std::{
    fmt::Write as _,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value, json};
use tollway_core::{ErrorClass, Failure};

use crate::duration::{parse_duration, retry_after, rfc3339, take_duration};

/// An error's status, `type` and `code`, as an OpenAI client expects them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shape {
    /// Status of the answer.
    pub status: StatusCode,
    /// `error.type`.
    pub kind: &'static str,
    /// `error.code`.
    pub code: Option<&'static str>,
}

/// How a failure of this class looks to an OpenAI client.
pub fn shape(class: ErrorClass) -> Shape {
    let (status, kind, code) = match class {
        ErrorClass::RateLimit => (429, "rate_limit_error", Some("rate_limit_exceeded")),
        ErrorClass::Quota => (429, "insufficient_quota", Some("insufficient_quota")),
        ErrorClass::Overloaded => (503, "service_unavailable_error", Some("server_is_overloaded")),
        ErrorClass::Timeout => (504, "server_error", Some("upstream_timeout")),
        ErrorClass::Network => (502, "server_error", Some("upstream_unreachable")),
        ErrorClass::Auth => (401, "invalid_request_error", Some("invalid_api_key")),
        ErrorClass::Invalid => (400, "invalid_request_error", None),
        ErrorClass::NotFound => (404, "invalid_request_error", Some("model_not_found")),
        ErrorClass::ContextLength => {
            (400, "invalid_request_error", Some("context_length_exceeded"))
        }
        ErrorClass::ContentFilter => {
            (400, "invalid_request_error", Some("content_policy_violation"))
        }
        ErrorClass::Cancelled => (499, "invalid_request_error", Some("client_closed_request")),
        // A class added later is the provider's fault until somebody says otherwise.
        _ => (502, "server_error", Some("upstream_error")),
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    Shape { status, kind, code }
}

/// An error body in OpenAI's shape.
///
/// ```
/// let body = tollway_dialect::openai::error::body("No.", "invalid_request_error", Some("n"), None);
/// assert_eq!(
///     body,
///     r#"{"error":{"message":"No.","type":"invalid_request_error","param":"n","code":null}}"#,
/// );
/// ```
pub fn body(message: &str, kind: &str, param: Option<&str>, code: Option<&str>) -> Bytes {
    let mut out = String::with_capacity(96 + message.len());
    // Writing to a String cannot fail.
    let _ = write!(
        out,
        r#"{{"error":{{"message":{},"type":{},"param":{},"code":{}}}}}"#,
        json!(message),
        json!(kind),
        json!(param),
        json!(code),
    );
    out.into()
}

/// The body for a failure, by its class; [`ErrorReply`](crate::ErrorReply) writes the other forms.
pub fn body_of(failure: &Failure) -> Bytes {
    let shape = shape(failure.class());
    body(failure.message(), shape.kind, None, shape.code)
}

/// What an error reply of any provider means; `now` turns dates in `Retry-After` into waits.
///
/// Reads the shapes of OpenAI, Anthropic, Gemini (arrays of one too), Groq, xAI, DeepSeek and
/// Moonshot; a body that is no JSON (an edge's HTML page) is judged by its status.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use http::{HeaderMap, StatusCode};
/// use tollway_core::ErrorClass;
/// use tollway_dialect::openai::error::classify;
///
/// let body = br#"{"error":{"message":"Please try again in 120ms.","type":"requests"}}"#;
/// let failure = classify(
///     StatusCode::TOO_MANY_REQUESTS,
///     &HeaderMap::new(),
///     body,
///     SystemTime::UNIX_EPOCH,
/// );
/// assert_eq!(failure.class(), ErrorClass::RateLimit);
/// assert_eq!(failure.retry_after(), Some(Duration::from_millis(120)));
/// ```
pub fn classify(status: StatusCode, headers: &HeaderMap, body: &[u8], now: SystemTime) -> Failure {
    let value: Value = crate::values::read(body).unwrap_or_default();
    failure(&Report::of(&value), Some(status), headers, now)
}

/// What an error event inside a stream, or an error object inside a 200, means.
pub fn classify_event(data: &[u8], now: SystemTime) -> Failure {
    let value: Value = crate::values::read(data).unwrap_or_default();
    let report = Report::of(&value);
    // Gemini's form carries the status as a number.
    let status = report.number.and_then(|code| StatusCode::from_u16(code).ok());
    failure(&report, status, &HeaderMap::new(), now)
}

fn failure(
    report: &Report<'_>,
    status: Option<StatusCode>,
    headers: &HeaderMap,
    now: SystemTime,
) -> Failure {
    let class = match class(report, status) {
        ErrorClass::Auth | ErrorClass::Quota if report.is_hearsay(status) => ErrorClass::Invalid,
        class => class,
    };
    let never_fits = class == ErrorClass::RateLimit && report.says(&["request too large"]);
    let wait = header_wait(headers, now).or_else(|| match class {
        // A daily quota's retryDelay is misleading, and a spent account's text promises nothing.
        ErrorClass::Quota => None,
        ErrorClass::RateLimit => report
            .retry_delay()
            .or_else(|| wait_in_text(report.message))
            .or_else(|| until_reset(headers, now)),
        _ => report.retry_delay().or_else(|| wait_in_text(report.message)),
    });
    let failure = Failure::new(class, message(report, class, status))
        .with_retry_after(wait.filter(|_| !never_fits));
    if never_fits { failure.that_never_fits() } else { failure }
}

fn message(report: &Report<'_>, class: ErrorClass, status: Option<StatusCode>) -> String {
    const LONGEST: usize = 500;
    let status = status.map_or(String::new(), |status| format!(" ({status})"));
    if class == ErrorClass::Auth {
        // The provider's own words may show parts of the gateway's key.
        return format!("The provider refused the credential{status}.");
    }
    match report.message.trim() {
        "" => format!("The provider failed without saying why{status}."),
        text => text.chars().take(LONGEST).collect(),
    }
}

/// The parts of an error body that decide, whichever provider wrote it.
#[derive(Default)]
struct Report<'a> {
    message: &'a str,
    /// `type`, `code`, `status`, `details.error_code`, `reason`: names the cause.
    names: Vec<&'a str>,
    details: &'a [Value],
    number: Option<u16>,
}

impl<'a> Report<'a> {
    fn of(value: &'a Value) -> Self {
        let Some(top) = value.as_array().and_then(|all| all.first()).unwrap_or(value).as_object()
        else {
            return Self::default();
        };
        let response = top.get("response").and_then(Value::as_object).unwrap_or(top);
        match response.get("error") {
            Some(Value::Object(error)) => Self::of_object(error),
            // xAI: two strings at the top level.
            Some(Value::String(message)) => Self { message, ..Self::of_object(top) },
            _ => match top.get("x_groq").and_then(|groq| groq.get("error")) {
                Some(Value::String(message)) => Self { message, ..Self::default() },
                _ => Self::of_object(top),
            },
        }
    }

    fn of_object(error: &'a Map<String, Value>) -> Self {
        let text = |key| error.get(key).and_then(Value::as_str);
        let details = error.get("details");
        let list = details.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let mut names: Vec<_> = ["type", "code", "status"].into_iter().filter_map(text).collect();
        let cause = details.and_then(|details| details.get("error_code"));
        names.extend(cause.and_then(Value::as_str));
        names.extend(list.iter().filter_map(|detail| detail.get("reason")?.as_str()));
        let message = text("message").or_else(|| text("detail")).unwrap_or_default();
        let number = error.get("code").and_then(Value::as_u64);
        Self { message, names, details: list, number: number.and_then(|n| n.try_into().ok()) }
    }

    fn names(&self, any: &[&str]) -> bool {
        self.names.iter().any(|name| any.contains(name))
    }

    fn says(&self, any: &[&str]) -> bool {
        let message = self.message.to_ascii_lowercase();
        any.iter().any(|text| message.contains(text))
    }

    /// Whether words alone blame the key, and they may be the caller's own, repeated in a complaint
    /// about the request (`Invalid value: '...'`, `some_field: Extra inputs are not permitted`). What
    /// sets a key aside must not be for a caller to write.
    fn is_hearsay(&self, status: Option<StatusCode>) -> bool {
        let by_words = status.is_none_or(|status| status == StatusCode::BAD_REQUEST);
        if !by_words || self.names(&AUTH) || self.names(&MONEY) || self.is_daily_quota() {
            return false;
        }
        let message = self.message.trim();
        // The one plea with a colon goes on with the key, masked.
        let plea = message.split_once("provided: ");
        let key = plea
            .map(|(_, key)| key)
            .filter(|key| key.split(' ').next().is_some_and(|word| word.contains("**")));
        let words = key.unwrap_or(message);
        words.contains(['\'', '"', '`']) || words.contains(": ")
    }

    /// Gemini: a quota by the day will not be free again soon.
    fn is_daily_quota(&self) -> bool {
        let violations = self.details.iter().filter_map(|detail| detail.get("violations"));
        violations
            .filter_map(Value::as_array)
            .flatten()
            .filter_map(|violation| violation.get("quotaId")?.as_str())
            .any(|id| id.contains("PerDay"))
    }

    fn retry_delay(&self) -> Option<Duration> {
        self.details.iter().find_map(|detail| parse_duration(detail.get("retryDelay")?.as_str()?))
    }
}

const MONEY: [&str; 12] = [
    "insufficient_quota",
    "credit_balance_exhausted",
    "organization_spend_limit_exceeded",
    "project_spend_limit_exceeded",
    "organization_usage_limit_exceeded",
    "billing_hard_limit_reached",
    "billing_not_active",
    "billing_error",
    "enforced_spend_limit_reached",
    "contract_spend_limit_reached",
    "exceeded_current_quota_error",
    "insufficient_balance",
];
const CONTEXT: [&str; 9] = [
    "maximum context length",
    "context_length_exceeded",
    "prompt is too long",
    "exceeded model token limit",
    "exceeds the context window",
    "input token count",
    "exceeds the maximum number of tokens",
    "exceed context limit",
    "maximum prompt length",
];
const FILTER: [&str; 6] = [
    "content_filter",
    "content_policy_violation",
    "invalid_prompt",
    "cyber_policy_violation",
    "moderation_blocked",
    "ResponsibleAIPolicyViolation",
];
const AUTH: [&str; 7] = [
    "invalid_api_key",
    "API_KEY_INVALID",
    "authentication_error",
    "invalid_authentication_error",
    "permission_error",
    "permission_denied_error",
    "UNAUTHENTICATED",
];
const OVERLOAD: [&str; 7] = [
    "overloaded_error",
    "engine_overloaded_error",
    "server_is_overloaded",
    "service_unavailable_error",
    "server_unavailable",
    "UNAVAILABLE",
    "overloaded",
];
const RATE: [&str; 7] = [
    "rate_limit_exceeded",
    "rate_limit_error",
    "rate_limit_reached_error",
    "ramp_limit_exceeded",
    "capacity_exceeded",
    "slow_down",
    "RESOURCE_EXHAUSTED",
];

fn class(report: &Report<'_>, status: Option<StatusCode>) -> ErrorClass {
    let code = status.map_or(0, |status| status.as_u16());
    let client_error = matches!(code, 0 | 400..=499);
    let spent = ["specified api usage limits", "credit balance is too low", "enable billing"];
    if code == 402
        || report.names(&MONEY)
        || report.is_daily_quota()
        || (code == 400 && report.says(&spent))
    {
        return ErrorClass::Quota;
    }
    if client_error
        && (report.names(&["context_length_exceeded"])
            || (matches!(code, 0 | 400 | 413 | 422) && report.says(&CONTEXT)))
    {
        return ErrorClass::ContextLength;
    }
    if client_error && report.names(&FILTER) {
        return ErrorClass::ContentFilter;
    }
    let bad_key = matches!(code, 0 | 400)
        && (report.names(&AUTH)
            || report.says(&[
                "incorrect api key",
                "api key not valid",
                "location is not supported",
            ]));
    if matches!(code, 401 | 403) || bad_key {
        return ErrorClass::Auth;
    }
    if report.names(&OVERLOAD) || matches!(code, 503 | 529) {
        return ErrorClass::Overloaded;
    }
    by_status(report, code)
}

fn by_status(report: &Report<'_>, code: u16) -> ErrorClass {
    match code {
        429 | 498 => ErrorClass::RateLimit,
        // Groq answers 413 where one request is over the tokens of a minute.
        413 if report.names(&["rate_limit_exceeded", "tokens"]) => ErrorClass::RateLimit,
        404 => ErrorClass::NotFound,
        408 | 504 | 522 | 524 => ErrorClass::Timeout,
        // 424 is a dependency of the provider's; 499 says that we left, but here we are.
        424 | 499 => ErrorClass::Server,
        400..=499 if report.names(&["model_not_found"]) => ErrorClass::NotFound,
        400..=499 => ErrorClass::Invalid,
        0 if report.names(&RATE) => ErrorClass::RateLimit,
        0 if report.names(&["timeout_error"]) => ErrorClass::Timeout,
        0 if report.names(&["model_not_found", "not_found_error"]) => ErrorClass::NotFound,
        0 if report.names(&["invalid_request_error", "request_too_large"]) => ErrorClass::Invalid,
        _ => ErrorClass::Server,
    }
}

/// `retry-after-ms`, then `retry-after`: what the provider says outright.
fn header_wait(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    let millis = text("retry-after-ms").and_then(|text| {
        let millis: f64 = text.trim().parse().ok()?;
        Duration::try_from_secs_f64(millis / 1000.0).ok()
    });
    millis.or_else(|| retry_after(text("retry-after")?, now))
}

/// When Anthropic's limits that have nothing left are full again: not the least wait, but the only
/// one told.
fn until_reset(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let window = |kind: &str| {
        let text =
            |field: &str| headers.get(format!("anthropic-ratelimit-{kind}-{field}"))?.to_str().ok();
        let at = text("remaining").filter(|left| left.trim() == "0").and(text("reset"))?;
        rfc3339(at).map(|at| at.duration_since(now).unwrap_or(Duration::ZERO))
    };
    ["requests", "tokens", "input-tokens", "output-tokens"].into_iter().filter_map(window).max()
}

/// `try again in 1.146s`, `try again after 20 seconds`.
fn wait_in_text(message: &str) -> Option<Duration> {
    let lower = message.to_ascii_lowercase();
    let marks = ["try again in ", "try again after ", "retry in ", "retry after "];
    let at = marks.iter().find_map(|mark| Some(lower.find(mark)? + mark.len()))?;
    let rest = lower.get(at..)?;
    let (wait, after) = take_duration(rest)?;
    let bare = rest
        .get(..rest.len() - after.len())
        .is_some_and(|digits| digits.ends_with(|c: char| c.is_ascii_digit()));
    let unit = after.trim_start();
    Some(match () {
        () if bare && unit.starts_with("minute") => wait.saturating_mul(60),
        () if bare && unit.starts_with("hour") => wait.saturating_mul(3600),
        () if bare && unit.starts_with("milli") => wait / 1000,
        () => wait,
    })
}
