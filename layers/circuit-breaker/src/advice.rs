//! What others found of a circuit, laid over what it finds by itself.

use std::sync::Arc;

use tokio::time::Instant;
use tollway_core::ErrorClass;

use crate::{
    config::Config,
    state::{Nanos, nanos},
};

/// So many may speak of one circuit at a time; the word that ends first makes room.
const MOST: usize = 8;

/// What somebody else found of a circuit: another instance of the same service, say.
///
/// It holds the circuit open for as long as it says, [`Config::advice_for`] at most; then a few trial
/// requests find out, as if this circuit had opened by itself. Calls that succeed here after it was
/// found outrank it: they are followed by trials at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// Who found it. A later word of the same takes the place of an earlier one.
    pub from: Arc<str>,
    /// Why, in words.
    pub why: Arc<str>,
    /// When it was found: the same moment for the same finding, however often it is said. Machines
    /// agree on no clock, so who passes advice on tells ages, and reckons back once.
    pub found: Instant,
    /// Until when it holds.
    pub until: Instant,
    /// The key is set aside, and what its provider said of it.
    pub benched: Option<ErrorClass>,
    /// An operator said so: no success outranks it, and it holds for as long as it is renewed.
    pub firm: bool,
}

/// Advice by this circuit's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) from: Arc<str>,
    pub(crate) why: Arc<str>,
    pub(crate) found: Nanos,
    /// When it was first heard of.
    since: Nanos,
    pub(crate) until: Nanos,
    pub(crate) benched: Option<ErrorClass>,
    firm: bool,
}

impl Heard {
    /// `clock` is that of the circuit.
    pub(crate) fn new(advice: &Advice, now: Nanos, clock: impl Fn(Instant) -> Nanos) -> Self {
        Self {
            from: advice.from.clone(),
            why: advice.why.clone(),
            found: clock(advice.found),
            since: now,
            until: clock(advice.until),
            benched: advice.benched,
            firm: advice.firm,
        }
    }

    pub(crate) fn shown(&self, instant: impl Fn(Nanos) -> Instant) -> Advice {
        Advice {
            from: self.from.clone(),
            why: self.why.clone(),
            found: instant(self.found),
            until: instant(self.until),
            benched: self.benched,
            firm: self.firm,
        }
    }

    /// Whether it keeps requests out: not for ever, and not against what was seen here since.
    fn binds(&self, now: Nanos, succeeded: Option<Nanos>) -> bool {
        now < self.until && (self.firm || succeeded <= Some(self.found))
    }

    /// Another's word is taken for no longer than the config says, unless an operator renews it.
    fn bound(&mut self, config: &Config) {
        if !self.firm {
            self.until = self.until.min(self.since.saturating_add(nanos(config.advice_for)));
        }
    }
}

/// All that is heard of one circuit.
#[derive(Clone, Debug)]
pub(crate) struct Advised {
    heard: Vec<Heard>,
    /// Once nothing of it binds: the trials that decide whether it was right. `None`: it binds.
    pub(crate) trials: Option<Trials>,
}

/// Requests let through to see whether others are right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trials {
    /// A pass of an earlier round holds no place in this one.
    pub(crate) round: u64,
    pub(crate) under_way: u32,
    pub(crate) successes: u32,
    pub(crate) last: Nanos,
}

impl Advised {
    pub(crate) fn new() -> Self {
        Self { heard: Vec::new(), trials: None }
    }

    pub(crate) fn hear(&mut self, mut said: Heard, config: &Config) {
        if let Some(known) = self.heard.iter_mut().find(|known| known.from == said.from) {
            if known.found == said.found {
                said.since = known.since;
            }
            said.bound(config);
            *known = said;
            return;
        }
        said.bound(config);
        if self.heard.len() >= MOST {
            let first =
                (0..self.heard.len()).min_by_key(|at| self.heard.get(*at).map(|it| it.until));
            first.map(|first| self.heard.swap_remove(first));
        }
        self.heard.push(said);
    }

    /// Whether nobody says anything any more.
    pub(crate) fn unhear(&mut self, from: &str) -> bool {
        self.heard.retain(|heard| *heard.from != *from);
        self.heard.is_empty()
    }

    /// What keeps requests out the longest.
    pub(crate) fn binds(&self, now: Nanos, succeeded: Option<Nanos>) -> Option<&Heard> {
        let binding = self.heard.iter().filter(|heard| heard.binds(now, succeeded));
        binding.max_by_key(|heard| heard.until)
    }

    /// The last word of which the trials are.
    pub(crate) fn benched(&self) -> Option<ErrorClass> {
        self.heard.iter().max_by_key(|heard| heard.until).and_then(|heard| heard.benched)
    }

    /// What has not expired.
    pub(crate) fn fresh(&self, now: Nanos) -> impl Iterator<Item = &Heard> {
        self.heard.iter().filter(move |heard| now < heard.until)
    }

    /// Enters the next round of trials where nothing binds, or where the last of them never ended.
    /// Whether the trials have only begun.
    pub(crate) fn tick(
        &mut self,
        now: Nanos,
        succeeded: Option<Nanos>,
        rounds: &mut u64,
        config: &Config,
    ) -> bool {
        if self.binds(now, succeeded).is_some() {
            self.trials = None;
            return false;
        }
        let before = self.trials;
        let over = |trials: &Trials| trials.are_full(config) && trials.is_lease_over(now, config);
        if before.is_none() || before.as_ref().is_some_and(over) {
            *rounds += 1;
            let successes = before.map_or(0, |trials| trials.successes);
            self.trials = Some(Trials { round: *rounds, under_way: 0, successes, last: now });
        }
        before.is_none()
    }
}

impl Trials {
    fn are_full(&self, config: &Config) -> bool {
        self.under_way >= config.trial_requests
    }

    fn is_lease_over(&self, now: Nanos, config: &Config) -> bool {
        now.saturating_sub(self.last) >= nanos(config.trial_timeout)
    }

    /// Whether one more may go.
    pub(crate) fn allow(&self, now: Nanos, config: &Config) -> bool {
        !self.are_full(config) || self.is_lease_over(now, config)
    }

    /// One more goes, if it may.
    pub(crate) fn take(&mut self, now: Nanos, config: &Config) -> bool {
        let free = !self.are_full(config);
        if free {
            (self.under_way, self.last) = (self.under_way + 1, now);
        }
        free
    }
}
