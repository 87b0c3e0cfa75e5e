//! The Responses API.

use std::fmt::Write;

use bytes::{BufMut, Bytes, BytesMut};
use serde_json::{Value, json};

use super::{
    super::{
        State,
        body::{Event, Events},
        future::Exchange,
    },
    Outcome, admit,
    chat::Job,
    error::Error,
    request::Ask,
    streamed, whole,
    write::{self, CREATED, escaped, number},
};

/// `POST /responses`
pub(super) fn responses(state: &State, x: &mut Exchange) -> Outcome {
    let body = x.body.clone();
    let ask = Ask::read(&body)?;
    let model = ask.model()?;
    ask.items("input")?;
    let job = Job::new(x, &ask, "resp_")?;
    let levels = admit(state, x, model, job.total())?;
    let tokens = job.total();
    let reply = Reply {
        model: model.to_owned(),
        instructions: ask.instructions.as_ref().map(|text| text.0.clone().into_owned()),
        bound: ask.bound(),
        item: x.id(if job.call.is_some() { "fc_" } else { "msg_" }),
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
    /// The id of the one output item.
    item: String,
}

impl Reply {
    fn end_status(&self) -> &'static str {
        if self.job.generated.cut { "incomplete" } else { "completed" }
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
        let incomplete = (status == "incomplete").then(|| json!({"reason": "max_output_tokens"}));
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
            "output": if ended && status != "failed" { vec![self.item(status)] } else { vec![] },
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

    /// The output item; empty while it is in progress.
    fn item(&self, status: &str) -> Value {
        let begun = status != "in_progress";
        if let Some((name, id)) = &self.job.call {
            let name: Value = serde_json::from_slice(name).unwrap_or_default();
            let arguments = if begun { self.job.generated.text.as_str() } else { "" };
            return json!({
                "type": "function_call", "id": self.item, "call_id": id, "name": name,
                "arguments": arguments, "status": status,
            });
        }
        let content = if begun { vec![part(&self.job.generated.text)] } else { vec![] };
        json!({
            "type": "message", "id": self.item, "status": status, "role": "assistant",
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
        let (name, rest) = if reply.job.call.is_some() {
            ("response.function_call_arguments.delta", "")
        } else {
            ("response.output_text.delta", r#""content_index":0,"logprobs":[],"#)
        };
        let before = format!("event: {name}\ndata: {{\"type\":\"{name}\",\"sequence_number\":");
        let after = format!(r#","item_id":"{}","output_index":0,{rest}"delta":""#, reply.item);
        let delta = (Bytes::from(before), Bytes::from(after));
        Self { reply, delta, sequence: 0, phase: Phase::Created, at: 0 }
    }

    fn event(&mut self, out: &mut BytesMut, name: &str, mut fields: Value) {
        fields["type"] = json!(name);
        fields["sequence_number"] = json!(self.sequence);
        let _ = write!(out, "event: {name}\ndata: {fields}\n\n");
    }

    fn write_delta(&mut self, out: &mut BytesMut) {
        let piece = self.reply.job.generated.piece(self.at);
        out.put_slice(&self.delta.0);
        number(out, self.sequence);
        out.put_slice(&self.delta.1);
        escaped(out, piece);
        out.put_slice(b"\"}\n\n");
        self.at += piece.len();
    }

    /// After a token or the last event before them.
    fn content_or(&self, end: Phase) -> Phase {
        if self.at < self.reply.job.generated.text.len() { Phase::Delta } else { end }
    }

    fn write_done(&mut self, out: &mut BytesMut) -> Phase {
        let (text, item) = (&self.reply.job.generated.text, &self.reply.item);
        if let Some((name, _)) = &self.reply.job.call {
            let name: Value = serde_json::from_slice(name).unwrap_or_default();
            let fields =
                json!({"item_id": item, "output_index": 0, "name": name, "arguments": text});
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
        let item = &self.reply.item;
        let fields = json!({
            "item_id": item, "output_index": 0, "content_index": 0, "part": part(text),
        });
        self.event(out, name, fields);
    }

    fn write_item(&mut self, out: &mut BytesMut, name: &str, status: &str) {
        let fields = json!({"output_index": 0, "item": self.reply.item(status)});
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
        let is_call = self.reply.job.call.is_some();
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
            Phase::TextDone => (Event::End, self.write_done(out)),
            Phase::PartDone => {
                let text = self.reply.job.generated.text.clone();
                self.write_part(out, "response.content_part.done", &text);
                (Event::End, Phase::ItemDone)
            }
            Phase::ItemDone => {
                self.write_item(out, "response.output_item.done", status);
                (Event::End, Phase::End)
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
