use super::read_input;
use crate::{
    BadRequest,
    json::{At, Json, Object},
    translate::{
        Loss,
        hub::{Effort, Format, Part, Request, Role, Thinking, Tool, ToolChoice, Turn},
    },
};

pub(crate) fn read_request(json: Json<'_>) -> Result<Request<'_>, BadRequest> {
    let at = At::Root;
    let mut body = json.into_object(&at)?;
    let mut request = Request {
        model: body.text("model", &at)?.unwrap_or_default(),
        // It is always there.
        wants_usage: true,
        stream: body.bool("stream", &at)?.unwrap_or(false),
        max_tokens: body.u64("max_output_tokens", &at)?,
        temperature: body.number("temperature", &at)?,
        top_p: body.number("top_p", &at)?,
        parallel_tools: body.bool("parallel_tool_calls", &at)?,
        user: body.text("user", &at)?,
        ..Request::default()
    };
    if request.user.is_none() {
        request.user = body.text("safety_identifier", &at)?;
    }
    let instructions = body.text("instructions", &at)?;
    if let Some(text) = instructions.filter(|text| !text.is_empty()) {
        request.turns.push(Turn::new(Role::System, vec![Part::text(text)]));
    }
    let input = body.take("input");
    let given = input.is_some();
    if let Some(input) = input {
        read_input::read(input, &mut request, &at.key("input"))?;
    }
    tools(&mut body, &mut request, &at)?;
    choice(&mut body, &mut request, &at)?;
    text(&mut body, &mut request, &at)?;
    thinking(&mut body, &mut request, &at)?;
    logprobs(&mut body, &mut request, &at)?;
    rest(body, &mut request);
    let points_elsewhere = request.extras.iter().any(|extra| extra.loss == Loss::Meaning);
    if !given && request.turns.is_empty() && !points_elsewhere {
        return Err(at.key("input").missing("a string or an array of items"));
    }
    Ok(request)
}

fn tools<'a>(
    body: &mut Object<'a>,
    request: &mut Request<'a>,
    at: &At<'_>,
) -> Result<(), BadRequest> {
    let at = at.key("tools");
    let tools = body.take("tools").map(|tools| tools.into_array(&at)).transpose()?;
    for (index, tool) in tools.into_iter().flatten().enumerate() {
        let at = at.index(index);
        let mut tool = tool.into_object(&at)?;
        let kind = tool.need_text("type", &at)?;
        if kind != "function" {
            request.extra(format!("tools.{kind}"), Json::Object(tool), Loss::Meaning);
            continue;
        }
        request.tools.push(Tool {
            name: tool.need_text("name", &at)?,
            description: tool.text("description", &at)?,
            schema: tool.object("parameters", &at)?.map(Json::Object),
            strict: tool.bool("strict", &at)?,
            cache_control: None,
        });
        request.left(tool, "tools");
    }
    Ok(())
}

fn choice<'a>(
    body: &mut Object<'a>,
    request: &mut Request<'a>,
    at: &At<'_>,
) -> Result<(), BadRequest> {
    let at = at.key("tool_choice");
    let mut choice = match body.take("tool_choice") {
        None => return Ok(()),
        Some(Json::String(name)) => {
            request.tool_choice = Some(match &*name {
                "auto" => ToolChoice::Auto,
                "none" => ToolChoice::None,
                "required" => ToolChoice::Required,
                _ => return Err(at.bad("must be `auto`, `none`, `required` or an object")),
            });
            return Ok(());
        }
        Some(Json::Object(choice)) => choice,
        Some(other) => return Err(at.expected("a string or an object", &other)),
    };
    let kind = choice.need_text("type", &at)?;
    match &*kind {
        "function" => {
            request.tool_choice = Some(ToolChoice::Named(choice.need_text("name", &at)?));
            request.left(choice, "tool_choice");
        }
        "allowed_tools" => {
            let required = match choice.text("mode", &at)?.as_deref() {
                None | Some("auto") => false,
                Some("required") => true,
                Some(_) => return Err(at.key("mode").bad("must be `auto` or `required`")),
            };
            let mut names = Vec::new();
            for (index, tool) in
                choice.array("tools", &at)?.unwrap_or_default().into_iter().enumerate()
            {
                let at = at.key("tools");
                let at = at.index(index);
                let mut tool = tool.into_object(&at)?;
                if tool.str("type") == Some("function") {
                    names.push(tool.need_text("name", &at)?);
                    tool.take("type");
                    request.left(tool, "tool_choice.tools");
                } else {
                    request.extra("tool_choice.tools", Json::Object(tool), Loss::Meaning);
                }
            }
            request.left(choice, "tool_choice");
            request.tool_choice = Some(ToolChoice::Allowed { names, required });
        }
        // Of a hosted tool.
        _ => request.extra("tool_choice", Json::Object(choice), Loss::Meaning),
    }
    Ok(())
}

fn text<'a>(
    body: &mut Object<'a>,
    request: &mut Request<'a>,
    at: &At<'_>,
) -> Result<(), BadRequest> {
    let at = at.key("text");
    let Some(text) = body.take("text") else { return Ok(()) };
    let mut text = text.into_object(&at)?;
    request.verbosity = text.text("verbosity", &at)?;
    if let Some(mut format) = text.object("format", &at)? {
        let at = at.key("format");
        let kind = format.need_text("type", &at)?;
        request.format = match &*kind {
            "text" => None,
            "json_object" => Some(Format::Json),
            "json_schema" => Some(Format::Schema {
                name: format.text("name", &at)?,
                description: format.text("description", &at)?,
                schema: Json::Object(format.object("schema", &at)?.ok_or_else(|| {
                    at.key("schema").missing("an object: the JSON Schema of the answer")
                })?),
                strict: format.bool("strict", &at)?,
            }),
            other => {
                request.extra(format!("text.format.{other}"), Json::Null, Loss::Meaning);
                None
            }
        };
        if matches!(&*kind, "text" | "json_object" | "json_schema") {
            request.left(format, "text.format");
        }
    }
    request.left(text, "text");
    Ok(())
}

fn thinking<'a>(
    body: &mut Object<'a>,
    request: &mut Request<'a>,
    at: &At<'_>,
) -> Result<(), BadRequest> {
    let at = at.key("reasoning");
    let Some(reasoning) = body.take("reasoning") else { return Ok(()) };
    let mut reasoning = reasoning.into_object(&at)?;
    let mut thinking = Thinking::default();
    if let Some(name) = reasoning.text("effort", &at)? {
        thinking.effort = Effort::parse(&name);
        if thinking.effort.is_none() {
            // There may be more steps than are known here.
            request.extra("reasoning.effort", Json::String(name), Loss::Harmless);
        }
    }
    // The second is the first's old name.
    for name in ["summary", "generate_summary"] {
        let Some(detail) = reasoning.text(name, &at)? else { continue };
        thinking.shown = Some(true);
        // The other forms know of no more detail or less.
        if detail != "auto" {
            request.extra(format!("reasoning.{name}"), detail.into(), Loss::Harmless);
        }
    }
    request.thinking = Some(thinking).filter(|thinking| *thinking != Thinking::default());
    request.left(reasoning, "reasoning");
    Ok(())
}

fn logprobs<'a>(
    body: &mut Object<'a>,
    request: &mut Request<'a>,
    at: &At<'_>,
) -> Result<(), BadRequest> {
    let top = body.u64("top_logprobs", at)?;
    request.logprobs = top.filter(|top| *top > 0);
    let at = at.key("include");
    let include = body.take("include").map(|include| include.into_array(&at)).transpose()?;
    for (index, what) in include.into_iter().flatten().enumerate() {
        match &*what.into_text(&at.index(index))? {
            "message.output_text.logprobs" => request.logprobs = Some(top.unwrap_or(0)),
            // Signatures are always given.
            "reasoning.encrypted_content" => {}
            // Details of hosted tools' calls.
            other => {
                let what = Json::from(other.to_owned());
                request.extra(format!("include.{other}"), what, Loss::Harmless);
            }
        }
    }
    Ok(())
}

/// Fields without a place in the hub, and those that nobody knows.
fn rest<'a>(mut body: Object<'a>, request: &mut Request<'a>) {
    if let Some(Json::Object(mut options)) = body.take("stream_options") {
        // How the stream is padded.
        options.take("include_obfuscation");
        request.left(options, "stream_options");
    }
    for (name, value) in body.rest() {
        let (costs, loss) = match &*name {
            "previous_response_id" | "conversation" | "prompt" => (true, Loss::Meaning),
            "background" => (value != Json::Bool(false), Loss::Meaning),
            "store" => (value != Json::Bool(false), Loss::Harmless),
            "truncation" => (value.as_str() != Some("disabled"), Loss::Harmless),
            "service_tier" => (value.as_str() != Some("auto"), Loss::Harmless),
            "metadata" => {
                (value.as_object().is_none_or(|metadata| !metadata.is_empty()), Loss::Harmless)
            }
            _ => (true, Loss::Harmless),
        };
        if costs {
            request.extra(name, value, loss);
        }
    }
}
