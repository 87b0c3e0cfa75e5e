use super::{read_content, thought};
use crate::{
    BadRequest,
    json::{At, Json, Object},
    translate::{
        Loss,
        hub::{Arguments, Body, Part, Request, Role, Signature, Turn},
    },
};

/// Reads `input`: a string, or items.
pub(super) fn read<'a>(
    input: Json<'a>,
    request: &mut Request<'a>,
    at: &At<'_>,
) -> Result<(), BadRequest> {
    let items = match input {
        Json::String(text) => {
            request.turns.push(Turn::new(Role::User, vec![Part::text(text)]));
            return Ok(());
        }
        Json::Items(items) => items,
        other => return Err(at.expected("a string or an array of items", &other)),
    };
    for (index, item) in items.each().enumerate() {
        let at = at.index(index);
        item_of(item.into_object(&at)?, request, &at)?;
    }
    Ok(())
}

fn item_of<'a>(
    mut item: Object<'a>,
    request: &mut Request<'a>,
    at: &At<'_>,
) -> Result<(), BadRequest> {
    let kind = item.text("type", at)?;
    let kind = match &kind {
        Some(kind) => &**kind,
        None if item.get("role").is_some() => "message",
        None if item.get("id").is_some() => "item_reference",
        None => return Err(at.key("type").missing("a string")),
    };
    match kind {
        "message" => message(&mut item, request, at)?,
        "function_call" => call(&mut item, request, at)?,
        "function_call_output" => result(&mut item, request, at)?,
        "reasoning" => {
            let given = item.get("encrypted_content").is_some();
            let part = thought::read(&mut item, at, &mut |piece, path| request.left(piece, path))?;
            match part {
                Some(part) => say(request, part),
                None if given => {}
                // A thought that OpenAI keeps under its id.
                None => request.extra("input.reasoning", Json::Null, Loss::Harmless),
            }
        }
        other => {
            let name = format!("input.{other}");
            request.extra(name, Json::Object(item), Loss::Meaning);
            return Ok(());
        }
    }
    // Given by the provider, and of no use but to it.
    item.take("id");
    item.take("status");
    request.left(item, "input");
    Ok(())
}

fn message<'a>(
    item: &mut Object<'a>,
    request: &mut Request<'a>,
    at: &At<'_>,
) -> Result<(), BadRequest> {
    let role = match &*item.need_text("role", at)? {
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "system" | "developer" => Role::System,
        _ => {
            let why = "must be `user`, `assistant`, `system` or `developer`";
            return Err(at.key("role").bad(why));
        }
    };
    let at = at.key("content");
    let content =
        item.take("content").ok_or_else(|| at.missing("a string or an array of parts"))?;
    let parts = read_content::read(content, request, &at)?;
    if role == Role::Assistant {
        for part in parts {
            say(request, part);
        }
    } else if !parts.is_empty() {
        request.turns.push(Turn::new(role, parts));
    }
    Ok(())
}

fn call<'a>(
    item: &mut Object<'a>,
    request: &mut Request<'a>,
    at: &At<'_>,
) -> Result<(), BadRequest> {
    let body = Body::ToolCall {
        id: Some(item.need_text("call_id", at)?),
        name: item.need_text("name", at)?,
        arguments: Arguments::Text(item.text("arguments", at)?.unwrap_or_default()),
        signature: signature_before(request),
    };
    say(request, Part::new(body));
    Ok(())
}

/// Takes back what was written as reasoning because a call has no place for its signature.
fn signature_before<'a>(request: &mut Request<'a>) -> Option<Signature<'a>> {
    let turn = request.turns.last_mut().filter(|turn| turn.role == Role::Assistant)?;
    if !turn.parts.last().is_some_and(thought::signs_a_call) {
        return None;
    }
    match turn.parts.pop()?.body {
        Body::Redacted(signature) => Some(signature),
        _ => None,
    }
}

fn result<'a>(
    item: &mut Object<'a>,
    request: &mut Request<'a>,
    at: &At<'_>,
) -> Result<(), BadRequest> {
    let (id, name) = (item.need_text("call_id", at)?, item.text("name", at)?);
    let at = at.key("output");
    let output = item.take("output").ok_or_else(|| at.missing("a string or an array of parts"))?;
    let content = read_content::read(output, request, &at)?;
    let part = Part::new(Body::ToolResult { id: Some(id), name, content, is_error: false });
    let follows = |turn: &&mut Turn<'a>| {
        matches!(turn.parts.last(), Some(Part { body: Body::ToolResult { .. }, .. }))
    };
    match request.turns.last_mut().filter(follows) {
        Some(turn) => turn.parts.push(part),
        None => request.turns.push(Turn::new(Role::User, vec![part])),
    }
    Ok(())
}

/// What the assistant says in a row is one turn.
fn say<'a>(request: &mut Request<'a>, part: Part<'a>) {
    match request.turns.last_mut().filter(|turn| turn.role == Role::Assistant) {
        Some(turn) => turn.parts.push(part),
        None => request.turns.push(Turn::new(Role::Assistant, vec![part])),
    }
}
