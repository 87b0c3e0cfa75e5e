//! Reading a reply, whole or event by event: usage, content, end and failure, nothing else.

use std::fmt;

use serde::{
    Deserialize,
    de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use tollway_core::{ErrorClass, Failure};

use super::usage::Counted;
pub use crate::reading::Reading;
use crate::{
    text::{Count, Mode, Walk},
    values::{self, Present, TextLen, Tokens, from_any},
};

/// Reads a whole reply's body.
///
/// # Errors
///
/// The body is not JSON, or not in any shape known here; `serde_json`'s error tells which.
pub fn read(body: &[u8]) -> Result<Reading, serde_json::Error> {
    let reply: Raw = values::read(body)?;
    let mut reading = reply.reading();
    reading.usage_only = false;
    Ok(reading)
}

/// Reads the data of one event of a stream.
///
/// # Errors
///
/// As [`read`]; such an event is best passed on unread.
pub fn read_event(data: &[u8]) -> Result<Reading, serde_json::Error> {
    if data.trim_ascii() == b"[DONE]" {
        return Ok(Reading { end: true, ..Reading::default() });
    }
    values::read(data).map(Raw::reading)
}

/// Reads the events of one stream, quicker than [`read_event`] and to the same result.
///
/// All chunks of a stream begin with the same bytes: id, time, model. They are compared with those
/// of the chunk before instead of being read again.
#[derive(Debug, Default)]
pub struct EventReader {
    /// What stands before the value of `choices`; read once, and without meaning.
    prefix: Vec<u8>,
    tries: u8,
}

impl EventReader {
    /// At the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the data of one event; see [`read_event`].
    ///
    /// # Errors
    ///
    /// As [`read_event`].
    pub fn read(&mut self, data: &[u8]) -> Result<Reading, serde_json::Error> {
        if !self.prefix.is_empty() {
            if let Some(reading) = data.strip_prefix(&self.prefix[..]).and_then(read_rest) {
                return Ok(reading);
            }
        }
        let reading = read_event(data)?;
        self.learn(data);
        Ok(reading)
    }

    fn learn(&mut self, data: &[u8]) {
        const KEY: &[u8] = b"\"choices\":";
        const LONGEST: usize = 1024;
        const MOST_TRIES: u8 = 4;
        if self.tries == MOST_TRIES || data.starts_with(&self.prefix) && !self.prefix.is_empty() {
            return;
        }
        let Some(at) = memchr::memmem::find(data.get(..LONGEST).unwrap_or(data), KEY) else {
            return;
        };
        self.tries += 1;
        let prefix = data.get(..at + KEY.len()).unwrap_or_default();
        // Only a key of the top level makes this an object, and only one that says nothing else.
        let object = [prefix, b"[]}"].concat();
        let says_nothing = read_event(&object).is_ok_and(|read| read == Reading::default());
        self.prefix.clear();
        if says_nothing {
            self.prefix.extend_from_slice(prefix);
        }
    }
}

/// A chunk from the value of `choices` on; `None` if it takes the long way.
fn read_rest(rest: &[u8]) -> Option<Reading> {
    let mut json = serde_json::Deserializer::from_slice(rest).into_iter::<Choices>();
    let choices = json.next()?.ok()?;
    let tail = rest.get(json.byte_offset()..)?;
    let mut raw = match tail {
        b"}" => Raw::default(),
        [b',', b'"', ..] => {
            // The fields behind it, as an object by themselves.
            let mut object = [b' '; 128];
            let object = object.get_mut(..tail.len())?;
            object.copy_from_slice(tail);
            *object.first_mut()? = b'{';
            serde_json::from_slice(object).ok()?
        }
        _ => return None,
    };
    // Given twice, even if empty the second time, they are read in one go.
    if raw.choices_given {
        return None;
    }
    raw.choices = choices;
    Some(raw.reading())
}

/// What a [`Reading::interrupted`] answer counts as.
pub fn interrupted() -> Failure {
    let why = "The provider broke the answer off for want of resources.";
    Failure::new(ErrorClass::Overloaded, why)
}

#[derive(Default)]
struct Raw {
    kind: Kind,
    choices: Choices,
    choices_given: bool,
    usage: Option<Counted>,
    usage_null: bool,
    x_groq: Option<Groq>,
    error: Present,
    response: Option<Response>,
    // A Responses or audio event.
    delta: TextLen,
    // A whole Responses reply; a transcription.
    output: TextLen,
    text: TextLen,
    sequence_number: Tokens,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Field {
    Type,
    Choices,
    Usage,
    XGroq,
    Error,
    Response,
    Delta,
    Output,
    Text,
    Data,
    SequenceNumber,
    #[serde(other)]
    Other,
}

/// By hand, because reading a string that is not wanted is several times faster than serde_json's
/// way of ignoring one, and most of a chunk is such strings.
impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Top;
        impl<'de> Visitor<'de> for Top {
            type Value = Raw;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
                let mut raw = Raw::default();
                let mut nothing = Count::default();
                while let Some(field) = map.next_key()? {
                    match field {
                        Field::Type => raw.kind = map.next_value()?,
                        Field::Choices => {
                            raw.choices = map.next_value()?;
                            raw.choices_given = true;
                        }
                        Field::Usage => {
                            raw.usage = map.next_value()?;
                            raw.usage_null |= raw.usage.is_none();
                        }
                        Field::XGroq => raw.x_groq = map.next_value()?,
                        Field::Error => raw.error = map.next_value()?,
                        Field::Response => raw.response = map.next_value()?,
                        Field::Delta => raw.delta = map.next_value()?,
                        Field::Output => raw.output = map.next_value()?,
                        Field::Text => raw.text = map.next_value()?,
                        Field::SequenceNumber => raw.sequence_number = map.next_value()?,
                        // Embeddings: megabytes of numbers.
                        Field::Data => drop(map.next_value::<IgnoredAny>()?),
                        Field::Other => {
                            let mode = Mode::Nothing;
                            map.next_value_seed(Walk { count: &mut nothing, mode })?;
                        }
                    }
                }
                Ok(raw)
            }
        }
        deserializer.deserialize_map(Top)
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Groq {
    usage: Option<Counted>,
    error: Present,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Response {
    usage: Option<Counted>,
    error: Present,
}

impl Raw {
    fn reading(self) -> Reading {
        let groq = self.x_groq.unwrap_or_default();
        let response = self.response.unwrap_or_default();
        let usage = [self.usage, response.usage, self.choices.usage, groq.usage]
            .into_iter()
            .find_map(|counted| counted?.0);
        let bytes = match self.kind {
            Kind::Delta => self.delta.0,
            Kind::Untyped => self.choices.bytes + self.output.0 + self.text.0,
            _ => self.choices.bytes,
        };
        let error = self.error.0
            || groq.error.0
            || response.error.0
            || matches!(self.kind, Kind::Error | Kind::Failed);
        let has_content =
            bytes > 0 || self.choices.media || matches!(self.kind, Kind::Delta | Kind::Partial);
        Reading {
            usage,
            content_bytes: bytes,
            has_content,
            interrupted: self.choices.interrupted,
            filtered: self.choices.filtered,
            end: self.kind == Kind::End,
            error,
            usage_only: self.usage.is_some()
                && self.choices.seen == 0
                && self.kind == Kind::Untyped
                && !error
                && !has_content,
            finished: self.choices.finished != 0,
            usage_null: self.usage_null,
            choices: self.choices.seen,
            finished_choices: self.choices.finished,
            sequence_number: self.sequence_number.number(),
            usage_begins: false,
        }
    }
}

/// The `type` of a named event.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Untyped,
    Other,
    Delta,
    Partial,
    End,
    Failed,
    Error,
}

impl Kind {
    fn of(name: &str) -> Self {
        match name {
            "error" => Self::Error,
            "response.failed" => Self::Failed,
            "response.completed"
            | "response.incomplete"
            | "image_generation.completed"
            | "image_edit.completed"
            | "transcript.text.done"
            | "speech.audio.done" => Self::End,
            "image_generation.partial_image" | "image_edit.partial_image" => Self::Partial,
            _ if name.ends_with(".delta") => Self::Delta,
            _ => Self::Other,
        }
    }
}

from_any!(Kind, str: Kind::of, truthy: Kind::Other);

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Finish {
    #[default]
    No,
    Seen,
    Interrupted,
    Filtered,
}

from_any!(Finish, str: |reason: &str| match reason {
    "" => Finish::No,
    "insufficient_system_resource" => Finish::Interrupted,
    "content_filter" => Finish::Filtered,
    _ => Finish::Seen,
}, truthy: Finish::No);

/// All choices of a chunk, folded.
#[derive(Default)]
struct Choices {
    seen: u128,
    finished: u128,
    bytes: u64,
    media: bool,
    interrupted: bool,
    filtered: bool,
    usage: Option<Counted>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Choice {
    index: Tokens,
    delta: Option<Delta>,
    message: Option<Delta>,
    text: TextLen,
    finish_reason: Finish,
    usage: Option<Counted>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Delta {
    content: TextLen,
    reasoning_content: TextLen,
    reasoning: TextLen,
    refusal: TextLen,
    tool_calls: TextLen,
    function_call: TextLen,
    audio: Present,
}

impl Choices {
    fn add(&mut self, choice: Choice) {
        // OpenAI gives 128 at most.
        let bit = 1u128 << choice.index.value().min(127);
        self.seen |= bit;
        self.bytes += choice.text.0;
        for delta in [choice.delta, choice.message].into_iter().flatten() {
            self.bytes += delta.content.0
                + delta.reasoning_content.0.max(delta.reasoning.0)
                + delta.refusal.0
                + delta.tool_calls.0
                + delta.function_call.0;
            self.media |= delta.audio.0;
        }
        if choice.finish_reason != Finish::No {
            self.finished |= bit;
        }
        self.interrupted |= choice.finish_reason == Finish::Interrupted;
        self.filtered |= choice.finish_reason == Finish::Filtered;
        self.usage = choice.usage.or(self.usage);
    }
}

impl<'de> Deserialize<'de> for Choices {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fold;
        impl<'de> Visitor<'de> for Fold {
            type Value = Choices;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of choices")
            }

            fn visit_unit<E>(self) -> Result<Choices, E> {
                Ok(Choices::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Choices, A::Error> {
                let mut choices = Choices::default();
                while let Some(choice) = seq.next_element()? {
                    choices.add(choice);
                }
                Ok(choices)
            }
        }
        deserializer.deserialize_any(Fold)
    }
}
