use std::time::Duration;

use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::{
    super::{
        body::SimulatedBody,
        fate::Refusal,
        future::{Answer, Exchange},
        limits::{Scope, whole_ms},
        reply::GARBAGE,
    },
    JSON, head, is_array,
};

/// An error as Google's bodies have it.
#[derive(Clone, Debug)]
pub(super) struct Error {
    status: StatusCode,
    message: String,
    details: Vec<Value>,
}

impl Error {
    /// What Gemini says with this status.
    pub(super) fn of(status: StatusCode) -> Self {
        let mut details = Vec::new();
        let message = match status.as_u16() {
            401 => "Request had invalid authentication credentials.",
            403 => "Permission denied: the caller does not have permission.",
            404 => "models/simulated is not found for API version v1beta, or is not supported.",
            402 | 429 => "Resource has been exhausted (e.g. check quota).",
            400..500 => "The request was refused, as it asked for.",
            503 => "The model is overloaded. Please try again later.",
            504 => "Deadline expired before operation could complete.",
            _ => "An internal error has occurred. Please retry.",
        };
        if status == StatusCode::UNAUTHORIZED {
            details.push(json!({
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "ACCESS_TOKEN_TYPE_UNSUPPORTED",
                "domain": "googleapis.com",
                "metadata": {"service": "generativelanguage.googleapis.com"},
            }));
        }
        Self { status, message: message.to_owned(), details }
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, message: message.into(), details: Vec::new() }
    }

    fn value(&self) -> Value {
        let mut error = json!({
            "code": self.status.as_u16(), "message": self.message, "status": name(self.status),
        });
        if !self.details.is_empty() {
            error["details"] = json!(self.details);
        }
        json!({"error": error})
    }

    /// The answer, with the hints that the request asked for: in the body, there are no headers.
    pub(super) fn answer(mut self, x: &Exchange) -> Answer {
        let asked = x.fate.control.as_deref();
        if let Some(hint) = asked.and_then(|c| c.hint.as_deref()) {
            self.message = format!("{} Please retry in {hint}.", self.message);
        }
        let seconds = asked.and_then(|c| c.retry_after.clone());
        let ms = asked.and_then(|c| c.retry_after_ms.as_deref()).map(|text| {
            text.parse().map_or_else(|_| text.to_owned(), |ms: f64| (ms / 1000.0).to_string())
        });
        if let Some(delay) = ms.or(seconds) {
            self.details.push(retry_info(&delay));
        }
        let (kind, body) = if x.is_garbage() {
            ("text/html", GARBAGE.to_owned())
        } else if is_array(x) {
            (JSON, json!([self.value()]).to_string())
        } else {
            (JSON, self.value().to_string())
        };
        let mut response = Response::new(SimulatedBody::full(body));
        *response.status_mut() = self.status;
        head(x, response.headers_mut(), kind);
        Answer { response, work: Duration::ZERO, tokens: 0 }
    }
}

/// The name of the code that Google's errors have beside the status.
fn name(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        409 => "ABORTED",
        402 | 429 => "RESOURCE_EXHAUSTED",
        499 => "CANCELLED",
        400..=498 => "INVALID_ARGUMENT",
        501 => "UNIMPLEMENTED",
        503 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        _ => "INTERNAL",
    }
}

/// The error inside a 200.
pub(super) fn late() -> Value {
    Error::of(StatusCode::SERVICE_UNAVAILABLE).value()
}

pub(super) fn refused(x: &Exchange, refusal: &Refusal) -> Answer {
    match refusal {
        Refusal::Quota => quota(model(x)),
        Refusal::Status(status) => {
            Error::of(StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
        }
    }
    .answer(x)
}

fn model(x: &Exchange) -> &str {
    super::method(x.parts.uri.path()).map_or("simulated", |(model, _)| model)
}

pub(super) fn no_such_path() -> Box<Error> {
    let error = Error::of(StatusCode::NOT_FOUND);
    Box::new(Error { message: "Requested entity was not found.".to_owned(), ..error })
}

/// A 429 of the day's quota, which is all that tells of money.
pub(super) fn quota(model: &str) -> Error {
    let violation = violation(
        "generate_content_free_tier_requests",
        "GenerateRequestsPerDayPerProjectPerModel-FreeTier",
        model,
        250,
    );
    exhausted(violation, None)
}

/// A 429 of a full window.
pub(super) fn full(model: &str, scope: Scope, limit: u64, wait: Option<Duration>) -> Error {
    let (metric, id) = match scope {
        Scope::Requests => (
            "generate_content_paid_tier_requests",
            "GenerateRequestsPerMinutePerProjectPerModel-PaidTier",
        ),
        Scope::Tokens => (
            "generate_content_paid_tier_input_token_count",
            "GenerateContentPaidTierInputTokensPerModelPerMinute",
        ),
    };
    exhausted(violation(metric, id, model, limit), wait)
}

fn violation(metric: &str, id: &str, model: &str, limit: u64) -> Value {
    json!({
        "quotaMetric": format!("generativelanguage.googleapis.com/{metric}"),
        "quotaId": id,
        "quotaDimensions": {"location": "global", "model": model},
        "quotaValue": limit.to_string(),
    })
}

fn exhausted(violation: Value, wait: Option<Duration>) -> Error {
    let mut details = vec![
        json!({
            "@type": "type.googleapis.com/google.rpc.QuotaFailure",
            "violations": [violation],
        }),
        json!({
            "@type": "type.googleapis.com/google.rpc.Help",
            "links": [{
                "description": "Learn more about Gemini API quotas",
                "url": "https://ai.google.dev/gemini-api/docs/rate-limits",
            }],
        }),
    ];
    let mut message =
        "You exceeded your current quota, please check your plan and billing details.".to_owned();
    if let Some(ms) = wait.map(whole_ms) {
        let seconds = ms as f64 / 1000.0;
        message = format!("{message} Please retry in {seconds}s.");
        details.push(retry_info(&seconds.to_string()));
    }
    Error { status: StatusCode::TOO_MANY_REQUESTS, message, details }
}

fn retry_info(seconds: &str) -> Value {
    json!({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": format!("{seconds}s")})
}
