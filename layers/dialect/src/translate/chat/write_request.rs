use serde_json::Number;

use super::write_messages;
use crate::{
    BadRequest,
    json::{Json, Object},
    translate::{
        Field, Fit, Form, Losses, Reasoning,
        hub::{Format, Request, Thinking, Tool, ToolChoice},
    },
};

pub(crate) fn write_request<'a>(
    request: &mut Request<'a>,
    fit: &Fit,
    losses: &mut Losses,
) -> Result<Object<'a>, BadRequest> {
    let messages = write_messages::write(request, fit, losses)?;
    let max_tokens = if fit.legacy_max_tokens { "max_tokens" } else { "max_completion_tokens" };
    let stop = (!request.stop.is_empty()).then(|| std::mem::take(&mut request.stop));
    let top_logprobs = request.logprobs.filter(|top| *top > 0);
    let mut out = Object::new()
        .with("model", request.model.clone())
        .with("messages", messages)
        .with_some(max_tokens, request.max_tokens)
        .with_some("temperature", temperature(request, fit, losses)?)
        .with_some("top_p", request.top_p.take())
        .with_some("frequency_penalty", request.frequency_penalty.take())
        .with_some("presence_penalty", request.presence_penalty.take())
        .with_some("seed", request.seed.take())
        .with_some("n", request.choices)
        .with_some("stop", stop)
        .with_some("logprobs", request.logprobs.map(|_| true))
        .with_some("top_logprobs", top_logprobs)
        .with_some("response_format", request.format.take().map(format))
        .with_some("verbosity", request.verbosity.take())
        .with_some("user", request.user.take());
    if let Some(thinking) = request.thinking.take() {
        write_thinking(thinking, fit, losses, &mut out)?;
    }
    tools(request, losses, &mut out)?;
    extras(request, losses.client(), &mut out);
    if request.stream {
        out.push("stream", true);
        out.push("stream_options", Object::new().with("include_usage", true));
    }
    Ok(out)
}

fn temperature(
    request: &mut Request<'_>,
    fit: &Fit,
    losses: &mut Losses,
) -> Result<Option<Number>, BadRequest> {
    let Some(temperature) = request.temperature.take() else { return Ok(None) };
    let most = fit.max_temperature.filter(|most| temperature.as_f64() > Some(*most));
    let Some(most) = most else { return Ok(Some(temperature)) };
    losses.lose(Field::Temperature)?;
    Ok(Number::from_f64(most))
}

fn format(format: Format<'_>) -> Object<'_> {
    match format {
        Format::Json => Object::new().with("type", "json_object"),
        Format::Schema { name, description, schema, strict } => {
            let given = Object::new()
                .with("name", name.unwrap_or("response".into()))
                .with_some("description", description)
                .with("schema", schema)
                .with_some("strict", strict);
            Object::new().with("type", "json_schema").with("json_schema", given)
        }
    }
}

fn write_thinking(
    thinking: Thinking,
    fit: &Fit,
    losses: &mut Losses,
    out: &mut Object<'_>,
) -> Result<(), BadRequest> {
    match (fit.reasoning, thinking.effort()) {
        (Reasoning::None, _) => losses.lose(Field::Thinking)?,
        (Reasoning::Switch, _) => {
            let kind = if thinking.is_off() { "disabled" } else { "enabled" };
            // How much, it can't be told.
            if !thinking.is_off() && thinking.effort().is_some() {
                losses.lose(Field::Thinking)?;
            }
            out.push("thinking", Object::new().with("type", kind));
        }
        (_, Some(effort)) => out.push("reasoning_effort", effort.as_str()),
        // As it likes: what it does if nothing is said.
        (_, None) => {}
    }
    Ok(())
}

fn tools<'a>(
    request: &mut Request<'a>,
    losses: &mut Losses,
    out: &mut Object<'a>,
) -> Result<(), BadRequest> {
    let mut tools = std::mem::take(&mut request.tools);
    let mut choice = request.tool_choice.take();
    if let Some(ToolChoice::Allowed { names, required }) = &choice {
        // OpenAI alone has a name for it; any provider calls only what it is told of.
        tools.retain(|tool| names.contains(&tool.name));
        choice = required.then_some(ToolChoice::Required);
    }
    // Without tools, these are refused.
    if tools.is_empty() {
        return match choice {
            Some(ToolChoice::Required | ToolChoice::Named(_)) => losses.lose(Field::ForcedTool),
            _ => Ok(()),
        };
    }
    let tools: Vec<_> = tools.into_iter().map(tool).collect();
    out.push("tools", tools);
    let choice: Option<Json<'_>> = choice.map(|choice| match choice {
        ToolChoice::Auto | ToolChoice::Allowed { .. } => "auto".into(),
        ToolChoice::None => "none".into(),
        ToolChoice::Required => "required".into(),
        ToolChoice::Named(name) => {
            let function = Object::new().with("name", name);
            Object::new().with("type", "function").with("function", function).into()
        }
    });
    if let Some(choice) = choice {
        out.push("tool_choice", choice);
    }
    if request.parallel_tools == Some(false) {
        out.push("parallel_tool_calls", false);
    }
    Ok(())
}

fn tool(tool: Tool<'_>) -> Object<'_> {
    let function = Object::new()
        .with("name", tool.name)
        .with_some("description", tool.description)
        .with_some("parameters", tool.schema)
        .with_some("strict", tool.strict);
    Object::new()
        .with("type", "function")
        .with("function", function)
        .with_some("cache_control", tool.cache_control)
}

/// What the Responses form has by the same name, and one word of Anthropic's.
fn extras<'a>(request: &mut Request<'a>, client: Form, out: &mut Object<'a>) {
    const SHARED: [&str; 6] = [
        "metadata",
        "service_tier",
        "safety_identifier",
        "prompt_cache_key",
        "prompt_cache_retention",
        "prompt_cache_options",
    ];
    match client {
        Form::Responses => {
            for name in SHARED {
                if let Some(value) = request.take_extra(name) {
                    out.push(name, value);
                }
            }
            // Nothing is kept unless it is asked for.
            if let Some(store @ Json::Bool(true)) = request.take_extra("store") {
                out.push("store", store);
            }
        }
        // Its reader writes it as OpenAI has it.
        Form::Messages => {
            if let Some(tier) = request.take_extra("service_tier") {
                out.push("service_tier", tier);
            }
        }
        Form::Chat | Form::Generate => {}
    }
}
