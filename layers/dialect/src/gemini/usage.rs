//! Token counts as Gemini writes them.

use std::fmt;

use serde::{
    Deserialize,
    de::{Deserializer, SeqAccess, Visitor},
};
use tollway_core::Usage;

use crate::values::{self, Tokens, from_any};

/// Reads a `usageMetadata` object; `None` if it counts nothing, which is unknown usage and not
/// zero.
///
/// Thinking stands beside the candidates' tokens there, and what tools put into the prompt beside
/// the prompt's; here they are part of output and input.
///
/// # Errors
///
/// Not JSON, or not an object.
///
/// ```
/// let usage = tollway_dialect::gemini::usage::read(
///     br#"{"promptTokenCount":70,"candidatesTokenCount":24,"thoughtsTokenCount":110}"#,
/// );
/// let usage = usage.unwrap().unwrap();
/// assert_eq!((usage.input, usage.output, usage.reasoning), (70, 134, 110));
/// ```
pub fn read(json: &[u8]) -> Result<Option<Usage>, serde_json::Error> {
    values::read::<Counts>(json).map(|counts| counts.usage())
}

/// The counts of one object; those of a stream's later chunks replace those of its earlier ones.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Counts {
    prompt_token_count: Tokens,
    cached_content_token_count: Tokens,
    tool_use_prompt_token_count: Tokens,
    candidates_token_count: Tokens,
    thoughts_token_count: Tokens,
    total_token_count: Tokens,
    prompt_tokens_details: Option<Audio>,
    tool_use_prompt_tokens_details: Option<Audio>,
    candidates_tokens_details: Option<Audio>,
}

impl Counts {
    /// What is given later holds; what is not given stays. All zeros say nothing.
    pub(crate) fn update(&mut self, later: Self) {
        if later.usage().is_none() {
            return;
        }
        *self = Self {
            prompt_token_count: later.prompt_token_count.or(self.prompt_token_count),
            cached_content_token_count: later
                .cached_content_token_count
                .or(self.cached_content_token_count),
            tool_use_prompt_token_count: later
                .tool_use_prompt_token_count
                .or(self.tool_use_prompt_token_count),
            candidates_token_count: later.candidates_token_count.or(self.candidates_token_count),
            thoughts_token_count: later.thoughts_token_count.or(self.thoughts_token_count),
            total_token_count: later.total_token_count.or(self.total_token_count),
            prompt_tokens_details: later.prompt_tokens_details.or(self.prompt_tokens_details),
            tool_use_prompt_tokens_details: later
                .tool_use_prompt_tokens_details
                .or(self.tool_use_prompt_tokens_details),
            candidates_tokens_details: later
                .candidates_tokens_details
                .or(self.candidates_tokens_details),
        };
    }

    /// The counts in Tollway's form: totals include their parts.
    pub(crate) fn usage(&self) -> Option<Usage> {
        let tools = self.tool_use_prompt_token_count.value();
        let input = self.prompt_token_count.value().saturating_add(tools);
        let thoughts = self.thoughts_token_count.value();
        let mut usage =
            Usage::new(input, self.candidates_token_count.value().saturating_add(thoughts));
        if usage.output == 0 {
            // Where the parts are not told, the total is.
            usage.output = self.total_token_count.value().saturating_sub(input);
        }
        if usage.total() == 0 {
            return None;
        }
        let audio = |details: Option<Audio>| details.unwrap_or_default().0;
        let heard = audio(self.prompt_tokens_details)
            .saturating_add(audio(self.tool_use_prompt_tokens_details));
        usage.cached = self.cached_content_token_count.value().min(usage.input);
        usage.input_audio = heard.min(usage.input);
        usage.reasoning = thoughts;
        usage.output_audio = audio(self.candidates_tokens_details).min(usage.output);
        Some(usage)
    }
}

/// The audio in a list of counts by modality.
#[derive(Clone, Copy, Debug, Default)]
struct Audio(u64);

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Modality {
    modality: IsAudio,
    token_count: Tokens,
}

#[derive(Clone, Copy, Default)]
struct IsAudio(bool);

from_any!(IsAudio, str: |name: &str| IsAudio(name == "AUDIO"), truthy: IsAudio(false));

impl<'de> Deserialize<'de> for Audio {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fold;
        impl<'de> Visitor<'de> for Fold {
            type Value = Audio;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of counts by modality")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Audio, A::Error> {
                let mut audio = 0u64;
                while let Some(Modality { modality, token_count }) = seq.next_element()? {
                    if modality.0 {
                        audio = audio.saturating_add(token_count.value());
                    }
                }
                Ok(Audio(audio))
            }
        }
        deserializer.deserialize_seq(Fold)
    }
}
