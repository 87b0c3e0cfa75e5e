use std::time::Duration;

use tollway_core::{ErrorClass, Target};

/// What the layer tells its [`Hook`](tollway_core::Hook). `attempt` counts from 1, all targets
/// together; targets are `None` without a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A target that was tried before is tried again after a wait.
    Retrying {
        /// The attempt that is about to be made.
        attempt: u32,
        /// What went wrong before it.
        class: ErrorClass,
        /// The wait before it.
        wait: Duration,
        /// Where it goes.
        target: Option<Target>,
    },
    /// Another target is tried at once.
    FailingOver {
        /// The attempt that is about to be made.
        attempt: u32,
        /// What went wrong.
        class: ErrorClass,
        /// The target that failed.
        from: Option<Target>,
        /// The target that is next.
        to: Option<Target>,
    },
    /// A failure that another try might have helped goes to the caller.
    Exhausted {
        /// Attempts made.
        attempts: u32,
        /// What went wrong last.
        class: ErrorClass,
        /// Why there is no further attempt.
        why: Stop,
    },
    /// The retry budget had nothing left for another try.
    BudgetEmpty {
        /// What went wrong.
        class: ErrorClass,
        /// The target that failed.
        target: Option<Target>,
    },
    /// An attempt after the first succeeded.
    Recovered {
        /// Attempts made, the good one included.
        attempts: u32,
        /// Where it succeeded.
        target: Option<Target>,
    },
}

/// Why no further attempt is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stop {
    /// No other try would help.
    Final,
    /// The request has had all its attempts.
    Attempts,
    /// Every target is benched, has had its attempts, or forbids another.
    Targets,
    /// The next attempt would come after the request's deadline.
    Deadline,
    /// The provider asks for a longer wait than the config obeys.
    Hint,
    /// The retry budget is empty.
    Budget,
    /// The request's body can't be sent again.
    Body,
}

impl Stop {
    /// The snake_case name for labels and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Final => "final",
            Self::Attempts => "attempts",
            Self::Targets => "targets",
            Self::Deadline => "deadline",
            Self::Hint => "hint",
            Self::Budget => "budget",
            Self::Body => "body",
        }
    }
}
