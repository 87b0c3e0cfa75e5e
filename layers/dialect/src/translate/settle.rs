//! Takes out of a request what its target has no place for: once, for all forms, by the table.

use std::borrow::Cow;

use super::{
    Field, Fit, Form, Loss, Losses, Reasoning,
    hub::{Body, Format, Part, Request, Role, Source, Thinking, ToolChoice, Turn},
    tool_name,
};
use crate::{BadRequest, json::Json};

/// After it, all that is left has a counterpart in `fit.form`; what went is in `losses`.
pub(crate) fn settle(
    request: &mut Request<'_>,
    fit: &Fit,
    losses: &mut Losses,
) -> Result<(), BadRequest> {
    options(request, fit, losses)?;
    let client = losses.client();
    if request.turns.iter().any(is_misplaced) {
        return Err(misplaced(client));
    }
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

/// What only the other side can have said: no form has a place for it, the client's neither.
fn is_misplaced(turn: &Turn<'_>) -> bool {
    turn.parts.iter().any(|part| match part.body {
        Body::ToolCall { .. } | Body::Thinking { .. } | Body::Redacted(_) => {
            turn.role != Role::Assistant
        }
        Body::ToolResult { .. } => turn.role != Role::User,
        _ => false,
    })
}

fn misplaced(client: Form) -> BadRequest {
    BadRequest::invalid(
        "Calls and thoughts have to be the assistant's, and results of tools the user's: the \
         conversation has one of the other side.",
    )
    .with_param(client.conversation())
    .with_code("invalid_value")
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
    describe(request, fit, losses)?;
    if let Some(Thinking { effort: Some(_), budget: Some(_), .. }) = request.thinking {
        losses.lose_named(second_word(fit, losses.client()).into(), Loss::Harmless)?;
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

/// Where a schema has no description beside it, the schema itself is described.
fn describe(request: &mut Request<'_>, fit: &Fit, losses: &mut Losses) -> Result<(), BadRequest> {
    let inside = match fit.form {
        Form::Chat | Form::Responses => false,
        // The tool that stands for a schema has a description.
        Form::Messages => fit.structured,
        Form::Generate => true,
    };
    let Some(Format::Schema { description, schema: Json::Object(schema), .. }) =
        request.format.as_mut().filter(|_| inside)
    else {
        return Ok(());
    };
    let Some(description) = description.take() else { return Ok(()) };
    match schema.get("description") {
        None => schema.push("description", description),
        Some(own) if own.as_str() == Some(&*description) => {}
        Some(_) => {
            let name = match losses.client() {
                Form::Responses => "text.format.description",
                _ => "response_format.json_schema.description",
            };
            losses.lose_named(name.into(), Loss::Harmless)?;
        }
    }
    Ok(())
}

/// Of an effort and a budget, the one that the target does not go by.
fn second_word(fit: &Fit, client: Form) -> &'static str {
    let by_budget = match fit.form {
        Form::Messages => matches!(fit.reasoning, Reasoning::Budget | Reasoning::Switch),
        Form::Generate => fit.reasoning == Reasoning::Budget,
        Form::Chat | Form::Responses => false,
    };
    match (client, by_budget) {
        (Form::Chat, true) => "reasoning_effort",
        (Form::Messages, true) => "output_config.effort",
        (Form::Chat | Form::Messages, false) => "thinking.budget_tokens",
        (Form::Responses, _) => "reasoning.effort",
        (Form::Generate, true) => "generationConfig.thinkingConfig.thinkingLevel",
        (Form::Generate, false) => "generationConfig.thinkingConfig.thinkingBudget",
    }
}

fn tools(request: &mut Request<'_>, fit: &Fit, losses: &mut Losses) -> Result<(), BadRequest> {
    if !request.tools.is_empty() && !fit.keeps(Field::Tools) {
        request.tools.clear();
        losses.lose(Field::Tools)?;
    }
    if let Some(tool) = request.tools.iter().find(|tool| !tool_name::is_taken(fit.form, &tool.name))
    {
        return Err(tool_name::refused(&tool.name, losses.client(), fit.form));
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

/// The field because of which the target can't have this piece.
fn lost(part: &Part<'_>, fit: &Fit, client: Form) -> Option<Field> {
    let field = field(&part.body)?;
    // An id of a file is known to the provider that gave it alone.
    let ids_hold = client.dialect() == fit.form.dialect();
    let of_another = match &part.body {
        Body::Image { source: Source::File(_), .. }
        | Body::Document { source: Source::File(_), .. } => !ids_hold,
        Body::Redacted(data) => data.of != fit.form,
        _ => false,
    };
    (of_another || !fit.keeps(field)).then_some(field)
}

/// What a piece is by the table; `None`: what every form has.
pub(crate) fn field(body: &Body<'_>) -> Option<Field> {
    Some(match body {
        Body::Image { source: Source::Url(_), .. } => Field::ImageUrl,
        Body::Image { source: Source::Data { .. }, .. } => Field::ImageData,
        Body::Image { source: Source::File(_), .. } => Field::ImageFile,
        Body::Document { source: Source::Url(_), .. } => Field::DocumentUrl,
        Body::Document { source: Source::Data { .. }, .. } => Field::DocumentData,
        Body::Document { source: Source::File(_), .. } => Field::DocumentFile,
        Body::Audio { .. } => Field::AudioData,
        Body::Thinking { .. } => Field::ThinkingText,
        Body::Redacted(_) => Field::Signature,
        Body::Refusal(_) => Field::Refusal,
        Body::Text { .. } | Body::ToolCall { .. } | Body::ToolResult { .. } => return None,
    })
}

/// Whether there may be something about this piece to be lost, if not the piece itself.
fn has_marginal(part: &Part<'_>) -> bool {
    part.cache_control.is_some()
        || match &part.body {
            Body::Text { citations, .. } => !citations.is_empty(),
            Body::Image { detail, .. } => detail.is_some(),
            Body::Document { name, .. } => name.is_some(),
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

/// Whether a document from there may have a name.
fn takes_title(fit: &Fit, source: &Source<'_>) -> bool {
    fit.keeps(Field::DocumentName)
        && match fit.form {
            Form::Chat | Form::Responses => matches!(source, Source::Data { .. }),
            Form::Messages | Form::Generate => true,
        }
}

fn marginal(part: &mut Part<'_>, fit: &Fit, losses: &mut Losses) -> Result<(), BadRequest> {
    // In chat, neither calls nor refusals are objects with a place for it.
    let nowhere =
        fit.form == Form::Chat && matches!(part.body, Body::ToolCall { .. } | Body::Refusal(_));
    if part.cache_control.is_some() && (nowhere || !fit.keeps(Field::CacheControl)) {
        part.cache_control = None;
        losses.lose(Field::CacheControl)?;
    }
    match &mut part.body {
        Body::Image { detail, .. } if detail.is_some() && !fit.keeps(Field::ImageDetail) => {
            *detail = None;
            losses.lose(Field::ImageDetail)
        }
        Body::Document { source, name } if name.is_some() && !takes_title(fit, source) => {
            *name = None;
            losses.lose(Field::DocumentName)
        }
        // What an earlier answer was taken from is no part of a request elsewhere.
        Body::Text { citations, .. } if !citations.is_empty() && fit.form != Form::Responses => {
            citations.clear();
            losses.lose(Field::Citations)
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
