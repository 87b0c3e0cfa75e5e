//! `contents`, for a provider.

use std::{
    borrow::Cow,
    collections::{HashMap, VecDeque},
};

use super::{media, part};
use crate::{
    BadRequest,
    json::{At, Json, Object, Rows},
    translate::{
        Field, Fit, Losses,
        hub::{Body, Part, Role, Source, Turn},
    },
};

/// The calls made so far.
#[derive(Default)]
struct Calls<'a> {
    by_id: HashMap<Cow<'a, str>, Called<'a>>,
    made: usize,
    turn: usize,
}

/// The calls of one id in the last turn that had it, which wait for their results in order: each
/// one's place and name.
#[derive(Default)]
struct Called<'a> {
    turn: usize,
    waiting: VecDeque<(usize, Cow<'a, str>)>,
}

impl<'a> Calls<'a> {
    /// Ids may begin anew each turn: the nearest call before a result is meant.
    fn add(&mut self, id: Cow<'a, str>, name: Cow<'a, str>) {
        let called = self.by_id.entry(id).or_default();
        if called.turn != self.turn {
            *called = Called { turn: self.turn, waiting: VecDeque::new() };
        }
        called.waiting.push_back((self.made, name));
        self.made += 1;
    }

    /// Which call a result answers: of some with one id, the first that has none yet.
    fn answered(&mut self, id: &str) -> Option<(usize, Cow<'a, str>)> {
        let waiting = &mut self.by_id.get_mut(id)?.waiting;
        if waiting.len() > 1 { waiting.pop_front() } else { waiting.front().cloned() }
    }
}

/// `turns` without instructions, their roles alternating.
pub(super) fn contents(
    turns: Vec<Turn<'_>>,
    fit: &Fit,
    losses: &mut Losses,
) -> Result<Rows, BadRequest> {
    let mut calls = Calls::default();
    let mut contents = Rows::default();
    for turn in turns {
        let (role, mut parts) = match turn.role {
            Role::Assistant => ("model", said_by_model(turn.parts, fit, losses, &mut calls)?),
            Role::User | Role::System => ("user", said_to_model(turn.parts, losses, &mut calls)?),
        };
        // An empty text is refused wherever there is another part.
        if parts.len() > 1 {
            parts.retain(|part| part.str("text") != Some("") || part.get(SIGNATURE).is_some());
        }
        if !parts.is_empty() {
            contents.push(Object::new().with("role", role).with("parts", parts));
        }
    }
    Ok(contents)
}

const SIGNATURE: &str = "thoughtSignature";

fn said_by_model<'a>(
    parts: Vec<Part<'a>>,
    fit: &Fit,
    losses: &mut Losses,
    calls: &mut Calls<'a>,
) -> Result<Vec<Object<'a>>, BadRequest> {
    let mut out = Vec::<Object<'a>>::with_capacity(parts.len());
    let mut called = false;
    calls.turn += 1;
    // A signature by itself: of the call behind it, as clients of other forms have it, or else of
    // the text before it.
    let mut alone = None;
    for part in parts {
        if !matches!(part.body, Body::ToolCall { .. }) {
            sign(&mut out, alone.take());
        }
        match part.body {
            Body::Text { text, .. } | Body::Refusal(text) => out.push(part::text(text)),
            Body::Thinking { text, signature } => match part::own(signature) {
                Some(signature) if text.is_empty() => alone = Some(signature),
                None if text.is_empty() => {}
                signature => out.push(part::thought(text, signature)),
            },
            Body::Redacted(data) => alone = part::own(Some(data)),
            Body::ToolCall { id, name, arguments, signature } => {
                let args = arguments.into_value(&At::Root.key(losses.arguments()))?;
                // Only the first of the calls made at once carries one.
                let placeholder = || {
                    let needed = fit.needs_signature && !called;
                    needed.then_some(Cow::Borrowed(part::PLACEHOLDER))
                };
                let own = part::own(signature);
                if own.is_some() {
                    sign(&mut out, alone.take());
                }
                let signature = own.or_else(|| alone.take()).or_else(placeholder);
                called = true;
                if let Some(id) = &id {
                    calls.add(id.clone(), name.clone());
                }
                out.push(part::function_call(id, name, args, signature));
            }
            body @ (Body::Image { .. } | Body::Document { .. } | Body::Audio { .. }) => {
                out.extend(media(body, losses)?);
            }
            // Only a user's turn has results.
            Body::ToolResult { .. } => {}
        }
    }
    sign(&mut out, alone);
    Ok(out)
}

/// Puts a signature back beside the text that it came with.
fn sign<'a>(out: &mut Vec<Object<'a>>, signature: Option<Cow<'a, str>>) {
    let Some(signature) = signature else { return };
    match out.last_mut() {
        Some(last)
            if last.get("text").is_some()
                && last.get("thought").is_none()
                && last.get(SIGNATURE).is_none() =>
        {
            last.push(SIGNATURE, signature);
        }
        _ => out.push(part::text("").with(SIGNATURE, signature)),
    }
}

fn said_to_model<'a>(
    parts: Vec<Part<'a>>,
    losses: &mut Losses,
    calls: &mut Calls<'a>,
) -> Result<Vec<Object<'a>>, BadRequest> {
    let (mut results, mut rest) = (Vec::new(), Vec::new());
    for part in parts {
        match part.body {
            Body::ToolResult { id, name, content, is_error } => {
                let call = id.as_ref().and_then(|id| calls.answered(id));
                let place = call.as_ref().map_or(usize::MAX, |(place, _)| *place);
                let name = name.or_else(|| call.map(|(_, name)| name));
                let name = name.ok_or_else(|| unasked(id.as_deref()))?;
                results.push((place, result(id, name, content, is_error, losses)?));
            }
            Body::Text { text, .. } | Body::Refusal(text) => rest.push(part::text(text)),
            body => rest.extend(media(body, losses)?),
        }
    }
    if results.is_empty() {
        return Ok(rest);
    }
    // Google wants the results first, as many as there were calls and in the same order.
    results.sort_by_key(|(place, _)| *place);
    let results = results.into_iter().flat_map(|(_, parts)| parts);
    Ok(results.chain(rest).collect())
}

fn unasked(id: Option<&str>) -> BadRequest {
    BadRequest::invalid(format!(
        "The conversation has a tool result for the call `{}`, but no call of that id before it. \
         The provider that this request goes to has to be told the tool's name, and the call \
         tells it.",
        id.unwrap_or_default()
    ))
    .with_code("invalid_value")
}

/// One `functionResponse`, and the images that go with it.
fn result<'a>(
    id: Option<Cow<'a, str>>,
    name: Cow<'a, str>,
    content: Vec<Part<'a>>,
    is_error: bool,
    losses: &mut Losses,
) -> Result<Vec<Object<'a>>, BadRequest> {
    let (mut texts, mut files) = (Vec::new(), Vec::new());
    for part in content {
        match part.body {
            Body::Text { text, .. } => texts.push(text),
            body => files.extend(media(body, losses)?),
        }
    }
    let text = match texts.len() {
        1 => texts.pop().unwrap_or_default(),
        _ => texts.join("\n").into(),
    };
    let said = match (is_error, as_object(&text)) {
        (true, _) => Object::new().with("error", text),
        (false, Some(object)) => object,
        (false, None) => Object::new().with("result", text),
    };
    let response = Object::new().with_some("id", id).with("name", name).with("response", said);
    let mut parts = vec![Object::new().with("functionResponse", response)];
    parts.append(&mut files);
    Ok(parts)
}

fn as_object(text: &str) -> Option<Object<'static>> {
    if !text.trim_start().starts_with('{') {
        return None;
    }
    match Json::read(text.as_bytes()).ok()?.into_owned() {
        Json::Object(object) => Some(object),
        _ => None,
    }
}

/// A picture, a document or a sound, if Gemini gets at it.
fn media<'a>(body: Body<'a>, losses: &mut Losses) -> Result<Option<Object<'a>>, BadRequest> {
    let (source, url, file) = match body {
        Body::Image { source, .. } => (source, Field::ImageUrl, Field::ImageFile),
        Body::Document { source, .. } => (source, Field::DocumentUrl, Field::DocumentFile),
        Body::Audio { data, format } => return Ok(Some(part::audio(&format, data))),
        _ => return Ok(None),
    };
    match source {
        Source::Data { mime, data } => Ok(Some(part::inline_data(mime, data))),
        Source::Url(uri) if media::takes_url(&uri) => Ok(Some(part::file_data(uri))),
        Source::Url(_) => losses.lose(url).map(|()| None),
        Source::File(_) => losses.lose(file).map(|()| None),
    }
}
