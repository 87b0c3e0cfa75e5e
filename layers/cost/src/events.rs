use std::time::{Duration, SystemTime};

use http::StatusCode;
use tollway_core::{Ask, Caller, Ending, Target, Usage, Usd};

use crate::{Dimension, Period};

/// One request, told once when it is over: a row for a ledger.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Record {
    /// Who asked; empty where nothing identified the caller.
    pub caller: Caller,
    /// What was asked; [`Operation::Other`](tollway_core::Operation::Other) where nothing read it.
    pub ask: Ask,
    /// Who served it, if anyone did and said so.
    pub target: Option<Target>,
    /// Status of the reply; `None`: there was no reply (an error, or the caller left before).
    pub status: Option<StatusCode>,
    /// How the reply ended; without a reply `Failed` (error) or `Dropped` (cancelled).
    pub ending: Ending,
    /// Tokens, as reported or estimated ([`Usage::is_estimate`]); `None`: unknown.
    pub usage: Option<Usage>,
    /// What they cost; `None`: usage or price unknown, which is not zero.
    pub cost: Option<Usd>,
    /// When the request came, by the wall clock.
    pub started: SystemTime,
    /// From then to the first content token, if one passed.
    pub first_token: Option<Duration>,
    /// From then to the end, by the monotonic clock.
    pub elapsed: Duration,
}

impl Record {
    /// A record of a request that came at `started` and has nothing else known about it.
    pub fn new(started: SystemTime, ending: Ending) -> Self {
        Self {
            caller: Caller::default(),
            ask: Ask::default(),
            target: None,
            status: None,
            ending,
            usage: None,
            cost: None,
            started,
            first_token: None,
            elapsed: Duration::ZERO,
        }
    }

    /// Name of the model that served: the target's, or the one asked for.
    pub fn model(&self) -> Option<&std::sync::Arc<str>> {
        self.target.as_ref().and_then(Target::model).or(self.ask.model.as_ref())
    }

    /// When the request was over: the start plus the monotonic time it took.
    pub fn ended(&self) -> SystemTime {
        self.started.checked_add(self.elapsed).unwrap_or(self.started)
    }
}

/// What [`Totals`](crate::Totals) tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A period has as many keys as are kept; further new ones are counted as `(other)`.
    /// Told once for a dimension and period.
    KeysFolded {
        /// Keys of what.
        dimension: Dimension,
        /// In which day or month.
        period: Period,
    },
}
