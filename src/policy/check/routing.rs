use std::time::Duration;

use super::{Check, server::positive};
use crate::policy::{
    Auto, Health, Probe, Routing, Tell, Timing,
    read::At,
    values::{Count, Share, TellName, TimingName},
    written::{AutoWritten, PolicyWritten, ProbeOrOff, ProbeWritten},
};

const SECOND: Duration = Duration::from_secs(1);
/// Decisions kept at most; each is about a kilobyte.
const MOST_DECISIONS: u64 = 100_000;

impl From<TimingName> for Timing {
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
    Routing {
        min_samples: check.at_least_one_u32(&written.min_samples, 10),
        window: positive(&written.window, 300 * SECOND, check),
        explore: written.explore.as_ref().map_or(0.05, |at| at.value.0),
        expect: expect.map(|at| at.value.into()),
        header: match written.header.as_ref().map(|at| at.value) {
            Some(TellName::Always) => Tell::Always,
            Some(TellName::Never) => Tell::Never,
            Some(TellName::Chosen) | None => Tell::Chosen,
        },
        decisions: usize::try_from(decisions).unwrap_or(usize::MAX),
        auto: auto(written.auto.map(|at| at.value).unwrap_or_default(), check),
    }
}

fn auto(written: AutoWritten, check: &mut Check<'_, '_>) -> Auto {
    let points = |at: &Option<At<Count>>, default: i32| {
        at.as_ref().map_or(default, |at| i32::try_from(at.value.0).unwrap_or(i32::MAX))
    };
    let moderate_from = points(&written.moderate_from, 30);
    let complex_from = points(&written.complex_from, 65);
    if let (Some(at), true) = (
        written.complex_from.as_ref().or(written.moderate_from.as_ref()),
        moderate_from >= complex_from,
    ) {
        let message = format!(
            "a request would be complex from {complex_from} points on, and moderate from {moderate_from}: none is moderate"
        );
        check.reader.wrong(at, message).expected("`moderate_from` below `complex_from`");
    }
    let weights = written.weights.iter().flat_map(|named| &named.value.0);
    let weights = weights.filter_map(|(name, at)| Some((name.value.clone(), at.as_ref()?.value.0)));
    Auto { moderate_from, complex_from, weights: weights.collect() }
}

/// When a target counts as degraded or down.
pub(super) fn health(written: &PolicyWritten, check: &mut Check<'_, '_>) -> Health {
    let written = written.health.as_ref().map(|at| at.value.clone()).unwrap_or_default();
    let degraded = written.degraded.map(|at| at.value).unwrap_or_default();
    let down = written.down.map(|at| at.value).unwrap_or_default();
    let share = |at: &Option<At<Share>>| at.as_ref().map(|at| at.value.0);
    let degraded_success = share(&degraded.success)
        .unwrap_or_else(|| share(&down.success).map_or(0.9, |down| down.max(0.9)));
    let down_success = share(&down.success).unwrap_or(degraded_success.min(0.5));
    if let (Some(at), true) = (&down.success, down_success > degraded_success) {
        let percent = degraded_success * 100.0;
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
    Health {
        degraded_success,
        degraded_p95: degraded.p95.as_ref().map(|_| positive(&degraded.p95, SECOND, check)),
        down_success,
        down_failures: check.at_least_one_u32(&failures, 5),
        recover_after: positive(&written.recover_after, 30 * SECOND, check),
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
    let ProbeWritten { interval, jitter, timeout, path } = written;
    let interval = positive(interval, usual.map_or(30 * SECOND, |usual| usual.interval), check);
    let usual_timeout = usual.map_or(5 * SECOND, |usual| usual.timeout).min(interval);
    let longest = positive(timeout, usual_timeout, check);
    if let (Some(at), true) = (timeout, longest > interval) {
        check
            .reader
            .wrong(at, "a probe would still wait when the next one begins")
            .help("`timeout` is at most `interval`");
    }
    if let Some(at) = path.as_ref().filter(|at| !at.value.0.starts_with('/')) {
        let quote = check.reader.quote(at);
        check
            .reader
            .wrong(at, format!("`{quote}` does not begin with a slash"))
            .expected("a path behind the base URL, such as /models");
    }
    let usual_path = || usual.map_or_else(|| "/models".into(), |usual| usual.path.clone());
    Some(Probe {
        interval,
        jitter: jitter.as_ref().map_or(usual.map_or(0.2, |usual| usual.jitter), |at| at.value.0),
        timeout: longest,
        path: path.as_ref().map_or_else(usual_path, |at| at.value.0.as_str().into()),
    })
}
