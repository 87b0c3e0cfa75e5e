use std::{sync::Arc, time::Duration};

use crate::{Key, Unit};

/// What the layer tells its [`Hook`](tollway_core::Hook). Ordinary admissions and settlements are
/// not told: the hook costs nothing while nothing is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// Name of the limit.
    pub limit: Arc<str>,
    /// What the limit counts.
    pub unit: Unit,
    /// Whose quota.
    pub key: Key,
    /// What happened.
    pub kind: EventKind,
}

/// What happened at a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// A request was refused.
    Refused {
        /// It is larger than the limit itself.
        never_fits: bool,
        /// What it asked for.
        asked: u64,
        /// What there was for it.
        available: u64,
        /// When it would be admitted.
        retry_after: Option<Duration>,
    },
    /// A shadow limit would have refused a request.
    WouldHaveRefused,
    /// Use climbed over the limit's `warn_at`. Told once, and again after it fell below.
    Warned {
        /// What is used.
        used: u64,
        /// What there is.
        capacity: u64,
    },
    /// What was really used, reservations aside, reached the whole capacity of a limit that has a
    /// `warn_at`. Told once, and again after it fell below. Of a limit that instances share it is told by
    /// the one whose request filled it.
    Filled {
        /// What is used.
        used: u64,
        /// What there is.
        capacity: u64,
    },
    /// A request found too little and went on as one that is
    /// [downgraded](crate::WhenFull::Downgrade).
    Downgraded,
    /// A request waited for this limit and was then admitted.
    Waited(Duration),
    /// A reply used more than was reserved for it.
    Debt {
        /// Taken on the way in.
        reserved: u64,
        /// Really used.
        spent: u64,
    },
    /// The store that instances share was away or too slow for a request: the limit did what it was
    /// [told to do then](crate::WhenStoreIsAway).
    DecidedAlone,
    /// A limit that [took over](crate::RateLimitLayerBuilder::resume) from one of its name counts
    /// something else, or otherwise: all its keys begin with their whole quota.
    StartedAnew,
}
