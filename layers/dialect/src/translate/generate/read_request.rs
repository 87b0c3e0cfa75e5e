use super::{
    config,
    identify::identify,
    names::{self, Names, left},
    part::{self, Read, What},
    tools,
};
use crate::{
    BadRequest,
    json::{At, Json, Object},
    translate::{
        Loss,
        hub::{Arguments, Body, Part, Request, Role, Turn},
    },
};

pub(crate) fn read_request(json: Json<'_>) -> Result<Request<'_>, BadRequest> {
    const SYSTEM: Names = ["systemInstruction", "system_instruction"];
    const CONFIG: Names = ["generationConfig", "generation_config"];
    const TOOL_CONFIG: Names = ["toolConfig", "tool_config"];
    let at = At::Root;
    let mut object = json.into_object(&at)?;
    let mut request = Request::default();
    // The path tells it, and that counts.
    object.take("model");
    if let Some((name, system)) = names::take(&mut object, SYSTEM) {
        let turn = content(system, Some(Role::System), &at.key(name), &mut request)?;
        push(&mut request.turns, turn);
    }
    let contents = match object.take("contents") {
        None => return Err(at.key("contents").missing("an array")),
        Some(Json::Items(contents)) => contents,
        // By itself, as SDKs let it be written.
        Some(one) => vec![one].into(),
    };
    let contents_at = at.key("contents");
    for (index, json) in contents.each().enumerate() {
        let turn = content(json, None, &contents_at.index(index), &mut request)?;
        push(&mut request.turns, turn);
    }
    identify(&mut request.turns);
    if let Some(json) = object.take("tools") {
        tools::read(json, &at.key("tools"), &mut request)?;
    }
    if let Some((name, json)) = names::object(&mut object, TOOL_CONFIG, &at)? {
        tools::read_choice(json, &at.key(name), &mut request)?;
    }
    if let Some((name, json)) = names::object(&mut object, CONFIG, &at)? {
        config::read(json, &at.key(name), &mut request)?;
    }
    for (name, value) in object.rest() {
        // Part of the conversation is kept at Google under that name.
        let cached = ["cachedContent", "cached_content"].contains(&&*name);
        let loss = if cached { Loss::Meaning } else { Loss::Harmless };
        request.extra(name, value, loss);
    }
    Ok(request)
}

fn content<'a>(
    json: Json<'a>,
    role: Option<Role>,
    at: &At<'_>,
    request: &mut Request<'a>,
) -> Result<Turn<'a>, BadRequest> {
    let mut content = match json {
        text @ Json::String(_) => Object::new().with("parts", text),
        other => other.into_object(at)?,
    };
    let said = content.text("role", at)?;
    let role = match (role, said.as_deref().unwrap_or("")) {
        (Some(role), _) => role,
        (None, "model") => Role::Assistant,
        (None, "system") => Role::System,
        (None, "" | "user" | "function") => Role::User,
        (None, _) => return Err(at.key("role").bad("must be user or model")),
    };
    let parts = match content.take("parts") {
        Some(Json::Array(parts)) => parts,
        Some(one) => vec![one],
        None => Vec::new(),
    };
    let mut turn = Turn::new(role, Vec::with_capacity(parts.len()));
    let at = at.key("parts");
    for (index, json) in parts.into_iter().enumerate() {
        let at = at.index(index);
        let read = part::read(json, &at)?;
        add(read, &mut turn, &at, request)?;
    }
    left(request, content, "contents", Loss::Harmless);
    Ok(turn)
}

fn add<'a>(
    read: Read<'a>,
    turn: &mut Turn<'a>,
    at: &At<'_>,
    request: &mut Request<'a>,
) -> Result<(), BadRequest> {
    let Read { what, mut signature, rest, within } = read;
    let unsigned = signature.is_none();
    unknown(what.is_none() && unsigned, rest, within, "contents.parts", request);
    let model = turn.role == Role::Assistant;
    let parts = &mut turn.parts;
    match what {
        // The last chunk of a stream, which carries a signature at most.
        Some(What::Text(text)) if text.is_empty() && model => {}
        Some(What::Text(text)) => parts.push(Part::text(text)),
        Some(What::Thought(text)) => {
            let signature = signature.take();
            match signature {
                Some(signature) if text.is_empty() => part::add(parts, part::lone(signature)),
                None if text.is_empty() => {}
                signature => part::add(parts, Body::Thinking { text, signature }),
            }
        }
        Some(What::Call { id, name, args }) => {
            let arguments = Arguments::Value(args.into());
            let signature = signature.take();
            parts.push(Part::new(Body::ToolCall { id, name, arguments, signature }));
        }
        Some(What::Response { id, name, said, media }) => {
            let (text, is_error) = said_by_tool(said);
            let mut content = vec![Part::text(text)];
            for (index, json) in media.into_iter().enumerate() {
                let read = part::read(json, &at.key("parts").index(index))?;
                content.extend(shown_by_tool(read, request));
            }
            let name = Some(name);
            parts.push(Part::new(Body::ToolResult { id, name, content, is_error }));
        }
        Some(What::Media(body)) => parts.push(Part::new(body)),
        Some(What::Foreign(name, value)) => {
            request.extra(format!("contents.parts.{name}"), value, Loss::Meaning);
        }
        None => {}
    }
    if let Some(signature) = signature.filter(|_| model) {
        part::add(parts, part::lone(signature));
    }
    Ok(())
}

/// Tells what nobody knows of a part. Of a kind that nobody knows it is lost itself, not only
/// something about it; and so is a second part in one.
fn unknown<'a>(
    nothing: bool,
    rest: Object<'a>,
    within: Option<(&'static str, Object<'a>)>,
    path: &str,
    request: &mut Request<'a>,
) {
    // A call that is not all there yet.
    const PARTIAL: [&str; 4] = ["partialArgs", "partial_args", "willContinue", "will_continue"];
    let split = |object: Object<'a>, is: &dyn Fn(&str) -> bool| {
        let (mut yes, mut no) = (Object::new(), Object::new());
        for (name, value) in object.rest() {
            if is(&name) { &mut yes } else { &mut no }.push(name, value);
        }
        (yes, no)
    };
    let (heavy, light) = split(rest, &|name| nothing || part::is_kind(name));
    left(request, heavy, path, Loss::Meaning);
    left(request, light, path, Loss::Harmless);
    let Some((name, rest)) = within else { return };
    let path = format!("{path}.{name}");
    let (heavy, light) = split(rest, &|member| name == "functionCall" && PARTIAL.contains(&member));
    left(request, heavy, &path, Loss::Meaning);
    left(request, light, &path, Loss::Harmless);
}

/// One of a `functionResponse.parts`: a picture or a file.
fn shown_by_tool<'a>(read: Read<'a>, request: &mut Request<'a>) -> Option<Part<'a>> {
    const PATH: &str = "contents.parts.functionResponse.parts";
    let Read { what, rest, within, .. } = read;
    unknown(what.is_none(), rest, within, PATH, request);
    match what? {
        What::Media(body) => return Some(Part::new(body)),
        What::Foreign(name, value) => {
            request.extra(format!("{PATH}.{name}"), value, Loss::Meaning);
        }
        _ => request.extra(PATH, Json::Null, Loss::Meaning),
    }
    None
}

/// What a `functionResponse.response` says, and whether it is an error. `output`, `result` and
/// `error` alone are wrappings, because the field has to be an object.
fn said_by_tool(mut said: Object<'_>) -> (std::borrow::Cow<'_, str>, bool) {
    let mut names = said.iter().map(|(name, _)| name);
    let (wrapping, is_error) = match (names.next(), names.next()) {
        (Some("error"), None) => ("error", true),
        (Some("output"), None) => ("output", false),
        (Some("result"), None) => ("result", false),
        _ => ("", false),
    };
    drop(names);
    match said.get(wrapping) {
        Some(Json::String(_)) => match said.take(wrapping) {
            Some(Json::String(text)) => (text, is_error),
            _ => Default::default(),
        },
        Some(error) if is_error => (error.to_text().into(), true),
        _ => (Json::Object(said).to_text().into(), false),
    }
}

/// Contents of one role are one turn: the chunks of a stream come back as a content each, and then
/// texts and thoughts are cut in pieces.
fn push<'a>(turns: &mut Vec<Turn<'a>>, turn: Turn<'a>) {
    if turn.parts.is_empty() {
        return;
    }
    let Some(last) = turns.last_mut().filter(|last| last.role == turn.role) else {
        return turns.push(turn);
    };
    if turn.role != Role::Assistant {
        return turns.push(turn);
    }
    let mut parts = turn.parts.into_iter();
    match (last.parts.last_mut().map(|part| &mut part.body), parts.next()) {
        (Some(Body::Text { text, .. }), Some(Part { body: Body::Text { text: more, .. }, .. })) => {
            text.to_mut().push_str(&more)
        }
        (_, Some(part)) => part::add(&mut last.parts, part.body),
        (_, None) => {}
    }
    last.parts.extend(parts);
}
