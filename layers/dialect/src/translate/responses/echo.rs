//! What a reply tells back of the request.

use crate::{
    json::{Json, Object},
    translate::Asked,
};

/// The members of a `response` that come from the client's own request, with the API's defaults
/// where that said nothing; `null` where the default is the provider's.
pub(super) fn echo<'a>(asked: &'a Asked) -> Object<'a> {
    let mut body = match Json::read(&asked.body) {
        Ok(Json::Object(body)) => body,
        _ => Object::new(),
    };
    let mut object = |name: &str| match body.take(name) {
        Some(Json::Object(object)) => object,
        _ => Object::new(),
    };
    let mut text = object("text");
    if text.get("format").is_none_or(Json::is_null) {
        text.take("format");
        text.push("format", Object::new().with("type", "text"));
    }
    let mut reasoning = object("reasoning");
    for name in ["effort", "summary"] {
        if reasoning.get(name).is_none() {
            reasoning.push(name, Json::Null);
        }
    }
    let metadata = object("metadata");
    let tools = match body.take("tools") {
        Some(tools @ Json::Array(_)) => tools,
        _ => Json::Array(Vec::new()),
    };
    Object::new()
        .with("background", false)
        .with("instructions", body.take("instructions"))
        .with("max_output_tokens", body.take("max_output_tokens"))
        .with("max_tool_calls", body.take("max_tool_calls"))
        .with("metadata", metadata)
        .with("parallel_tool_calls", body.take("parallel_tool_calls").unwrap_or(Json::Bool(true)))
        .with("previous_response_id", Json::Null)
        .with_some("prompt_cache_key", body.take("prompt_cache_key"))
        .with("reasoning", reasoning)
        .with("safety_identifier", body.take("safety_identifier"))
        // Whatever was asked: nothing is.
        .with("store", false)
        .with("temperature", body.take("temperature"))
        .with("text", text)
        .with("tool_choice", body.take("tool_choice").unwrap_or_else(|| "auto".into()))
        .with("tools", tools)
        .with("top_logprobs", body.take("top_logprobs"))
        .with("top_p", body.take("top_p"))
        .with("truncation", body.take("truncation").unwrap_or_else(|| "disabled".into()))
        .with("user", body.take("user"))
}

/// The provider's own id, as far as it is recognised as one of this API.
pub(super) fn id(id: Option<&str>, asked: &Asked) -> String {
    match id {
        Some(id) if id.starts_with("resp_") => id.to_owned(),
        Some(id) if !id.is_empty() => format!("resp_{id}"),
        _ => asked.id("resp_", 0),
    }
}
