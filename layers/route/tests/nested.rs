//! Groups in groups: what a group counts as where it is compared, and what is said of it.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::collections::HashMap;

use common::{World, ask, costs, latency, query, takes, target, user};
use proptest::{prelude::*, strategy::Strategy as Generate};
use tollway_core::{Needs, PerMille, Prompt};
use tollway_route::{By, Figures, Group, Match, Member, Near, Of, Route, Router, Strategy, Traits};

fn group(strategy: Strategy, names: &[&str]) -> Group {
    Group::new(strategy, names.iter().map(|name| Member::from(target(name)))).named("within")
}

/// A route of these places and a group behind them.
fn with(strategy: Strategy, names: &[&str], inner: Group) -> Route {
    let places = names.iter().map(|name| Member::from(target(name)));
    Route::new("it", Match::default(), Group::new(strategy, places.chain([inner.into()])))
}

fn router(world: &World, route: Route) -> Router {
    let near = Near { default: Some("eu".into()), ..Near::default() };
    world.builder([Route { near, ..route }]).explore(PerMille::ZERO).build().unwrap()
}

fn first(router: &Router) -> String {
    let (asked, ada) = (ask("m").with_prompt(Prompt::new(100_000)), user("ada"));
    let plan = router.decide(&query(&asked).with_caller(&ada), &()).unwrap();
    plan.candidates[0].target.provider().to_string()
}

/// Who is first, why, and beside whom.
fn sentence(router: &Router) -> String {
    let asked = ask("m").with_prompt(Prompt::new(100_000));
    let plan = router.decide(&query(&asked), &()).unwrap();
    let first = &plan.candidates[0];
    let rival = plan.rival.map(|rival| plan.candidates[rival].target.provider().to_string());
    format!("{}: {}, not {}", first.target.provider(), first.reason, rival.unwrap_or_default())
}

/// Strategies of which a request decides alone where it goes first.
fn decided() -> impl Generate<Value = Strategy> {
    prop::sample::select(vec![
        Strategy::Failover,
        Strategy::Capability,
        latency(),
        Strategy::Latency { of: Of::Whole },
        Strategy::Cost,
        Strategy::Score { latency: 60, cost: 40 },
        Strategy::Affinity { by: By::User },
        Strategy::Split { by: By::User },
        Strategy::Nearest,
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever orders a group within: it is chosen where the place that this request would go to
    /// first in it is better than all others, and else it isn't.
    #[test]
    fn a_group_counts_as_the_place_that_the_request_would_go_to(
        outer in prop::sample::select(vec![latency(), Strategy::Cost]),
        inner in decided(),
        innermost in prop::option::of(decided()),
        // Ranks, so that none is near another.
        times in Just((0..6_i32).collect::<Vec<_>>()).prop_shuffle(),
        prices in Just((0..6_i32).collect::<Vec<_>>()).prop_shuffle(),
        regions in prop::collection::vec(prop::option::of(prop::sample::select(vec!["eu", "us"])), 6),
        can in prop::collection::vec(any::<bool>(), 6),
    ) {
        let names = ["t0", "t1", "g0", "g1", "g2", "g3"];
        let world = World::default();
        for (at, name) in names.iter().enumerate() {
            let rank = |all: &[i32]| (1.5_f64.powi(all[at]) * 1_000.0) as u64;
            world.set(name, Figures { whole: takes(rank(&prices)).whole, ..takes(rank(&times)) });
            world.is(name, Traits {
                region: regions[at].map(Into::into),
                can: can[at].then_some(Needs::STREAMING),
                ..costs(rank(&prices), rank(&prices))
            });
        }
        let mut within = group(inner, &names[2..4]);
        let last = group(innermost.unwrap_or_default(), &names[4..]).named("last");
        within.members.push(last.into());
        let alone = Route::new("it", Match::default(), within.clone());
        let here = first(&router(&world, alone));
        let all = first(&router(&world, with(outer.clone(), &names[..2], within)));
        let ranks = if outer == Strategy::Cost { &prices } else { &times };
        let rank = |name: &str| ranks[names.iter().position(|one| *one == name).unwrap()];
        let best = ["t0", "t1", &*here].into_iter().min_by_key(|name| rank(name)).unwrap();
        prop_assert_eq!(&all, best);
    }
}

/// A group is worth what it will be used for, and no more.
#[test]
fn a_group_that_goes_in_turns_counts_as_its_mean() {
    let world = World::default();
    world.is("mid", costs(10, 10)).is("dear", costs(50, 50)).is("cheap", costs(1, 1));
    world.set("mid", takes(100)).set("dear", takes(500)).set("cheap", takes(10));
    let at = |outer: Strategy, inner: Strategy, weights: [u32; 2]| {
        let mut inner = group(inner, &["dear", "cheap"]);
        for (member, weight) in inner.members.iter_mut().zip(weights) {
            member.weight = weight;
        }
        first(&router(&world, with(outer, &["mid"], inner)))
    };
    for outer in [Strategy::Cost, latency()] {
        for inner in [Strategy::RoundRobin, Strategy::LeastBusy, Strategy::PowerOfTwo] {
            assert_eq!(at(outer.clone(), inner, [1, 1]), "mid");
        }
        assert_ne!(at(outer.clone(), Strategy::Weighted, [1, 99]), "mid");
        assert_eq!(at(outer.clone(), Strategy::RoundRobin, [1, 99]), "mid", "turns weigh nothing");
        assert_ne!(at(outer.clone(), Strategy::Weighted, [0, 1]), "mid", "only a fallback");
        assert_eq!(at(outer.clone(), Strategy::Affinity { by: By::Prompt }, [1, 1]), "mid");
        assert_ne!(at(outer, Strategy::Affinity { by: By::Prompt }, [1, 99]), "mid");
    }
}

/// What isn't known of the first is not what is known of the second, be it a price or a time; where
/// turns decide who is first, that of most has to be known.
#[test]
fn a_figure_is_a_groups_if_whoever_goes_first_has_it() {
    let world = World::default();
    for (name, figure) in [("mid", 20), ("cheap", 10), ("quick", 10)] {
        world.set(name, takes(figure)).is(name, costs(figure, figure));
    }
    world.set("far", takes(90)).is("far", costs(90, 90));
    let at = |outer: &Strategy, inner: Strategy, names: &[&str]| {
        let inner = group(inner, names);
        first(&router(&world, with(outer.clone(), &["far", "mid"], inner)))
    };
    for outer in [Strategy::Cost, latency()] {
        assert_eq!(at(&outer, Strategy::Failover, &["unknown", "cheap"]), "mid");
        assert_eq!(at(&outer, Strategy::Failover, &["cheap", "unknown"]), "cheap");
        assert_eq!(at(&outer, Strategy::RoundRobin, &["unknown", "cheap"]), "mid");
        assert_ne!(at(&outer, Strategy::RoundRobin, &["unknown", "cheap", "quick"]), "mid");
        assert_eq!(at(&outer, outer.clone(), &["unknown", "cheap"]), "cheap");
    }
}

/// What is said of the first is true where groups are what is compared.
#[test]
fn reasons_say_how_pools_count() {
    let world = World::default();
    for (name, price) in [("low", 5), ("mid", 10), ("dear", 50), ("cheap", 1)] {
        world.is(name, costs(price * 1_000, price * 1_000));
    }
    let said = |route: Route| sentence(&router(&world, route));
    let cost = |names: &[&str], inner| said(with(Strategy::Cost, names, inner));
    // Behind the first of its pool.
    assert_eq!(
        cost(&["mid"], group(Strategy::Failover, &["dear", "cheap"])),
        "mid: lowest cost, each pool by its first, not dear"
    );
    // It would be its turn, but its pool is dear.
    assert_eq!(
        cost(&["mid"], group(Strategy::RoundRobin, &["cheap", "dear"])),
        "mid: lowest cost, each pool as a whole, not cheap"
    );
    let turns = group(Strategy::RoundRobin, &["mid", "cheap"]);
    assert_eq!(cost(&["low"], turns.clone()), "low: lowest cost, each pool by its first, not mid");
    assert_eq!(cost(&["dear"], turns), "mid: of the pool with the lowest cost, not dear");
    // Nothing beyond its pool was compared.
    let pool = with(Strategy::Failover, &[], group(Strategy::Cost, &["low", "mid"]));
    let mut behind = pool.clone();
    behind.group.members.push(target("cheap").into());
    assert_eq!(said(pool), "low: lowest cost, not mid");
    assert_eq!(said(behind), "low: lowest cost of its pool, not mid");
    // A price is known, but of none that goes first.
    let firsts = group(Strategy::Failover, &["unpriced", "cheap"]);
    for strategy in [Strategy::Cost, Strategy::Score { latency: 0, cost: 1 }] {
        let router = router(&world, with(strategy, &[], firsts.clone()));
        let plan = router.decide(&query(&ask("m")), &()).unwrap();
        assert_eq!(plan.candidates[0].reason, "no price is known to go by");
    }
    // Failures, and not the order, make the difference.
    world.set("cheap", Figures { success: 0.05, ..Figures::default() });
    assert_eq!(
        cost(&["mid"], group(Strategy::Failover, &["cheap", "dear"])),
        "mid: lowest cost, failures counted, not cheap"
    );
    assert_eq!(
        cost(&["mid"], group(Strategy::Failover, &["dear", "cheap"])),
        "mid: lowest cost, each pool by its first, not dear"
    );
}

/// Who doesn't say what a strategy goes by isn't told that it was gone by.
#[test]
fn reasons_tell_what_the_request_does_not_say() {
    let world = World::default();
    world.is("able", Traits { can: Some(Needs::STREAMING), ..Traits::default() });
    let places = |strategy, names: &[&str]| {
        let members = names.iter().map(|name| Member::from(target(name)));
        Route::new("it", Match::default(), Group::new(strategy, members))
    };
    let mut reasons = HashMap::new();
    for strategy in [
        Strategy::Affinity { by: By::User },
        Strategy::Split { by: By::User },
        Strategy::Nearest,
        Strategy::Capability,
    ] {
        let name = strategy.as_str();
        let router = world.router([places(strategy.clone(), &["a", "b"])]);
        let vision = ask("m").with_needs(Needs::VISION);
        let plan = router.decide(&query(&vision), &()).unwrap();
        reasons.insert(name, plan.candidates[0].reason);
        // One that is alone was left to no chance.
        let alone = world.router([places(strategy, &["able"])]);
        let plan = alone.decide(&query(&ask("m")), &()).unwrap();
        assert!(!plan.candidates[0].reason.contains("chance"), "{plan:?}");
    }
    let chance = "by chance: the request doesn't say what it goes by";
    let expected = [
        ("affinity", chance),
        ("split", chance),
        ("nearest", "first that is ready: the caller's region is not known"),
        ("capability", "first that may: of none is it known that it can"),
    ];
    assert_eq!(reasons, HashMap::from(expected));
}
