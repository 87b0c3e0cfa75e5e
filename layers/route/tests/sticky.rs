//! The same to the same, and the nearest.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::{collections::HashMap, sync::Arc};

use common::{World, all, at, candidates, target, user};
use http::{HeaderMap, HeaderName};
use tokio::time::Instant;
use tollway_core::{Candidate, Plan, Target};
use tollway_route::{
    Availability, By, Group, Lazy, Match, Member, Near, Prefer, Query, Route, Router, Rule,
    Strategy, Then, Traits, When,
};

const BY_USER: Strategy = Strategy::Affinity { by: By::User };

fn first_for(router: &Router, name: &str) -> String {
    let caller = user(name);
    candidates(&router.decide(&at("/").with_caller(&caller), &()).unwrap()).swap_remove(0)
}

/// Where each of `count` users goes.
fn homes(router: &Router, count: u32) -> Vec<String> {
    (0..count).map(|number| first_for(router, &format!("user-{number}"))).collect()
}

#[test]
fn affinity_shares_users_out_by_weight_within_a_percent() {
    let mut route = all(BY_USER, &["a", "b", "c", "spare"]);
    for (member, weight) in route.group.members.iter_mut().zip([5, 3, 2, 0]) {
        member.weight = weight;
    }
    let router = World::default().router([route]);
    let homes = homes(&router, 100_000);
    for (name, due) in [("a", 0.5), ("b", 0.3), ("c", 0.2), ("spare", 0.0)] {
        let count = homes.iter().filter(|home| *home == name).count();
        let share = count as f64 / 100_000.0;
        assert!((share - due).abs() < 0.01, "{name}: {share} for {due}");
    }
}

#[test]
fn a_member_that_goes_moves_only_its_own_users() {
    let router = World::default().router([all(BY_USER, &["a", "b", "c", "d"])]);
    let smaller = World::default().router([all(BY_USER, &["a", "b", "d"])]);
    let without_c = |target: &Target| match &**target.provider() {
        "c" => Availability::BreakerOpen,
        _ => Availability::Ready,
    };
    let mut moved_to: HashMap<String, u32> = HashMap::new();
    for number in 0..2_000 {
        let caller = user(&format!("user-{number}"));
        let query = at("/").with_caller(&caller);
        let before = candidates(&router.decide(&query, &()).unwrap());
        let out = candidates(&router.decide(&query, &without_c).unwrap());
        let gone = candidates(&smaller.decide(&query, &()).unwrap());
        let expected: Vec<_> = before.iter().filter(|name| *name != "c").cloned().collect();
        assert_eq!((&out, &gone), (&expected, &expected));
        if before[0] == "c" {
            *moved_to.entry(gone[0].clone()).or_default() += 1;
        }
    }
    assert!(moved_to.len() == 3 && moved_to.values().all(|count| *count > 100), "{moved_to:?}");
}

#[test]
fn a_key_that_joins_a_pool_moves_nobody_to_another_provider() {
    let key = |name: &str| Target::new("a", name, None).into();
    let keys = |names: &[&str]| Group::new(Strategy::Weighted, names.iter().map(|name| key(name)));
    let router = |names: &[&str]| {
        let members = [Member::new(keys(names)), target("b").into(), target("c").into()];
        World::default().router([Route::new("all", Match::default(), Group::new(BY_USER, members))])
    };
    assert_eq!(homes(&router(&["k1"]), 500), homes(&router(&["k1", "k2"]), 500));
}

#[test]
fn what_makes_requests_the_same_is_chosen() {
    struct Prompt(u64);
    impl Lazy for Prompt {
        fn prefix(&self) -> Option<u64> {
            Some(self.0)
        }
    }
    let names = ["a", "b", "c", "d", "e"];
    let session = HeaderName::from_static("x-session");
    let by_header = Strategy::Affinity { by: By::Header(session.clone()) };
    let by_header = World::default().router([all(by_header, &names)]);
    let by_prompt = World::default().router([all(Strategy::Affinity { by: By::Prompt }, &names)]);
    let mut seen = (HashMap::new(), HashMap::new());
    for number in 0..50_u64 {
        let headers =
            HeaderMap::from_iter([(session.clone(), number.to_string().parse().unwrap())]);
        let prompt = Prompt(number);
        let of = |router: &Router, query: Query<'_>| {
            candidates(&router.decide(&query, &()).unwrap()).swap_remove(0)
        };
        let in_session = || of(&by_header, Query::new("/", &headers, Instant::now()));
        let of_prompt = || of(&by_prompt, at("/").with_lazy(&prompt));
        assert_eq!((in_session(), of_prompt()), (in_session(), of_prompt()));
        *seen.0.entry(in_session()).or_insert(0) += 1;
        *seen.1.entry(of_prompt()).or_insert(0) += 1;
    }
    assert_eq!((seen.0.len(), seen.1.len()), (5, 5));
    // Requests that don't say are spread, and not all sent to one.
    let spread: HashMap<_, _> = common::shares(&by_header, &at("/"), 1_000);
    assert!(spread.len() == 5 && spread.values().all(|count| *count > 100), "{spread:?}");
    // By user: else by key, else by address.
    let by_user = World::default().router([all(BY_USER, &names)]);
    let mut caller = tollway_core::Caller::default();
    for step in 0..3 {
        match step {
            0 => caller.ip = Some([10, 0, 0, 7].into()),
            1 => caller.key = Some("k".into()),
            _ => caller.user = Some("ada".into()),
        }
        let query = at("/").with_caller(&caller);
        let first = candidates(&by_user.decide(&query, &()).unwrap());
        assert!((0..10).all(|_| candidates(&by_user.decide(&query, &()).unwrap()) == first));
    }
}

fn split(name: &str, weights: [u32; 2]) -> Group {
    let arm = |name: &str, provider: &str| {
        Group::new(Strategy::Failover, [target(provider).into()]).named(name)
    };
    let members = [
        Member::new(arm("control", "a")).weighing(weights[0]),
        Member::new(arm("treatment", "b")).weighing(weights[1]),
    ];
    Group::new(Strategy::Split { by: By::User }, members).named(name)
}

fn arm(router: &Router, name: &str) -> Option<Arc<str>> {
    let caller = user(name);
    router.decide(&at("/").with_caller(&caller), &()).unwrap().candidates[0].arm.clone()
}

#[test]
fn a_split_keeps_each_user_in_one_arm_by_weight_and_tells_it() {
    let route = |name| Route::new("all", Match::default(), split(name, [90, 10]));
    let world = World::default();
    let (one, again, other) =
        (world.router([route("x")]), world.router([route("x")]), world.router([route("y")]));
    let mut treated = [0_u32; 2];
    let mut both = 0;
    for number in 0..100_000 {
        let name = format!("user-{number}");
        let arms = [arm(&one, &name).unwrap(), arm(&other, &name).unwrap()];
        if number < 1_000 {
            assert_eq!(arm(&one, &name), arm(&again, &name));
            let provider = if &*arms[0] == "control" { "a" } else { "b" };
            assert_eq!(first_for(&one, &name), provider);
        }
        let is = arms.map(|arm| &*arm == "treatment");
        treated[0] += u32::from(is[0]);
        treated[1] += u32::from(is[1]);
        both += u32::from(is[0] && is[1]);
    }
    assert!(treated.iter().all(|count| (9_000..11_000).contains(count)), "{treated:?}");
    assert!((800..1_200).contains(&both), "independent of each other: {both}");
}

#[test]
fn every_candidate_says_its_arm_whoever_named_it() {
    let then = Then { prefer: Prefer::Group(split("test", [1, 1])), ..Then::default() };
    let rule = Rule { name: "it".into(), when: When::default(), then };
    let route = all(Strategy::Failover, &["c", "a"]).with_rules([rule]);
    let router = World::default().router([route]);
    let (caller, b) = (user("ada"), target("b"));
    let query = at("/").with_caller(&caller);
    let plan = router.decide(&query, &()).unwrap();
    let arms = |plan: &Plan| -> Vec<(String, Option<String>)> {
        let arm = |one: &Candidate| one.arm.as_ref().map(ToString::to_string);
        plan.candidates.iter().map(|one| (one.target.to_string(), arm(one))).collect()
    };
    let mut told = arms(&plan);
    told.sort();
    let by = |target: &str, arm: Option<&str>| (target.to_owned(), arm.map(str::to_owned));
    let expected = [by("a", Some("control")), by("b", Some("treatment")), by("c", None)];
    assert_eq!(told, expected);
    let rest = router.rescore(&plan, &[b], &query, &()).unwrap();
    assert_eq!(
        arms(&rest),
        [by("a", Some("control")), by("c", None)],
        "its own, not the failed one's"
    );
}

#[test]
fn an_arm_is_told_where_the_split_decides_who_is_first() {
    let outer = |inner_first: bool| {
        let (inner, place) = (Member::new(split("x", [1, 1])), Member::from(target("c")));
        let members = if inner_first { [inner, place] } else { [place, inner] };
        let group = Group::new(Strategy::Failover, members);
        World::default().router([Route::new("all", Match::default(), group)])
    };
    assert!(arm(&outer(true), "ada").is_some());
    assert_eq!(arm(&outer(false), "ada"), None);
}

#[test]
fn the_nearest_region_comes_first() {
    let world = World::default();
    let region = |name: &str| Traits { region: Some(name.into()), ..Traits::default() };
    world.is("a", region("us-east")).is("b", region("eu-west")).is("c", region("eu-north"));
    let mut route = all(Strategy::Nearest, &["nowhere", "a", "b", "c", "d"]);
    route.group.members[4].region = Some("eu-west".into());
    let router = world.router([route]);
    let from = |region: &str| {
        let name = HeaderName::from_static(tollway_route::REGION);
        let headers = HeaderMap::from_iter([(name, region.parse().unwrap())]);
        let query = Query::new("/", &headers, Instant::now());
        candidates(&router.decide(&query, &()).unwrap()).join(" ")
    };
    assert_eq!(from("eu-west"), "b d c nowhere a");
    assert_eq!(from("EU-North"), "c b d nowhere a");
    assert_eq!(from("us"), "a nowhere b c d");
    assert_eq!(from("ap-south"), "nowhere a b c d");
    assert_eq!(candidates(&router.decide(&at("/"), &()).unwrap()).join(" "), "nowhere a b c d");

    struct Known;
    impl Lazy for Known {
        fn region(&self) -> Option<&str> {
            Some("us-east")
        }
    }
    let plan = router.decide(&at("/").with_lazy(&Known), &()).unwrap();
    assert_eq!(candidates(&plan)[0], "a");
    assert_eq!(plan.candidates[0].reason, "nearest");
}

#[test]
fn the_route_says_where_callers_are_and_what_is_near_to_them() {
    let world = World::default();
    let region = |name: &str| Traits { region: Some(name.into()), ..Traits::default() };
    for (name, place) in [("a", "us"), ("b", "asia"), ("c", "eu"), ("d", "eu-west")] {
        world.is(name, region(place));
    }
    let near = Near {
        header: Some(HeaderName::from_static("x-place")),
        tag: Some("region".into()),
        default: Some("us".into()),
        order: vec![("eu".into(), vec!["asia".into(), "us".into()])],
    };
    let route = all(Strategy::Nearest, &["nowhere", "a", "b", "c", "d"]).near(near);
    let router = world.router([route]);
    let from = |header: Option<&str>, tag: Option<&str>| {
        let mut headers = HeaderMap::new();
        // Another one is named, so that this one is nobody's.
        headers.insert(tollway_route::REGION, "asia".parse().unwrap());
        headers.extend(
            header.map(|value| (HeaderName::from_static("x-place"), value.parse().unwrap())),
        );
        let mut caller = user("ada");
        caller.tags = tag.into_iter().map(|tag| ("region", tag)).collect();
        let query = Query::new("/", &headers, Instant::now()).with_caller(&caller);
        candidates(&router.decide(&query, &()).unwrap()).join(" ")
    };
    assert_eq!(
        from(Some("eu"), Some("asia")),
        "c b a d nowhere",
        "same, as listed, its first word"
    );
    assert_eq!(from(None, Some("asia")), "b nowhere a c d");
    assert_eq!(from(None, None), "a nowhere b c d");
    assert_eq!(from(Some("mars"), None), "nowhere a b c d", "as written");
}
