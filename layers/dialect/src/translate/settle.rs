//! Takes out of a request what its target has no place for: once, for all forms, by the table.

use std::borrow::Cow;

use super::{
    Field, Fit, Form, Losses,
    hub::{Body, Format, Part, Request, Source, ToolChoice},
};
use crate::BadRequest;

/// After it, all that is left has a counterpart in `fit.form`; what went is in `losses`.
pub(crate) fn settle(
    request: &mut Request<'_>,
    fit: &Fit,
    losses: &mut Losses,
) -> Result<(), BadRequest> {
    options(request, fit, losses)?;
    let client = losses.client();
    if request
        .turns
        .iter()
        .any(|turn| turn.parts.iter().any(|part| lost(part, fit, client).is_some()))
        || request.turns.iter().any(|turn| turn.parts.iter().any(has_marginal))
    {
        for turn in &mut request.turns {
            parts(&mut turn.parts, fit, losses)?;
        }
        request.turns.retain(|turn| !turn.parts.is_empty());
    }
    Ok(())
}

/// What the writer had no use for either.
pub(crate) fn leftovers(request: Request<'_>, losses: &mut Losses) -> Result<(), BadRequest> {
    for extra in request.extras {
        losses.lose_named(Cow::Owned(extra.name.into_owned()), extra.loss)?;
    }
    Ok(())
}

fn options(request: &mut Request<'_>, fit: &Fit, losses: &mut Losses) -> Result<(), BadRequest> {
    /// Clears a field that is set and can't be kept.
    macro_rules! settle {
        ($($member:ident: $field:ident),* $(,)?) => {
            $(if request.$member.is_some() && !fit.keeps(Field::$field) {
                request.$member = None;
                losses.lose(Field::$field)?;
            })*
        };
    }
    // One answer is what every form gives.
    request.choices = request.choices.filter(|choices| *choices != 1);
    settle! {
        max_tokens: MaxTokens, temperature: Temperature, top_p: TopP, top_k: TopK,
        frequency_penalty: FrequencyPenalty, presence_penalty: PresencePenalty, seed: Seed,
        choices: Choices, logprobs: Logprobs, thinking: Thinking, verbosity: Verbosity,
        user: User,
    }
    // Calls in parallel are what every form does unless told otherwise.
    if request.parallel_tools == Some(false) && !fit.keeps(Field::ParallelTools) {
        request.parallel_tools = None;
        losses.lose(Field::ParallelTools)?;
    }
    if !request.stop.is_empty() && !fit.keeps(Field::Stop) {
        request.stop.clear();
        losses.lose(Field::Stop)?;
    }
    if request.stop.len() > fit.max_stop {
        request.stop.truncate(fit.max_stop);
        losses.lose(Field::Stop)?;
    }
    let format = match &request.format {
        Some(Format::Json) => Some(Field::JsonMode),
        Some(Format::Schema { .. }) => Some(Field::JsonSchema),
        None => None,
    };
    if let Some(field) = format.filter(|field| !fit.keeps(*field)) {
        request.format = None;
        losses.lose(field)?;
    }
    if let Some(thinking) = &mut request.thinking {
        if thinking.shown.is_some() && !fit.keeps(Field::ThinkingShown) {
            let wanted = thinking.shown.take() == Some(true);
            if wanted {
                losses.lose(Field::ThinkingShown)?;
            }
        }
    }
    tools(request, fit, losses)
}

fn tools(request: &mut Request<'_>, fit: &Fit, losses: &mut Losses) -> Result<(), BadRequest> {
    if !request.tools.is_empty() && !fit.keeps(Field::Tools) {
        request.tools.clear();
        losses.lose(Field::Tools)?;
    }
    if let Some(tool) = request.tools.iter().find(|tool| !takes_name(fit.form, &tool.name)) {
        return Err(bad_name(&tool.name, losses.client(), fit.form));
    }
    for tool in &mut request.tools {
        if tool.strict == Some(true) && !fit.keeps(Field::StrictTools) {
            tool.strict = None;
            losses.lose(Field::StrictTools)?;
        }
        if tool.cache_control.is_some() && !fit.keeps(Field::CacheControl) {
            tool.cache_control = None;
            losses.lose(Field::CacheControl)?;
        }
    }
    let forced = matches!(
        request.tool_choice,
        Some(ToolChoice::Required | ToolChoice::Named(_) | ToolChoice::Allowed { .. })
    );
    let field = if forced { Field::ForcedTool } else { Field::ToolChoice };
    if request.tool_choice.is_some() && !fit.keeps(field) {
        request.tool_choice = None;
        losses.lose(field)?;
    }
    Ok(())
}

/// Whether the form's providers take a tool of this name.
fn takes_name(form: Form, name: &str) -> bool {
    let most = match form {
        Form::Chat | Form::Responses => 64,
        Form::Messages | Form::Generate => 128,
    };
    let more = if form == Form::Generate { "_-.:" } else { "_-" };
    let fine = |letter: char| letter.is_ascii_alphanumeric() || more.contains(letter);
    (1..=most).contains(&name.len()) && name.chars().all(fine)
}

fn bad_name(name: &str, client: Form, target: Form) -> BadRequest {
    let param = match client {
        Form::Chat => "tools.function.name",
        Form::Responses | Form::Messages => "tools.name",
        Form::Generate => "tools.functionDeclarations.name",
    };
    let shown: String = name.chars().take(80).collect();
    BadRequest::invalid(format!(
        "`{param}` {shown:?} is refused by the API of the provider that this request goes to \
         ({target}). Use letters, digits, `_` and `-`, 64 of them at most."
    ))
    .with_param(param)
    .with_code("invalid_value")
}

/// The field because of which the target can't have this piece.
fn lost(part: &Part<'_>, fit: &Fit, client: Form) -> Option<Field> {
    // An id of a file is known to the provider that gave it alone.
    let ids_hold = client.dialect() == fit.form.dialect();
    let field = match &part.body {
        Body::Image { source: Source::File(_), .. } if !ids_hold => {
            return Some(Field::ImageFile);
        }
        Body::Document { source: Source::File(_), .. } if !ids_hold => {
            return Some(Field::DocumentFile);
        }
        Body::Image { source: Source::Url(_), .. } => Field::ImageUrl,
        Body::Image { source: Source::Data { .. }, .. } => Field::ImageData,
        Body::Image { source: Source::File(_), .. } => Field::ImageFile,
        Body::Document { source: Source::Url(_), .. } => Field::DocumentUrl,
        Body::Document { source: Source::Data { .. }, .. } => Field::DocumentData,
        Body::Document { source: Source::File(_), .. } => Field::DocumentFile,
        Body::Audio { .. } => Field::AudioData,
        Body::Thinking { .. } => Field::ThinkingText,
        Body::Redacted(data) if data.of != fit.form => return Some(Field::Signature),
        Body::Redacted(_) => Field::Signature,
        Body::Refusal(_) => Field::Refusal,
        Body::Text { .. } | Body::ToolCall { .. } | Body::ToolResult { .. } => return None,
    };
    (!fit.keeps(field)).then_some(field)
}

/// Whether there may be something about this piece to be lost, if not the piece itself.
fn has_marginal(part: &Part<'_>) -> bool {
    part.cache_control.is_some()
        || match &part.body {
            Body::Text { citations, .. } => !citations.is_empty(),
            Body::Image { detail, .. } => detail.is_some(),
            Body::ToolResult { .. } | Body::Thinking { .. } => true,
            Body::ToolCall { signature, .. } => signature.is_some(),
            _ => false,
        }
}

fn parts(parts: &mut Vec<Part<'_>>, fit: &Fit, losses: &mut Losses) -> Result<(), BadRequest> {
    let mut refused = Ok(());
    parts.retain_mut(|part| {
        if refused.is_err() {
            return true;
        }
        if let Some(field) = lost(part, fit, losses.client()) {
            refused = losses.lose(field);
            return false;
        }
        refused = marginal(part, fit, losses);
        true
    });
    refused
}

fn marginal(part: &mut Part<'_>, fit: &Fit, losses: &mut Losses) -> Result<(), BadRequest> {
    if part.cache_control.is_some() && !fit.keeps(Field::CacheControl) {
        part.cache_control = None;
        losses.lose(Field::CacheControl)?;
    }
    match &mut part.body {
        Body::Image { detail, .. } if detail.is_some() && !fit.keeps(Field::ImageDetail) => {
            *detail = None;
            losses.lose(Field::ImageDetail)
        }
        // Only its maker can check a signature; elsewhere the thought is kept without it.
        Body::Thinking { signature, .. } | Body::ToolCall { signature, .. }
            if signature.as_ref().is_some_and(|signature| signature.of != fit.form) =>
        {
            let carried = signature.take().is_some_and(|signature| !signature.data.is_empty());
            if carried { losses.lose(Field::Signature) } else { Ok(()) }
        }
        Body::ToolResult { content, .. } => {
            let images = content.iter().any(|part| part.as_text().is_none());
            if images && !fit.keeps(Field::ToolResultImage) {
                content.retain(|part| part.as_text().is_some());
                losses.lose(Field::ToolResultImage)?;
            }
            parts(content, fit, losses)
        }
        _ => Ok(()),
    }
}
