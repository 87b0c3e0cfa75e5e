use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use tokio::time::Instant;
use tollway_core::{
    BoxError, Dialect, ErrorClass, Failure, Meter, ProxyCredential, Usage, WallClock,
};

use super::{
    interruption::{self, Tell},
    outlet::Outlet,
    reader::Reader,
};
use crate::{
    Reading,
    gemini::elements::Elements,
    openai::{error, reply, usage},
    sse::{Event, Parser},
};

/// Listens to an event stream as its chunks pass, and leaves out the usage nobody asked for.
pub(super) struct Tap {
    parser: Parser,
    /// The stream is no stream of events, but an array.
    elements: Option<Elements>,
    reader: Reader,
    meter: Arc<Meter>,
    clock: Arc<dyn WallClock>,
    /// Leave out the chunk of usage alone, and the nulls in its place in all others.
    strip_usage: bool,
    /// How the caller is told if the stream breaks.
    tell: Option<Tell>,
    /// Ready to go out, in order.
    out: VecDeque<Bytes>,
    /// Pieces of an unfinished event that may yet be left out, or turn out to be half of one.
    held: Vec<Bytes>,
    last_left_out: bool,
    /// What the call carried, if it was the proxy's own.
    credential: Option<ProxyCredential>,
    state: State,
}

/// What the stream has shown so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct State {
    /// Content has passed, or the answer is over without any.
    pub(super) content: bool,
    /// The proper end has passed.
    pub(super) ended: bool,
    /// The choices seen, and those of them that have ended: a bit each.
    choices: (u128, u128),
    /// Nothing more will come.
    pub(super) finished: bool,
    /// Events with data.
    pub(super) events: usize,
    /// The stream has told of an error, or broken.
    pub(super) failed: bool,
    /// The answer was withheld before any of it came.
    pub(super) refused: bool,
    /// An event that nobody can read came before any content.
    pub(super) broken_start: bool,
    /// The `sequence_number` that would come next.
    next_number: u64,
    /// What the stream began with, until it says what has become of it.
    begun: Option<Usage>,
}

impl std::fmt::Debug for Tap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tap").field("state", &self.state).finish_non_exhaustive()
    }
}

impl Tap {
    pub(super) fn new(
        meter: Arc<Meter>,
        clock: Arc<dyn WallClock>,
        strip_usage: bool,
        tell: Option<Tell>,
        max_event: usize,
    ) -> Self {
        Self {
            parser: Parser::with_max_event(max_event),
            elements: None,
            reader: Reader::of(Dialect::OpenAi),
            meter,
            clock,
            strip_usage,
            tell,
            out: VecDeque::new(),
            held: Vec::new(),
            last_left_out: false,
            credential: None,
            state: State::default(),
        }
    }

    /// For a call that carried the proxy's own credential: what is said of it goes no further.
    pub(super) fn signed(self, credential: Option<ProxyCredential>) -> Self {
        Self { credential, ..self }
    }

    /// As this reader reads it, and as an array if there are to be elements.
    pub(super) fn reading(self, reader: Reader, elements: Option<Elements>) -> Self {
        Self { reader, elements, ..self }
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    pub(super) fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    pub(super) fn pop(&mut self) -> Option<Bytes> {
        self.out.pop_front()
    }

    pub(super) fn has_output(&self) -> bool {
        !self.out.is_empty()
    }

    /// Bytes that wait to go out.
    pub(super) fn waiting(&self) -> usize {
        self.out.iter().chain(&self.held).map(Bytes::len).sum()
    }

    /// Takes a chunk in: it is in `out` afterwards, but for what is left out or undecided.
    pub(super) fn feed(&mut self, chunk: Bytes) {
        if self.elements.is_some() {
            return self.feed_array(chunk);
        }
        let Self { parser, reader, meter, clock, state, credential, .. } = self;
        let credential = credential.as_ref();
        let mut outlet = Outlet::new(&mut self.out, &chunk);
        let holds = self.strip_usage || self.tell.is_some() || credential.is_some();
        let mut at = 0;
        while let Some(event) = parser.next(&chunk, &mut at) {
            let reading = see_whole(&event, reader, meter, &**clock, state, credential);
            if !holds {
                continue;
            }
            if let Some(ours) = credential.filter(|_| event.oversized) {
                if std::mem::take(&mut self.last_left_out) {
                    outlet.skip_to(event.raw.start);
                }
                let (piece, out) = outlet.cut_out(&event.raw);
                let last = search(ours, &mut self.held, piece, out);
                out.extend(last);
                continue;
            }
            let told = credential
                .and_then(|ours| without_secret(&event, reading, ours, meter, self.tell, state));
            if let Some(told) = told {
                if std::mem::take(&mut self.last_left_out) {
                    outlet.skip_to(event.raw.start);
                }
                outlet.replace(&event.raw, [&told, &[]]);
                self.held.clear();
                continue;
            }
            let reading = reading.filter(|_| self.strip_usage).unwrap_or_default();
            if self.last_left_out {
                // An LF before the event is the last half of the line end that was left out.
                outlet.skip_to(event.raw.start);
            }
            self.last_left_out = reading.usage_only;
            if reading.usage_only {
                outlet.send_to(event.raw.start);
                outlet.skip_to(event.raw.end);
                self.held.clear();
            } else if let Some(parts) = around_null(&event, &reading) {
                outlet.replace(&event.raw, parts);
                self.held.clear();
            } else {
                outlet.out.extend(self.held.drain(..));
            }
        }
        if !holds {
            self.out.push_back(chunk);
            return;
        }
        let tail = chunk.len() - parser.tail();
        if self.last_left_out {
            outlet.skip_to(tail);
        }
        if let Some(ours) = credential.filter(|_| parser.is_oversized()) {
            outlet.finish(tail);
            let begun = search(ours, &mut self.held, chunk.slice(tail..), &mut self.out);
            self.held.extend(begun);
            return;
        }
        if parser.is_oversized() {
            outlet.out.extend(self.held.drain(..));
            outlet.finish(chunk.len());
            return;
        }
        outlet.finish(tail);
        if tail < chunk.len() {
            self.held.push(chunk.slice(tail..));
        }
    }

    /// Every byte passes at once; each object is read when it is whole. Since an error's bytes are
    /// out by then, all are searched for the proxy's own credential.
    fn feed_array(&mut self, mut chunk: Bytes) {
        let Self { elements: Some(elements), reader, meter, clock, state, credential, .. } = self
        else {
            return;
        };
        let credential = credential.as_ref();
        let mut at = 0;
        while let Some(element) = elements.next(&chunk, &mut at) {
            let data = Some(element).filter(|element| !element.is_empty());
            let event = Event { data, ..Event::default() };
            see_whole(&event, reader, meter, &**clock, state, credential);
        }
        if let Some(ours) = credential {
            let (clean, rest) = ours.blanked_piece(self.held.pop().unwrap_or_default(), chunk);
            self.held.extend(Some(rest).filter(|rest| !rest.is_empty()));
            chunk = clean;
        }
        if !chunk.is_empty() {
            self.out.push_back(chunk);
        }
    }

    /// The body has ended, or broken: then its error comes back if the caller is to get it.
    pub(super) fn finish(&mut self, error: Option<BoxError>) -> Option<BoxError> {
        if std::mem::replace(&mut self.state.finished, true) {
            return error;
        }
        // Of an event over the bound, some has gone out.
        let torn = self.parser.is_oversized();
        let failed = self.state.failed;
        let complete = self.finish_tail();
        // Local servers may never send `[DONE]`: an answer that has ended is whole without it.
        let (seen, ended) = self.state.choices;
        let whole = self.state.ended || error.is_none() && seen != 0 && seen & !ended == 0;
        let told_before = self.state.failed;
        let failure = (!whole && !told_before).then(|| {
            self.state.failed = true;
            match &error {
                Some(error) => interruption::broken(
                    error,
                    "The connection to the provider broke before the stream's end.",
                ),
                None => Failure::new(
                    ErrorClass::Server,
                    "The provider's stream stopped before its end.",
                ),
            }
        });
        if let Some(failure) = &failure {
            self.meter.fail(failure.clone());
        }
        let Some(tell) = self.tell else {
            self.out.extend(self.held.drain(..));
            return error;
        };
        // Half an event would be read as a whole one once something follows it.
        if !whole && !complete && !torn {
            self.held.clear();
        }
        let open = torn || !self.held.is_empty();
        self.out.extend(self.held.drain(..));
        match failure {
            Some(failure) => {
                self.out.push_back(tell.event(&failure, open, self.state.next_number));
            }
            // The provider's own error came last: without its blank line nobody would see it.
            None if told_before && !failed && open => {
                self.out.push_back(Bytes::from_static(b"\n\n"));
            }
            None => {}
        }
        None
    }

    /// Sees the event that was not finished; true if nothing but its blank line is missing.
    fn finish_tail(&mut self) -> bool {
        let Self { parser, reader, meter, clock, state, credential, .. } = self;
        let credential = credential.as_ref();
        let Some(event) = parser.finish() else { return false };
        let reading = see(&event, reader, meter, &**clock, state, credential);
        let told = credential
            .and_then(|ours| without_secret(&event, reading, ours, meter, self.tell, state));
        let replaced = told.is_some();
        if let Some(told) = told {
            self.held = vec![told];
        }
        let (Some(data), Some(reading)) = (event.data, reading) else { return false };
        if self.strip_usage && !replaced {
            if reading.usage_only {
                self.held.clear();
            } else if let Some(parts) = around_null(&event, &reading) {
                self.held = vec![parts.concat().into()];
            }
        }
        is_whole(data)
    }
}

/// Of an event that is too large to be looked into, and may be an error: sends on what has come of it
/// without the proxy's own credential, and gives back what may be the beginning of that.
fn search(
    ours: &ProxyCredential,
    held: &mut Vec<Bytes>,
    piece: Bytes,
    out: &mut VecDeque<Bytes>,
) -> Option<Bytes> {
    let mut begun = Bytes::new();
    for piece in held.drain(..).chain([piece]) {
        let (clean, rest) = ours.blanked_piece(begun, piece);
        out.extend(Some(clean).filter(|clean| !clean.is_empty()));
        begun = rest;
    }
    Some(begun).filter(|begun| !begun.is_empty())
}

/// Whether the data of an event is all there; a number might go on.
fn is_whole(data: &[u8]) -> bool {
    let data = data.trim_ascii();
    data == b"[DONE]"
        || data.starts_with(b"{") && serde_json::from_slice::<serde::de::IgnoredAny>(data).is_ok()
}

/// The block without the null that stands for usage nobody asked for, if it has one.
fn around_null<'a>(event: &Event<'a>, reading: &Reading) -> Option<[&'a [u8]; 2]> {
    if !reading.usage_null {
        return None;
    }
    let (data, block) = (event.data?, event.block);
    // Data of several lines lies outside of the block, and stays as it is.
    let start = (data.as_ptr() as usize).checked_sub(block.as_ptr() as usize)?;
    let member = usage::null_member(data)?;
    Some([block.get(..start + member.start)?, block.get(start + member.end..)?])
}

/// What goes out in the place of an error that speaks of the credential, and may repeat part of
/// it, or of what repeats it anywhere but in an answer; `None`: the event is fit to pass.
fn without_secret(
    event: &Event<'_>,
    reading: Option<Reading>,
    ours: &ProxyCredential,
    meter: &Meter,
    tell: Option<Tell>,
    state: &State,
) -> Option<Bytes> {
    let is_error = reading.is_some_and(|reading| reading.error);
    let failure = meter.failure().filter(|failure| is_error && failure.class() == ErrorClass::Auth);
    if let (Some(failure), Some(tell)) = (failure, tell) {
        return Some(tell.event(failure, false, state.next_number));
    }
    let (data, block) = (event.data.unwrap_or_default(), event.block);
    // Whatever nobody could read may be an error, and so may what says that it is one.
    let suspect = reading.is_none_or(|reading| reading.error || reading == Reading::default())
        || event.name == Some(b"error");
    let start = (data.as_ptr() as usize).checked_sub(block.as_ptr() as usize);
    let start = start.filter(|start| !suspect && start + data.len() <= block.len());
    let clean = match start {
        // An answer's own words are left alone; what stands around them is not.
        Some(start) => {
            let (before, rest) = block.split_at(start);
            let (data, after) = rest.split_at(data.len());
            let clean = [ours.blanked(before), ours.blanked(after)];
            let [None, None] = &clean else {
                let [before_clean, after_clean] = &clean;
                let before = before_clean.as_deref().unwrap_or(before);
                let after = after_clean.as_deref().unwrap_or(after);
                return Some([before, data, after].concat().into());
            };
            None
        }
        None => ours.blanked(block),
    };
    clean.map(Bytes::from)
}

fn start_is_broken(meter: &Meter, state: &mut State) {
    if !state.failed && !std::mem::replace(&mut state.broken_start, true) {
        let why = "The provider's stream began with an event that is not valid JSON.";
        meter.fail(Failure::new(ErrorClass::Server, why));
    }
}

/// As [`see`], for an event that is all there: one that nobody can read is no start of a stream.
fn see_whole(
    event: &Event<'_>,
    reader: &mut Reader,
    meter: &Meter,
    clock: &dyn WallClock,
    state: &mut State,
    credential: Option<&ProxyCredential>,
) -> Option<Reading> {
    // What is not UTF-8 where nothing looks for it here breaks a client all the same.
    if !state.content && event.data.is_some_and(|data| std::str::from_utf8(data).is_err()) {
        start_is_broken(meter, state);
    }
    let reading = see(event, reader, meter, clock, state, credential);
    if !state.content && reading.is_none() {
        start_is_broken(meter, state);
    }
    reading
}

/// Notes what the event says; `None` if it has data that nobody can read.
fn see(
    event: &Event<'_>,
    reader: &mut Reader,
    meter: &Meter,
    clock: &dyn WallClock,
    state: &mut State,
    credential: Option<&ProxyCredential>,
) -> Option<Reading> {
    let Some(data) = event.data else { return Some(Reading::default()) };
    state.events += 1;
    let reading = match reader.read_event(event.name, data) {
        Ok(reading) => reading,
        // Of a shape that is not known, or empty: it passes on as it is.
        Err(error) if error.is_data() || data.trim_ascii().is_empty() => Reading::default(),
        Err(_) => return None,
    };
    note_usage(&reading, meter, state);
    if reading.has_content && meter.first_token().is_none() {
        meter.saw_first_token(Instant::now());
    }
    if reading.error {
        state.failed = true;
        let clean = credential.and_then(|ours| ours.blanked(data));
        meter.fail(error::classify_event(clean.as_deref().unwrap_or(data), clock.now()));
        return Some(reading);
    }
    if reading.interrupted {
        meter.fail(reply::interrupted());
    }
    state.refused |= reading.filtered && !reading.has_content && !state.content;
    let usable = !state.failed && !state.broken_start;
    state.content |= usable && (reading.has_content || reading.finished || reading.end);
    state.ended |= reading.end;
    state.choices.0 |= reading.choices;
    state.choices.1 |= reading.finished_choices;
    if let Some(number) = reading.sequence_number {
        state.next_number = number.saturating_add(1);
    }
    Some(reading)
}

fn note_usage(reading: &Reading, meter: &Meter, state: &mut State) {
    if let Some(usage) = reading.usage {
        state.begun = reading.usage_begins.then_some(usage);
        meter.report(usage);
    }
    if reading.content_bytes == 0 {
        return;
    }
    meter.saw_output(reading.content_bytes);
    if let Some(begun) = state.begun {
        // If the stream never comes to its end, what has passed is to be paid for all the same.
        let seen = meter.output_bytes().div_ceil(4);
        if seen > begun.output {
            let mut usage = begun.estimated();
            usage.output = seen;
            meter.report(usage);
        }
    }
}
