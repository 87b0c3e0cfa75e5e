//! Reading a reply, whole or chunk by chunk: usage, content, end and failure, nothing else.

use serde::Deserialize;

use super::usage::Counts;
use crate::{
    reading::Reading,
    values::{self, Present, TextLen, Tokens, from_any},
};

/// Reads a whole reply's body: of generation (a streamed one too, as the array of its chunks), of
/// embedding, or of counting, which uses no tokens.
///
/// # Errors
///
/// The body is not JSON, or not in any shape known here; `serde_json`'s error tells which.
pub fn read(body: &[u8]) -> Result<Reading, serde_json::Error> {
    EventReader::new().read(body)
}

/// Reads the chunks of one stream, whose counts are running totals.
///
/// ```
/// use tollway_dialect::gemini::reply::EventReader;
///
/// let mut reader = EventReader::new();
/// let chunk = br#"{"candidates":[{"content":{"parts":[{"text":"Hi"}]},"finishReason":"STOP"}],
///     "usageMetadata":{"promptTokenCount":4,"candidatesTokenCount":1}}"#;
/// let reading = reader.read(chunk).unwrap();
/// assert!(reading.content_bytes == 2 && reading.finished);
/// assert_eq!(reading.usage.unwrap().total(), 5);
/// ```
#[derive(Debug, Default)]
pub struct EventReader {
    counts: Counts,
}

impl EventReader {
    /// At the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads one chunk, or an array of them.
    ///
    /// # Errors
    ///
    /// As [`read`]; such a chunk is best passed on unread.
    pub fn read(&mut self, data: &[u8]) -> Result<Reading, serde_json::Error> {
        let mut reading = Reading::default();
        if data.trim_ascii_start().starts_with(b"[") {
            for chunk in values::read::<Vec<Raw>>(data)? {
                self.add(&chunk, &mut reading);
            }
        } else {
            self.add(&values::read(data)?, &mut reading);
        }
        Ok(reading)
    }

    fn add(&mut self, raw: &Raw, reading: &mut Reading) {
        if let Some(later) = raw.usage_metadata {
            self.counts.update(later);
            reading.usage = self.counts.usage();
        }
        for candidate in &raw.candidates {
            let bit = 1u128 << candidate.index.value().min(127);
            reading.choices |= bit;
            reading.filtered |= candidate.finish_reason == Reason::Withheld;
            if candidate.finish_reason != Reason::No {
                reading.finished_choices |= bit;
            }
            for part in candidate.content.iter().flat_map(|content| &content.parts) {
                let bytes = part.bytes();
                reading.content_bytes = reading.content_bytes.saturating_add(bytes);
                reading.has_content |= bytes > 0 || part.inline_data.0 || part.file_data.0;
            }
        }
        reading.finished = reading.finished_choices != 0;
        let blocked = raw.prompt_feedback.as_ref().is_some_and(|it| it.block_reason != Reason::No);
        reading.filtered |= blocked;
        // A refused prompt has no candidates, and no chunk comes after it.
        reading.end |= blocked && raw.candidates.is_empty();
        reading.error |= raw.error.0;
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Raw {
    candidates: Vec<Candidate>,
    usage_metadata: Option<Counts>,
    prompt_feedback: Option<Feedback>,
    error: Present,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Feedback {
    block_reason: Reason,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Candidate {
    index: Tokens,
    content: Option<Content>,
    finish_reason: Reason,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Content {
    parts: Vec<Part>,
}

/// Its text, or what a tool is called with; media are seen, not counted.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Part {
    text: TextLen,
    function_call: TextLen,
    executable_code: TextLen,
    code_execution_result: TextLen,
    inline_data: Present,
    file_data: Present,
}

impl Part {
    fn bytes(&self) -> u64 {
        self.text.0 + self.function_call.0 + self.executable_code.0 + self.code_execution_result.0
    }
}

/// Why something ended, or did not begin.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Reason {
    #[default]
    No,
    Seen,
    /// For what is in it.
    Withheld,
}

from_any!(Reason, str: |name: &str| match name {
    "SAFETY" | "RECITATION" | "BLOCKLIST" | "PROHIBITED_CONTENT" | "SPII" => Reason::Withheld,
    "" => Reason::No,
    name if name.ends_with("_UNSPECIFIED") => Reason::No,
    _ => Reason::Seen,
}, truthy: Reason::No);
