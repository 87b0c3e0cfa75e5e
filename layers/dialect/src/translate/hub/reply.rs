use std::borrow::Cow;

use tollway_core::Usage;

use super::{Body, Event, Part};
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

impl<'a> Reply<'a> {
    /// Tells it event by event, each piece whole.
    pub(crate) fn tell(self, emit: &mut dyn FnMut(Event<'a>)) {
        emit(Event::Start { id: self.id, model: self.model, created: self.created });
        for choice in self.choices {
            choice.tell(emit);
        }
        if let Some(usage) = self.usage {
            emit(Event::Usage(usage));
        }
        emit(Event::End);
    }
}

impl<'a> Choice<'a> {
    fn tell(self, emit: &mut dyn FnMut(Event<'a>)) {
        let Self { index, parts, finish, stop_sequence, mut logprobs } = self;
        let mut calls = 0..;
        for part in parts {
            // They are of what was said.
            if matches!(part.body, Body::Text { .. } | Body::Refusal(_)) {
                if let Some(logprobs) = logprobs.take() {
                    emit(Event::Logprobs { choice: index, logprobs });
                }
            }
            let call = if matches!(part.body, Body::ToolCall { .. }) { calls.next() } else { None };
            part.body.tell(index, call.unwrap_or_default(), emit);
        }
        if let Some(finish) = finish {
            emit(Event::Finish { choice: index, finish, stop_sequence });
        }
    }
}

impl<'a> Body<'a> {
    fn tell(self, choice: u32, call: u32, emit: &mut dyn FnMut(Event<'a>)) {
        match self {
            Self::Text { text, citations } => {
                emit(Event::Text { choice, text });
                for citation in citations {
                    emit(Event::Citation { choice, citation });
                }
            }
            Self::Refusal(text) => emit(Event::Refusal { choice, text }),
            Self::Thinking { text, signature } => {
                emit(Event::Thinking { choice, text });
                if let Some(signature) = signature {
                    emit(Event::Signature { choice, signature });
                }
            }
            Self::Redacted(data) => emit(Event::Redacted { choice, data }),
            Self::ToolCall { id, name, arguments, signature } => {
                emit(Event::ToolStart { choice, call, id, name, signature });
                emit(Event::ToolArguments { choice, call, json: arguments.into_text() });
            }
            // No answer has one.
            Self::ToolResult { .. } => {}
            file => emit(Event::Text { choice, text: file.left_out().into() }),
        }
    }
}
