//! By what a request will cost and how long it will take.

use super::{Entrant, Others, Rank, spread};
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

/// By key, where a key that rests on the median of the others is marked as such: nobody is first for
/// what isn't known of it, until exploration has found out.
fn placed(all: &[Entrant], key: impl Fn(&Entrant) -> (f32, bool)) -> Few<Rank> {
    // Each in one number, which are sorted in a fraction of the time: key, whether it is known, place.
    let mut packed = Few::new();
    for one in all {
        let (key, known) = key(one);
        packed.push(u64::from(ordinal(key)) << 16 | u64::from(!known) << 8 | u64::from(one.at));
    }
    packed.as_mut_slice().sort_unstable();
    let mut ranks = Few::new();
    for number in packed.as_slice() {
        let (key, [.., unknown, at]) = (of_ordinal((number >> 16) as u32), number.to_be_bytes());
        ranks.push(Rank { at, key, known: unknown == 0, score: None });
    }
    ranks
}

/// A whole number that stands to others as `total_cmp` puts theirs.
fn ordinal(key: f32) -> u32 {
    let bits = key.to_bits();
    if key.is_sign_negative() { !bits } else { bits | SIGN }
}

fn of_ordinal(number: u32) -> f32 {
    f32::from_bits(if number & SIGN == 0 { !number } else { number ^ SIGN })
}

const SIGN: u32 = 1 << 31;

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
    chance: &Chance,
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

pub(super) fn latency(all: &[Entrant], others: &Others, chance: &Chance) -> Few<Rank> {
    let usual = usual(all);
    let key = |one: &Entrant| match (one.latency, usual) {
        (Some(latency), _) => (latency, true),
        (None, Some(usual)) => (usual, false),
        // Nothing is known of any of them.
        (None, None) => (others.latency.unwrap_or(0.0), true),
    };
    let near = |best: f32, key: f32| key <= best * NEAR_LATENCY;
    let mut ranks = placed(all, key);
    finish(all, &mut ranks, near, beside, chance);
    ranks
}

pub(super) fn cost(all: &[Entrant], chance: &Chance) -> Few<Rank> {
    let key = |one: &Entrant| (one.cost.unwrap_or(f32::INFINITY), true);
    let near = |best: f32, key: f32| key <= best * NEAR_COST;
    let mut ranks = placed(all, key);
    finish(all, &mut ranks, near, beside, chance);
    ranks
}

/// Latency and cost multiplied, each to the power of its share: what is half as quick must cost less
/// by as much to be as good. How two members compare depends on no third.
pub(super) fn score(
    all: &[Entrant],
    others: &Others,
    shares: (u32, u32),
    chance: &Chance,
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
    let mut ranks = placed(all, key);
    finish(all, &mut ranks, near, score, chance);
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        /// Every key, be it no number, and its order survive.
        #[test]
        fn keys_are_ordered_as_total_cmp_orders(one: u32, other: u32) {
            let (a, b) = (f32::from_bits(one), f32::from_bits(other));
            proptest::prop_assert_eq!(ordinal(a).cmp(&ordinal(b)), a.total_cmp(&b));
            proptest::prop_assert_eq!(of_ordinal(ordinal(a)).to_bits(), one);
        }
    }
}
