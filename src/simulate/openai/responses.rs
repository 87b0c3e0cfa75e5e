//! The Responses API.

use std::fmt::Write;

use bytes::{BufMut, Bytes, BytesMut};
use serde_json::{Value, json};

use super::{
    super::{
        State,
        body::{Event, Events},
        future::Exchange,
        text::Generated,
    },
    Outcome, admit,
    chat::Job,
    error::Error,
    order,
    request::Ask,
    streamed, whole,
    write::{self, CREATED, escaped, number},
};

/// `POST /responses`
pub(super) fn responses(state: &State, x: &mut Exchange) -> Outcome {
    let body = x.body.clone();
    let ask = Ask::read(&body)?;
    let model = ask.model()?;
    order::check_input(ask.items("input")?, ask.previous_response_id.is_some())?;
    let job = Job::new(x, &ask, "resp_")?;
    let levels = admit(state, x, model, job.total())?;
    let tokens = job.total();
    let reply = Reply {
        model: model.to_owned(),
        instructions: ask.instructions.as_ref().map(|text| text.0.clone().into_owned()),
        bound: ask.bound(),
        items: if job.draft.calls.is_empty() {
            vec![x.id("msg_")]
        } else {
            (0..).zip(&job.draft.calls).map(|(n, _)| x.nth_id("fc_", n)).collect()
        },
        job,
    };
    let answer = if ask.streams() {
        streamed(x, Box::new(ResponseEvents::new(reply)), tokens)
    } else {
        let bytes = write::json(&reply.object(reply.end_status(), true));
        whole(x, "application/json", bytes, reply.job.output(), tokens)
    };
    Ok(answer.with_levels(&levels))
}

struct Reply {
    job: Job,
    model: String,
    instructions: Option<String>,
    bound: Option<u32>,
    /// The ids of the output items: a message, or calls.
    items: Vec<String>,
}

impl Reply {
    fn end_status(&self) -> &'static str {
        let draft = &self.job.draft;
        if draft.cut || draft.refused { "incomplete" } else { "completed" }
    }

    /// The status of an item: what cuts the reply cuts its last one.
    fn item_status(&self, index: usize) -> &'static str {
        if index + 1 < self.items.len() { "completed" } else { self.end_status() }
    }

    fn object(&self, status: &str, ended: bool) -> Value {
        let (input, output) = (self.job.input, self.job.output());
        let usage = json!({
            "input_tokens": input,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": output,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": self.job.total(),
        });
        let reason = if self.job.draft.refused { "content_filter" } else { "max_output_tokens" };
        let incomplete = (status == "incomplete").then(|| json!({"reason": reason}));
        let said = ended && status != "failed";
        let items = if said { self.items.len() } else { 0 };
        let output: Vec<Value> = (0..items).map(|n| self.item(n, self.item_status(n))).collect();
        let counted = ended && status != "failed" && !self.job.no_usage;
        let error = (status == "failed").then(|| {
            let error = Error::of(http::StatusCode::INTERNAL_SERVER_ERROR);
            json!({"code": "server_error", "message": error.message})
        });
        json!({
            "id": self.job.id,
            "object": "response",
            "created_at": CREATED,
            "completed_at": (status == "completed").then_some(CREATED),
            "status": status,
            "error": error,
            "incomplete_details": incomplete,
            "instructions": self.instructions,
            "max_output_tokens": self.bound,
            "model": self.model,
            "output": output,
            "parallel_tool_calls": true,
            "previous_response_id": null,
            "reasoning": {"effort": null, "summary": null},
            "service_tier": "default",
            "store": false,
            "temperature": 1.0,
            "text": {"format": {"type": "text"}},
            "tool_choice": "auto",
            "tools": [],
            "top_p": 1.0,
            "truncation": "disabled",
            "usage": counted.then_some(usage),
            "user": null,
            "metadata": {},
        })
    }

    /// An output item; empty while it is in progress.
    fn item(&self, index: usize, status: &str) -> Value {
        let (begun, item) = (status != "in_progress", self.items.get(index));
        if let Some(call) = self.job.draft.calls.get(index) {
            let arguments = if begun { call.arguments.text.as_str() } else { "" };
            return json!({
                "type": "function_call", "id": item, "call_id": call.id, "name": call.name,
                "arguments": arguments, "status": status,
            });
        }
        let content = if begun { vec![part(&self.job.draft.text.text)] } else { vec![] };
        json!({
            "type": "message", "id": item, "status": status, "role": "assistant",
            "content": content,
        })
    }
}

fn part(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
}

/// The named events of a streamed reply.
struct ResponseEvents {
    reply: Reply,
    /// `event: ...delta` up to the sequence number, and from it to the piece.
    delta: (Bytes, Bytes),
    sequence: u64,
    phase: Phase,
    /// The item under way.
    index: usize,
    at: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Created,
    InProgress,
    ItemAdded,
    PartAdded,
    Delta,
    TextDone,
    PartDone,
    ItemDone,
    End,
    Over,
}

impl ResponseEvents {
    fn new(reply: Reply) -> Self {
        let delta = (Bytes::new(), Bytes::new());
        let mut events = Self { reply, delta, sequence: 0, phase: Phase::Created, index: 0, at: 0 };
        events.prepare();
        events
    }

    /// Makes what all deltas of the item under way have in common.
    fn prepare(&mut self) {
        let (name, rest) = if self.is_call() {
            ("response.function_call_arguments.delta", "")
        } else {
            ("response.output_text.delta", r#""content_index":0,"logprobs":[],"#)
        };
        let before = format!("event: {name}\ndata: {{\"type\":\"{name}\",\"sequence_number\":");
        let (item, index) = (self.item_id(), self.index);
        let after = format!(r#","item_id":"{item}","output_index":{index},{rest}"delta":""#);
        self.delta = (Bytes::from(before), Bytes::from(after));
    }

    fn is_call(&self) -> bool {
        !self.reply.job.draft.calls.is_empty()
    }

    fn item_id(&self) -> &str {
        self.reply.items.get(self.index).map_or("", String::as_str)
    }

    fn words(&self) -> &Generated {
        self.reply.job.words(self.index)
    }

    /// What comes between the tokens of two items is no end.
    fn end(&self) -> Event {
        if self.index + 1 < self.reply.items.len() { Event::Start } else { Event::End }
    }

    fn event(&mut self, out: &mut BytesMut, name: &str, mut fields: Value) {
        fields["type"] = json!(name);
        fields["sequence_number"] = json!(self.sequence);
        let _ = write!(out, "event: {name}\ndata: {fields}\n\n");
    }

    fn write_delta(&mut self, out: &mut BytesMut) {
        let piece = self.reply.job.words(self.index).piece(self.at);
        out.put_slice(&self.delta.0);
        number(out, self.sequence);
        out.put_slice(&self.delta.1);
        escaped(out, piece);
        out.put_slice(b"\"}\n\n");
        self.at += piece.len();
    }

    /// After a token or the last event before them.
    fn content_or(&self, end: Phase) -> Phase {
        if self.at < self.words().text.len() { Phase::Delta } else { end }
    }

    fn write_done(&mut self, out: &mut BytesMut) -> Phase {
        let (text, item, index) = (&self.words().text, self.item_id(), self.index);
        if let Some(call) = self.reply.job.draft.calls.get(index) {
            let fields = json!({
                "item_id": item, "output_index": index, "name": call.name, "arguments": text,
            });
            self.event(out, "response.function_call_arguments.done", fields);
            return Phase::ItemDone;
        }
        let fields = json!({
            "item_id": item, "output_index": 0, "content_index": 0, "text": text, "logprobs": [],
        });
        self.event(out, "response.output_text.done", fields);
        Phase::PartDone
    }

    fn write_part(&mut self, out: &mut BytesMut, name: &str, text: &str) {
        let item = self.item_id();
        let fields = json!({
            "item_id": item, "output_index": 0, "content_index": 0, "part": part(text),
        });
        self.event(out, name, fields);
    }

    fn write_item(&mut self, out: &mut BytesMut, name: &str, status: &str) {
        let item = self.reply.item(self.index, status);
        let fields = json!({"output_index": self.index, "item": item});
        self.event(out, name, fields);
    }

    fn write_response(&mut self, out: &mut BytesMut, name: &str, status: &str) {
        let ended = status != "in_progress";
        let fields = json!({"response": self.reply.object(status, ended)});
        self.event(out, name, fields);
    }
}

impl Events for ResponseEvents {
    fn next(&mut self, out: &mut BytesMut) -> Option<Event> {
        let is_call = self.is_call();
        let status = self.reply.end_status();
        let (kind, then) = match self.phase {
            Phase::Created => {
                self.write_response(out, "response.created", "in_progress");
                (Event::Start, Phase::InProgress)
            }
            Phase::InProgress => {
                self.write_response(out, "response.in_progress", "in_progress");
                (Event::Start, Phase::ItemAdded)
            }
            Phase::ItemAdded => {
                self.write_item(out, "response.output_item.added", "in_progress");
                let then =
                    if is_call { self.content_or(Phase::TextDone) } else { Phase::PartAdded };
                (Event::Start, then)
            }
            Phase::PartAdded => {
                self.write_part(out, "response.content_part.added", "");
                (Event::Start, self.content_or(Phase::TextDone))
            }
            Phase::Delta => {
                self.write_delta(out);
                (Event::Content, self.content_or(Phase::TextDone))
            }
            Phase::TextDone => (self.end(), self.write_done(out)),
            Phase::PartDone => {
                let text = self.words().text.clone();
                self.write_part(out, "response.content_part.done", &text);
                (Event::End, Phase::ItemDone)
            }
            Phase::ItemDone => {
                let status = self.reply.item_status(self.index);
                self.write_item(out, "response.output_item.done", status);
                let kind = self.end();
                if self.index + 1 < self.reply.items.len() {
                    (self.index, self.at) = (self.index + 1, 0);
                    self.prepare();
                    (kind, Phase::ItemAdded)
                } else {
                    (kind, Phase::End)
                }
            }
            Phase::End => {
                self.write_response(out, &format!("response.{status}"), status);
                (Event::End, Phase::Over)
            }
            Phase::Over => return None,
        };
        self.sequence += 1;
        self.phase = then;
        Some(kind)
    }

    fn error(&mut self, out: &mut BytesMut) {
        // The event that this one replaces has taken its number.
        self.sequence = self.sequence.saturating_sub(1);
        self.write_response(out, "response.failed", "failed");
    }
}
