use tollway_core::Usage;

use crate::json::{Json, Object};

/// A `usage` object of any provider; `None` if it counts nothing.
pub(super) fn read(usage: &Json<'_>) -> Option<Usage> {
    crate::openai::usage::read(&usage.to_vec()).ok().flatten()
}

pub(super) fn write(usage: &Usage) -> Object<'static> {
    let written = usage.cache_write.saturating_add(usage.cache_write_1h);
    let input = Object::new()
        .with("cached_tokens", usage.cached)
        .with("cache_write_tokens", written)
        .with_some("audio_tokens", (usage.input_audio > 0).then_some(usage.input_audio));
    let output = (usage.reasoning > 0 || usage.output_audio > 0).then(|| {
        Object::new()
            .with("reasoning_tokens", usage.reasoning)
            .with_some("audio_tokens", (usage.output_audio > 0).then_some(usage.output_audio))
    });
    Object::new()
        .with("prompt_tokens", usage.input)
        .with("completion_tokens", usage.output)
        .with("total_tokens", usage.total())
        .with("prompt_tokens_details", input)
        .with_some("completion_tokens_details", output)
}
