//! Why an answer ended, in Anthropic's words.

use crate::translate::hub::Finish;

/// `None`: too new a reason to be known.
pub(super) fn read(reason: &str) -> Option<Finish> {
    Some(match reason {
        "max_tokens" | "model_context_window_exceeded" => Finish::Length,
        "tool_use" => Finish::ToolCalls,
        "refusal" => Finish::Filtered,
        "pause_turn" => Finish::Paused,
        "end_turn" | "stop_sequence" => Finish::Stop,
        _ => return None,
    })
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
    /// `None`, where nobody said why: the answer may be cut off, calls and all.
    pub(super) fn reason(self) -> Option<&'static str> {
        Some(match self.finish? {
            // Some providers say `stop` where a call is to be made, and clients go by this alone.
            Finish::Stop if self.called => "tool_use",
            Finish::Stop if self.refused => "refusal",
            Finish::Stop if self.met_sequence => "stop_sequence",
            Finish::Stop => "end_turn",
            Finish::ToolCalls => "tool_use",
            Finish::Filtered => "refusal",
            Finish::Paused => "pause_turn",
            // There is no word for a provider that gave up; this one says that something is missing.
            Finish::Length | Finish::Failed => "max_tokens",
        })
    }
}
