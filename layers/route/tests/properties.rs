//! What holds for all routes and requests.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::collections::HashMap;

use common::{ask, at, by, candidates, query, rejected, weighted};
use http::HeaderName;
use proptest::{prelude::*, strategy::Strategy as Generate};
use tokio::time::Instant;
use tollway_core::{Caller, Tags, Target};
use tollway_route::{
    Availability, By, CallerMatch, Glob, HeaderMatch, Match, Of, Query, Router, Strategy, TagMatch,
    shadows,
};

/// How often each target was the first choice in `calls` calls.
fn first_choices(router: &Router, calls: u32) -> HashMap<String, u32> {
    let no_facts = at("/");
    let mut counts = HashMap::new();
    for _ in 0..calls {
        let plan = router.decide(&no_facts, &()).unwrap();
        *counts.entry(plan.candidates[0].target.to_string()).or_default() += 1;
    }
    counts
}

#[test]
fn weights_converge_within_a_percent_over_100_000() {
    let weights = [1, 997, 60, 40, 12_345];
    let total: u32 = weights.iter().sum();
    let counts = first_choices(&Router::new([weighted(&weights)]).unwrap(), 100_000);
    for (at, weight) in weights.iter().enumerate() {
        let share = f64::from(counts[&format!("t{at}")]) / 100_000.0;
        let due = f64::from(*weight) / f64::from(total);
        assert!((share - due).abs() < 0.01, "t{at}: {share} for {due}");
        assert!((share - due).abs() * 100_000.0 <= 2.0, "t{at}: never two calls off");
    }
}

#[test]
fn weights_are_spread_evenly_and_hold_among_those_that_are_left() {
    let router = Router::new([weighted(&[3, 1, 0])]).unwrap();
    let no_facts = at("/");
    let order = |_| candidates(&router.decide(&no_facts, &()).unwrap()).concat();
    let orders: Vec<_> = (0..4).map(order).collect();
    assert_eq!(orders, ["t0t1t2", "t0t1t2", "t1t0t2", "t0t1t2"]);
    // While the first is out, the second takes all; back again, the first is owed nothing.
    let without = |target: &Target| match &**target.provider() {
        "t0" => Availability::BreakerOpen,
        _ => Availability::Ready,
    };
    for _ in 0..100 {
        assert_eq!(candidates(&router.decide(&no_facts, &without).unwrap()), ["t1", "t2"]);
    }
    assert_eq!(first_choices(&router, 4), HashMap::from([("t0".into(), 3), ("t1".into(), 1)]));
    // Only the fallback is left.
    let only_last = |target: &Target| match &**target.provider() {
        "t2" => Availability::Ready,
        _ => Availability::LimitFull,
    };
    assert_eq!(candidates(&router.decide(&no_facts, &only_last).unwrap()), ["t2"]);
}

/// Says the same as the real matcher, in the plainest way.
fn model_matches(pattern: &[u8], text: &[u8]) -> bool {
    match pattern {
        [] => text.is_empty(),
        [b'*', rest @ ..] => (0..=text.len()).any(|at| model_matches(rest, &text[at..])),
        [byte, rest @ ..] => text.first() == Some(byte) && model_matches(rest, &text[1..]),
    }
}

fn strategy() -> impl Generate<Value = Strategy> {
    prop::sample::select(vec![
        Strategy::Failover,
        Strategy::RoundRobin,
        Strategy::Weighted,
        Strategy::LeastBusy,
        Strategy::PowerOfTwo,
        Strategy::Latency { of: Of::Whole },
        Strategy::Cost,
        Strategy::Score { latency: 60, cost: 40 },
        Strategy::Affinity { by: By::User },
        Strategy::Nearest,
    ])
}

fn availability() -> impl Generate<Value = Availability> {
    prop_oneof![
        3 => Just(Availability::Ready),
        1 => Just(Availability::BreakerOpen),
        1 => Just(Availability::LimitFull),
    ]
}

fn glob() -> impl Generate<Value = Glob> {
    "[ab*]{1,4}".prop_map(|text| text.parse().unwrap())
}

fn some_of<T: Clone + std::fmt::Debug>(
    item: impl Generate<Value = T>,
) -> impl Generate<Value = Vec<T>> {
    prop_oneof![2 => Just(Vec::new()), 1 => prop::collection::vec(item, 1..3)]
}

fn conditions() -> impl Generate<Value = Match> {
    let value = || prop::option::of(glob());
    let header = (prop::sample::select(vec!["a", "b"]), value())
        .prop_map(|(name, value)| HeaderMatch { name: HeaderName::from_static(name), value });
    let caller = prop_oneof![
        glob().prop_map(CallerMatch::User),
        glob().prop_map(CallerMatch::Key),
        (29_u8..=32).prop_map(|bits| CallerMatch::Ip(format!("10.0.0.0/{bits}").parse().unwrap())),
    ];
    let tag = (prop::sample::select(vec!["a", "b"]), value())
        .prop_map(|(name, value)| TagMatch { name: name.into(), value });
    (some_of(glob()), some_of(glob()), some_of(header), some_of(caller), some_of(tag)).prop_map(
        |(models, paths, headers, callers, tags)| Match { models, paths, headers, callers, tags },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn weights_are_exact_over_every_round(weights in prop::collection::vec(0_u32..8, 1..6)) {
        prop_assume!(weights.iter().any(|weight| *weight > 0));
        let router = Router::new([weighted(&weights)]).unwrap();
        for _ in 0..3 {
            let counts = first_choices(&router, weights.iter().sum());
            for (at, weight) in weights.iter().enumerate() {
                prop_assert_eq!(counts.get(&format!("t{at}")).copied().unwrap_or(0), *weight);
            }
        }
    }

    #[test]
    fn every_target_appears_once_and_the_same_questions_get_the_same_answers(
        strategy in strategy(),
        weights in prop::collection::vec(1_u32..50, 1..8),
        rounds in prop::collection::vec(prop::collection::vec(availability(), 8), 1..12),
    ) {
        let route = by(strategy, weighted(&weights));
        let router = Router::new([route.clone()]).unwrap();
        let twin = Router::new([route]).unwrap();
        let model = ask("m");
        for states in rounds {
            let state = |target: &Target| states[target.provider()[1..].parse::<usize>().unwrap()];
            let plan = router.decide(&query(&model), &state).unwrap();
            prop_assert_eq!(&plan, &twin.decide(&query(&model), &state).unwrap());
            let told = rejected(&plan);
            let states = &states[..weights.len()];
            let all_out = states.iter().all(|state| *state != Availability::Ready);
            let mut all = candidates(&plan);
            if !all_out {
                all.extend(told.iter().map(|(target, _)| target.clone()));
            }
            all.sort();
            let expected: Vec<_> = (0..weights.len()).map(|at| format!("t{at}/m")).collect();
            prop_assert_eq!(all, expected);
            let expected: Vec<_> = (0..weights.len())
                .filter(|at| states[*at] != Availability::Ready)
                .map(|at| (format!("t{at}/m"), states[at].reason().unwrap()))
                .collect();
            prop_assert_eq!(told, expected);
        }
    }

    #[test]
    fn the_matcher_agrees_with_the_model(pattern in "[ab*]{1,8}", text in "[ab]{0,12}") {
        let glob: Glob = pattern.parse().unwrap();
        prop_assert_eq!(glob.matches(&text), model_matches(pattern.as_bytes(), text.as_bytes()));
    }

    #[test]
    fn any_bytes_can_be_matched(pattern in ".{1,16}", text in prop::collection::vec(any::<u8>(), 0..64)) {
        let glob: Glob = pattern.parse().unwrap();
        prop_assert_eq!(glob.matches(&text), model_matches(pattern.as_bytes(), &text));
    }

    /// Never calls a route unreachable that some request can reach.
    #[test]
    fn a_shadowed_route_takes_nothing_that_the_earlier_does_not(
        earlier in conditions(),
        later in conditions(),
        model in prop::option::of("[ab]{0,4}"),
        path in "[ab]{0,4}",
        headers in prop::collection::vec((prop::sample::select(vec!["a", "b"]), "[ab]{0,3}"), 0..3),
        who in ("[ab]{0,3}", "[ab]{0,3}", 0_u8..16),
        tags in prop::collection::vec((prop::sample::select(vec!["a", "b"]), "[ab]{0,3}"), 0..3),
    ) {
        let headers = headers.iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect();
        let mut caller = Caller::default();
        caller.user = Some(who.0.into());
        caller.key = Some(who.1.into());
        caller.ip = Some([10, 0, 0, who.2].into());
        caller.tags = Tags::from_iter(tags);
        let facts = Query::new(&path, &headers, Instant::now()).with_caller(&caller);
        if shadows(&earlier, &later) && later.holds(&facts, model.as_deref()) {
            prop_assert!(earlier.holds(&facts, model.as_deref()));
        }
    }

    #[test]
    fn a_pattern_that_covers_another_matches_all_that_it_does(
        wide in "[ab*]{1,5}",
        narrow in "[ab*]{1,5}",
        runs in prop::collection::vec("[ab]{0,3}", 5),
    ) {
        let (wide_match, narrow_match) =
            (Match::model(wide.parse().unwrap()), Match::model(narrow.parse().unwrap()));
        // A text that surely fits the narrow pattern.
        let mut runs = runs.iter();
        let text: String = narrow.chars()
            .map(|c| if c == '*' { runs.next().unwrap().clone() } else { c.to_string() })
            .collect();
        let facts = at("/");
        prop_assert!(narrow_match.holds(&facts, Some(&text)));
        if shadows(&wide_match, &narrow_match) {
            prop_assert!(wide_match.holds(&facts, Some(&text)), "{wide} {narrow} {text}");
        }
    }

    #[test]
    fn every_route_shadows_itself_and_the_default_shadows_all(when in conditions()) {
        prop_assert!(shadows(&when, &when));
        prop_assert!(shadows(&Match::default(), &when));
    }
}

#[test]
fn shadows_by_hand() {
    let model = |text: &str| Match::model(text.parse().unwrap());
    for (earlier, later, expected) in [
        ("*", "gpt-*", true),
        ("gpt-*", "gpt-4o", true),
        ("gpt-*", "gpt-4*", true),
        ("*4*", "gpt-4o-*", true),
        ("gpt-4*", "gpt-*", false),
        ("a", "*", false),
        ("*-mini", "gpt-*", false),
    ] {
        assert_eq!(shadows(&model(earlier), &model(later)), expected, "{earlier} {later}");
    }
    let narrower = Match { paths: vec!["/v1/*".parse().unwrap()], ..model("gpt-4o") };
    assert!(shadows(&model("gpt-*"), &narrower));
    assert!(!shadows(&narrower, &model("gpt-4o")), "other paths get through");
}
