//! The walk over a body, once, in the order of its text.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{Piece, Role};

type Each<'e> = dyn FnMut(Piece<'_>) + 'e;

/// Tells the pieces of a whole body.
pub(super) fn body(body: &[u8], each: &mut Each<'_>) {
    walk(&mut serde_json::Deserializer::from_slice(body), At::Body, each);
}

fn walk<'de, R: serde_json::de::Read<'de>>(
    json: &mut serde_json::Deserializer<R>,
    at: At,
    each: &mut Each<'_>,
) {
    // What was read up to an error has been told.
    let _ = Walk { at, each }.deserialize(json);
}

/// Where in a request a value stands. Names that only some forms have are known in all: no two
/// mean different things by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Body,
    /// `messages`, `input`, `contents`: a list, or the one text.
    Messages,
    Message,
    /// Text, parts, or one part of a message.
    Content(Role),
    /// The content of a system message of its own.
    Instructions,
    /// What the client calls the conversation.
    Session,
    /// Any JSON whose strings are text.
    Strings(Role),
    /// What kind of part it is.
    Kind,
    /// Gemini's media.
    Blob,
    MediaType,
    Tools,
    Tool,
    /// Gemini's tools of one entry.
    Declarations,
    /// `text`, `output_config`: an object with a `format`.
    Output,
    Format,
    FormatKind,
    /// `reasoning` of Responses.
    Reasoning,
    /// `thinking` of Messages.
    Thinking,
    ThinkingKind,
    Effort,
    Config,
    ThinkingConfig,
    Budget,
    AnswerType,
    AnswerSchema,
    Modalities,
    /// How an answer is to be spoken.
    Voice,
    Stream,
    Nowhere,
}

impl At {
    /// Where the value of a member stands.
    fn member(self, key: &str) -> Self {
        match (self, key) {
            (Self::Body, "messages" | "input" | "contents" | "prompt") => Self::Messages,
            (
                Self::Body,
                "system" | "instructions" | "systemInstruction" | "system_instruction",
            ) => Self::Instructions,
            (
                Self::Body,
                "conversation" | "prompt_cache_key" | "cachedContent" | "cached_content",
            )
            | (Self::Session, "id") => Self::Session,
            (Self::Body, "tools" | "functions") => Self::Tools,
            (Self::Body, "response_format" | "output_format") => Self::Format,
            (Self::Body, "text" | "output_config") => Self::Output,
            (Self::Body, "reasoning") => Self::Reasoning,
            (Self::Body, "reasoning_effort") | (Self::Reasoning, "effort") => Self::Effort,
            (Self::Body, "thinking") => Self::Thinking,
            (Self::Body, "generationConfig" | "generation_config") => Self::Config,
            (Self::Body, "modalities") => Self::Modalities,
            (Self::Body, "audio") => Self::Voice,
            (Self::Body, "stream") => Self::Stream,
            (Self::Content(_), "type") => Self::Kind,
            (Self::Content(role), "text" | "parts") => Self::Content(role),
            // Only what a tool answered has content within content.
            (Self::Content(_), "content") => Self::Content(Role::Tool),
            (Self::Content(_), "inlineData" | "inline_data" | "fileData" | "file_data") => {
                Self::Blob
            }
            (Self::Content(_), "functionResponse" | "function_response") => {
                Self::Strings(Role::Tool)
            }
            (Self::Strings(_), "name" | "id") => Self::Nowhere,
            (Self::Strings(role), _) => Self::Strings(role),
            (Self::Blob, "mimeType" | "mime_type") => Self::MediaType,
            (Self::Tool, "functionDeclarations" | "function_declarations") => Self::Declarations,
            (Self::Output, "format") => Self::Format,
            (Self::Format, "type") => Self::FormatKind,
            (Self::Thinking, "type") => Self::ThinkingKind,
            (Self::Config, "responseMimeType" | "response_mime_type") => Self::AnswerType,
            (
                Self::Config,
                "responseSchema"
                | "response_schema"
                | "responseJsonSchema"
                | "response_json_schema",
            ) => Self::AnswerSchema,
            (Self::Config, "responseModalities" | "response_modalities") => Self::Modalities,
            (Self::Config, "thinkingConfig" | "thinking_config") => Self::ThinkingConfig,
            (Self::ThinkingConfig, "thinkingBudget" | "thinking_budget") => Self::Budget,
            (Self::ThinkingConfig, "thinkingLevel" | "thinking_level") => Self::Effort,
            _ => Self::Nowhere,
        }
    }

    /// Where the values of a list stand.
    fn element(self) -> Self {
        match self {
            Self::Messages => Self::Message,
            Self::Tools | Self::Declarations => Self::Tool,
            Self::Content(_) | Self::Strings(_) | Self::Modalities => self,
            _ => Self::Nowhere,
        }
    }
}

struct Walk<'w, 'e> {
    at: At,
    each: &'w mut Each<'e>,
}

impl<'e> Walk<'_, 'e> {
    fn tell(&mut self, piece: Piece<'_>) {
        (self.each)(piece);
    }

    fn below(&mut self, at: At) -> Walk<'_, 'e> {
        Walk { at, each: self.each }
    }

    /// Instructions are a message, once there are any.
    fn enter(&mut self) {
        if self.at == At::Instructions {
            self.tell(Piece::Instructions);
            self.tell(Piece::Message(Role::System));
            self.at = At::Content(Role::System);
        }
    }

    fn message<'de, A: MapAccess<'de>>(mut self, map: &mut A) -> Result<(), A::Error> {
        let (mut role, mut held) = (None, [None::<&'de RawValue>; 2]);
        let mut acts = false;
        while let Some(key) = map.next_key_seed(Name(|key: &str| Member::try_from(key).ok()))? {
            match key {
                Some(Member::Role) => {
                    let named = map.next_value_seed(Name(role_named))?;
                    self.tell(Piece::Message(named));
                    role = Some(named);
                }
                // Who speaks may stand behind what is said.
                Some(Member::Content(name)) => match (role, held.get_mut(name)) {
                    (None, Some(held)) => *held = Some(map.next_value()?),
                    (role, _) => {
                        let role = role.unwrap_or(Role::User);
                        map.next_value_seed(self.below(At::Content(role)))?;
                    }
                },
                Some(Member::Output) => {
                    self.tell(Piece::Message(Role::Tool));
                    map.next_value_seed(self.below(At::Content(Role::Tool)))?;
                }
                Some(Member::Kind) => acts = map.next_value_seed(Name(is_act))?,
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        if role.is_none() && acts {
            // What stands in it are its thoughts.
            self.tell(Piece::Act);
            return Ok(());
        }
        if role.is_none() && held.iter().any(Option::is_some) {
            self.tell(Piece::Message(Role::User));
        }
        for content in held.into_iter().flatten() {
            let known = role.unwrap_or(Role::User);
            let mut json = serde_json::Deserializer::from_str(content.get());
            walk(&mut json, At::Content(known), self.each);
        }
        Ok(())
    }

    fn members<'de, A: MapAccess<'de>>(&mut self, map: &mut A) -> Result<(), A::Error> {
        let at = self.at;
        let mut group = false;
        while let Some(below) = map.next_key_seed(Name(|key: &str| at.member(key)))? {
            group |= below == At::Declarations;
            match below {
                At::Nowhere => {
                    map.next_value::<IgnoredAny>()?;
                }
                below => map.next_value_seed(self.below(below))?,
            }
        }
        if at == At::Tool && !group {
            self.tell(Piece::Tool);
        }
        Ok(())
    }

    fn number(mut self, zero: bool) {
        if self.at == At::Budget && !zero {
            self.tell(Piece::Reasoning);
        }
    }
}

/// Members of a message.
enum Member {
    Role,
    /// By which of its names.
    Content(usize),
    /// What a tool of Responses answered.
    Output,
    /// What an item of Responses is.
    Kind,
}

impl TryFrom<&str> for Member {
    type Error = ();

    fn try_from(key: &str) -> Result<Self, ()> {
        match key {
            "role" => Ok(Self::Role),
            "content" => Ok(Self::Content(0)),
            "parts" => Ok(Self::Content(1)),
            "output" => Ok(Self::Output),
            "type" => Ok(Self::Kind),
            _ => Err(()),
        }
    }
}

fn role_named(name: &str) -> Role {
    match name {
        "system" | "developer" => Role::System,
        "assistant" | "model" => Role::Assistant,
        "tool" | "function" => Role::Tool,
        _ => Role::User,
    }
}

/// Whether an item of Responses, which says no role, is something that the model did but for speaking.
/// Of what is only referred to, nobody can tell; it comes after the model has begun.
fn is_act(kind: &str) -> bool {
    kind.ends_with("_call")
        || kind.starts_with("mcp_")
        || matches!(kind, "reasoning" | "compaction" | "item_reference")
}

/// What media are, by their type (`image/png`).
fn media(kind: &str) -> Piece<'static> {
    match kind.split('/').next() {
        Some("image") => Piece::Image,
        Some("audio") => Piece::Audio,
        _ => Piece::File,
    }
}

fn asked_by(at: At, text: &str) -> Option<Piece<'static>> {
    let is = |names: &[&str]| names.iter().any(|name| name.eq_ignore_ascii_case(text));
    match at {
        At::Kind => match text {
            "image_url" | "input_image" | "image" | "computer_screenshot" => Some(Piece::Image),
            "input_audio" => Some(Piece::Audio),
            "file" | "input_file" | "document" => Some(Piece::File),
            _ => None,
        },
        At::MediaType => Some(media(text)),
        At::Effort => (!is(&["none", "minimal", ""])).then_some(Piece::Reasoning),
        At::ThinkingKind => is(&["enabled", "adaptive"]).then_some(Piece::Reasoning),
        At::FormatKind => match text {
            "json_object" => Some(Piece::Json),
            "json_schema" => Some(Piece::Schema),
            _ => None,
        },
        At::AnswerType => is(&["application/json"]).then_some(Piece::Json),
        At::Modalities => is(&["audio"]).then_some(Piece::Audio),
        _ => None,
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_str<E: Error>(mut self, text: &str) -> Result<(), E> {
        self.enter();
        match self.at {
            At::Messages | At::Message => {
                self.tell(Piece::Message(Role::User));
                self.tell(Piece::Text { role: Role::User, text });
            }
            At::Content(role) | At::Strings(role) => self.tell(Piece::Text { role, text }),
            At::Session => self.tell(Piece::Session(text)),
            at => {
                if let Some(piece) = asked_by(at, text) {
                    self.tell(piece);
                }
            }
        }
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(mut self, yes: bool) -> Result<(), E> {
        if self.at == At::Stream && yes {
            self.tell(Piece::Stream);
        }
        Ok(())
    }

    fn visit_u64<E>(self, number: u64) -> Result<(), E> {
        self.number(number == 0);
        Ok(())
    }

    fn visit_i64<E>(self, number: i64) -> Result<(), E> {
        self.number(number == 0);
        Ok(())
    }

    fn visit_f64<E>(self, number: f64) -> Result<(), E> {
        self.number(number == 0.0);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        self.enter();
        let at = self.at.element();
        while seq.next_element_seed(self.below(at))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        self.enter();
        match self.at {
            At::Message => return self.message(&mut map),
            At::Voice => self.tell(Piece::Audio),
            At::AnswerSchema => self.tell(Piece::Schema),
            _ => {}
        }
        self.members(&mut map)
    }
}

/// Reads a string as what it names; anything else as the empty one.
struct Name<F>(F);

impl<'de, T, F: FnOnce(&str) -> T> DeserializeSeed<'de> for Name<F> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T, F: FnOnce(&str) -> T> Visitor<'de> for Name<F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<T, E> {
        Ok((self.0)(name))
    }

    fn visit_unit<E>(self) -> Result<T, E> {
        Ok((self.0)(""))
    }

    fn visit_bool<E>(self, _: bool) -> Result<T, E> {
        Ok((self.0)(""))
    }

    fn visit_u64<E>(self, _: u64) -> Result<T, E> {
        Ok((self.0)(""))
    }

    fn visit_i64<E>(self, _: i64) -> Result<T, E> {
        Ok((self.0)(""))
    }

    fn visit_f64<E>(self, _: f64) -> Result<T, E> {
        Ok((self.0)(""))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<T, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok((self.0)(""))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok((self.0)(""))
    }
}
