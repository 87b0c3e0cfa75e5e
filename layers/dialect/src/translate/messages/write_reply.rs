use std::borrow::Cow;

use super::{
    super::{
        Asked, Form,
        hub::{Body, Choice, Citation, Finish, Part, Reply, Signature},
    },
    read_content::signature_block,
    stop::End,
    usage,
};
use crate::json::Object;

pub(crate) fn write_reply<'a>(reply: Reply<'a>, asked: &'a Asked) -> Object<'a> {
    // The form has one answer; more can't have been asked for.
    let choice = reply.choices.into_iter().next().unwrap_or_default();
    let Choice { parts, finish, stop_sequence, .. } = choice;
    let mut end = End { finish, met_sequence: stop_sequence.is_some(), ..End::default() };
    let mut content = Vec::with_capacity(parts.len());
    for part in parts {
        write_part(part, &mut content, &mut end, asked);
    }
    let tier = reply.service_tier.as_deref().and_then(tier);
    let usage = usage::write(reply.usage).with_some("service_tier", tier);
    let stop_sequence = stop_sequence.filter(|_| finish == Some(Finish::Stop));
    message(reply.id, reply.model, asked)
        .with("content", content)
        .with("stop_reason", end.reason())
        .with("stop_sequence", stop_sequence)
        .with("usage", usage)
}

/// The head of a message, whole or streaming.
pub(super) fn message<'a>(
    id: Option<Cow<'a, str>>,
    model: Option<Cow<'a, str>>,
    asked: &'a Asked,
) -> Object<'a> {
    Object::new()
        .with("id", id.unwrap_or_else(|| asked.id("msg_", 0).into()))
        .with("type", "message")
        .with("role", "assistant")
        .with("model", model.unwrap_or(Cow::Borrowed(&asked.model)))
}

fn tier(tier: &str) -> Option<&'static str> {
    match tier {
        "default" => Some("standard"),
        "priority" => Some("priority"),
        "batch" => Some("batch"),
        _ => None,
    }
}

fn write_part<'a>(part: Part<'a>, content: &mut Vec<Object<'a>>, end: &mut End, asked: &'a Asked) {
    let new = |kind| Object::new().with("type", kind);
    let block = match part.body {
        Body::Text { text, .. } if text.is_empty() => return,
        Body::Text { text, citations } => {
            let citations: Vec<_> = citations.into_iter().map(citation).collect();
            let citations = (!citations.is_empty()).then_some(citations);
            new("text").with("text", text).with_some("citations", citations)
        }
        Body::Refusal(text) => {
            end.refused = true;
            if text.is_empty() {
                return;
            }
            new("text").with("text", text)
        }
        Body::ToolCall { id, name, arguments, signature } => {
            end.called = true;
            if let Some(signature) = signature {
                content.push(signature_block(signature.text(Form::Messages)));
            }
            let number = u32::try_from(content.len()).unwrap_or(u32::MAX);
            new("tool_use")
                .with("id", id.unwrap_or_else(|| asked.id("toolu_", number).into()))
                .with("name", name)
                .with("input", arguments.into_object())
        }
        Body::Thinking { text, signature: None } if text.is_empty() => return,
        Body::Thinking { text, signature } => {
            let signature = signature.unwrap_or_else(Signature::unsigned).text(Form::Messages);
            new("thinking").with("thinking", text).with("signature", signature)
        }
        Body::Redacted(data) => new("redacted_thinking").with("data", data.text(Form::Messages)),
        Body::ToolResult { .. } => return,
        file => new("text").with("text", file.left_out()),
    };
    content.push(block);
}

/// Anthropic's own have an index here that proves them, and are refused without.
pub(super) fn citation(citation: Citation<'_>) -> Object<'_> {
    Object::new()
        .with("type", "web_search_result_location")
        .with("url", citation.url)
        .with("title", citation.title)
        .with("cited_text", citation.quote.unwrap_or_default())
        .with("encrypted_index", Signature::unsigned().text(Form::Messages))
}
