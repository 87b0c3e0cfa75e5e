//! Counting the text in JSON without building it.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use tollway_core::Prompt;

use crate::tokens::media::Media;

/// What the frame around one message costs, in tokens.
const MESSAGE_TOKENS: u64 = 3;

/// Text found, in bytes, and what can only be counted in tokens.
#[derive(Debug, Default)]
pub(crate) struct Count {
    pub(crate) bytes: u64,
    messages: u64,
    /// Numbers of a prompt that was given as tokens.
    tokens: u64,
    media: [u64; 3],
    #[cfg(feature = "exact-tokens")]
    exact: Option<crate::tokens::Exact>,
}

impl Count {
    /// Four bytes a token, rounded up.
    pub(crate) fn prompt(&self) -> Prompt {
        let framed = self.messages.saturating_mul(MESSAGE_TOKENS).saturating_add(self.tokens);
        let mut prompt = Prompt::new(framed.saturating_add(self.bytes.div_ceil(4)));
        prompt.media = self.media;
        prompt
    }

    pub(crate) fn message(&mut self) {
        self.messages += 1;
    }

    /// Fails where an exact count has seen enough, which ends the walk.
    pub(crate) fn text<E: Error>(&mut self, text: &str) -> Result<(), E> {
        #[cfg(feature = "exact-tokens")]
        let text = match &mut self.exact {
            Some(exact) => exact.count(text).ok_or_else(|| E::custom("counted enough"))?,
            None => text,
        };
        self.bytes += text.len() as u64;
        Ok(())
    }

    /// A number that the model reads as text.
    fn number(&mut self) {
        self.bytes += 2;
        #[cfg(feature = "exact-tokens")]
        if let Some(exact) = &mut self.exact {
            exact.tokens += 1;
        }
    }

    fn media(&mut self, media: Media) {
        for (sum, tokens) in self.media.iter_mut().zip(media.tokens()) {
            *sum = sum.saturating_add(tokens);
        }
    }

    #[cfg(feature = "exact-tokens")]
    pub(crate) fn exactly(exact: crate::tokens::Exact) -> Self {
        Self { exact: Some(exact), ..Self::default() }
    }

    /// By the vocabulary that was counted with.
    #[cfg(feature = "exact-tokens")]
    pub(crate) fn exact(&self, in_messages: bool) -> Option<u64> {
        /// The role's name is one more.
        const FRAME: u64 = MESSAGE_TOKENS + 1;
        const REPLY: u64 = 3;
        let frames = if in_messages { self.messages.max(1) * FRAME + REPLY } else { 0 };
        Some(self.exact.as_ref()?.tokens + frames + self.tokens)
    }
}

/// What of a value counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Strings, except under keys that carry ids and kinds; media count flat.
    Text,
    /// As text, and every number is a token (`input` of embeddings, `prompt`).
    Prompt,
    /// Keys as well: the model reads the structure (tool schemas).
    Structure,
    /// Nothing; walked only so that nesting stays bounded.
    Nothing,
}

/// Walks any JSON value, adding to a [`Count`]; `serde_json` bounds its depth.
pub(crate) struct Walk<'c> {
    pub(crate) count: &'c mut Count,
    pub(crate) mode: Mode,
}

impl Walk<'_> {
    fn again(&mut self) -> Walk<'_> {
        Walk { count: self.count, mode: self.mode }
    }

    pub(crate) fn number(self) {
        match self.mode {
            Mode::Prompt => self.count.tokens += 1,
            Mode::Structure => self.count.number(),
            Mode::Text | Mode::Nothing => {}
        }
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        if self.mode == Mode::Nothing {
            return Ok(());
        }
        if !is_data_url(text) {
            return self.count.text(text);
        }
        let mut media = Media::default();
        media.see(text);
        self.count.media(media);
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        self.number();
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        self.number();
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        self.number();
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(self.again())?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        // Responses has `detail` beside the image, chat within.
        let (mut last, mut low) = (None::<Media>, false);
        let structure = self.mode == Mode::Structure;
        while let Some(key) = map.next_key_seed(Key(structure.then_some(&mut *self.count)))? {
            match (self.mode, key) {
                (Mode::Nothing | Mode::Structure, _) | (_, KeyKind::Text) => {
                    map.next_value_seed(self.again())?;
                }
                (_, KeyKind::Role) => {
                    self.count.message();
                    nothing(&mut map)?;
                }
                (_, KeyKind::Data) => {
                    map.next_value_seed(Walk { count: self.count, mode: Mode::Structure })?;
                }
                (_, KeyKind::Label) => {
                    nothing(&mut map)?;
                }
                (_, KeyKind::Detail) => {
                    let mut media = Media::default();
                    map.next_value_seed(Look { media: &mut media, detail: true })?;
                    low |= media.low;
                }
                (_, KeyKind::Media) => {
                    let mut media = Media::default();
                    map.next_value_seed(Look { media: &mut media, detail: false })?;
                    if let Some(other) = last.replace(media) {
                        self.count.media(other);
                    }
                }
            }
        }
        if let Some(mut media) = last {
            media.low |= low;
            self.count.media(media);
        }
        Ok(())
    }
}

/// Looks into an image, a clip or a file for what tells its size.
struct Look<'m> {
    media: &'m mut Media,
    /// At the value of `detail`.
    detail: bool,
}

impl Look<'_> {
    fn again(&mut self, detail: bool) -> Look<'_> {
        Look { media: self.media, detail }
    }
}

impl<'de> DeserializeSeed<'de> for Look<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Look<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        if self.detail {
            self.media.low |= text == "low";
        } else {
            self.media.see(text);
        }
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(self.again(false))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key_seed(Key(None))? {
            map.next_value_seed(self.again(key == KeyKind::Detail))?;
        }
        Ok(())
    }
}

/// Passes over a value, with a bound on its depth that `IgnoredAny` has not.
pub(crate) fn nothing<'de, A: MapAccess<'de>>(map: &mut A) -> Result<(), A::Error> {
    map.next_value_seed(Walk { count: &mut Count::default(), mode: Mode::Nothing })
}

/// Providers and SDKs write `data:image/png;base64,...`; a prose string may begin with `data:`.
fn is_data_url(text: &str) -> bool {
    text.starts_with("data:")
        && memchr::memmem::find(&text.as_bytes()[..text.len().min(160)], b";base64,").is_some()
}

/// What an object's member holds, by its key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyKind {
    Text,
    Role,
    Label,
    Media,
    /// How closely an image is to be looked at.
    Detail,
    /// What a tool was called with, or answered.
    Data,
}

/// A key, which counts itself where the model reads keys.
struct Key<'c>(Option<&'c mut Count>);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = KeyKind;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<KeyKind, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = KeyKind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<KeyKind, E> {
        if let Some(count) = self.0 {
            count.text(key)?;
        }
        Ok(kind(key))
    }
}

pub(crate) fn kind(key: &str) -> KeyKind {
    match key {
        "role" => KeyKind::Role,
        "image_url" | "input_audio" | "audio" | "file" | "file_data" | "source" | "inlineData"
        | "inline_data" | "fileData" => KeyKind::Media,
        "detail" => KeyKind::Detail,
        "input" | "args" | "response" => KeyKind::Data,
        "type" | "id" | "status" | "object" | "tool_call_id" | "call_id" | "tool_use_id"
        | "item_id" | "file_id" | "encrypted_content" | "thought_signature"
        | "thoughtSignature" | "signature" | "cache_control" | "extra_content" | "annotations"
        | "logprobs" | "index" => KeyKind::Label,
        _ => KeyKind::Text,
    }
}
