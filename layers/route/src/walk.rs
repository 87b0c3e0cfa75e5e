//! One decision's way through a tree.

use tollway_core::PerMille;

use crate::{
    Near, Of, Query, Strategy, Traits,
    chance::Chance,
    estimate::Estimate,
    set::{Few, Set},
    strategy::{self, Entrant, Rank},
    tree::{Branch, Choice, Grown, Limb, Tree},
};

/// What one decision goes by.
#[derive(Clone, Copy)]
pub(crate) struct Scene<'a> {
    pub(crate) query: &'a Query<'a>,
    pub(crate) estimates: &'a [Estimate],
    pub(crate) traits: &'a [Traits],
    pub(crate) chance: &'a Chance,
    pub(crate) near: &'a Near,
    /// Which time is meant where a strategy doesn't say.
    pub(crate) of: Of,
}

/// Places in the order to try them.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) entries: Few<Entry>,
    pub(crate) placed: Set,
    /// How far the first is ahead of the second, 0 to 1; `None`: they were not compared.
    pub(crate) lead: Option<f32>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Entry {
    pub(crate) place: u8,
    /// `None` only where nothing is.
    pub(crate) reason: Option<&'static str>,
    pub(crate) score: Option<PerMille>,
}

impl Order {
    pub(crate) fn new() -> Self {
        Self { entries: Few::new(), placed: Set::NONE, lead: None }
    }

    pub(crate) fn push(&mut self, place: usize, reason: &'static str, score: Option<PerMille>) {
        self.placed = self.placed.or(Set::one(place));
        let place = u8::try_from(place).unwrap_or(0);
        self.entries.push(Entry { place, reason: Some(reason), score });
    }
}

impl Tree {
    /// Puts those of `usable` into `order`, behind what is there, by a choice made or by one made
    /// now. `said`: why they stand where they do, where that is not for the strategy to say.
    pub(crate) fn arrange(
        &self,
        scene: &Scene<'_>,
        choice: Option<&Choice>,
        usable: Set,
        said: Option<&'static str>,
        order: &mut Order,
    ) {
        let usable = usable.and(self.places).without(order.placed);
        if usable.is_empty() {
            return;
        }
        let lead = order.placed.is_empty();
        let head = if lead { self.root.strategy.reason() } else { "failover" };
        let (head, next) = (said.unwrap_or(head), said.unwrap_or("failover"));
        let walk = Walk { scene, choice, usable, said };
        self.root.walk(&walk, Spot { lead, head, next, score: None }, order);
    }
}

struct Walk<'a> {
    scene: &'a Scene<'a>,
    choice: Option<&'a Choice>,
    usable: Set,
    said: Option<&'static str>,
}

/// Where in the order a group stands.
#[derive(Clone, Copy)]
struct Spot {
    /// Its first place is the first of all.
    lead: bool,
    /// Why its first member stands there, and its others.
    head: &'static str,
    next: &'static str,
    score: Option<PerMille>,
}

impl Branch {
    fn walk(&self, walk: &Walk<'_>, spot: Spot, order: &mut Order) {
        let ranks = self.ranks(walk, spot.lead);
        if spot.lead {
            self.tell(ranks.as_slice(), order);
        }
        for (index, rank) in ranks.as_slice().iter().enumerate() {
            let Some(limb) = self.limbs.get(usize::from(rank.at)) else { continue };
            let score = rank.score.map(PerMille::of).or(spot.score);
            let head = if index == 0 { spot.head } else { spot.next };
            match &limb.node {
                Grown::Place(place) => order.push(*place, head, score),
                Grown::Group(branch) => {
                    let lead = spot.lead && index == 0;
                    // Why it is first among its likes says more than that its group is.
                    let telling = lead && walk.said.is_none() && branch.strategy.compares();
                    let head = if telling { branch.strategy.reason() } else { head };
                    let next = walk.said.unwrap_or("next of its pool");
                    branch.walk(walk, Spot { lead, head, next, score }, order);
                }
            }
        }
    }

    /// What is told of the group that decides who is first of all.
    fn tell(&self, ranks: &[Rank], order: &mut Order) {
        if self.strategy.compares() {
            let first = ranks.first().and_then(|rank| rank.score.filter(|_| rank.known));
            let second = ranks.get(1).map_or(Some(0.0), |rank| rank.score);
            let lead = first.zip(second).map_or(0.0, |(first, second)| (first - second).max(0.0));
            order.lead.get_or_insert(lead);
        }
    }

    fn ranks(&self, walk: &Walk<'_>, lead: bool) -> Few<Rank> {
        let limbs = self.usable(walk.usable);
        if self.strategy.is_fixed() {
            let chosen = walk.choice.and_then(|choice| choice.firsts.get(self.number));
            let first = chosen.map_or_else(
                || self.draw(limbs, lead, walk.scene.query.rehearsed),
                |first| usize::from(*first),
            );
            return self.turns.order(first, self.limbs.len(), limbs);
        }
        let mine = match self.strategy {
            Strategy::Nearest => walk.scene.near.region(walk.scene.query),
            _ => None,
        };
        let scene = walk.scene;
        let of = self.strategy.of().flatten().unwrap_or(scene.of);
        let mut entrants = Few::new();
        for (at, limb) in self.limbs.iter().enumerate().filter(|(at, _)| limbs.contains(*at)) {
            entrants.push(limb.entrant(at, walk, (of, mine)));
        }
        if self.strategy == Strategy::Capability {
            for one in entrants.as_mut_slice() {
                let limb = self.limbs.get(usize::from(one.at));
                one.able = limb.is_some_and(|limb| limb.is_able(walk));
            }
        }
        strategy::rank(&self.strategy, &entrants, (scene.query, scene.chance, self.salt))
    }
}

impl Limb {
    /// Whether one of its places is known to be able.
    fn is_able(&self, walk: &Walk<'_>) -> bool {
        let (query, traits) = (walk.scene.query, walk.scene.traits);
        let able = |traits: &Traits| traits.surely_able(query.ask, query.needs());
        self.places.and(walk.usable).iter().any(|place| traits.get(place).is_some_and(able))
    }

    fn entrant(&self, at: usize, walk: &Walk<'_>, (of, mine): (Of, Option<&str>)) -> Entrant {
        let places = self.places.and(walk.usable);
        let least = |a: Option<f32>, b: Option<f32>| match (a, b) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let mut entrant = Entrant {
            at: u8::try_from(at).unwrap_or(0),
            weight: self.weight,
            identity: self.identity,
            ..Entrant::default()
        };
        for estimate in places.iter().filter_map(|place| walk.scene.estimates.get(place)) {
            entrant.latency = least(entrant.latency, estimate.expected(of));
            entrant.cost = least(entrant.cost, estimate.dearness);
            entrant.peak = least(entrant.peak, estimate.peak);
            entrant.in_flight = entrant.in_flight.saturating_add(estimate.in_flight);
        }
        if let Some(mine) = mine {
            let first = places.iter().next().and_then(|place| walk.scene.traits.get(place));
            let theirs = self.region.as_ref().or(first.and_then(|traits| traits.region.as_ref()));
            entrant.away = walk.scene.near.away(theirs.map(|region| &**region), mine);
        }
        entrant
    }
}
