//! By what is under way.

use super::{
    Entrant, Others, Rank,
    measured::{beside, median},
    sorted,
};
use crate::{chance::Chance, set::Few};

/// The share of a member's weight that is taken; a fallback's is beyond any.
fn taken(one: &Entrant) -> f32 {
    match one.weight {
        0 => f32::INFINITY,
        weight => (one.in_flight as f32 + 1.0) / weight as f32,
    }
}

/// Those that are equally busy in a random order: in that of writing, one would get each lone
/// request.
pub(super) fn least_busy(all: &[Entrant], chance: Option<&Chance>) -> Few<Rank> {
    let mut ranks = sorted(all, taken);
    let ranks_of = ranks.as_mut_slice();
    let best = ranks_of.first().map_or(0.0, |rank| rank.key);
    let equal = ranks_of.iter().take_while(|rank| rank.key.is_finite() && rank.key <= best).count();
    let turn = chance.filter(|_| equal > 1).map_or(0, |chance| chance.below(equal));
    if let Some(equals) = ranks_of.get_mut(..equal) {
        equals.rotate_left(turn);
    }
    score(&mut ranks);
    ranks
}

/// Of two members at random the less loaded first, the other next, the rest by load. Of a member
/// that is not known yet, as much is expected as of the median.
pub(super) fn power_of_two(all: &[Entrant], others: &Others, chance: Option<&Chance>) -> Few<Rank> {
    let usual = median(all.iter().filter_map(|one| one.peak)).or(others.peak).unwrap_or(1.0);
    let mut ranks = sorted(all, |one| match one.weight {
        0 => f32::INFINITY,
        _ => one.peak.unwrap_or(usual) * (one.in_flight as f32 + 1.0),
    });
    let drawn = ranks.as_slice().iter().take_while(|rank| rank.key.is_finite()).count();
    if let Some(chance) = chance.filter(|_| drawn > 1) {
        let one = chance.below(drawn);
        let other = (one + 1 + chance.below(drawn - 1)) % drawn;
        let (better, worse) = (one.min(other), one.max(other));
        let ranks = ranks.as_mut_slice();
        // The worse of the two is behind the better in any case; both move up.
        if let Some(part) = ranks.get_mut(..=worse) {
            part.rotate_right(1);
        }
        if let Some(part) = ranks.get_mut(..=better + 1) {
            part.rotate_right(1);
        }
    }
    score(&mut ranks);
    ranks
}

fn score(ranks: &mut Few<Rank>) {
    let best = ranks.as_slice().iter().map(|rank| rank.key).fold(f32::INFINITY, f32::min);
    for rank in ranks.as_mut_slice() {
        rank.score = Some(beside(best, rank.key));
    }
}
