use std::borrow::Cow;

use super::{take_call_signature, thinking};
use crate::{
    BadRequest,
    json::{At, Items, Json, Object},
    translate::{
        Form, Loss,
        hub::{Arguments, Body, Part, Request, Role, Signature, Source, Turn},
    },
};

pub(super) fn read<'a>(messages: Items<'a>, request: &mut Request<'a>) -> Result<(), BadRequest> {
    let at = At::Root.key("messages");
    let mut called = Called::default();
    for (n, message) in messages.each().enumerate() {
        let at = at.index(n);
        let mut message = message.into_object(&at)?;
        let role = message.need_text("role", &at)?;
        let cache_control = message.take("cache_control");
        let (role, mut parts) = match &*role {
            "system" | "developer" => (Role::System, need_content(&mut message, request, &at)?),
            "user" => (Role::User, need_content(&mut message, request, &at)?),
            "assistant" => {
                (Role::Assistant, assistant(&mut message, request, &at, &mut called, n)?)
            }
            "tool" => (Role::User, vec![tool(&mut message, request, &at)?]),
            "function" => (Role::User, vec![function(&mut message, request, &at, &mut called, n)?]),
            _ => {
                return Err(at.key("role").bad(
                    "must be `developer`, `system`, `user`, `assistant`, `tool` or `function`",
                ));
            }
        };
        if let Some((part, cache_control)) = parts.last_mut().zip(cache_control) {
            part.cache_control.get_or_insert(cache_control);
        }
        request.left(message, "messages");
        if !parts.is_empty() {
            request.turns.push(Turn::new(role, parts));
        }
    }
    Ok(())
}

/// The last of the old `function_call`s, which have no ids, and the id made for it.
#[derive(Default)]
struct Called<'a>(Option<(Cow<'a, str>, String)>);

fn made_id(name: &str, n: usize) -> String {
    format!("call_{name}_{n}")
}

fn need_content<'a>(
    message: &mut Object<'a>,
    request: &mut Request<'a>,
    at: &At<'_>,
) -> Result<Vec<Part<'a>>, BadRequest> {
    if message.get("content").is_none_or(Json::is_null) {
        return Err(at.key("content").missing("a string or an array"));
    }
    content(message, request, at)
}

fn content<'a>(
    message: &mut Object<'a>,
    request: &mut Request<'a>,
    at: &At<'_>,
) -> Result<Vec<Part<'a>>, BadRequest> {
    let at = at.key("content");
    let items = match message.take("content") {
        None => return Ok(Vec::new()),
        Some(Json::String(text)) => return Ok(vec![Part::text(text)]),
        Some(Json::Array(items)) => items,
        Some(other) => return Err(at.expected("a string or an array", &other)),
    };
    let mut parts = Vec::with_capacity(items.len());
    for (n, item) in items.into_iter().enumerate() {
        let at = at.index(n);
        parts.extend(part(item.into_object(&at)?, request, &at)?);
    }
    Ok(parts)
}

fn part<'a>(
    mut object: Object<'a>,
    request: &mut Request<'a>,
    at: &At<'_>,
) -> Result<Option<Part<'a>>, BadRequest> {
    let kind = object.need_text("type", at)?;
    let body = match &*kind {
        "text" => Body::Text { text: object.need_text("text", at)?, citations: Vec::new() },
        "refusal" => Body::Refusal(object.need_text("refusal", at)?),
        "image_url" => image(&mut object, request, at)?,
        "input_audio" => {
            let mut audio = need_object(&mut object, "input_audio", at)?;
            let at = at.key("input_audio");
            let (data, format) = (audio.need_text("data", &at)?, audio.need_text("format", &at)?);
            request.left(audio, "messages.content.input_audio");
            Body::Audio { data, format }
        }
        "file" => {
            let mut file = need_object(&mut object, "file", at)?;
            let document = document(&mut file, &at.key("file"))?;
            request.left(file, "messages.content.file");
            document
        }
        "thinking" | "redacted_thinking" => {
            let part = thinking::read_block(&mut object);
            request.left(object, "messages.content");
            return Ok(part);
        }
        _ => {
            request.extra(format!("messages.content.{kind}"), object.into(), Loss::Meaning);
            return Ok(None);
        }
    };
    let cache_control = object.take("cache_control");
    request.left(object, "messages.content");
    Ok(Some(Part { body, cache_control }))
}

fn need_object<'a>(
    object: &mut Object<'a>,
    key: &str,
    at: &At<'_>,
) -> Result<Object<'a>, BadRequest> {
    object.object(key, at)?.ok_or_else(|| at.key(key).missing("an object"))
}

fn image<'a>(
    part: &mut Object<'a>,
    request: &mut Request<'a>,
    at: &At<'_>,
) -> Result<Body<'a>, BadRequest> {
    // Not OpenAI, but some of those after it take the URL itself.
    if let Some(Json::String(_)) = part.get("image_url") {
        let url = part.need_text("image_url", at)?;
        return Ok(Body::Image { source: Source::from_url(url), detail: None });
    }
    let mut image = need_object(part, "image_url", at)?;
    let at = at.key("image_url");
    let source = Source::from_url(image.need_text("url", &at)?);
    let detail = image.text("detail", &at)?.filter(|detail| detail != "auto");
    request.left(image, "messages.content.image_url");
    Ok(Body::Image { source, detail })
}

fn document<'a>(file: &mut Object<'a>, at: &At<'_>) -> Result<Body<'a>, BadRequest> {
    let name = file.text("filename", at)?;
    let source = match file.text("file_id", at)? {
        Some(id) => Source::File(id),
        None => match Source::from_url(file.need_text("file_data", at)?) {
            // OpenAI takes bare Base64 as well, and PDF is what it takes.
            Source::Url(data) if !data.contains(':') => {
                Source::Data { mime: Cow::Borrowed("application/pdf"), data }
            }
            source => source,
        },
    };
    Ok(Body::Document { source, name })
}

fn assistant<'a>(
    message: &mut Object<'a>,
    request: &mut Request<'a>,
    at: &At<'_>,
    called: &mut Called<'a>,
    n: usize,
) -> Result<Vec<Part<'a>>, BadRequest> {
    let mut parts = Vec::new();
    thinking::take(message, at, &mut parts, &mut |block| {
        request.left(block, "messages.thinking_blocks");
    })?;
    let mut said = content(message, request, at)?;
    said.retain(|part| part.as_text() != Some(""));
    if parts.is_empty() {
        parts = said;
    } else {
        parts.append(&mut said);
    }
    let refusal = message.text("refusal", at)?.filter(|refusal| !refusal.is_empty());
    parts.extend(refusal.map(|refusal| Part::new(Body::Refusal(refusal))));
    let place = at.key("tool_calls");
    for (n, call) in message.array("tool_calls", at)?.into_iter().flatten().enumerate() {
        let at = place.index(n);
        parts.extend(tool_call(call.into_object(&at)?, request, &at)?);
    }
    if let Some(mut call) = message.object("function_call", at)? {
        let at = at.key("function_call");
        let name = call.need_text("name", &at)?;
        let arguments = arguments(&mut call, &at)?;
        request.left(call, "messages.function_call");
        let id = made_id(&name, n);
        called.0 = Some((name.clone(), id.clone()));
        let id = Some(Cow::Owned(id));
        parts.push(Part::new(Body::ToolCall { id, name, arguments, signature: None }));
    }
    if let Some(audio) = message.take("audio") {
        request.extra("messages.audio", audio, Loss::Meaning);
    }
    // Of an earlier answer, given back; no provider reads them, and most have none.
    if message.get("annotations").and_then(Json::as_array).is_some_and(<[_]>::is_empty) {
        message.take("annotations");
    }
    Ok(parts)
}

fn tool_call<'a>(
    mut call: Object<'a>,
    request: &mut Request<'a>,
    at: &At<'_>,
) -> Result<Option<Part<'a>>, BadRequest> {
    let kind = call.text("type", at)?.unwrap_or(Cow::Borrowed("function"));
    if kind != "function" {
        request.extra(format!("messages.tool_calls.{kind}"), call.into(), Loss::Meaning);
        return Ok(None);
    }
    let mut function = need_object(&mut call, "function", at)?;
    let place = at.key("function");
    let body = Body::ToolCall {
        id: call.text("id", at)?.filter(|id| !id.is_empty()),
        name: function.need_text("name", &place)?,
        arguments: arguments(&mut function, &place)?,
        signature: take_call_signature(&mut call).map(|text| Signature::read(Form::Generate, text)),
    };
    // Put together from a stream, as some clients do it.
    call.take("index");
    request.left(call, "messages.tool_calls");
    request.left(function, "messages.tool_calls.function");
    Ok(Some(Part::new(body)))
}

fn arguments<'a>(function: &mut Object<'a>, at: &At<'_>) -> Result<Arguments<'a>, BadRequest> {
    match function.take("arguments") {
        None => Ok(Arguments::Text(Cow::Borrowed(""))),
        Some(Json::String(text)) => Ok(Arguments::Text(text)),
        Some(value @ Json::Object(_)) => Ok(Arguments::Value(value)),
        Some(other) => Err(at.key("arguments").expected("a string", &other)),
    }
}

fn tool<'a>(
    message: &mut Object<'a>,
    request: &mut Request<'a>,
    at: &At<'_>,
) -> Result<Part<'a>, BadRequest> {
    let id = message.need_text("tool_call_id", at)?;
    let name = message.text("name", at)?;
    result(Some(id), name, message, request, at)
}

fn function<'a>(
    message: &mut Object<'a>,
    request: &mut Request<'a>,
    at: &At<'_>,
    called: &mut Called<'a>,
    n: usize,
) -> Result<Part<'a>, BadRequest> {
    let name = message.need_text("name", at)?;
    let id = match called.0.take() {
        Some((last, id)) if last == name => id,
        _ => made_id(&name, n),
    };
    result(Some(id.into()), Some(name), message, request, at)
}

fn result<'a>(
    id: Option<Cow<'a, str>>,
    name: Option<Cow<'a, str>>,
    message: &mut Object<'a>,
    request: &mut Request<'a>,
    at: &At<'_>,
) -> Result<Part<'a>, BadRequest> {
    let content = content(message, request, at)?;
    Ok(Part::new(Body::ToolResult { id, name, content, is_error: false }))
}
