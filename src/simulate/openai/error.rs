use std::{borrow::Cow, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header::RETRY_AFTER};
use serde_json::json;

use super::super::{
    body::SimulatedBody,
    fate::Refusal,
    future::{Answer, Exchange},
    limits::{Levels, Scope, go_duration, whole_ms},
    reply::{self, GARBAGE, RETRY_AFTER_MS},
};

/// An error as OpenAI's bodies have it.
#[derive(Clone, Debug)]
pub(super) struct Error {
    pub(super) status: StatusCode,
    pub(super) message: String,
    pub(super) kind: &'static str,
    pub(super) param: Option<Cow<'static, str>>,
    pub(super) code: Option<&'static str>,
    /// When to come back, where a limit says so.
    wait: Option<Duration>,
    levels: Levels,
}

impl Error {
    /// What OpenAI says with this status.
    pub(super) fn of(status: StatusCode) -> Self {
        let (kind, code, message) = match status.as_u16() {
            401 => {
                (INVALID, Some("invalid_api_key"), "Incorrect API key provided: sk-simul****ated.")
            }
            403 => (
                INVALID,
                Some("unsupported_country_region_territory"),
                "Country, region, or territory not supported.",
            ),
            404 => (
                INVALID,
                Some("model_not_found"),
                "The model does not exist or you do not have access to it.",
            ),
            429 => (
                "requests",
                Some("rate_limit_exceeded"),
                "Rate limit reached on requests per min (RPM).",
            ),
            503 => (
                "service_unavailable_error",
                Some("server_is_overloaded"),
                "The model is currently overloaded. Please try again later.",
            ),
            400..500 => (INVALID, None, "The request was refused, as it asked for."),
            _ => (
                "server_error",
                None,
                "The server had an error while processing your request. Sorry about that!",
            ),
        };
        Self { status, kind, code, ..Self::invalid(message) }
    }

    pub(super) fn quota() -> Self {
        Self {
            status: StatusCode::TOO_MANY_REQUESTS,
            kind: "insufficient_quota",
            code: Some("insufficient_quota"),
            ..Self::invalid(
                "You exceeded your current quota, please check your plan and billing details.",
            )
        }
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            message: message.into(),
            kind: INVALID,
            param: None,
            code: None,
            wait: None,
            levels: Levels::default(),
        }
    }

    pub(super) fn param(mut self, param: impl Into<Cow<'static, str>>) -> Self {
        self.param = Some(param.into());
        self
    }

    pub(super) fn body(&self) -> String {
        json!({"error": {
            "message": self.message,
            "type": self.kind,
            "param": self.param,
            "code": self.code,
        }})
        .to_string()
    }

    /// The answer, with the hints that the request asked for.
    pub(super) fn answer(mut self, x: &Exchange) -> Answer {
        let asked = x.fate.control.as_deref();
        if let Some(hint) = asked.and_then(|c| c.hint.as_deref()) {
            self.message = format!("{} Please try again in {hint}.", self.message);
        }
        let garbage = asked.is_some_and(|c| c.garbage);
        let body = if garbage { GARBAGE.to_owned() } else { self.body() };
        let mut response = Response::new(SimulatedBody::full(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        super::head(x, headers, if garbage { "text/html" } else { "application/json" });
        rate_headers(&self.levels, headers);
        if let Some(ms) = self.wait.map(whole_ms) {
            headers.insert(RETRY_AFTER, HeaderValue::from(ms.div_ceil(1000)));
            headers.insert(RETRY_AFTER_MS, HeaderValue::from(ms));
        }
        reply::asked_hints(x, headers);
        Answer { response, work: Duration::ZERO, tokens: 0 }
    }
}

pub(super) const INVALID: &str = "invalid_request_error";

pub(super) fn refused(x: &Exchange, refusal: &Refusal) -> Answer {
    match refusal {
        Refusal::Quota => Error::quota(),
        Refusal::Status(status) => {
            Error::of(StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
        }
    }
    .answer(x)
}

pub(super) fn no_such_path(x: &Exchange) -> Box<Error> {
    let text = format!("Invalid URL ({} {})", x.parts.method, x.parts.uri.path());
    Box::new(Error { status: StatusCode::NOT_FOUND, ..Error::invalid(text) })
}

pub(super) fn wrong_method(x: &Exchange) -> Box<Error> {
    let text = format!("Not allowed to {} on {}.", x.parts.method, x.parts.uri.path());
    let error = Error { code: Some("method_not_supported"), ..Error::invalid(text) };
    Box::new(Error { status: StatusCode::METHOD_NOT_ALLOWED, ..error })
}

/// A 429 of a full window.
pub(super) fn full(
    model: &str,
    scope: Scope,
    (limit, used, tokens): (u64, u64, u64),
    wait: Option<Duration>,
    levels: Levels,
) -> Error {
    let (kind, unit, requested) = match scope {
        Scope::Requests => ("requests", "requests per min (RPM)", 1),
        Scope::Tokens => ("tokens", "tokens per min (TPM)", tokens),
    };
    let message = match wait {
        None => format!(
            "Request too large for {model} in organization org-simulated on {unit}: Limit {limit}, \
             Requested {requested}. The input or output tokens must be reduced in order to run \
             successfully."
        ),
        Some(wait) => format!(
            "Rate limit reached for {model} in organization org-simulated on {unit}: Limit {limit}, \
             Used {used}, Requested {requested}. Please try again in {}. Visit \
             https://platform.openai.com/account/rate-limits to learn more.",
            go_duration(Duration::from_millis(whole_ms(wait)))
        ),
    };
    let status = StatusCode::TOO_MANY_REQUESTS;
    let code = Some("rate_limit_exceeded");
    Error { status, kind, code, wait, levels, ..Error::invalid(message) }
}

/// The six `x-ratelimit-*` headers, of the limits that there are.
pub(super) fn rate_headers(levels: &Levels, headers: &mut HeaderMap) {
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
    for ([limit, remaining, reset], level) in [(REQUESTS, levels.requests), (TOKENS, levels.tokens)]
    {
        let Some(level) = level else { continue };
        headers.insert(limit, HeaderValue::from(level.limit));
        headers.insert(remaining, HeaderValue::from(level.remaining));
        if let Ok(value) = HeaderValue::try_from(go_duration(level.reset)) {
            headers.insert(reset, value);
        }
    }
}
