//! What one key has used and holds, and who waits for more of it.

use std::collections::VecDeque;

use tollway_store::limits::{Shape, State};

use crate::key::Compact;

/// One key's state.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) key: Compact,
    pub(crate) state: State,
    /// Requests that hold a reservation here, and how much they hold.
    pub(crate) holds: u32,
    pub(crate) held: u64,
    /// Who waits here; `None`: nobody.
    pub(super) line: Option<Box<Line>>,
    pub(super) warned: bool,
    pub(super) filled: bool,
    /// To be saved.
    pub(super) touched: bool,
    /// The key has a quota of its own.
    pub(super) own: bool,
}

// A million keys have a million of them.
const _: () = assert!(size_of::<Slot>() <= 80, "a key takes more room: see benches/README.md");

impl Slot {
    pub(super) fn new(key: Compact, shape: &Shape) -> Self {
        Self {
            key,
            state: State::new(shape),
            holds: 0,
            held: 0,
            line: None,
            warned: false,
            filled: false,
            touched: false,
            own: false,
        }
    }

    pub(super) fn evictable(&self) -> bool {
        self.holds == 0 && !self.touched && self.is_unused()
    }

    pub(super) fn is_unused(&self) -> bool {
        self.line.is_none() && self.state.is_fresh()
    }
}

/// Requests that wait: in a box of their own, as hardly any key has such.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// By the order in which they came.
    queue: VecDeque<u64>,
    /// What they want in all.
    backlog: u128,
}

impl Slot {
    /// Requests that wait here.
    pub(crate) fn waiting(&self) -> usize {
        self.line.as_ref().map_or(0, |line| line.queue.len())
    }

    /// What they want in all.
    pub(crate) fn backlog(&self) -> u128 {
        self.line.as_ref().map_or(0, |line| line.backlog)
    }

    /// Who came first.
    pub(crate) fn front(&self) -> Option<u64> {
        self.line.as_ref()?.queue.front().copied()
    }

    /// Those who came before `seq`.
    pub(crate) fn before(&self, seq: u64) -> impl Iterator<Item = &u64> {
        let queue = self.line.iter().flat_map(|line| &line.queue);
        queue.take_while(move |other| **other < seq)
    }

    /// How many came before `seq`.
    pub(crate) fn place(&self, seq: u64) -> usize {
        self.line.as_ref().map_or(0, |line| line.queue.partition_point(|other| *other < seq))
    }

    /// `seq` waits here, for `amount`.
    pub(crate) fn join(&mut self, seq: u64, amount: u64) {
        let place = self.place(seq);
        let line = self.line.get_or_insert_default();
        line.queue.insert(place, seq);
        line.backlog = line.backlog.saturating_add(amount.into());
    }

    /// It does no more.
    pub(crate) fn leave(&mut self, seq: u64, amount: u64) {
        let Some(line) = &mut self.line else { return };
        if let Ok(place) = line.queue.binary_search(&seq) {
            line.queue.remove(place);
        }
        line.backlog = line.backlog.saturating_sub(amount.into());
        if line.queue.is_empty() {
            self.line = None;
        }
    }

    /// Somebody who waits here wants less than before.
    pub(crate) fn want_less(&mut self, less: u64) {
        if let Some(line) = &mut self.line {
            line.backlog = line.backlog.saturating_sub(less.into());
        }
    }
}
