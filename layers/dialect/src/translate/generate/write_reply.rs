use std::borrow::Cow;

use super::{citations, finish, logprobs, part, usage};
use crate::{
    json::Object,
    translate::{
        Asked,
        hub::{Body, Choice, Part, Reply, Source},
    },
};

pub(crate) fn write_reply<'a>(reply: Reply<'a>, asked: &'a Asked) -> Object<'a> {
    let candidates: Vec<_> = reply.choices.into_iter().map(candidate).collect();
    let model = reply.model.unwrap_or(Cow::Borrowed(&asked.model));
    Object::new()
        .with("candidates", candidates)
        .with_some("usageMetadata", reply.usage.as_ref().map(usage::write))
        .with("modelVersion", model)
        .with("responseId", reply.id.unwrap_or_else(|| asked.id("", 0).into()))
}

fn candidate(choice: Choice<'_>) -> Object<'_> {
    let citations = cited(&choice.parts);
    let parts: Vec<_> = choice.parts.into_iter().flat_map(written).collect();
    let mut content = Object::new();
    if !parts.is_empty() {
        content.push("parts", parts);
    }
    content.push("role", "model");
    Object::new()
        .with("content", content)
        .with_some("finishReason", choice.finish.map(finish::name))
        .with("index", choice.index)
        .with_some("citationMetadata", citations)
        .with_some("logprobsResult", choice.logprobs.and_then(logprobs::write))
}

fn cited<'a>(parts: &[Part<'a>]) -> Option<Object<'a>> {
    let all = parts.iter().filter_map(|part| match &part.body {
        Body::Text { citations, .. } => Some(citations),
        _ => None,
    });
    let all: Vec<_> = all.flatten().cloned().collect();
    if all.is_empty() {
        return None;
    }
    let text: String = parts.iter().filter_map(Part::as_text).collect();
    citations::write(all, |characters| {
        let characters = usize::try_from(characters).ok()?;
        let ends = text.char_indices().map(|(byte, _)| byte).chain([text.len()]);
        u64::try_from(ends.into_iter().nth(characters)?).ok()
    })
}

fn written(part: Part<'_>) -> Option<Object<'_>> {
    Some(match part.body {
        Body::Text { text, .. } | Body::Refusal(text) => part::text(text),
        Body::Thinking { text, signature } if text.is_empty() => {
            let signature = signature.filter(|signature| !signature.data.is_empty());
            return signature.map(|signature| part::signature_alone(&signature));
        }
        Body::Thinking { text, signature } => part::thought(text, part::signature_text(signature)),
        Body::Redacted(data) => part::thought("", Some(part::redacted(data))),
        Body::ToolCall { id, name, arguments, signature } => {
            let args = arguments.into_object();
            part::function_call(id, name, args, part::signature_text(signature))
        }
        Body::Image { source, .. } | Body::Document { source, .. } => match source {
            Source::Data { mime, data } => part::inline_data(mime, data),
            Source::Url(uri) => part::file_data(uri),
            Source::File(_) => return None,
        },
        Body::Audio { data, format } => part::audio(&format, data),
        Body::ToolResult { .. } => return None,
    })
}
