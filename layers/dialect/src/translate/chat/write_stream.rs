use std::io::Write as _;

use serde::Serialize;
use tollway_core::Usage;

use super::{citations, extra_content, finish, for_client, thinking, usage};
use crate::{
    json::{Json, Object},
    openai::error,
    translate::{
        Asked, Form, StreamWriter,
        hub::{Event, StreamError},
    },
};

/// Writes the chunks of one answer.
#[derive(Debug)]
pub(crate) struct Writer {
    asked: Asked,
    /// What every chunk begins with, up to its choices.
    head: Vec<u8>,
    /// What every chunk with a choice ends with.
    tail: &'static str,
    choices: Vec<Choice>,
    usage: Option<Usage>,
    /// Ids made so far.
    made: u32,
}

#[derive(Debug, Default)]
struct Choice {
    index: u32,
    /// Of the piece that follows.
    logprobs: Option<Json<'static>>,
    /// The thought so far, for the block that its signature comes in.
    thought: String,
    /// The calls, and whether anything came of their arguments.
    calls: Vec<(u32, bool)>,
    /// How many there are of each: lists in deltas are put together by index.
    blocks: u32,
    citations: u32,
}

impl Writer {
    pub(crate) fn new(asked: &Asked) -> Self {
        // As OpenAI does it for who asks for usage.
        let tail = if asked.wants_usage { "}],\"usage\":null}\n\n" } else { "}]}\n\n" };
        Self {
            asked: asked.clone(),
            head: Vec::new(),
            tail,
            choices: Vec::new(),
            usage: None,
            made: 0,
        }
    }

    fn start(&mut self, id: Option<&str>, model: Option<&str>, created: Option<u64>) {
        let made;
        let id = match id {
            Some(id) => id,
            None => {
                made = self.asked.id("chatcmpl-", 0);
                &made
            }
        };
        self.head = b"data: {\"id\":".to_vec();
        json(&mut self.head, id);
        self.head.extend_from_slice(b",\"object\":\"chat.completion.chunk\",\"created\":");
        json(&mut self.head, &created.unwrap_or(self.asked.now));
        self.head.extend_from_slice(b",\"model\":");
        json(&mut self.head, model.unwrap_or(&self.asked.model));
        self.head.extend_from_slice(b",\"choices\":[");
    }

    /// Writes a chunk of this choice; its first one is preceded by the one with the role.
    fn chunk(
        &mut self,
        index: u32,
        out: &mut Vec<u8>,
        finish: Option<&'static str>,
        delta: impl FnOnce(&mut Vec<u8>),
    ) {
        self.begin(index, out);
        let logprobs = self.choice(index).and_then(|choice| choice.logprobs.take());
        self.put(index, out, logprobs, finish, delta);
    }

    fn begin(&mut self, index: u32, out: &mut Vec<u8>) {
        if self.head.is_empty() {
            self.start(None, None, None);
        }
        if self.choice(index).is_none() {
            self.choices.push(Choice { index, ..Choice::default() });
            self.put(index, out, None, None, |out| {
                out.extend_from_slice(b"{\"role\":\"assistant\",\"content\":\"\"}");
            });
        }
    }

    fn put(
        &self,
        index: u32,
        out: &mut Vec<u8>,
        logprobs: Option<Json<'static>>,
        finish: Option<&'static str>,
        delta: impl FnOnce(&mut Vec<u8>),
    ) {
        out.extend_from_slice(&self.head);
        out.extend_from_slice(b"{\"index\":");
        json(out, &index);
        out.extend_from_slice(b",\"delta\":");
        delta(out);
        if let Some(logprobs) = logprobs {
            out.extend_from_slice(b",\"logprobs\":");
            logprobs.write(out);
        }
        out.extend_from_slice(b",\"finish_reason\":");
        json(out, &finish);
        out.extend_from_slice(self.tail.as_bytes());
    }

    /// A delta with one member of text.
    fn text(&mut self, index: u32, out: &mut Vec<u8>, key: &str, text: &str) {
        if !text.is_empty() {
            self.chunk(index, out, None, |out| {
                out.push(b'{');
                json(out, key);
                out.push(b':');
                json(out, text);
                out.push(b'}');
            });
        }
    }

    fn delta(&mut self, index: u32, out: &mut Vec<u8>, key: &'static str, item: Json<'_>) {
        let delta = Object::new().with(key, Json::Array(vec![item]));
        self.chunk(index, out, None, |out| Json::Object(delta).write(out));
    }

    /// The next one of a list.
    fn item(
        &mut self,
        index: u32,
        out: &mut Vec<u8>,
        key: &'static str,
        item: Object<'_>,
        count: impl Fn(&mut Choice) -> &mut u32,
    ) {
        self.begin(index, out);
        let Some(number) = self.choice(index).map(count) else { return };
        let item = item.with("index", *number);
        *number = number.saturating_add(1);
        self.delta(index, out, key, item.into());
    }

    fn block(&mut self, index: u32, out: &mut Vec<u8>, block: Object<'_>) {
        self.item(index, out, "thinking_blocks", block, |choice| &mut choice.blocks);
    }

    fn arguments(&mut self, index: u32, call: u32, text: &str, out: &mut Vec<u8>) {
        self.chunk(index, out, None, |out| {
            // Writing to memory does not fail.
            let _ =
                write!(out, "{{\"tool_calls\":[{{\"index\":{call},\"function\":{{\"arguments\":");
            json(out, text);
            out.extend_from_slice(b"}}]}");
        });
    }

    fn choice(&mut self, index: u32) -> Option<&mut Choice> {
        self.choices.iter_mut().find(|choice| choice.index == index)
    }

    /// Those of calls that came without any.
    fn fill_arguments(&mut self, choice: u32, out: &mut Vec<u8>) {
        let calls = self.choice(choice).map(|choice| std::mem::take(&mut choice.calls));
        for (call, _) in calls.into_iter().flatten().filter(|(_, given)| !given) {
            self.arguments(choice, call, "{}", out);
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        // Of choices whose end nobody told.
        let choices: Vec<_> = self.choices.iter().map(|choice| choice.index).collect();
        for choice in choices {
            self.fill_arguments(choice, out);
        }
        if let Some(counts) = self.usage.filter(|_| self.asked.wants_usage) {
            if self.head.is_empty() {
                self.start(None, None, None);
            }
            out.extend_from_slice(&self.head);
            out.extend_from_slice(b"],\"usage\":");
            Json::Object(usage::write(&counts)).write(out);
            out.extend_from_slice(b"}\n\n");
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }
}

impl StreamWriter for Writer {
    fn write(&mut self, event: Event<'_>, out: &mut Vec<u8>) {
        match event {
            Event::Start { id, model, created } => {
                self.start(id.as_deref(), model.as_deref(), created);
            }
            Event::Text { choice, text } => self.text(choice, out, "content", &text),
            Event::Refusal { choice, text } => self.text(choice, out, "refusal", &text),
            Event::Thinking { choice, text } => {
                self.text(choice, out, "reasoning_content", &text);
                if let Some(choice) = self.choice(choice) {
                    choice.thought.push_str(&text);
                }
            }
            Event::Signature { choice, signature } => {
                let thought = self.choice(choice).map(|choice| std::mem::take(&mut choice.thought));
                let text = signature.text(Form::Chat);
                let block = thinking::block(thought.unwrap_or_default().into(), Some(text));
                self.block(choice, out, block);
            }
            Event::Redacted { choice, data } => {
                let block = thinking::redacted(data.text(Form::Chat));
                self.block(choice, out, block);
            }
            Event::Citation { choice, citation } => {
                let citation = citations::write(citation);
                self.item(choice, out, "annotations", citation, |choice| &mut choice.citations);
            }
            Event::ToolStart { choice, call, id, name, signature } => {
                let id = id.unwrap_or_else(|| {
                    self.made = self.made.saturating_add(1);
                    self.asked.id("call_", self.made).into()
                });
                let function = Object::new().with("name", name).with("arguments", "");
                let extra = signature.map(|signature| extra_content(for_client(&signature)));
                let started = Object::new()
                    .with("index", call)
                    .with("id", id)
                    .with("type", "function")
                    .with("function", function)
                    .with_some("extra_content", extra);
                self.delta(choice, out, "tool_calls", started.into());
                if let Some(choice) = self.choice(choice) {
                    choice.calls.push((call, false));
                }
            }
            Event::ToolArguments { choice, call, json } => {
                if json.is_empty() {
                    return;
                }
                self.arguments(choice, call, &json, out);
                let calls = self.choice(choice).map(|choice| choice.calls.iter_mut().rev());
                if let Some((_, given)) = calls.into_iter().flatten().find(|known| known.0 == call)
                {
                    *given = true;
                }
            }
            Event::Logprobs { choice, logprobs } => self.logprobs(choice, logprobs, out),
            Event::Finish { choice, finish, .. } => {
                self.fill_arguments(choice, out);
                let finish = finish::name(finish);
                self.chunk(choice, out, Some(finish), |out| out.extend_from_slice(b"{}"));
            }
            Event::Usage(usage) => self.usage = Some(usage),
            Event::Error(told) => write_error(&told, out),
            Event::End => self.end(out),
        }
    }
}

impl Writer {
    /// They wait for their piece; if there are some already, theirs was an empty one.
    fn logprobs(&mut self, index: u32, logprobs: Json<'_>, out: &mut Vec<u8>) {
        self.begin(index, out);
        if self.choice(index).is_some_and(|choice| choice.logprobs.is_some()) {
            self.chunk(index, out, None, |out| out.extend_from_slice(b"{}"));
        }
        if let Some(choice) = self.choice(index) {
            choice.logprobs = Some(logprobs.into_owned());
        }
    }
}

fn write_error(told: &StreamError<'_>, out: &mut Vec<u8>) {
    let shape = error::shape(told.class);
    let code = told.code.as_deref().or(shape.code);
    out.extend_from_slice(b"data: ");
    out.extend_from_slice(&error::body(&told.message, shape.kind, None, code));
    out.extend_from_slice(b"\n\n");
}

fn json<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    // Numbers and strings serialize, and memory does not fail to be written to.
    let _ = serde_json::to_writer(out, value);
}
