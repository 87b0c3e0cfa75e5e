use std::borrow::Cow;

use serde::de::Error as _;

use super::{
    super::{
        Form, StreamReader,
        hub::{Citation, Event, Finish, Signature, StreamError},
    },
    JSON_TOOL,
    read_content::{signature, web_citation},
    read_reply::explanation,
    stop, usage,
};
use crate::{
    anthropic::usage::Counts,
    json::{Json, Object},
};

#[derive(Debug, Default)]
pub(crate) struct Reader {
    started: bool,
    ended: bool,
    counts: Counts,
    open: Vec<(u64, Block)>,
    calls: u32,
    /// Of the call that is about to begin.
    signature: Option<Signature<'static>>,
    /// Characters of the answer's text so far.
    text_len: u64,
    /// Told at the end: more than one event may bring it, and the last one counts.
    finish: Option<(Finish, Option<String>)>,
}

/// What has begun and not yet ended.
#[derive(Debug)]
enum Block {
    Text {
        start: u64,
        citations: Vec<Citation<'static>>,
    },
    /// `empty`: no piece of the input has come.
    Call {
        call: u32,
        empty: bool,
    },
    /// The call that is the answer itself.
    Json {
        empty: bool,
    },
    Thinking,
    Other,
}

impl StreamReader for Reader {
    fn read(
        &mut self,
        name: Option<&[u8]>,
        data: &[u8],
        emit: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), serde_json::Error> {
        let Json::Object(mut event) = Json::read(data)? else {
            return Err(serde_json::Error::custom("not an object"));
        };
        if self.ended {
            return Ok(());
        }
        let kind = match event.take("type") {
            Some(Json::String(kind)) => kind,
            _ => String::from_utf8_lossy(name.unwrap_or_default()),
        };
        match &*kind {
            "message_start" => self.message_start(event, emit),
            "content_block_start" => self.block_start(event, emit),
            "content_block_delta" => self.block_delta(event, emit),
            "content_block_stop" => self.block_stop(&event, emit),
            "message_delta" => self.message_delta(event, emit),
            "message_stop" => self.message_stop(emit),
            "error" => {
                self.start(emit);
                self.ended = true;
                emit(Event::Error(StreamError::read(data)));
            }
            // `ping`, and what may come.
            _ => {}
        }
        Ok(())
    }
}

impl Reader {
    fn start(&mut self, emit: &mut dyn FnMut(Event<'_>)) {
        if !std::mem::replace(&mut self.started, true) {
            emit(Event::Start { id: None, model: None, created: None });
        }
    }

    fn message_start(&mut self, mut event: Object<'_>, emit: &mut dyn FnMut(Event<'_>)) {
        let mut message = object(&mut event, "message");
        if !std::mem::replace(&mut self.started, true) {
            let (id, model) = (text(&mut message, "id"), text(&mut message, "model"));
            emit(Event::Start { id, model, created: None });
        }
        self.usage(&message, emit);
    }

    fn usage(&mut self, holder: &Object<'_>, emit: &mut dyn FnMut(Event<'_>)) {
        let Some(usage) = holder.get("usage") else { return };
        usage::merge(&mut self.counts, usage);
        if let Some(usage) = self.counts.usage() {
            emit(Event::Usage(usage));
        }
    }

    fn block_start(&mut self, mut event: Object<'_>, emit: &mut dyn FnMut(Event<'_>)) {
        self.start(emit);
        let index = event.get("index").and_then(Json::as_u64).unwrap_or(0);
        let mut block = object(&mut event, "content_block");
        let kind = text(&mut block, "type").unwrap_or_default();
        if &*kind != "tool_use" {
            if let Some(data) = self.signature.take() {
                emit(Event::Redacted { choice: 0, data });
            }
        }
        let begun = match &*kind {
            "text" => Block::Text { start: self.text_len, citations: Vec::new() },
            "tool_use" => self.call_start(&mut block, emit),
            "thinking" => Block::Thinking,
            "redacted_thinking" => {
                let data = text(&mut block, "data");
                match data.map(|data| Signature::read(Form::Messages, data)) {
                    Some(data) if data.of == Form::Generate => {
                        let text = data.data.into_owned();
                        self.signature = Some(Signature::new(data.of, text));
                    }
                    Some(data) => emit(Event::Redacted { choice: 0, data }),
                    None => {}
                }
                Block::Other
            }
            _ => Block::Other,
        };
        self.open.retain(|(other, _)| *other != index);
        self.open.push((index, begun));
        // As a rule empty, but some begin with all they have.
        for key in ["text", "thinking", "signature"] {
            if let Some(piece) = text(&mut block, key).filter(|piece| !piece.is_empty()) {
                self.piece(index, key, piece, emit);
            }
        }
        if let Some(Json::Object(input)) = block.take("input").filter(|_| &*kind == "tool_use") {
            if !input.is_empty() {
                self.piece(index, "partial_json", Json::Object(input).to_text().into(), emit);
            }
        }
    }

    fn call_start(&mut self, block: &mut Object<'_>, emit: &mut dyn FnMut(Event<'_>)) -> Block {
        let name = text(block, "name").unwrap_or_default();
        if name == JSON_TOOL {
            return Block::Json { empty: true };
        }
        let call = self.calls;
        self.calls = self.calls.saturating_add(1);
        let id = text(block, "id");
        let signature = self.signature.take();
        emit(Event::ToolStart { choice: 0, call, id, name, signature });
        Block::Call { call, empty: true }
    }

    fn block_delta(&mut self, mut event: Object<'_>, emit: &mut dyn FnMut(Event<'_>)) {
        self.start(emit);
        let index = event.get("index").and_then(Json::as_u64).unwrap_or(0);
        let mut delta = object(&mut event, "delta");
        let kind = text(&mut delta, "type").unwrap_or_default();
        let key = match &*kind {
            "text_delta" => "text",
            "input_json_delta" => "partial_json",
            "thinking_delta" => "thinking",
            "signature_delta" => "signature",
            "citations_delta" => {
                let block = self.open.iter_mut().find(|(open, _)| *open == index);
                if let Some((_, Block::Text { citations, .. })) = block {
                    if let Some(found) = web_citation(object(&mut delta, "citation")) {
                        citations.push(owned(found));
                    }
                }
                return;
            }
            _ => return,
        };
        if let Some(piece) = text(&mut delta, key).filter(|piece| !piece.is_empty()) {
            self.piece(index, key, piece, emit);
        }
    }

    /// A piece that is not empty, of the block of this index.
    fn piece(
        &mut self,
        index: u64,
        key: &str,
        piece: Cow<'_, str>,
        emit: &mut dyn FnMut(Event<'_>),
    ) {
        let Some((_, block)) = self.open.iter_mut().find(|(open, _)| *open == index) else {
            return;
        };
        match (block, key) {
            (Block::Text { .. }, "text") => {
                self.text_len += piece.chars().count() as u64;
                emit(Event::Text { choice: 0, text: piece });
            }
            (Block::Json { empty }, "partial_json") => {
                *empty = false;
                self.text_len += piece.chars().count() as u64;
                emit(Event::Text { choice: 0, text: piece });
            }
            (Block::Call { call, empty }, "partial_json") => {
                *empty = false;
                emit(Event::ToolArguments { choice: 0, call: *call, json: piece });
            }
            (Block::Thinking, "thinking") => emit(Event::Thinking { choice: 0, text: piece }),
            (Block::Thinking, "signature") => {
                if let Some(signature) = signature(piece) {
                    emit(Event::Signature { choice: 0, signature });
                }
            }
            _ => {}
        }
    }

    fn block_stop(&mut self, event: &Object<'_>, emit: &mut dyn FnMut(Event<'_>)) {
        let index = event.get("index").and_then(Json::as_u64).unwrap_or(0);
        let Some(place) = self.open.iter().position(|(open, _)| *open == index) else { return };
        match self.open.swap_remove(place).1 {
            Block::Call { call, empty: true } => {
                emit(Event::ToolArguments { choice: 0, call, json: "{}".into() });
            }
            Block::Json { empty: true } => emit(Event::Text { choice: 0, text: "{}".into() }),
            Block::Text { start, citations } => {
                for mut citation in citations {
                    citation.range = Some((start, self.text_len));
                    emit(Event::Citation { choice: 0, citation });
                }
            }
            _ => {}
        }
    }

    fn message_delta(&mut self, mut event: Object<'_>, emit: &mut dyn FnMut(Event<'_>)) {
        self.start(emit);
        self.usage(&event, emit);
        let mut delta = object(&mut event, "delta");
        if let Some(reason) = text(&mut delta, "stop_reason") {
            let sequence = text(&mut delta, "stop_sequence");
            let finish = stop::read(&reason);
            self.finish = finish.map(|finish| (finish, sequence.map(Cow::into_owned)));
        }
        if let Some(said) = explanation(delta.take("stop_details")) {
            emit(Event::Refusal { choice: 0, text: said });
        }
    }

    fn message_stop(&mut self, emit: &mut dyn FnMut(Event<'_>)) {
        self.start(emit);
        self.ended = true;
        if let Some(data) = self.signature.take() {
            emit(Event::Redacted { choice: 0, data });
        }
        if let Some((finish, sequence)) = self.finish.take() {
            let finish = match finish {
                // The only call was the answer itself.
                Finish::ToolCalls if self.calls == 0 => Finish::Stop,
                finish => finish,
            };
            let stop_sequence = sequence.map(Into::into);
            emit(Event::Finish { choice: 0, finish, stop_sequence });
        }
        emit(Event::End);
    }
}

fn object<'a>(from: &mut Object<'a>, key: &str) -> Object<'a> {
    match from.take(key) {
        Some(Json::Object(object)) => object,
        _ => Object::new(),
    }
}

fn text<'a>(from: &mut Object<'a>, key: &str) -> Option<Cow<'a, str>> {
    match from.take(key) {
        Some(Json::String(text)) => Some(text),
        _ => None,
    }
}

fn owned(citation: Citation<'_>) -> Citation<'static> {
    Citation {
        url: citation.url.into_owned().into(),
        title: citation.title.map(|title| title.into_owned().into()),
        range: citation.range,
        quote: citation.quote.map(|quote| quote.into_owned().into()),
    }
}
