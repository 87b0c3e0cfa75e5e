use std::{num::NonZeroU32, sync::Arc, time::Duration};

use tollway_core::PerMille;
use tollway_route::{Of, auto::Weights, facts::Pacing};

/// How routes that go by figures decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routing {
    /// Replies from which on a target's figures count.
    pub min_samples: NonZeroU32,
    /// The time that figures look back.
    pub window: Duration,
    /// Share of requests that go first to a target without figures.
    pub explore: PerMille,
    /// The latency that is meant where a strategy doesn't say; `None`: of a stream that to the first
    /// token, of any other reply that to its end.
    pub expect: Option<Of>,
    /// When a reply carries the decision.
    pub header: Tell,
    /// Recent decisions that are kept.
    pub decisions: usize,
    /// How `auto` tells how hard a request is.
    pub auto: Weights,
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

/// A cheap request that asks a provider whether it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// How often.
    pub pacing: Pacing,
    /// For the answer; not longer than the time between two.
    pub timeout: Duration,
    /// Behind the base URL; begins with a slash.
    pub path: Arc<str>,
}
