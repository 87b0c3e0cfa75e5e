use std::borrow::Cow;

use super::write_input::Input;
use crate::{
    BadRequest,
    json::{Json, Object},
    translate::{
        Field, Fit, Form, Loss, Losses, Reasoning,
        hub::{Body, Format, Request, Role, Tool, ToolChoice},
    },
};

/// What both of OpenAI's forms call the same.
const SHARED: [&str; 6] = [
    "metadata",
    "service_tier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "prompt_cache_options",
    "safety_identifier",
];

pub(crate) fn write_request<'a>(
    request: &mut Request<'a>,
    fit: &Fit,
    losses: &mut Losses,
) -> Result<Object<'a>, BadRequest> {
    let shares = losses.client().dialect() == fit.form.dialect();
    let mut body = Object::new()
        .with("model", request.model.clone())
        .with_some("instructions", instructions(request));
    let mut input = Input::new(fit, losses);
    for turn in std::mem::take(&mut request.turns) {
        input.turn(turn)?;
    }
    let reasons = input.reasons;
    body.push("input", input.items);
    tools(request, &mut body);
    body = body
        .with_some("parallel_tool_calls", request.parallel_tools)
        .with_some("max_output_tokens", max_tokens(request, losses)?)
        .with_some("temperature", temperature(request, fit, losses)?)
        .with_some("top_p", request.top_p.take())
        .with_some("text", text(request));
    thinking(request, reasons, &mut body, fit, losses)?;
    body = body.with_some("user", request.user.take());
    let store = request.take_extra("store").filter(|_| shares);
    body.push("store", store.unwrap_or(Json::Bool(false)));
    for name in SHARED {
        // Anthropic's tier is read as OpenAI has it.
        if shares || (name == "service_tier" && losses.client() == Form::Messages) {
            body = body.with_some(name, request.take_extra(name));
        }
    }
    if request.stream {
        body.push("stream", true);
    }
    Ok(body)
}

/// OpenAI refuses less in this form.
const LEAST_TOKENS: u64 = 16;

fn max_tokens(request: &Request<'_>, losses: &mut Losses) -> Result<Option<u64>, BadRequest> {
    if request.max_tokens.is_some_and(|most| most < LEAST_TOKENS) {
        let name = match request.older_max_tokens {
            true => "max_tokens",
            false => Field::MaxTokens.name(losses.client()).unwrap_or_default(),
        };
        // No answer was wanted: then none is to be paid for.
        if request.max_tokens == Some(0) {
            let why = format!("`{name}` must be at least 1, but is 0.");
            let refused = BadRequest::invalid(why).with_param(name);
            return Err(refused.with_code("integer_below_min_value"));
        }
        losses.lose_named(name.into(), Loss::Harmless)?;
    }
    Ok(request.max_tokens.map(|most| most.max(LEAST_TOKENS)))
}

/// What stands first, if it is one text; other instructions are items where they stood.
fn instructions<'a>(request: &mut Request<'a>) -> Option<Cow<'a, str>> {
    let first = request.turns.first().filter(|turn| turn.role == Role::System)?;
    let [part] = &first.parts[..] else { return None };
    // An empty one is none.
    part.as_text().filter(|text| !text.is_empty())?;
    match request.turns.remove(0).parts.pop()?.body {
        Body::Text { text, .. } => Some(text),
        _ => None,
    }
}

fn tools<'a>(request: &mut Request<'a>, body: &mut Object<'a>) {
    let tools = std::mem::take(&mut request.tools);
    if !tools.is_empty() {
        body.push("tools", tools.into_iter().map(tool).collect::<Vec<_>>());
    }
    let named = |name| Object::new().with("type", "function").with("name", name);
    let choice: Json<'a> = match request.tool_choice.take() {
        None => return,
        Some(ToolChoice::Auto) => "auto".into(),
        Some(ToolChoice::None) => "none".into(),
        Some(ToolChoice::Required) => "required".into(),
        Some(ToolChoice::Named(name)) => named(name).into(),
        Some(ToolChoice::Allowed { names, required }) => Object::new()
            .with("type", "allowed_tools")
            .with("mode", if required { "required" } else { "auto" })
            .with("tools", names.into_iter().map(named).collect::<Vec<_>>())
            .into(),
    };
    body.push("tool_choice", choice);
}

fn tool(tool: Tool<'_>) -> Object<'_> {
    let none = || Object::new().with("type", "object").with("properties", Object::new()).into();
    Object::new()
        .with("type", "function")
        .with("name", tool.name)
        .with_some("description", tool.description)
        .with("parameters", tool.schema.unwrap_or_else(none))
        // In this form alone, functions are strict unless told otherwise.
        .with("strict", tool.strict.unwrap_or(false))
}

fn temperature(
    request: &mut Request<'_>,
    fit: &Fit,
    losses: &mut Losses,
) -> Result<Option<serde_json::Number>, BadRequest> {
    let temperature = request.temperature.take();
    let over = |most: &f64| {
        temperature.as_ref().and_then(serde_json::Number::as_f64).is_some_and(|t| t > *most)
    };
    match fit.max_temperature.filter(over) {
        None => Ok(temperature),
        Some(most) => {
            losses.lose(Field::Temperature)?;
            Ok(serde_json::Number::from_f64(most))
        }
    }
}

fn text<'a>(request: &mut Request<'a>) -> Option<Object<'a>> {
    let format = request.format.take().map(|format| match format {
        Format::Json => Object::new().with("type", "json_object"),
        Format::Schema { name, description, schema, strict } => Object::new()
            .with("type", "json_schema")
            .with("name", name.unwrap_or(Cow::Borrowed("response")))
            .with_some("description", description)
            .with("schema", schema)
            .with_some("strict", strict),
    });
    let text =
        Object::new().with_some("format", format).with_some("verbosity", request.verbosity.take());
    Some(text).filter(|text| !text.is_empty())
}

fn thinking<'a>(
    request: &mut Request<'a>,
    reasons: bool,
    body: &mut Object<'a>,
    fit: &Fit,
    losses: &mut Losses,
) -> Result<(), BadRequest> {
    let mut include: Vec<&'static str> = Vec::new();
    let thinking = match request.thinking.take() {
        Some(_) if fit.reasoning == Reasoning::None => {
            losses.lose(Field::Thinking)?;
            None
        }
        thinking => thinking,
    };
    // Nothing is stored, so the client has to be given what it is to send back.
    if reasons || thinking.as_ref().is_some_and(|thinking| !thinking.is_off()) {
        include.push("reasoning.encrypted_content");
    }
    if let Some(thinking) = thinking {
        let reasoning = Object::new()
            .with_some("effort", thinking.effort().map(|effort| effort.as_str()))
            .with_some("summary", (thinking.shown == Some(true)).then_some("auto"));
        if !reasoning.is_empty() {
            body.push("reasoning", reasoning);
        }
    }
    if let Some(top) = request.logprobs.take() {
        include.push("message.output_text.logprobs");
        if top > 0 {
            body.push("top_logprobs", top);
        }
    }
    if !include.is_empty() {
        body.push("include", include);
    }
    Ok(())
}
