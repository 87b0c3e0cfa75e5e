//! A stream of any form written in any other: the same however it is cut; every event is whole; it
//! ends at most once, never behind an error, and only where the provider said so.

use serde_json::Value;
use tollway_dialect::translate::{Form, Stream};

use super::{cell, input, sse};

/// The first byte says which forms, and whether Gemini's client wants events; then the sizes.
pub fn check(data: &[u8]) {
    let Some((provider, client, switches, rest)) = cell::split(data) else { return };
    let (sizes, text) = input::sizes(rest);
    let events = switches & 1 == 0;
    let whole = written(provider, client, events, &[text]);
    assert_eq!(written(provider, client, events, &input::cut(text, sizes)), whole, "cut");
    let bytes: Vec<_> = text.chunks(1).collect();
    assert_eq!(written(provider, client, events, &bytes), whole, "byte by byte");

    let mut told = Told::default();
    for event in split(&whole, client != Form::Generate || events) {
        assert!(!told.ended && !told.failed, "something follows the end: {event}");
        told.event(client, &event);
    }
    if told.ended {
        assert!(!told.open, "an end inside of a block");
        assert!(!never_ends(provider, text), "nobody said that it is over");
    }
}

fn written(provider: Form, client: Form, events: bool, chunks: &[&[u8]]) -> Vec<u8> {
    let mut asked = cell::asked(client, br#"{"model":"m","input":"Hi","temperature":0.5}"#);
    asked.sse = events;
    let mut stream = Stream::new(provider, &asked);
    let mut out = Vec::new();
    for chunk in chunks {
        stream.feed(chunk, &mut out);
    }
    stream.finish(&mut out);
    out
}

/// Each event's JSON; `[DONE]` is a string.
fn split(out: &[u8], events: bool) -> Vec<Value> {
    if !events {
        let text = out.trim_ascii_end();
        if text.is_empty() {
            return Vec::new();
        }
        // Without its bracket it is one that broke off.
        let closed = text.ends_with(b"]") && serde_json::from_slice::<Value>(text).is_ok();
        let whole = if closed { text.to_vec() } else { [text, b"]"].concat() };
        return serde_json::from_slice(&whole).expect("an array");
    }
    let blocks = sse::blocks(out);
    assert_eq!(blocks.last().map_or(0, |(span, _)| span.end), out.len(), "a piece of an event");
    let data = blocks.into_iter().filter_map(|(span, _)| sse::fields(&out[span], false).data);
    data.map(|data| match &data[..] {
        b"[DONE]" => "[DONE]".into(),
        data => serde_json::from_slice(data).expect("JSON"),
    })
    .collect()
}

/// What a client has seen so far.
#[derive(Default)]
struct Told {
    ended: bool,
    failed: bool,
    /// Messages: a block has begun and not ended.
    open: bool,
    number: u64,
}

impl Told {
    fn event(&mut self, form: Form, event: &Value) {
        let kind = event["type"].as_str().unwrap_or_default();
        match form {
            Form::Chat => {
                self.ended = event == "[DONE]";
                self.failed = event.get("error").is_some();
            }
            Form::Responses => {
                self.ended = matches!(kind, "response.completed" | "response.incomplete");
                self.failed = matches!(kind, "response.failed" | "error");
                assert_eq!(event["sequence_number"], self.number, "{event}");
                self.number += 1;
            }
            Form::Messages => {
                self.ended = kind == "message_stop";
                self.failed = kind == "error";
                match kind {
                    "content_block_start" => {
                        assert!(!std::mem::replace(&mut self.open, true), "{event}");
                        assert_eq!(event["index"], self.number);
                    }
                    "content_block_delta" => assert!(self.open && event["index"] == self.number),
                    "content_block_stop" => {
                        assert!(std::mem::take(&mut self.open) && event["index"] == self.number);
                        self.number += 1;
                    }
                    "message_delta" => assert!(!self.open, "{event}"),
                    _ => {}
                }
            }
            Form::Generate => {
                let candidates = event["candidates"].as_array().into_iter().flatten();
                self.ended |=
                    candidates.filter(|one| one.get("finishReason").is_some()).count() > 0;
                self.failed = event.get("error").is_some();
            }
        }
    }
}

/// Surely: not a word of it is there, nor an escape that may hide one.
fn never_ends(form: Form, text: &[u8]) -> bool {
    let words: &[&str] = match form {
        Form::Chat => &["DONE", "finish"],
        Form::Responses => &["complete", "done"],
        Form::Messages => &["message_stop"],
        Form::Generate => &["finish", "promptFeedback", "prompt_feedback", "block"],
    };
    let text = String::from_utf8_lossy(text);
    !text.contains('\\') && words.iter().all(|word| !text.contains(word))
}
