//! A streamed reply of Messages or generateContent on its way through `AttemptLayer`: no byte
//! changes, and usage, content and failure are the same however the stream is cut.

use tollway_core::Usage;
use tollway_dialect::{AttemptConfig, Commit, anthropic, gemini};

use super::{
    input,
    pipe::{Call, Passed, pass},
};

/// How a family streams: the request's path and body, and the reply's type.
type Form = (&'static str, &'static [u8], &'static str);

const FORMS: [Form; 3] = [
    (
        "/v1/messages",
        br#"{"model":"m","max_tokens":9,"messages":[],"stream":true}"#,
        "text/event-stream",
    ),
    ("/v1beta/models/m:streamGenerateContent", b"{}", "text/event-stream"),
    ("/v1beta/models/m:streamGenerateContent", b"{}", "application/json"),
];

/// Two bits of the first byte, above those of the sizes, say which form it is.
pub fn check(data: &[u8]) {
    let form = FORMS[usize::from(data.first().map_or(0, |byte| byte >> 3 & 3)) % FORMS.len()];
    let (sizes, text) = input::sizes(data);
    readers(text);
    let whole = stream(form, &[text], Commit::Head);
    assert_eq!(whole.got, text, "the bytes that come through");
    if let Some(usage) = whole.usage {
        is_consistent(usage);
    }
    assert_eq!(stream(form, &input::cut(text, sizes), Commit::Head), whole, "cut");
    let bytes: Vec<_> = text.chunks(1).collect();
    assert_eq!(stream(form, &bytes, Commit::Head), whole, "byte by byte");

    let first = stream(form, &[text], Commit::FirstToken);
    assert_eq!(stream(form, &bytes, Commit::FirstToken), first, "byte by byte, first token");
    if first.replaced {
        assert!(!first.ok && first.failure == whole.failure);
        let body: serde_json::Value = serde_json::from_slice(&first.got).expect("JSON");
        assert!(body["error"]["message"].is_string());
        let family = if form.0 == "/v1/messages" { "type" } else { "status" };
        assert!(body["error"][family].is_string(), "{body}");
    } else {
        assert_eq!(first, whole, "first token or head");
    }
}

/// What is read of any bytes never panics, and parts never exceed their totals.
fn readers(text: &[u8]) {
    let mut messages = anthropic::reply::EventReader::new();
    let mut chunks = gemini::reply::EventReader::new();
    for part in text.split(|byte| *byte == b'\n') {
        let part = part.strip_prefix(b"data:").unwrap_or(part);
        let readings = [
            messages.read(None, part),
            chunks.read(part),
            anthropic::reply::read(part),
            gemini::reply::read(part),
        ];
        for reading in readings.into_iter().flatten() {
            assert!(reading.content_bytes <= part.len() as u64, "more content than text");
            assert!(reading.content_bytes == 0 || reading.has_content);
            if let Some(usage) = reading.usage {
                is_consistent(usage);
            }
        }
    }
}

fn is_consistent(usage: Usage) {
    assert!(usage.total() > 0, "unknown is not zero");
    assert!(usage.reasoning <= usage.output && usage.output_audio <= usage.output);
    let parts = [usage.cached, usage.cache_write, usage.cache_write_1h];
    let parts = parts.into_iter().fold(0, u64::saturating_add);
    assert!(parts <= usage.input && usage.input_audio <= usage.input, "{usage:?}");
}

fn stream((path, body, reply_type): Form, reply: &[&[u8]], commit: Commit) -> Passed {
    let mut config = AttemptConfig::default();
    config.commit = commit;
    // Beyond these bounds a held stream goes out as it is, which depends on its chunks.
    config.max_held_events = usize::MAX;
    config.max_held = usize::MAX;
    // What is told of a stream that breaks is no byte of the provider's.
    config.tell_interruptions = false;
    let content_type = b"application/json";
    let (body, target) = (&[body][..], "m");
    pass(Call { path, content_type, body, target, reply_type, reply, config }).expect("it is right")
}
