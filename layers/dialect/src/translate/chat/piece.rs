//! What nearly every chunk of a stream is: one piece of text. Read without building a tree.

use std::borrow::Cow;

use serde::{Deserialize, de::IgnoredAny};

/// A piece of the text of one choice, and nothing else that any reader looks at; with anything
/// more it is not read.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "named so that the rest is unknown")]
pub(super) struct Piece<'a> {
    #[serde(borrow)]
    choices: [Choice<'a>; 1],
    #[serde(default)]
    usage: (),
    #[serde(default)]
    id: IgnoredAny,
    #[serde(default)]
    object: IgnoredAny,
    #[serde(default)]
    created: IgnoredAny,
    #[serde(default)]
    model: IgnoredAny,
    #[serde(default)]
    provider: IgnoredAny,
    #[serde(default)]
    service_tier: IgnoredAny,
    #[serde(default)]
    system_fingerprint: IgnoredAny,
    #[serde(default)]
    obfuscation: IgnoredAny,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "named so that the rest is unknown")]
struct Choice<'a> {
    index: u32,
    #[serde(borrow)]
    delta: Delta<'a>,
    #[serde(default)]
    logprobs: (),
    #[serde(default)]
    finish_reason: (),
    #[serde(default)]
    native_finish_reason: (),
    #[serde(default)]
    stop_reason: (),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "named so that the rest is unknown")]
struct Delta<'a> {
    #[serde(borrow)]
    content: Cow<'a, str>,
    #[serde(default)]
    role: IgnoredAny,
    #[serde(default)]
    refusal: (),
    #[serde(default)]
    reasoning: (),
    #[serde(default)]
    reasoning_content: (),
    #[serde(default)]
    tool_calls: (),
}

impl<'a> Piece<'a> {
    /// Of which choice it is, and its text.
    pub(super) fn read(data: &'a [u8]) -> Option<(u32, Cow<'a, str>)> {
        let Self { choices: [Choice { index, delta, .. }], .. } =
            serde_json::from_slice(data).ok()?;
        Some((index, delta.content))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_piece_of_text_alone_is_one() {
        let chunk = |choice: &str, more: &str| {
            format!(r#"{{"id":"c","choices":[{{"index":2,{choice}}}],"usage":null{more}}}"#)
        };
        let text = r#""delta":{"role":"assistant","content":"a\nb"},"finish_reason":null"#;
        let plain = chunk(text, "");
        assert_eq!(Piece::read(plain.as_bytes()), Some((2, "a\nb".into())));
        let plain = chunk(r#""delta":{"content":"ab"}"#, "");
        assert!(matches!(Piece::read(plain.as_bytes()), Some((2, Cow::Borrowed("ab")))));
        for other in [
            chunk(text, r#","x_groq":{}"#),
            chunk(text, r#","error":null"#),
            chunk(r#""delta":{"content":null}"#, ""),
            chunk(r#""delta":{"content":"a","reasoning_content":"b"}"#, ""),
            chunk(r#""delta":{"content":"a"},"finish_reason":"stop""#, ""),
            chunk(r#""delta":{"content":"a"},"logprobs":{}"#, ""),
            r#"{"choices":[],"usage":{}}"#.to_owned(),
        ] {
            assert_eq!(Piece::read(other.as_bytes()), None, "{other}");
        }
    }
}
