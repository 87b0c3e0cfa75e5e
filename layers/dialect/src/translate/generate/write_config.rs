//! `generationConfig`, for a provider.

use serde_json::Number;

use crate::{
    BadRequest,
    json::Object,
    translate::{
        Field, Fit, Form, Losses, Reasoning,
        hub::{Effort, Format, Request, Thinking},
    },
};

pub(super) fn write<'a>(
    request: &mut Request<'a>,
    fit: &Fit,
    losses: &mut Losses,
) -> Result<Object<'a>, BadRequest> {
    let temperature = request.temperature.take();
    let stop = std::mem::take(&mut request.stop);
    let mut config = Object::new()
        .with_some("maxOutputTokens", request.max_tokens.take())
        .with_some("temperature", bounded(temperature, fit.max_temperature, losses)?)
        .with_some("topP", request.top_p.take())
        .with_some("topK", request.top_k.take())
        .with_some("stopSequences", (!stop.is_empty()).then_some(stop))
        .with_some("seed", request.seed.take())
        .with_some("presencePenalty", request.presence_penalty.take())
        .with_some("frequencyPenalty", request.frequency_penalty.take())
        .with_some("candidateCount", request.choices.take());
    if let Some(alternatives) = request.logprobs.take() {
        config.push("responseLogprobs", true);
        if alternatives > 0 {
            config.push("logprobs", alternatives);
        }
    }
    match request.format.take() {
        None => {}
        Some(Format::Json) => config.push("responseMimeType", "application/json"),
        Some(Format::Schema { schema, .. }) => {
            config.push("responseMimeType", "application/json");
            config.push("responseJsonSchema", schema);
        }
    }
    if let Some(thinking) = request.thinking.take() {
        let thinking = write_thinking(thinking, fit, losses)?;
        if !thinking.is_empty() {
            config.push("thinkingConfig", thinking);
        }
    }
    Ok(config)
}

fn bounded(
    temperature: Option<Number>,
    most: Option<f64>,
    losses: &mut Losses,
) -> Result<Option<Number>, BadRequest> {
    let Some(most) = most else { return Ok(temperature) };
    if temperature.as_ref().and_then(Number::as_f64).is_none_or(|given| given <= most) {
        return Ok(temperature);
    }
    losses.lose(Field::Temperature)?;
    Ok(Number::from_f64(most))
}

/// Gemini 2.5's tokens of thought for an effort: Google's own figures.
fn budget(effort: Effort) -> u64 {
    match effort {
        Effort::None => 0,
        Effort::Minimal | Effort::Low => 1024,
        Effort::Medium => 8192,
        Effort::High | Effort::XHigh | Effort::Max => 24576,
    }
}

fn write_thinking(
    thinking: Thinking,
    fit: &Fit,
    losses: &mut Losses,
) -> Result<Object<'static>, BadRequest> {
    let mut config = Object::new();
    match fit.reasoning {
        Reasoning::None => {
            if thinking != Thinking::default() {
                losses.lose(Field::Thinking)?;
            }
            return Ok(config);
        }
        Reasoning::Budget => {
            if matches!(thinking.effort, Some(Effort::XHigh | Effort::Max)) {
                losses.lose(Field::Thinking)?;
            }
            match thinking.budget.or_else(|| thinking.effort.map(budget)) {
                Some(tokens) => config.push("thinkingBudget", tokens),
                // As the model likes.
                None => config.push("thinkingBudget", Number::from(-1)),
            }
        }
        Reasoning::Level | Reasoning::Effort | Reasoning::Switch | Reasoning::Adaptive => {
            let level = match thinking.effort() {
                None => None,
                Some(Effort::None | Effort::Minimal) => Some("MINIMAL"),
                Some(Effort::Low) => Some("LOW"),
                Some(Effort::Medium) => Some("MEDIUM"),
                Some(Effort::High | Effort::XHigh | Effort::Max) => Some("HIGH"),
            };
            // These models always think, and know no more than HIGH.
            if matches!(thinking.effort(), Some(Effort::None | Effort::XHigh | Effort::Max)) {
                losses.lose(Field::Thinking)?;
            }
            if let Some(level) = level {
                config.push("thinkingLevel", level);
            }
        }
    }
    // In these APIs who asks for reasoning is shown it, and has no way to ask for that too.
    let implied = matches!(losses.client(), Form::Chat | Form::Messages) && !thinking.is_off();
    if let Some(shown) = thinking.shown.or(implied.then_some(true)) {
        config.push("includeThoughts", shown);
    }
    Ok(config)
}
