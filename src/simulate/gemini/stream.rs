//! A reply as chunks: events, or the elements of one array.

use std::fmt::Write;

use bytes::{BufMut, BytesMut};
use serde_json::{Value, json};

use super::{
    super::body::{Event, Events},
    error,
    generate::Reply,
};

pub(super) struct Chunks {
    reply: Reply,
    /// No SSE: `[{...}`, `,{...}`, `]`.
    array: bool,
    begun: bool,
    /// The same before the last chunk, which an error replaces.
    begun_before: bool,
    phase: Phase,
    /// Where the next token of thought or text starts.
    at: usize,
    /// The next call.
    call: usize,
    /// Tokens of thought and of answer so far.
    thoughts: u64,
    answer: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Thought,
    Text,
    Calls,
    Finish,
    Bracket,
    Over,
}

impl Chunks {
    pub(super) fn new(reply: Reply, array: bool) -> Self {
        // Thoughts that are not shown are over before the first chunk.
        let shown = reply.shows_thoughts && reply.draft.thoughts.is_some();
        let thoughts = if shown { 0 } else { reply.draft.thinking_tokens() };
        let phase = if shown { Phase::Thought } else { Phase::Text };
        let mut chunks = Self {
            reply,
            array,
            begun: false,
            begun_before: false,
            phase,
            at: 0,
            call: 0,
            thoughts,
            answer: 0,
        };
        chunks.skip();
        chunks
    }

    /// Goes on to the next phase that has something to say.
    fn skip(&mut self) {
        let draft = &self.reply.draft;
        let thought = draft.thoughts.as_ref().map_or(0, |thoughts| thoughts.text.len());
        if self.phase == Phase::Thought && self.at >= thought {
            (self.phase, self.at) = (Phase::Text, 0);
        }
        if self.phase == Phase::Text && self.at >= draft.text.text.len() {
            self.phase = Phase::Calls;
        }
        let calls = draft.calls.get(self.call..).unwrap_or_default();
        let whole = calls.first().is_some_and(|call| self.reply.call(call, false).is_some());
        if self.phase == Phase::Calls && !whole {
            self.phase = Phase::Finish;
        }
    }

    fn write(&mut self, out: &mut BytesMut, value: &Value) {
        let before = match (self.array, self.begun) {
            (true, false) => "[",
            (true, true) => ",\r\n",
            (false, _) => "data: ",
        };
        (self.begun_before, self.begun) = (self.begun, true);
        let after = if self.array { "" } else { "\r\n\r\n" };
        let _ = write!(out, "{before}{value}{after}");
    }

    fn chunk(&mut self, out: &mut BytesMut, part: Value) {
        let chunk = self.reply.response(vec![part], None, (self.thoughts, self.answer));
        self.write(out, &chunk);
    }

    fn finish(&mut self, out: &mut BytesMut) {
        let draft = &self.reply.draft;
        (self.thoughts, self.answer) = (draft.thinking_tokens(), draft.answer_tokens());
        let mut part = json!({"text": ""});
        if let Some(signature) = self.reply.text_signature().filter(|_| !draft.text.text.is_empty())
        {
            part["thoughtSignature"] = json!(signature);
        }
        let reason = self.reply.finish_reason();
        let last = self.reply.response(vec![part], Some(reason), (self.thoughts, self.answer));
        self.write(out, &last);
    }
}

impl Events for Chunks {
    fn next(&mut self, out: &mut BytesMut) -> Option<Event> {
        let draft = &self.reply.draft;
        match self.phase {
            Phase::Thought | Phase::Text => {
                let thought = self.phase == Phase::Thought;
                let words = draft.thoughts.as_ref().filter(|_| thought).unwrap_or(&draft.text);
                let piece = words.piece(self.at).to_owned();
                self.at += piece.len();
                let part = if thought {
                    self.thoughts += 1;
                    json!({"text": piece, "thought": true})
                } else {
                    self.answer += 1;
                    json!({"text": piece})
                };
                self.chunk(out, part);
                self.skip();
                Some(Event::Content)
            }
            Phase::Calls => {
                let call = draft.calls.get(self.call)?;
                let part = self.reply.call(call, self.call == 0)?;
                self.answer += u64::from(call.arguments.tokens);
                self.call += 1;
                self.chunk(out, part);
                self.skip();
                Some(Event::Content)
            }
            Phase::Finish => {
                self.finish(out);
                self.phase = if self.array { Phase::Bracket } else { Phase::Over };
                Some(Event::End)
            }
            Phase::Bracket => {
                out.put_slice(b"]");
                self.phase = Phase::Over;
                Some(Event::End)
            }
            Phase::Over => None,
        }
    }

    fn error(&mut self, out: &mut BytesMut) {
        self.begun = self.begun_before;
        self.write(out, &error::late());
        if self.array {
            out.put_slice(b"]");
        }
    }

    fn malformed(&mut self, out: &mut BytesMut) {
        let (before, after): (&[u8], &[u8]) = match (self.array, self.begun_before) {
            (true, false) => (b"[", b""),
            (true, true) => (b",", b""),
            (false, _) => (b"data: ", b"\r\n\r\n"),
        };
        out.put_slice(before);
        out.put_slice(b"{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"\xF0\x9F, oops");
        out.put_slice(after);
    }
}
