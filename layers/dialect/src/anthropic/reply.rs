//! Reading a reply, whole or event by event: usage, content, end and failure, nothing else.

use serde::Deserialize;

use super::usage::Counts;
use crate::{
    reading::Reading,
    values::{self, Present, TextLen, from_any},
};

/// Reads a whole reply's body: of Messages, or of the counting of tokens, which uses none.
///
/// # Errors
///
/// The body is not JSON, or not in any shape known here; `serde_json`'s error tells which.
pub fn read(body: &[u8]) -> Result<Reading, serde_json::Error> {
    let raw: Raw = values::read(body)?;
    let bytes = raw.content.0;
    Ok(Reading {
        usage: raw.usage.and_then(|counts| counts.usage()),
        content_bytes: bytes,
        has_content: bytes > 0,
        finished: raw.stop_reason != Stop::No,
        filtered: raw.stop_reason == Stop::Refusal,
        error: raw.is_error(),
        ..Reading::default()
    })
}

/// Reads the events of one stream, whose counts add up from event to event.
///
/// ```
/// use tollway_dialect::anthropic::reply::EventReader;
///
/// let mut reader = EventReader::new();
/// let start = br#"{"type":"message_start","message":{"usage":{"input_tokens":9,"output_tokens":1}}}"#;
/// assert!(reader.read(None, start).unwrap().usage_begins);
/// let delta = br#"{"type":"message_delta","delta":{},"usage":{"output_tokens":15}}"#;
/// let usage = reader.read(None, delta).unwrap().usage.unwrap();
/// assert_eq!((usage.input, usage.output), (9, 15));
/// assert!(reader.read(None, br#"{"type":"message_stop"}"#).unwrap().end);
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

    /// Reads the data of one event; `name` is what its `event` line says, for data without a
    /// `type`.
    ///
    /// # Errors
    ///
    /// As [`read`]; such an event is best passed on unread.
    pub fn read(&mut self, name: Option<&[u8]>, data: &[u8]) -> Result<Reading, serde_json::Error> {
        let mut raw: Raw = values::read(data)?;
        if let (Kind::Untyped, Some(name)) = (raw.kind, name) {
            raw.kind = std::str::from_utf8(name).map_or(Kind::Other, Kind::of);
        }
        let counts = raw.message.as_ref().and_then(|message| message.usage).or(raw.usage);
        if let Some(later) = counts {
            self.counts.update(later);
        }
        let bytes = match raw.kind {
            Kind::BlockStart => raw.content_block.as_ref().map_or(0, Block::bytes),
            Kind::BlockDelta => raw.delta.as_ref().map_or(0, Block::bytes),
            _ => 0,
        };
        let stopped = raw.delta.as_ref().map(|delta| delta.stop_reason);
        Ok(Reading {
            usage: counts.and_then(|_| self.counts.usage()),
            usage_begins: raw.kind == Kind::Start,
            content_bytes: bytes,
            has_content: bytes > 0,
            finished: stopped.is_some_and(|stop| stop != Stop::No),
            filtered: stopped == Some(Stop::Refusal),
            end: raw.kind == Kind::Stop,
            error: raw.is_error(),
            ..Reading::default()
        })
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Raw {
    #[serde(rename = "type")]
    kind: Kind,
    error: Present,
    usage: Option<Counts>,
    // An event.
    message: Option<Message>,
    delta: Option<Block>,
    content_block: Option<Block>,
    // A whole reply.
    content: TextLen,
    stop_reason: Stop,
}

impl Raw {
    fn is_error(&self) -> bool {
        self.kind == Kind::Error || self.error.0
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Message {
    usage: Option<Counts>,
}

/// A block of content, or what comes on top of it; or what becomes of the message.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Block {
    text: TextLen,
    thinking: TextLen,
    partial_json: TextLen,
    name: TextLen,
    data: TextLen,
    stop_reason: Stop,
}

impl Block {
    fn bytes(&self) -> u64 {
        self.text.0 + self.thinking.0 + self.partial_json.0 + self.name.0 + self.data.0
    }
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Untyped,
    Start,
    BlockStart,
    BlockDelta,
    Stop,
    Error,
    Other,
}

impl Kind {
    fn of(name: &str) -> Self {
        match name {
            "message_start" => Self::Start,
            "content_block_start" => Self::BlockStart,
            "content_block_delta" => Self::BlockDelta,
            "message_stop" => Self::Stop,
            "error" => Self::Error,
            _ => Self::Other,
        }
    }
}

from_any!(Kind, str: Kind::of, truthy: Kind::Other);

/// Why a message ended.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Stop {
    #[default]
    No,
    Seen,
    Refusal,
}

from_any!(Stop, str: |reason: &str| match reason {
    "" => Stop::No,
    "refusal" => Stop::Refusal,
    _ => Stop::Seen,
}, truthy: Stop::Seen);
