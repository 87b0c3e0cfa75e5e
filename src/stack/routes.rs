use std::sync::Arc;

use http::{HeaderMap, Request, request};
use tokio::time::Instant;
use tollway_core::{Ask, BoxError, Caller, Plan, Target, Usage};
use tollway_dialect::RequestBody;
use tollway_pace::PaceLayer;
use tollway_rate_limit::{Downgraded, RateLimitLayer};
use tollway_route::{
    BadHeader, Glob, Group, Live, Match, Member, Near, Prefer, Query, ReadSignals, Reading, Route,
    RouteLayer, Router, Rule, Strategy, Then, Track,
    auto::Weights,
    facts::{self, CostOf, TrackLayer, Tracker},
};

use super::{
    Facts, StackError,
    availability::Availability,
    breaker::{Benches, Breakers, Circuit},
    catalog,
    downgrade::Downgrades,
    keys,
    limits::BySpending,
    prices::Prices,
    said::Said,
    signals::Reads,
    tell,
};
use crate::{
    policy::{self, Policy},
    telemetry::{Decision, Telemetry},
};

/// Told of every plan.
pub(super) type Hook = tell::Routes;

/// Decides where requests go: for the route layer, for what is left after a failure, and for whoever
/// only wants to know. Clones share the router's state.
#[derive(Clone, Debug)]
pub(super) struct Decider {
    router: Router,
    state: Availability,
    reads: Reads,
    weights: Weights,
    downgrades: Downgrades,
    said: Said,
    /// Which budgets are spent.
    budgets: tollway_rate_limit::Handle,
}

impl Decider {
    pub(super) fn layer(&self, telemetry: &Telemetry) -> RouteLayer<Availability, Hook, Reads> {
        let (router, state) = (self.router.clone(), self.state.clone());
        RouteLayer::with_signals(router, state, tell::routes(telemetry.clone()), self.reads.clone())
    }

    /// Goes on with the turns of the policy before.
    pub(super) fn resume(&self, before: &Self) {
        self.router.resume(&before.router);
        self.downgrades.resume(&before.downgrades);
    }

    /// Whether every header that begins as Tollway's own do is one that somebody knows.
    pub(super) fn check(&self, headers: &HeaderMap) -> Result<(), BadHeader> {
        self.said.check(headers)
    }

    /// Where the request would go if it came now, and why: no turn is taken, and nothing of a budget.
    pub(super) fn rehearse<B>(
        &self,
        request: &Request<RequestBody<B>>,
    ) -> Result<Decision, BoxError> {
        let reading = Reading(&self.reads, request);
        let query = Query::of(request, Instant::now()).with_lazy(&reading);
        self.check(request.headers())?;
        query.check()?;
        let plan = match self.budgets.would_downgrade(&parts_of(request)) {
            None => self.router.explain(&query, &self.state)?,
            Some(limits) => self
                .downgrades
                .plan(&limits, |router| router.explain(&query, &self.state).ok())
                .ok_or_else(|| spent(&limits))?,
        };
        let judgement = plan.complexity.and_then(|_| self.judgement(request));
        Ok(Decision { judgement, ..Decision::new(plan) })
    }

    /// Where the request goes whose budget is spent; `None`: nowhere.
    pub(super) fn downgrade<B>(
        &self,
        request: &Request<RequestBody<B>>,
        limits: &Downgraded,
    ) -> Option<Plan> {
        let reading = Reading(&self.reads, request);
        let query = Query::of(request, Instant::now()).with_lazy(&reading);
        self.downgrades.plan(limits, |router| router.decide(&query, &self.state).ok())
    }

    /// Which targets are out.
    pub(super) fn state(&self) -> &Availability {
        &self.state
    }

    /// What is left of a plan when `tried` have failed.
    pub(super) fn rescore<B>(
        &self,
        request: &Request<RequestBody<B>>,
        plan: &Plan,
        tried: &[Target],
    ) -> Option<Plan> {
        let reading = Reading(&self.reads, request);
        let query = Query::of(request, Instant::now()).with_lazy(&reading);
        match request.extensions().get::<Downgraded>() {
            None => self.router.rescore(plan, tried, &query, &self.state),
            Some(limits) => self
                .downgrades
                .plan(limits, |router| router.rescore(plan, tried, &query, &self.state)),
        }
    }

    /// What makes the prompt look as hard as it does, in one line.
    fn judgement<B>(&self, request: &Request<RequestBody<B>>) -> Option<String> {
        let signals = self.reads.signals(request)?;
        Some(self.weights.score(&signals).to_string())
    }
}

/// What limits know a request by.
fn parts_of<B>(request: &Request<B>) -> request::Parts {
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.method = request.method().clone();
    parts.uri = request.uri().clone();
    parts.headers = request.headers().clone();
    parts.extensions = request.extensions().clone();
    parts
}

/// What the first of them would have said, where no cheaper target is left.
pub(super) fn spent(limits: &Downgraded) -> BoxError {
    match limits.limits().first() {
        Some(said) => said.clone().into(),
        None => "a budget is spent".into(),
    }
}

/// How figures of targets are kept.
pub(super) fn figures(policy: &Policy) -> Result<facts::Config, StackError> {
    let config = facts::Config {
        window: policy.routing.window,
        min_samples: policy.routing.min_samples.get(),
        health: policy.health.clone(),
        ..facts::Config::default()
    };
    config.check().map_err(|error| StackError::new("health", error))?;
    Ok(config)
}

/// Figures that are given, else those of traffic.
#[derive(Clone)]
struct Known {
    tracker: Tracker,
    given: Option<Facts>,
}

impl Track for Known {
    fn slot(&self, target: &Target) -> Arc<dyn Live> {
        match &self.given {
            Some(given) => given.slot(target),
            None => Track::slot(&self.tracker, target),
        }
    }

    fn usual_output(&self, caller: Option<&Caller>, ask: &Ask) -> Option<f32> {
        match &self.given {
            Some(given) => given.usual_output(caller, ask),
            None => self.tracker.usual_output(caller, ask),
        }
    }
}

/// What attempts cost, for the figures of their targets.
#[derive(Clone, Debug)]
pub(super) struct Costs(Prices);

impl CostOf for Costs {
    fn cost_of(&self, target: &Target, usage: &Usage) -> Option<tollway_core::Usd> {
        self.0.cost(Some(target), None, usage)
    }
}

/// Fills the tracker with what passes.
pub(super) fn track(tracker: Tracker, prices: Prices) -> TrackLayer<facts::ByFailure, Costs> {
    TrackLayer::new(tracker).with_cost(Costs(prices))
}

pub(super) fn decider(
    policy: &Policy,
    (benches, breakers): (&Benches, &Breakers),
    (request_limits, attempt_limits): (&RateLimitLayer<BySpending>, &RateLimitLayer<BySpending>),
    pace: &PaceLayer<Circuit>,
    (tracker, given): (&Tracker, Option<Facts>),
) -> Result<Decider, StackError> {
    let aliases = policy.aliases.iter().map(|alias| (alias.name.clone(), alias.model.clone()));
    let routes = routes(policy);
    let asks = |rule: &Rule| !rule.when.complexity.is_empty() || rule.when.reasoning.is_some();
    let judges = routes.iter().any(|route| route.rules.iter().any(asks));
    let reads = Reads::new(judges, policy.time_zone.clone());
    let said = Said::new(policy, &routes);
    let figures = Known { tracker: tracker.clone(), given: given.clone() };
    // Asked twice by the same figures, it gives the same answer.
    let seed = if given.is_some() { 0 } else { seed() };
    let build = |routes: Vec<Route>| {
        Router::builder(routes)
            .aliases(aliases.clone())
            .catalog(catalog::Known::new(policy))
            .figures(figures.clone())
            .weights(policy.routing.auto)
            .explore(policy.routing.explore)
            .expect(policy.routing.expect)
            .minds_health(policy.minds_health)
            .seed(seed)
            .build()
            .map_err(|error| StackError::new("routes", error))
    };
    let downgrades = Downgrades::new(policy, &routes, build)?;
    let router = build(routes)?;
    let judges = (benches, breakers, attempt_limits, pace);
    let state = Availability::new(policy, judges, given);
    let (weights, budgets) = (policy.routing.auto, request_limits.handle());
    Ok(Decider { router, state, reads, weights, downgrades, said, budgets })
}

/// Two proxies of one policy should not choose alike where they choose by chance.
fn seed() -> u64 {
    let mut bytes = [0; 8];
    // Without entropy every seed is as good as another.
    let _ = getrandom::fill(&mut bytes);
    u64::from_ne_bytes(bytes)
}

fn routes(policy: &Policy) -> Vec<Route> {
    if !policy.routes.is_empty() {
        return policy.routes.iter().map(|route| written(policy, route)).collect();
    }
    // Each known model goes to its provider, anything else to the first provider.
    let mut routes: Vec<Route> = policy
        .providers
        .iter()
        .skip(1)
        .filter_map(|provider| {
            let models = models_of(policy, provider);
            let when = Match { models, ..Match::default() };
            (!when.models.is_empty()).then(|| only(policy, &provider.name, when))
        })
        .collect();
    routes
        .extend(policy.providers.first().map(|first| only(policy, &first.name, Match::default())));
    routes
}

fn only(policy: &Policy, provider: &Arc<str>, when: Match) -> Route {
    let group = Group::new(Strategy::Failover, [member(policy, provider, None, 1)]);
    Route::new(provider.clone(), when, group)
}

fn models_of(policy: &Policy, provider: &policy::Provider) -> Vec<Glob> {
    let known = provider.known.as_ref().unwrap_or(&provider.name);
    let models = policy.registry.models.iter().filter(|model| model.provider == *known);
    models
        .flat_map(|model| std::iter::once(&model.id).chain(&model.aliases))
        .filter_map(|id| id.parse().ok())
        .collect()
}

fn written(policy: &Policy, route: &policy::Route) -> Route {
    let rules = route.rules.iter().map(|one| rule(policy, one));
    let group = group(policy, &route.group);
    let near = route.nearest.as_ref().map_or_else(Near::default, |near| Near {
        header: near.header.clone(),
        tag: near.tag.clone(),
        default: near.default.clone(),
        order: near.order.clone(),
    });
    Route::new(route.name.clone(), route.matches.clone(), group).with_rules(rules).near(near)
}

fn rule(policy: &Policy, rule: &policy::Rule) -> Rule {
    Rule {
        name: rule.name.clone(),
        when: rule.when.clone(),
        then: Then {
            prefer: match &rule.prefer {
                policy::Prefer::Nobody => Prefer::Nobody,
                policy::Prefer::Targets(targets) => Prefer::Group(group(policy, targets)),
                policy::Prefer::Sizes(sizes) => Prefer::Sizes(sizes.clone()),
            },
            strategy: rule.strategy.clone(),
            free_first: rule.free_first,
            max_cost: rule.max_cost,
            max_latency: rule.max_latency,
        },
    }
}

fn group(policy: &Policy, written: &policy::Group) -> Group {
    let members = written.members.iter().map(|member| {
        let weight = member.weight.get();
        let inner = match &member.node {
            policy::Node::Place(to) => self::member(policy, &to.provider, to.model.clone(), weight),
            policy::Node::Group(inner) => Member::new(group(policy, inner)).weighing(weight),
        };
        Member { region: member.region.clone(), ..inner }
    });
    let name = written.name.clone();
    Group { name, ..Group::new(written.strategy.clone(), members) }
}

/// A provider's keys are a group by weight: to the route one member, whatever their number.
pub(super) fn member(
    policy: &Policy,
    provider: &Arc<str>,
    model: Option<Arc<str>>,
    weight: u32,
) -> Member {
    let keys = policy.provider(provider).map(keys::of).unwrap_or_default();
    let key = |(key, weight)| {
        Member::new(Target::new(provider.clone(), key, model.clone())).weighing(weight)
    };
    Member::new(Group::new(Strategy::Weighted, keys.into_iter().map(key))).weighing(weight)
}
