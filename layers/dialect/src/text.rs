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

    /// Fails where an exact count has seen enough, which ends the walk.
    fn text<E: Error>(&mut self, text: &str) -> Result<(), E> {
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

    fn number(self) {
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
                    self.count.messages += 1;
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

/// The same JSON, byte for byte as long, with -1 in the place of numbers that no double can hold:
/// valid by RFC 8259, but `serde_json` reads every number it does not skip. `None` if that was not
/// what `error` is about.
pub(crate) fn tame(json: &[u8], error: &serde_json::Error) -> Option<Vec<u8>> {
    if !error.to_string().starts_with("number out of range") {
        return None;
    }
    let mut tamed = json.to_vec();
    let mut at = 0;
    while let Some(byte) = json.get(at) {
        let rest = json.get(at..).unwrap_or_default();
        let len = match byte {
            b'"' => string_len(rest),
            b'-' | b'0'..=b'9' => {
                let in_number =
                    |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
                let len = rest.iter().take_while(|byte| in_number(byte)).count();
                let (number, _) = rest.split_at(len);
                let number = std::str::from_utf8(number).ok().and_then(|text| text.parse().ok());
                if let Some(place) = tamed.get_mut(at..at + len) {
                    if number.is_some_and(f64::is_infinite) {
                        place.fill(b' ');
                        place.iter_mut().zip(b"-1").for_each(|(byte, new)| *byte = *new);
                    }
                }
                len
            }
            _ => 1,
        };
        at += len;
    }
    Some(tamed)
}

/// From one quote to the other.
fn string_len(json: &[u8]) -> usize {
    let mut at = 1;
    while let Some(found) = memchr::memchr2(b'"', b'\\', json.get(at..).unwrap_or_default()) {
        at += found + 1;
        match json.get(at - 1) {
            Some(b'\\') => at += 1,
            _ => return at,
        }
    }
    json.len()
}

/// Providers and SDKs write `data:image/png;base64,...`; a prose string may begin with `data:`.
fn is_data_url(text: &str) -> bool {
    text.starts_with("data:")
        && memchr::memmem::find(&text.as_bytes()[..text.len().min(160)], b";base64,").is_some()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum KeyKind {
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
        Ok(match key {
            "role" => KeyKind::Role,
            "image_url" | "input_audio" | "audio" | "file" | "file_data" | "source"
            | "inlineData" | "inline_data" | "fileData" => KeyKind::Media,
            "detail" => KeyKind::Detail,
            "input" | "args" | "response" => KeyKind::Data,
            "type" | "id" | "status" | "object" | "tool_call_id" | "call_id" | "tool_use_id"
            | "item_id" | "file_id" | "encrypted_content" | "thought_signature"
            | "thoughtSignature" | "signature" | "cache_control" | "extra_content"
            | "annotations" | "logprobs" | "index" => KeyKind::Label,
            _ => KeyKind::Text,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_tamed_and_nothing_else() {
        for (json, tamed) in [
            ("[1e400]", Some("[-1   ]")),
            (
                r#"{"a\"1e400":"1e400\\","b":-1E+999,"c":2.5}"#,
                Some(r#"{"a\"1e400":"1e400\\","b":-1     ,"c":2.5}"#),
            ),
            ("[1e99999999999999999999,1e308]", Some("[-1                    ,1e308]")),
            ("[1e308]", None),
            ("[1e400x]", None),
            ("[1e-400]", None),
        ] {
            let read = |json: &[u8]| {
                let mut count = Count::default();
                let walk = Walk { count: &mut count, mode: Mode::Nothing };
                walk.deserialize(&mut serde_json::Deserializer::from_slice(json))
            };
            let Err(error) = read(json.as_bytes()) else {
                assert_eq!(tamed, None);
                continue;
            };
            let got = tame(json.as_bytes(), &error);
            match tamed {
                Some(tamed) => {
                    assert_eq!(std::str::from_utf8(&got.unwrap()), Ok(tamed));
                    read(tamed.as_bytes()).unwrap();
                }
                None => assert!(got.is_none_or(|got| read(&got).is_err())),
            }
        }
        // A string that never ends.
        let error = serde_json::from_str::<f64>("1e400").unwrap_err();
        assert_eq!(tame(b"[\"a\\", &error).unwrap(), b"[\"a\\");
    }
}
