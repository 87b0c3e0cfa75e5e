//! Counting the text in JSON without building it.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Flat estimate for an image, an audio clip or a file, in tokens: what a 1024 x 1024 image costs.
const MEDIA_TOKENS: u64 = 765;
/// What the frame around one message costs, in tokens.
const MESSAGE_TOKENS: u64 = 3;

/// Text found, in bytes, and what can only be counted in tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) bytes: u64,
    pub(crate) tokens: u64,
}

impl Count {
    /// Four bytes a token, rounded up.
    pub(crate) fn estimate(self) -> u64 {
        self.tokens.saturating_add(self.bytes.div_ceil(4))
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
            Mode::Structure => self.count.bytes += 2,
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
        } else if is_data_url(text) {
            self.count.tokens += MEDIA_TOKENS;
        } else {
            self.count.bytes += text.len() as u64;
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
        while let Some(key) = map.next_key::<Key>()? {
            match (self.mode, key.kind) {
                (Mode::Structure, _) => {
                    self.count.bytes += key.len;
                    map.next_value_seed(self.again())?;
                }
                (Mode::Nothing, _) | (_, KeyKind::Text) => map.next_value_seed(self.again())?,
                (_, KeyKind::Role) => {
                    self.count.tokens += MESSAGE_TOKENS;
                    nothing(&mut map)?;
                }
                (_, KeyKind::Data) => {
                    map.next_value_seed(Walk { count: self.count, mode: Mode::Structure })?;
                }
                (_, KeyKind::Label) => {
                    nothing(&mut map)?;
                }
                (_, KeyKind::Media) => {
                    self.count.tokens += MEDIA_TOKENS;
                    nothing(&mut map)?;
                }
            }
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

enum KeyKind {
    Text,
    Role,
    Label,
    Media,
    /// What a tool was called with, or answered.
    Data,
}

struct Key {
    kind: KeyKind,
    len: u64,
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_str<E: Error>(self, key: &str) -> Result<Key, E> {
                let kind = match key {
                    "role" => KeyKind::Role,
                    "image_url" | "input_audio" | "audio" | "file" | "file_data" | "source"
                    | "inlineData" | "inline_data" | "fileData" => KeyKind::Media,
                    "input" | "args" | "response" => KeyKind::Data,
                    "type" | "id" | "status" | "detail" | "object" | "tool_call_id" | "call_id"
                    | "tool_use_id" | "item_id" | "file_id" | "encrypted_content"
                    | "thought_signature" | "thoughtSignature" | "signature" | "cache_control"
                    | "extra_content" | "annotations" | "logprobs" | "index" => KeyKind::Label,
                    _ => KeyKind::Text,
                };
                Ok(Key { kind, len: key.len() as u64 })
            }
        }
        deserializer.deserialize_str(Read)
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
