//! A streamed reply on its way through `AttemptLayer`: no byte changes, nothing but the chunk of
//! usage, and the nulls in its place, that nobody asked for are left out, and the meter says the same
//! however the stream is cut.

use tollway_dialect::{
    AttemptConfig, Commit,
    openai::{
        reply::{self, EventReader},
        usage::null_member,
    },
};

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
    let (through, content) = expected(text, strip);
    let whole = stream(&[text], strip, Commit::Head);
    assert_eq!(whole.got, through, "the bytes that come through");
    assert_eq!(whole.output_bytes, content, "the content that comes through");
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
    // What is told of a stream that breaks is no byte of the provider's.
    config.tell_interruptions = false;
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

/// The stream as the caller would have got it without our asking; reads every event on the way.
fn expected(text: &[u8], strip: bool) -> (Vec<u8>, u64) {
    let (mut out, mut content) = (Vec::new(), 0);
    let mut reader = EventReader::new();
    for (index, (span, _)) in sse::blocks(text).into_iter().enumerate() {
        let block = &text[span];
        let data = sse::fields(block, index == 0).data;
        let reading = data.as_ref().and_then(|data| reply::read_event(data).ok());
        if let Some(data) = &data {
            assert_eq!(reader.read(data).ok(), reading, "read with what came before");
        }
        let reading = reading.unwrap_or_default();
        content += reading.content_bytes;
        if strip && reading.usage_only {
            continue;
        }
        let null = data.filter(|_| strip && reading.usage_null).and_then(|data| {
            let (at, member) = (only_data(block, index == 0)?, null_member(&data)?);
            Some(at + member.start..at + member.end)
        });
        let null = null.unwrap_or(0..0);
        out.extend_from_slice(&block[..null.start]);
        out.extend_from_slice(&block[null.end..]);
    }
    (out, content)
}

/// Where the value of the one `data` line begins.
fn only_data(block: &[u8], first: bool) -> Option<usize> {
    let mut at = if first && block.starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 };
    let mut found = None;
    for line in block[at..].split(|byte| b"\r\n".contains(byte)) {
        if line == b"data" || line.starts_with(b"data:") {
            let space = usize::from(line.starts_with(b"data: "));
            if found.replace(at + 5 + space).is_some() {
                return None;
            }
        }
        at += line.len() + 1;
    }
    found
}
