use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError, RwLock},
};

use tollway_core::{Candidate, Plan, Rejected, Target};

use crate::{
    Match, Strategy, TargetState,
    pool::{Choice, Pools},
    strategy::Set,
};

/// Targets of one route at most, each member of a pool counted.
pub(crate) const MAX_TARGETS: usize = 64;
/// Plans that a route keeps for one model.
const MAX_PLANS: usize = 128;
/// Models whose plans a route keeps at hand.
const MAX_CACHED: usize = 256;
/// Longer names are no model's; they are worked out anew each time.
const MAX_CACHED_NAME: usize = 128;

/// One target of a route: a place, or a pool of places that are as good as each other.
///
/// A strategy sees a pool as one target. Within a pool, each member comes first as often as its
/// weight says, spread evenly, and the others stand right behind it, the heaviest first: all of a
/// pool is tried before the route's next target.
///
/// ```
/// use tollway_core::Target;
/// use tollway_route::{Member, RouteTarget};
///
/// let key = |name: &str| Target::new("openai", name, None);
/// let keys = [Member::new(key("main"), 3), Member::new(key("spare"), 1)];
/// let pool = RouteTarget { pool: keys.into(), weight: 60 };
/// let alone = RouteTarget::new(Target::new("groq", "default", None), 40);
/// assert_eq!((pool.pool.len(), alone.pool.len()), (2, 1));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteTarget {
    /// Where to send; at least one place.
    pub pool: Vec<Member>,
    /// Its share under [`Strategy::Weighted`]; other strategies don't look at it.
    pub weight: u32,
}

/// One place of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Where to send. A target without a model takes the one that was asked.
    pub target: Target,
    /// Its share of the pool's requests. A member of weight 0 is only a fallback.
    pub weight: u32,
}

impl Member {
    /// A place with its share.
    pub fn new(target: Target, weight: u32) -> Self {
        Self { target, weight }
    }
}

impl RouteTarget {
    /// A single place.
    pub fn new(target: Target, weight: u32) -> Self {
        Self { pool: vec![Member::new(target, 1)], weight }
    }
}

impl From<Target> for RouteTarget {
    /// With weight 1.
    fn from(target: Target) -> Self {
        Self::new(target, 1)
    }
}

/// Requests, and the targets that may answer them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its name, unique; it appears in plans, logs and metrics.
    pub name: Arc<str>,
    /// The requests it takes.
    pub when: Match,
    /// How it orders its targets.
    pub strategy: Strategy,
    /// 1 to 64 targets, each once; members of pools count.
    pub targets: Vec<RouteTarget>,
}

impl Route {
    /// Every place the route sends to, pools laid out.
    pub(crate) fn places(&self) -> impl Iterator<Item = &Target> {
        self.targets.iter().flat_map(|target| &target.pool).map(|member| &member.target)
    }
}

/// A checked route with its state.
#[derive(Debug)]
pub(crate) struct LiveRoute {
    pub(crate) route: Route,
    pools: Pools,
    /// For requests whose model no target takes over.
    as_written: Resolved,
    takes_asked_model: bool,
    by_model: RwLock<HashMap<Arc<str>, Arc<Resolved>>>,
}

/// A route's places with the asked model filled in, and the plans that never change.
#[derive(Debug)]
struct Resolved {
    targets: Box<[Target]>,
    /// One for each choice, for when every target is ready.
    plans: Box<[OnceLock<Plan>]>,
    /// The latest for each choice while some are out: for as long as a breaker is open, the same
    /// targets are out for the same reasons.
    partial: Box<[Mutex<Partial>]>,
}

/// Targets that are out, by index, and why.
type Out = Vec<(usize, &'static str)>;
type Partial = Option<(Out, Plan)>;

impl Resolved {
    fn new(route: &Route, choices: usize, model: Option<&Arc<str>>) -> Self {
        let targets = route.places().map(|target| match model {
            Some(model) if target.model().is_none() => {
                Target::new(target.provider().clone(), target.key().clone(), Some(model.clone()))
            }
            _ => target.clone(),
        });
        let kept = 0..choices.min(MAX_PLANS);
        let plans = kept.clone().map(|_| OnceLock::new()).collect();
        let partial = kept.map(|_| Mutex::new(None)).collect();
        Self { targets: targets.collect(), plans, partial }
    }
}

impl LiveRoute {
    pub(crate) fn new(route: Route) -> Self {
        let pools = Pools::new(&route);
        let takes_asked_model = route.places().any(|target| target.model().is_none());
        Self {
            as_written: Resolved::new(&route, pools.choices(), None),
            takes_asked_model,
            by_model: RwLock::default(),
            pools,
            route,
        }
    }

    pub(crate) fn plan(&self, model: Option<&Arc<str>>, state: &impl TargetState) -> Plan {
        match model {
            Some(model) if self.takes_asked_model => self.plan_among(&self.resolve(model), state),
            _ => self.plan_among(&self.as_written, state),
        }
    }

    fn resolve(&self, model: &Arc<str>) -> Arc<Resolved> {
        let cached = self.by_model.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(resolved) = cached.get(model) {
            return resolved.clone();
        }
        drop(cached);
        let resolved = Arc::new(Resolved::new(&self.route, self.pools.choices(), Some(model)));
        if model.len() <= MAX_CACHED_NAME {
            let mut cached = self.by_model.write().unwrap_or_else(PoisonError::into_inner);
            // Names that clients make up fill it; starting over keeps the real ones quick.
            if cached.len() >= MAX_CACHED {
                cached.clear();
            }
            cached.insert(model.clone(), resolved.clone());
        }
        resolved
    }

    fn plan_among(&self, among: &Resolved, state: &impl TargetState) -> Plan {
        let count = among.targets.len();
        let all = Set::first(count);
        let mut ready = all;
        // Stays without memory of its own as long as every target is ready.
        let mut out = Out::new();
        for (at, target) in among.targets.iter().enumerate() {
            if let Some(reason) = state.availability(target).reason() {
                ready.remove(at);
                out.push((at, reason));
            }
        }
        if out.is_empty() {
            let choice = self.pools.choose(all);
            let make = || self.build(among, &choice, all, &[]);
            let kept = among.plans.get(choice.number);
            return kept.map_or_else(make, |plan| plan.get_or_init(make).clone());
        }
        let choice = self.pools.choose(if ready.is_empty() { all } else { ready });
        let make = || self.build(among, &choice, ready, &out);
        let Some(slot) = among.partial.get(choice.number) else { return make() };
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, plan)) = slot.as_ref().filter(|(then, _)| *then == out) {
            return plan.clone();
        }
        let plan = make();
        *slot = Some((out, plan.clone()));
        plan
    }

    fn build(
        &self,
        among: &Resolved,
        choice: &Choice,
        ready: Set,
        out: &[(usize, &'static str)],
    ) -> Plan {
        let last_resort = ready.is_empty();
        let order = self.pools.order(choice);
        let candidates = order
            .iter()
            .filter(|(at, _)| last_resort || ready.contains(*at))
            .filter_map(|(at, reason)| Some((among.targets.get(*at)?, *reason)))
            .map(|(target, reason)| Candidate {
                target: target.clone(),
                reason: if last_resort { "last resort: every target is out" } else { reason },
            });
        let rejected = out
            .iter()
            .filter(|_| !last_resort)
            .filter_map(|(at, reason)| Some((among.targets.get(*at)?, *reason)))
            .map(|(target, reason)| Rejected { target: target.clone(), reason });
        Plan {
            route: self.route.name.clone(),
            strategy: self.route.strategy.as_str(),
            candidates: candidates.collect(),
            rejected: rejected.collect(),
        }
    }
}
