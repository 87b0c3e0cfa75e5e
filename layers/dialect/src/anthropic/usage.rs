//! Token counts as Anthropic writes them.

use serde::Deserialize;
use tollway_core::Usage;

use crate::values::{self, Tokens};

/// Reads a `usage` object; `None` if it counts nothing, which is unknown usage and not zero.
///
/// Anthropic's `input_tokens` leaves the cache out; here it is part of the input.
///
/// # Errors
///
/// Not JSON, or not an object.
///
/// ```
/// let usage = tollway_dialect::anthropic::usage::read(
///     br#"{"input_tokens":50,"cache_creation_input_tokens":2000,"cache_read_input_tokens":8000,
///         "cache_creation":{"ephemeral_5m_input_tokens":1500,"ephemeral_1h_input_tokens":500},
///         "output_tokens":5}"#,
/// );
/// let usage = usage.unwrap().unwrap();
/// assert_eq!((usage.input, usage.cached, usage.output), (10_050, 8000, 5));
/// assert_eq!((usage.cache_write, usage.cache_write_1h), (1500, 500));
/// ```
pub fn read(json: &[u8]) -> Result<Option<Usage>, serde_json::Error> {
    values::read::<Counts>(json).map(|counts| counts.usage())
}

/// The counts of one object; those of a stream's later events replace those of its earlier ones.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Counts {
    input_tokens: Tokens,
    cache_creation_input_tokens: Tokens,
    cache_read_input_tokens: Tokens,
    cache_creation: Option<Writes>,
    output_tokens: Tokens,
    output_tokens_details: Option<Parts>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct Writes {
    ephemeral_5m_input_tokens: Tokens,
    ephemeral_1h_input_tokens: Tokens,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct Parts {
    thinking_tokens: Tokens,
}

impl Counts {
    /// What is given later holds; what is not given stays. All zeros say nothing.
    pub(crate) fn update(&mut self, later: Self) {
        if later.usage().is_none() {
            return;
        }
        *self = Self {
            input_tokens: later.input_tokens.or(self.input_tokens),
            cache_creation_input_tokens: later
                .cache_creation_input_tokens
                .or(self.cache_creation_input_tokens),
            cache_read_input_tokens: later.cache_read_input_tokens.or(self.cache_read_input_tokens),
            cache_creation: later.cache_creation.or(self.cache_creation),
            output_tokens: later.output_tokens.or(self.output_tokens),
            output_tokens_details: later.output_tokens_details.or(self.output_tokens_details),
        };
    }

    /// The counts in Tollway's form: totals include their parts.
    pub(crate) fn usage(&self) -> Option<Usage> {
        let writes = self.cache_creation.unwrap_or_default();
        let of_5m = writes.ephemeral_5m_input_tokens.value();
        let of_1h = writes.ephemeral_1h_input_tokens.value();
        // The split may be older than the total, or all there is.
        let total = self.cache_creation_input_tokens.number();
        let written = total.unwrap_or_else(|| of_5m.saturating_add(of_1h));
        let cached = self.cache_read_input_tokens.value();
        let input = self.input_tokens.value().saturating_add(written).saturating_add(cached);
        let mut usage = Usage::new(input, self.output_tokens.value());
        if usage.total() == 0 {
            return None;
        }
        usage.cached = cached;
        usage.cache_write_1h = of_1h.min(written);
        usage.cache_write = written - usage.cache_write_1h;
        let parts = self.output_tokens_details.unwrap_or_default();
        usage.reasoning = parts.thinking_tokens.value().min(usage.output);
        Some(usage)
    }
}
