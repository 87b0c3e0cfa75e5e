use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use tokio::time::Instant;
use tollway_core::{ErrorClass, Failure, Meter, WallClock};

use crate::{
    openai::{error, reply},
    sse::{Event, Parser},
};

/// Listens to an event stream as its chunks pass, and leaves out the one event nobody asked for.
pub(super) struct Tap {
    parser: Parser,
    meter: Arc<Meter>,
    clock: Arc<dyn WallClock>,
    /// Leave out the chunk of usage alone.
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
        let Self { parser, meter, clock, state, .. } = self;
        let (mut at, mut sent) = (0, 0);
        while let Some(event) = parser.next(&chunk, &mut at) {
            let usage_only = see(&event, meter, &**clock, state);
            if !self.strip_usage {
                continue;
            }
            if self.last_left_out {
                // An LF before the event is the last half of the line end that was left out.
                sent = sent.max(event.raw.start);
            }
            if usage_only {
                push(&mut self.out, &chunk, sent, event.raw.start);
                self.held.clear();
                sent = event.raw.end;
            } else {
                self.out.extend(self.held.drain(..));
            }
            self.last_left_out = usage_only;
        }
        if !self.strip_usage {
            self.out.push_back(chunk);
            return;
        }
        let tail = chunk.len() - parser.tail();
        if self.last_left_out {
            sent = sent.max(tail);
        }
        if parser.is_oversized() {
            self.out.extend(self.held.drain(..));
            push(&mut self.out, &chunk, sent, chunk.len());
            return;
        }
        push(&mut self.out, &chunk, sent, tail);
        if tail < chunk.len() {
            self.held.push(chunk.slice(tail..));
        }
    }

    /// The body has ended, or broken.
    pub(super) fn finish(&mut self, broken: bool) {
        if std::mem::replace(&mut self.state.finished, true) {
            return;
        }
        let Self { parser, meter, clock, state, .. } = self;
        let leave_out = match parser.finish() {
            Some(event) => see(&event, meter, &**clock, state) && self.strip_usage,
            None => false,
        };
        if !leave_out {
            self.out.extend(self.held.drain(..));
        }
        if state.ended || state.failed {
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

fn push(out: &mut VecDeque<Bytes>, chunk: &Bytes, from: usize, to: usize) {
    if from == 0 && to == chunk.len() {
        out.push_back(chunk.clone());
    } else if from < to {
        out.push_back(chunk.slice(from..to));
    }
}

/// Notes what the event says; true if it is the chunk of usage alone.
fn see(event: &Event<'_>, meter: &Meter, clock: &dyn WallClock, state: &mut State) -> bool {
    let Some(data) = event.data else { return false };
    state.events += 1;
    // What cannot be read passes on as it is.
    let Ok(reading) = reply::read_event(data) else { return false };
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
        return false;
    }
    if reading.interrupted {
        meter.fail(reply::interrupted());
    }
    state.content |= !state.failed && (reading.has_content || reading.finished || reading.end);
    state.ended |= reading.end;
    reading.usage_only
}
