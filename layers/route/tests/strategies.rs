//! Whom each strategy puts first, and why.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::{collections::HashMap, time::Duration};

use common::{
    World, all, ask, at, candidates, costs, latency, query, rejected, shares, takes, target,
};
use tollway_core::{Operation, PerMille, Prompt, Target, Usd};
use tollway_route::{
    Availability, Figures, Group, Health, Match, Member, Of, Route, Strategy, Traits,
};

#[test]
fn latency_puts_the_lowest_p95_first_and_tells_why() {
    let world = World::default();
    world.set("a", takes(420)).set("b", takes(310)).set("c", takes(900));
    let router = world.router([all(latency(), &["a", "b", "c"])]);
    let gpt = ask("m");
    let plan = router.decide(&query(&gpt), &()).unwrap();
    assert_eq!(candidates(&plan), ["b/m", "a/m", "c/m"]);
    assert_eq!(plan.strategy, "latency");
    let first = &plan.candidates[0];
    assert_eq!(first.latency, Some(Duration::from_millis(310)));
    assert_eq!((first.score, first.samples), (Some(PerMille::FULL), 500));
    assert_eq!(plan.candidates[2].score, Some(PerMille::of(310.0 / 900.0)));
    let why = "b/m: lowest p95 to the first token, 310 ms against 420 ms of a/m; 500 samples";
    assert_eq!(plan.sentence().to_string(), why);
    assert!((700..1000).contains(&plan.confidence.get()), "{}", plan.confidence);

    // The same figures, nearer to each other: less sure.
    world.set("a", takes(340));
    let close = router.decide(&query(&gpt), &()).unwrap();
    assert!(close.confidence < plan.confidence);
}

#[test]
fn the_time_that_counts_is_the_strategys_own() {
    let (slow_start, slow_end) = (takes(900), takes(100));
    let world = World::default();
    world.set("a", Figures { whole: slow_end.whole, ..slow_start });
    world.set("b", Figures { whole: slow_start.whole, ..slow_end });
    let first = |of| {
        let router = world.router([all(Strategy::Latency { of }, &["a", "b"])]);
        candidates(&router.decide(&at("/"), &()).unwrap()).swap_remove(0)
    };
    assert_eq!((first(Of::FirstToken).as_str(), first(Of::Whole).as_str()), ("b", "a"));
}

#[test]
fn places_that_are_nearly_as_good_share_and_others_get_nothing() {
    let world = World::default();
    world.set("a", takes(300)).set("b", takes(315)).set("c", takes(360));
    let router = world.router([all(latency(), &["a", "b", "c"])]);
    let counts = shares(&router, &at("/"), 10_000);
    assert_eq!(counts.get("c"), None);
    assert!((4_700..5_300).contains(&counts["a"]), "{counts:?}");
    // Of two that are as good the busier gets nothing more.
    world.set("b", Figures { in_flight: 3, usual_in_flight: 3.0, ..takes(315) });
    assert_eq!(shares(&router, &at("/"), 100), HashMap::from([("a".to_owned(), 100)]));
}

#[test]
fn a_crowd_and_failures_count_before_times_are_worse() {
    let world = World::default();
    world.set("a", takes(300)).set("b", takes(500));
    let router = world.router([all(latency(), &["a", "b"])]);
    let first = || candidates(&router.decide(&at("/"), &()).unwrap()).swap_remove(0);
    assert_eq!(first(), "a");
    world.set("a", Figures { in_flight: 60, usual_in_flight: 10.0, ..takes(300) });
    assert_eq!(first(), "b", "five times as much under way as is usual");
    world.set("a", Figures { in_flight: 15, usual_in_flight: 10.0, ..takes(300) });
    assert_eq!(first(), "a", "chance");
    world.set("a", Figures { success: 0.5, ..takes(300) });
    assert_eq!(first(), "b", "every second reply fails");
    world.set("a", Figures { health: Health::Down, ..takes(300) });
    let plan = router.decide(&at("/"), &()).unwrap();
    assert_eq!(candidates(&plan), ["b"]);
    assert_eq!(rejected(&plan), [("a".to_owned(), "it doesn't answer of late")]);
}

#[test]
fn who_has_less_under_way_than_usual_is_expected_to_be_quicker() {
    let world = World::default();
    world.set("a", takes(300));
    world.set("b", Figures { in_flight: 40, usual_in_flight: 60.0, ..takes(500) });
    let router = world.router([all(latency(), &["a", "b"])]);
    let first = || candidates(&router.decide(&at("/"), &()).unwrap()).swap_remove(0);
    assert_eq!(first(), "a");
    world.set("b", Figures { in_flight: 5, usual_in_flight: 60.0, ..takes(500) });
    assert_eq!(first(), "b", "its times are those of a crowd that is gone");
}

#[test]
fn what_is_old_is_looked_at_again_by_a_bounded_share() {
    let world = World::default();
    world.set("a", takes(300)).set("b", Figures { stale: true, ..takes(900) });
    let router = world.router([all(latency(), &["a", "b"])]);
    let counts = shares(&router, &at("/"), 100_000);
    assert!((4_700..5_300).contains(&counts["b"]), "{counts:?}");
    let explored = (0..1_000).map(|_| router.decide(&at("/"), &()).unwrap());
    let mut explored = explored.filter(|plan| &**plan.candidates[0].target.provider() == "b");
    let reason = explored.next().unwrap().candidates[0].reason;
    assert_eq!(reason, "explored: what is known of it is old");
}

#[test]
fn what_is_not_known_is_explored_by_a_bounded_share_only() {
    let world = World::default();
    world.set("a", takes(300)).set("b", takes(500));
    let routes = || [all(latency(), &["new", "a", "b"])];
    let router = world.router(routes());
    let counts = shares(&router, &at("/"), 100_000);
    assert!((4_700..5_300).contains(&counts["new"]), "{counts:?}");
    assert_eq!(counts.get("b"), None);
    let explored = (0..1_000).map(|_| router.decide(&at("/"), &()).unwrap());
    let explored = explored.filter(|plan| &**plan.candidates[0].target.provider() == "new");
    for plan in explored {
        assert_eq!(plan.candidates[0].reason, "explored: too little is known of it");
        assert_eq!(plan.confidence, PerMille::ZERO);
        assert_eq!(candidates(&plan), ["new", "a", "b"]);
    }
    for (share, bounds) in [(0, 0..1), (200, 19_000..21_000)] {
        let router = world.builder(routes()).explore(PerMille::new(share)).build().unwrap();
        let count = shares(&router, &at("/"), 100_000).get("new").copied().unwrap_or(0);
        assert!(bounds.contains(&count), "{share}: {count}");
    }
    // What is unknown stands behind the median of the others.
    let quiet = world.builder(routes()).explore(PerMille::ZERO).build().unwrap();
    assert_eq!(candidates(&quiet.decide(&at("/"), &()).unwrap()), ["a", "new", "b"]);
}

#[test]
fn where_nothing_is_known_all_are_asked_alike() {
    let router = World::default().router([all(latency(), &["a", "b", "c", "d"])]);
    let counts = shares(&router, &at("/"), 10_000);
    assert!(counts.values().all(|count| (2_300..2_700).contains(count)), "{counts:?}");
    assert_eq!(router.decide(&at("/"), &()).unwrap().confidence, PerMille::ZERO);
}

#[test]
fn cost_is_that_of_the_request_at_hand() {
    let world = World::default();
    world.is("long", costs(1_000_000, 20_000_000)).is("short", costs(3_000_000, 5_000_000));
    let router = world.router([all(Strategy::Cost, &["unpriced", "long", "short"])]);
    let first = |input, output| {
        let mut ask = ask("m").with_prompt(Prompt::new(input));
        ask.max_output_tokens = Some(output);
        let plan = router.decide(&query(&ask), &()).unwrap();
        (candidates(&plan), plan.candidates[0].cost)
    };
    let long = ["long/m", "short/m", "unpriced/m"].map(str::to_owned).to_vec();
    let short = ["short/m", "long/m", "unpriced/m"].map(str::to_owned).to_vec();
    assert_eq!(first(10_000, 10), (long.clone(), Some(Usd::from_nanos(10_200_000))));
    assert_eq!(first(100, 200), (short, Some(Usd::from_nanos(1_300_000))));
    // Most of its input is cached, and its replies are short.
    let lucky = Figures { cached_share: 0.9, output_tokens: Some(5.0), ..Figures::default() };
    world.set("long", lucky);
    assert_eq!(first(100, 200), (long, Some(Usd::from_nanos(119_000))));
    // What is free beats what is cheap.
    world.is("gift", Traits { free: true, ..Traits::default() });
    let free = world.router([all(Strategy::Cost, &["long", "gift"])]);
    let ask = ask("m").with_prompt(Prompt::new(10));
    let plan = free.decide(&query(&ask), &()).unwrap();
    assert_eq!((&*candidates(&plan)[0], plan.candidates[0].cost), ("gift/m", Some(Usd::ZERO)));
    // Embeddings have no output to pay.
    let embed = tollway_core::Ask::new(Operation::Embeddings).with_prompt(Prompt::new(100));
    let plan = router.decide(&query(&embed), &()).unwrap();
    assert_eq!(plan.candidates[0].cost, Some(Usd::from_nanos(19_000)));
}

#[test]
fn a_score_weighs_latency_against_cost() {
    let world = World::default();
    world.set("quick", takes(200)).is("quick", costs(4_000_000, 0));
    world.set("cheap", takes(800)).is("cheap", costs(1_000_000, 0));
    world.set("both", takes(300)).is("both", costs(1_500_000, 0));
    let ask = ask("m").with_prompt(Prompt::new(1_000));
    let first = |latency, cost| {
        let strategy = Strategy::Score { latency, cost };
        let router = world.router([all(strategy, &["quick", "cheap", "both"])]);
        candidates(&router.decide(&query(&ask), &()).unwrap()).swap_remove(0)
    };
    assert_eq!(first(100, 0), "quick/m");
    assert_eq!(first(0, 100), "cheap/m");
    assert_eq!(first(60, 40), "both/m");
}

#[test]
fn least_busy_goes_by_weight_and_takes_turns_among_equals() {
    let busy = |in_flight| Figures { in_flight, ..Figures::default() };
    let world = World::default();
    world.set("a", busy(4)).set("b", busy(2)).set("c", busy(9));
    let router = world.router([all(Strategy::LeastBusy, &["a", "b", "c"])]);
    assert_eq!(candidates(&router.decide(&at("/"), &()).unwrap()), ["b", "a", "c"]);
    world.set("a", busy(2));
    let counts = shares(&router, &at("/"), 1_000);
    assert!(counts["a"] > 400 && counts["b"] > 400, "{counts:?}");
    // Four times as many for the place that weighs four.
    let mut weighted = all(Strategy::LeastBusy, &["a", "c", "spare"]);
    weighted.group.members[1].weight = 4;
    weighted.group.members[2].weight = 0;
    let router = world.router([weighted]);
    assert_eq!(candidates(&router.decide(&at("/"), &()).unwrap()), ["c", "a", "spare"]);
}

#[test]
fn the_better_of_two_is_never_the_worst() {
    let peak = |peak_ewma, in_flight| Figures { peak_ewma, in_flight, ..Figures::default() };
    let world = World::default();
    world.set("a", peak(0.2, 0)).set("b", peak(0.1, 5)).set("c", peak(2.0, 1));
    let router = world.router([all(Strategy::PowerOfTwo, &["a", "b", "c"])]);
    let counts = shares(&router, &at("/"), 9_000);
    assert_eq!(counts.get("c"), None);
    assert!((5_700..6_300).contains(&counts["a"]), "two pairs of three hold it: {counts:?}");
    // The other of the two is next.
    let plans = (0..100).map(|_| candidates(&router.decide(&at("/"), &()).unwrap()).concat());
    assert!(plans.into_iter().all(|plan| ["abc", "acb", "bca"].contains(&plan.as_str())));
}

#[test]
fn a_group_counts_as_whoever_goes_first_and_keeps_its_own_order() {
    let world = World::default();
    world.set("a", takes(400)).set("b", takes(900)).set("c", takes(500)).set("d", takes(300));
    let pair = Group::new(Strategy::Failover, [target("d").into(), target("b").into()]);
    let members = [target("a").into(), pair.into(), target("c").into()];
    let route = Route::new("all", Match::default(), Group::new(latency(), members));
    let router = world.router([route]);
    assert_eq!(candidates(&router.decide(&at("/"), &()).unwrap()), ["d", "b", "a", "c"]);
    // A comparison inside of a list tells its own reason.
    let inner = Group::new(latency(), [target("a").into(), target("d").into()]);
    let group = Group::new(Strategy::Failover, [inner.into(), target("c").into()]);
    let router = world.router([Route::new("all", Match::default(), group)]);
    let plan = router.decide(&at("/"), &()).unwrap();
    assert_eq!(candidates(&plan), ["d", "a", "c"]);
    let reasons: Vec<_> = plan.candidates.iter().map(|one| one.reason).collect();
    let best = "lowest p95 to the first token of its pool";
    assert_eq!(reasons, [best, "next of its pool", "failover"]);
    assert!(plan.confidence > PerMille::ZERO);
}

#[test]
fn nested_weights_converge_within_a_percent_over_100_000() {
    let place = |name: &str, weight| Member::new(target(name)).weighing(weight);
    let deep = Group::new(Strategy::Weighted, [place("c", 1), place("d", 9)]);
    let inner = Group::new(Strategy::Weighted, [place("b", 3), Member::new(deep).weighing(2)]);
    let outer = Group::new(Strategy::Weighted, [place("a", 70), Member::new(inner).weighing(30)]);
    let router = World::default().router([Route::new("all", Match::default(), outer)]);
    let counts = shares(&router, &at("/"), 100_000);
    for (name, due) in [("a", 0.7), ("b", 0.18), ("c", 0.012), ("d", 0.108)] {
        let share = f64::from(counts[name]) / 100_000.0;
        assert!((share - due).abs() < 0.01, "{name}: {share} for {due}");
        assert!((share - due).abs() < 0.0001, "turns are exact: {name}: {share} for {due}");
    }
}

#[test]
fn after_a_failure_the_rest_is_in_the_order_of_now() {
    let world = World::default();
    world.set("a", takes(100)).set("b", takes(200)).set("c", takes(300));
    let router = world.router([all(latency(), &["a", "b", "c", "d"])]);
    let out = |target: &Target| match &**target.provider() {
        "d" => Availability::BreakerOpen,
        _ => Availability::Ready,
    };
    let plan = router.decide(&at("/"), &out).unwrap();
    assert_eq!(candidates(&plan), ["a", "b", "c"]);
    world.set("b", Figures { success: 0.1, ..takes(200) }).set("d", takes(900));
    let rest = router.rescore(&plan, &[target("a")], &at("/"), &()).unwrap();
    assert_eq!(candidates(&rest), ["c", "d", "b"]);
    let rest = router.rescore(&plan, &[target("a"), target("c")], &at("/"), &out).unwrap();
    assert_eq!(candidates(&rest), ["b"]);
    assert_eq!(rest.rejected.len(), 1);
    let every = ["a", "b", "c", "d"].map(target);
    assert_eq!(router.rescore(&plan, &every, &at("/"), &()), None);
}

#[test]
fn after_a_failure_turns_stay_as_they_were() {
    let router = World::default().router([all(Strategy::RoundRobin, &["a", "b", "c", "d"])]);
    router.decide(&at("/"), &()).unwrap();
    let without_a = |target: &Target| match &**target.provider() {
        "a" => Availability::LimitFull,
        _ => Availability::Ready,
    };
    let plan = router.decide(&at("/"), &without_a).unwrap();
    assert_eq!(candidates(&plan), ["c", "d", "b"]);
    let rest = router.rescore(&plan, &[target("c")], &at("/"), &()).unwrap();
    assert_eq!(candidates(&rest), ["d", "b", "a"], "a is back, at the end");
    let next = router.decide(&at("/"), &()).unwrap();
    assert_eq!(candidates(&next), ["c", "d", "a", "b"], "no turn was taken");
}

/// Else it would seem dear beside those whose short replies were seen, and stay unseen for good.
#[test]
fn who_has_not_been_seen_is_taken_to_write_as_much_as_the_others() {
    let world = World::default();
    world.is("seen", costs(300_000, 300_000)).is("unseen", costs(100_000, 100_000));
    world.set("seen", Figures { output_tokens: Some(5.0), ..takes(100) });
    let router = world.router([all(Strategy::Cost, &["seen", "unseen"])]);
    let plan = router.decide(&query(&ask("m")), &()).unwrap();
    assert_eq!(candidates(&plan), ["unseen/m", "seen/m"]);
}
