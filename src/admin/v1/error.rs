use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde_json::{Value, json};
use tollway_store::StoreError;

/// Why a request was not answered with what it asked for.
#[derive(Debug)]
pub(in crate::admin) struct ApiError {
    status: StatusCode,
    kind: &'static str,
    message: String,
    /// The part of the request that is to blame, if one is.
    field: Option<String>,
}

impl ApiError {
    fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind, message: message.into(), field: None }
    }

    /// This part of the request is to blame.
    pub(super) fn of(self, field: &str) -> Self {
        Self { field: Some(field.to_owned()), ..self }
    }

    /// A part of the request can't be.
    pub(in crate::admin) fn bad(field: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message).of(field)
    }

    /// The body as a whole can't be, and why.
    pub(super) fn body(why: String) -> Self {
        Self::bad("body", format!("the body {why}"))
    }

    pub(super) fn unauthorized(message: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
    }

    /// What is asked about is not there.
    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    pub(super) fn method() -> Self {
        let message = "this path takes another method; `Allow` says which";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
    }

    pub(super) fn too_large(most: usize) -> Self {
        let message = format!("a body may have {most} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message).of("body")
    }

    /// It can't be done as things are.
    pub(super) fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", message)
    }

    /// Nobody is to blame who asked.
    pub(super) fn failed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
    }

    #[cfg(test)]
    pub(in crate::admin) fn message(&self) -> &str {
        &self.message
    }

    fn json(&self) -> Value {
        let mut error = json!({ "type": self.kind, "message": self.message });
        if let Some(field) = &self.field {
            error["field"] = field.as_str().into();
        }
        json!({ "error": error })
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Self::failed(format!("the store can't be read or written: {error}"))
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(self.json())).into_response()
    }
}
