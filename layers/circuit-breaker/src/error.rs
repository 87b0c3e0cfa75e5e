use std::{fmt, sync::Arc, time::Duration};

use tollway_core::{ErrorClass, Failure};

use crate::{events::Reason, handle::State};

/// The request was refused because the circuit of its key isn't closed.
///
/// Answered boxed; [`find_error`](tollway_core::find_error) finds it. Its source is a [`Failure`]
/// of class [`ErrorClass::Overloaded`] with the same wait, so that who knows only failures (a retry
/// layer) understands it too.
#[derive(Debug)]
pub struct CircuitOpen {
    state: State,
    reason: Reason,
    failure: Failure,
}

impl CircuitOpen {
    pub(crate) fn new(
        state: State,
        reason: Reason,
        retry_after: Option<Duration>,
        message: Arc<str>,
    ) -> Self {
        let failure = Failure::new(ErrorClass::Overloaded, message).with_retry_after(retry_after);
        Self { state, reason, failure }
    }

    /// When a trial request may be let through; `None` where that isn't known: until a trial ends,
    /// a ramp lets the next one through, or an operator resets the circuit.
    pub fn retry_after(&self) -> Option<Duration> {
        self.failure.retry_after()
    }

    /// Why the circuit isn't closed.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// How it stands.
    pub fn state(&self) -> State {
        self.state
    }
}

impl fmt::Display for CircuitOpen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the circuit is {}: {}", self.state.as_str().replace('_', " "), self.reason)
    }
}

impl std::error::Error for CircuitOpen {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.failure)
    }
}
