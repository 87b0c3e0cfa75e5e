use std::{borrow::Cow, collections::VecDeque};

use tollway_core::{Dialect, Failure, Usage};

use super::{citations, finish, logprobs, part, usage};
use crate::{
    ErrorReply,
    json::{Json, Object},
    translate::{
        Asked, StreamWriter,
        hub::{Arguments, Citation, Event, Finish, StreamError, UNREADABLE},
    },
};

/// Calls are collected, because Gemini's form has them whole; finishes are held until the end, to
/// go with the usage.
#[derive(Debug)]
pub(crate) struct Writer {
    asked: Asked,
    /// What every chunk ends with: `],"modelVersion":...}`.
    tail: Vec<u8>,
    /// Something has been written.
    open: bool,
    choices: Vec<State>,
    usage: Option<Usage>,
}

#[derive(Debug)]
struct State {
    index: u32,
    /// Not written yet.
    calls: VecDeque<Call>,
    citations: Vec<Citation<'static>>,
    logprobs: Option<Json<'static>>,
    finish: Option<Finish>,
    /// All text so far is ASCII, where bytes and characters are one.
    ascii: bool,
}

#[derive(Debug)]
struct Call {
    number: u32,
    id: Option<String>,
    name: String,
    signature: Option<String>,
    arguments: String,
}

impl Writer {
    pub(crate) fn new(asked: &Asked) -> Self {
        let tail = tail(&asked.model, &asked.id("", 0));
        let asked = asked.clone();
        Self { asked, tail, open: false, choices: Vec::new(), usage: None }
    }
}

impl StreamWriter for Writer {
    fn write(&mut self, event: Event<'_>, out: &mut Vec<u8>) {
        match event {
            Event::Start { id, model, .. } => {
                let model = model.unwrap_or(Cow::Borrowed(&self.asked.model));
                let id = id.unwrap_or_else(|| self.asked.id("", 0).into());
                self.tail = tail(&model, &id);
            }
            Event::Text { choice, text } | Event::Refusal { choice, text } => {
                if text.is_empty() {
                    return;
                }
                let state = self.ready(choice, out);
                state.ascii &= text.is_ascii();
                let logprobs = state.logprobs.take();
                self.parts(choice, logprobs, out, |out| write_text(&text, false, out));
            }
            Event::Thinking { choice, text } if text.is_empty() => {
                self.ready(choice, out);
            }
            Event::Thinking { choice, text } => {
                self.ready(choice, out);
                self.parts(choice, None, out, |out| write_text(&text, true, out));
            }
            // It marks that there is none.
            Event::Signature { signature, .. } if signature.data.is_empty() => {}
            Event::Signature { choice, signature } => {
                self.ready(choice, out);
                self.part(choice, part::signature_alone(&signature), out);
            }
            Event::Redacted { choice, data } => {
                self.ready(choice, out);
                self.part(choice, part::thought("", Some(part::redacted(data))), out);
            }
            Event::ToolStart { choice, call, id, name, signature } => {
                let signature = part::signature_text(signature);
                self.state(choice).calls.push_back(Call {
                    number: call,
                    id: id.map(Cow::into_owned),
                    name: name.into_owned(),
                    signature: signature.map(Cow::into_owned),
                    arguments: String::new(),
                });
            }
            Event::ToolArguments { choice, call, json } => {
                let calls = self.state(choice).calls.iter_mut().rev();
                if let Some(call) = calls.into_iter().find(|known| known.number == call) {
                    call.arguments.push_str(&json);
                }
            }
            Event::Citation { choice, citation } => {
                self.state(choice).citations.push(owned(citation));
            }
            Event::Logprobs { choice, logprobs } => {
                let logprobs = logprobs::write(logprobs.into_owned());
                self.state(choice).logprobs = logprobs;
            }
            Event::Finish { choice, finish, .. } => {
                self.calls(choice, true, out);
                self.state(choice).finish = Some(finish);
            }
            Event::Usage(usage) => self.usage = Some(usage),
            Event::Error(error) => self.error(&error, out),
            Event::End => self.end(out),
        }
    }
}

impl Writer {
    fn state(&mut self, index: u32) -> &mut State {
        let place = self.choices.iter().position(|choice| choice.index == index);
        let place = place.unwrap_or_else(|| {
            self.choices.push(State {
                index,
                calls: VecDeque::new(),
                citations: Vec::new(),
                logprobs: None,
                finish: None,
                ascii: true,
            });
            self.choices.len() - 1
        });
        &mut self.choices[place]
    }

    /// The choice goes on to something that is no call: calls before it come first.
    fn ready(&mut self, choice: u32, out: &mut Vec<u8>) -> &mut State {
        if !self.state(choice).calls.is_empty() {
            self.calls(choice, false, out);
        }
        self.state(choice)
    }

    /// Writes the calls that are whole, or all of them if no more is to come.
    fn calls(&mut self, choice: u32, last: bool, out: &mut Vec<u8>) {
        while let Some(call) = self.state(choice).calls.pop_front() {
            let text = call.arguments.as_str();
            let args = Arguments::Text(text.into()).into_object();
            // Without a piece it may be a call whose arguments are yet to come.
            let whole = !text.trim().is_empty() && args.get(UNREADABLE).is_none();
            if !whole && !last {
                self.state(choice).calls.push_front(call);
                return;
            }
            let (id, name) = (call.id.map(Cow::Owned), Cow::Owned(call.name));
            let signature = call.signature.map(Cow::Owned);
            self.part(choice, part::function_call(id, name, args, signature), out);
        }
    }

    fn part(&mut self, choice: u32, part: Object<'_>, out: &mut Vec<u8>) {
        self.parts(choice, None, out, |out| Json::Object(part).write(out));
    }

    /// One chunk with one part.
    fn parts(
        &mut self,
        choice: u32,
        logprobs: Option<Json<'_>>,
        out: &mut Vec<u8>,
        part: impl FnOnce(&mut Vec<u8>),
    ) {
        self.begin(out);
        out.extend_from_slice(br#"{"candidates":[{"content":{"parts":["#);
        part(out);
        out.extend_from_slice(br#"],"role":"model"},"index":"#);
        Json::from(choice).write(out);
        if let Some(logprobs) = logprobs {
            out.extend_from_slice(br#","logprobsResult":"#);
            logprobs.write(out);
        }
        out.push(b'}');
        out.extend_from_slice(&self.tail);
        self.close(out);
    }

    /// An event, or another element of the one array.
    fn begin(&mut self, out: &mut Vec<u8>) {
        let first = !std::mem::replace(&mut self.open, true);
        out.extend_from_slice(match (self.asked.sse, first) {
            (true, _) => b"data: ",
            (false, true) => b"[",
            (false, false) => b",\n",
        });
    }

    fn close(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(if self.asked.sse { b"\n\n" } else { b"\n" });
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        // Of choices whose end nobody told.
        let open: Vec<_> = self.choices.iter().map(|choice| choice.index).collect();
        open.into_iter().for_each(|choice| self.calls(choice, true, out));
        let mut choices = std::mem::take(&mut self.choices);
        choices.sort_by_key(|choice| choice.index);
        let candidates = choices.into_iter().map(|choice| {
            let ascii = choice.ascii;
            let cited = citations::write(choice.citations, |place| ascii.then_some(place));
            let content = Object::new().with("parts", vec![part::text("")]).with("role", "model");
            Object::new()
                .with("content", content)
                .with_some("finishReason", choice.finish.map(finish::name))
                .with("index", choice.index)
                .with_some("citationMetadata", cited)
                .with_some("logprobsResult", choice.logprobs)
        });
        let candidates: Vec<_> = candidates.collect();
        self.begin(out);
        out.extend_from_slice(br#"{"candidates":"#);
        Json::from(candidates).write(out);
        if let Some(usage) = &self.usage {
            out.extend_from_slice(br#","usageMetadata":"#);
            Json::Object(usage::write(usage)).write(out);
        }
        // It begins with the bracket that closes `candidates`.
        out.extend_from_slice(self.tail.get(1..).unwrap_or(b"}"));
        self.close(out);
        self.close_array(out);
    }

    /// As a whole reply would tell it. An array is closed, so that it can be read.
    fn error(&mut self, error: &StreamError<'_>, out: &mut Vec<u8>) {
        let failure = Failure::new(error.class, error.message.to_string());
        self.begin(out);
        out.extend_from_slice(&ErrorReply::of(&failure).body_in(Dialect::Gemini));
        self.close(out);
        self.close_array(out);
    }

    fn close_array(&self, out: &mut Vec<u8>) {
        if !self.asked.sse {
            out.push(b']');
        }
    }
}

fn tail(model: &str, id: &str) -> Vec<u8> {
    let mut tail = br#"],"modelVersion":"#.to_vec();
    Json::from(model).write(&mut tail);
    tail.extend_from_slice(br#","responseId":"#);
    Json::from(id).write(&mut tail);
    tail.push(b'}');
    tail
}

fn write_text(text: &str, thought: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"text":"#);
    Json::from(text).write(out);
    out.extend_from_slice(if thought { br#","thought":true}"# } else { b"}" });
}

fn owned(citation: Citation<'_>) -> Citation<'static> {
    Citation {
        url: citation.url.into_owned().into(),
        title: citation.title.map(|title| title.into_owned().into()),
        range: citation.range,
        quote: None,
    }
}
