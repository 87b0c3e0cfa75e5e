//! What nearly every chunk of a stream is: one piece of text. Read without building a tree.

use std::borrow::Cow;

use serde::{Deserialize, de::IgnoredAny};

use crate::json::Json;

/// One part of one candidate that is text, the counts so far, and nothing else that any reader
/// looks at; with anything more it is not read.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "named so that the rest is unknown")]
pub(super) struct Piece<'a> {
    #[serde(borrow)]
    candidates: [Candidate<'a>; 1],
    #[serde(borrow, default)]
    usage_metadata: Json<'a>,
    #[serde(default)]
    model_version: IgnoredAny,
    #[serde(default)]
    response_id: IgnoredAny,
    #[serde(default)]
    create_time: IgnoredAny,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Candidate<'a> {
    #[serde(borrow)]
    content: Content<'a>,
    #[serde(default)]
    index: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "named so that the rest is unknown")]
struct Content<'a> {
    #[serde(borrow)]
    parts: [Part<'a>; 1],
    #[serde(default)]
    role: IgnoredAny,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Part<'a> {
    #[serde(borrow)]
    text: Cow<'a, str>,
    #[serde(default)]
    thought: bool,
}

pub(super) struct Read<'a> {
    pub(super) choice: u32,
    pub(super) text: Cow<'a, str>,
    pub(super) thought: bool,
    /// Null if there is none.
    pub(super) usage: Json<'a>,
}

impl<'a> Piece<'a> {
    pub(super) fn read(data: &'a [u8]) -> Option<Read<'a>> {
        let Self { candidates: [candidate], usage_metadata: usage, .. } =
            serde_json::from_slice(data).ok()?;
        let Candidate { content: Content { parts: [Part { text, thought }], .. }, index } =
            candidate;
        Some(Read { choice: index, text, thought, usage })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_piece_of_text_alone_is_one() {
        let chunk = |part: &str, more: &str| {
            format!(
                r#"{{"candidates":[{{"content":{{"parts":[{{{part}}}],"role":"model"}},"index":2{more}}}],"usageMetadata":{{"totalTokenCount":3}},"modelVersion":"m"}}"#
            )
        };
        let plain = chunk(r#""text":"ab""#, "");
        let read = Piece::read(plain.as_bytes()).unwrap();
        assert!(read.choice == 2 && matches!(read.text, Cow::Borrowed("ab")) && !read.thought);
        assert_eq!(read.usage.to_text(), r#"{"totalTokenCount":3}"#);
        let thought = chunk(r#""text":"ab","thought":true"#, "");
        assert!(Piece::read(thought.as_bytes()).unwrap().thought);
        for other in [
            chunk(r#""text":"ab","thoughtSignature":"x""#, ""),
            chunk(r#""functionCall":{}"#, ""),
            chunk(r#""text":"ab""#, r#","finishReason":"STOP""#),
            chunk(r#""text":"ab"},{"text":"cd""#, ""),
            r#"{"error":{}}"#.to_owned(),
        ] {
            assert!(Piece::read(other.as_bytes()).is_none(), "{other}");
        }
    }
}
