//! What is not known is looked at now and then.

use tollway_core::PerMille;

use crate::{
    estimate::Estimate,
    set::Set,
    tree::{Branch, Grown},
    walk::{Scene, Walk},
};

impl Branch {
    /// Now and then, a place of which too little is known, or nothing new, goes first in a group that
    /// compares times: or one that was bad once would never be seen to be good again. It is never one
    /// that would not be first in its own pool, nor of another arm.
    pub(crate) fn explored(&self, walk: &Walk<'_>) -> Option<(usize, &'static str)> {
        let Scene { chance, explore, estimates, .. } = *walk.scene;
        if !self.strategy.explores() || explore == PerMille::ZERO {
            return None;
        }
        let of = self.time(walk);
        let known = |at| estimates.get(at);
        let is_due = |one: &Estimate| one.stale || one.latency(of).is_none();
        // Of most decisions all is known.
        if !self.places().and(walk.usable).iter().filter_map(known).any(is_due) {
            return None;
        }
        let fronts = self.fronts(walk);
        let those = |holds: &dyn Fn(&Estimate) -> bool| {
            fronts.filter(|at| estimates.get(at).is_some_and(holds))
        };
        let unknown = those(&|one| one.latency(of).is_none());
        let due = unknown.or(those(&|one| one.stale));
        // Where nothing is known of anybody, every choice explores; where there is no choice, none.
        if due.is_empty() || unknown == fronts || fronts.len() < 2 || !chance.happens(explore) {
            return None;
        }
        let place = due.iter().nth(chance.below(due.len()))?;
        Some((
            place,
            match unknown.contains(place) {
                true => "explored: too little is known of it",
                false => "explored: what is known of it is old",
            },
        ))
    }

    /// Those of its places that may come first in it.
    fn fronts(&self, walk: &Walk<'_>) -> Set {
        let usable = self.usable(walk.usable);
        let first = if self.strategy.compares() { None } else { self.foremost(walk) };
        let limbs = first.map_or(usable, Set::one);
        let fronts = |at: usize| match self.limbs.get(at).map(|limb| &limb.node) {
            Some(Grown::Place(place)) => Set::one(*place).and(walk.usable),
            Some(Grown::Group(branch)) => branch.fronts(walk),
            None => Set::NONE,
        };
        limbs.iter().fold(Set::NONE, |all, at| all.or(fronts(at)))
    }
}
