//! OpenAI's `POST /v1/chat/completions`, and what Groq, xAI, DeepSeek, Moonshot and others made of
//! it.
//!
//! Beyond what OpenAI documents, messages carry reasoning: as text in `reasoning_content` (Groq:
//! `reasoning`), with its signatures in `thinking_blocks`, as Anthropic's blocks. A call's
//! signature stands in `extra_content.google.thought_signature`, where Gemini's own chat form has
//! it, whichever provider it is of. `cache_control` is taken on parts, messages and tools.

mod calls;
mod citations;
mod finish;
mod ids;
mod piece;
mod read_messages;
mod read_reply;
mod read_request;
mod read_stream;
mod read_tools;
#[cfg(test)]
mod tests;
mod thinking;
mod usage;
mod write_messages;
mod write_reply;
mod write_request;
mod write_stream;

pub(crate) use read_reply::read_reply;
pub(crate) use read_request::read_request;
pub(crate) use read_stream::Reader;
pub(crate) use write_reply::write_reply;
pub(crate) use write_request::write_request;
pub(crate) use write_stream::Writer;

use std::borrow::Cow;

use crate::{
    json::{Json, Object},
    translate::{Form, hub::Signature},
};

/// A string, if that is what it is; else it is left: how replies are read, where a field of a
/// strange type is no reason to lose the answer.
fn lenient<'a>(object: &mut Object<'a>, key: &str) -> Option<Cow<'a, str>> {
    object.str(key)?;
    match object.take(key)? {
        Json::String(text) if !text.is_empty() => Some(text),
        _ => None,
    }
}

fn lenient_object<'a>(object: &mut Object<'a>, key: &str) -> Option<Object<'a>> {
    object.get(key)?.as_object()?;
    match object.take(key)? {
        Json::Object(object) => Some(object),
        _ => None,
    }
}

fn lenient_array<'a>(object: &mut Object<'a>, key: &str) -> Vec<Json<'a>> {
    match object.take(key) {
        Some(Json::Array(items)) => items,
        _ => Vec::new(),
    }
}

/// The text of `extra_content.google.thought_signature`, and nothing else of what is in there.
fn take_call_signature<'a>(call: &mut Object<'a>) -> Option<Cow<'a, str>> {
    let mut extra = lenient_object(call, "extra_content")?;
    let mut google = lenient_object(&mut extra, "google").unwrap_or_default();
    let signature = lenient(&mut google, "thought_signature");
    if !google.is_empty() {
        extra.push("google", google);
    }
    if !extra.is_empty() {
        call.push("extra_content", extra);
    }
    signature
}

fn extra_content(signature: Cow<'_, str>) -> Object<'_> {
    Object::new().with("google", Object::new().with("thought_signature", signature))
}

/// A call's signature as a client is to have it: Gemini's own is known by bearing no mark, so the
/// place is one of Gemini's form.
fn for_client<'a>(signature: &Signature<'a>) -> Cow<'a, str> {
    signature.text(Form::Generate)
}
