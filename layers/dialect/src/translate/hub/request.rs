use std::borrow::Cow;

use serde_json::Number;

use super::Part;
use crate::{
    json::{Json, Object},
    translate::Loss,
};

/// A request for the next turn of a conversation.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Request<'a> {
    /// The target's model by the time it is written.
    pub(crate) model: Cow<'a, str>,
    /// Instructions stand where they stood; forms with one place for them use
    /// [`take_system`](Self::take_system).
    pub(crate) turns: Vec<Turn<'a>>,
    pub(crate) tools: Vec<Tool<'a>>,
    pub(crate) tool_choice: Option<ToolChoice<'a>>,
    /// `false`: one call at a time.
    pub(crate) parallel_tools: Option<bool>,
    /// Bound of the output, reasoning included.
    pub(crate) max_tokens: Option<u64>,
    /// The bound came by its older name, `max_tokens` of the chat form.
    pub(crate) older_max_tokens: bool,
    pub(crate) temperature: Option<Number>,
    pub(crate) top_p: Option<Number>,
    pub(crate) top_k: Option<Number>,
    pub(crate) frequency_penalty: Option<Number>,
    pub(crate) presence_penalty: Option<Number>,
    pub(crate) seed: Option<Number>,
    /// `n`: how many answers; `None` is one.
    pub(crate) choices: Option<u64>,
    pub(crate) stop: Vec<Cow<'a, str>>,
    /// Log probabilities, with so many alternatives to each token.
    pub(crate) logprobs: Option<u64>,
    pub(crate) format: Option<Format<'a>>,
    pub(crate) thinking: Option<Thinking>,
    /// OpenAI's `low`, `medium`, `high`.
    pub(crate) verbosity: Option<Cow<'a, str>>,
    /// The caller's name for its own user, for abuse reports.
    pub(crate) user: Option<Cow<'a, str>>,
    pub(crate) stream: bool,
    /// The client wants usage in the stream (`stream_options.include_usage`).
    pub(crate) wants_usage: bool,
    /// What only the form it came from (or its sibling) has a name for.
    pub(crate) extras: Vec<Extra<'a>>,
}

/// A field that the hub has no place for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Extra<'a> {
    /// As the client wrote it, with its path: `generationConfig.speechConfig`.
    pub(crate) name: Cow<'a, str>,
    pub(crate) value: Json<'a>,
    /// What it means if no one takes it.
    pub(crate) loss: Loss,
}

/// What one side said, in pieces.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Turn<'a> {
    pub(crate) role: Role,
    pub(crate) parts: Vec<Part<'a>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Instructions: OpenAI's `system` and `developer`.
    System,
    /// The user, and what tools said.
    User,
    Assistant,
}

/// A function that the model may call.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Tool<'a> {
    pub(crate) name: Cow<'a, str>,
    pub(crate) description: Option<Cow<'a, str>>,
    /// JSON Schema of the arguments; `None`: takes none.
    pub(crate) schema: Option<Json<'a>>,
    pub(crate) strict: Option<bool>,
    pub(crate) cache_control: Option<Json<'a>>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ToolChoice<'a> {
    Auto,
    None,
    /// Any, but one.
    Required,
    Named(Cow<'a, str>),
    /// Only these; `required`: one of them has to be called.
    Allowed {
        names: Vec<Cow<'a, str>>,
        required: bool,
    },
}

/// How the answer is to be written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Format<'a> {
    /// Some JSON.
    Json,
    /// JSON after a schema.
    Schema {
        name: Option<Cow<'a, str>>,
        description: Option<Cow<'a, str>>,
        schema: Json<'a>,
        strict: Option<bool>,
    },
}

/// How much the model is to think. All empty: as it likes (`{type: "adaptive"}`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Thinking {
    pub(crate) effort: Option<Effort>,
    /// In tokens.
    pub(crate) budget: Option<u64>,
    /// Whether the client wants to read it: summaries, `includeThoughts`.
    pub(crate) shown: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Effort {
    None,
    Minimal,
    Low,
    Medium,
    High,
    XHigh,
    Max,
}

impl Effort {
    const NAMES: [(Self, &'static str); 7] = [
        (Self::None, "none"),
        (Self::Minimal, "minimal"),
        (Self::Low, "low"),
        (Self::Medium, "medium"),
        (Self::High, "high"),
        (Self::XHigh, "xhigh"),
        (Self::Max, "max"),
    ];

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(_, known)| *known == name).map(|(effort, _)| *effort)
    }

    pub(crate) fn as_str(self) -> &'static str {
        Self::NAMES.iter().find(|(effort, _)| *effort == self).map_or("medium", |(_, name)| name)
    }

    /// Tokens of thought, where a provider wants a number: this project's own scale.
    pub(crate) fn budget(self) -> u64 {
        match self {
            Self::None => 0,
            Self::Minimal | Self::Low => 1024,
            Self::Medium => 2048,
            Self::High => 4096,
            Self::XHigh => 8192,
            Self::Max => 16384,
        }
    }

    /// The other way round.
    pub(crate) fn of_budget(tokens: u64) -> Self {
        match tokens {
            0 => Self::None,
            1..2048 => Self::Low,
            2048..8192 => Self::Medium,
            _ => Self::High,
        }
    }
}

impl Thinking {
    /// The effort, from the budget where that is all that is known.
    pub(crate) fn effort(&self) -> Option<Effort> {
        self.effort.or_else(|| self.budget.map(Effort::of_budget))
    }

    pub(crate) fn is_off(&self) -> bool {
        self.effort() == Some(Effort::None)
    }
}

impl<'a> Turn<'a> {
    pub(crate) fn new(role: Role, parts: Vec<Part<'a>>) -> Self {
        Self { role, parts }
    }
}

impl<'a> Request<'a> {
    /// All instructions, in order, wherever they stood; for forms with one place for them.
    pub(crate) fn take_system(&mut self) -> Vec<Part<'a>> {
        let mut system = Vec::new();
        self.turns.retain_mut(|turn| {
            let instructs = turn.role == Role::System;
            if instructs {
                system.append(&mut turn.parts);
            }
            !instructs
        });
        system
    }

    /// Neighbours of one role become one turn, for forms whose roles have to alternate.
    pub(crate) fn merge_turns(&mut self) {
        self.turns.dedup_by(|turn, last| {
            let goes_on = last.role == turn.role;
            if goes_on {
                last.parts.append(&mut turn.parts);
            }
            goes_on
        });
    }

    /// Takes the extra field of this name out: the writer has a use for it.
    pub(crate) fn take_extra(&mut self, name: &str) -> Option<Json<'a>> {
        let place = self.extras.iter().position(|extra| extra.name == name)?;
        Some(self.extras.swap_remove(place).value)
    }

    /// The end of every object of a request that is read: what nobody took out of it is told.
    pub(crate) fn left(&mut self, object: Object<'a>, path: &str) {
        for (name, value) in object.rest() {
            self.extra(format!("{path}.{name}"), value, Loss::Harmless);
        }
    }

    /// Keeps a field for which only this form has a name.
    pub(crate) fn extra(&mut self, name: impl Into<Cow<'a, str>>, value: Json<'a>, loss: Loss) {
        self.extras.push(Extra { name: name.into(), value, loss });
    }
}
