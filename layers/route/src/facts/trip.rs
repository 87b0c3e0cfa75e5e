use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use tollway_core::{Ask, Caller, ErrorClass, Usage, Usd};

use super::{Nanos, Slot, lengths::Asker};

/// What became of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Whether it was answered as it should.
    pub ok: bool,
    /// What went wrong, where it wasn't. Rate limits and what the caller is to blame for count for
    /// nothing, all else (and what nobody knows the class of) is the target's failure.
    pub class: Option<ErrorClass>,
    /// What it used, where that is known.
    pub usage: Option<Usage>,
    /// What it cost, where that is known.
    pub cost: Option<Usd>,
}

impl Outcome {
    /// Answered as it should, with nothing known of usage and cost.
    pub fn success() -> Self {
        Self { ok: true, ..Self::default() }
    }

    /// Failed.
    pub fn failure(class: ErrorClass) -> Self {
        Self { class: Some(class), ..Self::default() }
    }
}

/// One request under way at a target. Dropped before its [`end`](Self::end) it counts for nothing:
/// nobody knows what would have become of it.
#[derive(Debug)]
pub struct Trip {
    slot: Arc<Slot>,
    pub(super) began: Nanos,
    pub(super) first_token: Option<Nanos>,
    /// Others that were under way as it began.
    pub(super) beside: u32,
    /// Who asks, where that is known.
    pub(super) asker: Option<Asker>,
}

impl Trip {
    pub(super) fn new(slot: Arc<Slot>, began: Nanos, beside: u32) -> Self {
        Self { slot, began, first_token: None, beside, asker: None }
    }

    /// Where it goes.
    pub fn slot(&self) -> &Arc<Slot> {
        &self.slot
    }

    /// Who asks for what: its reply tells how long theirs usually are.
    pub fn asked_by(&mut self, caller: Option<&Caller>, ask: &Ask) {
        self.asker = ask.operation.has_output().then(|| Asker::new(caller, ask));
    }

    /// The first token came; later calls change nothing.
    pub fn first_token(&mut self, at: Instant) {
        self.first_token.get_or_insert(self.slot.clock(at));
    }

    /// It is over: tells the slot, by which it is under way no more.
    pub fn end(self, now: Instant, outcome: Outcome) {
        self.slot.settle(&self, now, &outcome);
    }

    pub(super) fn until(&self, then: Nanos) -> Duration {
        Duration::from_nanos(then.saturating_sub(self.began))
    }
}

impl Drop for Trip {
    fn drop(&mut self) {
        self.slot.leave();
    }
}
