//! What several test files use.
#![allow(clippy::unwrap_used, dead_code)]

use std::sync::LazyLock;

use http::HeaderMap;
use tokio::time::Instant;
use tollway_core::{Ask, Operation, Plan, Target};
use tollway_route::{Group, Match, Member, Query, Route, Strategy};

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
