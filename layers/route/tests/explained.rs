//! What a decision would be, and why, before there is one.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::time::Duration;

use common::{World, all, ask, candidates, costs, latency, query, rejected, takes, target};
use tollway_core::{Needs, PerMille, Prompt, Target};
use tollway_route::{
    Availability, By, Figures, Group, Health, Member, Of, Prefer, Route, Rule, Size, Strategy,
    Then, Traits, When,
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

/// Whoever stands first by a rule or a bound isn't said to be the best of all.
#[test]
fn a_reason_says_no_more_than_the_figures_beside_it() {
    let world = World::default();
    let sized = |price, size| Traits { size: Some(size), ..costs(price, price) };
    world.is("tiny", sized(1_000_000, Size::Tiny)).is("large", sized(9_000_000, Size::Large));
    world.is("other", sized(8_000_000, Size::Large));
    let asked = ask("m").with_prompt(Prompt::new(744));
    let sentence = |route: Route, out: &str| {
        let state = |target: &Target| match &**target.provider() == out {
            true => Availability::BreakerOpen,
            false => Availability::Ready,
        };
        let plan = world.router([route]).decide(&query(&asked), &state).unwrap();
        plan.sentence().to_string()
    };
    let rule = |then| Rule { name: "hard".into(), when: When::default(), then };
    let large = || Then { prefer: Prefer::Sizes(vec![vec![Size::Large]]), ..Then::default() };
    let route = |then| all(Strategy::Cost, &["tiny", "large", "other"]).with_rules([rule(then)]);
    assert_eq!(
        sentence(route(large()), ""),
        "other/m: lowest cost of those put first, about 0.008 USD against 0.009 USD of large/m; \
         by rule `hard`"
    );
    assert_eq!(
        sentence(route(large()), "other"),
        "large/m: lowest cost of those put first, about 0.009 USD; by rule `hard`"
    );
    assert_eq!(
        sentence(route(Then::default()), ""),
        "tiny/m: lowest cost, about 0.001 USD against 0.008 USD of other/m; by rule `hard`"
    );
    // The tiny one takes too long.
    world.set("tiny", takes(900)).set("large", takes(100)).set("other", takes(110));
    let bound = Then { max_latency: Some(Duration::from_millis(500)), ..Then::default() };
    assert_eq!(
        sentence(route(bound), ""),
        "other/m: lowest cost of those put first, 110 ms against 100 ms of large/m, \
         about 0.008 USD against 0.009 USD of large/m; 500 samples; by rule `hard`"
    );
    // What fails every second time costs twice as much as its price says.
    world.set("tiny", Figures { success: 0.05, ..takes(100) });
    let said = sentence(all(Strategy::Cost, &["tiny", "other"]), "");
    assert!(said.starts_with("other/m: lowest cost, failures counted, 110 ms"), "{said}");
    // Those nearly as good as the best share its requests.
    world.set("other", takes(109));
    let router = world.router([all(latency(), &["large", "other"])]);
    let said = |_| router.decide(&query(&asked), &()).unwrap().sentence().to_string();
    let said: Vec<String> = (0..40).map(said).collect();
    for start in [
        "other/m: near the lowest p95 to the first token, 109 ms against 100 ms",
        "large/m: lowest p95",
    ] {
        assert!(said.iter().any(|one| one.starts_with(start)), "{said:?}");
    }
    // In the best pool it is another's turn.
    let pool = Group::new(Strategy::Failover, ["tiny", "other"].map(|one| target(one).into()));
    let mut pooled = all(Strategy::Cost, &["large"]);
    pooled.group.members.push(pool.into());
    world.set("tiny", takes(100)).is("tiny", costs(9_500_000, 9_500_000));
    let said = sentence(pooled, "");
    assert!(said.starts_with("tiny/m: of the pool with the lowest cost, "), "{said}");
    assert!(said.contains(" against 0.009 USD of large/m"), "{said}");
    // All that are left as the last resort were compared with nobody.
    let out = |_: &Target| Availability::KeyBenched;
    let plan = world.router([route(large())]).decide(&query(&asked), &out).unwrap();
    let said = plan.sentence().to_string();
    assert!(
        said.contains(": last resort: every target is out, ") && !said.contains("against"),
        "{said}"
    );
    assert_eq!(plan.rejected.len(), 3);
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
