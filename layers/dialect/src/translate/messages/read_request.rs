use super::{
    super::{
        Loss,
        hub::{Effort, Format, Request, Role, Thinking, Tool, ToolChoice, Turn},
    },
    read_content::{parts, short},
};
use crate::{
    BadRequest,
    error_reply::THREAD_UNSUPPORTED,
    json::{At, Json, Object},
};

pub(crate) fn read_request(json: Json<'_>) -> Result<Request<'_>, BadRequest> {
    let at = &At::Root;
    let mut object = json.into_object(at)?;
    no_thread(&mut object)?;
    let mut request = Request {
        model: object.text("model", at)?.unwrap_or_default(),
        max_tokens: object.u64("max_tokens", at)?,
        temperature: object.number("temperature", at)?,
        top_p: object.number("top_p", at)?,
        top_k: object.number("top_k", at)?,
        stream: object.bool("stream", at)?.unwrap_or(false),
        // Every stream of this form tells usage.
        wants_usage: true,
        ..Request::default()
    };
    if let Some(system) = object.take("system") {
        let parts = parts(system, &mut request, &at.key("system"))?;
        request.turns.push(Turn::new(Role::System, parts));
    }
    turns(&mut object, &mut request)?;
    let stop = object.array("stop_sequences", at)?.unwrap_or_default();
    for (index, sequence) in stop.into_iter().enumerate() {
        request.stop.push(sequence.into_text(&at.key("stop_sequences").index(index))?);
    }
    tools(&mut object, &mut request)?;
    tool_choice(&mut object, &mut request)?;
    thinking(&mut object, &mut request)?;
    output(&mut object, &mut request)?;
    metadata(&mut object, &mut request)?;
    extras(object, &mut request);
    Ok(request)
}

/// A conversation that the provider holds can't be had elsewhere. Anthropic's SDKs ask for one in their
/// tool runner, and go on without where they get this code.
fn no_thread(object: &mut Object<'_>) -> Result<(), BadRequest> {
    if object.take("thread").is_none() {
        return Ok(());
    }
    let text = "`thread` has no counterpart in the API of the provider that this request goes to: send \
                the whole conversation, without it.";
    Err(BadRequest::invalid(text).with_param("thread").with_code(THREAD_UNSUPPORTED))
}

fn turns<'a>(object: &mut Object<'a>, request: &mut Request<'a>) -> Result<(), BadRequest> {
    let at = At::Root.key("messages");
    let messages = object.items("messages", &At::Root)?.ok_or_else(|| at.missing("an array"))?;
    for (index, message) in messages.each().enumerate() {
        let at = at.index(index);
        let mut message = message.into_object(&at)?;
        let role = message.need_text("role", &at)?;
        let role = match &*role {
            "user" => Role::User,
            "assistant" => Role::Assistant,
            "system" => Role::System,
            _ => return Err(at.key("role").bad("must be \"user\" or \"assistant\"")),
        };
        let content = message.take("content");
        let at = at.key("content");
        let content = content.ok_or_else(|| at.missing("a string or an array of blocks"))?;
        let parts = parts(content, request, &at)?;
        request.turns.push(Turn::new(role, parts));
        request.left(message, "messages");
    }
    Ok(())
}

fn tools<'a>(object: &mut Object<'a>, request: &mut Request<'a>) -> Result<(), BadRequest> {
    let tools = object.array("tools", &At::Root)?.unwrap_or_default();
    for (index, tool) in tools.into_iter().enumerate() {
        let at = At::Root.key("tools");
        let at = at.index(index);
        let mut tool = tool.into_object(&at)?;
        let kind = tool.text("type", &at)?;
        if let Some(kind) = kind.filter(|kind| kind != "custom") {
            // Run by the provider, or known to its models alone.
            request.extra(format!("tools.{}", short(&kind)), tool.into(), Loss::Meaning);
            continue;
        }
        request.tools.push(Tool {
            name: tool.need_text("name", &at)?,
            description: tool.text("description", &at)?,
            schema: tool.object("input_schema", &at)?.map(Json::Object),
            strict: tool.bool("strict", &at)?,
            cache_control: tool.take("cache_control"),
        });
        request.left(tool, "tools");
    }
    Ok(())
}

fn tool_choice<'a>(object: &mut Object<'a>, request: &mut Request<'a>) -> Result<(), BadRequest> {
    let at = At::Root.key("tool_choice");
    let Some(mut choice) = object.object("tool_choice", &At::Root)? else { return Ok(()) };
    let kind = choice.need_text("type", &at)?;
    request.tool_choice = match &*kind {
        "auto" => None,
        "any" => Some(ToolChoice::Required),
        "none" => Some(ToolChoice::None),
        "tool" => Some(ToolChoice::Named(choice.need_text("name", &at)?)),
        _ => return Err(at.key("type").bad("must be \"auto\", \"any\", \"tool\" or \"none\"")),
    };
    let one = choice.bool("disable_parallel_tool_use", &at)?.unwrap_or(false);
    request.parallel_tools = one.then_some(false);
    request.left(choice, "tool_choice");
    Ok(())
}

fn thinking<'a>(object: &mut Object<'a>, request: &mut Request<'a>) -> Result<(), BadRequest> {
    let at = At::Root.key("thinking");
    let Some(mut from) = object.object("thinking", &At::Root)? else { return Ok(()) };
    let kind = from.need_text("type", &at)?;
    let mut thinking = Thinking::default();
    match &*kind {
        "enabled" => thinking.budget = from.u64("budget_tokens", &at)?,
        "adaptive" => {}
        "disabled" => thinking.effort = Some(Effort::None),
        _ => {
            let why = "must be \"enabled\", \"adaptive\" or \"disabled\"";
            return Err(at.key("type").bad(why));
        }
    }
    thinking.shown = match from.text("display", &at)?.as_deref() {
        None => None,
        Some("summarized") => Some(true),
        Some("omitted") => Some(false),
        Some(_) => return Err(at.key("display").bad("must be \"summarized\" or \"omitted\"")),
    };
    request.thinking = Some(thinking);
    request.left(from, "thinking");
    Ok(())
}

fn output<'a>(object: &mut Object<'a>, request: &mut Request<'a>) -> Result<(), BadRequest> {
    let at = At::Root.key("output_config");
    let mut config = object.object("output_config", &At::Root)?.unwrap_or_default();
    if let Some(effort) = config.text("effort", &at)? {
        let known = Effort::parse(&effort).filter(|effort| *effort >= Effort::Low);
        let why = "must be \"low\", \"medium\", \"high\", \"xhigh\" or \"max\"";
        let known = known.ok_or_else(|| at.key("effort").bad(why))?;
        let thinking = request.thinking.get_or_insert_default();
        // Thinking that is switched off stays so.
        thinking.effort.get_or_insert(known);
    }
    let mut format = config.object("format", &at)?;
    let mut at = at.key("format");
    if format.is_none() {
        // Its name of old.
        format = object.object("output_format", &At::Root)?;
        at = At::Root.key("output_format");
    }
    if let Some(mut format) = format {
        match &*format.need_text("type", &at)? {
            "json_schema" => {}
            _ => return Err(at.key("type").bad("must be \"json_schema\"")),
        }
        let schema = format.object("schema", &at)?.ok_or_else(|| at.missing("an object"))?;
        request.format = Some(Format::Schema {
            name: format.text("name", &at)?,
            description: None,
            schema: schema.into(),
            strict: None,
        });
        request.left(format, "output_config.format");
    }
    request.left(config, "output_config");
    Ok(())
}

fn metadata<'a>(object: &mut Object<'a>, request: &mut Request<'a>) -> Result<(), BadRequest> {
    let at = At::Root.key("metadata");
    let Some(mut metadata) = object.object("metadata", &At::Root)? else { return Ok(()) };
    request.user = metadata.text("user_id", &at)?;
    request.left(metadata, "metadata");
    Ok(())
}

/// What only Anthropic has, and what nobody knows.
fn extras<'a>(object: Object<'a>, request: &mut Request<'a>) {
    for (name, value) in object.rest() {
        let is = |text| value.as_str() == Some(text);
        let empty = value.as_array().is_some_and(<[_]>::is_empty);
        match &*name {
            // What happens anyway.
            "service_tier" if is("auto") => {}
            "speed" if is("standard") => {}
            "mcp_servers" if empty => {}
            // In OpenAI's word, which the writers of its forms take as it is.
            "service_tier" => request.extra(name, "default".into(), Loss::Harmless),
            // Tools, files and places that can't be had elsewhere.
            "mcp_servers" | "container" | "inference_geo" => {
                request.extra(name, value, Loss::Meaning);
            }
            _ => request.extra(name, value, Loss::Harmless),
        }
    }
}
