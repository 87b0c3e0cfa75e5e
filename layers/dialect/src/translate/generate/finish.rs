//! Why an answer ended.

use crate::translate::hub::Finish;

/// `None`: it says nothing, or nothing that is known.
pub(super) fn read(reason: &str, called: bool) -> Option<Finish> {
    Some(match reason {
        "STOP" if called => Finish::ToolCalls,
        "STOP" | "CONTINUATION" => Finish::Stop,
        "MAX_TOKENS" => Finish::Length,
        "MALFORMED_FUNCTION_CALL"
        | "UNEXPECTED_TOOL_CALL"
        | "TOO_MANY_TOOL_CALLS"
        | "MISSING_THOUGHT_SIGNATURE"
        | "MALFORMED_RESPONSE" => Finish::Failed,
        "SAFETY" | "RECITATION" | "LANGUAGE" | "OTHER" | "BLOCKLIST" | "PROHIBITED_CONTENT"
        | "SPII" | "NO_IMAGE" => Finish::Filtered,
        image if image.starts_with("IMAGE_") => Finish::Filtered,
        _ => return None,
    })
}

pub(super) fn name(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop | Finish::ToolCalls | Finish::Paused => "STOP",
        Finish::Length => "MAX_TOKENS",
        Finish::Filtered => "SAFETY",
        Finish::Failed => "OTHER",
    }
}
