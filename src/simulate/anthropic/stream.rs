//! A reply as named events.

use std::fmt::Write;

use bytes::{BufMut, BytesMut};
use serde_json::{Value, json};

use super::{
    super::{
        body::{Event, Events},
        text::Generated,
        write::{escaped, number},
    },
    messages::Reply,
};

/// One block of the content, as it is sent.
struct Block {
    /// The `content_block` that it starts with.
    start: Value,
    /// `delta` up to the text of its piece.
    delta: &'static [u8],
    content: Generated,
    /// Pieces of JSON begin with an empty one.
    is_json: bool,
    /// What its end is preceded by.
    signature: Option<String>,
}

pub(super) struct Blocks {
    reply: Reply,
    blocks: Vec<Block>,
    phase: Phase,
    /// The block under way.
    index: usize,
    /// Where its next token starts.
    at: usize,
    pinged: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Start,
    BlockStart,
    Ping,
    EmptyPiece,
    Piece,
    Signature,
    BlockStop,
    Delta,
    Stop,
    Over,
}

impl Blocks {
    pub(super) fn new(mut reply: Reply) -> Self {
        let mut blocks = Vec::new();
        let draft = &mut reply.draft;
        if let Some(thoughts) = &draft.thoughts {
            blocks.push(Block {
                start: json!({"type": "thinking", "thinking": "", "signature": ""}),
                delta: br#"{"type":"thinking_delta","thinking":""#,
                content: thoughts.clone(),
                is_json: false,
                signature: Some(reply.signature.clone()),
            });
        }
        if !draft.text.text.is_empty() {
            blocks.push(Block {
                start: json!({"type": "text", "text": ""}),
                delta: br#"{"type":"text_delta","text":""#,
                content: draft.text.clone(),
                is_json: false,
                signature: None,
            });
        }
        blocks.extend(draft.calls.iter().map(|call| Block {
            start: json!({"type": "tool_use", "id": call.id, "name": call.name, "input": {}}),
            delta: br#"{"type":"input_json_delta","partial_json":""#,
            // No piece at all means no arguments.
            content: if call.arguments.text == "{}" {
                call.arguments.clone().unspoken()
            } else {
                call.arguments.clone()
            },
            is_json: true,
            signature: None,
        }));
        Self { reply, blocks, phase: Phase::Start, index: 0, at: 0, pinged: false }
    }

    /// What comes in the block under way from here on.
    fn inside(&self) -> Phase {
        match self.blocks.get(self.index) {
            Some(block) if self.at < block.content.text.len() => Phase::Piece,
            Some(block) if block.signature.is_some() => Phase::Signature,
            _ => Phase::BlockStop,
        }
    }

    fn begin(&self) -> Phase {
        match self.blocks.get(self.index) {
            Some(block) if block.is_json => Phase::EmptyPiece,
            _ => self.inside(),
        }
    }

    /// An event that comes between tokens is no end.
    fn between(&self) -> Event {
        let left = self.blocks.get(self.index + 1..).unwrap_or_default();
        let more = left.iter().any(|block| !block.content.text.is_empty());
        if more { Event::Start } else { Event::End }
    }

    fn write_piece(&mut self, out: &mut BytesMut, empty: bool) {
        let Some(block) = self.blocks.get(self.index) else { return };
        let piece = if empty { "" } else { block.content.piece(self.at) };
        out.put_slice(
            b"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":",
        );
        number(out, self.index as u64);
        out.put_slice(b",\"delta\":");
        out.put_slice(block.delta);
        escaped(out, piece);
        out.put_slice(b"\"}}\n\n");
        self.at += piece.len();
    }

    fn write_end(&self, out: &mut BytesMut) {
        let mut delta = json!({
            "type": "message_delta",
            "delta": {"stop_reason": self.reply.stop_reason(), "stop_sequence": null},
        });
        if !self.reply.no_usage {
            delta["usage"] = self.reply.usage(self.reply.draft.output());
        }
        event(out, "message_delta", &delta);
    }
}

fn event(out: &mut BytesMut, name: &str, data: &Value) {
    let _ = write!(out, "event: {name}\ndata: {data}\n\n");
}

impl Events for Blocks {
    fn next(&mut self, out: &mut BytesMut) -> Option<Event> {
        let index = self.index;
        let (kind, then) = match self.phase {
            Phase::Start => {
                let message = self.reply.message(&[], None, 1);
                event(out, "message_start", &json!({"type": "message_start", "message": message}));
                let then = if self.blocks.is_empty() { Phase::Delta } else { Phase::BlockStart };
                (Event::Start, then)
            }
            Phase::BlockStart => {
                let start = self.blocks.get(index).map(|block| &block.start);
                let data =
                    json!({"type": "content_block_start", "index": index, "content_block": start});
                event(out, "content_block_start", &data);
                (Event::Start, if self.pinged { self.begin() } else { Phase::Ping })
            }
            Phase::Ping => {
                self.pinged = true;
                event(out, "ping", &json!({"type": "ping"}));
                (Event::Start, self.begin())
            }
            Phase::EmptyPiece => {
                self.write_piece(out, true);
                (Event::Start, self.inside())
            }
            Phase::Piece => {
                self.write_piece(out, false);
                (Event::Content, self.inside())
            }
            Phase::Signature => {
                let signature = self.blocks.get(index).and_then(|block| block.signature.as_ref());
                let delta = json!({"type": "signature_delta", "signature": signature});
                let data = json!({"type": "content_block_delta", "index": index, "delta": delta});
                event(out, "content_block_delta", &data);
                (self.between(), Phase::BlockStop)
            }
            Phase::BlockStop => {
                event(
                    out,
                    "content_block_stop",
                    &json!({"type": "content_block_stop", "index": index}),
                );
                let kind = self.between();
                (self.index, self.at) = (index + 1, 0);
                let more = self.index < self.blocks.len();
                (kind, if more { Phase::BlockStart } else { Phase::Delta })
            }
            Phase::Delta => {
                self.write_end(out);
                (Event::End, Phase::Stop)
            }
            Phase::Stop => {
                event(out, "message_stop", &json!({"type": "message_stop"}));
                (Event::End, Phase::Over)
            }
            Phase::Over => return None,
        };
        self.phase = then;
        Some(kind)
    }

    fn error(&mut self, out: &mut BytesMut) {
        out.put_slice(b"event: error\ndata: ");
        out.put_slice(self.reply.late_error.as_bytes());
        out.put_slice(b"\n\n");
    }

    fn malformed(&mut self, out: &mut BytesMut) {
        out.put_slice(b"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":\"\xF0\x9F, oops\n\n");
    }
}
