//! What isn't known: it is explored in bounds, comes behind what is, and nobody is praised for it.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::collections::BTreeSet;

use common::*;
use http::{HeaderMap, HeaderName};
use tokio::time::Instant;
use tollway_core::{Ask, Operation, PerMille, Prompt, Target};
use tollway_route::{
    Availability, By, Group, MAX_COST, Match, Member, Of, Query, Route, Strategy, Traits, Wider,
};

fn group(strategy: Strategy, providers: &[&str]) -> Group {
    Group::new(strategy, providers.iter().map(|name| target(name).into()))
}

fn whole() -> Strategy {
    Strategy::Latency { of: Of::Whole }
}

/// Each user's arm is that of the split, also for those that explore.
#[test]
fn exploring_stays_in_its_arm_and_in_front_of_its_pool() {
    let world = World::default();
    world.set("a1", takes(100)).set("b1", takes(200)).set("c1", takes(300));
    let arm = |name: &str, group: Group| Member::new(Group { name: Some(name.into()), ..group });
    let backed = Group::new(Strategy::Failover, [target("c1").into(), target("c2").into()]);
    let c = Group::new(whole(), [Member::new(backed), target("c3").into()]);
    let arms = [
        arm("a", group(whole(), &["a1", "a2"])),
        arm("b", group(whole(), &["b1", "b2"])),
        arm("c", c),
    ];
    let split = Group::new(Strategy::Split { by: By::User }, arms);
    let route = Route::new("all", Match::default(), split);
    let router = world.builder([route]).explore(PerMille::new(500)).build().unwrap();
    let (ask, mut seen) = (ask("m"), BTreeSet::new());
    for name in (0..30).map(|at| user(&format!("user-{at}"))) {
        let query = query(&ask).with_caller(&name);
        let mut arms = BTreeSet::new();
        for _ in 0..40 {
            let plan = router.decide(&query, &()).unwrap();
            let first = &plan.candidates[0];
            arms.insert(first.arm.clone().unwrap());
            seen.insert(first.target.provider().to_string());
        }
        assert_eq!(arms.len(), 1, "{arms:?}");
    }
    // Nobody explores the second of a failover, which would not be asked.
    assert_eq!(
        seen.iter().map(|one| &**one).collect::<Vec<_>>(),
        ["a1", "a2", "b1", "b2", "c1", "c3"]
    );
}

#[test]
fn a_last_resort_says_so_whatever_is_known() {
    let world = World::default();
    world.set("a", takes(100));
    let route = all(whole(), &["a", "b"]);
    let router = world.builder([route]).explore(PerMille::FULL).build().unwrap();
    let ask = ask("m");
    let plan = router.decide(&query(&ask), &()).unwrap();
    assert_eq!(plan.candidates[0].reason, "explored: too little is known of it");
    let plan = router.decide(&query(&ask), &|_: &Target| Availability::LimitFull).unwrap();
    assert!(plan.candidates.iter().all(|one| one.reason.starts_with("last resort")));
}

#[test]
fn a_bound_on_cost_prefers_who_is_known_to_keep_it() {
    let world = World::default();
    world.is("dear", costs(9_000_000, 0)).is("cheap", costs(1_000_000, 0));
    let ask = ask("m").with_prompt(Prompt::new(1_000));
    let told = |bound: &str| {
        let route = all(Strategy::Cost, &["unpriced", "dear", "cheap"]);
        let headers: HeaderMap =
            [(HeaderName::from_static(MAX_COST), bound.parse().unwrap())].into_iter().collect();
        let query = Query::new("/", &headers, Instant::now()).with_ask(&ask);
        let plan = world.router([route]).decide(&query, &()).unwrap();
        let all = plan.candidates.iter();
        all.map(|one| (one.target.provider().to_string(), one.reason)).collect::<Vec<_>>()
    };
    let unsure = "no price is known to hold against the bound on cost";
    let above = "above the bound on cost or latency";
    let is = |name: &str, why| (name.to_owned(), why);
    assert_eq!(
        told("0.005"),
        [is("cheap", "lowest cost of those put first"), is("unpriced", unsure), is("dear", above)]
    );
    assert_eq!(told("0.0001"), [is("unpriced", unsure), is("cheap", above), is("dear", above)]);
}

#[test]
fn nobody_is_best_by_what_is_known_of_nobody() {
    let world = World::default();
    let score = || Strategy::Score { latency: 60, cost: 40 };
    let ask = ask("m").with_prompt(Prompt::new(1_000));
    let reason = |group: Group| {
        let router = world.builder([Route::new("all", Match::default(), group)]);
        let router = router.explore(PerMille::ZERO).build().unwrap();
        router.decide(&query(&ask), &()).unwrap().candidates[0].reason
    };
    let two = |strategy| reason(group(strategy, &["a", "b"]));
    assert_eq!(two(Strategy::Cost), "no price is known");
    assert_eq!(two(whole()), "too little is known to compare");
    assert_eq!(two(score()), "too little is known to compare");
    world.set("a", takes(100)).set("b", takes(200));
    assert_eq!(two(score()), "by latency alone: no price is known");
    world.is("a", costs(1, 1)).is("b", costs(2_000_000, 2_000_000));
    assert_eq!(two(score()), "best score of latency and cost");
}

/// What a provider gives to those who ask for it by a header.
#[test]
fn a_header_may_widen_a_window() {
    let world = World::default();
    let wider = Wider {
        header: HeaderName::from_static("x-beta"),
        value: "context-1m-*".parse().unwrap(),
        window: 1_000_000,
        lost: vec![Operation::Responses],
    };
    world.is("wide", Traits { window: Some(200_000), wider: [wider].into(), ..Traits::default() });
    world.is("usual", Traits { window: Some(400_000), ..Traits::default() });
    let router = world.router([all(Strategy::Failover, &["wide", "usual"])]);
    let first = |tokens: u64, value: &str| {
        let ask = ask("m").with_prompt(Prompt::new(tokens));
        let headers: HeaderMap =
            [(HeaderName::from_static("x-beta"), value.parse().unwrap())].into_iter().collect();
        let query = Query::new("/", &headers, Instant::now()).with_ask(&ask);
        router.decide(&query, &()).map(|plan| plan.candidates[0].target.provider().to_string()).ok()
    };
    assert_eq!(first(300_000, "other").as_deref(), Some("usual"));
    assert_eq!(first(300_000, "other, context-1m-2025").as_deref(), Some("wide"));
    assert_eq!(first(900_000, "context-1m-2025").as_deref(), Some("wide"));
    assert_eq!(first(900_000, "context-1").as_deref(), None);
    let ask = Ask::new(Operation::Responses).with_model("m").with_prompt(Prompt::new(900_000));
    let name = HeaderName::from_static("x-beta");
    let headers = HeaderMap::from_iter([(name, "context-1m-2025".parse().unwrap())]);
    let query = Query::new("/", &headers, Instant::now()).with_ask(&ask);
    assert!(router.decide(&query, &()).is_err(), "it doesn't arrive");
}
