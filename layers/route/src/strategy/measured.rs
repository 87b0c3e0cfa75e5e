//! By what a request will cost and how long it will take.

use super::{Entrant, Rank, spread};
use crate::{
    chance::Chance,
    set::{Few, MAX},
};

/// Times that are nearly as good as the best: what a p95 moves by from one minute to the next.
const NEAR_LATENCY: f32 = 1.1;
/// Costs that are: estimates of the same price.
const NEAR_COST: f32 = 1.005;
/// Scores that are, of 1.
const NEAR_SCORE: f32 = 0.02;

/// The middle one of some values; of an even number the lower.
pub(super) fn median(values: impl Iterator<Item = f32>) -> Option<f32> {
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

fn best(values: impl Iterator<Item = f32>) -> f32 {
    values.fold(f32::INFINITY, f32::min)
}

/// By key, where a key that rests on the median of the others is marked as such: nobody is first for
/// what isn't known of it, until exploration has found out.
fn placed(all: &[Entrant], key: impl Fn(&Entrant) -> (f32, bool)) -> Few<Rank> {
    let mut ranks = Few::new();
    for one in all {
        let (key, known) = key(one);
        ranks.push(Rank { at: one.at, key, known, score: None });
    }
    ranks.as_mut_slice().sort_unstable_by(|a, b| {
        a.key.total_cmp(&b.key).then_with(|| (!a.known, a.at).cmp(&(!b.known, b.at)))
    });
    ranks
}

/// Scores the ranks, and spreads requests over those that are nearly as good as the best.
fn finish(
    all: &[Entrant],
    mut ranks: Few<Rank>,
    near: impl Fn(f32, f32) -> bool,
    score: impl Fn(f32, f32) -> f32,
    chance: &Chance,
) -> Few<Rank> {
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
    ranks
}

pub(super) fn latency(all: &[Entrant], chance: &Chance) -> Few<Rank> {
    let usual = median(all.iter().filter_map(|one| one.latency));
    let key = |one: &Entrant| match (one.latency, usual) {
        (Some(latency), _) => (latency, true),
        (None, Some(usual)) => (usual, false),
        // Nothing is known of anybody.
        (None, None) => (0.0, true),
    };
    let near = |best: f32, key: f32| key <= best * NEAR_LATENCY;
    finish(all, placed(all, key), near, beside, chance)
}

pub(super) fn cost(all: &[Entrant], chance: &Chance) -> Few<Rank> {
    let key = |one: &Entrant| (one.cost.unwrap_or(f32::INFINITY), true);
    let near = |best: f32, key: f32| key <= best * NEAR_COST;
    finish(all, placed(all, key), near, beside, chance)
}

/// The sum of how far a member is behind the quickest and behind the cheapest, each 0 to 1.
pub(super) fn score(all: &[Entrant], shares: (u32, u32), chance: &Chance) -> Few<Rank> {
    let total = (shares.0 as f32 + shares.1 as f32).max(1.0);
    let (for_latency, for_cost) = (shares.0 as f32 / total, shares.1 as f32 / total);
    let quickest = best(all.iter().filter_map(|one| one.latency));
    let cheapest = best(all.iter().filter_map(|one| one.cost));
    let usual = median(all.iter().filter_map(|one| one.latency));
    let behind = |best: f32, key: Option<f32>| key.map_or(1.0, |key| 1.0 - beside(best, key));
    let key = |one: &Entrant| {
        let lag = if usual.is_some() { behind(quickest, one.latency.or(usual)) } else { 0.0 };
        let dear = if cheapest.is_finite() { behind(cheapest, one.cost) } else { 0.0 };
        let known = one.latency.is_some() || usual.is_none() || shares.0 == 0;
        (for_latency * lag + for_cost * dear, known)
    };
    let near = |best: f32, key: f32| key <= best + NEAR_SCORE;
    finish(all, placed(all, key), near, |_, key| 1.0 - key, chance)
}
