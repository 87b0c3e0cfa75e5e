use std::{fmt, sync::Arc, time::Duration};

use tollway_core::{ErrorClass, Failure};

use crate::Unit;

/// The provider would refuse the request by what it has said of its limits, so it was not sent.
///
/// Answered boxed; [`find_error`](tollway_core::find_error) finds it. Its source is a [`Failure`]
/// of class [`ErrorClass::RateLimit`] with the same wait, so that who knows only failures (a retry
/// layer) understands it too.
#[derive(Clone, Debug)]
pub struct Paced {
    unit: Option<Unit>,
    retry_after: Duration,
    failure: Failure,
}

impl Paced {
    pub(crate) fn new(unit: Option<Unit>, retry_after: Duration, message: Arc<str>) -> Self {
        let failure = Failure::new(ErrorClass::RateLimit, message);
        Self { unit, retry_after, failure: failure.with_retry_after(Some(retry_after)) }
    }

    /// When the request could go, by what is known now.
    pub fn retry_after(&self) -> Duration {
        self.retry_after
    }

    /// The limit that holds it back longest; `None`: the provider's own refusal, or the line of
    /// those who wait.
    pub fn unit(&self) -> Option<Unit> {
        self.unit
    }
}

impl fmt::Display for Paced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.failure.message())?;
        if let Some(unit) = self.unit {
            write!(f, " ({})", unit.as_str().replace('_', " "))?;
        }
        let seconds = self.retry_after.as_secs() + u64::from(self.retry_after.subsec_nanos() > 0);
        write!(f, ", try again in {seconds} s")
    }
}

impl std::error::Error for Paced {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.failure)
    }
}
