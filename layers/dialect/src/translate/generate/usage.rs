//! `usageMetadata`: thinking stands beside the candidates' tokens, and what hosted tools put into
//! the prompt beside the prompt's.

use tollway_core::Usage;

use crate::json::{Json, Object};

/// The counts of a stream so far; those that a later chunk gives replace earlier ones.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    prompt: Option<u64>,
    cached: Option<u64>,
    tools: Option<u64>,
    candidates: Option<u64>,
    thoughts: Option<u64>,
    total: Option<u64>,
    audio_in: Option<u64>,
    audio_out: Option<u64>,
}

impl Counts {
    pub(super) fn update(&mut self, metadata: &Json<'_>) {
        let Some(object) = metadata.as_object() else { return };
        let count = |name| object.get(name).and_then(unquoted);
        let heard = |name| object.get(name).and_then(audio);
        let later = |slot: &mut Option<u64>, value: Option<u64>| *slot = value.or(*slot);
        later(&mut self.prompt, count("promptTokenCount"));
        later(&mut self.cached, count("cachedContentTokenCount"));
        later(&mut self.tools, count("toolUsePromptTokenCount"));
        later(&mut self.candidates, count("candidatesTokenCount"));
        later(&mut self.thoughts, count("thoughtsTokenCount"));
        later(&mut self.total, count("totalTokenCount"));
        later(&mut self.audio_in, heard("promptTokensDetails"));
        later(&mut self.audio_out, heard("candidatesTokensDetails"));
    }

    /// All zeros are unknown usage.
    pub(super) fn usage(&self) -> Option<Usage> {
        let value = Option::unwrap_or_default;
        let input = u64::saturating_add(value(self.prompt), value(self.tools));
        let reasoning = value(self.thoughts);
        let mut usage = Usage::new(input, u64::saturating_add(value(self.candidates), reasoning));
        if usage.output == 0 {
            // Where the parts are not told, the total is.
            usage.output = value(self.total).saturating_sub(input);
        }
        usage.cached = value(self.cached).min(usage.input);
        usage.reasoning = reasoning;
        usage.input_audio = value(self.audio_in).min(usage.input);
        usage.output_audio = value(self.audio_out).min(usage.output);
        (usage.total() > 0).then_some(usage)
    }
}

fn unquoted(value: &Json<'_>) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

fn audio(details: &Json<'_>) -> Option<u64> {
    let details = details.as_array()?.iter().filter_map(Json::as_object);
    let heard = details.filter(|detail| detail.str("modality") == Some("AUDIO"));
    let counts = heard.filter_map(|detail| detail.get("tokenCount").and_then(unquoted));
    Some(counts.fold(0, u64::saturating_add))
}

pub(super) fn write(usage: &Usage) -> Object<'static> {
    let some = |count: u64| (count > 0).then_some(count);
    let details = |audio: u64, all: u64| {
        let of = |modality, count: u64| {
            Object::new().with("modality", modality).with("tokenCount", count)
        };
        some(audio).map(|audio| vec![of("TEXT", all.saturating_sub(audio)), of("AUDIO", audio)])
    };
    let visible = usage.output.saturating_sub(usage.reasoning);
    Object::new()
        .with("promptTokenCount", usage.input)
        .with_some("cachedContentTokenCount", some(usage.cached))
        .with("candidatesTokenCount", visible)
        .with_some("thoughtsTokenCount", some(usage.reasoning))
        .with("totalTokenCount", usage.total())
        .with_some("promptTokensDetails", details(usage.input_audio, usage.input))
        .with_some("candidatesTokensDetails", details(usage.output_audio, visible))
}
