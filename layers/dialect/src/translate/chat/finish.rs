use crate::translate::hub::Finish;

/// Names of `finish_reason`; of several for one meaning, the first is written.
const NAMES: [(&str, Finish); 8] = [
    ("stop", Finish::Stop),
    ("length", Finish::Length),
    ("tool_calls", Finish::ToolCalls),
    ("content_filter", Finish::Filtered),
    ("stop", Finish::Paused),
    // Nothing in OpenAI's list says it, but this much: the answer is not whole.
    ("length", Finish::Failed),
    ("function_call", Finish::ToolCalls),
    ("insufficient_system_resource", Finish::Failed),
];

/// What a `finish_reason` means in an answer that has `called` a tool: Gemini's chat form, and
/// OpenAI's where the tool was forced, say `stop` even so.
pub(super) fn read(name: &str, called: bool) -> Finish {
    let known = NAMES.iter().find(|(known, _)| *known == name);
    match known.map_or(Finish::Stop, |(_, finish)| *finish) {
        Finish::Stop if called => Finish::ToolCalls,
        finish => finish,
    }
}

pub(super) fn name(finish: Finish) -> &'static str {
    NAMES.iter().find(|(_, known)| *known == finish).map_or("stop", |(name, _)| name)
}
