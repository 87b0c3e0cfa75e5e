//! Groups in groups: who is chosen within is what is told, and what is left after a failure is
//! ordered within too.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::{World, all, ask, at, candidates, costs, latency, query, takes, target, user};
use http::{HeaderMap, HeaderName};
use tokio::time::Instant;
use tollway_core::{Plan, Target};
use tollway_route::{
    Availability, By, Group, Match, Member, Near, Prefer, Query, Route, Router, Rule, Size,
    Strategy, Then, Traits, When,
};

const BY_USER: Strategy = Strategy::Affinity { by: By::User };
const SPLIT: Strategy = Strategy::Split { by: By::User };

fn group(strategy: Strategy, names: &[&str]) -> Group {
    Group::new(strategy, names.iter().map(|name| Member::from(target(name)))).named("within")
}

/// A group, and these places behind it.
fn before(strategy: Strategy, inner: Group, names: &[&str]) -> Route {
    let places = names.iter().map(|name| Member::from(target(name)));
    let members = [Member::from(inner)].into_iter().chain(places);
    let near = Near { default: Some("eu".into()), ..Near::default() };
    Route::new("it", Match::default(), Group::new(strategy, members)).near(near)
}

fn without(name: &str) -> impl Fn(&Target) -> Availability {
    move |target| match &**target.provider() == name {
        true => Availability::BreakerOpen,
        false => Availability::Ready,
    }
}

fn decide(router: &Router, name: &str, out: &str) -> Plan {
    let caller = user(name);
    router.decide(&at("/").with_caller(&caller), &without(out)).unwrap()
}

fn rest(router: &Router, plan: &Plan, failed: &str) -> Plan {
    let caller = user("ada");
    router.rescore(plan, &[target(failed)], &at("/").with_caller(&caller), &()).unwrap()
}

/// The first and why it is.
fn said(plan: &Plan) -> String {
    format!("{}: {}", plan.candidates[0].target, plan.candidates[0].reason)
}

#[test]
fn a_group_within_is_ordered_anew_after_a_failure_whatever_is_around_it() {
    for outer in [Strategy::Failover, Strategy::RoundRobin, SPLIT, BY_USER, latency()] {
        let world = World::default();
        world.set("a", takes(100)).set("c", takes(200)).set("d", takes(300)).set("e", takes(9_000));
        let mut route = before(outer.clone(), group(latency(), &["a", "c", "d"]), &["e"]);
        route.group.members[1].weight = 0;
        let router = world.router([route]);
        let plan = decide(&router, "ada", "");
        assert_eq!(candidates(&plan), ["a", "c", "d", "e"], "{outer:?}");
        world.set("c", takes(741)).set("d", takes(105));
        let rest = rest(&router, &plan, "a");
        assert_eq!(candidates(&rest), ["d", "c", "e"], "{outer:?}");
        assert!(said(&rest).starts_with("d: lowest p95 to the first token"), "{}", said(&rest));
        assert!(rest.chosen);
    }
}

#[test]
fn who_has_its_turn_keeps_it_while_others_are_ordered_anew() {
    let world = World::default();
    for (name, millis) in [("a", 100), ("b", 200), ("c", 100), ("d", 200)] {
        world.set(name, takes(millis));
    }
    let pools = [group(latency(), &["a", "b"]), group(latency(), &["c", "d"]).named("other")];
    let turns = Group::new(Strategy::RoundRobin, pools.map(Member::from));
    let router = world.router([Route::new("it", Match::default(), turns)]);
    assert_eq!(candidates(&decide(&router, "ada", "")), ["a", "b", "c", "d"]);
    let plan = decide(&router, "ada", "");
    assert_eq!(candidates(&plan), ["c", "d", "a", "b"]);
    world.set("b", takes(10));
    let left = rest(&router, &plan, "c");
    assert_eq!(candidates(&left), ["d", "b", "a"], "the pool whose turn it was, then the quickest");
    assert_eq!(said(&left), "d: failover");
    assert_eq!(candidates(&decide(&router, "ada", ""))[0], "b", "no turn was taken");

    // Within one that compares, turns are nobody's to take either.
    let world = World::default();
    for (name, millis) in [("a", 9_000), ("b", 100), ("c", 100), ("d", 100)] {
        world.set(name, takes(millis));
    }
    let inner = group(Strategy::RoundRobin, &["b", "c", "d"]);
    let router = world.router([before(latency(), inner, &["a"])]);
    decide(&router, "ada", "");
    let plan = decide(&router, "ada", "");
    assert_eq!(candidates(&plan), ["c", "d", "b", "a"]);
    assert_eq!(candidates(&rest(&router, &plan, "c")), ["d", "b", "a"]);
    assert_eq!(candidates(&decide(&router, "ada", "")), ["d", "b", "c", "a"], "no turn was taken");
}

#[test]
fn the_strategy_that_chose_is_told_however_deep_it_stands() {
    let world = World::default();
    let region = |name: &str| Traits { region: Some(name.into()), ..Traits::default() };
    world.is("a", region("eu")).is("c", region("us"));
    let inner = [
        (BY_USER, "where the same requests go"),
        (SPLIT, "its arm of the split"),
        (Strategy::Nearest, "nearest"),
        (Strategy::LeastBusy, "least busy of its pool"),
    ];
    for outer in [Strategy::Failover, Strategy::RoundRobin, Strategy::Weighted] {
        for (strategy, reason) in inner.clone() {
            let mut route = before(outer.clone(), group(strategy.clone(), &["a", "c"]), &["d"]);
            let deep = before(Strategy::Failover, group(strategy.clone(), &["a", "c"]), &["e"]);
            let flat = world.router([route.clone()]);
            route.group.members[0] = deep.group.into();
            for router in [flat, world.router([route])] {
                let plan = decide(&router, "ada", "");
                assert_eq!(plan.candidates[0].reason, reason, "{outer:?}");
                assert!(plan.chosen, "{outer:?} {reason}");
                let arm = plan.candidates[0].arm.is_some();
                assert_eq!(arm, strategy == SPLIT);
                // By order or turn alone it is, where what chooses stands behind.
                if outer == Strategy::Failover {
                    let route = &router.routes().next().unwrap().group;
                    let members = route.members.iter().rev().cloned();
                    let route =
                        Route::new("it", Match::default(), Group::new(outer.clone(), members));
                    let other = world.is("d", costs(1, 1)).router([route]);
                    let plan = other.decide(&query(&ask("m")), &()).unwrap();
                    assert_eq!(said(&plan), "d/m: first that is ready");
                    assert!(!plan.chosen && plan.candidates[0].cost.is_some());
                    let caller = user("ada");
                    let asked = ask("m");
                    let query = query(&asked).with_caller(&caller);
                    let rest = other.rescore(&plan, &[target("d/m")], &query, &()).unwrap();
                    assert!(rest.chosen || rest.candidates[0].target == target("e/m"), "{rest:?}");
                }
            }
        }
    }
    // What is around it chose before.
    let router = world.router([before(SPLIT, group(BY_USER, &["a", "c"]), &[])]);
    assert!(decide(&router, "ada", "").chosen);
    let pool = before(BY_USER, group(SPLIT, &["a", "c"]), &["a2", "c2"]);
    let plan = decide(&world.router([pool]), "ada", "");
    assert_eq!(plan.candidates[0].reason, "where the same requests go");
}

#[test]
fn order_and_turns_choose_nothing_and_rules_and_bounds_do() {
    let world = World::default();
    let most = HeaderName::from_static(tollway_route::MAX_COST);
    let bounded = HeaderMap::from_iter([(most, "0.5".parse().unwrap())]);
    for strategy in [Strategy::Failover, Strategy::RoundRobin, Strategy::Weighted] {
        let pool = group(Strategy::Weighted, &["a", "b"]);
        let router = world.router([before(strategy.clone(), pool, &["c"])]);
        let plan = decide(&router, "ada", "");
        assert!(!plan.chosen, "{strategy:?}");
        assert!(!rest(&router, &plan, &candidates(&plan)[0]).chosen);
        assert!(router.decide(&Query::new("/", &bounded, Instant::now()), &()).unwrap().chosen);
        let rule = Rule { name: "r".into(), when: When::default(), then: Then::default() };
        let ruled = world.router([all(strategy, &["a", "b"]).with_rules([rule])]);
        assert!(decide(&ruled, "ada", "").chosen);
    }
    for strategy in [BY_USER, SPLIT, Strategy::Nearest, Strategy::Cost, Strategy::Capability] {
        assert!(decide(&world.router([all(strategy, &["a", "b"])]), "ada", "").chosen);
    }
}

#[test]
fn who_goes_elsewhere_than_its_own_is_told_so() {
    let world = World::default();
    let region = |name: &str| Traits { region: Some(name.into()), ..Traits::default() };
    world.is("a", region("eu")).is("b", region("eu")).is("c", region("us")).is("d", region("us"));
    let names = ["a", "c", "d"];
    for (strategy, own, other) in [
        (BY_USER, "where the same requests go", "where the same requests go is out: the next"),
        (SPLIT, "its arm of the split", "its arm of the split is out: the next"),
        (Strategy::Nearest, "nearest", "the nearest is out: the next"),
    ] {
        let mut flat = all(strategy.clone(), &names);
        flat.near.default = Some("eu".into());
        let nested = before(Strategy::Failover, group(strategy.clone(), &names), &["e"]);
        // Of two places of which one is left, too.
        let two = before(Strategy::Failover, group(strategy.clone(), &names[..2]), &["e"]);
        for route in [flat, nested, two] {
            let router = world.router([route]);
            for number in 0..20 {
                let name = format!("user-{number}");
                let plan = decide(&router, &name, "");
                let home = &candidates(&plan)[0];
                assert_eq!(said(&plan), format!("{home}: {own}"));
                for out in names {
                    let plan = decide(&router, &name, out);
                    let expected = if out == home { other } else { own };
                    assert_eq!(plan.candidates[0].reason, expected, "{home}, {out} is out");
                }
            }
        }
    }
    // Another of the same region is as near, and an arm is one's own while a place of it is left.
    let mut route = all(Strategy::Nearest, &["a", "b", "c"]);
    route.near.default = Some("eu".into());
    assert_eq!(said(&decide(&world.router([route]), "ada", "a")), "b: nearest");
    let arms = [group(Strategy::Failover, &["a", "b"]), group(Strategy::Failover, &["c", "d"])];
    let arms = ["one", "two"].into_iter().zip(arms).map(|(name, arm)| arm.named(name).into());
    let router = world.router([Route::new("it", Match::default(), Group::new(SPLIT, arms))]);
    for out in ["a", "c"] {
        assert_eq!(decide(&router, "ada", out).candidates[0].reason, "its arm of the split");
    }
}

#[test]
fn whose_own_a_rule_puts_behind_is_not_told_that_it_is_out() {
    let world = World::default();
    let sized = |size| Traits { size: Some(size), ..Traits::default() };
    world.is("a", sized(Size::Large)).is("c", sized(Size::Tiny)).is("d", sized(Size::Tiny));
    let prefer = Prefer::Sizes(vec![vec![Size::Tiny]]);
    let then = Then { prefer, ..Then::default() };
    let rule = Rule { name: "tiny".into(), when: When::default(), then };
    let flat = all(BY_USER, &["a", "c", "d"]);
    let (plain, ruled) = (world.router([flat.clone()]), world.router([flat.with_rules([rule])]));
    let mut seen = [0_u32; 2];
    for number in 0..50 {
        let name = format!("user-{number}");
        let is_own = candidates(&decide(&plain, &name, ""))[0] != "a";
        let expected = match is_own {
            true => "where the same requests go",
            false => "where the same requests go, of those put first",
        };
        assert_eq!(decide(&ruled, &name, "").candidates[0].reason, expected);
        seen[usize::from(is_own)] += 1;
    }
    assert!(seen.iter().all(|count| *count > 5), "{seen:?}");
}
