//! Errors inside of streams.

use tollway_core::ErrorClass;

use crate::{
    json::{Json, Object},
    translate::hub::StreamError,
};

/// Reads the event `{"type":"error","error":{...}}`.
pub(super) fn read<'a>(event: &mut Object<'a>) -> StreamError<'a> {
    let mut error = match event.take("error") {
        Some(Json::Object(error)) => error,
        _ => Object::new(),
    };
    let mut text = |key| match error.take(key) {
        Some(Json::String(text)) => Some(text),
        _ => None,
    };
    let kind = text("type").unwrap_or_default();
    let message = text("message").unwrap_or("The provider failed.".into());
    let code = match error.take("details") {
        Some(Json::Object(mut details)) => match details.take("error_code") {
            Some(Json::String(code)) => Some(code),
            _ => None,
        },
        _ => None,
    };
    StreamError { class: class(&kind, code.as_deref(), &message), message, code }
}

fn class(kind: &str, code: Option<&str>, message: &str) -> ErrorClass {
    match (kind, code) {
        (
            "rate_limit_error",
            Some("enforced_spend_limit_reached" | "contract_spend_limit_reached"),
        )
        | ("billing_error", _) => ErrorClass::Quota,
        ("rate_limit_error", _) => ErrorClass::RateLimit,
        ("overloaded_error", _) => ErrorClass::Overloaded,
        ("timeout_error", _) => ErrorClass::Timeout,
        ("authentication_error" | "permission_error", _) => ErrorClass::Auth,
        ("not_found_error", _) => ErrorClass::NotFound,
        ("invalid_request_error", _) if message.contains("prompt is too long") => {
            ErrorClass::ContextLength
        }
        ("invalid_request_error" | "request_too_large", _) => ErrorClass::Invalid,
        _ => ErrorClass::Server,
    }
}

/// The `type` by which a client knows a failure.
pub(super) fn kind(class: ErrorClass) -> &'static str {
    match class {
        ErrorClass::RateLimit => "rate_limit_error",
        ErrorClass::Quota => "billing_error",
        ErrorClass::Overloaded => "overloaded_error",
        ErrorClass::Timeout => "timeout_error",
        ErrorClass::Auth => "authentication_error",
        ErrorClass::NotFound => "not_found_error",
        ErrorClass::Invalid | ErrorClass::ContextLength | ErrorClass::ContentFilter => {
            "invalid_request_error"
        }
        _ => "api_error",
    }
}

/// Writes the event.
pub(super) fn write(error: &StreamError<'_>) -> Object<'static> {
    let inner = Object::new()
        .with("type", kind(error.class))
        .with("message", error.message.clone().into_owned())
        .with_some(
            "details",
            error
                .code
                .as_ref()
                .map(|code| Object::new().with("error_code", code.clone().into_owned())),
        );
    Object::new().with("type", "error").with("error", inner)
}
