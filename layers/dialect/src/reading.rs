use tollway_core::Usage;

/// What one reply, or one event of a streamed reply, says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reading {
    /// Tokens, as far as the provider tells; `None` is unknown.
    pub usage: Option<Usage>,
    /// Bytes of content: text, reasoning, refusal, tool calls.
    pub content_bytes: u64,
    /// It carries content; also true for audio and images, whose bytes are not counted.
    pub has_content: bool,
    /// A choice has ended (`finish_reason`).
    pub finished: bool,
    /// The provider broke the answer off for want of resources (DeepSeek).
    pub interrupted: bool,
    /// An answer, or what was left of it, was withheld: by the provider's filter, or because the
    /// model refuses (Anthropic's `refusal`).
    pub filtered: bool,
    /// The stream is properly over: `[DONE]`, a terminal event (`message_stop`), or a prompt that
    /// was blocked. Gemini's other streams end with their answer.
    pub end: bool,
    /// It reports an error; [`classify_event`](crate::openai::error::classify_event) says which.
    pub error: bool,
    /// A chunk of usage and nothing else, as `include_usage` asks for.
    pub usage_only: bool,
    /// The usage is what a stream begins with: its output has hardly been counted
    /// (Anthropic's `message_start`).
    pub usage_begins: bool,
    /// It has a `usage` that is null, as every other chunk of such a stream.
    pub usage_null: bool,
    /// The choices it speaks of: a bit each, by index (0 to 127).
    pub choices: u128,
    /// The choices that have ended (`finish_reason`): a bit each, by index.
    pub finished_choices: u128,
    /// Where an event of a Responses stream stands in it.
    pub sequence_number: Option<u64>,
}
