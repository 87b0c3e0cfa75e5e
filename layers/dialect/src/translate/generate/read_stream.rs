use std::borrow::Cow;

use serde::de::Error as _;
use tollway_core::Usage;

use super::{
    citations, finish, logprobs,
    part::{self, What},
    piece::{Piece, Read},
    read_reply::{blocked, content, index},
    usage::Counts,
};
use crate::{
    BadRequest,
    json::{At, Json, Object},
    translate::{
        StreamReader,
        hub::{Body, Event, Finish, StreamError},
    },
};

/// Holds every finish until the body's end: only then it is known that no more comes, and whether
/// a call was made.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    started: bool,
    counts: Counts,
    told: Option<Usage>,
    choices: Vec<State>,
    /// The prompt was refused.
    blocked: bool,
    failed: bool,
}

#[derive(Debug)]
struct State {
    index: u32,
    calls: u32,
    reason: Option<String>,
    /// Later chunks may tell a source again.
    cited: Vec<Box<str>>,
}

impl StreamReader for Reader {
    fn read(
        &mut self,
        _name: Option<&[u8]>,
        data: &[u8],
        emit: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), serde_json::Error> {
        if self.failed || data.trim_ascii() == b"[DONE]" {
            return Ok(());
        }
        if self.piece(data, emit) {
            return Ok(());
        }
        let json = Json::read(data)?;
        if is_error(&json) {
            self.failed = true;
            emit(Event::Error(StreamError::read(data)));
            return Ok(());
        }
        let read = self.chunk(json, emit);
        read.map_err(|bad| serde_json::Error::custom(bad.message()))
    }

    fn end(&mut self, emit: &mut dyn FnMut(Event<'_>)) {
        let finished = self.choices.iter().all(|choice| choice.reason.is_some());
        let ended = self.blocked || finished && !self.choices.is_empty();
        if self.failed || !ended {
            return;
        }
        for State { index, calls, reason, .. } in &self.choices {
            // A prompt may be refused when some of its answer is out already.
            let finish = match reason {
                Some(reason) => finish::read(reason, *calls > 0),
                None => Some(Finish::Filtered),
            };
            if let Some(finish) = finish {
                emit(Event::Finish { choice: *index, finish, stop_sequence: None });
            }
        }
        if self.choices.is_empty() {
            let finish = Finish::Filtered;
            emit(Event::Finish { choice: 0, finish, stop_sequence: None });
        }
        emit(Event::End);
    }
}

/// Errors may come as an array of one.
fn is_error(json: &Json<'_>) -> bool {
    let object = match json {
        Json::Array(items) => items.first().and_then(Json::as_object),
        other => other.as_object(),
    };
    object.and_then(|object| object.get("error")).is_some_and(|error| !error.is_null())
}

impl Reader {
    /// A piece of text, and usage: no tree has to be built.
    fn piece(&mut self, data: &[u8], emit: &mut dyn FnMut(Event<'_>)) -> bool {
        // The first chunk tells more than its text.
        let read = if self.started { Piece::read(data) } else { None };
        let Some(Read { choice, text, thought, usage }) = read else { return false };
        self.usage(&usage, emit);
        self.state(choice);
        match text {
            text if text.is_empty() => {}
            text if thought => emit(Event::Thinking { choice, text }),
            text => emit(Event::Text { choice, text }),
        }
        true
    }

    fn usage(&mut self, metadata: &Json<'_>, emit: &mut dyn FnMut(Event<'_>)) {
        self.counts.update(metadata);
        let usage = self.counts.usage();
        if usage != self.told {
            self.told = usage;
            usage.into_iter().for_each(|usage| emit(Event::Usage(usage)));
        }
    }

    fn chunk(&mut self, json: Json<'_>, emit: &mut dyn FnMut(Event<'_>)) -> Result<(), BadRequest> {
        let at = At::Root;
        let mut object = json.into_object(&at)?;
        if !self.started {
            self.started = true;
            let id = object.text("responseId", &at)?;
            let model = object.text("modelVersion", &at)?;
            emit(Event::Start { id, model, created: None });
        }
        if let Some(metadata) = object.take("usageMetadata") {
            self.usage(&metadata, emit);
        }
        self.blocked |= object.take("promptFeedback").as_ref().is_some_and(blocked);
        let candidates = object.array("candidates", &at)?.unwrap_or_default();
        for (place, candidate) in candidates.into_iter().enumerate() {
            let at = at.key("candidates");
            let at = at.index(place);
            let candidate = candidate.into_object(&at)?;
            self.candidate(candidate, place, &at, emit)?;
        }
        Ok(())
    }

    fn candidate(
        &mut self,
        mut candidate: Object<'_>,
        place: usize,
        at: &At<'_>,
        emit: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), BadRequest> {
        let place = u32::try_from(place).unwrap_or(u32::MAX);
        let choice = index(&mut candidate, at)?.unwrap_or(place);
        let state = self.state(choice);
        if let Some(logprobs) = candidate.take("logprobsResult").and_then(logprobs::read) {
            emit(Event::Logprobs { choice, logprobs });
        }
        for (index, json) in content(&mut candidate, at)?.into_iter().enumerate() {
            let read = part::read(json, &at.key("content").key("parts").index(index))?;
            part(state, choice, read, emit);
        }
        for citation in citations::take(&mut candidate, None) {
            if state.cited.iter().all(|url| **url != *citation.url) {
                state.cited.push(Box::from(&*citation.url));
                emit(Event::Citation { choice, citation });
            }
        }
        let reason = candidate.text("finishReason", at)?;
        if let Some(reason) = reason.filter(|reason| !reason.is_empty()) {
            state.reason = Some(reason.into_owned());
        }
        Ok(())
    }

    fn state(&mut self, index: u32) -> &mut State {
        let place = self.choices.iter().position(|choice| choice.index == index);
        let place = place.unwrap_or_else(|| {
            self.choices.push(State { index, calls: 0, reason: None, cited: Vec::new() });
            self.choices.len() - 1
        });
        &mut self.choices[place]
    }
}

fn part(state: &mut State, choice: u32, read: part::Read<'_>, emit: &mut dyn FnMut(Event<'_>)) {
    let mut signature = read.signature;
    match read.what {
        Some(What::Text(text)) if !text.is_empty() => emit(Event::Text { choice, text }),
        Some(What::Thought(text)) if !text.is_empty() => emit(Event::Thinking { choice, text }),
        Some(What::Call { id, name, args }) => {
            let call = state.calls;
            state.calls = state.calls.saturating_add(1);
            let signature = signature.take();
            emit(Event::ToolStart { choice, call, id, name, signature });
            let json = Cow::Owned(Json::Object(args).to_text());
            emit(Event::ToolArguments { choice, call, json });
        }
        // Streams are of texts.
        Some(What::Media(body)) => emit(Event::Text { choice, text: body.left_out().into() }),
        _ => {}
    }
    match signature.map(part::lone) {
        Some(Body::Thinking { signature: Some(signature), .. }) => {
            emit(Event::Signature { choice, signature });
        }
        Some(Body::Redacted(data)) => emit(Event::Redacted { choice, data }),
        _ => {}
    }
}
