//! Token counts: Anthropic's `input_tokens` leave the cache out, the hub's include it.

use tollway_core::Usage;

use crate::{
    anthropic::usage::Counts,
    json::{Json, Object},
    values,
};

/// Takes a stream's later counts in.
pub(super) fn merge(counts: &mut Counts, later: &Json<'_>) {
    if let Ok(later) = values::read(&later.to_vec()) {
        counts.update(later);
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
