//! Why an answer ended.

use crate::translate::hub::Finish;

/// A name that is none of Google's counts as `OTHER`: the answer is not all that was asked for.
pub(super) fn read(reason: &str, called: bool) -> Finish {
    match reason {
        "STOP" if called => Finish::ToolCalls,
        "STOP" | "FINISH_REASON_UNSPECIFIED" | "CONTINUATION" | "" => Finish::Stop,
        "MAX_TOKENS" => Finish::Length,
        "MALFORMED_FUNCTION_CALL"
        | "UNEXPECTED_TOOL_CALL"
        | "TOO_MANY_TOOL_CALLS"
        | "MISSING_THOUGHT_SIGNATURE"
        | "MALFORMED_RESPONSE" => Finish::Failed,
        _ => Finish::Filtered,
    }
}

pub(super) fn name(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop | Finish::ToolCalls | Finish::Paused => "STOP",
        Finish::Length => "MAX_TOKENS",
        Finish::Filtered => "SAFETY",
        Finish::Failed => "OTHER",
    }
}
