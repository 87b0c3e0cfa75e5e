//! Which route takes a request, and what its plan says.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;

use std::{convert::Infallible, sync::Arc};

use common::{ask, at, by, candidates, query, rejected, route, target};
use http::{HeaderMap, HeaderName, Request, Response};
use tokio::time::Instant;
use tollway_core::{Ask, Caller, Needs, Operation, Plan, Tags, Target, find_error};
use tollway_route::{
    Availability, CallerMatch, Event, Glob, HeaderMatch, Match, NoRoute, NoneAble, Query, Refusal,
    Route, RouteLayer, Router, Strategy, TagMatch, Traits,
};
use tollway_testkit::{Probe, Recorder};
use tower::{Layer, ServiceExt};

fn glob(text: &str) -> Glob {
    text.parse().unwrap()
}

fn by_model(text: &str) -> Match {
    Match::model(glob(text))
}

fn router(routes: impl IntoIterator<Item = Route>) -> Router {
    Router::new(routes).unwrap()
}

/// The route's name that takes `query`, or nothing.
fn taken(router: &Router, query: &Query<'_>) -> Option<Arc<str>> {
    router.decide(query, &()).ok().map(|plan| plan.route)
}

#[test]
fn the_first_route_that_matches_the_model_decides() {
    let both = Match { models: vec![glob("o3"), glob("o4-*")], ..Match::default() };
    let router = router([
        route("exact", by_model("gpt-4o"), &["a"]),
        route("glob", by_model("gpt-*"), &["a"]),
        route("either", both, &["a"]),
        route("middle", by_model("*/gpt-*-mini"), &["a"]),
    ]);
    for (model, expected) in [
        ("gpt-4o", Some("exact")),
        ("gpt-4o-mini", Some("glob")),
        ("o3", Some("either")),
        ("o4-mini", Some("either")),
        ("openai/gpt-5-mini", Some("middle")),
        ("GPT-4o", None),
        ("o3-mini", None),
        ("", None),
    ] {
        assert_eq!(taken(&router, &query(&ask(model))).as_deref(), expected, "{model}");
    }
    let no_model = Ask::new(Operation::Files);
    assert_eq!(taken(&router, &query(&no_model)), None);
    assert_eq!(taken(&router, &at("/v1/files")), None);
}

#[test]
fn path_header_caller_and_tag_decide_too() {
    let path = Match { paths: vec![glob("/v1/audio/*"), glob("/v1/files")], ..Match::default() };
    let header = |value: Option<&str>| HeaderMatch {
        name: HeaderName::from_static("x-tier"),
        value: value.map(glob),
    };
    let callers = vec![
        CallerMatch::User(glob("ada*")),
        CallerMatch::Key(glob("k1")),
        CallerMatch::Ip("10.0.0.0/8".parse().unwrap()),
    ];
    let tag = |value: Option<&str>| TagMatch { name: "team".into(), value: value.map(glob) };
    let router = router([
        route("path", path, &["a"]),
        route("gold", Match { headers: vec![header(Some("gold*"))], ..Match::default() }, &["a"]),
        route("tier", Match { headers: vec![header(None)], ..Match::default() }, &["a"]),
        route("caller", Match { callers, ..Match::default() }, &["a"]),
        route("search", Match { tags: vec![tag(Some("search"))], ..Match::default() }, &["a"]),
        route("team", Match { tags: vec![tag(None)], ..Match::default() }, &["a"]),
    ]);
    let on = |path| taken(&router, &at(path));
    assert_eq!(on("/v1/audio/speech").as_deref(), Some("path"));
    assert_eq!(on("/v1/files").as_deref(), Some("path"));
    assert_eq!(on("/v1/files/1"), None);

    let with = |values: &[&str]| {
        let name = || HeaderName::from_static("x-tier");
        let headers: HeaderMap =
            values.iter().map(|value| (name(), value.parse().unwrap())).collect();
        taken(&router, &Query::new("/", &headers, Instant::now()))
    };
    assert_eq!(with(&["golden"]).as_deref(), Some("gold"));
    assert_eq!(with(&["silver", "gold"]).as_deref(), Some("gold"), "any of its values");
    assert_eq!(with(&["silver"]).as_deref(), Some("tier"));
    assert_eq!(with(&[]), None);

    let caller = |set: fn(&mut Caller)| {
        let mut caller = Caller::default();
        set(&mut caller);
        taken(&router, &at("/").with_caller(&caller))
    };
    assert_eq!(caller(|c| c.user = Some("ada-2".into())).as_deref(), Some("caller"));
    assert_eq!(caller(|c| c.key = Some("k1".into())).as_deref(), Some("caller"));
    assert_eq!(caller(|c| c.ip = Some([10, 1, 1, 1].into())).as_deref(), Some("caller"));
    assert_eq!(caller(|c| c.ip = Some([11, 1, 1, 1].into())), None);
    assert_eq!(caller(|c| c.key = Some("ada".into())), None, "a key is no user");
    assert_eq!(
        caller(|c| c.tags = Tags::from_iter([("team", "search")])).as_deref(),
        Some("search")
    );
    assert_eq!(caller(|c| c.tags = Tags::from_iter([("team", "ads")])).as_deref(), Some("team"));
    assert_eq!(caller(|c| c.tags = Tags::from_iter([("org", "search")])), None);
}

#[test]
fn all_conditions_of_a_route_must_hold() {
    let when = Match {
        models: vec![glob("gpt-*")],
        paths: vec![glob("/v1/chat/*")],
        callers: vec![CallerMatch::User(glob("ada"))],
        ..Match::default()
    };
    let router = router([route("all", when, &["a"])]);
    let mut ada = Caller::default();
    ada.user = Some("ada".into());
    let gpt = ask("gpt-4o");
    let full = query(&gpt).with_caller(&ada);
    assert!(taken(&router, &full).is_some());
    assert!(taken(&router, &query(&gpt)).is_none(), "no caller");
    assert!(taken(&router, &full.with_ask(&ask("o3"))).is_none(), "another model");
    let elsewhere = at("/v1/files").with_ask(&gpt).with_caller(&ada);
    assert!(taken(&router, &elsewhere).is_none(), "another path");
}

#[test]
fn an_alias_counts_before_routes_are_matched() {
    let routes = || {
        [
            route("gpt", by_model("gpt-*"), &["openai", "groq/llama"]),
            route("fast", by_model("fast"), &["x"]),
        ]
    };
    let router = Router::with_aliases(routes(), [("fast", "gpt-4o-mini")]).unwrap();
    let plan = router.decide(&query(&ask("fast")), &()).unwrap();
    assert_eq!((&*plan.route, plan.strategy), ("gpt", "failover"));
    assert_eq!(candidates(&plan), ["openai/gpt-4o-mini", "groq/llama"]);
    assert_eq!(plan.candidates[0].reason, "first that is ready");
    assert_eq!(plan.candidates[1].reason, "failover");
    for aliases in [[("a", "b"), ("b", "c")], [("a", "a"), ("b", "c")], [("a", "b"), ("a", "c")]] {
        assert!(Router::with_aliases(routes(), aliases).is_err(), "{aliases:?}");
    }
}

#[test]
fn targets_that_are_out_are_passed_over_and_told() {
    let router = router([route("all", Match::default(), &["a", "b", "c", "d"])]);
    let state = |target: &Target| match &**target.provider() {
        "a" => Availability::BreakerOpen,
        "c" => Availability::LimitFull,
        "d" => Availability::KeyBenched,
        _ => Availability::Ready,
    };
    let gpt = ask("gpt-4o");
    let plan = router.decide(&query(&gpt), &state).unwrap();
    assert_eq!(candidates(&plan), ["b/gpt-4o"]);
    let expected =
        [("a/gpt-4o", "breaker open"), ("c/gpt-4o", "limit full"), ("d/gpt-4o", "key benched")];
    assert_eq!(rejected(&plan), expected.map(|(target, why)| (target.to_owned(), why)));
    let again = router.decide(&query(&gpt), &()).unwrap();
    assert_eq!(candidates(&again), ["a/gpt-4o", "b/gpt-4o", "c/gpt-4o", "d/gpt-4o"]);
    assert!(again.rejected.is_empty(), "what was out a moment ago is not remembered");
}

#[test]
fn when_all_are_out_all_stay_as_the_last_resort() {
    let router = router([route("all", Match::default(), &["a/m", "b/m"])]);
    let out = |_: &Target| Availability::Out("on holiday");
    let plan = router.decide(&at("/"), &out).unwrap();
    assert_eq!(candidates(&plan), ["a/m", "b/m"]);
    assert!(plan.candidates.iter().all(|c| c.reason == "last resort: every target is out"));
    let told = ["a/m", "b/m"].map(|target| (target.to_owned(), "on holiday"));
    assert_eq!(rejected(&plan), told, "why, of each");
}

#[test]
fn availability_is_asked_for_the_model_that_will_be_sent() {
    let router = Router::with_aliases(
        [route("all", Match::default(), &["a", "b/own"])],
        [("fast", "gpt-4o-mini")],
    )
    .unwrap();
    let seen = Recorder::default();
    let state = |target: &Target| {
        seen.push(target.to_string());
        Availability::Ready
    };
    router.decide(&query(&ask("fast")), &state).unwrap();
    assert_eq!(seen.take(), ["a/gpt-4o-mini", "b/own"]);
    router.decide(&at("/v1/files"), &state).unwrap();
    assert_eq!(seen.take(), ["a", "b/own"], "no model is asked");
}

#[test]
fn round_robin_gives_each_its_turn_among_those_that_are_ready() {
    let turns = by(Strategy::RoundRobin, route("rr", Match::default(), &["a", "b", "c"]));
    let router = router([turns]);
    let no_facts = at("/");
    let order = |_| candidates(&router.decide(&no_facts, &()).unwrap()).concat();
    assert_eq!((0..4).map(order).collect::<Vec<_>>(), ["abc", "bca", "cab", "abc"]);
    let without_b = |target: &Target| match &**target.provider() {
        "b" => Availability::BreakerOpen,
        _ => Availability::Ready,
    };
    let order = |_| candidates(&router.decide(&no_facts, &without_b).unwrap()).concat();
    let orders: Vec<_> = (0..4).map(order).collect();
    assert_eq!(orders.iter().filter(|order| *order == "ac").count(), 2, "{orders:?}");
    assert_eq!(orders.iter().filter(|order| *order == "ca").count(), 2, "{orders:?}");
}

#[test]
fn decisions_that_never_change_are_made_once() {
    let router = router([
        route("fixed", by_model("fixed"), &["a/m", "b/m"]),
        route("asked", Match::default(), &["a", "b"]),
    ]);
    for model in ["fixed", "gpt-4o"] {
        let (one, other) = (ask(model), ask(model));
        let one = router.decide(&query(&one), &()).unwrap();
        let other = router.decide(&query(&other), &()).unwrap();
        assert!(Arc::ptr_eq(&one.candidates, &other.candidates), "{model}");
    }
}

#[test]
fn model_names_that_clients_make_up_stay_bounded_and_right() {
    let router = router([route("asked", Match::default(), &["a"])]);
    for number in 0..1_000 {
        let name = format!("m{number}");
        let plan = router.decide(&query(&ask(&name)), &()).unwrap();
        assert_eq!(candidates(&plan), [format!("a/{name}")]);
    }
    // Starting over has not lost the ability to keep a plan; a giant name is never kept.
    let keeps = |name: &str| {
        let plan = || router.decide(&query(&ask(name)), &()).unwrap();
        Arc::ptr_eq(&plan().candidates, &plan().candidates)
    };
    assert!(keeps("m999") && keeps("gpt-4o"));
    assert!(!keeps(&"x".repeat(129)));
}

#[test]
fn no_route_names_the_nearest_models() {
    let router = Router::with_aliases(
        [
            route("gpt", by_model("gpt-4o"), &["openai"]),
            route("claude", by_model("claude-*"), &["anthropic/claude-haiku-4-5"]),
        ],
        [("fast", "gpt-4o")],
    )
    .unwrap();
    let refused = |query: &Query<'_>| match router.decide(query, &()).unwrap_err() {
        Refusal::NoRoute(refusal) => refusal,
        other => panic!("{other}"),
    };
    let refuse = |model: &str| refused(&query(&ask(model)));
    assert_eq!(refuse("gpt-4").nearest(), ["gpt-4o"]);
    assert_eq!(refuse("gpt-4").model(), Some("gpt-4"));
    let text = "The model `fsat` does not exist here or is not open to you. Did you mean `fast`?";
    assert_eq!(refuse("fsat").to_string(), text);
    assert_eq!(refuse("Claude-haiku-4.5").nearest(), ["claude-haiku-4-5"]);
    assert_eq!(refuse("mistral-large").nearest(), [""; 0]);
    let giant = refuse(&"é".repeat(1_000_000));
    assert_eq!(giant.model().unwrap().chars().count(), 64);
    let none: NoRoute = refused(&at("/"));
    assert_eq!(none.to_string(), "No route takes this request, which names no model.");
    let known: Vec<_> = router.known_models().iter().map(|name| &**name).collect();
    assert_eq!(known, ["claude-haiku-4-5", "fast", "gpt-4o"]);
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let ok = || route("a", Match::default(), &["x"]);
    let zero = common::weighted(&[0, 0]);
    let many: Vec<String> = (0..65).map(|at| format!("t{at}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for (routes, words) in [
        (vec![], "no routes"),
        (vec![ok(), ok()], "named `a`"),
        (vec![route("", Match::default(), &["x"])], "empty name"),
        (vec![route("a", Match::default(), &[])], "0 targets"),
        (vec![route("a", Match::default(), &many)], "65 targets"),
        (vec![route("a", Match::default(), &["x", "y", "x"])], "`x` twice"),
        (vec![zero], "all weights are 0"),
    ] {
        let text = Router::new(routes).unwrap_err().to_string();
        assert!(text.contains(words), "{text}");
    }
    assert!(Router::new([route("a", Match::default(), many.get(1..).unwrap())]).is_ok());
}

#[tokio::test]
async fn the_layer_writes_the_plan_and_tells_what_it_decided() {
    let told = Recorder::<Event>::default();
    let router = router([route("gpt", by_model("gpt-*"), &["a", "b"])]);
    let layer = RouteLayer::with(router, |_: &Target| Availability::Ready, told.clone());
    assert_eq!(layer.router().routes().map(|route| &*route.name).collect::<Vec<_>>(), ["gpt"]);
    let service = layer.layer(Probe::new(|request: Request<()>| async move {
        let plan = request.extensions().get::<Plan>().cloned();
        Ok::<_, Infallible>(Response::new(plan))
    }));
    let call = |model: &str| {
        let mut request = Request::new(());
        request.extensions_mut().insert(ask(model));
        service.clone().oneshot(request)
    };
    let plan = call("gpt-4o").await.unwrap().into_body().unwrap();
    assert_eq!(plan.candidates[0].target, target("a/gpt-4o"));
    assert_eq!(told.take(), [Event::Routed(plan)]);
    assert!(call("o3").await.is_err());
    assert!(matches!(&*told.take(), [Event::NoRoute(refusal)] if refusal.model() == Some("o3")));
}

#[tokio::test]
async fn a_request_that_nobody_can_serve_is_refused_and_told() {
    let told = Recorder::<Event>::default();
    let blind = Traits { can: Some(Needs::NONE), ..Traits::default() };
    let router = Router::builder([route("gpt", by_model("gpt-*"), &["a", "b"])])
        .catalog(move |_: &Target| blind.clone())
        .build()
        .unwrap();
    let layer = RouteLayer::with(router, (), told.clone());
    let service =
        layer.layer(Probe::new(|_: Request<()>| async { Ok::<_, Infallible>(Response::new(())) }));
    let mut request = Request::new(());
    request.extensions_mut().insert(ask("gpt-4o").with_needs(Needs::VISION));
    let error = service.oneshot(request).await.unwrap_err();
    let refusal = find_error::<NoneAble>(&*error).unwrap();
    assert_eq!(refusal.to_string(), error.to_string());
    assert_eq!(told.take(), [Event::NoneAble(refusal.clone())]);
}
