use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header::RETRY_AFTER};
use serde_json::json;
use tollway_core::{SystemClock, WallClock};

use super::{
    super::{
        body::SimulatedBody,
        fate::Refusal,
        future::{Answer, Exchange},
        limits::{Levels, Scope, whole_ms},
        reply::{self, GARBAGE},
    },
    head, request_id,
};

/// An error as Anthropic's bodies have it.
#[derive(Clone, Debug)]
pub(super) struct Error {
    status: StatusCode,
    kind: &'static str,
    message: String,
    /// `details.error_code`
    code: Option<&'static str>,
    /// `x-should-retry`
    retry: bool,
    /// When to come back, where a limit says so.
    wait: Option<Duration>,
    levels: Levels,
}

const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

impl Error {
    /// What Anthropic says with this status.
    pub(super) fn of(status: StatusCode) -> Self {
        let (kind, message) = match status.as_u16() {
            401 => ("authentication_error", "invalid x-api-key"),
            402 => ("billing_error", "There is an issue with your billing or payment information."),
            403 => (
                "permission_error",
                "Your API key does not have permission to use the specified resource.",
            ),
            404 => ("not_found_error", "model: simulated"),
            409 => ("conflict_error", "The request conflicts with another one."),
            413 => ("request_too_large", "Request exceeds the maximum size"),
            429 => {
                ("rate_limit_error", "This request would exceed your organization's rate limit.")
            }
            400..500 => ("invalid_request_error", "The request was refused, as it asked for."),
            504 => ("timeout_error", "The request timed out."),
            529 => ("overloaded_error", "Overloaded"),
            _ => ("api_error", "Internal server error"),
        };
        let retry = matches!(status.as_u16(), 429 | 529);
        Self { status, kind, retry, ..Self::invalid(message) }
    }

    pub(super) fn quota() -> Self {
        let message = "Your organization has reached the monthly spend cap of its usage tier.";
        Self {
            message: message.to_owned(),
            code: Some("enforced_spend_limit_reached"),
            retry: false,
            ..Self::of(StatusCode::TOO_MANY_REQUESTS)
        }
    }

    /// No conversation is held here.
    pub(super) fn without_threads() -> Self {
        let message = "thread: This request cannot be served as part of a thread.";
        Self { code: Some("thread_unsupported_request"), ..Self::invalid(message) }
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            kind: "invalid_request_error",
            message: message.into(),
            code: None,
            retry: false,
            wait: None,
            levels: Levels::default(),
        }
    }

    fn body(&self, x: &Exchange) -> String {
        let mut error = json!({"type": self.kind, "message": self.message});
        if let Some(code) = self.code {
            error["details"] = json!({"error_code": code});
        }
        json!({"type": "error", "error": error, "request_id": request_id(x)}).to_string()
    }

    /// The answer, with the hints that the request asked for.
    pub(super) fn answer(mut self, x: &Exchange) -> Answer {
        let asked = x.fate.control.as_deref();
        if let Some(hint) = asked.and_then(|c| c.hint.as_deref()) {
            self.message = format!("{} Please try again in {hint}.", self.message);
        }
        let garbage = x.is_garbage();
        let body = if garbage { GARBAGE.to_owned() } else { self.body(x) };
        let mut response = Response::new(SimulatedBody::full(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        head(x, headers, if garbage { "text/html" } else { "application/json" });
        rate_headers(&self.levels, headers);
        if self.retry {
            headers.insert(SHOULD_RETRY, HeaderValue::from_static("true"));
        }
        if let Some(ms) = self.wait.map(whole_ms) {
            headers.insert(RETRY_AFTER, HeaderValue::from(ms.div_ceil(1000)));
        }
        reply::asked_hints(x, headers);
        Answer { response, work: Duration::ZERO, tokens: 0 }
    }
}

/// The error inside a 200.
pub(super) fn late(x: &Exchange) -> String {
    Error::of(StatusCode::from_u16(529).unwrap_or(StatusCode::SERVICE_UNAVAILABLE)).body(x)
}

pub(super) fn refused(x: &Exchange, refusal: &Refusal) -> Answer {
    match refusal {
        Refusal::Quota => Error::quota(),
        Refusal::Status(status) => {
            Error::of(StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
        }
    }
    .answer(x)
}

pub(super) fn no_such_path() -> Box<Error> {
    let status = StatusCode::NOT_FOUND;
    Box::new(Error { message: "Not Found".to_owned(), ..Error::of(status) })
}

pub(super) fn wrong_method() -> Box<Error> {
    let status = StatusCode::METHOD_NOT_ALLOWED;
    Box::new(Error { message: "Method Not Allowed".to_owned(), ..Error::of(status) })
}

/// A 429 of a full window.
pub(super) fn full(scope: Scope, limit: u64, wait: Option<Duration>, levels: Levels) -> Error {
    let unit = match scope {
        Scope::Requests => "requests",
        Scope::Tokens => "tokens",
    };
    let message = format!(
        "This request would exceed your organization's rate limit of {limit} {unit} per minute."
    );
    Error { message, wait, levels, ..Error::of(StatusCode::TOO_MANY_REQUESTS) }
}

/// The `anthropic-ratelimit-*` headers, of the limits that there are.
pub(super) fn rate_headers(levels: &Levels, headers: &mut HeaderMap) {
    const REQUESTS: [HeaderName; 3] = [
        HeaderName::from_static("anthropic-ratelimit-requests-limit"),
        HeaderName::from_static("anthropic-ratelimit-requests-remaining"),
        HeaderName::from_static("anthropic-ratelimit-requests-reset"),
    ];
    const TOKENS: [HeaderName; 3] = [
        HeaderName::from_static("anthropic-ratelimit-tokens-limit"),
        HeaderName::from_static("anthropic-ratelimit-tokens-remaining"),
        HeaderName::from_static("anthropic-ratelimit-tokens-reset"),
    ];
    for ([limit, remaining, reset], level) in [(REQUESTS, levels.requests), (TOKENS, levels.tokens)]
    {
        let Some(level) = level else { continue };
        headers.insert(limit, HeaderValue::from(level.limit));
        headers.insert(remaining, HeaderValue::from(level.remaining));
        if let Some(value) = date_after(level.reset) {
            headers.insert(reset, value);
        }
    }
}

/// The date after `time` in whole seconds, rounded up, as RFC 3339 writes it.
fn date_after(time: Duration) -> Option<HeaderValue> {
    let then = jiff::Timestamp::try_from(SystemClock.now().checked_add(time)?).ok()?;
    let up = i64::from(then.subsec_nanosecond() > 0);
    let whole = jiff::Timestamp::from_second(then.as_second().checked_add(up)?).ok()?;
    HeaderValue::try_from(whole.to_string()).ok()
}
