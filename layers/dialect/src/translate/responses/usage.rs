//! Token counts, as this form writes them.

use tollway_core::Usage;

use crate::{
    json::{Json, Object},
    openai::usage,
};

/// `None` if nothing is counted.
pub(super) fn read(json: &Json<'_>) -> Option<Usage> {
    json.as_object()?;
    usage::read(&json.to_vec()).ok().flatten()
}

pub(super) fn write(usage: &Usage) -> Object<'static> {
    let written = usage.cache_write.saturating_add(usage.cache_write_1h);
    Object::new()
        .with("input_tokens", usage.input)
        .with(
            "input_tokens_details",
            Object::new().with("cached_tokens", usage.cached).with("cache_write_tokens", written),
        )
        .with("output_tokens", usage.output)
        .with("output_tokens_details", Object::new().with("reasoning_tokens", usage.reasoning))
        .with("total_tokens", usage.total())
}
