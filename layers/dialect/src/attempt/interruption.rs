//! What a caller is told of a stream that stops in its middle.

use std::io;

use bytes::Bytes;
use http::StatusCode;
use serde_json::json;
use tollway_core::{BoxError, Dialect, ErrorClass, Failure, Operation, find_error};

use crate::{ErrorReply, openai::error};

/// The form in which a stream tells of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tell {
    /// As chat completions do: an `error` object in the place of a chunk.
    Chat,
    /// As the Responses API does: an event named `error`.
    Responses,
    /// As Messages does: an event named `error`.
    Messages,
    /// As generateContent does: an `error` object in the place of a chunk.
    GenerateContent,
}

impl Tell {
    /// `None` for calls whose streams have no end that is known for certain.
    pub(super) fn of(operation: Operation) -> Option<Self> {
        match operation {
            Operation::ChatCompletions | Operation::Completions => Some(Self::Chat),
            Operation::Responses => Some(Self::Responses),
            Operation::Messages => Some(Self::Messages),
            Operation::GenerateContent => Some(Self::GenerateContent),
            _ => None,
        }
    }

    /// The event that tells of `failure`, after a blank line where an event still has to be ended.
    pub(super) fn event(self, failure: &Failure, ends_another: bool, number: u64) -> Bytes {
        const CODE: &str = "stream_interrupted";
        let blank = if ends_another { "\n\n" } else { "" };
        let message = failure.message();
        let plain = ErrorReply::new(StatusCode::INTERNAL_SERVER_ERROR, message);
        match self {
            Self::Chat => {
                let body = error::body(message, "server_error", None, Some(CODE));
                let parts = [blank.as_bytes(), b"data: ", &body, b"\n\n"];
                parts.concat().into()
            }
            Self::Responses => format!(
                "{blank}event: error\ndata: {{\"type\":\"error\",\"code\":\"server_error\",\
                 \"message\":{},\"param\":null,\"sequence_number\":{number}}}\n\n",
                json!(message)
            )
            .into(),
            Self::Messages => {
                let body = plain.body_in(Dialect::Anthropic);
                [blank.as_bytes(), b"event: error\ndata: ", &body, b"\n\n"].concat().into()
            }
            Self::GenerateContent => {
                let body = plain.body_in(Dialect::Gemini);
                [blank.as_bytes(), b"data: ", &body, b"\n\n"].concat().into()
            }
        }
    }
}

/// The failure that a broken reply is, by its cause; `why` where the cause does not say.
pub(super) fn broken(source: &BoxError, why: &'static str) -> Failure {
    let source: &(dyn std::error::Error + 'static) = &**source;
    if let Some(failure) = find_error::<Failure>(source) {
        return failure.clone();
    }
    let timed_out = find_error::<tokio::time::error::Elapsed>(source).is_some()
        || find_error::<io::Error>(source).is_some_and(|e| e.kind() == io::ErrorKind::TimedOut);
    let class = if timed_out { ErrorClass::Timeout } else { ErrorClass::Network };
    Failure::new(class, why)
}
