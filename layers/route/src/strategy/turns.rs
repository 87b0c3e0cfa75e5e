//! By turns and shares: whose order depends on nothing outside of the group.

use std::{
    cmp::Reverse,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::{Rank, Strategy};
use crate::set::{Few, Set};

/// What a group remembers between requests.
///
/// It answers two questions: who is first among those that are ready, and in which order all follow
/// a given first. As the order depends on the first alone, plans are made once.
#[derive(Debug)]
pub(crate) enum Turns {
    Failover,
    RoundRobin(AtomicUsize),
    Weighted {
        weights: Box<[u32]>,
        credit: Mutex<Box<[i64]>>,
        /// Members, the heaviest first.
        heaviest: Box<[usize]>,
    },
}

impl Turns {
    pub(crate) fn new(strategy: &Strategy, weights: impl IntoIterator<Item = u32>) -> Self {
        let weights: Box<[u32]> = weights.into_iter().collect();
        match strategy {
            Strategy::RoundRobin => Self::RoundRobin(AtomicUsize::new(0)),
            Strategy::Weighted if weights.len() > 1 => {
                let credit = Mutex::new(weights.iter().map(|_| 0).collect());
                let mut heaviest: Box<[usize]> = (0..weights.len()).collect();
                heaviest.sort_by_key(|at| Reverse(weights.get(*at).copied().unwrap_or(0)));
                Self::Weighted { weights, credit, heaviest }
            }
            _ => Self::Failover,
        }
    }

    /// The first choice among `ready`; 0 if nobody is. One that is `rehearsed` takes no turn.
    pub(crate) fn first(&self, ready: Set, rehearsed: bool) -> usize {
        let Some(foremost) = ready.iter().next() else { return 0 };
        match self {
            Self::Failover => foremost,
            Self::RoundRobin(next) => {
                // Counted among those that are ready: else the one behind a member that is out
                // would take its turns as well.
                let step = if rehearsed { 0 } else { 1 };
                let turn = next.fetch_add(step, Ordering::Relaxed) % ready.len().max(1);
                ready.iter().nth(turn).unwrap_or(foremost)
            }
            Self::Weighted { weights, credit, .. } => {
                let mut credit = credit.lock().unwrap_or_else(PoisonError::into_inner);
                let chosen = if rehearsed {
                    richest(weights, &mut credit.clone(), ready)
                } else {
                    richest(weights, &mut credit, ready)
                };
                chosen.unwrap_or(foremost)
            }
        }
    }

    /// Goes on where `before` was, if it counts the same way.
    pub(crate) fn resume(&self, before: &Self) {
        match (self, before) {
            (Self::RoundRobin(next), Self::RoundRobin(then)) => {
                next.store(then.load(Ordering::Relaxed), Ordering::Relaxed);
            }
            (
                Self::Weighted { weights, credit, .. },
                Self::Weighted { weights: before, credit: then, .. },
            ) if weights == before => {
                let then = then.lock().unwrap_or_else(PoisonError::into_inner).clone();
                *credit.lock().unwrap_or_else(PoisonError::into_inner) = then;
            }
            _ => {}
        }
    }

    /// Those of `usable` in the order to try them, when `first` is the first choice of `count`.
    pub(crate) fn order(&self, first: usize, count: usize, usable: Set) -> Few<Rank> {
        let mut ranks = Few::new();
        let mut push = |at: usize| {
            if usable.contains(at) {
                ranks.push(Rank { at: u8::try_from(at).unwrap_or(0), ..Rank::default() });
            }
        };
        match self {
            Self::Failover => (0..count).for_each(push),
            Self::RoundRobin(_) => (first..count).chain(0..first).for_each(push),
            Self::Weighted { heaviest, .. } => {
                push(first);
                heaviest.iter().copied().filter(|at| *at != first).for_each(push);
            }
        }
        ranks
    }
}

/// Smooth weighted round robin: each ready member earns its weight, the richest is chosen and pays
/// what all earned. Members that are out neither earn nor pay, so their return causes no rush.
fn richest(weights: &[u32], credit: &mut [i64], ready: Set) -> Option<usize> {
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
