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

/// A route of places and a group of two, with a rule that some requests meet.
fn route(strategy: Strategy, inner: Strategy, count: usize, ruled: usize) -> Route {
    let mut members: Vec<Member> = (0..count).map(|at| target(&format!("t{at}")).into()).collect();
    let pool = ["p0", "p1"].map(|name| target(name).into());
    members.push(Member::new(Group::new(inner, pool)).weighing(2));
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

/// What is said of the first agrees with the figures beside it. `in_pool`: who stands in the group
/// within.
fn honest(plan: &Plan, in_pool: impl Fn(&Candidate) -> bool) -> Result<(), TestCaseError> {
    let first = &plan.candidates[0];
    let said = |text: &str| first.reason.contains(text);
    let figure = |one: &Candidate| match () {
        () if said("lowest cost") => one.cost.map(|cost| cost.nanos() as f64),
        () if said("lowest p95") => one.latency.map(|time| time.as_secs_f64()),
        () => None,
    };
    let compared = |one: &&Candidate| !said("of its pool") || in_pool(one);
    // Whether another's figure is lower, by more than this.
    let beaten = |by: f64| {
        let mut others = plan.candidates.iter().skip(1).filter(compared);
        let lower = |(other, mine)| other * by < mine;
        others.any(|one| figure(one).zip(figure(first)).is_some_and(lower))
    };
    let near = if said("lowest cost") { 1.00501 } else { 1.1001 };
    let pools = said("of the pool") || said("of a pool") || said("each pool");
    if let (Some(_), false) = (figure(first), said("put first")) {
        let but = said("counted") || pools;
        prop_assert!(but || !beaten(if said("near the") { near } else { 1.0 }), "{:?}", plan);
        prop_assert!(beaten(1.0) || !(but || said("near the")), "{:?}", plan);
    }
    prop_assert!(!pools || plan.candidates.iter().any(&in_pool), "{:?}", plan);
    prop_assert!(!said("of the pool") || in_pool(first), "{:?}", plan);
    if first.reason == "no price is known" {
        prop_assert!(plan.candidates.iter().all(|one| one.cost.is_none()), "{:?}", plan);
    }
    if let Some(rival) = plan.rival {
        let rival = &plan.candidates[rival];
        prop_assert!(rival.target != first.target && first.score.is_some(), "{:?}", plan);
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
        (strategy, inner) in (strategy(), strategy()),
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
        let router = world.router([route(strategy.clone(), inner.clone(), count, ruled)]);
        let twin = world.router([route(strategy, inner, count, ruled)]);
        let of = |target: &Target| NAMES.iter().position(|name| **name == **target.provider()).unwrap();
        for (ready, need, tokens) in rounds {
            let asked = ask("m").with_needs(NEEDS[need]).with_prompt(Prompt::new(tokens));
            let state = |target: &Target| match ready[of(target)] {
                true => Availability::Ready,
                false if of(target) % 2 == 0 => Availability::KeyBenched,
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

            honest(&plan, |one| one.target.provider().starts_with('p'))?;
            // As the last resort whatever can be asked stands before what can't, which says so.
            let unsent = |one: &Candidate| one.reason.ends_with("nothing is sent to this one");
            let guarded = |at: usize| !ready[at] && at % 2 == 0;
            let able_to_be_asked = plan.candidates.iter().take_while(|one| !unsent(one)).count();
            for (at, one) in plan.candidates.iter().enumerate() {
                prop_assert_eq!(unsent(one), resort && guarded(of(&one.target)), "{:?}", plan);
                prop_assert_eq!(unsent(one), at >= able_to_be_asked, "{:?}", plan);
            }

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
        inner in prop::option::of(strategy()),
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
        world.set("worse", Figures { in_flight: 60, usual_in_flight: 60.0, ..takes(millis) });
        world.is("worse", costs(price, price));
        let few: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut more = few.clone();
        more.insert(at.min(few.len()), "worse");
        // The first two may be a group, whatever orders it.
        let router = |names: &[&str]| {
            let mut route = all(strategy.clone(), names);
            if let Some(inner) = inner.clone().filter(|_| few.len() > 1) {
                let is_in = |one: &Member| few[..2].iter().any(|name| one.node == target(name).into());
                let (mut pair, mut rest): (Vec<_>, Vec<_>) =
                    route.group.members.into_iter().partition(is_in);
                pair.truncate(2);
                rest.insert(0, Group::new(inner, pair).named("pair").into());
                route.group.members = rest;
            }
            world.router([route])
        };
        let (few, more) = (router(&few), router(&more));
        let (asked, caller) = (ask("m").with_prompt(Prompt::new(1_000)), user("ada"));
        for _ in 0..20 {
            let first = |router: &Router| {
                let query = query(&asked).with_caller(&caller);
                candidates(&router.decide(&query, &()).unwrap()).swap_remove(0)
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
