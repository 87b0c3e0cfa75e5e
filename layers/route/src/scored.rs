//! Decisions that look at figures or at what is asked.

use std::{cell::OnceCell, time::Duration};

use tollway_core::{PerMille, Plan, Usd};

use crate::{
    Figures, Of, Prefer, Query, TargetState, Traits,
    builder::Sources,
    chance::Chance,
    estimate::Estimate,
    live::{self, LiveRoute, LiveRule, Standing},
    order::{Before, Order},
    resolved::Resolved,
    set::{MAX, Set},
    tree::Tree,
    walk::Scene,
    write,
};

/// What is told of those that the rule puts behind others, whatever their scores.
const CHOICES: [Option<&str>; 4] = [
    None,
    Some("the rule's second choice"),
    Some("the rule's third choice"),
    Some("the rule's fourth choice"),
];
const LAST_CHOICE: Option<&str> = Some("a later choice of the rule's");

/// What a request may cost, and how long it may take.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bounds {
    cost: Option<Usd>,
    latency: Option<Duration>,
}

impl Bounds {
    /// The narrower of what the client and the rule say.
    pub(crate) fn new(query: &Query<'_>, rule: Option<&LiveRule>) -> Self {
        fn narrower<T: Ord>(a: Option<T>, b: Option<T>) -> Option<T> {
            match (a, b) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            }
        }
        let then = rule.map(|live| &live.rule.then);
        Self {
            cost: narrower(query.max_cost(), then.and_then(|then| then.max_cost)),
            latency: narrower(query.max_latency(), then.and_then(|then| then.max_latency)),
        }
    }

    pub(crate) fn any(&self) -> bool {
        self.cost.is_some() || self.latency.is_some()
    }

    /// Whether a figure is above its bound; what isn't known is not. `of`: which time is bounded.
    fn exceeds(&self, estimate: &Estimate, of: Of) -> bool {
        let dear = estimate.cost.zip(self.cost).is_some_and(|(cost, most)| cost > most);
        dear || estimate.latency(of).zip(self.latency).is_some_and(|(time, most)| time > most)
    }

    /// Whether nobody knows if it costs too much.
    fn doubts(&self, estimate: &Estimate) -> bool {
        self.cost.is_some() && estimate.cost.is_none()
    }
}

/// Of those that are known.
#[derive(Clone, Copy, Default)]
struct Mean {
    sum: f32,
    of: f32,
}

impl Mean {
    fn add(&mut self, one: Option<f32>) {
        if let Some(one) = one {
            self.sum += one;
            self.of += 1.0;
        }
    }

    fn get(self) -> Option<f32> {
        (self.of > 0.0).then(|| self.sum / self.of)
    }
}

/// One decision.
pub(crate) struct Scored<'a> {
    pub(crate) live: &'a LiveRoute,
    pub(crate) rule: Option<&'a LiveRule>,
    pub(crate) bounds: Bounds,
    pub(crate) among: &'a Resolved,
    pub(crate) query: &'a Query<'a>,
    pub(crate) sources: &'a Sources,
    pub(crate) chance: &'a Chance,
    /// The plan of which this is the rest; `None`: it is the first decision on its request, which may
    /// explore.
    pub(crate) before: Option<&'a Before>,
}

type Estimates = [Estimate; MAX];

/// Places that come before all of the next stage, and why so late, where it is late.
struct Stage {
    places: Set,
    said: Option<&'static str>,
}

impl Scored<'_> {
    /// The trees in the order they are gone through: what the rule prefers, then the route's own.
    fn trees(&self) -> impl Iterator<Item = &Tree> {
        let own = self.rule.and_then(|live| live.own.as_ref()).unwrap_or(&self.live.tree);
        self.rule.and_then(|live| live.preferred.as_ref()).into_iter().chain([own])
    }

    /// The one that is gone through first.
    pub(crate) fn first_tree(&self) -> &Tree {
        self.trees().next().unwrap_or(&self.live.tree)
    }

    /// Who can take the request now, those that are `done` left out.
    pub(crate) fn standing(&self, state: &impl TargetState, done: Set) -> Standing {
        let places = self.trees().fold(Set::NONE, |all, tree| all.or(tree.places));
        let minds = self.live.minds_health(self.sources);
        live::standing(self.among, (places, done), self.query, (state, minds))
    }

    /// Places of the route that no tree of this decision has.
    pub(crate) fn others(&self) -> Set {
        let all = (0..self.among.targets.len()).collect::<Set>();
        self.trees().fold(all, |rest, tree| rest.without(tree.places))
    }

    pub(crate) fn plan(&self, standing: &Standing) -> Plan {
        let mut estimates = [Estimate::default(); MAX];
        self.estimate(standing.usable, &mut estimates);
        let mut order = Order::new();
        let tree = self.fill(standing, &estimates, &mut order);
        order.chosen |= self.bounds.any();
        let head = write::Head { route: self.live, rule: self.rule, tree };
        write::plan(&head, self.among, &standing.out, &order, (&estimates, self.of()))
    }

    /// Which time it goes by, and tells.
    fn of(&self) -> Of {
        self.trees().next().and_then(|tree| tree.of).unwrap_or_else(|| self.bounds_of())
    }

    /// Which time bounds are of, whatever the strategy goes by.
    fn bounds_of(&self) -> Of {
        live::of(self.query, self.sources.expect)
    }

    fn estimate(&self, usable: Set, estimates: &mut Estimates) {
        let Query { ask, caller, now, .. } = *self.query;
        let usual = ask.and_then(|ask| self.sources.figures.usual_output(caller, ask));
        let mut put = |at: usize, figures: &Figures| {
            if let (Some(traits), Some(place)) = (self.among.traits.get(at), estimates.get_mut(at))
            {
                *place = Estimate::new(figures, traits, (self.query, usual));
            }
        };
        let figures = |at: usize| self.among.live.get(at).map(|one| one.figures(now));
        let (mut unseen, mut tokens, mut wordiness) = (Set::NONE, Mean::default(), Mean::default());
        for at in usable.iter() {
            let Some(figures) = figures(at) else { continue };
            let foretold = usual.is_none() || figures.wordiness.is_some();
            if figures.output_tokens.is_none() || !foretold {
                unseen = unseen.or(Set::one(at));
            }
            tokens.add(figures.output_tokens);
            wordiness.add(figures.wordiness);
            put(at, &figures);
        }
        // Whose replies nobody has seen is taken to write as much as the others: else it would seem
        // dear beside them, and stay unseen.
        let (tokens, wordiness) = (tokens.get(), wordiness.get());
        for at in unseen.iter().filter(|_| tokens.is_some() || wordiness.is_some()) {
            let Some(figures) = figures(at) else { continue };
            let output_tokens = figures.output_tokens.or(tokens);
            let wordiness = figures.wordiness.or(wordiness);
            put(at, &Figures { output_tokens, wordiness, ..figures });
        }
    }

    /// Puts every usable place into the order, and returns the tree that chose the first.
    fn fill(&self, standing: &Standing, estimates: &Estimates, order: &mut Order) -> &Tree {
        let scene = Scene {
            query: self.query,
            prefix: &OnceCell::new(),
            estimates,
            traits: &self.among.traits,
            chance: self.chance,
            near: &self.live.route.near,
            of: self.bounds_of(),
            all: standing.usable,
            explore: self.explore(standing),
            before: self.before,
        };
        let mut chose = None;
        let mut parts = 0;
        let stages = self.stages(standing, estimates).into_iter().flatten();
        for stage in stages.filter(|stage| !stage.places.is_empty()) {
            for tree in self.trees() {
                let places = stage.places.and(tree.places).without(order.placed);
                self.in_parts(tree, places, |part| {
                    if part.is_empty() {
                        return;
                    }
                    if order.placed.is_empty() {
                        chose = Some(tree);
                    }
                    let late = CHOICES.get(parts).copied().unwrap_or(LAST_CHOICE);
                    parts += 1;
                    tree.arrange(&scene, None, part, stage.said.or(late), order);
                });
            }
        }
        if parts > 1 {
            self.trees().fold(Set::NONE, |done, tree| {
                order.level(tree.places.without(done));
                done.or(tree.places)
            });
        }
        chose.unwrap_or(self.first_tree())
    }

    /// What is within the bounds, then what may be, then what is above them; and as the last resort
    /// whatever can be asked before what can't.
    fn stages(&self, standing: &Standing, estimates: &Estimates) -> [[Stage; 3]; 2] {
        let of = self.bounds_of();
        standing.parts().map(|(usable, resort)| {
            let those = |holds: &dyn Fn(&Estimate) -> bool| match self.bounds.any() {
                true => usable.filter(|at| estimates.get(at).is_some_and(holds)),
                false => Set::NONE,
            };
            let above = those(&|one| self.bounds.exceeds(one, of));
            let doubtful = those(&|one| self.bounds.doubts(one)).without(above);
            let stage = |places, said| Stage { places, said: resort.or(said) };
            [
                stage(usable.without(above).without(doubtful), None),
                stage(doubtful, Some("no price is known to hold against the bound on cost")),
                stage(above, Some("above the bound on cost or latency")),
            ]
        })
    }

    /// The share of decisions that explore. What has failed once should not be tried with the unknown,
    /// and as the last resort everything is tried anyway.
    fn explore(&self, standing: &Standing) -> PerMille {
        match self.before.is_none() && standing.resort.is_none() {
            true => self.sources.explore,
            false => PerMille::ZERO,
        }
    }

    /// Cuts places up as the rule prefers: by size, and what is free first. A free place of another
    /// size is not what is asked for.
    fn in_parts(&self, tree: &Tree, places: Set, mut each: impl FnMut(Set)) {
        let Some(then) = self.rule.map(|live| &live.rule.then) else { return each(places) };
        let traits = |at: usize| self.among.traits.get(at);
        let mut by_price = |part: Set| {
            let free = match then.free_first {
                true => part.filter(|at| traits(at).is_some_and(|traits| traits.free)),
                false => Set::NONE,
            };
            each(free);
            each(part.without(free));
        };
        let mut rest = places;
        if let Prefer::Sizes(sizes) = &then.prefer {
            // Where nothing is compared, the order written is the rule's.
            let most = if tree.written { 1 } else { usize::MAX };
            for together in sizes.iter().flat_map(|together| together.chunks(most)) {
                let fits = |traits: &Traits| traits.size.is_some_and(|it| together.contains(&it));
                let part = rest.filter(|at| traits(at).is_some_and(fits));
                by_price(part);
                rest = rest.without(part);
            }
        }
        by_price(rest);
    }
}
