//! Turns as input items.

use std::borrow::Cow;

use super::{thought, write_items};
use crate::{
    BadRequest,
    json::{Json, Object, Rows},
    translate::{
        Field, Fit, Form, Losses,
        hub::{Body, Part, Role, Source, Turn, bounded_id},
    },
};

pub(super) struct Input<'a, 'l> {
    pub(super) items: Rows,
    /// Reasoning of this form's own is among them.
    pub(super) reasons: bool,
    fit: &'l Fit,
    losses: &'l mut Losses,
    calls: Calls<'a>,
}

impl<'a, 'l> Input<'a, 'l> {
    pub(super) fn new(fit: &'l Fit, losses: &'l mut Losses) -> Self {
        Self { items: Rows::default(), reasons: false, fit, losses, calls: Calls::default() }
    }

    pub(super) fn turn(&mut self, mut turn: Turn<'a>) -> Result<(), BadRequest> {
        let role = turn.role;
        if let [Part { body: Body::Text { text, citations }, .. }] = &mut turn.parts[..] {
            if citations.is_empty() {
                let text = std::mem::take(text);
                self.items.push(self.message_of(role, text));
                return Ok(());
            }
        }
        let mut message = Vec::with_capacity(turn.parts.len());
        for part in turn.parts {
            match part.body {
                Body::ToolCall { id, name, arguments, .. } => {
                    self.message(role, &mut message);
                    let id = self.calls.begin(id, &name);
                    let call = write_items::call(None, id, name, arguments.into_text());
                    self.items.push(call);
                }
                Body::ToolResult { id, name, content, is_error } => {
                    self.message(role, &mut message);
                    let result = Object::new()
                        .with("type", "function_call_output")
                        .with("call_id", self.calls.answer(id, name.as_deref()))
                        .with("output", self.output(content, is_error)?);
                    self.items.push(result);
                }
                body @ (Body::Thinking { .. } | Body::Redacted(_)) => {
                    self.message(role, &mut message);
                    self.thought(body)?;
                }
                body => message.extend(self.content(role, body)?),
            }
        }
        self.message(role, &mut message);
        Ok(())
    }

    /// Ends a message. A text alone is written the short way, which all providers of this form
    /// take: OpenAI's own parts have members that others demand.
    fn message(&mut self, role: Role, content: &mut Vec<Object<'a>>) {
        if content.is_empty() {
            return;
        }
        let mut parts = std::mem::take(content);
        let plain = match &mut parts[..] {
            [part] if part.str("type").is_some_and(|kind| kind.ends_with("put_text")) => {
                let cited = part.get("annotations").and_then(Json::as_array);
                if cited.is_some_and(|cited| !cited.is_empty()) { None } else { part.take("text") }
            }
            _ => None,
        };
        let content = plain.unwrap_or_else(|| parts.into());
        self.items.push(self.message_of(role, content));
    }

    fn message_of(&self, role: Role, content: impl Into<Json<'a>>) -> Object<'a> {
        let role = match role {
            Role::User => "user",
            Role::Assistant => "assistant",
            Role::System if self.fit.developer_role => "developer",
            Role::System => "system",
        };
        Object::new().with("type", "message").with("role", role).with("content", content)
    }

    fn thought(&mut self, body: Body<'a>) -> Result<(), BadRequest> {
        let (text, signature) = match body {
            Body::Thinking { text, signature } => (Some(text), signature),
            Body::Redacted(data) => (None, Some(data)),
            _ => return Ok(()),
        };
        let signature = signature.filter(|signature| signature.of == Form::Responses);
        if let Some(signature) = signature {
            self.reasons = true;
            let (id, sealed) = thought::unseal(&signature);
            // A signature alone is a summary of nothing, which OpenAI does not write.
            let text = text.filter(|text| !text.is_empty());
            self.items.push(write_items::reasoning(id, text, Some(sealed)));
            return Ok(());
        }
        match text.filter(|text| !text.is_empty()) {
            None => Ok(()),
            Some(text) if self.fit.echo_reasoning => {
                let text = Object::new().with("type", "reasoning_text").with("text", text);
                let item = write_items::reasoning(None, None, None).with("content", vec![text]);
                self.items.push(item);
                Ok(())
            }
            Some(_) => self.losses.lose(Field::ThinkingText),
        }
    }

    /// A part of a message, or of what a tool said; `None` if there is no place for it.
    fn content(&mut self, role: Role, body: Body<'a>) -> Result<Option<Object<'a>>, BadRequest> {
        let lost = match body {
            Body::Text { text, citations } if role == Role::Assistant => {
                let ranged = citations.iter().filter(|citation| citation.range.is_some());
                let annotations: Vec<_> =
                    ranged.map(|citation| write_items::annotation(citation.clone(), 0)).collect();
                if annotations.len() < citations.len() {
                    self.losses.lose(Field::Citations)?;
                }
                return Ok(Some(write_items::text(text, annotations, None)));
            }
            Body::Refusal(text) if role == Role::Assistant => {
                return Ok(Some(write_items::refusal(text)));
            }
            Body::Text { text, .. } | Body::Refusal(text) => {
                return Ok(Some(Object::new().with("type", "input_text").with("text", text)));
            }
            Body::Image { source, detail } if role != Role::Assistant => {
                let image = Object::new().with("type", "input_image").with_some("detail", detail);
                return Ok(Some(match source {
                    Source::File(id) => image.with("file_id", id),
                    source => image.with_some("image_url", source.into_url()),
                }));
            }
            Body::Document { source, name } if role != Role::Assistant => {
                return Ok(Some(document(source, name)));
            }
            Body::Image { source, .. } => match source {
                Source::Url(_) => Field::ImageUrl,
                Source::Data { .. } => Field::ImageData,
                Source::File(_) => Field::ImageFile,
            },
            Body::Document { source, .. } => match source {
                Source::Url(_) => Field::DocumentUrl,
                Source::Data { .. } => Field::DocumentData,
                Source::File(_) => Field::DocumentFile,
            },
            Body::Audio { .. } => Field::AudioData,
            // They are items of their own, and none of them stands in a tool's result.
            _ => return Ok(None),
        };
        self.losses.lose(lost)?;
        Ok(None)
    }

    /// What a tool said. There is no mark for an error but to say so.
    fn output(&mut self, parts: Vec<Part<'a>>, is_error: bool) -> Result<Json<'a>, BadRequest> {
        const ERROR: &str = "Error: ";
        let mut content = Vec::with_capacity(parts.len());
        for part in parts {
            content.extend(self.content(Role::User, part.body)?);
        }
        let first = content.first_mut().filter(|part| part.str("type") == Some("input_text"));
        let text = first.and_then(|part| part.take("text"));
        let text = match text {
            Some(Json::String(text)) if is_error => Some(Cow::Owned(ERROR.to_owned() + &text)),
            Some(Json::String(text)) => Some(text),
            _ => is_error.then(|| {
                content.insert(0, Object::new().with("type", "input_text"));
                Cow::Borrowed(ERROR)
            }),
        };
        if content.len() <= 1 {
            if let Some(text) = text {
                return Ok(text.into());
            }
            if content.is_empty() {
                return Ok("".into());
            }
            return Ok(content.into());
        }
        if let (Some(text), Some(first)) = (text, content.first_mut()) {
            first.push("text", text);
        }
        Ok(content.into())
    }
}

fn document<'a>(source: Source<'a>, name: Option<Cow<'a, str>>) -> Object<'a> {
    let document = Object::new().with("type", "input_file");
    match source {
        Source::File(id) => document.with("file_id", id),
        Source::Url(url) => document.with("file_url", url),
        Source::Data { mime, data } => {
            // Data has to have a name.
            let made = if mime.starts_with("text/") { "document.txt" } else { "document.pdf" };
            document
                .with("filename", name.unwrap_or(Cow::Borrowed(made)))
                .with("file_data", format!("data:{mime};base64,{data}"))
        }
    }
}

/// Longer ones are refused by OpenAI.
const LONGEST_ID: usize = 64;

/// The ids of tool calls: here each call and each result has one.
#[derive(Debug, Default)]
struct Calls<'a> {
    open: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    begun: usize,
}

impl<'a> Calls<'a> {
    /// The same for the same conversation, or a provider could not cache it.
    fn begin(&mut self, id: Option<Cow<'a, str>>, name: &Cow<'a, str>) -> Cow<'a, str> {
        let id = id.unwrap_or_else(|| format!("call_{}", self.begun).into());
        let id = bounded_id(id, LONGEST_ID);
        self.begun += 1;
        self.open.push((id.clone(), name.clone()));
        id
    }

    /// A result without an id answers the first call of that name that has no answer yet.
    fn answer(&mut self, id: Option<Cow<'a, str>>, name: Option<&str>) -> Cow<'a, str> {
        let id = id.map(|id| bounded_id(id, LONGEST_ID));
        let place = self.open.iter().position(|(open, called)| match (&id, name) {
            (Some(id), _) => id == open,
            (None, Some(name)) => name == called,
            (None, None) => true,
        });
        let open = place.map(|place| self.open.remove(place).0);
        id.or(open).unwrap_or_else(|| format!("call_{}", self.begun).into())
    }
}
