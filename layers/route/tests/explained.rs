//! What a decision would be, and why, before there is one.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::time::Duration;

use common::{World, all, ask, candidates, costs, latency, query, rejected, takes, target};
use tollway_core::{Needs, PerMille, Prompt, Target};
use tollway_route::{
    Availability, By, Figures, Group, Health, Member, Of, Prefer, Rule, Strategy, Then, Traits,
    When,
};

fn strategies() -> Vec<Strategy> {
    let user = || By::User;
    vec![
        Strategy::Failover,
        Strategy::Capability,
        Strategy::RoundRobin,
        Strategy::Weighted,
        Strategy::LeastBusy,
        Strategy::PowerOfTwo,
        latency(),
        Strategy::Cost,
        Strategy::Score { latency: 60, cost: 40 },
        Strategy::Affinity { by: user() },
        Strategy::Split { by: user() },
        Strategy::Nearest,
    ]
}

fn world() -> World {
    let world = World::default();
    for (name, millis) in [("a", 300), ("b", 310), ("c", 320)] {
        world.set(name, takes(millis)).is(name, costs(millis, millis));
    }
    world
}

/// Asked as often as one likes: the next decision is the one that was told.
#[test]
fn explaining_takes_no_turn_under_any_strategy() {
    let ask = ask("m").with_prompt(Prompt::new(1_000));
    for strategy in strategies() {
        let mut route = all(strategy.clone(), &["a", "b", "c", "new"]);
        let keys = Group::new(
            Strategy::Weighted,
            [
                Member::new(Target::new("a", "one", None)).weighing(3),
                Member::new(Target::new("a", "two", None)),
            ],
        );
        route.group.members[0] = keys.into();
        let router = world().router([route]);
        for _ in 0..50 {
            let said = router.explain(&query(&ask), &()).unwrap();
            assert_eq!(router.explain(&query(&ask), &()).unwrap(), said);
            let decided = router.decide(&query(&ask), &()).unwrap();
            assert_eq!(candidates(&decided), candidates(&said), "{}", strategy.as_str());
            let key = |plan: &tollway_core::Plan| plan.candidates[0].target.key().clone();
            assert_eq!(key(&decided), key(&said));
        }
    }
}

/// Plans that are made once tell nothing of what doesn't decide; explained ones do.
#[test]
fn explaining_tells_estimates_where_nothing_rests_on_them() {
    let ask = ask("m").with_prompt(Prompt::new(1_000));
    for strategy in [Strategy::Failover, Strategy::RoundRobin, Strategy::Weighted] {
        let router = world().router([all(strategy, &["a", "b"])]);
        let decided = router.decide(&query(&ask), &()).unwrap();
        assert!(decided.candidates.iter().all(|one| one.latency.is_none() && one.cost.is_none()));
        let said = router.explain(&query(&ask), &()).unwrap();
        // The first decision has taken a turn.
        let a = said.candidates.iter().find(|one| one.target == target("a/m")).unwrap();
        assert_eq!(a.latency, Some(Duration::from_millis(300)));
        assert_eq!((a.cost.map(|cost| cost.nanos()), a.samples), (Some(377), 500));
        assert_eq!((a.score, said.confidence), (None, PerMille::ZERO), "they were not compared");
        assert!(!said.first_token, "whoever doesn't stream waits for the end");
    }
    let router = world().router([all(latency(), &["a", "b"])]);
    let said = router.explain(&query(&ask), &()).unwrap();
    assert!(said.candidates.iter().all(|one| one.score.is_some()) && said.first_token);
}

#[test]
fn explaining_tells_everybody_who_was_passed_over() {
    let world = world();
    world.set("down", Figures { health: Health::Down, ..takes(1) });
    world.is("blind", Traits { can: Some(Needs::NONE), ..Traits::default() });
    let other = Rule {
        name: "tools".into(),
        when: When { needs: Needs::TOOLS, ..When::default() },
        then: Then {
            prefer: Prefer::Group(Group::new(Strategy::Failover, [target("extra").into()])),
            ..Then::default()
        },
    };
    let route = all(Strategy::Failover, &["down", "blind", "out", "a"]).with_rules([other]);
    let out = |target: &Target| match &**target.provider() {
        "out" => Availability::LimitFull,
        _ => Availability::Ready,
    };
    let image = ask("m").with_needs(Needs::VISION);
    let plan = world.router([route]).explain(&query(&image), &out).unwrap();
    assert_eq!(candidates(&plan), ["a/m"]);
    let expected = [
        ("down/m", "it doesn't answer of late"),
        ("blind/m", "it can't see images"),
        ("out/m", "limit full"),
        ("extra/m", "only another rule names it"),
    ];
    assert_eq!(rejected(&plan), expected.map(|(target, why)| (target.to_owned(), why)));
}

/// `score` and bounds go by the time that is meant, whatever another strategy goes by.
#[test]
fn the_time_that_is_meant_is_that_of_scores_and_bounds() {
    let world = World::default();
    let both = |first: u64, whole: u64| Figures { whole: takes(whole).whole, ..takes(first) };
    // One starts soon and ends late.
    world.set("eager", both(100, 9_000)).set("steady", both(900, 2_000));
    let ask = ask("m");
    let streamed = || {
        let mut ask = common::ask("m");
        ask.stream = true;
        ask
    };
    let first = |strategy: Strategy, expect, ask: &tollway_core::Ask, bound: Option<u64>| {
        let then = Then { max_latency: bound.map(Duration::from_millis), ..Then::default() };
        let rule = Rule { name: "all".into(), when: When::default(), then };
        let route = all(strategy, &["eager", "steady"]).with_rules([rule]);
        let router = world.builder([route]).expect(expect).build().unwrap();
        candidates(&router.decide(&query(ask), &()).unwrap()).swap_remove(0)
    };
    let score = || Strategy::Score { latency: 1, cost: 0 };
    assert_eq!(first(score(), None, &ask, None), "steady/m");
    assert_eq!(first(score(), None, &streamed(), None), "eager/m");
    assert_eq!(first(score(), Some(Of::FirstToken), &ask, None), "eager/m");
    assert_eq!(first(score(), Some(Of::Whole), &streamed(), None), "steady/m");
    // `latency` says itself what it means; the bound doesn't.
    assert_eq!(first(latency(), Some(Of::Whole), &ask, None), "eager/m");
    assert_eq!(first(latency(), Some(Of::Whole), &ask, Some(5_000)), "steady/m");
    assert_eq!(first(latency(), Some(Of::FirstToken), &ask, Some(5_000)), "eager/m");
    // A pool that says so goes by its own time inside of a score.
    let pool = Group::new(latency(), ["steady", "eager"].map(|name| target(name).into()));
    let mut route = all(score(), &["other"]);
    route.group.members = vec![pool.into()];
    let router = world.builder([route]).expect(Some(Of::Whole)).build().unwrap();
    let plan = router.decide(&query(&ask), &()).unwrap();
    assert_eq!(candidates(&plan), ["eager/m", "steady/m"]);
    assert!(!plan.first_token, "what is told is what the score goes by");
}
