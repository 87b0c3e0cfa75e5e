//! What holds for every choice, whatever the figures.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::time::Duration;

use common::{World, all, ask, candidates, costs, query, takes, target, user};
use proptest::{prelude::*, strategy::Strategy as Generate};
use tollway_core::{Candidate, Needs, PerMille, Plan, Prompt, Target};
use tollway_route::{
    Availability, By, Figures, Group, Health, Lack, Match, Member, Of, Prefer, Quantiles, Refusal,
    Route, Router, Rule, Size, Strategy, Then, Traits, When,
};

fn strategy() -> impl Generate<Value = Strategy> {
    prop::sample::select(vec![
        Strategy::Failover,
        Strategy::Capability,
        Strategy::RoundRobin,
        Strategy::Weighted,
        Strategy::LeastBusy,
        Strategy::PowerOfTwo,
        Strategy::Latency { of: Of::FirstToken },
        Strategy::Cost,
        Strategy::Score { latency: 60, cost: 40 },
        Strategy::Affinity { by: By::User },
        Strategy::Split { by: By::User },
        Strategy::Nearest,
    ])
}

fn figures() -> impl Generate<Value = Figures> {
    let times = prop::option::of(1_u64..5_000);
    let health = prop::sample::select(vec![Health::Healthy, Health::Degraded, Health::Down]);
    (times, 0_u32..30, 0.0_f32..20.0, 0.0_f32..=1.0, 0.0_f32..3.0, health).prop_map(
        |(millis, in_flight, usual_in_flight, success, peak_ewma, health)| Figures {
            in_flight,
            usual_in_flight,
            success,
            peak_ewma,
            health,
            ..millis.map_or_else(Figures::default, takes)
        },
    )
}

const NEEDS: [Needs; 5] = [Needs::NONE, Needs::VISION, Needs::TOOLS, Needs::JSON, Needs::REASONING];

fn traits() -> impl Generate<Value = Traits> {
    let can = prop::option::of(prop::sample::subsequence(NEEDS.to_vec(), 0..=5));
    let size = prop::option::of(prop::sample::select(vec![Size::Tiny, Size::Small, Size::Large]));
    (can, prop::option::of(1_u64..200), size, prop::option::of(1_u64..10_000), any::<bool>())
        .prop_map(|(can, window, size, price, free)| Traits {
            can: can.map(|needs| needs.into_iter().fold(Needs::NONE, |all, need| all | need)),
            window,
            size,
            free: free && price.is_some_and(|price| price % 5 == 0),
            ..price.map_or_else(Traits::default, |price| costs(price, price * 4))
        })
}

/// A route of places and a pool of two, with a rule that some requests meet.
fn route(strategy: Strategy, count: usize, ruled: usize) -> Route {
    let mut members: Vec<Member> = (0..count).map(|at| target(&format!("t{at}")).into()).collect();
    let pool = ["p0", "p1"].map(|name| target(name).into());
    members.push(Member::new(Group::new(Strategy::Weighted, pool)).weighing(2));
    let prefer = match ruled {
        0 => Prefer::Nobody,
        1 => Prefer::Sizes(vec![vec![Size::Small, Size::Tiny]]),
        _ => {
            let own = ["t0", "own"].map(|name| target(name).into());
            Prefer::Group(Group::new(Strategy::Latency { of: Of::Whole }, own))
        }
    };
    let rule = Rule {
        name: "it".into(),
        when: When { needs: Needs::TOOLS, ..When::default() },
        then: Then {
            prefer,
            strategy: (ruled == 1).then_some(Strategy::Cost),
            free_first: ruled == 1,
            max_latency: (ruled == 0).then_some(Duration::from_secs(1)),
            ..Then::default()
        },
    };
    Route::new("all", Match::default(), Group::new(strategy, members)).with_rules([rule])
}

const NAMES: [&str; 9] = ["t0", "t1", "t2", "t3", "t4", "t5", "p0", "p1", "own"];

/// The first isn't said to be better than the figures beside it.
fn honest(plan: &Plan) -> Result<(), TestCaseError> {
    let first = &plan.candidates[0];
    let figures = |one: &Candidate| match first.reason {
        why if why.starts_with("lowest cost") => one.cost.map(|cost| cost.nanos().into()),
        why if why.starts_with("lowest p95") => one.latency.map(|time| time.as_nanos()),
        _ => None,
    };
    let lower = |one: &Candidate| figures(one).zip(figures(first)).is_some_and(|(a, b)| a < b);
    let counted = first.reason.contains("counted");
    if !counted && !first.reason.contains("put first") {
        prop_assert!(!plan.candidates.iter().any(lower), "{} {:?}", plan.sentence(), plan);
    }
    if let Some(rival) = plan.rival {
        let rival = &plan.candidates[rival];
        prop_assert!(rival.target != first.target && first.score.is_some());
        prop_assert!(counted || !lower(rival), "{} {:?}", plan.sentence(), plan);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever is known and whatever fails: a place that surely can't serve the request is never
    /// tried, one of which that is doubtful only where nobody is known to be able, one that is out or
    /// down only where all are; what is explained is what is chosen; every place stands in the plan;
    /// and the same questions, figures and seed give the same answers.
    #[test]
    fn only_what_can_serve_is_tried(
        strategy in strategy(),
        count in 1_usize..6,
        ruled in 0_usize..3,
        known in prop::collection::vec((figures(), traits()), 9),
        rounds in prop::collection::vec(
            (prop::collection::vec(prop::bool::weighted(0.7), 9), 0_usize..5, 0_u64..200), 1..8),
    ) {
        let world = World::default();
        for (name, (figures, traits)) in NAMES.iter().zip(&known) {
            world.set(name, *figures).is(name, traits.clone());
        }
        let router = world.router([route(strategy.clone(), count, ruled)]);
        let twin = world.router([route(strategy, count, ruled)]);
        let of = |target: &Target| NAMES.iter().position(|name| **name == **target.provider()).unwrap();
        for (ready, need, tokens) in rounds {
            let asked = ask("m").with_needs(NEEDS[need]).with_prompt(Prompt::new(tokens));
            let state = |target: &Target| match ready[of(target)] {
                true => Availability::Ready,
                false => Availability::LimitFull,
            };
            let caller = user(&format!("user-{tokens}"));
            let query = query(&asked).with_caller(&caller);
            let own = ruled == 2 && NEEDS[need] == Needs::TOOLS;
            let places: Vec<usize> = (0..count).chain([6, 7]).chain(own.then_some(8)).collect();
            let lack = |at: &usize| known[*at].1.lack(&asked);
            let able = places.iter().copied().filter(|at| lack(at).is_none());
            let doubtful = places.iter().copied().filter(|at| lack(at).is_some_and(Lack::is_doubtful));
            let able: Vec<usize> = able.collect();
            let serve = if able.is_empty() { doubtful.collect() } else { able.clone() };
            let answers = |at: &usize| ready[*at] && known[*at].0.health != Health::Down;

            let said = router.explain(&query, &state);
            let plan = router.decide(&query, &state);
            prop_assert_eq!(&plan, &twin.decide(&query, &state));
            prop_assert_eq!(plan.is_err(), serve.is_empty());
            let Ok(plan) = plan else {
                prop_assert!(matches!(&said, Err(Refusal::NoneAble(_))), "{:?}", said);
                continue;
            };
            prop_assert_eq!(&said.unwrap().candidates[0].target, &plan.candidates[0].target);
            let tried: Vec<usize> = plan.candidates.iter().map(|one| of(&one.target)).collect();
            let passed: Vec<usize> = plan.rejected.iter().map(|one| of(&one.target)).collect();
            let resort = able.is_empty() || !able.iter().any(answers);
            let told = |at: &usize| tried.contains(at) || passed.contains(at);
            prop_assert!(places.iter().all(told) && tried.iter().all(|at| serve.contains(at)));
            prop_assert!(tried.iter().all(|at| passed.contains(at) == resort), "{:?}", plan);
            prop_assert!(!serve.iter().any(answers) || tried.iter().all(answers), "{:?}", plan);

            honest(&plan)?;

            // One after the other fails: what is left is of the same places, without those.
            let mut failed = vec![plan.candidates[0].target.clone()];
            loop {
                let rest = router.rescore(&plan, &failed, &query, &state);
                prop_assert_eq!(&rest, &twin.rescore(&plan, &failed, &query, &state));
                let Some(rest) = rest else { break };
                let left = |target: &Target| !failed.contains(target) && serve.contains(&of(target));
                prop_assert!(rest.candidates.iter().all(|one| left(&one.target)), "{:?}", rest);
                failed.push(rest.candidates[0].target.clone());
            }
            prop_assert!(serve.iter().all(|at| failed.iter().any(|one| of(one) == *at)));
        }
    }

    /// The best is known by its own figures: one that is worse in everything changes nothing.
    #[test]
    fn a_worse_target_that_joins_changes_no_choice(
        strategy in prop::sample::select(vec![
            Strategy::Latency { of: Of::FirstToken },
            Strategy::Cost,
            Strategy::Score { latency: 60, cost: 40 },
            Strategy::LeastBusy,
        ]),
        known in prop::collection::vec((1_u64..5_000, 100_000_u64..10_000_000, 0_u32..5), 1..8),
        worse in 1.2_f64..10.0,
        at in 0_usize..8,
    ) {
        let world = World::default();
        let mut names: Vec<String> = Vec::new();
        for (at, (millis, price, in_flight)) in known.iter().enumerate() {
            let name = format!("t{at}");
            let usual_in_flight = f32::from(u8::try_from(*in_flight).unwrap());
            world.set(&name, Figures { in_flight: *in_flight, usual_in_flight, ..takes(*millis) });
            world.is(&name, costs(*price, *price));
            names.push(name);
        }
        let most = |of: fn(&(u64, u64, u32)) -> u64| {
            (known.iter().map(of).max().unwrap() as f64 * worse).ceil() as u64
        };
        let (millis, price) = (most(|one| one.0), most(|one| one.1));
        world.set("worse", Figures { in_flight: 6, usual_in_flight: 6.0, ..takes(millis) });
        world.is("worse", costs(price, price));
        let few: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut more = few.clone();
        more.insert(at.min(few.len()), "worse");
        let (few, more) =
            (world.router([all(strategy.clone(), &few)]), world.router([all(strategy, &more)]));
        let asked = ask("m").with_prompt(Prompt::new(1_000));
        for _ in 0..20 {
            let first = |router: &Router| {
                candidates(&router.decide(&query(&asked), &()).unwrap()).swap_remove(0)
            };
            prop_assert_eq!(first(&few), first(&more));
        }
    }

    /// The choice is within what counts as near the best, and scores fall along the plan behind it.
    #[test]
    fn the_choice_is_near_the_best(
        known in prop::collection::vec(prop::option::weighted(0.8, 1_u64..5_000), 2..12),
    ) {
        prop_assume!(known.iter().any(Option::is_some));
        let world = World::default();
        let names: Vec<String> = (0..known.len()).map(|at| format!("t{at}")).collect();
        for (name, millis) in names.iter().zip(&known) {
            world.set(name, millis.map_or_else(Figures::default, takes));
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let route = all(Strategy::Latency { of: Of::FirstToken }, &names);
        let router = world.builder([route]).explore(PerMille::ZERO).build().unwrap();
        let best = known.iter().flatten().min().unwrap();
        for _ in 0..20 {
            let plan = router.decide(&common::at("/"), &()).unwrap();
            let first = plan.candidates[0].latency;
            let most = Duration::from_millis(*best).mul_f64(1.1001);
            prop_assert!(first.is_some_and(|first| first <= most), "{:?}", plan);
            let scores: Vec<_> = plan.candidates.iter().skip(1).map(|one| one.score).collect();
            prop_assert!(scores.is_sorted_by(|a, b| a >= b), "{:?}", plan);
        }
    }
}

#[test]
fn a_seed_decides_what_is_left_to_chance() {
    let world = World::default();
    let zero = Quantiles::default();
    for name in ["a", "b", "c"] {
        world.set(name, Figures { first_token: Some(zero), ..takes(0) });
    }
    let firsts = |seed| {
        let route = all(common::latency(), &["a", "b", "c"]);
        let router = world.builder([route]).seed(seed).build().unwrap();
        let first = |_| candidates(&router.decide(&common::at("/"), &()).unwrap()).concat();
        (0..50).map(first).collect::<Vec<_>>()
    };
    assert_eq!(firsts(1), firsts(1));
    assert_ne!(firsts(1), firsts(2));
}

/// A group is worth what it will be used for, and no more.
#[test]
fn a_group_is_compared_by_whoever_of_it_goes_first() {
    let world = World::default();
    world.is("mid", costs(10, 10)).is("dear", costs(50, 50)).is("cheap", costs(1, 1));
    let inner = |strategy| Group::new(strategy, ["dear", "cheap"].map(|name| target(name).into()));
    let first = |strategy, inner: Group| {
        let group = Group::new(strategy, [target("mid").into(), Member::from(inner)]);
        let router = world.router([Route::new("it", Match::default(), group)]);
        let asked = ask("m").with_prompt(Prompt::new(100_000));
        let plan = router.decide(&query(&asked), &()).unwrap();
        plan.candidates[0].target.provider().to_string()
    };
    assert_eq!(first(Strategy::Cost, inner(Strategy::Failover)), "mid");
    assert_eq!(first(Strategy::Cost, inner(Strategy::RoundRobin)), "mid");
    assert_eq!(first(Strategy::Cost, inner(Strategy::Cost)), "cheap");
    let group = inner(Strategy::Weighted);
    let mostly_cheap = Group::new(
        Strategy::Weighted,
        group.members.into_iter().zip([1, 99]).map(|(member, weight)| member.weighing(weight)),
    );
    assert_ne!(first(Strategy::Cost, mostly_cheap), "mid");
    world.set("mid", takes(100)).set("dear", takes(500)).set("cheap", takes(10));
    assert_eq!(first(common::latency(), inner(Strategy::Failover)), "mid");
    assert_eq!(first(common::latency(), inner(common::latency())), "cheap");
}

/// What isn't known of the first is not what is known of the second.
#[test]
fn a_group_whose_first_has_no_price_has_none() {
    let world = World::default();
    world.is("mid", costs(10, 10)).is("cheap", costs(1, 1));
    let first = |strategy| {
        let inner = Group::new(strategy, ["unpriced", "cheap"].map(|name| target(name).into()));
        let group = Group::new(Strategy::Cost, [target("mid").into(), Member::from(inner)]);
        let router = world.router([Route::new("it", Match::default(), group)]);
        let asked = ask("m").with_prompt(Prompt::new(100_000));
        let plan = router.decide(&query(&asked), &()).unwrap();
        plan.candidates[0].target.provider().to_string()
    };
    assert_eq!(first(Strategy::Failover), "mid");
    assert_eq!(first(Strategy::RoundRobin), "mid");
    assert_eq!(first(Strategy::Cost), "cheap");
}
