//! The quick way to read a request's top level, for bodies as nearly all are.
//!
//! It finds what a walk by `serde_json` finds, in fewer steps: ends of strings are searched for, and
//! hardly a value passes through a deserializer. What is wrong or out of the ordinary is left to the
//! long way, which also has the words for it: whatever is read here, it reads the same.

use serde::de::{Deserialize, DeserializeSeed, Visitor};
use serde_json::value::RawValue;

use crate::{
    fields::{Found, Known, Table},
    text::{Count, KeyKind, Mode, Walk, kind},
};

/// Far less than `serde_json` follows.
const MOST_DEEP: u8 = 64;
/// Digits that any number may have without being too large for a double.
const MOST_DIGITS: usize = 15;

/// What an object holds; `None` is for the long way.
pub(crate) fn scan<'a>(object: &'a str, table: &'static Table) -> Option<(Found<'a>, Count)> {
    let (mut found, mut count) = (Found::default(), Count::default());
    Scan::whole(object, |scan, name| match table.known(name) {
        Known::Read((_, label, at)) => {
            let raw: &RawValue = scan.read()?;
            found.raws.get_mut(at)?.replace((label, raw)).is_none().then_some(())
        }
        Known::Text(at, (_, mode)) => {
            first(&mut found.texts, 1 << at)?;
            scan.value(&mut count, mode, 1)
        }
        Known::Not => scan.skip(),
    })?;
    Some((found, count))
}

/// A place in JSON, moved on by what is read there.
struct Scan<'a> {
    text: &'a str,
    at: usize,
    /// There is no control character anywhere: looked for in one go, not in each string.
    clean: bool,
}

/// Without a branch for each byte.
fn is_clean(text: &str) -> bool {
    text.bytes().fold(u8::MAX, u8::min) >= b' '
}

/// Whether the member of this bit had not been `seen`; a second one is for the long way.
fn first(seen: &mut u16, bit: u16) -> Option<()> {
    let first = *seen & bit == 0;
    *seen |= bit;
    first.then_some(())
}

impl<'a> Scan<'a> {
    /// Reads all of `text`, an object.
    fn whole(text: &'a str, each: impl FnMut(&mut Self, &'a str) -> Option<()>) -> Option<()> {
        let mut scan = Self { text, at: 0, clean: is_clean(text) };
        scan.space();
        scan.members(each)?;
        scan.space();
        (scan.at == text.len()).then_some(())
    }

    /// Passes over a value.
    fn skip(&mut self) -> Option<()> {
        self.value(&mut Count::default(), Mode::Nothing, 1)
    }

    /// Reads a value by a deserializer after all.
    fn read<T: Deserialize<'a>>(&mut self) -> Option<T> {
        let from = self.at;
        self.skip()?;
        serde_json::from_str(self.text.get(from..self.at)?).ok()
    }

    fn value(&mut self, count: &mut Count, mode: Mode, depth: u8) -> Option<()> {
        if depth > MOST_DEEP {
            return None;
        }
        match self.peek()? {
            b'"' => self.text(count, mode),
            b'{' => self.object(count, mode, depth),
            b'[' => self.items(|scan| scan.value(count, mode, depth + 1)),
            b't' => self.word("true"),
            b'f' => self.word("false"),
            b'n' => self.word("null"),
            _ => {
                self.number()?;
                Walk { count, mode }.number();
                Some(())
            }
        }
    }

    fn object(&mut self, count: &mut Count, mode: Mode, depth: u8) -> Option<()> {
        let depth = depth + 1;
        self.members(|scan, name| match mode {
            Mode::Nothing => scan.value(count, mode, depth),
            Mode::Structure => {
                count.text::<serde_json::Error>(name).ok()?;
                scan.value(count, mode, depth)
            }
            Mode::Text | Mode::Prompt => match kind(name) {
                KeyKind::Text => scan.value(count, mode, depth),
                KeyKind::Role => {
                    count.message();
                    scan.value(count, Mode::Nothing, depth)
                }
                KeyKind::Data => scan.value(count, Mode::Structure, depth),
                KeyKind::Label => scan.value(count, Mode::Nothing, depth),
                // An image is looked at.
                KeyKind::Detail | KeyKind::Media => None,
            },
        })
    }

    /// Reads an array, and calls `each` at every item.
    fn items(&mut self, mut each: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.expect(b'[')?;
        self.space();
        if self.peek()? == b']' {
            self.at += 1;
            return Some(());
        }
        loop {
            self.space();
            each(self)?;
            if self.is_last(b']')? {
                return Some(());
            }
        }
    }

    /// Reads an object, and calls `each` at every member's value.
    fn members(&mut self, mut each: impl FnMut(&mut Self, &'a str) -> Option<()>) -> Option<()> {
        self.expect(b'{')?;
        self.space();
        if self.peek()? == b'}' {
            self.at += 1;
            return Some(());
        }
        loop {
            self.space();
            let (name, plain) = self.string()?;
            plain.then_some(())?;
            self.space();
            self.expect(b':')?;
            self.space();
            each(self, name)?;
            if self.is_last(b'}')? {
                return Some(());
            }
        }
    }

    /// Behind a value: whether it was the last one before `end`.
    fn is_last(&mut self, end: u8) -> Option<bool> {
        self.space();
        let next = self.peek()?;
        self.at += 1;
        (next == end || next == b',').then_some(next == end)
    }

    fn text(&mut self, count: &mut Count, mode: Mode) -> Option<()> {
        let from = self.at;
        let (text, plain) = self.string()?;
        let walk = Walk { count, mode };
        if plain {
            return walk.visit_str::<serde_json::Error>(text).ok();
        }
        let quoted = self.text.get(from..self.at)?;
        walk.deserialize(&mut serde_json::Deserializer::from_str(quoted)).ok()
    }

    /// What stands between two quotes, and whether it means just that.
    fn string(&mut self) -> Option<(&'a str, bool)> {
        self.expect(b'"')?;
        let (from, mut plain) = (self.at, true);
        loop {
            let rest = self.text.as_bytes().get(self.at..)?;
            self.at += memchr::memchr2(b'"', b'\\', rest)?;
            if self.peek()? == b'"' {
                break;
            }
            plain = false;
            self.at += 2;
        }
        let text = self.text.get(from..self.at)?;
        self.at += 1;
        (self.clean || is_clean(text)).then_some((text, plain))
    }

    fn number(&mut self) -> Option<()> {
        if self.peek()? == b'-' {
            self.at += 1;
        }
        let zero = self.peek()? == b'0';
        let whole = self.digits()?;
        if zero && whole > 1 {
            return None;
        }
        match self.peek() {
            Some(b'.') => {
                self.at += 1;
                self.digits().map(drop)
            }
            Some(b'e' | b'E') => None,
            _ => Some(()),
        }
    }

    fn digits(&mut self) -> Option<usize> {
        let rest = self.text.as_bytes().get(self.at..)?;
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += digits;
        let exponent = matches!(self.peek(), Some(b'e' | b'E'));
        ((1..=MOST_DIGITS).contains(&digits) && !exponent).then_some(digits)
    }

    fn word(&mut self, word: &str) -> Option<()> {
        let is_it = self.text.as_bytes().get(self.at..)?.starts_with(word.as_bytes());
        self.at += word.len();
        is_it.then_some(())
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\t' | b'\r')) {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{fields::walk, openai::request::TABLE};

    /// Whether it is read the quick way; if so, as the long way reads it.
    fn is_scanned(text: &str) -> bool {
        let Some(found) = scan(text, &TABLE) else { return false };
        let walked = walk(text, &TABLE).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!(format!("{found:?}"), format!("{walked:?}"), "{text}");
        true
    }

    #[test]
    fn ordinary_bodies_are_scanned() {
        for text in [
            "{}",
            r#" { "model" : "m" , "n" : null, "temperature": -0.75, "stream":true } "#,
            r#"{"messages":[{"role":"user","content":"caf\u00e9 \"\ud83d\ude00\"\n"}],"max_tokens":12}"#,
            r#"{"messages":[{"role":"user","content":[{"type":"text","text":"é"},[],{}]}]}"#,
            r#"{"tools":[{"type":"function","function":{"name":"f","strict":false,"x":[1,2]}}]}"#,
            r#"{"input":[1,2,[3.5]],"metadata":{"a":{"input":"b"}},"stream_options":{"a":1}}"#,
            r#"{"messages":[{"content":"data:image/png;base64,AAAA","args":{"a":"b","c":1}}]}"#,
        ] {
            assert!(is_scanned(text), "{text}");
        }
    }

    #[test]
    fn what_is_odd_or_wrong_is_not() {
        let deep = format!("{{\"x\":{}{}}}", "[".repeat(65), "]".repeat(65));
        for text in [
            "",
            "[]",
            "{",
            "{}x",
            "{,}",
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{"a":1,}"#,
            r#"{"a":[1,]}"#,
            r#"{"a":01}"#,
            r#"{"a":1.}"#,
            r#"{"a":-}"#,
            r#"{"a":+1}"#,
            r#"{"a":1e3}"#,
            r#"{"a":tru}"#,
            r#"{"a":1.5E3}"#,
            r#"{"a":1234567890123456}"#,
            r#"{"a":nullx}"#,
            r#"{"a":"\x"}"#,
            r#"{"a":"\ud800"}"#,
            "{\"a\":\"\n\"}",
            "{\"a\":\"\\é\"}",
            r#"{"a":"b}"#,
            r#"{"a":"\"#,
            r#"{"\u0061":1}"#,
            r#"{"n":1,"n":1}"#,
            r#"{"input":"","input":""}"#,
            r#"{a:1}"#,
            r#"{"messages":[{"image_url":"x"}]}"#,
            r#"{"messages":[{"detail":"low"}]}"#,
            &deep,
        ] {
            assert!(!is_scanned(text), "{text}");
        }
    }

    fn json() -> impl Strategy<Value = String> {
        let string = prop_oneof![
            r#"[ -!#-\[\]-~éß…]{0,40}"#,
            r#"([a-z ]{0,9}(\\[nt"u/]|\\u00e9|\\ud83d\\ude00)){0,3}"#,
            "role|content|type|text|model|n|stream|input|args|index|source|detail|data:x;base64,AA",
        ]
        .prop_map(|text| format!("\"{text}\""));
        let number = r"-?[0-9]{1,3}(\.[0-9]{1,3})?([eE][+-]?[0-9]{1,3})?|[0-9]{15,17}";
        let space = "[ \n\t]{0,2}";
        let leaf = prop_oneof![string.clone(), number, "true|false|null"];
        leaf.prop_recursive(4, 48, 5, move |value| {
            let member = (string.clone(), space, value.clone(), space)
                .prop_map(|(key, before, value, behind)| format!("{key}{before}:{value}{behind}"));
            let items = prop::collection::vec((value, space), 0..5);
            let items = items.prop_map(|all| {
                all.into_iter().map(|(value, space)| value + &space).collect::<Vec<_>>()
            });
            prop_oneof![
                items.prop_map(|items| format!("[{}]", items.join(","))),
                prop::collection::vec(member, 0..5)
                    .prop_map(|all| format!("{{{}}}", all.join(","))),
            ]
        })
    }

    fn body() -> impl Strategy<Value = String> {
        let name =
            "model|stream|n|messages|input|prompt|tools|text|temperature|metadata|stream_options";
        prop::collection::vec((name, json()), 0..6).prop_map(|all| {
            let members: Vec<_> =
                all.iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
            format!("{{{}}}", members.join(", "))
        })
    }

    proptest! {
        #[test]
        fn nothing_is_read_otherwise_than_the_long_way_reads_it(text in body()) {
            is_scanned(&text);
        }

        #[test]
        fn nor_is_anything_broken(text in body(), at: prop::sample::Index, with in r#"[ -~\n]{0,2}"#, len in 0usize..3) {
            let mut chars: Vec<char> = text.chars().collect();
            let from = at.index(chars.len());
            chars.splice(from..(from + len).min(chars.len()), with.chars());
            is_scanned(&chars.into_iter().collect::<String>());
        }
    }
}
