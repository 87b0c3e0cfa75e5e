//! Why an answer ended, in Anthropic's words.

use crate::translate::hub::Finish;

/// A reason that is too new to be known is an ordinary end.
pub(super) fn read(reason: &str) -> Finish {
    match reason {
        "max_tokens" | "model_context_window_exceeded" => Finish::Length,
        "tool_use" => Finish::ToolCalls,
        "refusal" => Finish::Filtered,
        "pause_turn" => Finish::Paused,
        // `end_turn`, `stop_sequence`, and whatever comes next.
        _ => Finish::Stop,
    }
}

/// What is known of an answer when its end is to be told.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct End {
    /// `None`: the provider did not say.
    pub(super) finish: Option<Finish>,
    pub(super) met_sequence: bool,
    pub(super) called: bool,
    pub(super) refused: bool,
}

impl End {
    pub(super) fn reason(self) -> &'static str {
        match self.finish {
            // Some providers say `stop` where a call is to be made, and clients go by this alone.
            Some(Finish::Stop) | None if self.called => "tool_use",
            Some(Finish::Stop) | None if self.refused => "refusal",
            Some(Finish::Stop) if self.met_sequence => "stop_sequence",
            Some(Finish::Stop) | None => "end_turn",
            Some(Finish::ToolCalls) => "tool_use",
            Some(Finish::Filtered) => "refusal",
            Some(Finish::Paused) => "pause_turn",
            // There is no word for a provider that gave up; this one says that something is missing.
            Some(Finish::Length | Finish::Failed) => "max_tokens",
        }
    }
}
