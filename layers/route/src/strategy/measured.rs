//! By what a request will cost and how long it will take.

use super::{Entrant, Others, Rank, Strategy, order::ranked, spread};
use crate::{
    chance::Chance,
    set::{Few, MAX},
};

/// Times that are nearly as good as the best: what a p95 moves by from one minute to the next.
const NEAR_LATENCY: f32 = 1.1;
/// Costs that are: estimates of the same price.
const NEAR_COST: f32 = 1.005;
/// Scores that are, as a logarithm: 5 %.
const NEAR_SCORE: f32 = 0.05;
/// Seconds and nano-dollars below which no member is better: nothing is infinitely good.
const LEAST_LATENCY: f32 = 0.001;
const LEAST_COST: f32 = 100.0;

/// The middle one of some values; of an even number the lower.
pub(crate) fn median(values: impl Iterator<Item = f32>) -> Option<f32> {
    let mut all = [0.0; MAX];
    let mut count = 0;
    for (slot, value) in all.iter_mut().zip(values) {
        *slot = value;
        count += 1;
    }
    let all = all.get_mut(..count)?;
    all.sort_unstable_by(f32::total_cmp);
    all.get(count.saturating_sub(1) / 2).copied()
}

/// How good a figure is beside the best: 1 the best, half as good when it is twice as high.
///
/// By the best alone, and not by the worst: a bad member that joins changes nothing among the
/// others.
pub(super) fn beside(best: f32, key: f32) -> f32 {
    if key <= best {
        1.0
    } else if key.is_finite() {
        best / key
    } else {
        0.0
    }
}

/// The median time, where anybody's is missing and has to be stood in for.
fn usual(all: &[Entrant]) -> Option<f32> {
    let missing = all.iter().any(|one| one.latency.is_none());
    missing.then(|| median(all.iter().filter_map(|one| one.latency)))?
}

/// Scores the ranks, and spreads requests over those that are nearly as good as the best.
fn finish(
    all: &[Entrant],
    ranks: &mut Few<Rank>,
    near: impl Fn(f32, f32) -> bool,
    score: impl Fn(f32, f32) -> f32,
    chance: Option<&Chance>,
) {
    let list = ranks.as_mut_slice();
    let best = list.first().map_or(0.0, |rank| rank.key);
    for rank in list.iter_mut() {
        rank.score = Some(score(best, rank.key));
    }
    let near = list.iter().take_while(|rank| rank.known && near(best, rank.key)).count();
    let busy = |at: u8| {
        all.iter().find(|one| one.at == at).map_or(f32::INFINITY, |one| one.in_flight as f32)
    };
    spread(list, near, chance, busy);
}

pub(super) fn latency(all: &[Entrant], others: &Others, chance: Option<&Chance>) -> Few<Rank> {
    let usual = usual(all);
    let key = |one: &Entrant| match (one.latency, usual) {
        (Some(latency), _) => (latency, true),
        (None, Some(usual)) => (usual, false),
        // Nothing is known of any of them.
        (None, None) => (others.latency.unwrap_or(0.0), true),
    };
    let near = |best: f32, key: f32| key <= best * NEAR_LATENCY;
    let mut ranks = ranked(all, key);
    finish(all, &mut ranks, near, beside, chance);
    ranks
}

pub(super) fn cost(all: &[Entrant], chance: Option<&Chance>) -> Few<Rank> {
    let key = |one: &Entrant| (one.cost.unwrap_or(f32::INFINITY), true);
    let near = |best: f32, key: f32| key <= best * NEAR_COST;
    let mut ranks = ranked(all, key);
    finish(all, &mut ranks, near, beside, chance);
    ranks
}

/// Latency and cost multiplied, each to the power of its share: what is half as quick must cost less
/// by as much to be as good. How two members compare depends on no third.
pub(super) fn score(
    all: &[Entrant],
    others: &Others,
    shares: (u32, u32),
    chance: Option<&Chance>,
) -> Few<Rank> {
    let total = (shares.0 as f32 + shares.1 as f32).max(1.0);
    let (for_latency, for_cost) = (shares.0 as f32 / total, shares.1 as f32 / total);
    let usual = usual(all);
    let priced = all.iter().any(|one| one.cost.is_some());
    let power = |share: f32, least: f32, value: Option<f32>| match value {
        _ if share <= 0.0 => 0.0,
        Some(value) => share * value.max(least).ln(),
        None => f32::INFINITY,
    };
    let key = |one: &Entrant| {
        let time = one.latency.or(usual).or(others.latency).or(Some(LEAST_LATENCY));
        let unpriced = if others.priced { f32::MAX } else { LEAST_COST };
        let cost = if priced { one.cost } else { Some(unpriced) };
        let known = one.latency.is_some() || usual.is_none() || shares.0 == 0;
        (power(for_latency, LEAST_LATENCY, time) + power(for_cost, LEAST_COST, cost), known)
    };
    let near = |best: f32, key: f32| key <= best + NEAR_SCORE;
    let score = |best: f32, key: f32| if key <= best { 1.0 } else { (best - key).exp() };
    let mut ranks = ranked(all, key);
    finish(all, &mut ranks, near, score, chance);
    ranks
}

/// Figures as they are told.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Told {
    /// Nanoseconds.
    pub(crate) time: Option<f64>,
    /// Nano-dollars.
    pub(crate) cost: Option<f64>,
}

/// Scores that are as good as each other but for rounding, as a logarithm.
const ALIKE: f64 = 1e-5;

impl Strategy {
    /// Whether what it goes by is told.
    pub(crate) fn knows(&self, told: Told) -> bool {
        let (timed, priced) = (told.time.is_some(), told.cost.is_some());
        match self {
            Self::Latency { .. } => timed,
            Self::Cost => priced,
            Self::Score { latency, cost } => (*latency == 0 || timed) && (*cost == 0 || priced),
            _ => true,
        }
    }

    /// Whether `other` is better by what is told, and by more than `slack`; nobody knows: no.
    pub(crate) fn beaten(&self, mine: Told, other: Told, slack: f64) -> bool {
        let lower = |mine: Option<f64>, other: Option<f64>| {
            mine.zip(other).is_some_and(|(mine, other)| other * (1.0 + slack) < mine)
        };
        match self {
            Self::Latency { .. } => lower(mine.time, other.time),
            Self::Cost => lower(mine.cost, other.cost),
            // As most are that stand behind the first.
            Self::Score { .. } if other.time >= mine.time && other.cost >= mine.cost => false,
            Self::Score { latency, cost } if self.knows(mine) && self.knows(other) => {
                let ratio = |mine: Option<f64>, other: Option<f64>, least: f64| {
                    mine.zip(other).map_or(1.0, |(mine, other)| mine.max(least) / other.max(least))
                };
                let shares = (f64::from(*latency), f64::from(*cost));
                let time = ratio(mine.time, other.time, f64::from(LEAST_LATENCY) * 1e9);
                let cost = ratio(mine.cost, other.cost, LEAST_COST.into());
                gains((time, cost), shares, slack + ALIKE)
            }
            _ => false,
        }
    }

    /// What is near the best, for [`beaten`](Self::beaten).
    pub(crate) fn slack(&self) -> f64 {
        let near = match self {
            Self::Latency { .. } => f64::from(NEAR_LATENCY) - 1.0,
            Self::Cost => f64::from(NEAR_COST) - 1.0,
            _ => f64::from(NEAR_SCORE),
        };
        near + ALIKE
    }
}

/// Whether the logarithm of two ratios' product, each to the power of its share, is above `least`.
/// Mostly that is seen without a logarithm, which lies between `1 - 1/x` and `x - 1`.
fn gains((time, cost): (f64, f64), shares: (f64, f64), least: f64) -> bool {
    let least = least * (shares.0 + shares.1).max(1.0);
    let both = |of: fn(f64) -> f64| shares.0 * of(time) + shares.1 * of(cost);
    both(|ratio| ratio - 1.0) > least
        && (both(|ratio| 1.0 - 1.0 / ratio) > least || both(f64::ln) > least)
}
