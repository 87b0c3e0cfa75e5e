//! One decision's way through a tree.

use std::cmp::Ordering;

use tollway_core::PerMille;

use crate::{
    Near, Of, Query, Strategy, Traits,
    chance::Chance,
    estimate::Estimate,
    set::{Few, MAX, Set},
    strategy::{self, Entrant, Goes, Lead, Others, Rank},
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
    /// All places that stand in the plan.
    pub(crate) all: Set,
    /// The share of decisions that explore.
    pub(crate) explore: PerMille,
}

/// Places in the order to try them.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) entries: Few<Entry>,
    pub(crate) placed: Set,
    /// How far the first is ahead of the second, 0 to 1; `None`: they were not compared.
    pub(crate) lead: Option<f32>,
    /// The entry that the first was compared with.
    pub(crate) rival: Option<usize>,
    /// Why the first is first has been said.
    told: bool,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Entry {
    pub(crate) place: u8,
    /// `None` only where nothing is.
    pub(crate) reason: Option<&'static str>,
    pub(crate) score: Score,
}

/// How good a place is, 0 to 1. The default, of one that was not compared, is all zeros, which
/// costs next to nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Score {
    /// Beside the best of those it was compared with.
    beside: f32,
    /// How good that one was, by the group's strategy: the logarithm of its key.
    best: f32,
    /// The group's number, counted from 1.
    group: u8,
}

impl Score {
    /// `None`: it was not compared.
    pub(crate) fn get(self) -> Option<PerMille> {
        (self.group > 0).then(|| PerMille::of(self.beside))
    }

    /// That of a place or group within the one that has this score.
    fn within(self, beside: Option<f32>, (group, best): (usize, f32)) -> Self {
        match beside {
            None => self,
            // A group is as good as its best place.
            Some(beside) if self.group > 0 => Self { beside: self.beside * beside, ..self },
            Some(beside) => Self { beside, best, group: u8::try_from(group + 1).unwrap_or(0) },
        }
    }
}

impl Order {
    pub(crate) fn new() -> Self {
        Self { entries: Few::new(), placed: Set::NONE, lead: None, rival: None, told: false }
    }

    pub(crate) fn push(&mut self, place: usize, reason: &'static str, score: Score) {
        self.placed = self.placed.or(Set::one(place));
        let place = u8::try_from(place).unwrap_or(0);
        self.entries.push(Entry { place, reason: Some(reason), score });
    }

    /// Scores these places, all of one tree, beside the best of all that their group ranked: until
    /// now each part of the plan has a best of its own.
    pub(crate) fn level(&mut self, places: Set) {
        let mut bests = [f32::INFINITY; MAX + 1];
        let of = |score: &Score| usize::from(score.group);
        for score in self.scores(places) {
            if let Some(best) = bests.get_mut(of(score)) {
                *best = best.min(score.best);
            }
        }
        for score in self.scores(places) {
            let best = bests.get(of(score)).copied().unwrap_or(score.best);
            if best < score.best {
                score.beside *= (best - score.best).exp();
            }
        }
    }

    fn scores(&mut self, places: Set) -> impl Iterator<Item = &mut Score> {
        let mine = move |entry: &&mut Entry| places.contains(usize::from(entry.place));
        let entries = self.entries.as_mut_slice().iter_mut();
        entries.filter(mine).map(|entry| &mut entry.score).filter(|score| score.group > 0)
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
        let walk = Walk { scene, choice, usable, said, part: usable != scene.all };
        let head = if lead { walk.reason(&self.root.strategy) } else { "failover" };
        let (head, next) = (said.unwrap_or(head), said.unwrap_or("failover"));
        let tells = lead && said.is_none();
        let (score, explores) = (Score::default(), lead);
        let spot = Spot { lead, tells, explores, measured: false, head, next, score };
        self.root.walk(&walk, spot, order);
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Walk<'a> {
    pub(crate) scene: &'a Scene<'a>,
    choice: Option<&'a Choice>,
    pub(crate) usable: Set,
    said: Option<&'static str>,
    /// Others stand behind those that are usable, for another reason than a strategy's.
    part: bool,
}

impl Walk<'_> {
    fn reason(&self, strategy: &Strategy) -> &'static str {
        strategy.reason(Lead::Figures, self.part)
    }

    /// What is known of the rest of the plan, where nothing is of these.
    fn others(&self, entrants: &Few<Entrant>, of: Of) -> Others {
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

/// Where in the order a group stands.
#[derive(Clone, Copy)]
struct Spot {
    /// Its first place is the first of all.
    lead: bool,
    /// Its strategy is why that one is first.
    tells: bool,
    /// It may look at what is not known, for a change: no group around it has had the chance.
    explores: bool,
    /// A group around it has compared it with others by what is told.
    measured: bool,
    /// Why its first member stands there, and its others.
    head: &'static str,
    next: &'static str,
    score: Score,
}

impl Branch {
    fn walk(&self, walk: &Walk<'_>, spot: Spot, order: &mut Order) {
        let explored = if spot.lead && spot.explores { self.explored(walk) } else { None };
        let (walk, spot) = &match explored {
            None => (*walk, spot),
            Some((place, why)) => {
                order.push(place, walk.said.unwrap_or(why), Score::default());
                let behind = Spot { lead: false, tells: false, head: spot.next, ..spot };
                (Walk { usable: walk.usable.without(Set::one(place)), ..*walk }, behind)
            }
        };
        let ranks = self.ranks(walk, spot.lead);
        if spot.lead {
            self.tell(ranks.as_slice(), order);
        }
        let compared = (self.number, self.strategy.best(ranks.as_slice()));
        let measures = spot.tells && self.strategy.measures();
        let measured = spot.measured || (measures && ranks.as_slice().len() > 1);
        let mut rival = None;
        for (index, rank) in ranks.as_slice().iter().enumerate() {
            if index == 1 && measures && !order.told {
                rival = Some(order.entries.as_slice().len());
            }
            let Some(limb) = self.limbs.get(usize::from(rank.at)) else { continue };
            let score = spot.score.within(rank.score, compared);
            let head = if index == 0 { spot.head } else { spot.next };
            match &limb.node {
                Grown::Place(place) => order.push(*place, head, score),
                Grown::Group(branch) => {
                    let lead = spot.lead && index == 0;
                    // Why it is first among its likes says more than that its group is.
                    let inner = &branch.strategy;
                    let telling = inner.measures() || (inner.compares() && !measured);
                    let tells = lead && walk.said.is_none() && telling;
                    let tells = tells && branch.usable(walk.usable).len() > 1;
                    let head = if tells { walk.reason(inner) } else { head };
                    let next = walk.said.unwrap_or("next of its pool");
                    let explores = spot.explores && !self.strategy.explores();
                    let spot = Spot { lead, tells, explores, measured, head, next, score };
                    branch.walk(walk, spot, order);
                }
            }
        }
        if !spot.tells || std::mem::replace(&mut order.told, true) || !measures {
            return;
        }
        order.rival = rival;
        let reason = self.blind(walk).unwrap_or_else(|| {
            let lead = match ranks.as_slice() {
                [one, two, ..] if one.key > two.key => Lead::Share,
                _ => self.lead(walk, order, rival),
            };
            self.strategy.reason(lead, walk.part)
        });
        if let [first, ..] = order.entries.as_mut_slice() {
            first.reason = Some(reason);
        }
    }

    /// Why its first member is first, where what it goes by isn't known of any place.
    fn blind(&self, walk: &Walk<'_>) -> Option<&'static str> {
        let of = self.time(walk);
        let mine = || self.places().and(walk.usable).iter();
        let known = || mine().filter_map(|place| walk.scene.estimates.get(place));
        let timed = known().any(|one| one.latency(of).is_some());
        self.strategy.blind(timed, known().any(|one| one.cost.is_some()))
    }

    /// Which time it goes by.
    pub(crate) fn time(&self, walk: &Walk<'_>) -> Of {
        self.strategy.of().flatten().unwrap_or(walk.scene.of)
    }

    /// Whether the first entry is first by the figures that are told of it and the others. Those
    /// before its rival are of the same member.
    fn lead(&self, walk: &Walk<'_>, order: &Order, rival: Option<usize>) -> Lead {
        let of = self.time(walk);
        let mut told = order.entries.as_slice().iter().map(|entry| {
            let known = walk.scene.estimates.get(usize::from(entry.place));
            known.map_or((None, None), |known| (known.latency(of), known.cost))
        });
        let Some((time, cost)) = told.next() else { return Lead::Figures };
        let known = match self.strategy {
            Strategy::Latency { .. } => time.is_some(),
            Strategy::Cost => cost.is_some(),
            _ => time.is_some() || cost.is_some(),
        };
        if !known {
            return Lead::Pool;
        }
        let better = told.position(|(other_time, other_cost)| {
            let times = time.zip(other_time).map_or(Ordering::Equal, |(one, two)| one.cmp(&two));
            let costs = cost.zip(other_cost).map_or(Ordering::Equal, |(one, two)| one.cmp(&two));
            match self.strategy {
                Strategy::Latency { .. } => times.is_gt(),
                Strategy::Cost => costs.is_gt(),
                _ => times.max(costs).is_gt() && times.min(costs).is_ge(),
            }
        });
        match better {
            None => Lead::Figures,
            Some(behind) if rival.is_none_or(|rival| behind + 1 < rival) => Lead::Pool,
            Some(_) => Lead::More,
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

    pub(crate) fn ranks(&self, walk: &Walk<'_>, lead: bool) -> Few<Rank> {
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
        let of = self.time(walk);
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
        let others = walk.others(&entrants, of);
        strategy::rank(&self.strategy, &entrants, &others, (scene.query, scene.chance, self.salt))
    }
}

impl Branch {
    /// A group is compared by whoever of it would go first, and is as busy as all of them.
    fn measured(&self, walk: &Walk<'_>, of: Of) -> Entrant {
        let usable = self.usable(walk.usable);
        let goes = self.strategy.goes();
        let (mut latency, mut cost, mut peak) = Default::default();
        let (mut in_flight, mut unpriced) = (0_u32, false);
        for (_, limb) in self.limbs.iter().enumerate().filter(|(at, _)| usable.contains(*at)) {
            let (one, weight) = (limb.measured(walk, of), limb.weight.max(1) as f32);
            Whole::add(&mut latency, one.latency, weight, goes);
            unpriced |= goes == Goes::InTurn && one.cost.is_none();
            Whole::add(&mut cost, one.cost, weight, goes);
            Whole::add(&mut peak, one.peak, weight, goes);
            in_flight = in_flight.saturating_add(one.in_flight);
        }
        // Whose turn may be that of one without a price has none either.
        let cost = cost.value.filter(|_| !unpriced);
        let (latency, peak) = (latency.value, peak.value);
        Entrant { latency, cost, peak, in_flight, ..Entrant::default() }
    }
}

/// A figure of a group: of the first of its members where that one goes first, else of those that
/// have it.
#[derive(Clone, Copy, Default)]
struct Whole {
    value: Option<f32>,
    weight: f32,
    begun: bool,
}

impl Whole {
    fn add(&mut self, one: Option<f32>, weight: f32, goes: Goes) {
        let follows = std::mem::replace(&mut self.begun, true);
        let Some(one) = one.filter(|_| goes != Goes::First || !follows) else { return };
        self.value = Some(match (self.value, goes) {
            (None, _) | (_, Goes::First) => one,
            (Some(best), Goes::Best) => best.min(one),
            (Some(mean), Goes::InTurn) => {
                (mean * self.weight + one * weight) / (self.weight + weight)
            }
        });
        self.weight += weight;
    }
}

impl Limb {
    /// Whether one of its places is known to be able.
    fn is_able(&self, walk: &Walk<'_>) -> bool {
        let (query, traits) = (walk.scene.query, walk.scene.traits);
        let able = |traits: &Traits| traits.surely_able(query.ask, query.needs());
        self.places.and(walk.usable).iter().any(|place| traits.get(place).is_some_and(able))
    }

    /// What it is compared by: nothing but figures.
    fn measured(&self, walk: &Walk<'_>, of: Of) -> Entrant {
        match &self.node {
            Grown::Group(branch) => branch.measured(walk, of),
            Grown::Place(place) => {
                walk.scene.estimates.get(*place).map_or_else(Entrant::default, |estimate| Entrant {
                    latency: estimate.expected(of),
                    cost: estimate.dearness,
                    peak: estimate.peak,
                    in_flight: estimate.in_flight,
                    ..Entrant::default()
                })
            }
        }
    }

    fn entrant(&self, at: usize, walk: &Walk<'_>, (of, mine): (Of, Option<&str>)) -> Entrant {
        let mut entrant = Entrant {
            at: u8::try_from(at).unwrap_or(0),
            weight: self.weight,
            identity: self.identity,
            ..self.measured(walk, of)
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
