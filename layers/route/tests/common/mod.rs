//! What several test files use.
#![allow(clippy::unwrap_used, dead_code)]

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use http::HeaderMap;
use tokio::time::Instant;
use tollway_core::{Ask, Caller, Operation, Plan, Target};
use tollway_route::{
    Figures, Group, Live, Match, Member, Of, PriceTier, Quantiles, Query, Route, Router,
    RouterBuilder, Strategy, Traits,
};

pub(crate) static NO_HEADERS: LazyLock<HeaderMap> = LazyLock::new(HeaderMap::new);

/// `provider` takes the asked model; `provider/model` sends its own.
pub(crate) fn target(text: &str) -> Target {
    match text.split_once('/') {
        Some((provider, model)) => Target::new(provider, "default", Some(model.into())),
        None => Target::new(text, "default", None),
    }
}

pub(crate) fn route(name: &str, when: Match, targets: &[&str]) -> Route {
    let members = targets.iter().map(|text| target(text).into());
    Route::new(name, when, Group::new(Strategy::Failover, members))
}

/// The same route under another strategy.
pub(crate) fn by(strategy: Strategy, route: Route) -> Route {
    Route { group: Group { strategy, ..route.group }, ..route }
}

pub(crate) fn weighted(weights: &[u32]) -> Route {
    let member = |(at, weight): (usize, &u32)| {
        Member::new(Target::new(format!("t{at}"), "default", None)).weighing(*weight)
    };
    let members = weights.iter().enumerate().map(member);
    Route::new("weighted", Match::default(), Group::new(Strategy::Weighted, members))
}

pub(crate) fn ask(model: &str) -> Ask {
    Ask::new(Operation::ChatCompletions).with_model(model)
}

pub(crate) fn query(ask: &Ask) -> Query<'_> {
    at("/v1/chat/completions").with_ask(ask)
}

/// A request of which only the path is known.
pub(crate) fn at(path: &str) -> Query<'_> {
    Query::new(path, &NO_HEADERS, Instant::now())
}

pub(crate) fn candidates(plan: &Plan) -> Vec<String> {
    plan.candidates.iter().map(|c| c.target.to_string()).collect()
}

pub(crate) fn rejected(plan: &Plan) -> Vec<(String, &'static str)> {
    plan.rejected.iter().map(|r| (r.target.to_string(), r.reason)).collect()
}

/// What is known of providers, by name, and may change between decisions.
#[derive(Clone, Debug, Default)]
pub(crate) struct World(Arc<Mutex<HashMap<String, (Figures, Traits)>>>);

#[derive(Debug)]
struct Slot(World, String);

impl Live for Slot {
    fn figures(&self, _: Instant) -> Figures {
        self.0.get(&self.1).0
    }
}

impl World {
    pub(crate) fn set(&self, name: &str, figures: Figures) -> &Self {
        self.0.lock().unwrap().entry(name.to_owned()).or_default().0 = figures;
        self
    }

    pub(crate) fn is(&self, name: &str, traits: Traits) -> &Self {
        self.0.lock().unwrap().entry(name.to_owned()).or_default().1 = traits;
        self
    }

    fn get(&self, name: &str) -> (Figures, Traits) {
        self.0.lock().unwrap().get(name).cloned().unwrap_or_default()
    }

    pub(crate) fn builder(&self, routes: impl IntoIterator<Item = Route>) -> RouterBuilder {
        let (figures, traits) = (self.clone(), self.clone());
        Router::builder(routes)
            .figures(move |target: &Target| {
                Arc::new(Slot(figures.clone(), target.provider().to_string())) as Arc<dyn Live>
            })
            .catalog(move |target: &Target| traits.get(target.provider()).1)
            .seed(7)
    }

    pub(crate) fn router(&self, routes: impl IntoIterator<Item = Route>) -> Router {
        self.builder(routes).build().unwrap()
    }
}

/// A target whose 95th percentile is this, by 500 samples; the median is half of it.
pub(crate) fn takes(millis: u64) -> Figures {
    let times = [millis / 2, millis, millis * 2].map(Duration::from_millis);
    let times = Some(Quantiles { p50: times[0], p95: times[1], p99: times[2] });
    Figures { samples: 500, first_token: times, whole: times, ..Figures::default() }
}

/// A target whose input and output cost this much a token, in pico-dollars.
pub(crate) fn costs(input: u64, output: u64) -> Traits {
    let tier = PriceTier { from: 0, input, cached: input / 10, output };
    Traits { prices: [tier].into(), ..Traits::default() }
}

/// A route for everything with these providers.
pub(crate) fn all(strategy: Strategy, providers: &[&str]) -> Route {
    by(strategy, route("all", Match::default(), providers))
}

pub(crate) fn latency() -> Strategy {
    Strategy::Latency { of: Of::FirstToken }
}

/// How often each provider is first.
pub(crate) fn shares(router: &Router, query: &Query<'_>, calls: u32) -> HashMap<String, u32> {
    let mut counts = HashMap::new();
    for _ in 0..calls {
        let plan = router.decide(query, &()).unwrap();
        *counts.entry(plan.candidates[0].target.provider().to_string()).or_default() += 1;
    }
    counts
}

/// A caller of this name.
pub(crate) fn user(name: &str) -> Caller {
    let mut caller = Caller::default();
    caller.user = Some(name.into());
    caller
}
