//! Items, as requests and replies have them.

use std::borrow::Cow;

use crate::{
    json::{Json, Object},
    translate::hub::Citation,
};

/// Without an `id` where there is none.
pub(super) fn reasoning<'a>(
    id: Option<Cow<'a, str>>,
    text: Option<Cow<'a, str>>,
    sealed: Option<Cow<'a, str>>,
) -> Object<'a> {
    let summary: Vec<Object<'a>> = text.into_iter().map(summary).collect();
    Object::new()
        .with("type", "reasoning")
        .with_some("id", id)
        .with("summary", summary)
        .with_some("encrypted_content", sealed)
}

pub(super) fn summary<'a>(text: impl Into<Cow<'a, str>>) -> Object<'a> {
    Object::new().with("type", "summary_text").with("text", text.into())
}

pub(super) fn text<'a>(
    text: impl Into<Cow<'a, str>>,
    annotations: Vec<Object<'a>>,
    logprobs: Option<Json<'a>>,
) -> Object<'a> {
    Object::new()
        .with("type", "output_text")
        .with("text", text.into())
        .with("annotations", annotations)
        .with_some("logprobs", logprobs)
}

pub(super) fn refusal<'a>(text: impl Into<Cow<'a, str>>) -> Object<'a> {
    Object::new().with("type", "refusal").with("refusal", text.into())
}

/// `length`: of the text, for a citation that says not where it stands.
pub(super) fn annotation(citation: Citation<'_>, length: u64) -> Object<'_> {
    let (start, end) = citation.range.unwrap_or((0, length));
    Object::new()
        .with("type", "url_citation")
        .with("start_index", start)
        .with("end_index", end)
        .with("url", citation.url)
        .with("title", citation.title.unwrap_or_default())
}

pub(super) fn message<'a>(
    id: impl Into<Cow<'a, str>>,
    status: &'static str,
    content: Vec<Object<'a>>,
) -> Object<'a> {
    Object::new()
        .with("type", "message")
        .with("id", id.into())
        .with("status", status)
        .with("role", "assistant")
        .with("content", content)
}

pub(super) fn call<'a>(
    id: Option<Cow<'a, str>>,
    call_id: Cow<'a, str>,
    name: Cow<'a, str>,
    arguments: Cow<'a, str>,
) -> Object<'a> {
    Object::new()
        .with("type", "function_call")
        .with_some("id", id)
        .with("call_id", call_id)
        .with("name", name)
        .with("arguments", arguments)
}
