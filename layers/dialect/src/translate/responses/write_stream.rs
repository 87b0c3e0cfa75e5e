use super::{
    echo, finish,
    finish::Outcome,
    line::Line,
    stream_item::{Content, Item, What},
    thought, usage,
};
use crate::{
    json::{Json, Object},
    openai::error::shape,
    translate::{
        Asked, StreamWriter,
        hub::{Event, Finish, Signature, StreamError},
    },
};
use tollway_core::Usage;

/// Writes every event that OpenAI does, in its order, so that any client can follow.
#[derive(Debug)]
pub(crate) struct Writer {
    asked: Asked,
    /// The `sequence_number` of the next event.
    number: u64,
    ids: u32,
    created: u64,
    /// The members of the `response` that never change, as JSON without braces.
    frame: Vec<u8>,
    items: Vec<Item>,
    /// The message or the reasoning that is being written; calls stay open besides it.
    open: Option<usize>,
    /// The number of a call, and which item it is.
    calls: Vec<(u32, usize)>,
    /// For the next piece of text.
    logprobs: Option<Json<'static>>,
    usage: Option<Usage>,
    finish: Option<Finish>,
}

impl StreamWriter for Writer {
    fn write(&mut self, event: Event<'_>, out: &mut Vec<u8>) {
        if self.frame.is_empty() && !matches!(event, Event::Start { .. } | Event::Error(_)) {
            self.start(None, None, None, out);
        }
        match event {
            Event::Start { id, model, created } => {
                self.start(id.as_deref(), model.as_deref(), created, out);
            }
            Event::Text { choice: 0, text } => self.say(false, &text, out),
            Event::Refusal { choice: 0, text } => self.say(true, &text, out),
            Event::Thinking { choice: 0, text } => self.think(&text, out),
            Event::Signature { choice: 0, signature } => self.sign(&signature, out),
            Event::Redacted { choice: 0, data } => self.sealed(&data, out),
            Event::Citation { choice: 0, citation } => {
                let Some(open) = self.open else { return };
                let Some(item) = self.items.get_mut(open) else { return };
                item.cite(open, citation, &mut self.number, out);
            }
            Event::ToolStart { choice: 0, call, id, name, signature } => {
                if let Some(signature) = signature {
                    self.sealed(&signature, out);
                }
                self.close_open(out);
                let call_id = match id {
                    Some(id) => id.into_owned(),
                    None => self.id("call_"),
                };
                let name = name.into_owned();
                let what = What::Call { call_id, name, arguments: String::new() };
                let id = self.id("fc_");
                let place = self.begin(id, what, out);
                self.calls.push((call, place));
            }
            Event::ToolArguments { choice: 0, call, json } => {
                let place = self.calls.iter().rev().find(|(number, _)| *number == call);
                let Some((_, place)) = place.copied() else { return };
                let Some(item) = self.items.get_mut(place) else { return };
                item.argue(place, &json, &mut self.number, out);
            }
            Event::Logprobs { choice: 0, logprobs: Json::Object(mut logprobs) } => {
                self.logprobs = logprobs.take("content").map(Json::into_owned);
            }
            Event::Finish { choice: 0, finish, .. } => {
                self.finish = Some(finish);
                self.close_all(out);
            }
            Event::Usage(usage) => self.usage = Some(usage),
            Event::Error(error) => self.fail(&error, out),
            Event::End => self.end(out),
            // Of another choice: there is one answer in this form.
            _ => {}
        }
    }
}

impl Writer {
    pub(crate) fn new(asked: &Asked) -> Self {
        Self {
            asked: asked.clone(),
            number: 0,
            ids: 0,
            created: asked.now,
            frame: Vec::new(),
            items: Vec::new(),
            open: None,
            calls: Vec::new(),
            logprobs: None,
            usage: None,
            finish: None,
        }
    }

    fn start(
        &mut self,
        id: Option<&str>,
        model: Option<&str>,
        created: Option<u64>,
        out: &mut Vec<u8>,
    ) {
        if !self.frame.is_empty() {
            return;
        }
        self.created = created.unwrap_or(self.asked.now);
        let mut frame = Object::new()
            .with("id", echo::id(id, &self.asked))
            .with("object", "response")
            .with("created_at", self.created)
            .with("model", model.unwrap_or(&self.asked.model));
        for (name, value) in echo::echo(&self.asked).into_members() {
            frame.push(name, value);
        }
        let frame = Json::Object(frame).to_vec();
        // Without its braces.
        self.frame = frame.get(1..frame.len().saturating_sub(1)).unwrap_or_default().to_vec();
        for name in ["response.created", "response.in_progress"] {
            let response = self.response(None);
            Line::begin(out, name, &mut self.number).raw("response", &response).end();
        }
    }

    /// The `response` as it is now; `None`: it is not over.
    fn response(&self, outcome: Option<Outcome>) -> Vec<u8> {
        let status = outcome.map_or("in_progress", |outcome| outcome.status);
        let completed = (status == "completed").then(|| self.created.max(self.asked.now));
        let output = self.items.iter().map(Item::object).collect::<Vec<_>>();
        let rest = Object::new()
            .with("status", status)
            .with("completed_at", completed)
            .with("error", outcome.and_then(Outcome::error))
            .with("incomplete_details", outcome.and_then(Outcome::incomplete_details))
            .with("output", output)
            .with("usage", outcome.and(self.usage.as_ref()).map(usage::write));
        let mut response = Vec::with_capacity(self.frame.len() + 512);
        response.push(b'{');
        response.extend_from_slice(&self.frame);
        let from = response.len();
        Json::Object(rest).write(&mut response);
        if let Some(brace) = response.get_mut(from) {
            *brace = b',';
        }
        response
    }

    fn id(&mut self, prefix: &str) -> String {
        self.ids += 1;
        self.asked.id(prefix, self.ids)
    }

    fn begin(&mut self, id: String, what: What, out: &mut Vec<u8>) -> usize {
        let place = self.items.len();
        let item = Item::new(id, what);
        Line::begin(out, "response.output_item.added", &mut self.number)
            .number("output_index", place)
            .json("item", item.object())
            .end();
        self.items.push(item);
        place
    }

    fn say(&mut self, refusal: bool, text: &str, out: &mut Vec<u8>) {
        if text.is_empty() {
            return;
        }
        let is_message = |item: &Item| matches!(item.what, What::Message(_));
        let open = self.open.filter(|open| self.items.get(*open).is_some_and(is_message));
        let place = match open {
            Some(open) => open,
            None => {
                self.close_open(out);
                let id = self.id("msg_");
                self.begin(id, What::Message(Vec::new()), out)
            }
        };
        self.open = Some(place);
        let logprobs = if refusal { None } else { self.logprobs.take() };
        if let Some(item) = self.items.get_mut(place) {
            item.say(place, Content::new(refusal), text, logprobs, &mut self.number, out);
        }
    }

    fn think(&mut self, text: &str, out: &mut Vec<u8>) {
        if text.is_empty() {
            return;
        }
        let place = self.reasoning(out);
        if let Some(item) = self.items.get_mut(place) {
            item.think(place, text, &mut self.number, out);
        }
    }

    /// The reasoning that is open, or a new one.
    fn reasoning(&mut self, out: &mut Vec<u8>) -> usize {
        let thinks = |item: &Item| matches!(item.what, What::Reasoning { .. });
        let open = self.open.filter(|open| self.items.get(*open).is_some_and(thinks));
        let place = open.unwrap_or_else(|| {
            self.close_open(out);
            let id = self.id("rs_");
            self.begin(id, What::Reasoning { text: None, sealed: None }, out)
        });
        self.open = Some(place);
        place
    }

    fn sign(&mut self, signature: &Signature<'_>, out: &mut Vec<u8>) {
        let place = self.reasoning(out);
        let (_, sealed) = thought::unseal(signature);
        if let Some(item) = self.items.get_mut(place) {
            // Even if it is of nothing: that tells it from reasoning that can't be read.
            item.think(place, "", &mut self.number, out);
            item.seal(sealed.into_owned());
        }
        self.close_open(out);
    }

    fn sealed(&mut self, data: &Signature<'_>, out: &mut Vec<u8>) {
        self.close_open(out);
        let (id, sealed) = thought::unseal(data);
        let id = id.map_or_else(|| self.id("rs_"), std::borrow::Cow::into_owned);
        let sealed = Some(sealed.into_owned());
        let place = self.begin(id, What::Reasoning { text: None, sealed }, out);
        self.open = Some(place);
        self.close_open(out);
    }

    fn close_open(&mut self, out: &mut Vec<u8>) {
        if let Some(open) = self.open.take() {
            if let Some(item) = self.items.get_mut(open) {
                item.close(open, "completed", &mut self.number, out);
            }
        }
    }

    fn close_all(&mut self, out: &mut Vec<u8>) {
        self.open = None;
        let status = finish::outcome(self.finish).of_last_item();
        for (place, item) in self.items.iter_mut().enumerate() {
            item.close(place, status, &mut self.number, out);
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.close_all(out);
        let outcome = finish::outcome(self.finish);
        let name = match outcome.status {
            "incomplete" => "response.incomplete",
            "failed" => "response.failed",
            _ => "response.completed",
        };
        let response = self.response(Some(outcome));
        Line::begin(out, name, &mut self.number).raw("response", &response).end();
    }

    fn fail(&mut self, error: &StreamError<'_>, out: &mut Vec<u8>) {
        let shape = shape(error.class);
        let code = error.code.as_deref().or(shape.code).unwrap_or(shape.kind);
        Line::begin(out, "error", &mut self.number)
            .text("code", code)
            .text("message", &error.message)
            .raw("param", b"null")
            .end();
    }
}
