use std::borrow::Cow;

use super::{
    calls::Calls, citations, finish, lenient, lenient_array, lenient_object, piece::Piece,
    take_call_signature, thinking, usage,
};
use crate::{
    json::{Json, Object},
    translate::{
        Form, StreamReader,
        hub::{Body, Event, Part, Signature, StreamError},
    },
};

/// OpenAI gives 128 at most.
const MOST_CHOICES: usize = 128;

/// Reads the chunks of any provider in OpenAI's form.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    started: bool,
    /// An error, or `[DONE]`.
    over: bool,
    choices: Vec<Choice>,
}

#[derive(Debug, Default)]
struct Choice {
    index: u32,
    /// The last reason that was given. Some servers give one with each chunk, so that it counts
    /// only when the stream is over.
    reason: Option<Box<str>>,
    /// Reasoning came as text, so blocks that repeat it add their signature alone.
    thought: bool,
    calls: Calls,
    /// How many of the calls have begun.
    begun: u32,
}

type Emit<'e> = dyn FnMut(Event<'_>) + 'e;

impl StreamReader for Reader {
    fn read(
        &mut self,
        _name: Option<&[u8]>,
        data: &[u8],
        emit: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), serde_json::Error> {
        let data = data.trim_ascii();
        if self.over || data.is_empty() {
            return Ok(());
        }
        if data == b"[DONE]" {
            self.done(emit);
            return Ok(());
        }
        if self.piece(data, emit) {
            return Ok(());
        }
        // Gemini's chat form puts an error into an array.
        let value = match Json::read(data)? {
            Json::Array(items) => items.into_iter().next().unwrap_or_default(),
            value => value,
        };
        if let Json::Object(chunk) = value {
            self.chunk(chunk, data, emit);
        }
        Ok(())
    }

    /// Some servers never send `[DONE]`: then a stream whose choices have all ended is whole.
    fn end(&mut self, emit: &mut dyn FnMut(Event<'_>)) {
        let whole =
            !self.choices.is_empty() && self.choices.iter().all(|choice| choice.reason.is_some());
        if whole && !self.over {
            self.finish(emit);
        }
    }
}

impl Reader {
    /// A piece of text, of a choice that is known: no tree has to be built.
    fn piece(&self, data: &[u8], emit: &mut Emit<'_>) -> bool {
        // The first chunk tells more than its text.
        if self.choices.is_empty() {
            return false;
        }
        let Some((index, text)) = Piece::read(data) else { return false };
        let known = self.choices.iter().any(|choice| choice.index == index);
        if known && !text.is_empty() {
            emit(Event::Text { choice: index, text });
        }
        known
    }

    fn chunk(&mut self, mut chunk: Object<'_>, data: &[u8], emit: &mut Emit<'_>) {
        let groq = lenient_object(&mut chunk, "x_groq");
        if is_error(&chunk) || groq.as_ref().is_some_and(is_error) {
            self.start(None, emit);
            self.over = true;
            emit(Event::Error(error(&chunk, data)));
            return;
        }
        let mut choices = lenient_array(&mut chunk, "choices");
        let of_choice = choices.iter_mut().find_map(|choice| match choice {
            Json::Object(choice) => choice.take("usage"),
            _ => None,
        });
        let of_groq = groq.and_then(|mut groq| groq.take("usage"));
        let counted = [chunk.take("usage"), of_choice, of_groq]
            .into_iter()
            .find_map(|counts| usage::read(&counts?));
        // Azure's first chunk has no id yet, and only says what its filter thinks of the prompt.
        if choices.is_empty() && counted.is_none() {
            return;
        }
        self.start(Some(&mut chunk), emit);
        for (n, choice) in (0..).zip(choices) {
            if let Json::Object(choice) = choice {
                self.choice(choice, n, emit);
            }
        }
        if let Some(counted) = counted {
            emit(Event::Usage(counted));
        }
    }

    fn start(&mut self, chunk: Option<&mut Object<'_>>, emit: &mut Emit<'_>) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        let mut none = Object::new();
        let chunk = chunk.unwrap_or(&mut none);
        let created = chunk.get("created").and_then(Json::as_u64).filter(|time| *time > 0);
        emit(Event::Start { id: lenient(chunk, "id"), model: lenient(chunk, "model"), created });
    }

    fn choice(&mut self, mut said: Object<'_>, n: u32, emit: &mut Emit<'_>) {
        let index = said.get("index").and_then(Json::as_u64);
        let index = index.and_then(|index| index.try_into().ok()).unwrap_or(n);
        let place = self.choices.iter().position(|choice| choice.index == index);
        let place = place.unwrap_or(self.choices.len());
        if place == self.choices.len() && place < MOST_CHOICES {
            self.choices.push(Choice { index, ..Choice::default() });
        }
        let Some(choice) = self.choices.get_mut(place) else { return };
        if let Some(logprobs) = said.take("logprobs") {
            emit(Event::Logprobs { choice: index, logprobs });
        }
        if let Some(delta) = lenient_object(&mut said, "delta") {
            choice.delta(delta, emit);
        }
        if let Some(name) = lenient(&mut said, "finish_reason").filter(|name| name != "null") {
            choice.reason = Some(name.into());
        }
    }

    fn done(&mut self, emit: &mut Emit<'_>) {
        self.start(None, emit);
        self.finish(emit);
    }

    /// That it is over the provider says; why a choice ended, not always: for a reason that nobody
    /// knows there is no event.
    fn finish(&mut self, emit: &mut Emit<'_>) {
        self.over = true;
        for Choice { index, reason, begun, .. } in &self.choices {
            let finish = reason.as_deref().and_then(|name| finish::read(name, *begun > 0));
            if let Some(finish) = finish {
                emit(Event::Finish { choice: *index, finish, stop_sequence: None });
            }
        }
        emit(Event::End);
    }
}

impl Choice {
    fn delta(&mut self, mut delta: Object<'_>, emit: &mut Emit<'_>) {
        let choice = self.index;
        if let Some(text) = thinking::take_text(&mut delta) {
            self.thought = true;
            emit(Event::Thinking { choice, text });
        }
        for block in lenient_array(&mut delta, "thinking_blocks") {
            if let Json::Object(mut block) = block {
                self.block(thinking::read_block(&mut block), emit);
            }
        }
        match delta.take("content") {
            Some(Json::String(text)) if !text.is_empty() => emit(Event::Text { choice, text }),
            Some(Json::Array(items)) => {
                for item in items {
                    let Json::Object(mut item) = item else { continue };
                    if let Some(text) = lenient(&mut item, "text") {
                        emit(Event::Text { choice, text });
                    }
                }
            }
            _ => {}
        }
        if let Some(text) = lenient(&mut delta, "refusal") {
            emit(Event::Refusal { choice, text });
        }
        let said = lenient_object(&mut delta, "audio");
        if let Some(text) = said.and_then(|mut audio| lenient(&mut audio, "transcript")) {
            emit(Event::Text { choice, text });
        }
        for citation in citations::read(&mut delta) {
            emit(Event::Citation { choice, citation });
        }
        for call in lenient_array(&mut delta, "tool_calls") {
            if let Json::Object(call) = call {
                self.call(call, emit);
            }
        }
        if let Some(function) = lenient_object(&mut delta, "function_call") {
            self.call(Object::new().with("index", 0u64).with("function", function), emit);
        }
    }

    /// What was in `reasoning_content` before is not said again.
    fn block(&mut self, block: Option<Part<'_>>, emit: &mut Emit<'_>) {
        let choice = self.index;
        match block.map(|part| part.body) {
            Some(Body::Thinking { text, signature }) => {
                if !self.thought && !text.is_empty() {
                    emit(Event::Thinking { choice, text });
                }
                if let Some(signature) = signature {
                    self.thought = false;
                    emit(Event::Signature { choice, signature });
                }
            }
            Some(Body::Redacted(data)) => emit(Event::Redacted { choice, data }),
            _ => {}
        }
    }

    fn call(&mut self, mut said: Object<'_>, emit: &mut Emit<'_>) {
        let choice = self.index;
        let index = said.get("index").and_then(Json::as_u64);
        let id = lenient(&mut said, "id");
        let signature = take_call_signature(&mut said);
        let mut function = lenient_object(&mut said, "function").unwrap_or_default();
        let name = lenient(&mut function, "name");
        let json: Cow<'_, str> = match function.take("arguments") {
            Some(Json::String(text)) => text,
            Some(value @ Json::Object(_)) => value.to_text().into(),
            _ => Cow::Borrowed(""),
        };
        let Some(call) = self.calls.of(index, id.as_deref(), name.is_some()) else { return };
        if let Some(signature) = signature.filter(|_| call.signature.is_none()) {
            call.signature = Some(signature.into_owned());
        }
        match (call.number, name) {
            (None, Some(name)) => {
                let number = self.begun;
                self.begun = number.saturating_add(1);
                call.number = Some(number);
                let id = call.id.clone().map(Cow::Owned);
                let signature = call.signature.clone().map(|text| Signature::new(Form::Chat, text));
                emit(Event::ToolStart { choice, call: number, id, name, signature });
                let early = std::mem::take(&mut call.early);
                if !early.is_empty() {
                    emit(Event::ToolArguments { choice, call: number, json: early.into() });
                }
            }
            (None, None) => {
                call.early.push_str(&json);
                return;
            }
            (Some(_), _) => {}
        }
        if let Some(number) = call.number.filter(|_| !json.is_empty()) {
            emit(Event::ToolArguments { choice, call: number, json });
        }
    }
}

/// As the official SDKs see it: anything that counts as true.
fn is_error(object: &Object<'_>) -> bool {
    let truthy = match object.get("error") {
        None | Some(Json::Null | Json::Bool(false)) => false,
        Some(Json::String(text)) => !text.is_empty(),
        Some(Json::Number(number)) => number.as_f64() != Some(0.0),
        Some(_) => true,
    };
    truthy || object.str("type") == Some("error")
}

fn error(chunk: &Object<'_>, data: &[u8]) -> StreamError<'static> {
    let code = chunk.get("error").and_then(|error| error.as_object()?.str("code"));
    StreamError { code: code.map(|code| code.to_owned().into()), ..StreamError::read(data) }
}
