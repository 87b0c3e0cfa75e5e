//! What several test files use.
#![allow(clippy::unwrap_used, dead_code)]

use std::sync::LazyLock;

use http::HeaderMap;
use tollway_core::{Ask, Operation, Plan, Target};
use tollway_route::{Facts, Match, Route, RouteTarget, Strategy};

pub(crate) static NO_HEADERS: LazyLock<HeaderMap> = LazyLock::new(HeaderMap::new);

/// `provider` takes the asked model; `provider/model` sends its own.
pub(crate) fn target(text: &str) -> Target {
    match text.split_once('/') {
        Some((provider, model)) => Target::new(provider, "default", Some(model.into())),
        None => Target::new(text, "default", None),
    }
}

pub(crate) fn route(name: &str, when: Match, targets: &[&str]) -> Route {
    let targets = targets.iter().map(|text| target(text).into()).collect();
    Route { name: name.into(), when, strategy: Strategy::Failover, targets }
}

pub(crate) fn weighted(weights: &[u32]) -> Route {
    let target = |(at, weight): (usize, &u32)| {
        RouteTarget::new(Target::new(format!("t{at}"), "default", None), *weight)
    };
    Route {
        name: "weighted".into(),
        when: Match::default(),
        strategy: Strategy::Weighted,
        targets: weights.iter().enumerate().map(target).collect(),
    }
}

pub(crate) fn ask(model: &str) -> Ask {
    Ask::new(Operation::ChatCompletions).with_model(model)
}

pub(crate) fn facts(ask: &Ask) -> Facts<'_> {
    Facts::new("/v1/chat/completions", &NO_HEADERS).with_ask(ask)
}

pub(crate) fn candidates(plan: &Plan) -> Vec<String> {
    plan.candidates.iter().map(|c| c.target.to_string()).collect()
}

pub(crate) fn rejected(plan: &Plan) -> Vec<(String, &'static str)> {
    plan.rejected.iter().map(|r| (r.target.to_string(), r.reason)).collect()
}
