use std::borrow::Cow;

use http::{HeaderMap, Method, StatusCode, header};
use tollway_core::Operation;

use super::InspectConfig;
use crate::{BadRequest, multipart};

/// How a request's body is to be treated.
#[derive(Debug)]
pub(super) enum Kind {
    /// Held whole and read.
    Json,
    /// The first bytes are searched for the model.
    Multipart(multipart::Search),
    /// Passed on unheld.
    Opaque,
}

impl Kind {
    /// The most bytes of such a body.
    pub(super) fn max(&self, config: &InspectConfig) -> u64 {
        match self {
            Self::Json => config.max_body as u64,
            Self::Multipart(_) | Self::Opaque => config.max_upload,
        }
    }

    /// A call that speaks only JSON is refused in any other clothing: passed on unread, it would
    /// slip past every limit in tokens.
    pub(super) fn of(
        operation: Operation,
        method: &Method,
        headers: &HeaderMap,
    ) -> Result<Self, BadRequest> {
        let (reads, only_json) = match operation {
            Operation::ChatCompletions
            | Operation::Completions
            | Operation::Responses
            | Operation::Messages
            | Operation::GenerateContent
            | Operation::CountTokens
            | Operation::Embeddings
            | Operation::Moderations => (true, true),
            Operation::Images | Operation::Audio => (true, false),
            _ => (false, false),
        };
        if !reads || method != Method::POST {
            return Ok(Self::Opaque);
        }
        let content_type = headers.get(header::CONTENT_TYPE).map(|value| value.to_str());
        let Some(content_type) = content_type else { return plain(headers) };
        let content_type = content_type.unwrap_or_default();
        if is_json(content_type) {
            return plain(headers);
        }
        if only_json {
            return Err(unsupported(format!(
                "This endpoint takes JSON: send `content-type: application/json`, not {content_type:?}."
            )));
        }
        Ok(match multipart::boundary(content_type) {
            Some(boundary) => Self::Multipart(multipart::Search::new(boundary)),
            None => Self::Opaque,
        })
    }
}

fn plain(headers: &HeaderMap) -> Result<Kind, BadRequest> {
    match headers.get(header::CONTENT_ENCODING) {
        None => Ok(Kind::Json),
        Some(value) if value.as_bytes().eq_ignore_ascii_case(b"identity") => Ok(Kind::Json),
        Some(value) => Err(unsupported(format!(
            "The request body is compressed ({value:?}). Send it without `content-encoding`."
        ))),
    }
}

fn unsupported(message: impl Into<Cow<'static, str>>) -> BadRequest {
    BadRequest::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message).with_code("unsupported_media_type")
}

/// `application/json` and `application/*+json`, with or without parameters.
pub(crate) fn is_json(content_type: &str) -> bool {
    if content_type == "application/json" {
        return true;
    }
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let Some((main, sub)) = essence.split_once('/') else { return false };
    let suffix = sub.len().checked_sub(5).and_then(|at| sub.get(at..));
    main.eq_ignore_ascii_case("application")
        && (sub.eq_ignore_ascii_case("json")
            || suffix.is_some_and(|suffix| suffix.eq_ignore_ascii_case("+json")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_types() {
        for yes in ["application/json", "Application/JSON; charset=utf-8", "application/x+json"] {
            assert!(is_json(yes), "{yes}");
        }
        for no in
            ["", "text/json", "application/jsonl", "application/x-www-form-urlencoded", "json"]
        {
            assert!(!is_json(no), "{no}");
        }
    }
}
