//! What is printed of a run.

use crate::{
    run::{Outcome, quantile},
    scenarios::SLOW,
    world::{PLACES, Scenario},
};

/// By how much more than the best: 0.02 is 2 %.
pub(crate) fn over(value: f64, best: f64) -> f64 {
    value / best - 1.0
}

/// One line a rule, in Markdown. `quickest` and `cheapest` are what regret is measured against.
pub(crate) fn print(
    scenario: &Scenario,
    runs: &[(&str, Outcome)],
    quickest: &Outcome,
    cheapest: &Outcome,
) {
    println!(
        "| | p50 s | p95 s | over the oracle | mean s | p95 first token s | USD | over the oracle \
         | attempts | failed | first sent to {} |",
        scenario.names.join(" / ")
    );
    println!("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|");
    for (name, run) in runs {
        let mean = run.wholes.iter().sum::<f64>() / run.wholes.len() as f64;
        println!(
            "| {name} | {:.2} | {:.2} | {:+.1} % | {mean:.2} | {:.2} | {:.2} | {:+.1} % | {} | {} | {} |",
            quantile(&run.wholes, 0.5),
            run.p95(),
            100.0 * over(run.p95(), quickest.p95()),
            quantile(&run.first_tokens, 0.95),
            run.usd(),
            100.0 * over(run.usd(), cheapest.usd()),
            run.attempts,
            run.failed,
            shares(scenario, run),
        );
    }
}

fn shares(scenario: &Scenario, run: &Outcome) -> String {
    let mut counts = [0; PLACES];
    for first in &run.firsts {
        counts[first.place] += 1;
    }
    let percent = |count: &usize| format!("{:.0}", 100.0 * *count as f64 / run.firsts.len() as f64);
    let shares: Vec<String> = counts.iter().take(scenario.names.len()).map(percent).collect();
    shares.join(" / ") + " %"
}

/// One line a rule, in Markdown: while both are well, and while one is slow.
pub(crate) fn print_swings(runs: &[(&str, Outcome)]) {
    println!(
        "| | p95 s | share moves by | one gets at most | under way at one, at most (half of all) |"
    );
    println!("|---|--:|--:|--:|--:|");
    for (name, run) in runs {
        let (well, slow) = (swings(run, false), swings(run, true));
        println!(
            "| {name} | {:.2} | {:.2}, {:.2} | {:.2}, {:.2} | {} ({:.0}), {} ({:.0}) |",
            run.p95(),
            well.moves,
            slow.moves,
            well.most,
            slow.most,
            well.crowd,
            well.fair,
            slow.crowd,
            slow.fair
        );
    }
}

/// How evenly requests go to two places, in steps of five seconds.
pub(crate) struct Swings {
    /// By how much the first one's share moves from one step to the next: 99 of 100 times by less.
    pub(crate) moves: f64,
    /// The most requests of one step that went to one place, as a share.
    pub(crate) most: f64,
    /// Most requests under way at one place at once, and half of all that are, in the mean.
    pub(crate) crowd: u32,
    pub(crate) fair: f64,
}

const STEP: f64 = 5.0;

/// Of the part of the run while one was slow, and of the rest.
pub(crate) fn swings(run: &Outcome, slow: bool) -> Swings {
    let end = run.firsts.last().map_or(0.0, |last| last.at);
    let part = || run.firsts.iter().filter(|one| SLOW.contains(&(one.at / end)) == slow);
    let mut steps = vec![(0.0, 0.0); (end / STEP) as usize + 1];
    for one in part() {
        let (first, all) = &mut steps[(one.at / STEP) as usize];
        *first += f64::from(u8::from(one.place == 0));
        *all += 1.0;
    }
    // Those at the edges hold too few to tell.
    let shares: Vec<f64> =
        steps.iter().filter(|step| step.1 > 60.0).map(|step| step.0 / step.1).collect();
    let mut moves: Vec<f64> = shares.windows(2).map(|two| (two[1] - two[0]).abs()).collect();
    moves.sort_by(f64::total_cmp);
    let all: u32 = part().map(|one| one.in_flight[0] + one.in_flight[1]).sum();
    Swings {
        moves: quantile(&moves, 0.99),
        most: shares.iter().map(|share| share.max(1.0 - share)).fold(0.0, f64::max),
        crowd: part().map(|one| one.in_flight[0].max(one.in_flight[1])).max().unwrap_or(0),
        fair: f64::from(all) / 2.0 / part().count() as f64,
    }
}
