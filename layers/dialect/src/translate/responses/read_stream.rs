use std::borrow::Cow;

use super::{
    finish, read_content,
    read_item::{Emit, Item, Piece},
    read_reply, usage,
};
use crate::{
    json::{At, Json, Object},
    translate::{
        StreamReader,
        hub::{Event, Finish, StreamError},
    },
};

/// Reads what is new in each event; what the events that end a piece repeat is used where the
/// piece did not come before.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    started: bool,
    over: bool,
    items: Vec<Item>,
    calls: u32,
}

impl StreamReader for Reader {
    fn read(
        &mut self,
        name: Option<&[u8]>,
        data: &[u8],
        emit: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), serde_json::Error> {
        // Not in the specification, but sent by some that came from chat completions.
        if self.over || data.trim_ascii() == b"[DONE]" {
            return Ok(());
        }
        let Json::Object(mut event) = Json::read(data)? else { return Ok(()) };
        let kind = match event.take("type") {
            Some(Json::String(kind)) => kind,
            _ if event.get("error").is_some_and(|error| !error.is_null()) => "error".into(),
            _ => String::from_utf8_lossy(name.unwrap_or_default()),
        };
        let kind = kind.strip_prefix("response.").unwrap_or(&kind);
        match kind {
            "created" | "in_progress" | "queued" => self.start(&event, emit),
            "completed" | "incomplete" | "failed" | "cancelled" | "done" => {
                self.start(&event, emit);
                self.terminal(kind, event, data, emit);
            }
            "error" => {
                self.start(&event, emit);
                self.fail(&event, data, emit);
            }
            _ => self.content(kind, event, emit),
        }
        Ok(())
    }
}

impl Reader {
    /// From whatever comes first, though only the events of the whole response say more.
    fn start(&mut self, event: &Object<'_>, emit: &mut Emit<'_>) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        let response = event.get("response").and_then(Json::as_object);
        let text = |key| response.and_then(|response| response.str(key)).map(Cow::Borrowed);
        let created = response.and_then(|response| response.get("created_at"));
        emit(Event::Start {
            id: text("id"),
            model: text("model"),
            created: created.and_then(read_reply::seconds),
        });
    }

    fn content(&mut self, kind: &str, mut event: Object<'_>, emit: &mut Emit<'_>) {
        let (piece, whole) = match kind {
            "output_text.delta" => (Piece::Text, false),
            "output_text.done" => (Piece::Text, true),
            "refusal.delta" => (Piece::Refusal, false),
            "refusal.done" => (Piece::Refusal, true),
            "reasoning_summary_text.delta" => (Piece::Summary, false),
            "reasoning_summary_text.done" => (Piece::Summary, true),
            "reasoning_text.delta" => (Piece::Reasoning, false),
            "reasoning_text.done" => (Piece::Reasoning, true),
            "function_call_arguments.delta" => (Piece::Arguments, false),
            "function_call_arguments.done" => (Piece::Arguments, true),
            "output_text.annotation.added" => {
                self.start(&event, emit);
                let annotation = event.take("annotation");
                if let Some(citation) = annotation.and_then(read_content::citation) {
                    emit(Event::Citation { choice: 0, citation });
                }
                return;
            }
            "output_item.added" | "output_item.done" => {
                self.start(&event, emit);
                let place = place(&event, "output_index");
                if let Some(Json::Object(item)) = event.take("item") {
                    self.whole_item(place, item, kind.ends_with("done"), emit);
                }
                return;
            }
            _ => return,
        };
        self.start(&event, emit);
        let item = self.item(place(&event, "output_index"));
        let index = match piece {
            Piece::Summary => place(&event, "summary_index"),
            Piece::Arguments => 0,
            _ => place(&event, "content_index"),
        };
        let key = match (whole, piece) {
            (false, _) => "delta",
            (true, Piece::Refusal) => "refusal",
            (true, Piece::Arguments) => "arguments",
            (true, _) => "text",
        };
        if whole && item.last == Some((piece, index)) {
            return;
        }
        let logprobs = event.take("logprobs");
        if let Some(Json::String(text)) = event.take(key) {
            item.piece(piece, index, text, logprobs, emit);
        }
    }

    fn item(&mut self, index: u64) -> &mut Item {
        let place = self.items.iter().rposition(|item| item.index == index);
        let place = place.unwrap_or_else(|| {
            self.items.push(Item { index, last: None, call: None });
            self.items.len() - 1
        });
        &mut self.items[place]
    }

    /// An item that begins, or, if `done`, has ended.
    fn whole_item(&mut self, index: u64, mut item: Object<'_>, done: bool, emit: &mut Emit<'_>) {
        let kind = item.take("type");
        let calls = self.calls;
        let state = self.item(index);
        match kind.as_ref().and_then(Json::as_str) {
            Some("function_call") => {
                if state.call.is_none() {
                    let Some(Json::String(name)) = item.take("name") else { return };
                    state.call = Some(calls);
                    let id = item.text("call_id", &At::Root).ok().flatten();
                    emit(Event::ToolStart { choice: 0, call: calls, id, name, signature: None });
                    self.calls = calls.saturating_add(1);
                }
                let state = self.item(index);
                if done && state.last.is_none() {
                    if let Some(Json::String(arguments)) = item.take("arguments") {
                        state.piece(Piece::Arguments, 0, arguments, None, emit);
                    }
                }
            }
            Some("message") if done && state.last.is_none() => {
                if let Some(Json::Array(content)) = item.take("content") {
                    state.message(content, emit);
                }
            }
            Some("reasoning") if done => state.reasoning(item, emit),
            _ => {}
        }
    }

    fn terminal(&mut self, kind: &str, mut event: Object<'_>, data: &[u8], emit: &mut Emit<'_>) {
        let Some(Json::Object(mut response)) = event.take("response") else {
            // It says that it is over, but not of what.
            return self.fail(&event, data, emit);
        };
        // From a provider that tells all at once, or ignored that a stream was asked for.
        if self.items.is_empty() {
            if let Some(Json::Array(output)) = response.take("output") {
                for (index, item) in output.into_iter().enumerate() {
                    if let Json::Object(item) = item {
                        self.whole_item(index as u64, item, true, emit);
                    }
                }
            }
        }
        if let Some(usage) = response.get("usage").and_then(usage::read) {
            emit(Event::Usage(usage));
        }
        let called = self.calls > 0;
        let finish = finish::finish(&response, called).or(match kind {
            "incomplete" => Some(Finish::Length),
            "failed" | "cancelled" => Some(Finish::Failed),
            "completed" if called => Some(Finish::ToolCalls),
            "completed" => Some(Finish::Stop),
            _ => None,
        });
        if finish == Some(Finish::Failed) {
            return self.fail(&response, data, emit);
        }
        if let Some(finish) = finish {
            emit(Event::Finish { choice: 0, finish, stop_sequence: None });
        }
        emit(Event::End);
        self.over = true;
    }

    /// `error`: the object that has the error's members, or has them in its `error`.
    fn fail(&mut self, error: &Object<'_>, data: &[u8], emit: &mut Emit<'_>) {
        self.over = true;
        let error = error.get("error").and_then(Json::as_object).unwrap_or(error);
        let code = error.str("code").map(Cow::Borrowed);
        emit(Event::Error(StreamError { code, ..StreamError::read(data) }));
    }
}

fn place(event: &Object<'_>, key: &str) -> u64 {
    event.get(key).and_then(Json::as_u64).unwrap_or(0)
}
