//! Token counts: Anthropic's `input_tokens` leave the cache out, the hub's include it.

use tollway_core::Usage;

use crate::json::{Json, Object};

/// What has been counted so far: in a stream the counts are cumulative, and one that is absent
/// keeps its value.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    input: Option<u64>,
    cache_write: Option<u64>,
    cache_write_5m: Option<u64>,
    cache_write_1h: Option<u64>,
    cache_read: Option<u64>,
    output: Option<u64>,
    thinking: Option<u64>,
}

impl Counts {
    /// All zeros say nothing.
    pub(super) fn merge(&mut self, usage: &Object<'_>) {
        let mut later = *self;
        later.set_all(usage);
        let mut alone = Self::default();
        alone.set_all(usage);
        if alone.usage().is_some() {
            *self = later;
        }
    }

    fn set_all(&mut self, usage: &Object<'_>) {
        fn set(count: &mut Option<u64>, from: &Object<'_>, key: &str) {
            *count = from.get(key).and_then(Json::as_u64).or(*count);
        }
        set(&mut self.input, usage, "input_tokens");
        set(&mut self.cache_write, usage, "cache_creation_input_tokens");
        set(&mut self.cache_read, usage, "cache_read_input_tokens");
        set(&mut self.output, usage, "output_tokens");
        if let Some(parts) = usage.get("cache_creation").and_then(Json::as_object) {
            set(&mut self.cache_write_5m, parts, "ephemeral_5m_input_tokens");
            set(&mut self.cache_write_1h, parts, "ephemeral_1h_input_tokens");
        }
        if let Some(parts) = usage.get("output_tokens_details").and_then(Json::as_object) {
            set(&mut self.thinking, parts, "thinking_tokens");
        }
    }

    /// `None`: nothing was counted, which is not zero.
    pub(super) fn usage(&self) -> Option<Usage> {
        let hour = self.cache_write_1h.unwrap_or(0);
        let parts = self.cache_write_5m.unwrap_or(0).saturating_add(hour);
        let written = self.cache_write.unwrap_or(parts);
        let cached = self.cache_read.unwrap_or(0);
        let input = self.input.unwrap_or(0).saturating_add(written).saturating_add(cached);
        let mut usage = Usage::new(input, self.output.unwrap_or(0));
        if usage.total() == 0 {
            return None;
        }
        usage.cached = cached;
        usage.cache_write_1h = hour.min(written);
        usage.cache_write = written - usage.cache_write_1h;
        usage.reasoning = self.thinking.unwrap_or(0).min(usage.output);
        Some(usage)
    }
}

/// The other way round. The form demands counts, so unknown ones are zero.
pub(super) fn write(usage: Option<Usage>) -> Object<'static> {
    let Some(usage) = usage else {
        return Object::new().with("input_tokens", 0u64).with("output_tokens", 0u64);
    };
    let written = usage.cache_write.saturating_add(usage.cache_write_1h);
    let fresh = usage.input.saturating_sub(usage.cached).saturating_sub(written);
    let parts = Object::new()
        .with("ephemeral_5m_input_tokens", usage.cache_write)
        .with("ephemeral_1h_input_tokens", usage.cache_write_1h);
    let thinking =
        (usage.reasoning > 0).then(|| Object::new().with("thinking_tokens", usage.reasoning));
    Object::new()
        .with("input_tokens", fresh)
        .with("cache_creation_input_tokens", written)
        .with("cache_read_input_tokens", usage.cached)
        .with("cache_creation", parts)
        .with("output_tokens", usage.output)
        .with_some("output_tokens_details", thinking)
}
