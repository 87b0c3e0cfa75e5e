//! What can't serve a request, and figures that can't be.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;

use std::cell::Cell;

use common::{World, all, ask, candidates, costs, query, rejected, takes, target};
use tollway_core::{Ask, Needs, Operation, Prompt, Target};
use tollway_route::{
    Availability, Figures, Group, Health, Lack, Lazy, Match, NoneAble, Refusal, Route, Router,
    Strategy, Traits,
};

#[test]
fn what_surely_cannot_serve_a_request_is_passed_over_with_the_reason() {
    let world = World::default();
    let can = |can| Traits { can: Some(can), ..Traits::default() };
    world.is("blind", can(Needs::TOOLS | Needs::STREAMING)).is("seeing", can(Needs::VISION));
    world.is("short", Traits { window: Some(1_000), ..Traits::default() });
    world.is("terse", Traits { max_output: Some(100), ..Traits::default() });
    let providers = ["blind", "short", "terse", "unknown", "seeing"];
    let mut asked = ask("m").with_needs(Needs::VISION).with_prompt(Prompt::new(1_001));
    asked.max_output_tokens = Some(101);
    for strategy in [Strategy::Capability, Strategy::Cost, Strategy::RoundRobin] {
        let router = world.router([all(strategy, &providers)]);
        let plan = router.decide(&query(&asked), &()).unwrap();
        let mut able = candidates(&plan);
        able.sort();
        assert_eq!(able, ["seeing/m", "unknown/m"]);
        let expected = [
            ("blind/m", "it can't see images"),
            ("short/m", "the prompt looks longer than its window"),
            ("terse/m", "its longest reply is shorter than asked"),
        ];
        assert_eq!(rejected(&plan), expected.map(|(target, why)| (target.to_owned(), why)));
        let easy = router.decide(&query(&ask("m")), &()).unwrap();
        assert_eq!(easy.candidates.len(), 5);
    }
    // The able are out: they are the last resort, and not those that can't.
    let router = world.router([all(Strategy::Capability, &["blind", "seeing"])]);
    let out = |target: &Target| match &**target.provider() {
        "seeing" => Availability::BreakerOpen,
        _ => Availability::Ready,
    };
    let plan = router.decide(&query(&asked), &out).unwrap();
    assert_eq!(candidates(&plan), ["seeing/m"]);
    assert_eq!(
        plan.candidates[0].reason,
        "last resort: every target is out, and nothing is sent to this one"
    );
    let told = [("blind/m", "it can't see images"), ("seeing/m", "breaker open")];
    assert_eq!(rejected(&plan), told.map(|(target, why)| (target.to_owned(), why)));
}

/// Whatever becomes of those that can: neither at first nor after a failure.
#[test]
fn who_cannot_serve_a_request_is_no_last_resort() {
    let world = World::default();
    world.is("blind", Traits { can: Some(Needs::STREAMING), ..costs(1, 1) });
    world.is("seeing", Traits { can: Some(Needs::VISION), ..costs(9, 9) });
    let asked = ask("m").with_needs(Needs::VISION);
    for strategy in [Strategy::Failover, Strategy::Capability, Strategy::Cost, common::latency()] {
        let router = world.router([all(strategy, &["blind", "seeing"])]);
        let plan = router.decide(&query(&asked), &()).unwrap();
        assert_eq!(candidates(&plan), ["seeing/m"]);
        let failed = [target("seeing/m")];
        assert_eq!(router.rescore(&plan, &failed, &query(&asked), &()), None);
        let out = |_: &Target| Availability::BreakerOpen;
        let plan = router.decide(&query(&asked), &out).unwrap();
        assert_eq!(candidates(&plan), ["seeing/m"]);
    }
}

fn none_able(router: &Router, ask: &Ask) -> NoneAble {
    match router.decide(&query(ask), &()).unwrap_err() {
        Refusal::NoneAble(refusal) => refusal,
        other => panic!("{other}"),
    }
}

const WAY_OUT: &str = "Whoever operates this proxy can correct what is known of a model, under \
                       `models:` in its policy.";

#[test]
fn where_nobody_can_the_request_is_refused_with_what_each_lacks() {
    let world = World::default();
    let can = |can| Traits { can: Some(can), ..Traits::default() };
    world.is("blind", can(Needs::TOOLS)).is("dumb", can(Needs::VISION));
    let both = || ask("m").with_needs(Needs::VISION | Needs::TOOLS);
    for strategy in [Strategy::Failover, Strategy::Cost, Strategy::Capability] {
        let router = world.router([all(strategy, &["blind", "blind/x"])]);
        let refusal = none_able(&router, &both());
        let said = format!("No target of route `all` can see images: blind/m, blind/x. {WAY_OUT}");
        assert_eq!(refusal.to_string(), said);
        assert_eq!((refusal.lack(), refusal.is_too_long()), (Lack::Vision, false));
        assert_eq!((refusal.plan().candidates.len(), refusal.plan().rejected.len()), (0, 2));
        let said = "no target can serve it: blind/m (it can't see images), \
                    blind/x (it can't see images)";
        assert_eq!(refusal.plan().sentence().to_string(), said);
        let explained = router.explain(&query(&both()), &()).unwrap_err();
        assert_eq!(explained, Refusal::NoneAble(refusal));
    }
    let router = world.router([all(Strategy::Cost, &["blind", "dumb"])]);
    let said = "No target of route `all` can serve this request: \
                blind/m (it can't see images), dumb/m (it can't call tools).";
    assert_eq!(none_able(&router, &both()).to_string(), format!("{said} {WAY_OUT}"));
    let many: Vec<String> = (0..12).map(|nth| format!("blind/x{nth}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let text = none_able(&world.router([all(Strategy::Cost, &many)]), &both()).to_string();
    assert!(text.contains(" blind/x7 and 4 more. "), "{text}");
    let mut asked = ask("m");
    asked.max_output_tokens = Some(101);
    world.is("terse", Traits { max_output: Some(100), ..Traits::default() });
    let refusal =
        none_able(&world.router([all(Strategy::Failover, &["terse", "terse/x"])]), &asked);
    assert_eq!(refusal.lack(), Lack::Output);
}

/// A caller's bound is that of all choices together, a model's that of each.
#[test]
fn several_short_choices_are_no_long_reply() {
    let world = World::default();
    for provider in ["one", "two"] {
        world.is(provider, Traits { max_output: Some(100), ..Traits::default() });
    }
    let router = world.router([all(Strategy::Failover, &["one", "two"])]);
    let mut asked = ask("m");
    (asked.choices, asked.max_output_tokens) = (3, Some(3 * 100));
    assert_eq!(router.decide(&query(&asked), &()).unwrap().candidates.len(), 2);
    asked.max_output_tokens = Some(3 * 101);
    assert_eq!(none_able(&router, &asked).lack(), Lack::Output);
}

/// Where there is no choice its provider knows better than any list, be it with several keys.
#[test]
fn one_model_of_one_provider_gets_whatever_is_asked() {
    let world = World::default();
    world.is("blind", Traits { can: Some(Needs::NONE), window: Some(10), ..Traits::default() });
    let mut asked = ask("m").with_needs(Needs::VISION).with_prompt(Prompt::new(1_000));
    asked.max_output_tokens = Some(1_000_000);
    for strategy in [Strategy::Failover, Strategy::Cost, Strategy::Capability] {
        let keys = ["main", "spare"].map(|key| Target::new("blind", key, None).into());
        let pool = Route::new("pool", Match::default(), Group::new(strategy.clone(), keys));
        for route in [all(strategy, &["blind"]), pool] {
            let plan = world.router([route]).decide(&query(&asked), &()).unwrap();
            assert_eq!(candidates(&plan)[0], "blind/m");
            assert_eq!(rejected(&plan), []);
        }
    }
}

/// An estimate of tokens may be wrong: only from twice the window on is a prompt surely too long.
#[test]
fn a_prompt_is_refused_where_it_is_surely_too_long() {
    let world = World::default();
    let window = |window| Traits { window: Some(window), ..Traits::default() };
    world.is("short", window(1_000)).is("shorter", window(999)).is("roomy", window(10_000));
    let long = |tokens| ask("m").with_prompt(Prompt::new(tokens));
    for strategy in [Strategy::Failover, Strategy::Cost] {
        let router = world.router([all(strategy.clone(), &["short", "shorter"])]);
        let plan = router.decide(&query(&long(2_000)), &()).unwrap();
        assert_eq!(candidates(&plan), ["short/m"]);
        assert_eq!(plan.candidates[0].reason, "last resort: no target is known to be able");
        assert_eq!(rejected(&plan)[0].1, "the prompt looks longer than its window");
        let router = world.router([all(strategy, &["short", "roomy"])]);
        let refusal = none_able(&router, &long(20_001));
        assert!(refusal.is_too_long());
        let said = "This prompt is too long: it has about 20001 tokens, and the maximum context \
                    length among the targets of route `all` is 10000 tokens: short/m, roomy/m.";
        assert_eq!(refusal.to_string(), format!("{said} {WAY_OUT}"));
        // Who may be able is not tried where somebody surely is, whatever becomes of that one.
        let plan = router.decide(&query(&long(1_500)), &()).unwrap();
        assert_eq!(candidates(&plan), ["roomy/m"]);
        let failed = [target("roomy/m")];
        assert_eq!(router.rescore(&plan, &failed, &query(&long(1_500)), &()), None);
    }
    // A target that is out is no better than one that isn't.
    let router = world.router([all(Strategy::Failover, &["short", "short/x"])]);
    let out = |target: &Target| match target.model().map(|model| &**model) {
        Some("x") => Availability::Ready,
        _ => Availability::BreakerOpen,
    };
    let both = router.decide(&query(&long(1_500)), &()).unwrap();
    assert_eq!(candidates(&both), ["short/m", "short/x"], "a plan that is not kept for the next");
    let plan = router.decide(&query(&long(1_500)), &out).unwrap();
    assert_eq!(candidates(&plan), ["short/x"]);
}

/// What was meant as a wish is no reason to refuse: the answer comes without it.
#[test]
fn who_does_not_reason_answers_where_nobody_does() {
    let world = World::default();
    world.is("plain", Traits { can: Some(Needs::TOOLS), ..Traits::default() });
    world.is("deep", Traits { can: Some(Needs::REASONING), ..Traits::default() });
    let asked = ask("m").with_needs(Needs::REASONING);
    let router = world.router([all(Strategy::Cost, &["plain"])]);
    assert_eq!(candidates(&router.decide(&query(&asked), &()).unwrap()), ["plain/m"]);
    let router = world.router([all(Strategy::Cost, &["plain", "deep"])]);
    let plan = router.decide(&query(&asked), &()).unwrap();
    assert_eq!(candidates(&plan), ["deep/m"]);
    assert_eq!(rejected(&plan), [("plain/m".to_owned(), "it doesn't reason")]);
}

/// Where nobody has read what a request needs, nobody is passed over for it.
#[test]
fn what_was_not_read_counts_as_not_known() {
    let world = World::default();
    world.is("blind", Traits { can: Some(Needs::STREAMING), ..Traits::default() });
    let router = world.router([all(Strategy::Capability, &["blind", "seeing"])]);
    let unread = router.decide(&query(&ask("m")), &()).unwrap();
    assert_eq!((candidates(&unread).len(), unread.rejected.len()), (2, 0));
    let nothing = router.decide(&common::at("/"), &()).unwrap();
    assert_eq!((candidates(&nothing).len(), nothing.rejected.len()), (2, 0));
}

/// Reading costs time: where it can't decide, under order and turns, it isn't done.
#[test]
fn a_prompt_is_read_where_a_target_lacks_what_it_may_need() {
    struct Image(Cell<u32>);
    impl Lazy for Image {
        fn needs(&self) -> Needs {
            self.0.set(self.0.get() + 1);
            Needs::VISION
        }
    }
    let world = World::default();
    let full = Needs::VISION | Needs::TOOLS | Needs::JSON | Needs::AUDIO;
    world.is("blind", Traits { can: Some(full.without(Needs::VISION)), ..Traits::default() });
    world.is("seeing", Traits { can: Some(full), ..Traits::default() });
    let image = Image(Cell::new(0));
    let asked = ask("m");
    for strategy in [Strategy::Failover, Strategy::RoundRobin, Strategy::Weighted] {
        let router = world.router([all(strategy.clone(), &["seeing", "unknown"])]);
        let query = query(&asked).with_lazy(&image);
        assert_eq!(router.decide(&query, &()).unwrap().candidates.len(), 2);
        assert_eq!(image.0.get(), 0);
        let router = world.router([all(strategy, &["blind", "seeing"])]);
        let plan = router.decide(&query, &()).unwrap();
        assert_eq!(candidates(&plan), ["seeing/m"]);
        assert_eq!(rejected(&plan), [("blind/m".to_owned(), "it can't see images")]);
        assert_eq!(router.rescore(&plan, &[target("seeing/m")], &query, &()), None);
        assert_eq!(image.0.replace(0), 2);
    }
}

/// Who is known to be able comes before those of whom it isn't known.
#[test]
fn capability_prefers_knowledge_to_hope() {
    let world = World::default();
    let can = |can| Traits { can: Some(can), ..Traits::default() };
    world.is("seeing", can(Needs::VISION));
    world.is("roomy", Traits { window: Some(200_000), ..Traits::default() });
    world.is("short", Traits { window: Some(8_000), ..Traits::default() });
    let router =
        world.router([all(Strategy::Capability, &["unknown", "short", "roomy", "seeing"])]);
    let order = |ask: &Ask| candidates(&router.decide(&query(ask), &()).unwrap()).join(" ");
    assert_eq!(order(&ask("m")), "unknown/m short/m roomy/m seeing/m");
    let image = ask("m").with_needs(Needs::VISION);
    assert_eq!(order(&image), "seeing/m unknown/m short/m roomy/m");
    let long = ask("m").with_prompt(Prompt::new(50_000));
    assert_eq!(order(&long), "roomy/m unknown/m seeing/m");
    // A pool is able when one of its members is.
    let pool = Group::new(Strategy::Failover, ["other", "roomy"].map(|one| target(one).into()));
    let mut route = all(Strategy::Capability, &["unknown"]);
    route.group.members.push(pool.into());
    let plan = world.router([route]).decide(&query(&long), &()).unwrap();
    assert_eq!(candidates(&plan), ["other/m", "roomy/m", "unknown/m"]);
}

/// A target that is down is passed over like one whose breaker is open, by turns too.
#[test]
fn who_does_not_answer_is_passed_over_under_every_strategy() {
    let down = Figures { health: Health::Down, ..takes(100) };
    for strategy in [Strategy::Failover, Strategy::RoundRobin, Strategy::Weighted, Strategy::Cost] {
        let world = World::default();
        let router = world.router([all(strategy, &["a", "b"])]);
        assert_eq!(router.decide(&query(&ask("m")), &()).unwrap().candidates.len(), 2);
        world.set("a", down);
        for _ in 0..3 {
            let plan = router.decide(&query(&ask("m")), &()).unwrap();
            assert_eq!(candidates(&plan), ["b/m"]);
            assert_eq!(rejected(&plan), [("a/m".to_owned(), "it doesn't answer of late")]);
        }
        world.set("b", down);
        let plan = router.decide(&query(&ask("m")), &()).unwrap();
        assert_eq!((plan.candidates.len(), plan.rejected.len()), (2, 2), "all are told");
        assert_eq!(plan.candidates[0].reason, "last resort: every target is out");
        world.set("a", takes(100)).set("b", takes(100));
        assert_eq!(router.decide(&query(&ask("m")), &()).unwrap().candidates.len(), 2, "back");
    }
}

#[test]
fn each_need_has_its_words() {
    for (need, lack, words) in [
        (Needs::VISION, Lack::Vision, "it can't see images"),
        (Needs::TOOLS, Lack::Tools, "it can't call tools"),
        (Needs::JSON, Lack::Json, "it can't promise JSON"),
        (Needs::REASONING, Lack::Reasoning, "it doesn't reason"),
        (Needs::STREAMING, Lack::Streaming, "it doesn't stream"),
        (Needs::AUDIO, Lack::Audio, "it takes no audio"),
    ] {
        let traits = Traits { can: Some(Needs::NONE), ..Traits::default() };
        let ask = Ask::new(Operation::ChatCompletions).with_needs(need);
        assert_eq!(traits.lack(&ask), Some(lack));
        assert_eq!(lack.as_str(), words);
        assert_eq!(Traits { can: Some(need), ..traits }.lack(&ask), None);
    }
    let traits = Traits { can: Some(Needs::NONE), ..Traits::default() };
    let all = Ask::new(Operation::ChatCompletions).with_needs(Needs::REASONING | Needs::STREAMING);
    assert_eq!(traits.lack(&all), Some(Lack::Streaming), "the gravest");
}

/// A figure that is no number, or without bound, is nobody's advantage.
#[test]
fn absurd_figures_do_no_harm() {
    let absurd = Figures {
        success: f32::NAN,
        cached_share: f32::NAN,
        output_tokens: Some(f32::INFINITY),
        peak_ewma: f32::NAN,
        usual_in_flight: f32::NAN,
        in_flight: u32::MAX,
        ..takes(u64::MAX / 1_000_000)
    };
    let strategies = [
        Strategy::Cost,
        Strategy::LeastBusy,
        Strategy::PowerOfTwo,
        common::latency(),
        Strategy::Score { latency: u32::MAX, cost: u32::MAX },
    ];
    let ask = ask("m").with_prompt(Prompt::new(u64::MAX));
    for strategy in strategies {
        let world = World::default();
        world.set("absurd", absurd).is("absurd", costs(u64::MAX, u64::MAX));
        world.set("sane", takes(100)).is("sane", costs(1, 1));
        let router = world.router([all(strategy, &["absurd", "sane"])]);
        let plan = router.decide(&query(&ask), &()).unwrap();
        assert_eq!(candidates(&plan), ["sane/m", "absurd/m"], "{}", plan.strategy);
    }
}
