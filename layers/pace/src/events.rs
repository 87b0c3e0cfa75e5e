use std::time::Duration;

use crate::Unit;

/// Something that happened at a key; told to the layer's [`Hook`](tollway_core::Hook). Requests
/// that pass at once are not told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<K> {
    /// Whose limits.
    pub key: K,
    /// What happened.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// A request was refused.
    Refused {
        /// The limit that would have held it back longest; `None`: the provider's own refusal, or
        /// the line of those who wait.
        unit: Option<Unit>,
        /// When it could have gone.
        retry_after: Duration,
    },
    /// A request stood in line for this long and was then let through.
    Waited(Duration),
    /// A reply told of a limit that is new, or other than it was.
    Found {
        /// What is limited.
        unit: Unit,
        /// What the limit allows when full.
        limit: u64,
    },
    /// The provider refused a request and asked for this wait.
    Blocked(Duration),
}
