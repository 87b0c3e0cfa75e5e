//! A streamed reply on its way through `AttemptLayer`: no byte changes, nothing but the chunk of
//! usage that nobody asked for is left out, and the meter says the same however the stream is cut.

use tollway_dialect::{AttemptConfig, Commit, openai::reply};

use super::{
    input,
    pipe::{Call, Passed, pass},
    sse,
};

const ASKS: &[u8] =
    br#"{"model":"m","messages":[],"stream":true,"stream_options":{"include_usage":true}}"#;
const ASKS_NOT: &[u8] = br#"{"model":"m","messages":[],"stream":true}"#;

/// The first byte's top bit: the caller wants no usage, so its chunk is left out.
pub fn check(data: &[u8]) {
    let (sizes, text) = input::sizes(data);
    let strip = data.first().is_some_and(|byte| *byte >= 0x80);
    let expected = if strip { without_usage(text) } else { text.to_vec() };
    let whole = stream(&[text], strip, Commit::Head);
    assert_eq!(whole.got, expected, "the bytes that come through");
    assert_eq!(stream(&input::cut(text, sizes), strip, Commit::Head), whole, "cut");
    let bytes: Vec<_> = text.chunks(1).collect();
    assert_eq!(stream(&bytes, strip, Commit::Head), whole, "byte by byte");

    let first = stream(&[text], strip, Commit::FirstToken);
    assert_eq!(stream(&bytes, strip, Commit::FirstToken), first, "byte by byte, first token");
    if first.replaced {
        assert!(!first.ok && first.failure == whole.failure);
        let body: serde_json::Value = serde_json::from_slice(&first.got).expect("JSON");
        assert!(body["error"]["message"].is_string() && body["error"]["type"].is_string());
    } else {
        assert_eq!(first, whole, "first token or head");
    }
}

fn stream(reply: &[&[u8]], strip: bool, commit: Commit) -> Passed {
    let mut config = AttemptConfig::default();
    config.commit = commit;
    // Beyond these bounds a held stream goes out as it is, which depends on its chunks.
    config.max_held_events = usize::MAX;
    config.max_held = usize::MAX;
    let call = Call {
        path: "/v1/chat/completions",
        content_type: b"application/json",
        body: &[if strip { ASKS_NOT } else { ASKS }],
        target: "m",
        reply_type: "text/event-stream",
        reply,
        config,
    };
    let passed = pass(call).expect("the request is right");
    assert_eq!(passed.length, Some(passed.sent.len()));
    passed
}

fn without_usage(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for (index, (span, _)) in sse::blocks(text).into_iter().enumerate() {
        let block = &text[span];
        let event = sse::fields(block, index == 0).data;
        let usage = event.and_then(|data| reply::read_event(&data).ok());
        if !usage.is_some_and(|reading| reading.usage_only) {
            out.extend_from_slice(block);
        }
    }
    out
}
