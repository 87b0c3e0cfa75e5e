//! `generationConfig`.

use serde_json::Number;

use super::{
    names::{self, Names},
    schema::to_json_schema,
};
use crate::{
    BadRequest,
    json::{At, Json, Object},
    translate::{
        Loss,
        hub::{Effort, Format, Request, Thinking},
    },
};

pub(super) fn read<'a>(
    mut config: Object<'a>,
    at: &At<'_>,
    request: &mut Request<'a>,
) -> Result<(), BadRequest> {
    let from = &mut config;
    request.max_tokens = names::count(from, ["maxOutputTokens", "max_output_tokens"], at)?;
    request.temperature = names::number(from, ["temperature"; 2], at)?;
    request.top_p = names::number(from, ["topP", "top_p"], at)?;
    request.top_k = names::number(from, ["topK", "top_k"], at)?.map(whole);
    request.seed = names::number(from, ["seed"; 2], at)?;
    request.presence_penalty = names::number(from, ["presencePenalty", "presence_penalty"], at)?;
    request.frequency_penalty = names::number(from, ["frequencyPenalty", "frequency_penalty"], at)?;
    // Zero is one, as protobuf has it.
    let choices = names::count(from, ["candidateCount", "candidate_count"], at)?;
    request.choices = choices.filter(|choices| *choices > 1);
    request.stop = names::texts(from, ["stopSequences", "stop_sequences"], at)?;
    let alternatives = names::count(from, ["logprobs"; 2], at)?;
    if names::flag(from, ["responseLogprobs", "response_logprobs"], at)? == Some(true) {
        request.logprobs = Some(alternatives.unwrap_or(0));
    } else if let Some(alternatives @ 1..) = alternatives {
        request.extra("generationConfig.logprobs", alternatives.into(), Loss::Harmless);
    }
    if let Some((name, thinking)) = names::object(from, ["thinkingConfig", "thinking_config"], at)?
    {
        request.thinking = Some(read_thinking(thinking, &at.key(name), request)?);
    }
    read_format(from, at, request)?;
    modalities(from, at, request)?;
    for (name, value) in config.rest() {
        // Speech or a picture is another answer than a text; what nobody knows changes nothing.
        let media = ["speechConfig", "speech_config", "imageConfig", "image_config"];
        let loss = if media.contains(&&*name) { Loss::Meaning } else { Loss::Harmless };
        if value != Json::Bool(false) {
            request.extra(format!("generationConfig.{name}"), value, loss);
        }
    }
    Ok(())
}

/// A whole number without its fraction of nothing: Google's SDKs write 40 as `40.0`.
fn whole(number: Number) -> Number {
    match number.as_f64() {
        Some(float) if number.is_f64() && float.fract() == 0.0 && (0.0..1e9).contains(&float) => {
            Number::from(float as u64)
        }
        _ => number,
    }
}

fn modalities<'a>(
    config: &mut Object<'a>,
    at: &At<'_>,
    request: &mut Request<'a>,
) -> Result<(), BadRequest> {
    const MODALITIES: Names = ["responseModalities", "response_modalities"];
    let modalities = names::texts(config, MODALITIES, at)?;
    let text = |modality: &str| {
        modality.eq_ignore_ascii_case("text") || modality == "MODALITY_UNSPECIFIED"
    };
    if !modalities.iter().all(|modality| text(modality)) {
        request.extra("generationConfig.responseModalities", modalities.into(), Loss::Meaning);
    }
    Ok(())
}

fn read_thinking<'a>(
    mut config: Object<'a>,
    at: &At<'_>,
    request: &mut Request<'a>,
) -> Result<Thinking, BadRequest> {
    let budget = match names::number(&mut config, ["thinkingBudget", "thinking_budget"], at)? {
        // The model's own choice.
        Some(number) if number.as_f64().is_some_and(|number| number < 0.0) => None,
        Some(number) => {
            let tokens = Json::Number(number).as_u64();
            let refuse = || at.key("thinkingBudget").bad("must be a whole number of tokens, or -1");
            Some(tokens.ok_or_else(refuse)?)
        }
        None => None,
    };
    let level = names::text(&mut config, ["thinkingLevel", "thinking_level"], at)?;
    let level = level.filter(|level| !level.eq_ignore_ascii_case("THINKING_LEVEL_UNSPECIFIED"));
    let effort = match level {
        None => None,
        Some(level) => {
            let effort = Effort::parse(&level.to_ascii_lowercase());
            let refuse = || at.key("thinkingLevel").bad("must be MINIMAL, LOW, MEDIUM or HIGH");
            Some(effort.ok_or_else(refuse)?)
        }
    };
    let shown = names::flag(&mut config, ["includeThoughts", "include_thoughts"], at)?;
    names::left(request, config, "generationConfig.thinkingConfig", Loss::Harmless);
    Ok(Thinking { effort, budget, shown })
}

fn read_format<'a>(
    config: &mut Object<'a>,
    at: &At<'_>,
    request: &mut Request<'a>,
) -> Result<(), BadRequest> {
    const JSON_SCHEMAS: [Names; 2] = [
        ["responseJsonSchema", "response_json_schema"],
        ["_responseJsonSchema", "_response_json_schema"],
    ];
    let mime = names::text(config, ["responseMimeType", "response_mime_type"], at)?;
    let mut schema = None;
    // Of several the first counts, and the others are left to be told.
    for names in JSON_SCHEMAS {
        schema = schema.or_else(|| names::take(config, names).map(|(_, schema)| schema));
    }
    if schema.is_none() {
        let openapi = names::take(config, ["responseSchema", "response_schema"]);
        schema = openapi.map(|(_, openapi)| to_json_schema(openapi));
    }
    match (mime.as_deref(), schema) {
        (None | Some("" | "text/plain"), None) => {}
        (None | Some("" | "application/json"), Some(schema)) => {
            request.format =
                Some(Format::Schema { name: None, description: None, schema, strict: None });
        }
        (Some("application/json"), None) => request.format = Some(Format::Json),
        // A bare word out of a list, or a type that nobody knows.
        _ => {
            let mime = mime.unwrap_or_default();
            request.extra("generationConfig.responseMimeType", mime.into(), Loss::Meaning);
        }
    }
    Ok(())
}
