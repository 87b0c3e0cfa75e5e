use std::{fmt, time::Duration};

use tollway_core::ErrorClass;

/// Something that happened to the circuit of one key; told to the layer's
/// [`Hook`](tollway_core::Hook).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<K> {
    /// Whose circuit.
    pub key: K,
    /// What happened.
    pub kind: EventKind,
}

/// What happened to a circuit.
///
/// Time passes without events: `HalfOpened`, and `Closed` at the end of a ramp, are told when the
/// next request comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// Requests are refused from now on.
    Opened {
        /// Why.
        reason: Reason,
        /// For how long.
        open_for: Duration,
    },
    /// The time is up: trial requests are let through.
    HalfOpened,
    /// A trial request was let through.
    Trial,
    /// The trials succeeded: a growing share of requests is let through.
    Ramping {
        /// How long until all of them are.
        over: Duration,
    },
    /// Every request is let through again.
    Closed,
    /// The key is set aside: its credential was refused or its account is empty.
    Benched {
        /// [`ErrorClass::Auth`] or [`ErrorClass::Quota`], or what the classifier said.
        class: ErrorClass,
        /// For how long.
        bench_for: Duration,
    },
    /// An operator opened the circuit; it stays so until it is reset.
    ForcedOpen,
    /// Others found that it should be open: requests are refused from now on.
    Advised {
        /// For how long.
        hold_for: Duration,
        /// The key is set aside, and what its provider said of it.
        benched: Option<ErrorClass>,
    },
    /// What others said holds it no more, and it stands as it would without: they took it back, or
    /// trial requests showed otherwise.
    Freed,
    /// A request was refused.
    Refused {
        /// Why the circuit isn't closed.
        reason: Reason,
        /// When to come back, if that is known.
        retry_after: Option<Duration>,
    },
}

/// Why a circuit isn't closed. Printed in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// Too many failures in a row.
    Consecutive {
        /// How many.
        failures: u32,
        /// The last one's class.
        last: ErrorClass,
    },
    /// Too large a share of calls failed.
    FailureRatio {
        /// The share, per mille, by weight.
        ratio: u32,
        /// Calls in the window.
        calls: u32,
        /// Class of the last failure.
        last: ErrorClass,
    },
    /// Too large a share of calls was slow.
    SlowCalls {
        /// The share, per mille.
        ratio: u32,
        /// Calls in the window.
        calls: u32,
    },
    /// A trial request failed.
    TrialFailed(ErrorClass),
    /// A trial request was slow.
    TrialSlow,
    /// The key's credential was refused or its account is empty.
    Benched(ErrorClass),
    /// An operator opened it.
    Forced,
    /// Others found that it should be open; of a key that is set aside, what its provider said.
    Advised(Option<ErrorClass>),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |ratio: u32| (ratio / 10, ratio % 10);
        match *self {
            Self::Consecutive { failures: 1, last } => write!(f, "a failure ({last})"),
            Self::Consecutive { failures, last } => {
                write!(f, "{failures} failures in a row, the last: {last}")
            }
            Self::FailureRatio { ratio, calls, last } => {
                let (whole, tenth) = percent(ratio);
                write!(f, "{whole}.{tenth} % of {calls} calls failed, the last: {last}")
            }
            Self::SlowCalls { ratio, calls } => {
                let (whole, tenth) = percent(ratio);
                write!(f, "{whole}.{tenth} % of {calls} calls were slow")
            }
            Self::TrialFailed(class) => write!(f, "a trial request failed: {class}"),
            Self::TrialSlow => f.write_str("a trial request was slow"),
            Self::Benched(class) => write!(f, "the key is set aside: {class}"),
            Self::Forced => f.write_str("opened by an operator"),
            Self::Advised(None) => f.write_str("found by others"),
            Self::Advised(Some(class)) => {
                write!(f, "the key is set aside, found by others: {class}")
            }
        }
    }
}
