use super::{tools, write_config, write_parts};
use crate::{
    BadRequest,
    json::{Json, Object},
    translate::{
        Field, Fit, Losses,
        hub::{Part, Request},
        settle,
    },
};

/// The model, and whether to stream, are told by the path.
pub(crate) fn write_request<'a>(
    request: &mut Request<'a>,
    fit: &Fit,
    losses: &mut Losses,
) -> Result<Object<'a>, BadRequest> {
    let mut out = Object::new();
    let system = request.take_system();
    for part in system.iter().filter(|part| part.as_text().is_none()) {
        losses.lose(settle::field(&part.body).unwrap_or(Field::ImageData))?;
    }
    let texts: Vec<_> = system.iter().filter_map(Part::as_text).collect();
    if !texts.is_empty() {
        let text = super::part::text(texts.join("\n"));
        out.push("systemInstruction", Object::new().with("parts", vec![text]));
    }
    request.merge_turns();
    let turns = std::mem::take(&mut request.turns);
    out.push("contents", write_parts::contents(turns, fit, losses)?);
    if let Some(tools) = tools::write(request) {
        out.push("tools", tools);
    }
    if let Some(choice) = request.tool_choice.take() {
        out.push("toolConfig", tools::write_choice(choice));
    }
    let config = write_config::write(request, fit, losses)?;
    if !config.is_empty() {
        out.push("generationConfig", Json::Object(config));
    }
    Ok(out)
}
