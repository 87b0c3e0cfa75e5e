use std::collections::VecDeque;

use base64::engine::{Engine, general_purpose::STANDARD as BASE64};

use super::{
    super::{
        Field, Form, Loss, Losses,
        hub::{Body, Part, Request, Role, Source},
    },
    ids::Ids,
};
use crate::{
    BadRequest,
    json::{At, Json, Object, Rows},
};

/// A message: what tools said comes first.
#[derive(Debug)]
pub(super) struct Message<'a> {
    pub(super) role: Role,
    results: Vec<Object<'a>>,
    rest: Vec<Object<'a>>,
}

/// The conversation without its instructions: roles alternate, nothing is empty. The last messages
/// are not written yet.
pub(super) fn messages<'a>(
    request: &mut Request<'a>,
    losses: &mut Losses,
) -> Result<(Rows, Vec<Message<'a>>), BadRequest> {
    // Of these two there may be one more behind them of which nothing is left.
    const LAST: usize = 3;
    let mut written = Rows::default();
    let mut messages = VecDeque::<Message<'_>>::with_capacity(LAST + 1);
    let mut ids = Ids::default();
    for turn in std::mem::take(&mut request.turns) {
        let mut message = Message { role: turn.role, results: Vec::new(), rest: Vec::new() };
        if turn.role == Role::Assistant {
            ids.turn();
        }
        for part in turn.parts {
            let is_result = matches!(part.body, Body::ToolResult { .. });
            let block = block(part, turn.role, &mut ids, losses)?;
            if is_result { &mut message.results } else { &mut message.rest }.extend(block);
        }
        match messages.back_mut() {
            _ if message.is_empty() => {}
            Some(last) if last.role == message.role => {
                last.results.append(&mut message.results);
                last.rest.append(&mut message.rest);
            }
            _ => messages.push_back(message),
        }
        if messages.len() > LAST {
            if let Some(first) = messages.pop_front() {
                written.extend(first.ended(losses)?.map(Message::into_json));
            }
        }
    }
    let mut last = Vec::with_capacity(messages.len());
    for message in messages {
        last.extend(message.ended(losses)?);
    }
    if let Some(last) =
        last.last_mut().filter(|last: &&mut Message<'_>| last.role == Role::Assistant)
    {
        if last.trim_end() {
            losses.lose_named(losses.client().said().into(), Loss::Harmless)?;
        }
    }
    Ok((written, last))
}

fn is_thought(block: &Object<'_>) -> bool {
    matches!(block.str("type"), Some("thinking" | "redacted_thinking"))
}

impl<'a> Message<'a> {
    fn is_empty(&self) -> bool {
        self.results.is_empty() && self.rest.is_empty()
    }

    /// With nothing to come; `None` if it is empty.
    fn ended(mut self, losses: &mut Losses) -> Result<Option<Self>, BadRequest> {
        // A thought that came to nothing can't be the end of a message.
        while self.role == Role::Assistant && self.rest.last().is_some_and(is_thought) {
            self.rest.pop();
            losses.lose(Field::ThinkingText)?;
        }
        Ok((!self.is_empty()).then_some(self))
    }

    /// An answer's beginning must not end in blanks. Whether it did.
    fn trim_end(&mut self) -> bool {
        let Some(last) = self.rest.last_mut() else { return false };
        let mut trimmed = false;
        for (key, value) in last.iter_mut() {
            if let ("text", Json::String(text)) = (key, value) {
                let end = text.trim_end().len();
                if end < text.len() {
                    trimmed = true;
                    text.to_mut().truncate(end);
                }
            }
        }
        trimmed
    }

    pub(super) fn into_json(mut self) -> Object<'a> {
        let role = if self.role == Role::Assistant { "assistant" } else { "user" };
        let text_alone = self.role == Role::User && self.results.is_empty();
        let content = match self.rest.as_mut_slice() {
            [only] if text_alone && only.get("cache_control").is_none() => only.take("text"),
            _ => None,
        };
        let blocks = self.results.into_iter().chain(self.rest).map(Json::Object);
        Object::new()
            .with("role", role)
            .with("content", content.unwrap_or_else(|| Json::Array(blocks.collect())))
    }
}

/// Whether the model is amid its calls, and what it thought before them is not known any more: a
/// model with a budget then refuses to think on.
pub(super) fn lost_thought(messages: &[Message<'_>]) -> bool {
    match messages {
        [.., asked, told] if asked.role == Role::Assistant => {
            !told.results.is_empty() && !asked.rest.first().is_some_and(is_thought)
        }
        _ => false,
    }
}

/// The block for a piece; `None` if nothing is left of it.
pub(super) fn block<'a>(
    part: Part<'a>,
    role: Role,
    ids: &mut Ids<'a>,
    losses: &mut Losses,
) -> Result<Option<Object<'a>>, BadRequest> {
    let new = |kind| Object::new().with("type", kind);
    let block = match part.body {
        // Blank text is refused.
        Body::Text { text, .. } | Body::Refusal(text) => {
            (!text.trim().is_empty()).then(|| new("text").with("text", text))
        }
        Body::Image { source, .. } => {
            let field = match &source {
                Source::Url(_) => Field::ImageUrl,
                Source::Data { .. } => Field::ImageData,
                Source::File(_) => Field::ImageFile,
            };
            match image(source).filter(|_| role != Role::Assistant) {
                Some(source) => Some(new("image").with("source", source)),
                None => return losses.lose(field).map(|()| None),
            }
        }
        Body::Document { source, name } => {
            let field = match &source {
                Source::Url(_) => Field::DocumentUrl,
                Source::Data { .. } => Field::DocumentData,
                Source::File(_) => Field::DocumentFile,
            };
            match document(source).filter(|_| role != Role::Assistant) {
                Some(source) => {
                    Some(new("document").with("source", source).with_some("title", name))
                }
                None => return losses.lose(field).map(|()| None),
            }
        }
        Body::Audio { .. } => return losses.lose(Field::AudioData).map(|()| None),
        Body::ToolCall { id, name, arguments, .. } => {
            let id = ids.call(id, &name);
            let input = arguments.into_value(&At::Root.key(losses.arguments()))?;
            let input = Some(input).filter(|input| input.as_object().is_some());
            let input = input.unwrap_or_else(|| Object::new().into());
            Some(new("tool_use").with("id", id).with("name", name).with("input", input))
        }
        Body::ToolResult { id, name, content, is_error } => {
            let id = ids.result(id, name.as_deref());
            let said = said(content, ids, losses)?;
            Some(
                new("tool_result")
                    .with("tool_use_id", id)
                    .with_some("content", said)
                    .with_some("is_error", is_error.then_some(true)),
            )
        }
        Body::Thinking { text, signature } => {
            let signature = signature.and_then(|signature| signature.for_provider(Form::Messages));
            match signature.filter(|signature| !signature.is_empty()) {
                Some(signature) => {
                    Some(new("thinking").with("thinking", text).with("signature", signature))
                }
                // Nobody but the model itself can say what it thought: it is refused.
                None => return losses.lose(Field::ThinkingText).map(|()| None),
            }
        }
        Body::Redacted(data) => match data.for_provider(Form::Messages) {
            Some(data) => Some(new("redacted_thinking").with("data", data)),
            None => return losses.lose(Field::Signature).map(|()| None),
        },
    };
    Ok(block.map(|block| block.with_some("cache_control", part.cache_control)))
}

/// What a tool said: a string where it is one text.
fn said<'a>(
    mut content: Vec<Part<'a>>,
    ids: &mut Ids<'a>,
    losses: &mut Losses,
) -> Result<Option<Json<'a>>, BadRequest> {
    if content.len() == 1 && content.iter().all(|part| part.cache_control.is_none()) {
        match content.pop() {
            Some(Part { body: Body::Text { text, .. }, .. }) => return Ok(Some(text.into())),
            other => content.extend(other),
        }
    }
    let mut blocks = Vec::with_capacity(content.len());
    for part in content {
        blocks.extend(block(part, Role::User, ids, losses)?);
    }
    Ok((!blocks.is_empty()).then(|| blocks.into()))
}

fn is_web(url: &str) -> bool {
    url.starts_with("https://") || url.starts_with("http://")
}

fn image(source: Source<'_>) -> Option<Object<'_>> {
    let new = |kind| Object::new().with("type", kind);
    match source {
        Source::Url(url) => is_web(&url).then(|| new("url").with("url", url)),
        Source::File(id) => Some(new("file").with("file_id", id)),
        Source::Data { mime, data } => {
            let mime = match &*mime {
                "image/jpeg" | "image/jpg" => "image/jpeg",
                "image/png" => "image/png",
                "image/gif" => "image/gif",
                "image/webp" => "image/webp",
                _ => return None,
            };
            Some(new("base64").with("media_type", mime).with("data", data))
        }
    }
}

fn document(source: Source<'_>) -> Option<Object<'_>> {
    let new = |kind| Object::new().with("type", kind);
    match source {
        Source::Url(url) => is_web(&url).then(|| new("url").with("url", url)),
        Source::File(id) => Some(new("file").with("file_id", id)),
        Source::Data { mime, data } if mime == "application/pdf" => {
            Some(new("base64").with("media_type", mime).with("data", data))
        }
        Source::Data { mime, data } if mime.starts_with("text/") || mime == "application/json" => {
            let text = String::from_utf8(BASE64.decode(&*data).ok()?).ok()?;
            Some(new("text").with("media_type", "text/plain").with("data", text))
        }
        Source::Data { .. } => None,
    }
}
