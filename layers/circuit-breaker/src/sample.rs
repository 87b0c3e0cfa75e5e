use std::{fmt, hash::Hash, sync::Arc};

use http::response;
use tollway_core::{BoxError, Ending, Guard};

use crate::{
    Classify, Judgement, Verdict,
    handle::Core,
    registry::Permit,
    state::{Nanos, Outcome, nanos},
};

/// One request's sample, from `call` to the reply's end. Rides in the body; nothing to be done
/// with it by hand.
pub struct Sample<K: Hash + Eq + Clone, C: Classify>(pub(crate) Option<Live<K, C>>);

impl<K: Hash + Eq + Clone, C: Classify> fmt::Debug for Sample<K, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sample").field("open", &self.0.is_some()).finish()
    }
}

/// A sample not settled yet. Dropped, its permit goes back and decides nothing.
pub(crate) struct Live<K, C: Classify> {
    core: Arc<Core<K>>,
    classify: C,
    permit: Permit<K>,
    started: Nanos,
    slow: bool,
    ticket: Option<C::Ticket>,
}

impl<K: Hash + Eq + Clone, C: Classify> Live<K, C> {
    pub(crate) fn new(core: Arc<Core<K>>, classify: C, permit: Permit<K>, started: Nanos) -> Self {
        Self { core, classify, permit, started, slow: false, ticket: None }
    }

    fn settle(mut self, verdict: Verdict) {
        let outcome = match verdict {
            Verdict::Success => Outcome::Success,
            Verdict::Failure(class) => Outcome::Failure(class),
            Verdict::Bench { class, bench_for } => Outcome::Bench(class, bench_for),
            Verdict::Ignore => Outcome::Nothing,
        };
        let now = self.core.now();
        let change = self.permit.settle(outcome, self.slow, now, &self.core.config);
        self.core.changed(self.permit.key(), change, now);
    }
}

impl<K: Hash + Eq + Clone, C: Classify> Sample<K, C> {
    /// The head has come: judges by it, or waits for the body.
    pub(crate) fn head(&mut self, reply: Result<&response::Parts, &BoxError>) {
        let Some(live) = &mut self.0 else { return };
        if let Some(slow) = live.core.config.slow_calls {
            live.slow = live.core.now().saturating_sub(live.started) > nanos(slow.longer_than);
        }
        match live.classify.head(reply) {
            Judgement::AtEnd(ticket) => live.ticket = Some(ticket),
            Judgement::Now(verdict) => {
                if let Some(live) = self.0.take() {
                    live.settle(verdict);
                }
            }
        }
    }
}

impl<K: Hash + Eq + Clone, C: Classify> Guard for Sample<K, C> {
    fn ended(&mut self, ending: Ending) {
        let Some(mut live) = self.0.take() else {
            return;
        };
        if let Some(ticket) = live.ticket.take() {
            let verdict = live.classify.end(ticket, ending);
            live.settle(verdict);
        }
    }
}
