//! How much to think, by what the model can be told.

use super::super::{
    Field, Fit, Losses, Reasoning,
    hub::{Effort, Thinking},
};
use crate::{BadRequest, json::Object};

/// Anthropic's least budget, in tokens.
const LEAST: u64 = 1024;

/// What is written for it.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// `thinking`
    pub(super) thinking: Option<Object<'static>>,
    /// `output_config.effort`
    pub(super) effort: Option<&'static str>,
    /// The model will think: sampling has to be left alone.
    pub(super) on: bool,
}

/// `max_tokens` bounds the thinking too, so that it may have to grow. With `barred` a budget would
/// be refused because of something else in the request.
pub(super) fn write(
    thinking: Option<Thinking>,
    fit: &Fit,
    max_tokens: &mut u64,
    barred: bool,
    losses: &mut Losses,
) -> Result<Written, BadRequest> {
    let Some(thinking) = thinking else { return Ok(Written::default()) };
    if thinking.is_off() {
        let told = fit.reasoning != Reasoning::None;
        let thinking = told.then(|| Object::new().with("type", "disabled"));
        return Ok(Written { thinking, ..Written::default() });
    }
    let display = thinking.shown.map(|shown| if shown { "summarized" } else { "omitted" });
    let effort = thinking.effort().map(|effort| name(effort, fit));
    let by_name =
        matches!(fit.reasoning, Reasoning::Adaptive | Reasoning::Level | Reasoning::Effort);
    let wanted = thinking.effort().map(Effort::as_str);
    if by_name && wanted != effort {
        losses.lose(Field::Thinking)?;
    }
    match fit.reasoning {
        Reasoning::Adaptive | Reasoning::Level => {
            let thinking = Object::new().with("type", "adaptive").with_some("display", display);
            Ok(Written { thinking: Some(thinking), effort, on: true })
        }
        Reasoning::Effort => Ok(Written { thinking: None, effort, on: false }),
        Reasoning::Budget | Reasoning::Switch => {
            let Some(budget) = budget(&thinking, fit, max_tokens).filter(|_| !barred) else {
                losses.lose(Field::Thinking)?;
                return Ok(Written::default());
            };
            let thinking = Object::new()
                .with("type", "enabled")
                .with("budget_tokens", budget)
                .with_some("display", display);
            Ok(Written { thinking: Some(thinking), effort: None, on: true })
        }
        Reasoning::None => {
            losses.lose(Field::Thinking)?;
            Ok(Written::default())
        }
    }
}

fn name(effort: Effort, fit: &Fit) -> &'static str {
    match effort {
        Effort::None | Effort::Minimal | Effort::Low => "low",
        // Known from 4.7 on, and from then on sampling is refused.
        Effort::XHigh if fit.keeps(Field::Temperature) => "high",
        other => other.as_str(),
    }
}

/// Always less than `max_tokens`; `None` if there is no room for it.
fn budget(thinking: &Thinking, fit: &Fit, max_tokens: &mut u64) -> Option<u64> {
    let wanted = thinking.budget.or(thinking.effort.map(Effort::budget));
    let wanted = wanted.unwrap_or(Effort::Medium.budget()).max(LEAST);
    let mut room = *max_tokens;
    if room <= wanted {
        room = room.saturating_add(wanted).min(fit.max_output_tokens.unwrap_or(u64::MAX));
        room = room.max(*max_tokens);
    }
    let budget = wanted.min(room.saturating_sub(1));
    if budget < LEAST {
        return None;
    }
    *max_tokens = room;
    Some(budget)
}
