//! Which rule holds, and what it changes.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::{borrow::Cow, cell::Cell, convert::Infallible, time::Duration};

use common::{World, all, ask, at, candidates, costs, query, takes, target, user};
use http::{HeaderMap, HeaderName, Request, Response};
use tokio::time::Instant;
use tollway_core::{Caller, Needs, Plan, Prompt, Tags, Target};
use tollway_route::{
    Availability, Between, CallerMatch, Days, Group, Lazy, MAX_COST, MAX_LATENCY, Match, Moment,
    Of, Prefer, Query, READY, Route, RouteLayer, Router, Rule, Size, SizeClass, Strategy, TASK,
    TagMatch, Then, TimeRange, Traits, When,
    auto::{Complexity, Signals},
    ready,
};
use tower::{Layer, ServiceExt, service_fn};

const MINUTE: Moment = Moment { weekday: 2, minute: 600 };

/// A prompt and a time, and how often each was looked at.
#[derive(Default)]
struct Known {
    signals: Option<Signals>,
    moment: Option<Moment>,
    task: Option<&'static str>,
    needs: Needs,
    looked: Cell<u32>,
    /// How often needs were read, alone or with the prompt's signals.
    walked: Cell<u32>,
}

impl Lazy for Known {
    fn needs(&self) -> Needs {
        self.walked.set(self.walked.get() + 1);
        self.needs
    }

    fn look(&self) -> (Needs, Option<Signals>) {
        (self.needs(), self.signals())
    }

    fn signals(&self) -> Option<Signals> {
        self.looked.set(self.looked.get() + 1);
        self.signals
    }

    fn task(&self) -> Option<Cow<'_, str>> {
        self.looked.set(self.looked.get() + 1);
        self.task.map(Cow::Borrowed)
    }

    fn moment(&self) -> Option<Moment> {
        self.moment
    }
}

fn rule(name: &str, when: When, then: Then) -> Rule {
    Rule { name: name.into(), when, then }
}

/// A router with one rule, which puts `b` before `a`.
fn with(when: When) -> Router {
    let prefer = Prefer::Group(Group::new(Strategy::Failover, [target("b").into()]));
    let then = Then { prefer, ..Then::default() };
    let route = all(Strategy::Failover, &["a", "b"]).with_rules([rule("it", when, then)]);
    World::default().router([route])
}

fn holds(router: &Router, query: &Query<'_>) -> bool {
    let plan = router.decide(query, &()).unwrap();
    let held = plan.rule.is_some();
    assert_eq!(&**plan.candidates[0].target.provider(), if held { "b" } else { "a" });
    assert_eq!(plan.candidates.len(), 2);
    held
}

#[test]
fn each_condition_of_the_ask_holds_where_it_should() {
    let tokens = |count| ask("m").with_prompt(Prompt::new(count));
    let needs = with(When { needs: Needs::VISION | Needs::TOOLS, ..When::default() });
    assert!(holds(
        &needs,
        &query(&ask("m").with_needs(Needs::VISION | Needs::TOOLS | Needs::JSON))
    ));
    assert!(!holds(&needs, &query(&ask("m").with_needs(Needs::VISION))));
    let streams = with(When { needs: Needs::STREAMING, ..When::default() });
    let mut stream = ask("m");
    assert!(!holds(&streams, &query(&stream)));
    stream.stream = true;
    assert!(holds(&streams, &query(&stream)));

    let between = Between { from: Some(100), to: Some(200) };
    let router = with(When { input_tokens: between, ..When::default() });
    let held = |count| holds(&router, &query(&tokens(count)));
    assert_eq!([99, 100, 200, 201].map(held), [false, true, true, false]);
    assert!(!holds(&router, &at("/")), "nothing is known of it");

    let small = with(When { size: vec![SizeClass::Tiny, SizeClass::Large], ..When::default() });
    let held = |count| holds(&small, &query(&tokens(count)));
    assert_eq!(
        [199, 200, 19_999, 20_000, 99_999, 100_000].map(held),
        [true, false, false, true, true, false]
    );
    assert!(holds(&with(When::default()), &at("/")), "no condition");
}

#[test]
fn each_condition_of_client_and_caller_holds_where_it_should() {
    let cost = with(When { max_cost: Between::to("0.01".parse().unwrap()), ..When::default() });
    let latency =
        with(When { max_latency: Between::from(Duration::from_secs(2)), ..When::default() });
    let task = with(When { task: vec!["code*".parse().unwrap()], ..When::default() });
    let said = |router: &Router, name, value: &str| {
        let name = HeaderName::from_static(name);
        let headers = HeaderMap::from_iter([(name, value.parse().unwrap())]);
        holds(router, &Query::new("/", &headers, Instant::now()))
    };
    let costs = ["0.01", "0.0100001", "cheap", ""].map(|value| said(&cost, MAX_COST, value));
    assert_eq!(costs, [true, false, false, false]);
    let times = ["2s", "1999ms", "soon"].map(|value| said(&latency, MAX_LATENCY, value));
    assert_eq!(times, [true, false, false]);
    let tasks = ["code-review", "chat"].map(|value| said(&task, TASK, value));
    assert_eq!(tasks, [true, false]);
    // The body says it where no header does; the header comes first.
    let known = Known { task: Some("code"), ..Known::default() };
    assert!(holds(&task, &at("/").with_lazy(&known)));
    let headers = HeaderMap::from_iter([(HeaderName::from_static(TASK), "chat".parse().unwrap())]);
    let chat = Query::new("/", &headers, Instant::now());
    assert!(!holds(&task, &chat.with_lazy(&known)));
    assert_eq!(known.looked.get(), 1, "the body is read where the header is silent");
    assert!([&cost, &latency, &task].iter().all(|router| !holds(router, &at("/"))));

    let ada = CallerMatch::User("ada".parse().unwrap());
    let callers = with(When { callers: vec![ada], ..When::default() });
    assert!(holds(&callers, &at("/").with_caller(&user("ada"))));
    assert!(!holds(&callers, &at("/").with_caller(&user("eve"))));
    assert!(!holds(&callers, &at("/")));
    let tag = |name: &str| TagMatch { name: name.into(), value: None };
    let tags = with(When { tags: vec![tag("team"), tag("org")], ..When::default() });
    let mut caller = Caller::default();
    caller.tags = Tags::from_iter([("team", "x"), ("org", "y")]);
    assert!(holds(&tags, &at("/").with_caller(&caller)));
    caller.tags = Tags::from_iter([("team", "x")]);
    assert!(!holds(&tags, &at("/").with_caller(&caller)));
}

#[test]
fn hours_hold_by_the_zone_of_whoever_asks() {
    let hours = TimeRange { days: Days::WORKING, from: 9 * 60, to: 17 * 60 };
    let router = with(When { time: vec![hours], ..When::default() });
    let held = |moment| {
        let known = Known { moment, ..Known::default() };
        holds(&router, &at("/").with_lazy(&known))
    };
    assert!(held(Some(MINUTE)));
    assert!(!held(Some(Moment { minute: 17 * 60, ..MINUTE })));
    assert!(!held(Some(Moment { weekday: 6, ..MINUTE })));
    assert!(!held(None));
    let whole = TimeRange { days: Days::WEEKEND, from: 0, to: 0 };
    assert!(whole.contains(Moment { weekday: 5, minute: 1439 }));
    assert!(!whole.contains(Moment { weekday: 4, minute: 0 }));
    assert!(!whole.contains(Moment { weekday: 0, minute: 0 }), "a whole day ends with it");
}

#[test]
fn prompts_are_judged_once_and_only_where_a_rule_asks() {
    let hard = |complexity| When { complexity: vec![complexity], ..When::default() };
    let route = all(Strategy::Failover, &["a"]).with_rules([
        rule("complex", hard(Complexity::Complex), Then::default()),
        rule("moderate", hard(Complexity::Moderate), Then::default()),
        rule("simple", hard(Complexity::Simple), Then::default()),
    ]);
    let known = Known { signals: Some(Signals::default()), ..Known::default() };
    let judging = World::default().router([route]);
    let plan = judging.decide(&at("/").with_lazy(&known), &()).unwrap();
    assert_eq!((plan.rule.as_deref(), plan.complexity), (Some("simple"), Some("simple")));
    assert_eq!(known.looked.get(), 1);
    assert_eq!(
        plan.sentence().to_string(),
        "a: first that is ready; by rule `simple`; the request looks simple"
    );
    let plan = with(When::default()).decide(&at("/").with_lazy(&known), &()).unwrap();
    assert_eq!((plan.complexity, known.looked.get()), (None, 1));
    let plan = judging.decide(&at("/"), &()).unwrap();
    assert_eq!((plan.rule, plan.complexity), (None, None), "nobody can read the prompt");
}

/// A rule that asks what is needed, and one that asks how hard it looks, take one walk over the body;
/// where none of them is reached, no prompt is judged.
#[test]
fn what_a_prompt_needs_and_how_hard_it_looks_is_read_at_once() {
    let hard = When { complexity: vec![Complexity::Simple], ..When::default() };
    let sees = When { needs: Needs::VISION, ..When::default() };
    let cheap = When { max_cost: Between::to("0.01".parse().unwrap()), ..When::default() };
    let rules = [("cheap", cheap), ("sees", sees), ("simple", hard)];
    let rules = rules.map(|(name, when)| rule(name, when, Then::default()));
    let router = World::default().router([all(Strategy::Failover, &["a"]).with_rules(rules)]);
    let read = |needs, headers: &HeaderMap| {
        let known = Known { signals: Some(Signals::default()), needs, ..Known::default() };
        let query = Query::new("/", headers, Instant::now()).with_lazy(&known);
        let plan = router.decide(&query, &()).unwrap();
        let held = plan.rule.unwrap().to_string();
        (held, plan.complexity, known.walked.get(), known.looked.get())
    };
    let none = HeaderMap::new();
    let expected =
        |name: &str, complexity, walked, looked| (name.to_owned(), complexity, walked, looked);
    assert_eq!(read(Needs::NONE, &none), expected("simple", Some("simple"), 1, 1));
    // The rule that holds asks for no judgement, and none is told.
    assert_eq!(read(Needs::VISION, &none), expected("sees", None, 1, 1));
    let bound =
        HeaderMap::from_iter([(HeaderName::from_static(MAX_COST), "0.01".parse().unwrap())]);
    assert_eq!(read(Needs::NONE, &bound), expected("cheap", None, 1, 0));
}

/// Places of each size, `free` among them.
fn sized() -> (World, Route) {
    let world = World::default();
    let size = |size| Traits { size: Some(size), ..costs(1_000_000, 1_000_000) };
    world.is("tiny", size(Size::Tiny)).is("small", size(Size::Small));
    world.is("large", size(Size::Large)).is("thinker", size(Size::Reasoning));
    world.is("free", Traits { free: true, ..size(Size::Small) });
    (world, all(Strategy::Failover, &["large", "small", "unknown", "thinker", "tiny", "free"]))
}

#[test]
fn sizes_come_in_the_order_of_the_rule_and_the_rest_behind() {
    let (world, route) = sized();
    let sizes = Prefer::Sizes(vec![vec![Size::Tiny], vec![Size::Small]]);
    let then = Then { prefer: sizes, ..Then::default() };
    let order = |then: &Then| {
        let route = route.clone().with_rules([rule("it", When::default(), then.clone())]);
        candidates(&world.router([route]).decide(&at("/"), &()).unwrap()).join(" ")
    };
    assert_eq!(order(&then), "tiny small free large unknown thinker");
    let free_first = Then { free_first: true, ..then.clone() };
    assert_eq!(order(&free_first), "tiny free small large unknown thinker");
    let anybody = Then { free_first: true, ..Then::default() };
    assert_eq!(order(&anybody), "free large small unknown thinker tiny");
    let by_turns = Then { strategy: Some(Strategy::RoundRobin), ..then };
    assert_eq!(order(&by_turns), "tiny small free unknown thinker large", "turns behind, too");
    let together = Prefer::Sizes(vec![vec![Size::Tiny, Size::Small], vec![Size::Reasoning]]);
    let then = Then { prefer: together, ..Then::default() };
    assert_eq!(order(&then), "tiny small free thinker large unknown", "nothing is compared");
    let dear = Traits { size: Some(Size::Tiny), ..costs(2_000_000, 2_000_000) };
    world.is("tiny", dear);
    let ask = ask("m").with_prompt(Prompt::new(100));
    let compared = |strategy, free_first| {
        let then = Then { strategy: Some(strategy), free_first, ..then.clone() };
        let route = route.clone().with_rules([rule("it", When::default(), then)]);
        let plan = world.router([route]).decide(&query(&ask), &()).unwrap();
        candidates(&plan).join(" ").replace("/m", "")
    };
    let cheapest = compared(Strategy::Cost, false);
    assert!(cheapest.ends_with(" tiny thinker large unknown"), "{cheapest}");
    assert_eq!(compared(Strategy::Cost, true), "free small tiny thinker large unknown");
    assert_eq!(compared(Strategy::RoundRobin, false), "small tiny free thinker unknown large");
}

/// Sizes named together are compared; who stands behind by the rule is told, and scored beside all.
#[test]
fn scores_compare_the_whole_plan_and_stages_are_told() {
    let place = |size, price| Traits { size: Some(size), ..costs(price, price) };
    let places = [
        ("haiku", Size::Tiny, 300_000),
        ("oss", Size::Small, 100_000),
        ("sol", Size::Large, 4_000_000),
        ("sonnet", Size::Large, 8_000_000),
        ("thinker", Size::Reasoning, 2_000_000),
    ];
    let world = World::default();
    for (name, size, price) in places {
        world.is(name, place(size, price));
    }
    world.is("unpriced", Traits { size: Some(Size::Reasoning), ..Traits::default() });
    let names = ["sonnet", "haiku", "unpriced", "sol", "oss", "thinker"];
    let sizes = vec![vec![Size::Tiny, Size::Small], vec![Size::Large]];
    let then = Then { prefer: Prefer::Sizes(sizes), ..Then::default() };
    let ask = ask("m").with_prompt(Prompt::new(100_000));
    let told = |strategy: Strategy| {
        let rule = rule("it", When::default(), then.clone());
        let router = world.router([all(strategy, &names).with_rules([rule])]);
        let plan = router.explain(&query(&ask), &()).unwrap();
        let told = plan.candidates.iter().map(|one| {
            let name = one.target.provider().to_string();
            (name, one.score.unwrap().get(), one.reason)
        });
        told.collect::<Vec<_>>()
    };
    let expected = |best: &'static str, scores: [u16; 6]| {
        let order = ["oss", "haiku", "sol", "sonnet", "thinker", "unpriced"];
        let (second, third) = ("the rule's second choice", "the rule's third choice");
        let reasons = [best, "failover", second, second, third, third];
        let all = order.into_iter().zip(scores).zip(reasons);
        all.map(|((name, score), why)| (name.to_owned(), score, why)).collect::<Vec<_>>()
    };
    let cost = told(Strategy::Cost);
    assert_eq!(cost, expected("lowest cost of those put first", [1000, 333, 25, 13, 50, 0]));
    let score = told(Strategy::Score { latency: 60, cost: 40 });
    let best = "by cost alone: too little is known of times";
    assert_eq!(score, expected(best, [1000, 644, 229, 173, 302, 0]));
    // Of the sizes that come first nothing is known, and of the others something.
    world.set("sol", takes(400)).set("sonnet", takes(800)).set("thinker", takes(100));
    let times = told(Strategy::Latency { of: Of::Whole });
    let order: Vec<&str> = times.iter().map(|one| &*one.0).collect();
    assert_eq!(order[2..], ["sol", "sonnet", "thinker", "unpriced"]);
    // They count as the median, 400 ms, beside 100 ms.
    let scores: Vec<u16> = times.iter().map(|one| one.1).collect();
    assert_eq!(scores, [250, 250, 250, 125, 1000, 1000]);
}

/// A group within is as good as the place that comes first in it, also where a rule cuts it up.
#[test]
fn scores_of_groups_within_groups_compare_too() {
    let world = World::default();
    let place = |size, price| Traits { size: Some(size), ..costs(price, price) };
    world.is("cheap", place(Size::Small, 100_000)).is("dear", place(Size::Large, 400_000));
    world.is("mid", place(Size::Large, 200_000)).set("mid", takes(100)).set("dear", takes(50));
    let inner = Group::new(common::latency(), ["dear", "mid"].map(|name| target(name).into()));
    let group =
        |strategy, inner: Group| Group::new(strategy, [inner.into(), target("cheap").into()]);
    let ask = ask("m").with_prompt(Prompt::new(100_000));
    let told = |group: Group, sizes: Vec<Vec<Size>>| {
        let then = Then { prefer: Prefer::Sizes(sizes), ..Then::default() };
        let route = Route::new("all", Match::default(), group);
        let router = world.router([route.with_rules([rule("it", When::default(), then)])]);
        let plan = router.explain(&query(&ask), &()).unwrap();
        let told = plan.candidates.iter();
        let told = told.map(|one| (one.target.provider().to_string(), one.score.unwrap().get()));
        told.collect::<Vec<_>>()
    };
    let outer = group(Strategy::Cost, inner.clone());
    let expected = |all: [(&str, u16); 3]| all.map(|(name, score)| (name.to_owned(), score));
    let small = vec![vec![Size::Small]];
    assert_eq!(
        told(outer.clone(), small),
        expected([("cheap", 1000), ("dear", 250), ("mid", 125)])
    );
    let large = vec![vec![Size::Large]];
    assert_eq!(told(outer, large), expected([("dear", 250), ("mid", 125), ("cheap", 1000)]));
    // The group outside doesn't compare, and the one within is cut up.
    let all = Group::new(Strategy::Cost, ["dear", "cheap"].map(|name| target(name).into()));
    let fixed = Group::new(Strategy::Failover, [all.into()]);
    let large = vec![vec![Size::Large]];
    let plan = told(fixed, large);
    assert_eq!(plan, [("dear".to_owned(), 250), ("cheap".to_owned(), 1000)]);
}

#[test]
fn a_preferred_group_may_know_places_of_its_own() {
    let (world, route) = sized();
    let group = Group::new(Strategy::RoundRobin, [target("extra").into(), target("small").into()]);
    let then = Then { prefer: Prefer::Group(group), ..Then::default() };
    let when = When { needs: Needs::TOOLS, ..When::default() };
    let router = world.router([route.with_rules([rule("it", when, then)])]);
    let tools = ask("m").with_needs(Needs::TOOLS);
    let order = || {
        let plan = router.decide(&query(&tools), &()).unwrap();
        assert_eq!((plan.strategy, plan.rule.as_deref()), ("round_robin", Some("it")));
        candidates(&plan).join(" ").replace("/m", "")
    };
    assert_eq!(order(), "extra small large unknown thinker tiny free");
    assert_eq!(order(), "small extra large unknown thinker tiny free");
    let plain = ask("m");
    let plan = router.decide(&query(&plain), &()).unwrap();
    assert_eq!(candidates(&plan).len(), 6, "without the rule its own places are nobody's");
    // With all of the preferred out, the route's own serve.
    let out = |target: &Target| match &**target.provider() {
        "extra" | "small" => Availability::BreakerOpen,
        _ => Availability::Ready,
    };
    let plan = router.decide(&query(&tools), &out).unwrap();
    assert_eq!((&*candidates(&plan)[0], plan.strategy), ("large/m", "failover"));
    assert_eq!(plan.rejected.len(), 2);
}

#[test]
fn bounds_of_rule_and_client_put_what_is_above_them_last() {
    let world = World::default();
    world.set("slow", takes(3_000)).is("slow", costs(1_000_000, 0));
    world.set("dear", takes(300)).is("dear", costs(9_000_000, 0));
    world.set("mid", takes(900)).is("mid", costs(2_000_000, 0));
    let route = all(Strategy::Failover, &["slow", "dear", "unknown", "mid"]);
    let ask = ask("m").with_prompt(Prompt::new(1_000));
    let order = |router: &Router, said: &[(&'static str, &str)]| {
        let headers = said
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
        let headers = headers.collect();
        let query = Query::new("/", &headers, Instant::now()).with_ask(&ask);
        let plan = router.decide(&query, &()).unwrap();
        let late = plan.candidates.iter().filter(|one| one.reason.starts_with("above"));
        (candidates(&plan).join(" ").replace("/m", ""), late.count())
    };
    let plain = world.router([route.clone()]);
    assert_eq!(order(&plain, &[]), ("slow dear unknown mid".into(), 0));
    assert_eq!(order(&plain, &[(MAX_COST, "0.003")]), ("slow mid unknown dear".into(), 1));
    assert_eq!(order(&plain, &[(MAX_LATENCY, "1s")]), ("dear unknown mid slow".into(), 1));
    let both = [(MAX_COST, "0.003"), (MAX_LATENCY, "1s")];
    assert_eq!(order(&plain, &both), ("mid unknown slow dear".into(), 2));
    let then = Then {
        max_cost: Some("0.0015".parse().unwrap()),
        max_latency: Some(Duration::from_secs(60)),
        ..Then::default()
    };
    let ruled = world.router([route.with_rules([rule("it", When::default(), then)])]);
    assert_eq!(order(&ruled, &[]), ("slow unknown dear mid".into(), 2));
    // The narrower of the two counts.
    assert_eq!(order(&ruled, &[(MAX_COST, "1")]), ("slow unknown dear mid".into(), 2));
}

#[test]
fn ready_made_sets_do_what_they_are_named_for() {
    let (world, route) = sized();
    world.set("tiny", takes(900)).set("large", takes(300)).set("small", takes(500));
    let first = |name: &str, query: &Query<'_>| {
        let router = world
            .builder([route.clone().with_rules(ready(name).unwrap())])
            .explore(tollway_core::PerMille::ZERO)
            .build()
            .unwrap();
        let plan = router.decide(query, &()).unwrap();
        (plan.candidates[0].target.provider().to_string(), plan.rule.map(|rule| rule.to_string()))
    };
    let plain = ask("m").with_prompt(Prompt::new(10));
    let by = |target: &str, rule: Option<&str>| (target.to_owned(), rule.map(str::to_owned));
    assert_eq!(first("budget", &query(&plain)), by("free", Some("budget")));
    assert_eq!(first("quality", &query(&plain)), by("thinker", Some("quality")));
    assert_eq!(first("vision", &query(&plain)), by("large", None));
    let image = ask("m").with_needs(Needs::VISION);
    assert_eq!(first("vision", &query(&image)), by("large", Some("vision")));
    assert_eq!(first("fast", &query(&plain)), by("large", Some("fast")));
    let known = Known { signals: Some(Signals::default()), ..Known::default() };
    assert_eq!(first("auto", &query(&plain).with_lazy(&known)), by("tiny", Some("auto: simple")));
    let long = ask("m").with_prompt(Prompt::new(100_000));
    let hold = |window| Traits { window: Some(window), ..Traits::default() };
    world.is("unknown", hold(1_000_000)).is("tiny", hold(100_000));
    let on_size = |name: &str| {
        let plan = first(name, &query(&long).with_lazy(&known));
        assert_eq!(plan.1.as_deref(), Some("auto: long"));
        plan.0
    };
    assert_eq!(on_size("auto"), "unknown", "the first whose window is known to hold it");
    world.is("unknown", hold(99_999));
    assert_eq!(on_size("auto"), "tiny");
    let thinking = ask("m").with_needs(Needs::REASONING);
    assert_eq!(first("auto", &query(&thinking)), by("thinker", Some("auto: thinking")));
    let headers =
        HeaderMap::from_iter([(HeaderName::from_static(MAX_LATENCY), "1s".parse().unwrap())]);
    let hurried = Query::new("/", &headers, Instant::now()).with_ask(&plain).with_lazy(&known);
    assert_eq!(first("auto", &hurried), by("large", Some("auto: fast")));
    for name in READY {
        let route = all(Strategy::Failover, &["a"]).with_rules(ready(name).unwrap());
        assert!(Router::new([route]).is_ok(), "{name}");
    }
}

#[test]
fn rules_and_groups_that_cannot_be_are_refused() {
    let base = || all(Strategy::Failover, &["a", "b"]);
    let named = |name: &str| rule(name, When::default(), Then::default());
    let prefers = |group| {
        let then = Then { prefer: Prefer::Group(group), ..Then::default() };
        rule("it", When::default(), then)
    };
    let many = |from: usize| {
        let places = (from..from + 40).map(|at| target(&format!("t{at}")).into());
        Group::new(Strategy::Failover, places)
    };
    let deep = (0..8).fold(Group::new(Strategy::Failover, [target("a").into()]), |inner, _| {
        Group::new(Strategy::Failover, [inner.into()])
    });
    let empty = Group::new(Strategy::Cost, []);
    let with_empty = Group::new(Strategy::Failover, [target("a").into(), empty.clone().into()]);
    let route = |group| Route::new("all", Match::default(), group);
    for (route, words) in [
        (base().with_rules([named("x"), named("x")]), "two rules named `x`"),
        (base().with_rules([named("")]), "one without a name"),
        (base().with_rules([prefers(empty)]), "0 targets"),
        (route(many(0)).with_rules([prefers(many(40))]), "and its rules have 80 targets"),
        (route(deep), "more than 8 deep"),
        (route(with_empty), "an empty group"),
    ] {
        let text = Router::new([route]).unwrap_err().to_string();
        assert!(text.contains(words), "{text}");
    }
    assert!(Router::new([route(many(0)).with_rules([prefers(many(20))])]).is_ok());
}

#[tokio::test]
async fn the_layer_reads_prompts_through_its_reader() {
    let when = When { complexity: vec![Complexity::Simple], ..When::default() };
    let route = all(Strategy::Failover, &["a"]).with_rules([rule("it", when, Then::default())]);
    let router = World::default().router([route]);
    let reads = |_: &Request<()>| Signals::default();
    let service = RouteLayer::with_signals(router, (), (), reads).layer(service_fn(
        |request: Request<()>| async move {
            Ok::<_, Infallible>(Response::new(request.extensions().get::<Plan>().cloned()))
        },
    ));
    let plan = service.oneshot(Request::new(())).await.unwrap().into_body().unwrap();
    assert_eq!((plan.rule.as_deref(), plan.complexity), (Some("it"), Some("simple")));
}
