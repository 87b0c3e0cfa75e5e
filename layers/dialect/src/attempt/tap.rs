use std::{collections::VecDeque, ops::Range, sync::Arc};

use bytes::Bytes;
use tokio::time::Instant;
use tollway_core::{ErrorClass, Failure, Meter, WallClock};

use crate::{
    openai::{
        error,
        reply::{self, EventReader, Reading},
        usage,
    },
    sse::{Event, Parser},
};

/// Listens to an event stream as its chunks pass, and leaves out the usage nobody asked for.
pub(super) struct Tap {
    parser: Parser,
    reader: EventReader,
    meter: Arc<Meter>,
    clock: Arc<dyn WallClock>,
    /// Leave out the chunk of usage alone, and the nulls in its place in all others.
    strip_usage: bool,
    /// Ready to go out, in order.
    out: VecDeque<Bytes>,
    /// Pieces of an unfinished event that may yet be left out.
    held: Vec<Bytes>,
    last_left_out: bool,
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
        max_event: usize,
    ) -> Self {
        Self {
            parser: Parser::with_max_event(max_event),
            reader: EventReader::new(),
            meter,
            clock,
            strip_usage,
            out: VecDeque::new(),
            held: Vec::new(),
            last_left_out: false,
            state: State::default(),
        }
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
        let Self { parser, reader, meter, clock, state, .. } = self;
        let mut outlet = Outlet { out: &mut self.out, chunk: &chunk, sent: 0, copy: Vec::new() };
        let mut at = 0;
        while let Some(event) = parser.next(&chunk, &mut at) {
            let reading = see(&event, reader, meter, &**clock, state);
            if !self.strip_usage {
                continue;
            }
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
        if !self.strip_usage {
            self.out.push_back(chunk);
            return;
        }
        let tail = chunk.len() - parser.tail();
        if self.last_left_out {
            outlet.skip_to(tail);
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

    /// The body has ended, or broken.
    pub(super) fn finish(&mut self, broken: bool) {
        if std::mem::replace(&mut self.state.finished, true) {
            return;
        }
        let Self { parser, reader, meter, clock, state, .. } = self;
        if let Some(event) = parser.finish() {
            let reading = see(&event, reader, meter, &**clock, state);
            if self.strip_usage && reading.usage_only {
                self.held.clear();
            } else if let Some(parts) = around_null(&event, &reading).filter(|_| self.strip_usage) {
                self.held.clear();
                self.out.push_back(parts.concat().into());
            }
        }
        self.out.extend(self.held.drain(..));
        // Local servers may never send `[DONE]`: an answer that has ended is whole without it.
        let (seen, ended) = state.choices;
        let whole = state.ended || !broken && seen != 0 && seen & !ended == 0;
        if whole || state.failed {
            return;
        }
        state.failed = true;
        meter.fail(match broken {
            true => Failure::new(
                ErrorClass::Network,
                "The connection to the provider broke before the stream's end.",
            ),
            false => {
                Failure::new(ErrorClass::Server, "The provider's stream stopped before its end.")
            }
        });
    }
}

/// Where the bytes of one chunk go out.
struct Outlet<'a> {
    out: &'a mut VecDeque<Bytes>,
    chunk: &'a Bytes,
    /// How many bytes of the chunk have gone out, or were left out.
    sent: usize,
    /// The frame that takes the chunk's place from its first changed event on.
    copy: Vec<u8>,
}

impl Outlet<'_> {
    fn skip_to(&mut self, to: usize) {
        self.sent = self.sent.max(to);
    }

    fn send_to(&mut self, to: usize) {
        let from = self.sent;
        if from >= to {
            return;
        }
        self.sent = to;
        if !self.copy.is_empty() {
            self.copy.extend_from_slice(self.chunk.get(from..to).unwrap_or_default());
        } else if to - from == self.chunk.len() {
            self.out.push_back(self.chunk.clone());
        } else {
            self.out.push_back(self.chunk.slice(from..to));
        }
    }

    /// Sends `parts` in the place of `raw`, in one frame with the rest of the chunk.
    fn replace(&mut self, raw: &Range<usize>, parts: [&[u8]; 2]) {
        if self.copy.is_empty() {
            let rest = self.chunk.len() - raw.len() - self.sent;
            self.copy.reserve_exact(rest + parts.iter().map(|part| part.len()).sum::<usize>());
        }
        self.copy.extend_from_slice(self.chunk.get(self.sent..raw.start).unwrap_or_default());
        parts.into_iter().for_each(|part| self.copy.extend_from_slice(part));
        self.sent = raw.end;
    }

    fn finish(mut self, to: usize) {
        self.send_to(to);
        if !self.copy.is_empty() {
            self.out.push_back(self.copy.into());
        }
    }
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

/// Notes what the event says.
fn see(
    event: &Event<'_>,
    reader: &mut EventReader,
    meter: &Meter,
    clock: &dyn WallClock,
    state: &mut State,
) -> Reading {
    let Some(data) = event.data else { return Reading::default() };
    state.events += 1;
    // What cannot be read passes on as it is.
    let Ok(reading) = reader.read(data) else { return Reading::default() };
    if let Some(usage) = reading.usage {
        meter.report(usage);
    }
    if reading.content_bytes > 0 {
        meter.saw_output(reading.content_bytes);
    }
    if reading.has_content && meter.first_token().is_none() {
        meter.saw_first_token(Instant::now());
    }
    if reading.error {
        state.failed = true;
        meter.fail(error::classify_event(data, clock.now()));
        return reading;
    }
    if reading.interrupted {
        meter.fail(reply::interrupted());
    }
    state.content |= !state.failed && (reading.has_content || reading.finished || reading.end);
    state.ended |= reading.end;
    state.choices.0 |= reading.choices;
    state.choices.1 |= reading.finished_choices;
    reading
}
