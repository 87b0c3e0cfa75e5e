//! A request in line, from without.

use std::{sync::Arc, task::Context, time::Duration};

use tokio::time::Instant;

use super::Limiter;
use crate::{
    LimitExceeded,
    decide::{Claim, Effects},
    queue::Outcome,
};

/// A request's place in line; dropping it gives the place up.
#[derive(Debug)]
pub(crate) struct Place {
    limiter: Arc<Limiter>,
    seq: Option<u64>,
}

impl Place {
    pub(super) fn new(limiter: Arc<Limiter>, seq: u64) -> Self {
        Self { limiter, seq: Some(seq) }
    }

    /// The outcome, or the latest moment at which to ask again.
    pub(crate) fn poll(
        &mut self,
        cx: &Context<'_>,
    ) -> Result<Result<Vec<Claim>, LimitExceeded>, Instant> {
        let Some(seq) = self.seq else { return Ok(Ok(Vec::new())) };
        let (now, mut effects) = (self.limiter.now(), Effects::default());
        let outcome = self.limiter.lock().poll_waiter(seq, cx.waker(), now, &mut effects);
        self.limiter.finish(effects);
        match outcome {
            Ok(outcome) => {
                self.seq = None;
                Ok(match outcome {
                    Outcome::Admitted(claims) => Ok(claims),
                    Outcome::Refused(refusal) => Err(self.limiter.exceeded(refusal)),
                })
            }
            Err(armed) => {
                // A century is for ever, and no overflow.
                let wait = Duration::from_nanos(armed.saturating_sub(now.mono));
                Err(Instant::now() + wait.min(Duration::from_secs(100 * 365 * 86_400)))
            }
        }
    }

    pub(crate) fn limiter(&self) -> &Arc<Limiter> {
        &self.limiter
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(seq) = self.seq.take() {
            let (now, mut effects) = (self.limiter.now(), Effects::default());
            self.limiter.lock().leave(seq, now, &mut effects);
            self.limiter.finish(effects);
        }
    }
}
