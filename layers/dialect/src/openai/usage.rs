//! Token counts as providers in OpenAI's form write them.

use std::{ops::Range, sync::LazyLock};

use memchr::memmem::Finder;
use serde::{Deserialize, de::Deserializer};
use tollway_core::Usage;

use crate::values::Tokens;

/// Reads a `usage` object in every shape seen; `None` if it counts nothing, which is unknown usage and not zero.
///
/// # Errors
///
/// Not JSON, or not an object.
///
/// ```
/// // xAI leaves reasoning out of completion_tokens, but not out of the total.
/// let usage = tollway_dialect::openai::usage::read(
///     br#"{"prompt_tokens":32,"completion_tokens":9,"total_tokens":240,
///         "completion_tokens_details":{"reasoning_tokens":199}}"#,
/// );
/// let usage = usage.unwrap().unwrap();
/// assert_eq!((usage.input, usage.output, usage.reasoning), (32, 208, 199));
/// ```
pub fn read(json: &[u8]) -> Result<Option<Usage>, serde_json::Error> {
    serde_json::from_slice::<Counted>(json).map(|counted| counted.0)
}

/// Where a `usage` that is null stands at the top level of this object, with the comma that goes
/// with it.
///
/// A provider asked for usage writes that null into every chunk but the last.
///
/// `json` has to be valid JSON, or the answer means nothing.
///
/// ```
/// let chunk = r#"{"id":"1","choices":[{"usage":null}],"usage":null,"x":"\"usage\":null"}"#;
/// let null = tollway_dialect::openai::usage::null_member(chunk.as_bytes()).unwrap();
/// assert_eq!(&chunk[null.end..], r#","x":"\"usage\":null"}"#);
/// assert_eq!(&chunk[..null.start], r#"{"id":"1","choices":[{"usage":null}]"#);
/// ```
pub fn null_member(json: &[u8]) -> Option<Range<usize>> {
    let first = FIND_USAGE.find(json)?;
    // One walk from there to the end, where the depth is known to be zero. A member of the top
    // level is deeper than that by one, and no member is less deep.
    let mut depth = 0isize;
    let mut found = null_at(json, first).map(|member| (depth, member));
    let mut rest = json.get(first + USAGE.len()..)?;
    while let Some((byte, after)) = rest.split_first() {
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            b'"' => {
                let less_deep = found.as_ref().is_none_or(|(earlier, _)| depth < *earlier);
                if less_deep && rest.starts_with(USAGE) {
                    let member = null_at(json, json.len() - rest.len());
                    found = member.map(|member| (depth, member)).or(found);
                }
                rest = after_string(after);
                continue;
            }
            _ => {}
        }
        rest = after;
    }
    found.filter(|(at, _)| at - depth == 1).map(|(_, member)| member)
}

const USAGE: &[u8] = b"\"usage\"";
/// Made once: nearly every event of a stream is looked through.
static FIND_USAGE: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(USAGE));

/// The member whose key stands at `at`, if its value is null.
fn null_at(json: &[u8], at: usize) -> Option<Range<usize>> {
    let (before, after) = (json.get(..at)?.trim_ascii_end(), json.get(at + USAGE.len()..)?);
    let after = after.trim_ascii_start().strip_prefix(b":")?;
    let after = after.trim_ascii_start().strip_prefix(b"null")?;
    let end = json.len() - after.len();
    match before.last()? {
        b',' => Some(before.len() - 1..end),
        // The first member goes with the comma behind it.
        b'{' => Some(match after.trim_ascii_start().strip_prefix(b",") {
            Some(next) => at..json.len() - next.trim_ascii_start().len(),
            None => at..end,
        }),
        // An escaped quote inside of another key.
        _ => None,
    }
}

/// What follows the string that `rest` is inside of.
fn after_string(mut rest: &[u8]) -> &[u8] {
    while let Some(at) = memchr::memchr2(b'"', b'\\', rest) {
        let escape = rest.get(at) == Some(&b'\\');
        rest = rest.get(at + 1 + usize::from(escape)..).unwrap_or_default();
        if !escape {
            return rest;
        }
    }
    &[]
}

/// A `usage` object that is there; `None` if it counts nothing, which is unknown usage and not
/// zero. Small, because it is moved about with every event.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counted(pub(crate) Option<Usage>);

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        RawUsage::deserialize(deserializer).map(|raw| Self(raw.usage()))
    }
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct RawUsage {
    prompt_tokens: Tokens,
    completion_tokens: Tokens,
    input_tokens: Tokens,
    output_tokens: Tokens,
    total_tokens: Tokens,
    prompt_tokens_details: Option<Details>,
    completion_tokens_details: Option<Details>,
    input_tokens_details: Option<Details>,
    output_tokens_details: Option<Details>,
    // The audio API's spelling.
    input_token_details: Option<Details>,
    // Moonshot and DeepSeek.
    cached_tokens: Tokens,
    prompt_cache_hit_tokens: Tokens,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct Details {
    cached_tokens: Tokens,
    cache_write_tokens: Tokens,
    audio_tokens: Tokens,
    reasoning_tokens: Tokens,
}

impl RawUsage {
    /// The counts in Tollway's form: totals include their parts.
    fn usage(&self) -> Option<Usage> {
        let input = self.prompt_tokens.or(self.input_tokens);
        let output = self.completion_tokens.or(self.output_tokens);
        let details =
            self.prompt_tokens_details.or(self.input_tokens_details).or(self.input_token_details);
        let details = details.unwrap_or_default();
        let parts =
            self.completion_tokens_details.or(self.output_tokens_details).unwrap_or_default();
        let mut usage = Usage::new(input.value(), output.value());
        let mut reasoning = parts.reasoning_tokens.value();
        let beyond = self.total_tokens.value().saturating_sub(usage.total());
        if beyond > 0 && (reasoning == beyond || reasoning == 0) {
            // xAI counts reasoning outside of the output; Gemini's OpenAI form only in the total.
            usage.output = usage.output.saturating_add(beyond);
            reasoning = beyond;
        }
        if usage.total() == 0 {
            return None;
        }
        let cached = details.cached_tokens.or(self.cached_tokens).or(self.prompt_cache_hit_tokens);
        usage.cached = cached.value().min(usage.input);
        usage.cache_write = details.cache_write_tokens.value().min(usage.input - usage.cached);
        usage.input_audio = details.audio_tokens.value().min(usage.input);
        usage.reasoning = reasoning.min(usage.output);
        usage.output_audio = parts.audio_tokens.value().min(usage.output);
        Some(usage)
    }
}
