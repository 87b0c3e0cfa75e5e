use std::borrow::Cow;

use serde_json::Number;

use super::{
    super::{
        Field, Fit, Form, Loss, Losses,
        hub::{Body, Format, Part, Request, Role},
        settle,
    },
    thinking, tools,
    write_content::{Message, lost_thought, messages},
};
use crate::{
    BadRequest,
    json::{Json, Object},
};

/// The bound that the form demands, where neither client nor registry knows one.
const MAX_TOKENS: u64 = 4096;

const JSON_ONLY: &str = "Answer with one JSON object and nothing else: no text around it, and no \
                         code fence.";

pub(crate) fn write_request<'a>(
    request: &mut Request<'a>,
    fit: &Fit,
    losses: &mut Losses,
) -> Result<Object<'a>, BadRequest> {
    let system = system(request, losses)?;
    let (mut messages, last) = messages(request, losses)?;
    let prefilled = last.last().is_some_and(|last| last.role == Role::Assistant);
    if prefilled && !fit.prefill {
        return Err(no_prefill(losses.client()));
    }
    if !fit.structured {
        tools::stand_in(request);
    }
    let forced = tools::forced(request.tool_choice.as_ref());
    let barred = forced || prefilled || lost_thought(&last);
    let mut max_tokens = request.max_tokens.or(fit.max_output_tokens).unwrap_or(MAX_TOKENS);
    let thinking = thinking::write(request.thinking.take(), fit, &mut max_tokens, barred, losses)?;
    sampling(request, fit, thinking.on, losses)?;
    let format = tools::format(request, losses)?;
    let (tools, choice) = tools::write(request, losses)?;
    let output = Object::new().with_some("effort", thinking.effort).with_some("format", format);
    messages.extend(last.into_iter().map(Message::into_json));
    Ok(Object::new()
        .with("model", request.model.clone())
        .with("max_tokens", max_tokens)
        .with_some("system", system)
        .with("messages", messages)
        .with_some("tools", some(tools))
        .with_some("tool_choice", choice)
        .with_some("thinking", thinking.thinking)
        .with_some("output_config", (!output.is_empty()).then_some(output))
        .with_some("temperature", request.temperature.take())
        .with_some("top_p", request.top_p.take())
        .with_some("top_k", request.top_k.take())
        .with_some("stop_sequences", some(stop(request, losses)?))
        .with_some("metadata", user(request).map(|user| Object::new().with("user_id", user)))
        .with_some("service_tier", service_tier(request))
        .with_some("cache_control", request.take_extra("cache_control"))
        .with_some("stream", request.stream.then_some(true)))
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

/// One text, unless its pieces are marked for the cache.
fn system<'a>(
    request: &mut Request<'a>,
    losses: &mut Losses,
) -> Result<Option<Json<'a>>, BadRequest> {
    let mut parts = request.take_system();
    if request.format == Some(Format::Json) {
        request.format = None;
        parts.push(Part::text(JSON_ONLY));
    }
    let mut texts = Vec::with_capacity(parts.len());
    for part in parts {
        match part.body {
            Body::Text { text, .. } if text.trim().is_empty() => {}
            Body::Text { text, .. } => texts.push((text, part.cache_control)),
            body => losses.lose(settle::field(&body).unwrap_or(Field::ImageData))?,
        }
    }
    if texts.iter().any(|(_, cache_control)| cache_control.is_some()) {
        let blocks = texts.into_iter().map(|(text, cache_control)| {
            Object::new()
                .with("type", "text")
                .with("text", text)
                .with_some("cache_control", cache_control)
        });
        return Ok(Some(blocks.collect::<Vec<_>>().into()));
    }
    let joined = texts.into_iter().map(|(text, _)| text).reduce(|mut joined, text| {
        let all = joined.to_mut();
        all.push('\n');
        all.push_str(&text);
        joined
    });
    Ok(joined.map(Json::String))
}

fn no_prefill(client: Form) -> BadRequest {
    BadRequest::invalid(
        "The conversation ends with the assistant, and the model that this request goes to does \
         not continue an answer that was begun for it. Let it end with the user.",
    )
    .with_param(client.conversation())
    .with_code("unsupported_value")
}

/// Models that think take no other sampling than their own.
fn sampling(
    request: &mut Request<'_>,
    fit: &Fit,
    thinks: bool,
    losses: &mut Losses,
) -> Result<(), BadRequest> {
    let value = |number: &Option<Number>| number.as_ref().and_then(Number::as_f64);
    if let (Some(wanted), Some(most)) = (value(&request.temperature), fit.max_temperature) {
        if wanted > most {
            request.temperature = number(most);
            losses.lose(Field::Temperature)?;
        }
    }
    if thinks {
        if value(&request.temperature).is_some_and(|temperature| temperature != 1.0) {
            request.temperature = None;
            losses.lose(Field::Temperature)?;
        }
        if value(&request.top_p).is_some_and(|top_p| top_p < 0.95) {
            request.top_p = None;
            losses.lose(Field::TopP)?;
        }
        if request.top_k.take().is_some() {
            losses.lose(Field::TopK)?;
        }
    }
    if fit.one_sampling && request.temperature.is_some() && request.top_p.take().is_some() {
        losses.lose(Field::TopP)?;
    }
    Ok(())
}

fn number(value: f64) -> Option<Number> {
    if value.fract() == 0.0 && (0.0..=100.0).contains(&value) {
        return Some((value as u64).into());
    }
    Number::from_f64(value)
}

/// Without the blank ones, which are refused.
fn stop<'a>(
    request: &mut Request<'a>,
    losses: &mut Losses,
) -> Result<Vec<Cow<'a, str>>, BadRequest> {
    let mut stop = std::mem::take(&mut request.stop);
    stop.retain(|sequence| !sequence.is_empty());
    let before = stop.len();
    stop.retain(|sequence| !sequence.trim().is_empty());
    if stop.len() < before {
        let name = Field::Stop.name(losses.client()).unwrap_or("stop");
        losses.lose_named(Cow::Borrowed(name), Loss::Harmless)?;
    }
    Ok(stop)
}

/// The caller's own user, under whichever of its names it is known.
fn user<'a>(request: &mut Request<'a>) -> Option<Cow<'a, str>> {
    if let Some(user) = request.user.take() {
        return Some(user);
    }
    if let Some(Json::String(user)) = request.take_extra("safety_identifier") {
        return Some(user);
    }
    let metadata = request.extras.iter_mut().find(|extra| extra.name == "metadata")?;
    let Json::Object(metadata) = &mut metadata.value else { return None };
    let user = match metadata.take("user_id") {
        Some(Json::String(user)) => Some(user),
        _ => None,
    };
    if metadata.is_empty() {
        request.take_extra("metadata");
    }
    user
}

fn service_tier(request: &mut Request<'_>) -> Option<&'static str> {
    let tier = request.extras.iter().find(|extra| extra.name == "service_tier")?;
    let tier = match tier.value.as_str() {
        Some("auto") => "auto",
        Some("default") => "standard_only",
        _ => return None,
    };
    request.take_extra("service_tier");
    Some(tier)
}
