use std::time::Duration;

use http::uri::PathAndQuery;
use tollway_core::PerMille;

use super::{Check, server::positive};
use crate::policy::{
    Feature, Of, Probe, ProbePacing, Routing, Tell, Thresholds, Weights,
    read::At,
    values::{Count, Share, TellName, TimingName},
    written::{AutoWritten, PolicyWritten, ProbeOrOff, ProbeWritten, WeightMapWritten},
};

const SECOND: Duration = Duration::from_secs(1);
/// Share of requests that explore, where the policy says nothing.
const EXPLORE: PerMille = PerMille::new(50);
const PACING: ProbePacing =
    ProbePacing { every: Duration::from_secs(30), jitter: 200, at_most: Duration::from_secs(600) };
/// Replies a second that hardly any target gives all the time.
const MANY_REPLIES: f64 = 100.0;
/// Decisions kept at most; each is about a kilobyte.
const MOST_DECISIONS: u64 = 100_000;

impl From<TimingName> for Of {
    fn from(name: TimingName) -> Self {
        match name {
            TimingName::FirstToken => Self::FirstToken,
            TimingName::Whole => Self::Whole,
        }
    }
}

/// How routes that go by figures decide.
pub(super) fn routing(written: &PolicyWritten, check: &mut Check<'_, '_>) -> Routing {
    let written = written.routing.as_ref().map(|at| at.value.clone()).unwrap_or_default();
    let expect = written.expect.as_ref().and_then(|at| at.value.latency.as_ref());
    let decisions = written.decisions.as_ref().map_or(1000, |at| at.value.0);
    if let (Some(at), true) = (&written.decisions, decisions > MOST_DECISIONS) {
        let quote = check.reader.quote(at);
        check.reader.wrong(at, format!("`{quote}` is too large")).expected("at most 100000");
    }
    let min_samples = check.at_least_one_u32(&written.min_samples, 10);
    let window = positive(&written.window, 300 * SECOND, check);
    let (wanted, seconds) = (f64::from(min_samples.get()), window.as_secs_f64());
    let most = (MANY_REPLIES * seconds).floor().max(1.0);
    if let Some(at) = written.min_samples.as_ref().filter(|_| wanted > most) {
        let a_second = (wanted / seconds).ceil();
        let message = format!(
            "no target's figures would count before it has given {a_second} replies a second for the \
             whole window ({seconds} s): at most {most} make sense with it"
        );
        check.warn(at.span, &at.path, message);
    }
    Routing {
        min_samples,
        window,
        explore: written.explore.as_ref().map_or(EXPLORE, |at| PerMille::of(at.value.0 as f32)),
        expect: expect.map(|at| at.value.into()),
        header: match written.header.as_ref().map(|at| at.value) {
            Some(TellName::Always) => Tell::Always,
            Some(TellName::Never) => Tell::Never,
            Some(TellName::Chosen) | None => Tell::Chosen,
        },
        decisions: usize::try_from(decisions).unwrap_or(usize::MAX),
        auto: auto(&written.auto.map(|at| at.value).unwrap_or_default(), check),
    }
}

fn auto(written: &AutoWritten, check: &mut Check<'_, '_>) -> Weights {
    let mut weights = Weights::default();
    let from = |at: &Option<At<Count>>, usual: i32| {
        at.as_ref().map_or(usual, |at| i32::try_from(at.value.0).unwrap_or(i32::MAX))
    };
    weights.moderate = from(&written.moderate_from, weights.moderate);
    weights.complex = from(&written.complex_from, weights.complex);
    weights.reasoning = from(&written.reasoning_from, weights.reasoning);
    let threshold = written.complex_from.as_ref().or(written.moderate_from.as_ref());
    if let Some(at) = threshold.filter(|_| weights.complex <= weights.moderate) {
        let message = format!(
            "a request would be complex from {} points on, and moderate from {}: none is moderate",
            weights.complex, weights.moderate
        );
        check.reader.wrong(at, message).expected("`moderate_from` below `complex_from`");
    }
    for (name, at) in written.weights.iter().flat_map(|named| &named.value.0) {
        let Some(feature) = Feature::ALL.into_iter().find(|one| one.as_str() == name.value) else {
            let quote = check.reader.quote(name);
            let names: Vec<&str> = Feature::ALL.iter().map(|one| one.as_str()).collect();
            let said = check.reader.wrong(name, format!("`{quote}` is nothing that is counted"));
            said.expected(format!("one of: {}", names.join(", "))).did_you_mean(&quote, names);
            continue;
        };
        let Some(WeightMapWritten { points, reasoning, at_most }) =
            at.as_ref().map(|at| &at.value.0)
        else {
            continue;
        };
        let mut weight = weights.get(feature);
        weight.points = points.as_ref().map_or(weight.points, |at| at.value.0);
        weight.reasoning = reasoning.as_ref().map_or(weight.reasoning, |at| at.value.0);
        let counts = |at: &At<Count>| u16::try_from(at.value.0).unwrap_or(u16::MAX);
        weight.at_most = at_most.as_ref().map_or(weight.at_most, counts);
        weights.set(feature, weight);
    }
    weights
}

/// When a target counts as degraded or down.
pub(super) fn health(written: &PolicyWritten, check: &mut Check<'_, '_>) -> Thresholds {
    let written = written.health.as_ref().map(|at| at.value.clone()).unwrap_or_default();
    let degraded = written.degraded.map(|at| at.value).unwrap_or_default();
    let down = written.down.map(|at| at.value).unwrap_or_default();
    let usual = Thresholds::default();
    let share = |at: &Option<At<Share>>| at.as_ref().map(|at| (at.value.0 * 1000.0).round() as u32);
    let down_below = share(&down.success);
    // What is said of one of the two moves the other along, if that is not said.
    let degraded_below = share(&degraded.success)
        .unwrap_or(usual.degraded_below.max(down_below.unwrap_or(usual.down_below)));
    let down_below = down_below.unwrap_or(usual.down_below.min(degraded_below));
    if let Some(at) = down.success.as_ref().filter(|_| down_below > degraded_below) {
        let percent = f64::from(degraded_below) / 10.0;
        check
            .reader
            .wrong(at, format!("a target would be down before it is degraded (below {percent}%)"))
            .help("`down.success` is at most `degraded.success`");
    }
    let failures = down.failures.as_ref().map(|at| At {
        value: Count(at.value.0),
        span: at.span,
        path: at.path.clone(),
    });
    let slow = degraded.p95.as_ref().map(|_| positive(&degraded.p95, SECOND, check));
    Thresholds {
        degraded_below,
        down_below,
        down_after: check.at_least_one_u32(&failures, usual.down_after.into()).get(),
        slow_whole: slow,
        cooldown: positive(&written.recover_after, usual.cooldown, check),
        ..usual
    }
}

/// What providers have for a probe that say nothing of their own.
pub(super) fn usual_probe(written: &PolicyWritten, check: &mut Check<'_, '_>) -> Option<Probe> {
    let health = written.health.as_ref()?;
    probe(health.value.probe.as_ref()?, None, check)
}

/// A probe; what it doesn't say is as `usual`.
pub(super) fn probe(
    at: &At<ProbeOrOff>,
    usual: Option<&Probe>,
    check: &mut Check<'_, '_>,
) -> Option<Probe> {
    let ProbeOrOff::Probe(written) = &at.value else { return None };
    let ProbeWritten { interval, jitter, timeout, path } = &**written;
    let pacing = usual.map_or(PACING, |usual| usual.pacing);
    let every = positive(interval, pacing.every, check);
    let usual_timeout = usual.map_or(5 * SECOND, |usual| usual.timeout).min(every);
    let longest = positive(timeout, usual_timeout, check);
    if let Some(at) = timeout.as_ref().filter(|_| longest > every) {
        check
            .reader
            .wrong(at, "a probe would still wait when the next one begins")
            .help("`timeout` is at most `interval`");
    }
    let is_path = |text: &str| text.starts_with('/') && text.parse::<PathAndQuery>().is_ok();
    if let Some(at) = path.as_ref().filter(|at| !is_path(&at.value.0)) {
        let quote = check.reader.quote(at);
        let wrong = match at.value.0.starts_with('/') {
            true => "holds what no path can",
            false => "does not begin with a slash",
        };
        check
            .reader
            .wrong(at, format!("`{quote}` {wrong}"))
            .expected("a path behind the base URL, such as /models");
    }
    let per_mille = |at: &At<Share>| (at.value.0 * 1000.0).round() as u32;
    let usual_path = || usual.map_or_else(|| "/models".into(), |usual| usual.path.clone());
    Some(Probe {
        pacing: ProbePacing {
            every,
            jitter: jitter.as_ref().map_or(pacing.jitter, per_mille),
            at_most: pacing.at_most.max(every),
        },
        timeout: longest,
        path: path.as_ref().map_or_else(usual_path, |at| at.value.0.as_str().into()),
    })
}
