//! Targets that are pools: whose turn it is inside, and that a strategy sees one target.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::collections::HashMap;

use common::at;
use proptest::prelude::*;
use tollway_core::{Plan, Target};
use tollway_route::{
    Availability, Group, Match, Member, Node, Route, Router, Strategy, TargetState,
};

fn place(provider: &str, key: usize) -> Target {
    Target::new(provider, format!("k{key}"), None)
}

/// A pool for each list of weights: `p0` has keys `k0`, `k1`...
fn route(strategy: Strategy, pools: &[&[u32]]) -> Route {
    let pool = |(pool, weights): (usize, &&[u32])| {
        let keys = weights.iter().enumerate();
        let key = |(key, weight): (usize, &u32)| {
            Member::new(place(&format!("p{pool}"), key)).weighing(*weight)
        };
        Member::new(Group::new(Strategy::Weighted, keys.map(key)))
    };
    let pools = pools.iter().enumerate().map(pool);
    Route::new("pools", Match::default(), Group::new(strategy, pools))
}

/// The members of the pool at `at`.
fn pool(route: &mut Route, at: usize) -> &mut Vec<Member> {
    match &mut route.group.members[at].node {
        Node::Group(pool) => &mut pool.members,
        Node::Place(_) => unreachable!("all members are pools"),
    }
}

fn name(target: &Target) -> String {
    format!("{}.{}", target.provider(), target.key())
}

fn names(plan: &Plan) -> Vec<String> {
    plan.candidates.iter().map(|candidate| name(&candidate.target)).collect()
}

fn decide(router: &Router, state: &impl TargetState) -> Plan {
    router.decide(&at("/"), state).unwrap()
}

fn firsts(router: &Router, state: &impl TargetState, calls: u32) -> HashMap<String, u32> {
    let mut counts = HashMap::new();
    for _ in 0..calls {
        *counts.entry(names(&decide(router, state)).swap_remove(0)).or_default() += 1;
    }
    counts
}

fn counts<const N: usize>(expected: [(&str, u32); N]) -> HashMap<String, u32> {
    expected.map(|(name, count)| (name.to_owned(), count)).into()
}

/// Everything named here is out.
fn without(out: &'static [&'static str]) -> impl Fn(&Target) -> Availability {
    move |target: &Target| match out.contains(&&*name(target)) {
        true => Availability::KeyBenched,
        false => Availability::Ready,
    }
}

#[test]
fn a_pool_is_tried_whole_before_the_next_target() {
    let router = Router::new([route(Strategy::Failover, &[&[3, 1], &[1], &[1, 2]])]).unwrap();
    for turn in 0..24 {
        let plan = decide(&router, &());
        let pools: String = names(&plan).iter().map(|name| &name[..2]).collect();
        assert_eq!(pools, "p0p0p1p2p2", "turn {turn}");
        let reasons: Vec<_> = plan.candidates.iter().map(|one| one.reason).collect();
        let next = "next of its pool";
        assert_eq!(reasons, ["first that is ready", next, "failover", "failover", next]);
    }
    assert_eq!(firsts(&router, &(), 8), counts([("p0.k0", 6), ("p0.k1", 2)]));
}

#[test]
fn a_strategy_takes_turns_over_targets_and_not_over_their_members() {
    let router = Router::new([route(Strategy::RoundRobin, &[&[1, 1, 1], &[1], &[1, 1]])]).unwrap();
    let first: Vec<_> = (0..6).map(|_| names(&decide(&router, &())).swap_remove(0)).collect();
    assert_eq!(first, ["p0.k0", "p1.k0", "p2.k0", "p0.k1", "p1.k0", "p2.k1"]);
    let third = names(&decide(&router, &()));
    let pools: String = third.iter().map(|name| &name[..2]).collect();
    assert_eq!((pools.as_str(), &*third[0]), ("p0p0p0p1p2p2", "p0.k2"));
}

#[test]
fn weights_of_targets_hold_whatever_the_number_of_members() {
    let mut route = route(Strategy::Weighted, &[&[1, 1, 1, 1], &[7]]);
    route.group.members[0].weight = 60;
    route.group.members[1].weight = 40;
    let router = Router::new([route]).unwrap();
    let expected = [("p0.k0", 15), ("p0.k1", 15), ("p0.k2", 15), ("p0.k3", 15), ("p1.k0", 40)];
    assert_eq!(firsts(&router, &(), 100), counts(expected));
}

#[test]
fn members_converge_within_a_percent_of_their_weights() {
    let weights = [1, 997, 60, 40, 12_345];
    let total: u32 = weights.iter().sum();
    let router = Router::new([route(Strategy::RoundRobin, &[&weights, &[1, 1]])]).unwrap();
    let counts = firsts(&router, &(), 200_000);
    for (at, weight) in weights.iter().enumerate() {
        let share = f64::from(counts[&format!("p0.k{at}")]) / 100_000.0;
        let due = f64::from(*weight) / f64::from(total);
        assert!((share - due).abs() < 0.01, "k{at}: {share} for {due}");
        assert!((share - due).abs() * 100_000.0 <= 2.0, "k{at}: never two calls off");
    }
}

#[test]
fn a_member_that_is_out_is_passed_over_alone() {
    let router = Router::new([route(Strategy::Failover, &[&[2, 1, 1], &[1]])]).unwrap();
    let state = without(&["p0.k0"]);
    assert_eq!(firsts(&router, &state, 8), counts([("p0.k1", 4), ("p0.k2", 4)]));
    let plan = decide(&router, &state);
    assert_eq!(plan.rejected.len(), 1);
    assert_eq!(name(&plan.rejected[0].target), "p0.k0");
    assert_eq!(plan.rejected[0].reason, "key benched");
    assert_eq!(plan.candidates.len(), 3);
    // Back again, it is owed nothing.
    assert_eq!(firsts(&router, &(), 4), counts([("p0.k0", 2), ("p0.k1", 1), ("p0.k2", 1)]));
    // With a pool out whole, the next target is first.
    let state = without(&["p0.k0", "p0.k1", "p0.k2"]);
    assert_eq!(names(&decide(&router, &state)), ["p1.k0"]);
    // With all of them out, all stay, as the last resort.
    let plan = decide(&router, &|_: &Target| Availability::KeyBenched);
    assert_eq!((plan.candidates.len(), plan.rejected.len()), (4, 4));
}

/// A target that fails without being out yet spreads over the pool behind it.
#[test]
fn a_pool_behind_another_takes_turns_too() {
    let router = Router::new([route(Strategy::Failover, &[&[1], &[2, 1]])]).unwrap();
    let second = |_| names(&decide(&router, &())).swap_remove(1);
    let second: Vec<_> = (0..3).map(second).collect();
    assert_eq!(second, ["p1.k0", "p1.k1", "p1.k0"]);
}

#[test]
fn pools_that_cannot_be_are_refused() {
    let wrong =
        |pools: &[&[u32]]| Router::new([route(Strategy::Failover, pools)]).unwrap_err().to_string();
    assert_eq!(wrong(&[&[1], &[]]), "route `pools` has a pool where nobody has a weight");
    assert_eq!(wrong(&[&[0, 0]]), "route `pools` has a pool where nobody has a weight");
    assert_eq!(wrong(&[&[1; 60], &[1; 5]]), "route `pools` has 65 targets; it needs 1 to 64");
    assert_eq!(wrong(&[&[], &[]]), "route `pools` has 0 targets; it needs 1 to 64");
    let mut twice = route(Strategy::Failover, &[&[1, 1], &[1]]);
    pool(&mut twice, 1)[0].node = place("p0", 1).into();
    let wrong = Router::new([twice]).unwrap_err().to_string();
    assert_eq!(wrong, "route `pools` has target `p0` twice");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Whatever is out: everything stands in the plan or is rejected (both, if all are out), pools stay together in
    /// the order of a route whose targets are single, and the same questions get the same answers.
    #[test]
    fn pools_stand_where_single_targets_would(
        strategy in prop::sample::select(vec![
            Strategy::Failover, Strategy::RoundRobin, Strategy::Weighted,
        ]),
        pools in prop::collection::vec(
            (prop::collection::vec(1_u32..5, 1..5), 1_u32..9), 1..6),
        rounds in prop::collection::vec(prop::collection::vec(prop::bool::weighted(0.7), 30), 1..16),
    ) {
        let lists: Vec<&[u32]> = pools.iter().map(|(weights, _)| &**weights).collect();
        let mut whole = route(strategy.clone(), &lists);
        let mut single = route(strategy, &vec![&[1][..]; lists.len()]);
        for (at, (_, weight)) in pools.iter().enumerate() {
            whole.group.members[at].weight = *weight;
            single.group.members[at].weight = *weight;
        }
        let places: Vec<String> = whole.group.places().map(name).collect();
        let (twin, router) = (Router::new([whole.clone()]).unwrap(), Router::new([whole]).unwrap());
        let single = Router::new([single]).unwrap();
        for ready in rounds {
            let is_ready = |name: &str| {
                ready[places.iter().position(|place| place == name).unwrap_or(0)]
            };
            let state = |target: &Target| match is_ready(&name(target)) {
                true => Availability::Ready,
                false => Availability::LimitFull,
            };
            let plan = decide(&router, &state);
            prop_assert_eq!(&plan, &decide(&twin, &state));
            let out: Vec<_> = plan.rejected.iter().map(|one| name(&one.target)).collect();
            let last_resort = places.iter().all(|place| !is_ready(place));
            let mut all = names(&plan);
            if !last_resort {
                all.extend(out.clone());
            }
            all.sort();
            let mut expected = places.clone();
            expected.sort();
            prop_assert_eq!(all, expected);
            prop_assert!(last_resort || names(&plan).iter().all(|one| is_ready(one)));
            prop_assert!(!out.iter().any(|one| is_ready(one)));

            let pool_ready = |target: &Target| {
                let mine = format!("{}.", target.provider());
                match places.iter().any(|place| place.starts_with(&mine) && is_ready(place)) {
                    true => Availability::Ready,
                    false => Availability::LimitFull,
                }
            };
            let mut order: Vec<String> =
                names(&plan).iter().map(|name| name[..2].to_owned()).collect();
            order.dedup();
            let expected: Vec<String> = names(&decide(&single, &pool_ready))
                .iter().map(|name| name[..2].to_owned()).collect();
            prop_assert_eq!(order, expected);
        }
    }

    #[test]
    fn members_come_first_exactly_by_weight_over_every_round(
        weights in prop::collection::vec(0_u32..8, 1..6),
        others in 0_usize..3,
    ) {
        prop_assume!(weights.iter().any(|weight| *weight > 0));
        let mut lists: Vec<&[u32]> = vec![&weights];
        lists.extend(vec![&[1_u32][..]; others]);
        let router = Router::new([route(Strategy::RoundRobin, &lists)]).unwrap();
        let turns = u32::try_from(lists.len()).unwrap();
        for _ in 0..3 {
            let counts = firsts(&router, &(), weights.iter().sum::<u32>() * turns);
            for (at, weight) in weights.iter().enumerate() {
                let first = counts.get(&format!("p0.k{at}")).copied().unwrap_or(0);
                let alone = weights.len() == 1;
                prop_assert!(first == *weight || alone, "{counts:?}");
            }
        }
    }
}
