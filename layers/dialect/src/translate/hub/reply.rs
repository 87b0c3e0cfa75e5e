use std::borrow::Cow;

use tollway_core::Usage;

use super::Part;
use crate::json::Json;

/// A whole answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Reply<'a> {
    /// The provider's own id; `None`: the writer makes one.
    pub(crate) id: Option<Cow<'a, str>>,
    pub(crate) model: Option<Cow<'a, str>>,
    /// Seconds since 1970.
    pub(crate) created: Option<u64>,
    pub(crate) choices: Vec<Choice<'a>>,
    /// `None` is unknown, not zero.
    pub(crate) usage: Option<Usage>,
    pub(crate) service_tier: Option<Cow<'a, str>>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Choice<'a> {
    pub(crate) index: u32,
    pub(crate) parts: Vec<Part<'a>>,
    /// `None`: the provider did not say.
    pub(crate) finish: Option<Finish>,
    /// The stop sequence that was met, where the provider says.
    pub(crate) stop_sequence: Option<Cow<'a, str>>,
    /// In OpenAI's shape (`{content: [...]}`).
    pub(crate) logprobs: Option<Json<'a>>,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finish {
    /// It was over, or met a stop sequence.
    Stop,
    /// `max_tokens`, or the model's window.
    Length,
    /// Tools are to be called.
    ToolCalls,
    /// The provider's filter took (part of) it away, or the model refused (Anthropic's `refusal`).
    Filtered,
    /// Anthropic's `pause_turn`: to be continued by sending it back.
    Paused,
    /// The provider could not go on: Gemini's malformed calls, DeepSeek's want of resources.
    Failed,
}
