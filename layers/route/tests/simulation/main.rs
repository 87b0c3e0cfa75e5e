//! The strategies in virtual time, beside an oracle and other rules: 100,000 requests each.
//!
//! `cargo test -p tollway-route --test simulation -- --nocapture` prints the tables of
//! docs/routing.md.
#![allow(clippy::unwrap_used, missing_docs)]

mod report;
mod routed;
mod rules;
mod run;
mod scenarios;
mod world;

use report::{over, swings};
use routed::Routed;
use rules::{Always, LiteLlmCost, LiteLlmLatency, Oracle, Random, RoundRobin};
use run::{Outcome, run};
use scenarios::{FIVE, LARGE, TWINS};
use tollway_route::{Of, Strategy};
use world::Dice;

fn five(strategy: Strategy) -> Outcome {
    run(&FIVE, &mut Routed::new(&FIVE, strategy))
}

#[tokio::test(start_paused = true)]
async fn strategies_keep_what_they_promise() {
    let quickest = run(&FIVE, &mut Oracle::Quickest);
    let cheapest = run(&FIVE, &mut Oracle::Cheapest);
    let unread = run(&FIVE, &mut Oracle::CheapestUnread(180));
    let random = run(&FIVE, &mut Random(Dice::new(1)));
    let large = run(&FIVE, &mut Always(LARGE));
    let theirs = (run(&FIVE, &mut LiteLlmLatency::default()), run(&FIVE, &mut LiteLlmCost));
    let latency = five(Strategy::Latency { of: Of::Whole });
    let cost = five(Strategy::Cost);
    let score = five(Strategy::Score { latency: 60, cost: 40 });
    let runs = [
        ("oracle: quickest", quickest.clone()),
        ("oracle: cheapest", cheapest.clone()),
        ("the same, replies unread", unread.clone()),
        ("random", random.clone()),
        ("round robin", run(&FIVE, &mut RoundRobin::default())),
        ("always the large one", large.clone()),
        ("LiteLLM lowest latency", theirs.0.clone()),
        ("LiteLLM lowest cost", theirs.1.clone()),
        ("`latency` of the whole", latency.clone()),
        ("`latency` of the first token", five(Strategy::Latency { of: Of::FirstToken })),
        ("`cost`", cost.clone()),
        ("`score` 60/40", score.clone()),
        ("`power_of_two`", five(Strategy::PowerOfTwo)),
        ("`least_busy`", five(Strategy::LeastBusy)),
        ("`weighted`, all alike", five(Strategy::Weighted)),
    ];
    report::print(&FIVE, &runs, &quickest, &cheapest);

    assert!(over(latency.p95(), quickest.p95()) <= 0.10);
    assert!(latency.p95() <= 0.6 * random.p95() && latency.p95() < theirs.0.p95());
    assert!(over(cost.usd(), cheapest.usd()) <= 0.03);
    assert!(over(cost.usd(), unread.usd()) <= 0.02);
    assert!(cost.usd() <= 0.25 * large.usd() && cost.usd() < theirs.1.usd());
    let kept = |score: f64, best: f64, worst: f64| (worst - score) / (worst - best);
    assert!(kept(score.p95(), latency.p95(), random.p95()) >= 0.85);
    assert!(kept(score.usd(), cost.usd(), large.usd()) >= 0.85);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_stampeded_and_abandoned_in_turns() {
    let twins = |strategy| run(&TWINS, &mut Routed::new(&TWINS, strategy));
    let runs = [
        ("random", run(&TWINS, &mut Random(Dice::new(1)))),
        ("oracle: quickest", run(&TWINS, &mut Oracle::Quickest)),
        ("LiteLLM lowest latency", run(&TWINS, &mut LiteLlmLatency::default())),
        ("`latency` of the whole", twins(Strategy::Latency { of: Of::Whole })),
        ("`latency` of the first token", twins(Strategy::Latency { of: Of::FirstToken })),
        ("`score` 60/40", twins(Strategy::Score { latency: 60, cost: 40 })),
        ("`power_of_two`", twins(Strategy::PowerOfTwo)),
        ("`least_busy`", twins(Strategy::LeastBusy)),
    ];
    for (name, run) in &runs {
        for slow in [false, true] {
            let it = swings(run, slow);
            println!("{name:28} slow {slow:5} moves {:.2} most {:.2} turns {} crowd {} p95 {:.2}", it.moves, it.most, it.turns, it.crowd, it.p95);
        }
    }
}
