use std::{borrow::Cow, io::Write as _};

use tollway_core::{Dialect, Failure, Usage};

use super::{
    super::{
        Asked, Form, StreamWriter,
        hub::{Event, Finish, Signature, StreamError},
    },
    queue::{JsonEnd, Queue},
    read_content::signature_block,
    stop::End,
    usage,
    write_reply::{citation, message},
};
use crate::{
    ErrorReply,
    json::{Json, Object},
};

#[derive(Debug)]
pub(crate) struct Writer {
    asked: Asked,
    started: bool,
    open: Option<Open>,
    /// Of the next block.
    index: u32,
    /// What came while a call was not over that may yet go on: blocks can't alternate.
    queue: Queue,
    end: End,
    stop_sequence: Option<String>,
    usage: Option<Usage>,
}

/// The block that has begun and not ended.
#[derive(Debug)]
enum Open {
    Text,
    Thinking { signed: bool },
    Call { call: u32, empty: bool, json: JsonEnd },
}

impl Writer {
    pub(crate) fn new(asked: &Asked) -> Self {
        Self {
            asked: asked.clone(),
            started: false,
            open: None,
            index: 0,
            queue: Queue::default(),
            end: End::default(),
            stop_sequence: None,
            usage: None,
        }
    }
}

impl StreamWriter for Writer {
    fn write(&mut self, event: Event<'_>, out: &mut Vec<u8>) {
        match event {
            Event::Start { id, model, .. } => self.start(id, model, out),
            // Usage is told at the end, when the last has come.
            Event::Usage(usage) => self.usage = Some(usage),
            Event::Finish { choice: 0, finish, stop_sequence } => {
                self.finish(finish, stop_sequence, out);
            }
            Event::Error(error) => write_error(&error, out),
            Event::End => self.end(out),
            Event::Text { choice: 0, .. }
            | Event::Citation { choice: 0, .. }
            | Event::Thinking { choice: 0, .. }
            | Event::Signature { choice: 0, .. }
            | Event::Redacted { choice: 0, .. }
            | Event::Refusal { choice: 0, .. }
            | Event::ToolStart { choice: 0, .. }
            | Event::ToolArguments { choice: 0, .. } => {
                self.ensure_start(out);
                self.piece(event, out);
                self.replay(false, out);
            }
            // Another answer than the one that the form has, or what it has no word for.
            _ => {}
        }
    }
}

impl Writer {
    fn ensure_start(&mut self, out: &mut Vec<u8>) {
        if !self.started {
            self.start(None, None, out);
        }
    }

    fn start(&mut self, id: Option<Cow<'_, str>>, model: Option<Cow<'_, str>>, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        let message = message(id, model, &self.asked)
            .with("content", Vec::<Json<'_>>::new())
            .with("stop_reason", Json::Null)
            .with("stop_sequence", Json::Null)
            // What is known comes in the end.
            .with("usage", usage::write(None));
        let event = Object::new().with("type", "message_start").with("message", message);
        write_event("message_start", event, out);
    }

    /// Writes a piece, or keeps it until the call that is open is over.
    fn piece(&mut self, event: Event<'_>, out: &mut Vec<u8>) {
        if let Some(Open::Call { call, json, .. }) = &self.open {
            let of_it = matches!(&event, Event::ToolArguments { call: of, .. } if of == call);
            // Nothing overtakes what waits already.
            if !(of_it || json.is_over() && self.queue.is_empty()) {
                self.queue.push(event);
                return;
            }
        }
        match event {
            Event::Text { text, .. } => self.text(&text, out),
            Event::Refusal { text, .. } => {
                self.end.refused = true;
                self.text(&text, out);
            }
            Event::Citation { citation: cited, .. } => {
                if matches!(self.open, Some(Open::Text)) {
                    let delta = Object::new()
                        .with("type", "citations_delta")
                        .with("citation", citation(cited));
                    self.rare_delta(delta, out);
                }
            }
            Event::Thinking { text, .. } => {
                if text.is_empty() {
                    return;
                }
                if !matches!(self.open, Some(Open::Thinking { .. })) {
                    self.open_thinking(out);
                }
                self.delta("thinking_delta", "thinking", &text, out);
            }
            Event::Signature { signature, .. } => {
                if !matches!(self.open, Some(Open::Thinking { .. })) {
                    self.open_thinking(out);
                }
                self.delta("signature_delta", "signature", &signature.text(Form::Messages), out);
                self.open = Some(Open::Thinking { signed: true });
                self.close(out);
            }
            Event::Redacted { data, .. } => self.redacted(data.text(Form::Messages), out),
            Event::ToolStart { call, id, name, signature, .. } => {
                self.end.called = true;
                if let Some(signature) = signature {
                    self.redacted(signature.text(Form::Messages), out);
                }
                self.close(out);
                let id = id.unwrap_or_else(|| self.asked.id("toolu_", self.index).into());
                let block = Object::new()
                    .with("type", "tool_use")
                    .with("id", id)
                    .with("name", name)
                    .with("input", Object::new());
                let json = JsonEnd::default();
                self.begin(Open::Call { call, empty: true, json }, block, out);
            }
            Event::ToolArguments { call, json: piece, .. } => {
                let Some(Open::Call { call: open, empty, json }) = &mut self.open else { return };
                if *open != call || piece.is_empty() {
                    return;
                }
                *empty = false;
                json.feed(piece.as_bytes());
                self.delta("input_json_delta", "partial_json", &piece, out);
            }
            _ => {}
        }
    }

    /// Writes what waited, as far as it needs to wait no longer.
    fn replay(&mut self, to_the_end: bool, out: &mut Vec<u8>) {
        while !self.queue.is_empty() {
            if let Some(Open::Call { json, .. }) = &self.open {
                if !json.is_over() && !to_the_end {
                    return;
                }
                self.close(out);
            }
            for event in self.queue.take() {
                self.piece(event, out);
            }
        }
    }

    fn text(&mut self, text: &str, out: &mut Vec<u8>) {
        if text.is_empty() {
            return;
        }
        if !matches!(self.open, Some(Open::Text)) {
            self.close(out);
            self.begin(Open::Text, Object::new().with("type", "text").with("text", ""), out);
        }
        self.delta("text_delta", "text", text, out);
    }

    fn open_thinking(&mut self, out: &mut Vec<u8>) {
        self.close(out);
        let block =
            Object::new().with("type", "thinking").with("thinking", "").with("signature", "");
        self.begin(Open::Thinking { signed: false }, block, out);
    }

    fn redacted(&mut self, data: Cow<'_, str>, out: &mut Vec<u8>) {
        self.close(out);
        // It has no deltas; what stays open is closed at once.
        self.begin(Open::Text, signature_block(data), out);
        self.close(out);
    }

    fn begin(&mut self, open: Open, block: Object<'_>, out: &mut Vec<u8>) {
        self.open = Some(open);
        let event = Object::new()
            .with("type", "content_block_start")
            .with("index", self.index)
            .with("content_block", block);
        write_event("content_block_start", event, out);
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        match &self.open {
            None => return,
            Some(Open::Thinking { signed: false }) => {
                self.delta(
                    "signature_delta",
                    "signature",
                    &Signature::unsigned().text(Form::Messages),
                    out,
                );
            }
            Some(Open::Call { empty: true, .. }) => {
                self.delta("input_json_delta", "partial_json", "{}", out);
            }
            Some(_) => {}
        }
        self.open = None;
        let index = self.index;
        self.index = index.saturating_add(1);
        // Memory does not fail to be written to.
        let _ = write!(
            out,
            "event: content_block_stop\ndata: {{\"type\":\"content_block_stop\",\"index\":{index}}}\n\n"
        );
    }

    /// The event of which there are thousands: written without a tree.
    fn delta(&self, kind: &str, key: &str, piece: &str, out: &mut Vec<u8>) {
        let index = self.index;
        let _ = write!(
            out,
            "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\
             \"index\":{index},\"delta\":{{\"type\":\"{kind}\",\"{key}\":"
        );
        let _ = serde_json::to_writer(&mut *out, piece);
        out.extend_from_slice(b"}}\n\n");
    }

    fn rare_delta(&self, delta: Object<'_>, out: &mut Vec<u8>) {
        let event = Object::new()
            .with("type", "content_block_delta")
            .with("index", self.index)
            .with("delta", delta);
        write_event("content_block_delta", event, out);
    }

    fn finish(&mut self, finish: Finish, sequence: Option<Cow<'_, str>>, out: &mut Vec<u8>) {
        self.ensure_start(out);
        self.replay(true, out);
        self.close(out);
        self.end.finish = Some(finish);
        self.end.met_sequence = sequence.is_some();
        self.stop_sequence = sequence.map(Cow::into_owned);
    }

    /// Tells why it ended and what it cost. A stream whose provider never told usage has zeros
    /// here, since the form demands numbers.
    fn end(&mut self, out: &mut Vec<u8>) {
        self.ensure_start(out);
        self.replay(true, out);
        self.close(out);
        let sequence = self.stop_sequence.take().filter(|_| self.end.finish == Some(Finish::Stop));
        let delta =
            Object::new().with("stop_reason", self.end.reason()).with("stop_sequence", sequence);
        let event = Object::new()
            .with("type", "message_delta")
            .with("delta", delta)
            .with("usage", usage::write(self.usage));
        write_event("message_delta", event, out);
        write_event("message_stop", Object::new().with("type", "message_stop"), out);
    }
}

fn write_error(error: &StreamError<'_>, out: &mut Vec<u8>) {
    let failure = Failure::new(error.class, error.message.to_string());
    out.extend_from_slice(b"event: error\ndata: ");
    out.extend_from_slice(&ErrorReply::of(&failure).body_in(Dialect::Anthropic));
    out.extend_from_slice(b"\n\n");
}

fn write_event(name: &str, event: Object<'_>, out: &mut Vec<u8>) {
    let _ = write!(out, "event: {name}\ndata: ");
    Json::Object(event).write(out);
    out.extend_from_slice(b"\n\n");
}
