use std::borrow::Cow;

use base64::engine::{Engine, general_purpose::STANDARD as BASE64};

use super::{extra_content, ids, thinking};
use crate::{
    BadRequest,
    json::{Json, Object, Rows},
    translate::{
        Field, Fit, Form, Losses,
        hub::{Body, Part, Request, Role, Source, bounded_id},
    },
};

/// Of a call, in this form: longer ones are refused by OpenAI.
const LONGEST_ID: usize = 40;

pub(super) fn write(
    request: &mut Request<'_>,
    fit: &Fit,
    losses: &mut Losses,
) -> Result<Rows, BadRequest> {
    ids::fill(&mut request.turns);
    // What an assistant said and called is one message, and no user's may stand between results.
    request.merge_turns();
    let mut out = Rows::default();
    for turn in std::mem::take(&mut request.turns) {
        match turn.role {
            Role::System => {
                let role = if fit.developer_role { "developer" } else { "system" };
                message(role, turn.parts, losses, &mut out)?;
            }
            Role::User => user(turn.parts, losses, &mut out)?,
            Role::Assistant => out.extend(assistant(turn.parts, fit, losses)?),
        }
    }
    Ok(out)
}

fn message(
    role: &'static str,
    parts: Vec<Part<'_>>,
    losses: &mut Losses,
    out: &mut Rows,
) -> Result<(), BadRequest> {
    if let Some(content) = content(parts, losses)? {
        out.push(Object::new().with("role", role).with("content", content));
    }
    Ok(())
}

/// Results are messages of their own; their images, for which those have no place, follow them.
fn user(parts: Vec<Part<'_>>, losses: &mut Losses, out: &mut Rows) -> Result<(), BadRequest> {
    if !parts.iter().any(|part| matches!(part.body, Body::ToolResult { .. })) {
        return message("user", parts, losses, out);
    }
    let mut rest = Vec::new();
    let mut said = Vec::new();
    for part in parts {
        match part.body {
            Body::ToolResult { id, content, is_error, .. } => {
                let (texts, others): (Vec<_>, Vec<_>) =
                    content.into_iter().partition(|part| part.as_text().is_some());
                let inner = texts.iter().rev().find_map(|text| text.cache_control.clone());
                let text = match (joined(texts, "\n"), is_error) {
                    (text, false) if text.is_empty() && !others.is_empty() => {
                        Cow::Borrowed("(The result is in the next message.)")
                    }
                    (text, false) => text,
                    (text, true) => Cow::Owned(format!("Error: {text}")),
                };
                rest.extend(others);
                let cache_control = part.cache_control.or(inner);
                let result = Object::new()
                    .with("role", "tool")
                    .with("tool_call_id", bounded_id(id.unwrap_or_default(), LONGEST_ID))
                    .with("content", text)
                    .with_some("cache_control", cache_control);
                out.push(result);
            }
            _ => said.push(part),
        }
    }
    rest.append(&mut said);
    message("user", rest, losses, out)
}

/// All texts together are a string, which every provider takes.
fn content<'a>(parts: Vec<Part<'a>>, losses: &mut Losses) -> Result<Option<Json<'a>>, BadRequest> {
    let plain = |part: &Part<'_>| part.as_text().is_some() && part.cache_control.is_none();
    if parts.iter().all(plain) {
        return Ok((!parts.is_empty()).then(|| joined(parts, "\n").into()));
    }
    let mut written = Vec::with_capacity(parts.len());
    for part in parts {
        if let Some(object) = piece(part.body, losses)? {
            written.push(object.with_some("cache_control", part.cache_control));
        }
    }
    Ok((!written.is_empty()).then(|| written.into()))
}

fn joined<'a>(parts: Vec<Part<'a>>, between: &str) -> Cow<'a, str> {
    let mut texts = parts.into_iter().filter_map(|part| match part.body {
        Body::Text { text, .. } => Some(text),
        _ => None,
    });
    let Some(mut all) = texts.next() else { return Cow::Borrowed("") };
    for text in texts {
        let all = all.to_mut();
        all.push_str(between);
        all.push_str(&text);
    }
    all
}

fn piece<'a>(body: Body<'a>, losses: &mut Losses) -> Result<Option<Object<'a>>, BadRequest> {
    let of = |kind: &'static str, key: &'static str, value: Json<'a>| {
        Ok(Some(Object::new().with("type", kind).with(key, value)))
    };
    match body {
        Body::Text { text, .. } | Body::Refusal(text) => of("text", "text", text.into()),
        Body::Image { source, detail } => match source.into_url() {
            Some(url) => {
                let image = Object::new().with("url", url).with_some("detail", detail);
                of("image_url", "image_url", image.into())
            }
            None => losses.lose(Field::ImageFile).map(|()| None),
        },
        Body::Document { source, name } => match document(source, name) {
            Ok(file) => of("file", "file", file.into()),
            Err(Some(text)) => of("text", "text", text.into()),
            Err(None) => losses.lose(Field::DocumentUrl).map(|()| None),
        },
        Body::Audio { data, format } => {
            let format: Cow<'_, str> = match &*format {
                "mpeg" => Cow::Borrowed("mp3"),
                "x-wav" | "wave" => Cow::Borrowed("wav"),
                _ => format,
            };
            let audio = Object::new().with("data", data).with("format", format);
            of("input_audio", "input_audio", audio.into())
        }
        Body::Thinking { .. } | Body::Redacted(_) => {
            losses.lose(Field::ThinkingText).map(|()| None)
        }
        Body::ToolCall { .. } | Body::ToolResult { .. } => Ok(None),
    }
}

/// A `file`; else its text, where it is one, because PDF is all that is taken as a file.
fn document<'a>(
    source: Source<'a>,
    name: Option<Cow<'a, str>>,
) -> Result<Object<'a>, Option<String>> {
    match source {
        Source::File(id) => Ok(Object::new().with("file_id", id)),
        Source::Url(_) => Err(None),
        Source::Data { mime, data } => {
            if mime.starts_with("text/") {
                let text = BASE64.decode(data.as_bytes()).map(String::from_utf8);
                if let Ok(Ok(text)) = text {
                    return Err(Some(match name {
                        Some(name) => format!("{name}\n{text}"),
                        None => text,
                    }));
                }
            }
            let name = name.unwrap_or(Cow::Borrowed("document.pdf"));
            let data = format!("data:{mime};base64,{data}");
            Ok(Object::new().with("filename", name).with("file_data", data))
        }
    }
}

fn assistant<'a>(
    parts: Vec<Part<'a>>,
    fit: &Fit,
    losses: &mut Losses,
) -> Result<Option<Json<'a>>, BadRequest> {
    // As a rule there is nothing else.
    let only_texts = parts.iter().all(|part| part.as_text().is_some());
    let (mut texts, parts) = if only_texts { (parts, Vec::new()) } else { (Vec::new(), parts) };
    let (mut refusals, mut calls) = (Vec::new(), Vec::new());
    let (mut reasoning, mut blocks) = (String::new(), Vec::new());
    for part in parts {
        match part.body {
            Body::Text { .. } => texts.push(part),
            Body::Refusal(text) => refusals.push(Part::text(text)),
            Body::Thinking { text, signature } => {
                let signature = signature.and_then(|signature| signature.for_provider(Form::Chat));
                if fit.echo_reasoning {
                    reasoning.push_str(&text);
                } else if signature.is_none() && !text.is_empty() {
                    losses.lose(Field::ThinkingText)?;
                }
                if signature.is_some() {
                    blocks.push(thinking::block(text, signature));
                }
            }
            Body::Redacted(data) => {
                blocks.extend(data.for_provider(Form::Chat).map(thinking::redacted));
            }
            Body::ToolCall { id, name, arguments, signature } => {
                let signature = signature.and_then(|signature| signature.for_provider(Form::Chat));
                let function =
                    Object::new().with("name", name).with("arguments", arguments.into_text());
                let call = Object::new()
                    .with("id", bounded_id(id.unwrap_or_default(), LONGEST_ID))
                    .with("type", "function")
                    .with("function", function)
                    .with_some("extra_content", signature.map(extra_content));
                calls.push(call);
            }
            Body::Image { .. } => losses.lose(Field::ImageData)?,
            Body::Document { .. } => losses.lose(Field::DocumentData)?,
            Body::Audio { .. } => losses.lose(Field::AudioData)?,
            Body::ToolResult { .. } => {}
        }
    }
    if texts.is_empty() && refusals.is_empty() && calls.is_empty() {
        return Ok(None);
    }
    let content: Option<Json<'_>> = if texts.iter().any(|part| part.cache_control.is_some()) {
        content(texts, losses)?
    } else {
        (!texts.is_empty()).then(|| joined(texts, "").into())
    };
    let message = Object::new()
        .with("role", "assistant")
        .with("content", content)
        .with_some("refusal", (!refusals.is_empty()).then(|| joined(refusals, "")))
        .with_some("reasoning_content", (!reasoning.is_empty()).then_some(reasoning))
        .with_some("thinking_blocks", (!blocks.is_empty()).then_some(blocks))
        .with_some("tool_calls", (!calls.is_empty()).then_some(calls));
    Ok(Some(message.into()))
}
