use std::{borrow::Cow, cell::OnceCell, time::Duration};

use tollway_core::{Needs, Usd};

use crate::{
    CallerMatch, Glob, Query, TagMatch, TimeRange,
    auto::{Complexity, Judgement, Signals, Weights},
    matching::any,
};

/// The requests a rule holds for. All kinds of condition must hold; an empty list is no condition,
/// so the default holds for every request. What isn't known of a request fulfils no condition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct When {
    /// It needs all of these.
    pub needs: Needs,
    /// Its prompt has so many tokens, by estimate.
    pub input_tokens: Between<u64>,
    /// What the client allows it to cost, by [`MAX_COST`](crate::MAX_COST).
    pub max_cost: Between<Usd>,
    /// How long the client allows it to take, by [`MAX_LATENCY`](crate::MAX_LATENCY).
    pub max_latency: Between<Duration>,
    /// It looks as hard as one of these.
    pub complexity: Vec<Complexity>,
    /// Its prompt reads as if it took thinking, or as if it didn't.
    pub reasoning: Option<bool>,
    /// Its prompt is of one of these lengths.
    pub size: Vec<SizeClass>,
    /// One of these fits its task, by [`TASK`](crate::TASK), else by its body.
    pub task: Vec<Glob>,
    /// One of these is calling.
    pub callers: Vec<CallerMatch>,
    /// The caller carries all of these tags.
    pub tags: Vec<TagMatch>,
    /// It is one of these times.
    pub time: Vec<TimeRange>,
}

/// A range whose ends may be open; the default holds everything, the unknown included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Between<T> {
    /// The least; `None`: no bound.
    pub from: Option<T>,
    /// The most, itself included; `None`: no bound.
    pub to: Option<T>,
}

impl<T: PartialOrd> Between<T> {
    /// From here on.
    pub fn from(least: T) -> Self {
        Self { from: Some(least), to: None }
    }

    /// Up to here.
    pub fn to(most: T) -> Self {
        Self { from: None, to: Some(most) }
    }

    fn holds(&self, value: impl FnOnce() -> Option<T>) -> bool {
        if self.from.is_none() && self.to.is_none() {
            return true;
        }
        let least = |value: &T| self.from.as_ref().is_none_or(|from| value >= from);
        let most = |value: &T| self.to.as_ref().is_none_or(|to| value <= to);
        value().is_some_and(|value| least(&value) && most(&value))
    }
}

/// How long a prompt is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SizeClass {
    /// Under 200 tokens.
    Tiny,
    /// Under 2,000.
    Small,
    /// Under 20,000.
    Medium,
    /// Under 100,000.
    Large,
    /// Longer.
    Huge,
}

impl SizeClass {
    /// That of a prompt of so many tokens.
    pub fn of(tokens: u64) -> Self {
        match tokens {
            0..200 => Self::Tiny,
            200..2_000 => Self::Small,
            2_000..20_000 => Self::Medium,
            20_000..100_000 => Self::Large,
            _ => Self::Huge,
        }
    }

    /// The lower-case name used in policies.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tiny => "tiny",
            Self::Small => "small",
            Self::Medium => "medium",
            Self::Large => "large",
            Self::Huge => "huge",
        }
    }
}

/// Reads what rules ask of a prompt when the first of them asks, and once.
pub(crate) struct Judge<'a> {
    query: &'a Query<'a>,
    weights: &'a Weights,
    /// Some rule asks how hard the prompt looks: what is read for its needs is read for that, too.
    judges: bool,
    looked: OnceCell<(Needs, Option<Signals>)>,
    judgement: OnceCell<Option<Judgement>>,
    task: OnceCell<Option<Cow<'a, str>>>,
}

impl<'a> Judge<'a> {
    pub(crate) fn new(query: &'a Query<'a>, weights: &'a Weights, judges: bool) -> Self {
        let (looked, judgement, task) = Default::default();
        Self { query, weights, judges, looked, judgement, task }
    }

    fn look(&self) -> &(Needs, Option<Signals>) {
        self.looked.get_or_init(|| match self.judges {
            true => self.query.look(),
            false => (self.query.read_needs(), None),
        })
    }

    /// What was read of what the request needs; if no rule has asked, it is read now.
    pub(crate) fn read_needs(&self) -> Needs {
        self.looked.get().map_or_else(|| self.query.read_needs(), |(needs, _)| *needs)
    }

    fn judge(&self) -> Option<&Judgement> {
        let judge = || self.look().1.map(|signals| self.weights.score(&signals));
        self.judgement.get_or_init(judge).as_ref()
    }

    fn task(&self) -> Option<&str> {
        self.task.get_or_init(|| self.query.task()).as_deref()
    }

    /// How hard the prompt looks, if a rule has asked.
    pub(crate) fn judged(&self) -> Option<&'static str> {
        self.judgement.get()?.as_ref().map(|judgement| judgement.complexity.as_str())
    }
}

impl When {
    /// Whether it asks how hard the prompt looks.
    pub(crate) fn judges(&self) -> bool {
        !self.complexity.is_empty() || self.reasoning.is_some()
    }

    /// What costs least to find out is asked first.
    pub(crate) fn holds(&self, judge: &Judge<'_>) -> bool {
        let query = judge.query;
        let tokens = || query.ask.map(|ask| ask.input_tokens);
        let caller =
            |holds: &dyn Fn(&tollway_core::Caller) -> bool| query.caller.is_some_and(holds);
        let needs = || query.with_needs(judge.look().0).needs();
        (self.needs.is_empty() || needs().contains(self.needs))
            && self.input_tokens.holds(tokens)
            && any(&self.size, |size| tokens().is_some_and(|count| SizeClass::of(count) == *size))
            && any(&self.callers, |wanted| caller(&|who| wanted.holds(who)))
            && self.tags.iter().all(|wanted| caller(&|who| wanted.holds(who)))
            && self.max_cost.holds(|| query.max_cost())
            && self.max_latency.holds(|| query.max_latency())
            && (self.task.is_empty()
                || judge.task().is_some_and(|task| any(&self.task, |glob| glob.matches(task))))
            && (self.time.is_empty()
                || query.moment().is_some_and(|now| any(&self.time, |range| range.contains(now))))
            && any(&self.complexity, |hard| judge.judge().is_some_and(|j| j.complexity == *hard))
            && self.reasoning.is_none_or(|asks| judge.judge().is_some_and(|j| j.reasoning == asks))
    }
}
