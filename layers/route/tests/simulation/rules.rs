//! Whom the strategies are measured against.

use crate::{
    run::{Chooser, Ending},
    world::{Dice, Fate, PLACES, Request, World},
};

/// Any place, and then any other.
pub(crate) struct Random(pub(crate) Dice);

impl Chooser for Random {
    fn order(&mut self, world: &World, _: &Request) -> Vec<usize> {
        let mut order: Vec<usize> = (0..world.places()).collect();
        for at in (1..order.len()).rev() {
            order.swap(at, self.0.below(at + 1));
        }
        order
    }
}

/// One after the other.
#[derive(Default)]
pub(crate) struct RoundRobin(usize);

impl Chooser for RoundRobin {
    fn order(&mut self, world: &World, _: &Request) -> Vec<usize> {
        self.0 += 1;
        (0..world.places()).map(|at| (at + self.0) % world.places()).collect()
    }
}

/// Always the same place first.
pub(crate) struct Always(pub(crate) usize);

impl Chooser for Always {
    fn order(&mut self, world: &World, _: &Request) -> Vec<usize> {
        let others = (0..world.places()).filter(|at| *at != self.0);
        std::iter::once(self.0).chain(others).collect()
    }
}

/// Knows how each attempt would go, and takes the best.
pub(crate) enum Oracle {
    /// The quickest end.
    Quickest,
    /// The lowest cost.
    Cheapest,
    /// The lowest cost by true prices and caches, where nobody knows how long a reply gets: it takes
    /// it for this many tokens.
    CheapestUnread(u64),
    /// The same, but it takes it for what its caller's replies have in the mean.
    CheapestByCaller,
}

impl Chooser for Oracle {
    fn order(&mut self, world: &World, request: &Request) -> Vec<usize> {
        let regret = |place: &usize| match (self as &Self, world.fate(request, *place)) {
            (_, Fate::Failed(_) | Fate::Refused) => f64::MAX,
            (Self::Quickest, Fate::Served { whole, .. }) => whole,
            (Self::Cheapest, _) => world.cost(request, *place, request.output) as f64,
            (Self::CheapestByCaller, _) => world.cost(request, *place, request.usual) as f64,
            (Self::CheapestUnread(output), _) => world.cost(request, *place, *output) as f64,
        };
        let mut order: Vec<usize> = (0..world.places()).collect();
        order.sort_by(|a, b| regret(a).total_cmp(&regret(b)));
        order
    }
}

/// LiteLLM's `latency-based-routing`, as its published source has it (router_strategy/lowest_latency.py,
/// defaults): the mean of a list of ten; seconds a completion token; once the list is full, only its
/// last entry is replaced; a place that was never used comes first; failures count for nothing but
/// timeouts; who is over its requests a minute is passed over (here: who has no room, which it is
/// told as the router is). What follows a failure is the next best of the same list.
#[derive(Default)]
pub(crate) struct LiteLlmLatency {
    lists: [Vec<f64>; PLACES],
}

impl Chooser for LiteLlmLatency {
    fn order(&mut self, world: &World, _: &Request) -> Vec<usize> {
        let mean = |at: &usize| {
            let list = &self.lists[*at];
            list.iter().sum::<f64>() / list.len().max(1) as f64
        };
        let full = |at: &usize| !world.has_room(*at);
        let mut order: Vec<usize> = (0..world.places()).collect();
        order.sort_by(|a, b| full(a).cmp(&full(b)).then(mean(a).total_cmp(&mean(b))));
        order
    }

    fn ended(&mut self, _: &World, request: &Request, place: usize, ending: Ending) {
        let Ending::Served { whole, .. } = ending else { return };
        let list = &mut self.lists[place];
        list.truncate(9);
        list.push(whole / request.output as f64);
    }
}

/// LiteLLM's `cost-based-routing` (router_strategy/lowest_cost.py): the place whose prices for an
/// input and an output token have the lowest sum, among those under their requests a minute.
pub(crate) struct LiteLlmCost;

impl Chooser for LiteLlmCost {
    fn order(&mut self, world: &World, _: &Request) -> Vec<usize> {
        let price = |at: &usize| {
            let place = world.place(*at);
            (!world.has_room(*at), place.input_price + place.output_price)
        };
        let mut order: Vec<usize> = (0..world.places()).collect();
        order.sort_by_key(price);
        order
    }
}
