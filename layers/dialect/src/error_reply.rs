//! Error answers, in the form of whoever reads them.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};
use tollway_core::{Dialect, Failure};

use crate::{BadRequest, openai};

/// Conversations are not held here: the client is to send all of it.
pub(crate) const THREAD_UNSUPPORTED: &str = "thread_unsupported_request";

/// OpenAI's `type` of an overload.
const OVERLOAD: &str = "service_unavailable_error";

/// An error answer, before it is written for a client of one dialect.
///
/// `kind`, `code` and `param` are OpenAI's; the other families go by the status, and carry the wait
/// or the request's id in the body instead. A 503 whose `kind` is set to anything but
/// `service_unavailable_error` is no overload, for Anthropic's clients neither.
///
/// ```
/// use std::time::Duration;
/// use http::StatusCode;
/// use tollway_core::Dialect;
/// use tollway_dialect::ErrorReply;
///
/// let mut error = ErrorReply::new(StatusCode::SERVICE_UNAVAILABLE, "All lanes are full.");
/// error.retry_after = Some(Duration::from_millis(1500));
/// assert_eq!(error.status_in(Dialect::Anthropic), 529);
/// assert_eq!(
///     error.body_in(Dialect::Anthropic),
///     r#"{"type":"error","error":{"type":"overloaded_error","message":"All lanes are full."}}"#,
/// );
/// let body = error.body_in(Dialect::Gemini);
/// let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
/// assert_eq!(body["error"]["status"], "UNAVAILABLE");
/// assert_eq!(body["error"]["details"][0]["retryDelay"], "1.5s");
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ErrorReply<'a> {
    /// Status of the answer to an OpenAI client; see [`status_in`](Self::status_in).
    pub status: StatusCode,
    /// What happened, in words.
    pub message: &'a str,
    /// OpenAI's `error.type`.
    pub kind: &'a str,
    /// OpenAI's `error.code`.
    pub code: Option<&'a str>,
    /// OpenAI's `error.param`: the field at fault.
    pub param: Option<&'a str>,
    /// When to come back, if that is known.
    pub retry_after: Option<Duration>,
    /// The request's id, which Anthropic's clients read from the body too.
    pub request_id: Option<&'a str>,
}

impl<'a> ErrorReply<'a> {
    /// An answer with this status, and the `type` that OpenAI gives it.
    pub fn new(status: StatusCode, message: &'a str) -> Self {
        let kind = match status.as_u16() {
            429 => "rate_limit_error",
            503 | 529 => OVERLOAD,
            400..=499 => "invalid_request_error",
            _ => "server_error",
        };
        let (code, param, retry_after, request_id) = (None, None, None, None);
        Self { status, message, kind, code, param, retry_after, request_id }
    }

    /// The answer to a failure, by its class.
    pub fn of(failure: &'a Failure) -> Self {
        let shape = openai::error::shape(failure.class());
        let (kind, code) = (shape.kind, shape.code);
        let retry_after = failure.retry_after();
        Self { kind, code, retry_after, ..Self::new(shape.status, failure.message()) }
    }

    /// The answer to a request that is refused.
    pub fn of_request(refused: &'a BadRequest) -> Self {
        let (code, param) = (refused.code(), refused.param());
        Self { code, param, ..Self::new(refused.status(), refused.message()) }
    }

    /// The status as a client of this dialect knows it: Anthropic says 529 for an overload.
    pub fn status_in(&self, dialect: Dialect) -> StatusCode {
        match dialect {
            Dialect::Anthropic if self.is_overload() => {
                StatusCode::from_u16(529).unwrap_or(self.status)
            }
            _ => self.status,
        }
    }

    fn is_overload(&self) -> bool {
        self.status == StatusCode::SERVICE_UNAVAILABLE && self.kind == OVERLOAD
    }

    /// The answer's body, JSON.
    pub fn body_in(&self, dialect: Dialect) -> Bytes {
        match dialect {
            Dialect::Anthropic => self.anthropic(),
            Dialect::Gemini => self.gemini(),
            _ => openai::error::body(self.message, self.kind, self.param, self.code),
        }
    }

    fn anthropic(&self) -> Bytes {
        let (kind, message) =
            (anthropic_type(self.status_in(Dialect::Anthropic)), json!(self.message));
        let id =
            self.request_id.map_or(String::new(), |id| format!(r#","request_id":{}"#, json!(id)));
        // The one code that Anthropic's SDKs act on; the others are OpenAI's.
        let details = match self.code {
            Some(code @ THREAD_UNSUPPORTED) => {
                format!(r#","details":{{"error_code":"{code}","unsupported":["translation"]}}"#)
            }
            _ => String::new(),
        };
        let error = format!(r#"{{"type":"{kind}","message":{message}{details}}}"#);
        format!(r#"{{"type":"error","error":{error}{id}}}"#).into()
    }

    fn gemini(&self) -> Bytes {
        let (code, status) = (self.status.as_u16(), gemini_status(self.status));
        let details = self.retry_after.map_or(String::new(), |wait| {
            let delay = Value::from(protobuf_duration(wait));
            let kind = "type.googleapis.com/google.rpc.RetryInfo";
            format!(r#","details":[{{"@type":"{kind}","retryDelay":{delay}}}]"#)
        });
        let message = json!(self.message);
        format!(r#"{{"error":{{"code":{code},"message":{message},"status":"{status}"{details}}}}}"#)
            .into()
    }
}

fn anthropic_type(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        409 => "conflict_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        408 | 504 => "timeout_error",
        529 => "overloaded_error",
        400..=499 => "invalid_request_error",
        _ => "api_error",
    }
}

/// The canonical name (google.rpc.Code) that goes with a status.
fn gemini_status(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        408 | 504 => "DEADLINE_EXCEEDED",
        409 => "ABORTED",
        402 | 429 => "RESOURCE_EXHAUSTED",
        499 => "CANCELLED",
        501 => "UNIMPLEMENTED",
        502 | 503 | 529 => "UNAVAILABLE",
        400..=498 => "INVALID_ARGUMENT",
        _ => "INTERNAL",
    }
}

/// Decimal seconds and an `s`: `31s`, `0.25s`.
fn protobuf_duration(wait: Duration) -> String {
    let (seconds, nanos) = (wait.as_secs(), wait.subsec_nanos());
    if nanos == 0 {
        return format!("{seconds}s");
    }
    let digits = format!("{nanos:09}");
    format!("{seconds}.{}s", digits.trim_end_matches('0'))
}
