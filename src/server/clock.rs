use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

use crate::policy::Server;

/// What a connection waits for while no request is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// The first byte of a head.
    Idle,
    /// The rest of it.
    Head,
}

/// Bounds the time between requests, and that of a head from its first byte on: hyper has one
/// bound for both. One timer a connection, set anew where the wait becomes another one.
#[derive(Debug)]
pub(super) struct Clock {
    idle: Duration,
    head: Duration,
    /// For which wait it is set.
    running: Option<Wait>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Clock {
    pub(super) fn new(config: &Server) -> Self {
        let (idle, head) = (config.idle_timeout, config.header_timeout);
        Self { idle, head, running: None, sleep: None }
    }

    /// The next wait is a new one, even if it is for the same.
    pub(super) fn stop(&mut self) {
        self.running = None;
    }

    /// Ready once `wait` has lasted too long.
    pub(super) fn poll(&mut self, wait: Wait, cx: &mut Context<'_>) -> Poll<()> {
        if self.running != Some(wait) {
            self.running = Some(wait);
            let time = match wait {
                Wait::Idle => self.idle,
                Wait::Head => self.head,
            };
            let due = Instant::now() + time;
            match &mut self.sleep {
                Some(sleep) => sleep.as_mut().reset(due),
                None => self.sleep = Some(Box::pin(sleep_until(due))),
            }
        }
        self.sleep.as_mut().map_or(Poll::Pending, |sleep| sleep.as_mut().poll(cx))
    }
}
