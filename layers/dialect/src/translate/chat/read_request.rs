use std::borrow::Cow;

use super::{read_messages, read_tools};
use crate::{
    BadRequest,
    json::{At, Json, Object},
    translate::{
        Loss,
        hub::{Effort, Format, Request, Thinking},
    },
};

pub(crate) fn read_request(json: Json<'_>) -> Result<Request<'_>, BadRequest> {
    let at = At::Root;
    let mut object = json.into_object(&at)?;
    let mut request = Request {
        model: object.text("model", &at)?.unwrap_or_default(),
        temperature: object.number("temperature", &at)?,
        top_p: object.number("top_p", &at)?,
        frequency_penalty: object.number("frequency_penalty", &at)?,
        presence_penalty: object.number("presence_penalty", &at)?,
        seed: object.number("seed", &at)?,
        choices: object.u64("n", &at)?,
        stop: stop(&mut object)?,
        verbosity: object.text("verbosity", &at)?,
        stream: object.bool("stream", &at)?.unwrap_or(false),
        ..Request::default()
    };
    let (newer, older) =
        (object.u64("max_completion_tokens", &at)?, object.u64("max_tokens", &at)?);
    request.max_tokens = newer.or(older);
    request.older_max_tokens = newer.is_none() && older.is_some();
    if older.is_some() && older != request.max_tokens {
        request.extra("max_tokens", older.into(), Loss::Harmless);
    }
    logprobs(&mut object, &mut request)?;
    format(&mut object, &mut request)?;
    thinking(&mut object, &mut request)?;
    user(&mut object, &mut request)?;
    stream_options(&mut object, &mut request)?;
    read_tools::read(&mut object, &mut request)?;
    let messages =
        object.items("messages", &at)?.ok_or_else(|| at.key("messages").missing("an array"))?;
    read_messages::read(messages, &mut request)?;
    for (name, value) in object.rest() {
        if let Some(loss) = loss(&name, &value) {
            request.extra(name, value, loss);
        }
    }
    Ok(request)
}

/// What it means that only OpenAI knows this field; `None` for values that say what goes without
/// saying.
fn loss(name: &str, value: &Json<'_>) -> Option<Loss> {
    let text_only = || value.as_array().is_some_and(|all| all.iter().all(is_text));
    match name {
        "store" if *value == Json::Bool(false) => None,
        "service_tier" if value.as_str() == Some("auto") => None,
        "modalities" if text_only() => None,
        "logit_bias" if value.as_object().is_some_and(Object::is_empty) => None,
        "metadata" if value.as_object().is_some_and(Object::is_empty) => None,
        "modalities" | "web_search_options" => Some(Loss::Meaning),
        _ => Some(Loss::Harmless),
    }
}

fn is_text(modality: &Json<'_>) -> bool {
    modality.as_str() == Some("text")
}

fn stop<'a>(object: &mut Object<'a>) -> Result<Vec<Cow<'a, str>>, BadRequest> {
    let at = At::Root.key("stop");
    match object.take("stop") {
        None => Ok(Vec::new()),
        Some(Json::String(text)) => Ok(vec![text]),
        Some(Json::Array(texts)) => {
            let texts = texts.into_iter().enumerate();
            texts.map(|(n, text)| text.into_text(&at.index(n))).collect()
        }
        Some(other) => Err(at.expected("a string or an array of strings", &other)),
    }
}

fn logprobs<'a>(object: &mut Object<'a>, request: &mut Request<'a>) -> Result<(), BadRequest> {
    let wanted = object.bool("logprobs", &At::Root)? == Some(true);
    let top = object.u64("top_logprobs", &At::Root)?;
    match top {
        _ if wanted => request.logprobs = Some(top.unwrap_or(0)),
        Some(1..) => request.extra("top_logprobs", top.into(), Loss::Harmless),
        _ => {}
    }
    Ok(())
}

fn format<'a>(object: &mut Object<'a>, request: &mut Request<'a>) -> Result<(), BadRequest> {
    let at = At::Root.key("response_format");
    let Some(mut format) = object.object("response_format", &At::Root)? else { return Ok(()) };
    let kind = format.need_text("type", &at)?;
    match &*kind {
        "text" => {}
        "json_object" => request.format = Some(Format::Json),
        "json_schema" => {
            let mut given = format
                .object("json_schema", &at)?
                .ok_or_else(|| at.key("json_schema").missing("an object"))?;
            let at = at.key("json_schema");
            let schema = given
                .object("schema", &at)?
                .ok_or_else(|| at.key("schema").missing("an object"))?;
            request.format = Some(Format::Schema {
                name: given.text("name", &at)?,
                description: given.text("description", &at)?,
                schema: schema.into(),
                strict: given.bool("strict", &at)?,
            });
            request.left(given, "response_format.json_schema");
        }
        _ => {
            let format = format.with("type", kind);
            request.extra("response_format", format.into(), Loss::Meaning);
            return Ok(());
        }
    }
    request.left(format, "response_format");
    Ok(())
}

/// `reasoning_effort`, or `thinking` as DeepSeek, Moonshot and Anthropic's chat form have it.
fn thinking<'a>(object: &mut Object<'a>, request: &mut Request<'a>) -> Result<(), BadRequest> {
    let at = At::Root.key("thinking");
    let switch = object.object("thinking", &At::Root)?;
    let mut thinking = None;
    if let Some(mut switch) = switch {
        let on = switch.text("type", &at)?.is_none_or(|kind| kind != "disabled");
        let budget = switch.u64("budget_tokens", &at)?.filter(|_| on);
        let effort = (!on).then_some(Effort::None);
        thinking = Some(Thinking { effort, budget, shown: None });
        request.left(switch, "thinking");
    }
    if let Some(name) = object.text("reasoning_effort", &At::Root)? {
        match Effort::parse(&name) {
            Some(effort) => thinking.get_or_insert_default().effort = Some(effort),
            None => request.extra("reasoning_effort", name.into(), Loss::Harmless),
        }
    }
    request.thinking = thinking;
    Ok(())
}

/// `user`, and what came after it: `safety_identifier`.
fn user<'a>(object: &mut Object<'a>, request: &mut Request<'a>) -> Result<(), BadRequest> {
    request.user = object.text("user", &At::Root)?;
    if request.user.is_none() {
        request.user = object.text("safety_identifier", &At::Root)?;
    }
    if request.user.is_none() {
        let id = object.get("metadata").and_then(|all| all.as_object()?.str("user_id"));
        request.user = id.map(|id| Cow::Owned(id.to_owned()));
    }
    Ok(())
}

fn stream_options<'a>(
    object: &mut Object<'a>,
    request: &mut Request<'a>,
) -> Result<(), BadRequest> {
    let at = At::Root.key("stream_options");
    let Some(mut options) = object.object("stream_options", &At::Root)? else { return Ok(()) };
    request.wants_usage = options.bool("include_usage", &at)?.unwrap_or(false);
    // It pads what is sent; nothing is lost with it.
    options.take("include_obfuscation");
    request.left(options, "stream_options");
    Ok(())
}
