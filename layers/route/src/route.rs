use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError, RwLock},
};

use tollway_core::{Candidate, Plan, Rejected, Target};

use crate::{
    Match, Strategy, TargetState,
    strategy::{Balancer, Set},
};

/// Targets of one route at most.
pub(crate) const MAX_TARGETS: usize = 64;
/// Models whose plans a route keeps at hand.
const MAX_CACHED: usize = 256;
/// Longer names are no model's; they are worked out anew each time.
const MAX_CACHED_NAME: usize = 128;

/// One target of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteTarget {
    /// Where to send. A target without a model takes the one that was asked.
    pub target: Target,
    /// Its share under [`Strategy::Weighted`]; other strategies don't look at it.
    pub weight: u32,
}

impl From<Target> for RouteTarget {
    /// With weight 1.
    fn from(target: Target) -> Self {
        Self { target, weight: 1 }
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
    /// 1 to 64 targets, each once.
    pub targets: Vec<RouteTarget>,
}

/// A checked route with its state.
#[derive(Debug)]
pub(crate) struct LiveRoute {
    pub(crate) route: Route,
    balancer: Balancer,
    /// For requests whose model no target takes over.
    as_written: Resolved,
    takes_asked_model: bool,
    by_model: RwLock<HashMap<Arc<str>, Arc<Resolved>>>,
}

/// A route's targets with the asked model filled in, and the plans that never change.
#[derive(Debug)]
struct Resolved {
    targets: Box<[Target]>,
    /// One for each first choice, for when every target is ready.
    plans: Box<[OnceLock<Plan>]>,
    /// The latest for each first choice while some are out: for as long as a breaker is open, the
    /// same targets are out for the same reasons.
    partial: Box<[Mutex<Partial>]>,
}

/// Targets that are out, by index, and why.
type Out = Vec<(usize, &'static str)>;
type Partial = Option<(Out, Plan)>;

impl Resolved {
    fn new(route: &Route, model: Option<&Arc<str>>) -> Self {
        let targets = route.targets.iter().map(|RouteTarget { target, .. }| match model {
            Some(model) if target.model().is_none() => {
                Target::new(target.provider().clone(), target.key().clone(), Some(model.clone()))
            }
            _ => target.clone(),
        });
        let plans = route.targets.iter().map(|_| OnceLock::new()).collect();
        let partial = route.targets.iter().map(|_| Mutex::new(None)).collect();
        Self { targets: targets.collect(), plans, partial }
    }
}

impl LiveRoute {
    pub(crate) fn new(route: Route) -> Self {
        Self {
            balancer: Balancer::new(route.strategy, route.targets.iter().map(|t| t.weight)),
            as_written: Resolved::new(&route, None),
            takes_asked_model: route.targets.iter().any(|t| t.target.model().is_none()),
            by_model: RwLock::default(),
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
        let resolved = Arc::new(Resolved::new(&self.route, Some(model)));
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
            let first = self.balancer.first(all);
            let make = || self.build(among, first, all, &[]);
            return among.plans.get(first).map_or_else(make, |plan| plan.get_or_init(make).clone());
        }
        let usable = if ready.is_empty() { all } else { ready };
        let first = self.balancer.first(usable);
        let make = || self.build(among, first, ready, &out);
        let Some(slot) = among.partial.get(first) else { return make() };
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
        first: usize,
        ready: Set,
        out: &[(usize, &'static str)],
    ) -> Plan {
        let order = self.balancer.order(first, among.targets.len());
        let last_resort = ready.is_empty();
        let reason = |at: usize| match at {
            _ if last_resort => "last resort: every target is out",
            _ if at == first => self.balancer.reason(),
            _ => "failover",
        };
        let candidates = order
            .iter()
            .filter(|at| last_resort || ready.contains(**at))
            .filter_map(|at| Some((*at, among.targets.get(*at)?)))
            .map(|(at, target)| Candidate { target: target.clone(), reason: reason(at) });
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
