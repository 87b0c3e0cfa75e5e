//! YAML as a tree in which every key and value knows its place in the file.
//!
//! Serde's own structs would stop at the first wrong type and forget what a number looked like;
//! this tree is what lets the reader tell all errors at once and read money without a float.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_yaml::Spanned;

/// A place in the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    /// Bytes from the file's start; equal where the length is unknown.
    pub(super) start: usize,
    pub(super) end: usize,
    /// From 1; 0 is unknown.
    pub(super) line: usize,
    /// From 1, in characters.
    pub(super) column: usize,
}

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) span: Span,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    Null,
    /// A number or a boolean: its text is what the file says at its span.
    Plain,
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) name: String,
    pub(super) span: Span,
}

impl Node {
    /// Whether it may be a number: one, or a text that begins like one or with a variable.
    pub(super) fn is_number(&self) -> bool {
        match &self.value {
            Value::Plain => true,
            Value::Text(text) => text.starts_with(|c: char| c.is_ascii_digit() || c == '$'),
            Value::Null | Value::List(_) | Value::Map(_) => false,
        }
    }

    /// What stands here, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Plain | Value::Text(_) => "a single value",
            Value::List(_) => "a list",
            Value::Map(_) => "a section with keys",
        }
    }
}

/// Reads `text`, one YAML document. An empty file is [`Value::Null`].
pub(super) fn parse(text: &str) -> Result<Node, (String, Span)> {
    let options = serde_yaml::options! {
        budget: serde_yaml::budget! {
            max_depth: 32,
            max_nodes: 200_000,
            max_events: 500_000,
            max_documents: 1,
            max_total_scalar_bytes: 4 << 20,
            flow_nesting_limit: 32,
        },
        strict_booleans: true,
        strict_indentation: true,
        leading_zero_numbers_as_strings: true,
        non_finite_float_policy: serde_yaml::NonFiniteFloatPolicy::PassThrough,
        duplicate_keys: serde_yaml::DuplicateKeyPolicy::PassThrough,
        with_snippet: false,
    };
    let shielded = shield(text);
    match serde_yaml::from_str_with_options::<Option<Spanned<Value>>>(&shielded, options) {
        Ok(Some(root)) => {
            let mut root: Node = root.into();
            let bytes: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
            settle(&mut root, &|at| bytes.get(at).copied().unwrap_or(text.len()));
            Ok(root)
        }
        Ok(None) => Ok(Node { value: Value::Null, span: Span::default() }),
        Err(error) => {
            let span = error.location().map(span).unwrap_or_default();
            Err((error.without_snippet().to_string(), span))
        }
    }
}

/// Stands for the braces of `${NAME}` while YAML is parsed: without quotes they would end a value
/// inside `{ ... }`. One character for one, so that lines and columns stay.
const SHIELD: [char; 2] = ['\u{e000}', '\u{e001}'];

fn shield(text: &str) -> String {
    let (mut shielded, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at + 1);
        shielded.push_str(before);
        let inside = &from[1..];
        let end = inside.find(['{', '}', '\n', '"', '\'']);
        match end.filter(|end| inside[*end..].starts_with('}')) {
            Some(end) => {
                shielded.push(SHIELD[0]);
                shielded.push_str(&inside[..end]);
                shielded.push(SHIELD[1]);
                rest = &inside[end + 1..];
            }
            None => rest = from,
        }
    }
    shielded.push_str(rest);
    shielded
}

fn unshield(text: &str) -> String {
    text.replace(SHIELD[0], "{").replace(SHIELD[1], "}")
}

/// From characters to bytes.
fn settle(node: &mut Node, byte: &impl Fn(usize) -> usize) {
    let bytes = |span: &mut Span| (span.start, span.end) = (byte(span.start), byte(span.end));
    bytes(&mut node.span);
    match &mut node.value {
        Value::Null | Value::Plain | Value::Text(_) => {}
        Value::List(items) => items.iter_mut().for_each(|item| settle(item, byte)),
        Value::Map(entries) => {
            for (key, value) in entries {
                bytes(&mut key.span);
                settle(value, byte);
            }
        }
    }
}

/// Where a value is defined: an alias's place is that of its anchor, where the text is.
fn span(at: serde_yaml::Location) -> Span {
    let (chars, start) = (at.span(), at.span().offset() as usize);
    let (line, column) = (at.line() as usize, at.column() as usize);
    Span { start, end: start.saturating_add(chars.len() as usize), line, column }
}

impl From<Spanned<Value>> for Node {
    fn from(spanned: Spanned<Value>) -> Self {
        Self { span: span(spanned.defined), value: spanned.value }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Tree)
    }
}

struct Tree;

impl<'de> Visitor<'de> for Tree {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YAML")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Value, E> {
        Ok(Value::Plain)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Value, E> {
        Ok(Value::Plain)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Value, E> {
        Ok(Value::Plain)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Plain)
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(unshield(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element::<Spanned<Value>>()? {
            items.push(item.into());
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let key = Key { name: unshield(&key.value), span: span(key.defined) };
            entries.push((key, map.next_value::<Spanned<Value>>()?.into()));
        }
        Ok(Value::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each value's text as its span has it.
    fn texts(node: &Node, source: &str, all: &mut Vec<String>) {
        match &node.value {
            Value::List(items) => items.iter().for_each(|item| texts(item, source, all)),
            Value::Map(entries) => entries.iter().for_each(|(key, value)| {
                all.push(source[key.span.start..key.span.end].to_owned());
                texts(value, source, all);
            }),
            _ => all.push(source[node.span.start..node.span.end].to_owned()),
        }
    }

    #[test]
    fn spans_hold_the_text() {
        let source = "é: 1.50\nb: &x [ü, { c: 'q r', d: ${KEY} }]\ne: *x\ne: \"${A:-b}\"\nm: { <<: { k: 1 } }\n";
        let mut all = vec![];
        texts(&parse(source).unwrap(), source, &mut all);
        assert_eq!(
            all.join("|"),
            "é|1.50|b|ü|c|'q r'|d|${KEY}|e|ü|c|'q r'|d|${KEY}|e|\"${A:-b}\"|m|k|1"
        );
    }

    #[test]
    fn budgets_stop_bombs() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..10 {
            let many = vec![format!("*a{}", n - 1); 10].join(", ");
            bomb.push_str(&format!("a{n}: &a{n} [{many}]\n"));
        }
        assert!(parse(&bomb).is_err());
        assert!(parse(&"[".repeat(100_000)).is_err());
        assert!(parse(&"a: 1\n---\n".repeat(5)).is_err());
    }
}
