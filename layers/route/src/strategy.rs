use std::{
    ops::Range,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::route::MAX_TARGETS;

/// How a route orders its targets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Strategy {
    /// In the order written: the next only when those before it are out.
    #[default]
    Failover,
    /// Each in turn; the rest follow in the same circle.
    RoundRobin,
    /// By weight: over any run as long as the sum of the weights, each target is first exactly as
    /// often as its weight says, spread evenly. The rest follow, the heaviest first. A target of
    /// weight 0 is only a fallback.
    Weighted,
}

impl Strategy {
    /// The snake_case name used in policies, labels and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failover => "failover",
            Self::RoundRobin => "round_robin",
            Self::Weighted => "weighted",
        }
    }
}

/// A set of a route's targets or places, by index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Set(u64);

impl Set {
    pub(crate) fn first(count: usize) -> Self {
        (0..count.min(MAX_TARGETS)).fold(Self(0), |set, at| Self(set.0 | 1 << at))
    }

    pub(crate) fn contains(self, at: usize) -> bool {
        at < MAX_TARGETS && self.0 & (1 << at) != 0
    }

    pub(crate) fn remove(&mut self, at: usize) {
        if at < MAX_TARGETS {
            self.0 &= !(1 << at);
        }
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// What lies in `range`, counted from its start.
    pub(crate) fn part(self, range: &Range<usize>) -> Self {
        let start = u32::try_from(range.start).unwrap_or(u32::MAX);
        Self(self.0.checked_shr(start).unwrap_or(0) & Self::first(range.len()).0)
    }

    fn iter(self) -> impl Iterator<Item = usize> {
        (0..MAX_TARGETS).filter(move |at| self.contains(*at))
    }
}

/// A strategy with what it remembers between requests.
///
/// A strategy answers two questions: who is first among those that are ready, and in which order
/// all follow a given first. Where the order depends on the first alone, plans are made once.
#[derive(Debug)]
pub(crate) enum Balancer {
    Failover,
    RoundRobin(AtomicUsize),
    Weighted { weights: Box<[u32]>, credit: Mutex<Box<[i64]>> },
}

impl Balancer {
    pub(crate) fn new(strategy: Strategy, weights: impl IntoIterator<Item = u32>) -> Self {
        match strategy {
            Strategy::Failover => Self::Failover,
            Strategy::RoundRobin => Self::RoundRobin(AtomicUsize::new(0)),
            Strategy::Weighted => {
                let weights: Box<[u32]> = weights.into_iter().collect();
                let credit = Mutex::new(weights.iter().map(|_| 0).collect());
                Self::Weighted { weights, credit }
            }
        }
    }

    /// The first choice among `ready`, which is not empty.
    pub(crate) fn first(&self, ready: Set) -> usize {
        let foremost = || ready.iter().next().unwrap_or(0);
        match self {
            Self::Failover => foremost(),
            Self::RoundRobin(next) => {
                // Counted among those that are ready: else the one behind a target that is out
                // would take its turns as well.
                let turns = ready.0.count_ones().max(1) as usize;
                let turn = next.fetch_add(1, Ordering::Relaxed) % turns;
                ready.iter().nth(turn).unwrap_or_else(foremost)
            }
            Self::Weighted { weights, credit } => {
                let mut credit = credit.lock().unwrap_or_else(PoisonError::into_inner);
                heaviest(weights, &mut credit, ready).unwrap_or_else(foremost)
            }
        }
    }

    /// All of `count` targets in the order to try them, when `first` is the first choice.
    pub(crate) fn order(&self, first: usize, count: usize) -> Vec<usize> {
        match self {
            Self::Failover => (0..count).collect(),
            Self::RoundRobin(_) => (first..count).chain(0..first).collect(),
            Self::Weighted { weights, .. } => {
                let mut order: Vec<usize> = (0..count).collect();
                let weight = |at: usize| weights.get(at).copied().unwrap_or(0);
                order.sort_by_key(|at| (*at != first, std::cmp::Reverse(weight(*at))));
                order
            }
        }
    }

    /// Why the first choice is first.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Failover => "first that is ready",
            Self::RoundRobin(_) => "its turn",
            Self::Weighted { .. } => "its share",
        }
    }
}

/// Smooth weighted round robin: each ready target earns its weight, the richest is chosen and pays
/// what all earned. Targets that are out neither earn nor pay, so their return causes no rush.
fn heaviest(weights: &[u32], credit: &mut [i64], ready: Set) -> Option<usize> {
    let mut total = 0_i64;
    let mut best: Option<(usize, i64)> = None;
    for (at, (weight, credit)) in weights.iter().zip(credit.iter_mut()).enumerate() {
        if *weight == 0 || !ready.contains(at) {
            continue;
        }
        *credit += i64::from(*weight);
        total += i64::from(*weight);
        if best.is_none_or(|(_, most)| *credit > most) {
            best = Some((at, *credit));
        }
    }
    let (at, _) = best?;
    *credit.get_mut(at)? -= total;
    Some(at)
}
