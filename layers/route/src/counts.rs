//! What a member counts as where members are compared.

use crate::{
    Of, Strategy, Traits,
    estimate::Estimate,
    set::Few,
    strategy::{self, Entrant, Others},
    tree::{Branch, Grown, Limb},
    walk::{Scene, Walk},
};

/// Whose figures are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Figure {
    /// With what is under way and what fails.
    Counted,
    /// As they are told.
    Told,
}

impl Walk<'_> {
    /// What is known of the rest of the plan, where nothing is of these.
    pub(crate) fn others(&self, entrants: &Few<Entrant>, of: Of) -> Others {
        let Scene { all, estimates, .. } = *self.scene;
        let none = |known: &dyn Fn(&Entrant) -> Option<f32>| {
            all != self.usable && entrants.as_slice().iter().all(|one| known(one).is_none())
        };
        let each = || all.iter().filter_map(|place| estimates.get(place));
        let median =
            |known: &dyn Fn(&Estimate) -> Option<f32>| strategy::median(each().filter_map(known));
        Others {
            latency: none(&|one| one.latency).then(|| median(&|one| one.expected(of))).flatten(),
            peak: none(&|one| one.peak).then(|| median(&|one| one.peak)).flatten(),
            priced: none(&|one| one.cost) && each().any(|one| one.dearness.is_some()),
        }
    }
}

impl Branch {
    /// Puts down what its strategy knows of each member that can be used.
    pub(crate) fn enter(&self, walk: &Walk<'_>, entrants: &mut Few<Entrant>) {
        let of = self.time(walk);
        let mine = match self.strategy {
            Strategy::Nearest => walk.scene.near.region(walk.scene.query),
            _ => None,
        };
        let limbs = self.usable(walk.usable);
        for (at, limb) in self.limbs.iter().enumerate().filter(|(at, _)| limbs.contains(*at)) {
            entrants.push(limb.entrant(at, walk, (of, mine)));
        }
        if self.strategy == Strategy::Capability {
            for one in entrants.as_mut_slice() {
                let limb = self.limbs.get(usize::from(one.at));
                one.able = limb.is_some_and(|limb| limb.is_able(walk));
            }
        }
    }

    /// The member that this request would go to first; `None`: turns or chance decide that.
    pub(crate) fn foremost(&self, walk: &Walk<'_>) -> Option<usize> {
        let usable = self.usable(walk.usable);
        let by_chance = match &self.strategy {
            Strategy::RoundRobin
            | Strategy::Weighted
            | Strategy::LeastBusy
            | Strategy::PowerOfTwo => true,
            Strategy::Affinity { .. } | Strategy::Split { .. } => self.key(walk).is_none(),
            _ => false,
        };
        // Whoever weighs nothing is first only where all do: then in the order written.
        let shares =
            |at: usize| self.limbs.get(at).is_some_and(|limb| limb.share(&self.strategy) > 0.0);
        if by_chance && usable.len() > 1 && usable.iter().any(shares) {
            return None;
        }
        if by_chance || usable.len() < 2 || self.strategy == Strategy::Failover {
            return usable.iter().next();
        }
        self.compared(walk, None).as_slice().first().map(|rank| usize::from(rank.at))
    }

    /// A group counts as the member that this request would go to first in it; where turns or chance
    /// decide who that is, as the mean of those that may be it. It is as busy as all of them.
    fn measured(&self, walk: &Walk<'_>, of: Of, figure: Figure) -> Entrant {
        let known = |place| walk.scene.estimates.get(place);
        let busy = self.places().and(walk.usable).iter().filter_map(known);
        let in_flight = busy.fold(0_u32, |all, one| all.saturating_add(one.in_flight));
        if let Some(first) = self.foremost(walk).and_then(|at| self.limbs.get(at)) {
            return Entrant { in_flight, ..first.measured(walk, of, figure) };
        }
        let usable = self.usable(walk.usable);
        let (mut latency, mut cost, mut peak) = <(Whole, Whole, Whole)>::default();
        for limb in usable.iter().filter_map(|at| self.limbs.get(at)) {
            let (one, share) = (limb.measured(walk, of, figure), limb.share(&self.strategy));
            latency.add(one.latency, share);
            cost.add(one.cost, share);
            peak.add(one.peak, share);
        }
        let (latency, cost, peak) = (latency.get(), cost.get(), peak.get());
        Entrant { latency, cost, peak, in_flight, ..Entrant::default() }
    }
}

/// A figure of a group.
#[derive(Clone, Copy, Default)]
struct Whole {
    sum: f32,
    known: f32,
    all: f32,
}

impl Whole {
    fn add(&mut self, one: Option<f32>, share: f32) {
        self.all += share;
        if let Some(one) = one.filter(|_| share > 0.0) {
            self.sum += one * share;
            self.known += share;
        }
    }

    /// The mean of those that have it, where they are first in most cases. Else it isn't known, be it
    /// a time or a price: what isn't known of the first is not what is known of another, and one that
    /// is seldom first must not hide what is known of the rest.
    fn get(self) -> Option<f32> {
        (self.known > self.all / 2.0).then(|| self.sum / self.known)
    }
}

impl Limb {
    /// Whether one of its places is known to be able.
    pub(crate) fn is_able(&self, walk: &Walk<'_>) -> bool {
        let (query, traits) = (walk.scene.query, walk.scene.traits);
        let able = |traits: &Traits| traits.surely_able(query.ask, query.needs());
        self.places.and(walk.usable).iter().any(|place| traits.get(place).is_some_and(able))
    }

    /// How often it is first, where turns or chance decide.
    fn share(&self, strategy: &Strategy) -> f32 {
        strategy.share(self.weight)
    }

    /// What it is compared by: nothing but figures.
    pub(crate) fn measured(&self, walk: &Walk<'_>, of: Of, figure: Figure) -> Entrant {
        let estimate = match &self.node {
            Grown::Group(branch) => return branch.measured(walk, of, figure),
            Grown::Place(place) => walk.scene.estimates.get(*place),
        };
        let Some(estimate) = estimate else { return Entrant::default() };
        let (latency, cost) = match figure {
            Figure::Counted => (estimate.expected(of), estimate.dearness),
            Figure::Told => (
                estimate.latency(of).map(|latency| latency.as_secs_f32()),
                estimate.cost.map(|cost| cost.nanos() as f32),
            ),
        };
        let (peak, in_flight) = (estimate.peak, estimate.in_flight);
        Entrant { latency, cost, peak, in_flight, ..Entrant::default() }
    }

    fn entrant(&self, at: usize, walk: &Walk<'_>, (of, mine): (Of, Option<&str>)) -> Entrant {
        let mut entrant = Entrant {
            at: u8::try_from(at).unwrap_or(0),
            weight: self.weight,
            identity: self.identity,
            ..self.measured(walk, of, Figure::Counted)
        };
        if let Some(mine) = mine {
            let places = self.places.and(walk.usable);
            let first = places.iter().next().and_then(|place| walk.scene.traits.get(place));
            let theirs = self.region.as_ref().or(first.and_then(|traits| traits.region.as_ref()));
            entrant.away = walk.scene.near.away(theirs.map(|region| &**region), mine);
        }
        entrant
    }
}
