use std::{num::NonZeroU32, sync::Arc, time::Duration};

use super::Timing;

/// How routes that go by figures decide.
#[derive(Clone, Debug, PartialEq)]
pub struct Routing {
    /// Replies from which on a target's figures count.
    pub min_samples: NonZeroU32,
    /// The time that figures look back.
    pub window: Duration,
    /// Share of requests that go first to a target without figures, 0..=1.
    pub explore: f64,
    /// The latency that is meant where a strategy doesn't say; `None`: of a stream that to the first
    /// token, of any other reply that to its end.
    pub expect: Option<Timing>,
    /// When a reply carries the decision.
    pub header: Tell,
    /// Recent decisions that are kept.
    pub decisions: usize,
    /// How `auto` tells how hard a request is.
    pub auto: Auto,
}

/// How `auto` tells how hard a request is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auto {
    /// Points from which on a request is moderate.
    pub moderate_from: i32,
    /// Points from which on it is complex; more than that.
    pub complex_from: i32,
    /// Points of features that differ from the usual ones.
    pub weights: Vec<(String, i32)>,
}

/// When a reply carries the decision in a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tell {
    /// Where a rule or a strategy that goes by figures chose.
    Chosen,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// When a target counts as degraded or down.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Health {
    /// Degraded below this share of successes, 0..=1.
    pub degraded_success: f64,
    /// Degraded above this 95th percentile of time to the whole reply.
    pub degraded_p95: Option<Duration>,
    /// Down below this share of successes, 0..=1; not above `degraded_success`.
    pub down_success: f64,
    /// Down after this many failures in a row.
    pub down_failures: NonZeroU32,
    /// From when on a target that is down gets a request again.
    pub recover_after: Duration,
}

/// A cheap request that asks a provider whether it answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    /// How often.
    pub interval: Duration,
    /// By how much of itself `interval` varies in both directions, 0..=1.
    pub jitter: f64,
    /// For the answer; not longer than `interval`.
    pub timeout: Duration,
    /// Behind the base URL; begins with a slash.
    pub path: Arc<str>,
}
