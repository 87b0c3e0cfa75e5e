use std::ops::Range;

use crate::{
    Route, Strategy,
    route::MAX_TARGETS,
    strategy::{Balancer, Set},
};

/// A route's targets as pools: the strategy chooses among pools, each pool among its members.
///
/// Places are counted through all pools, in the order written.
#[derive(Debug)]
pub(crate) struct Pools {
    balancer: Balancer,
    pools: Box<[Pool]>,
    /// How many choices there are: a pool to begin with, and a member of each.
    choices: usize,
}

#[derive(Debug)]
struct Pool {
    places: Range<usize>,
    /// Whose turn it is when the pool comes first.
    turns: Balancer,
    /// Whose turn it is behind another pool. Apart, or a pool that comes first every other time
    /// would begin with the same member each time.
    behind: Balancer,
}

/// Who is first: the pool, and the member of each pool.
#[derive(Debug)]
pub(crate) struct Choice {
    first: usize,
    members: [u8; MAX_TARGETS],
    /// The same as one number, below [`Pools::choices`].
    pub(crate) number: usize,
}

impl Pool {
    fn ready(&self, ready: Set) -> Set {
        ready.part(&self.places)
    }
}

impl Pools {
    pub(crate) fn new(route: &Route) -> Self {
        let mut from = 0;
        let pools: Box<[Pool]> = route
            .targets
            .iter()
            .map(|target| {
                let places = from..from + target.pool.len();
                from = places.end;
                let balancer = || match &*target.pool {
                    [_] => Balancer::Failover,
                    pool => Balancer::new(Strategy::Weighted, pool.iter().map(|one| one.weight)),
                };
                Pool { places, turns: balancer(), behind: balancer() }
            })
            .collect();
        let sizes = pools.iter().map(|pool| pool.places.len());
        Self {
            balancer: Balancer::new(route.strategy, route.targets.iter().map(|t| t.weight)),
            choices: sizes.fold(pools.len(), usize::saturating_mul),
            pools,
        }
    }

    pub(crate) fn choices(&self) -> usize {
        self.choices
    }

    /// Chooses among the places that are `ready`, of which there is one at least.
    pub(crate) fn choose(&self, ready: Set) -> Choice {
        let mut usable = Set::first(self.pools.len());
        for (at, pool) in self.pools.iter().enumerate() {
            if pool.ready(ready).is_empty() {
                usable.remove(at);
            }
        }
        let first = self.balancer.first(usable);
        let mut members = [0; MAX_TARGETS];
        let mut number = first;
        for (at, (pool, chosen)) in self.pools.iter().zip(&mut members).enumerate() {
            let turns = if at == first { &pool.turns } else { &pool.behind };
            let member = if usable.contains(at) { turns.first(pool.ready(ready)) } else { 0 };
            *chosen = u8::try_from(member).unwrap_or(0);
            number = number.saturating_mul(pool.places.len()).saturating_add(member);
        }
        Choice { first, members, number }
    }

    /// All places in the order to try them, and why each stands where it does.
    pub(crate) fn order(&self, choice: &Choice) -> Vec<(usize, &'static str)> {
        let mut all = Vec::new();
        for at in self.balancer.order(choice.first, self.pools.len()) {
            let (Some(pool), Some(member)) = (self.pools.get(at), choice.members.get(at)) else {
                continue;
            };
            let member = usize::from(*member);
            for one in pool.turns.order(member, pool.places.len()) {
                let reason = match () {
                    () if one != member => "next of its pool",
                    () if at == choice.first => self.balancer.reason(),
                    () => "failover",
                };
                all.push((pool.places.start + one, reason));
            }
        }
        all
    }
}
