//! The walk along the plan: which attempt comes next. Pure; `now` is an argument.

use std::time::Duration;

use tokio::time::Instant;
use tollway_core::{Candidate, Failure, SuggestedAction, Target};

use crate::{Attempt, Config, Prefer, Stop};

/// When a target that has failed may be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Again {
    /// Not in this request.
    Never,
    /// The provider's hint is longer than we obey.
    TooLate,
    /// After a backoff.
    Backoff,
    /// As the provider's hint says; `short`: soon enough to stay for.
    At { at: Instant, short: bool },
}

/// A failed attempt, as later decisions need it.
#[derive(Clone, Debug)]
pub(crate) struct Tried {
    pub(crate) attempt: Attempt,
    pub(crate) again: Again,
    /// Its key is of no use until somebody acts.
    pub(crate) benched: bool,
}

impl Tried {
    /// `hint`: the wait the provider asks for, and the same spread; `forbidden`: it wants no retry
    /// here.
    pub(crate) fn new(
        attempt: Attempt,
        failure: &Failure,
        hint: Option<(Duration, Duration)>,
        forbidden: bool,
        config: &Config,
        now: Instant,
    ) -> Self {
        let repeat =
            config.retry_on.contains(failure.class()) && failure.retryable_on_same_target();
        let again = match hint {
            _ if !repeat || forbidden => Again::Never,
            // A wait of zero says no more than none at all.
            None | Some((Duration::ZERO, _)) => Again::Backoff,
            Some((asked, _)) if asked > config.obey_up_to => Again::TooLate,
            Some((asked, spread)) => now
                .checked_add(spread)
                .map_or(Again::TooLate, |at| Again::At { at, short: asked <= config.stay_up_to }),
        };
        let benched = failure.class().action() == SuggestedAction::BenchKey;
        Self { attempt, again, benched }
    }
}

/// The next step after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A target tried before, at this moment.
    Repeat { candidate: usize, at: Instant },
    /// A target not tried yet, now.
    FailOver { candidate: usize },
    /// Nothing more.
    Stop(Stop),
}

/// What a decision is made from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Walk<'a> {
    pub(crate) config: &'a Config,
    /// The plan; empty: one target without a name.
    pub(crate) candidates: &'a [Candidate],
    /// All attempts so far, the failed one last.
    pub(crate) tried: &'a [Tried],
    pub(crate) now: Instant,
    pub(crate) deadline: Option<Instant>,
    /// The wait for a target that gave no hint.
    pub(crate) backoff: Duration,
    /// Whether the request can be sent again.
    pub(crate) sendable: bool,
    /// Whether the budget allows a repeat.
    pub(crate) repeats: bool,
    /// Places of the plan that would fail as others have: a bit each.
    pub(crate) unfit: u64,
}

impl Walk<'_> {
    /// What to do after `failure` at `current`, the last of `tried`.
    pub(crate) fn next(&self, current: usize, failure: &Failure) -> Step {
        let class = failure.class();
        let elsewhere = self.candidates.len() > 1 && self.config.fail_over_on.contains(class);
        if !elsewhere && self.tried.last().is_none_or(|last| last.again == Again::Never) {
            return Step::Stop(Stop::Final);
        }
        if self.tried.len() >= self.config.attempts as usize {
            return Step::Stop(Stop::Attempts);
        }
        if !self.sendable {
            return Step::Stop(Stop::Body);
        }
        if self.deadline.is_some_and(|deadline| self.now >= deadline) {
            return Step::Stop(Stop::Deadline);
        }
        let Some(fresh) = self.fresh().filter(|_| elsewhere) else {
            return self.earliest(elsewhere, current);
        };
        if self.stays(current) {
            if let step @ Step::Repeat { .. } = self.earliest(false, current) {
                return step;
            }
        }
        Step::FailOver { candidate: fresh }
    }

    /// Whether the same target comes before a fresh one.
    fn stays(&self, current: usize) -> bool {
        match self.again(current) {
            // Once: one that asks for a moment again and again would use up all attempts.
            Some(Again::At { short, .. }) => {
                short && self.tries(current) == 1 || self.config.prefer == Prefer::SameTarget
            }
            Some(Again::Backoff) => self.config.prefer == Prefer::SameTarget,
            _ => false,
        }
    }

    /// The first target of the plan that has not been tried, would not fail as others have, and
    /// whose key is not benched.
    fn fresh(&self) -> Option<usize> {
        let unfit = |candidate: usize| {
            let bit = u32::try_from(candidate).ok().and_then(|place| 1_u64.checked_shl(place));
            bit.is_some_and(|bit| self.unfit & bit != 0)
        };
        (0..self.candidates.len()).find(|candidate| {
            self.tries(*candidate) == 0 && !unfit(*candidate) && !self.benched(*candidate)
        })
    }

    /// Of the targets tried before, the one that may be tried again soonest; of two, the earlier in
    /// the plan.
    fn earliest(&self, elsewhere: bool, current: usize) -> Step {
        if !self.repeats {
            return Step::Stop(Stop::Budget);
        }
        let mut why = Stop::Targets;
        let mut best: Option<(Instant, usize)> = None;
        for candidate in 0..self.candidates.len().max(1) {
            if !elsewhere && candidate != current {
                continue;
            }
            let at = match self.again(candidate) {
                Some(Again::Backoff) => self.now.checked_add(self.backoff),
                Some(Again::At { at, .. }) => Some(at.max(self.now)),
                Some(Again::TooLate) => {
                    why = Stop::Hint;
                    continue;
                }
                Some(Again::Never) | None => continue,
            };
            let Some(at) = at.filter(|at| self.deadline.is_none_or(|deadline| *at < deadline))
            else {
                why = Stop::Deadline;
                continue;
            };
            if best.is_none_or(|(soonest, _)| at < soonest) {
                best = Some((at, candidate));
            }
        }
        best.map_or(Step::Stop(why), |(at, candidate)| Step::Repeat { candidate, at })
    }

    /// When `candidate` may be tried again; `None` where it has not been tried or is used up.
    fn again(&self, candidate: usize) -> Option<Again> {
        let last = self.tried.iter().rev().find(|tried| self.is(tried, candidate))?;
        let most = self.config.attempts_per_target;
        let spent = most.is_some_and(|most| self.tries(candidate) >= most as usize);
        Some(if spent || self.benched(candidate) { Again::Never } else { last.again })
    }

    fn tries(&self, candidate: usize) -> usize {
        self.tried.iter().filter(|tried| self.is(tried, candidate)).count()
    }

    fn benched(&self, candidate: usize) -> bool {
        let key = |target: &Target| (target.provider().clone(), target.key().clone());
        let mine = self.target(candidate).map(key);
        self.tried
            .iter()
            .any(|tried| tried.benched && tried.attempt.target.as_ref().map(key) == mine)
    }

    fn is(&self, tried: &Tried, candidate: usize) -> bool {
        tried.attempt.target.as_ref() == self.target(candidate)
    }

    fn target(&self, candidate: usize) -> Option<&Target> {
        self.candidates.get(candidate).map(|candidate| &candidate.target)
    }
}

/// How much an outcome tells the caller, for choosing which one is handed on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weight {
    /// A reply, not an error made on this side.
    pub(crate) reply: bool,
    /// The operator's affair (a key, a model's name), of which the caller can make nothing.
    pub(crate) internal: bool,
    /// When the provider says that it can be tried again.
    pub(crate) ready: Option<Instant>,
}

impl Weight {
    /// Whether an earlier outcome tells more than a later one.
    pub(crate) fn beats(&self, later: &Self) -> bool {
        if self.reply != later.reply {
            return self.reply;
        }
        if self.internal != later.internal {
            return later.internal;
        }
        match (self.ready, later.ready) {
            (Some(mine), Some(other)) => mine < other,
            _ => false,
        }
    }
}
