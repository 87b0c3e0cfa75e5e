use std::sync::atomic::{AtomicU64, Ordering};

/// What a [`Simulator`](super::Simulator) has seen since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// Requests whose head arrived; the ones for `/__simulate/` are not counted.
    pub requests: u64,
    /// Requests answered with a 2xx head.
    pub accepted: u64,
    /// Requests answered 429, for want of requests, tokens or money.
    pub refused_429: u64,
    /// Requests answered with any other error status.
    pub errors: u64,
    /// Input and output tokens of the accepted requests.
    pub tokens: u64,
    /// Replies dropped before their end: the client hung up.
    pub cancelled: u64,
    /// Streams under way.
    pub open_streams: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) requests: AtomicU64,
    pub(super) accepted: AtomicU64,
    pub(super) refused_429: AtomicU64,
    pub(super) errors: AtomicU64,
    pub(super) tokens: AtomicU64,
    pub(super) cancelled: AtomicU64,
    pub(super) open_streams: AtomicU64,
}

impl Counters {
    pub(super) fn read(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            requests: read(&self.requests),
            accepted: read(&self.accepted),
            refused_429: read(&self.refused_429),
            errors: read(&self.errors),
            tokens: read(&self.tokens),
            cancelled: read(&self.cancelled),
            open_streams: read(&self.open_streams),
        }
    }

    pub(super) fn answered(&self, status: http::StatusCode, tokens: u64) {
        let counter = match status.as_u16() {
            200..300 => &self.accepted,
            429 => &self.refused_429,
            _ => &self.errors,
        };
        add(counter, 1);
        add(&self.tokens, tokens);
    }
}

pub(super) fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

pub(super) fn take(counter: &AtomicU64, amount: u64) {
    counter.fetch_sub(amount, Ordering::Relaxed);
}
