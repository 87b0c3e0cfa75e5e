use crate::translate::hub::Finish;

/// Names of `finish_reason`; of several for one meaning, the first is written.
const NAMES: [(&str, Finish); 11] = [
    ("stop", Finish::Stop),
    ("length", Finish::Length),
    ("tool_calls", Finish::ToolCalls),
    ("content_filter", Finish::Filtered),
    ("stop", Finish::Paused),
    // Nothing in OpenAI's list says it, but this much: the answer is not whole.
    ("length", Finish::Failed),
    ("function_call", Finish::ToolCalls),
    ("insufficient_system_resource", Finish::Failed),
    // What servers of open models say.
    ("eos", Finish::Stop),
    ("eos_token", Finish::Stop),
    ("stop_sequence", Finish::Stop),
];

/// What a `finish_reason` means in an answer that has `called` a tool: Gemini's chat form, and
/// OpenAI's where the tool was forced, say `stop` even so. `None`: no name that is known.
pub(super) fn read(name: &str, called: bool) -> Option<Finish> {
    match NAMES.iter().find(|(known, _)| *known == name)?.1 {
        Finish::Stop if called => Some(Finish::ToolCalls),
        finish => Some(finish),
    }
}

pub(super) fn name(finish: Finish) -> &'static str {
    NAMES.iter().find(|(_, known)| *known == finish).map_or("stop", |(name, _)| name)
}
