use std::{borrow::Cow, fmt};

use bytes::Bytes;
use http::StatusCode;
use tollway_core::BoxError;

/// A request that cannot be passed on, in words its sender can act on.
///
/// Travels as (or inside) the [`BoxError`] of [`Inspect`](crate::Inspect); read it back with
/// [`tollway_core::find_error`].
#[derive(Debug)]
pub struct BadRequest {
    status: StatusCode,
    message: Cow<'static, str>,
    param: Option<Cow<'static, str>>,
    code: Option<&'static str>,
    source: Option<BoxError>,
}

impl BadRequest {
    pub(crate) fn new(status: StatusCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, message: message.into(), param: None, code: None, source: None }
    }

    pub(crate) fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(crate) fn with_param(mut self, param: impl Into<Cow<'static, str>>) -> Self {
        self.param = Some(param.into());
        self
    }

    pub(crate) fn with_code(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }

    pub(crate) fn with_source(mut self, source: BoxError) -> Self {
        self.source = Some(source);
        self
    }

    /// The status to answer with: 400, 413 or 415.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// What is wrong, where, and what was expected.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The field at fault, where there is one.
    pub fn param(&self) -> Option<&str> {
        self.param.as_deref()
    }

    /// A short code for programs, where there is one.
    pub fn code(&self) -> Option<&'static str> {
        self.code
    }

    /// The answer's body, in OpenAI's shape; [`ErrorReply`](crate::ErrorReply) writes the others.
    pub fn to_body(&self) -> Bytes {
        crate::openai::error::body(&self.message, "invalid_request_error", self.param(), self.code)
    }
}

impl fmt::Display for BadRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for BadRequest {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
