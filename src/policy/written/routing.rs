use schemars::{Schema, SchemaGenerator, json_schema};

use crate::policy::{
    node::{Node, Value},
    read::{At, Named, Read, Reader},
    section::section,
    values::*,
};

section! {
    /// How routes that go by figures decide.
    RoutingWritten {
        /// Replies from which on a target's figures count. Default 10.
        may min_samples: Count,
        /// The time that figures look back. Default 5m.
        may window: Time,
        /// Share of requests that go first to a target without figures. Default 5%.
        may explore: Share,
        /// What is meant where a strategy doesn't say.
        may expect: ExpectWritten,
        /// When a reply carries `x-tollway-decision`: chosen (by a rule, or by a strategy that goes
        /// by figures), always or never. Default chosen.
        may header: TellName,
        /// Recent decisions that are kept for the admin listener. Default 1000.
        may decisions: Count,
        /// How `auto` tells how hard a request is.
        may auto: AutoWritten,
    }
}

section! {
    /// What is meant where a strategy doesn't say.
    ExpectWritten {
        /// The time that `max_latency`, `score` and a bare `latency` mean: first_token, or whole.
        /// Default: of a stream first_token, of any other reply whole; a bare `latency` first_token.
        may latency: TimingName,
    }
}

section! {
    /// How `auto` tells how hard a request is.
    AutoWritten {
        /// Points from which on a request is moderate.
        may moderate_from: Count,
        /// Points from which on it is complex.
        may complex_from: Count,
        /// Points of reasoning from which on it asks for thinking.
        may reasoning_from: Count,
        /// Points of features that differ from the usual ones: `{ code: 12 }`, or
        /// `{ code: { points: 12, reasoning: 3, at_most: 4 } }`.
        may weights: Named<WeightWritten>,
    }
}

section! {
    /// What each count of a feature is worth.
    WeightMapWritten {
        /// Points of complexity.
        may points: Points,
        /// Points of reasoning.
        may reasoning: Points,
        /// Counts above are as good as this one.
        may at_most: Count,
    }
}

/// The points of complexity alone, or all of it.
#[derive(Clone, Debug)]
pub(in crate::policy) struct WeightWritten(pub(in crate::policy) WeightMapWritten);

impl Read for WeightWritten {
    fn read(node: &Node, path: &str, reader: &mut Reader<'_>) -> Option<Self> {
        if let Value::Map(_) | Value::Null = node.value {
            return WeightMapWritten::read(node, path, reader).map(Self);
        }
        let points = Some(At::read(node, path, reader)?);
        Some(Self(WeightMapWritten { points, ..WeightMapWritten::default() }))
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let points = <Points as Read>::schema(generator);
        let all = WeightMapWritten::schema(generator);
        json_schema!({ "anyOf": [points, all] })
    }
}

section! {
    /// When a target counts as degraded or down, and whether it is probed.
    HealthWritten {
        /// Answers, but not well.
        may degraded: DegradedWritten,
        /// Doesn't answer.
        may down: DownWritten,
        /// From when on a target that is down gets a request again. Default 30s.
        may recover_after: Time,
        /// Asks providers whether they answer. Default: no probes, traffic alone tells.
        may probe: ProbeOrOff,
    }
}

section! {
    /// Answers, but not well.
    DegradedWritten {
        /// Below this share of successes. Default 95%.
        may success: Share,
        /// Above this 95th percentile of time to the whole reply. Default: at no time.
        may p95: Time,
    }
}

section! {
    /// Doesn't answer.
    DownWritten {
        /// Below this share of successes. Default 50%.
        may success: Share,
        /// After this many failures in a row. Default 5.
        may failures: Failures,
    }
}

section! {
    /// A cheap request that asks a provider whether it answers.
    ProbeWritten {
        /// How often. Default 30s.
        may interval: Time,
        /// By how much `interval` varies in both directions. Default 20%.
        may jitter: Share,
        /// For the answer. Default 5s.
        may timeout: Time,
        /// What is asked for, behind the base URL. Default /models.
        may path: Text,
    }
}

/// `off`, or what a probe is like.
#[derive(Clone, Debug)]
pub(in crate::policy) enum ProbeOrOff {
    Off,
    Probe(Box<ProbeWritten>),
}

impl Read for ProbeOrOff {
    fn read(node: &Node, path: &str, reader: &mut Reader<'_>) -> Option<Self> {
        if let Value::Map(_) | Value::Null = node.value {
            return ProbeWritten::read(node, path, reader).map(|probe| Self::Probe(probe.into()));
        }
        Off::read(node, path, reader).map(|_| Self::Off)
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let off = <Off as Read>::schema(generator);
        let probe = ProbeWritten::schema(generator);
        json_schema!({ "anyOf": [off, probe] })
    }
}
