//! What can't serve a request, and figures that can't be.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::{World, all, ask, candidates, costs, query, rejected, takes, target};
use tollway_core::{Ask, Needs, Operation, Prompt, Target};
use tollway_route::{Availability, Figures, Group, Health, Strategy, Traits};

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
            ("short/m", "the prompt is longer than its window"),
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
    assert_eq!(plan.candidates[0].reason, "last resort: every target is out");
    assert_eq!(rejected(&plan), [("blind/m".to_owned(), "it can't see images")]);
    // Nobody is able: the registry may be wrong.
    let router = world.router([all(Strategy::Capability, &["blind", "blind/x"])]);
    let plan = router.decide(&query(&asked), &()).unwrap();
    assert_eq!(candidates(&plan), ["blind/m", "blind/x"]);
    assert_eq!(plan.candidates[0].reason, "last resort: no target is known to be able");
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
        assert_eq!((plan.candidates.len(), plan.rejected.len()), (2, 0));
        assert_eq!(plan.candidates[0].reason, "last resort: every target is out");
        world.set("a", takes(100)).set("b", takes(100));
        assert_eq!(router.decide(&query(&ask("m")), &()).unwrap().candidates.len(), 2, "back");
    }
}

#[test]
fn each_need_has_its_words() {
    for (need, words) in [
        (Needs::VISION, "it can't see images"),
        (Needs::TOOLS, "it can't call tools"),
        (Needs::JSON, "it can't promise JSON"),
        (Needs::REASONING, "it doesn't reason"),
        (Needs::STREAMING, "it doesn't stream"),
        (Needs::AUDIO, "it takes no audio"),
    ] {
        let traits = Traits { can: Some(Needs::NONE), ..Traits::default() };
        let ask = Ask::new(Operation::ChatCompletions).with_needs(need);
        assert_eq!(traits.unable(&ask), Some(words));
        assert_eq!(Traits { can: Some(need), ..traits }.unable(&ask), None);
    }
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
