//! One decision's way through a tree.

use std::cell::OnceCell;

use tollway_core::PerMille;

use crate::{
    By, Near, Of, Query, Strategy, Traits,
    chance::{Chance, mix},
    estimate::Estimate,
    order::{Before, Order, Score},
    set::{Few, Set},
    strategy::{self, Lead, Rank, Scope},
    tree::{Branch, Choice, Grown, Tree},
};

/// What one decision goes by.
#[derive(Clone, Copy)]
pub(crate) struct Scene<'a> {
    pub(crate) query: &'a Query<'a>,
    /// The number of its prompt's start, once it was read.
    pub(crate) prefix: &'a OnceCell<Option<u64>>,
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
    /// The plan of which this is the rest: what goes by no figures keeps the order it has there.
    pub(crate) before: Option<&'a Before>,
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
        let head = if lead { walk.reason(&self.root) } else { "failover" };
        let (head, next) = (said.unwrap_or(head), said.unwrap_or("failover"));
        let tells = lead && said.is_none();
        let (score, explores) = (Score::default(), lead);
        let (measured, ruled) = (false, false);
        let spot = Spot { lead, tells, explores, measured, ruled, head, next, score };
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
    fn reason(&self, branch: &Branch) -> &'static str {
        match self.scene.before {
            // Whose turn it was has been told.
            Some(_) if branch.strategy.is_fixed() => "failover",
            _ => branch.strategy.reason(Lead::default(), self.scope(branch)),
        }
    }

    /// The same among these.
    pub(crate) fn among(&self, usable: Set) -> Self {
        Self { usable, ..*self }
    }

    /// Whom a group's first was compared with.
    pub(crate) fn scope(&self, branch: &Branch) -> Scope {
        match branch.places().and(self.usable) == self.usable {
            false => Scope::Pool,
            true if self.part => Scope::PutFirst,
            true => Scope::All,
        }
    }

    /// The number of what makes requests the same.
    pub(crate) fn key(&self, by: &By) -> Option<u64> {
        match by {
            By::Prompt => *self.scene.prefix.get_or_init(|| self.scene.query.prefix().map(mix)),
            _ => strategy::key(by, self.scene.query),
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
    /// A group around it has chosen by more than the order written and turns.
    ruled: bool,
    /// Why its first member stands there, and its others.
    head: &'static str,
    next: &'static str,
    score: Score,
}

impl Branch {
    fn walk(&self, walk: &Walk<'_>, spot: Spot, order: &mut Order) {
        order.chosen |= spot.lead && !self.strategy.is_fixed();
        let explored = if spot.lead && spot.explores { self.explored(walk) } else { None };
        let (walk, spot) = &match explored {
            None => (*walk, spot),
            Some((place, why)) => {
                order.push(place, walk.said.unwrap_or(why), Score::default());
                order.told = true;
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
        let rules = spot.lead && !self.strategy.is_fixed() && self.chooses(walk);
        let ruled = spot.ruled || rules;
        let unusual = if spot.tells { self.unusual(walk, ranks.as_slice()) } else { None };
        let first = unusual.unwrap_or(spot.head);
        // Where in the order each member begins, and the second.
        let (mut starts, mut rival) = (Set::NONE, None);
        for (index, rank) in ranks.as_slice().iter().enumerate() {
            if index == 1 && measures && !order.told {
                rival = Some(order.entries.as_slice().len());
            }
            starts = starts.or(Set::one(order.entries.as_slice().len()));
            let Some(limb) = self.limbs.get(usize::from(rank.at)) else { continue };
            let score = spot.score.within(rank.score, compared);
            let head = if index == 0 { first } else { spot.next };
            match &limb.node {
                Grown::Place(place) => order.push(*place, head, score),
                Grown::Group(branch) => {
                    let lead = spot.lead && index == 0;
                    // Why it is first among its likes says more than that its group is.
                    let inner = &branch.strategy;
                    let telling = inner.measures()
                        || (inner.compares() && !measured)
                        || (!inner.is_fixed() && !ruled);
                    let tells = lead && walk.said.is_none() && telling && branch.chooses(walk);
                    let head = if tells { walk.reason(branch) } else { head };
                    let next = walk.said.unwrap_or("next of its pool");
                    let explores = spot.explores && !self.strategy.explores();
                    let spot = Spot { lead, tells, explores, measured, ruled, head, next, score };
                    branch.walk(walk, spot, order);
                }
            }
        }
        if !spot.tells || std::mem::replace(&mut order.told, true) || !measures {
            return;
        }
        order.rival = rival;
        let reason = self.why(walk, order, (ranks.as_slice(), starts));
        if let [first, ..] = order.entries.as_mut_slice() {
            first.reason = reason;
        }
    }

    /// Which time it goes by.
    pub(crate) fn time(&self, walk: &Walk<'_>) -> Of {
        self.strategy.of().flatten().unwrap_or(walk.scene.of)
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
        if let Some(before) = walk.scene.before.filter(|_| !self.strategy.compares()) {
            return self.kept(before, walk.usable, limbs);
        }
        if self.strategy.is_fixed() {
            let chosen = walk.choice.and_then(|choice| choice.firsts.get(self.number));
            let first = chosen.map_or_else(
                || self.draw(limbs, lead, walk.scene.query.rehearsed),
                |first| usize::from(*first),
            );
            return self.turns.order(first, self.limbs.len(), limbs);
        }
        self.compared(walk, Some(walk.scene.chance))
    }

    /// The order that a plan had before; what wasn't in it comes last.
    fn kept(&self, before: &Before, usable: Set, limbs: Set) -> Few<Rank> {
        let mut ranks = Few::new();
        for (at, limb) in self.limbs.iter().enumerate().filter(|(at, _)| limbs.contains(*at)) {
            let key = f32::from(before.first(limb.places.and(usable)));
            ranks.push(Rank { at: u8::try_from(at).unwrap_or(0), key, ..Rank::default() });
        }
        let place = |one: &Rank, other: &Rank| one.key.total_cmp(&other.key);
        let list = ranks.as_mut_slice();
        list.sort_unstable_by(|one, other| place(one, other).then(one.at.cmp(&other.at)));
        ranks
    }

    /// The order of one that doesn't go by turns; without `chance`, that before any lot is drawn.
    pub(crate) fn compared(&self, walk: &Walk<'_>, chance: Option<&Chance>) -> Few<Rank> {
        let mut entrants = Few::new();
        self.enter(walk, &mut entrants);
        let others = walk.others(&entrants, self.time(walk));
        let drawn = || chance.filter(|_| self.strategy.by().is_some()).map(Chance::draw);
        let key = self.key(walk).or_else(drawn).unwrap_or(0);
        strategy::rank(&self.strategy, &entrants, &others, (key, chance))
    }

    /// The number of what makes requests the same, where it goes by that; splits are independent of
    /// each other.
    pub(crate) fn key(&self, walk: &Walk<'_>) -> Option<u64> {
        let key = walk.key(self.strategy.by()?)?;
        Some(if matches!(self.strategy, Strategy::Split { .. }) { key ^ self.salt } else { key })
    }
}
