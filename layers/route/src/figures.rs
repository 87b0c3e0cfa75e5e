use std::{fmt, sync::Arc, time::Duration};

use tokio::time::Instant;
use tollway_core::{Ask, Caller, Target, Usd};

/// What is known of a target from its traffic, at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figures {
    /// Replies that the figures rest on.
    pub samples: u32,
    /// Time to the first token; `None`: too few samples, or too old.
    pub first_token: Option<Quantiles>,
    /// Time to the end of the reply; `None`: too few samples, or too old.
    pub whole: Option<Quantiles>,
    /// Seconds, quick to rise and slow to fall; 0: nothing is known.
    pub peak_ewma: f32,
    /// Share of replies that were none of the target's failures, 0 to 1, the latest weighing most.
    pub success: f32,
    /// Output tokens a second of one reply.
    pub tokens_per_second: Option<f32>,
    /// Mean cost of a request.
    pub cost: Option<Usd>,
    /// Mean output tokens of a reply.
    pub output_tokens: Option<f32>,
    /// By how much its replies are longer than those that its callers usually get
    /// ([`Track::usual_output`]): 2, if twice as long.
    pub wordiness: Option<f32>,
    /// Share of the input tokens that were cached, 0 to 1.
    pub cached_share: f32,
    /// Requests under way now.
    pub in_flight: u32,
    /// Requests that were under way, in the mean, while the times were taken.
    pub usual_in_flight: f32,
    /// The latest sample is so old that one more is due, and none is under way.
    pub stale: bool,
    /// How it stands.
    pub health: Health,
}

impl Default for Figures {
    /// Of a target of which nothing is known.
    fn default() -> Self {
        Self {
            samples: 0,
            first_token: None,
            whole: None,
            peak_ewma: 0.0,
            success: 1.0,
            tokens_per_second: None,
            cost: None,
            output_tokens: None,
            wordiness: None,
            cached_share: 0.0,
            in_flight: 0,
            usual_in_flight: 0.0,
            stale: false,
            health: Health::Healthy,
        }
    }
}

/// Times that a half, 95 and 99 of 100 replies did not exceed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quantiles {
    /// The median.
    pub p50: Duration,
    /// The 95th percentile.
    pub p95: Duration,
    /// The 99th percentile.
    pub p99: Duration,
}

/// How a target stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Health {
    /// It answers as it should.
    #[default]
    Healthy,
    /// It answers, but slowly or with failures.
    Degraded,
    /// It doesn't answer.
    Down,
}

impl Health {
    /// The lower-case name used in policies, labels and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Down => "down",
        }
    }
}

/// The live figures of one target. Read for each decision: it must be quick and take no lock.
pub trait Live: fmt::Debug + Send + Sync {
    /// The figures as they are at `now`.
    fn figures(&self, now: Instant) -> Figures;

    /// Whether it doesn't answer at `now`: all that routes of order and turns ask, for each request.
    fn is_down(&self, now: Instant) -> bool {
        self.figures(now).health == Health::Down
    }
}

/// A target of which nothing is known.
impl Live for () {
    fn figures(&self, _: Instant) -> Figures {
        Figures::default()
    }
}

/// Where the router finds a target's live figures. `()` has none; a closure is one.
///
/// Asked once for each place of a route and model, and kept beside it.
pub trait Track: Send + Sync {
    /// The figures of `target`, whose model is filled in where the request names one.
    fn slot(&self, target: &Target) -> Arc<dyn Live>;

    /// Tokens of the replies that this caller usually gets to such requests, wherever they come from;
    /// `None`: too little is known of it. Asked for each decision by figures.
    fn usual_output(&self, caller: Option<&Caller>, ask: &Ask) -> Option<f32> {
        let _ = (caller, ask);
        None
    }
}

impl Track for () {
    fn slot(&self, _: &Target) -> Arc<dyn Live> {
        Arc::new(())
    }
}

impl<F: Fn(&Target) -> Arc<dyn Live> + Send + Sync> Track for F {
    fn slot(&self, target: &Target) -> Arc<dyn Live> {
        self(target)
    }
}
