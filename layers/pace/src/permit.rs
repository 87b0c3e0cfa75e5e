//! What a request holds on its way to the provider, and in line before it.

use std::{
    fmt,
    hash::Hash,
    sync::Arc,
    task::{Context, Waker},
    time::Duration,
};

use http::{request, response};
use tokio::time::Instant;

use crate::{
    EventKind, Paced, Unit,
    gauge::Nanos,
    handle::Core,
    queue::{Arrival, Turn},
    registry::Entry,
    state::Pass,
};

/// A request that was let through; however it ends, it is under way no longer.
pub(crate) struct Permit<K> {
    core: Arc<Core<K>>,
    entry: Arc<Entry<K>>,
    pass: Option<Pass>,
}

/// A request's place in line; dropping it gives the place up.
pub(crate) struct Place<K> {
    core: Arc<Core<K>>,
    entry: Arc<Entry<K>>,
    ticket: Option<u64>,
    arrived: Nanos,
}

pub(crate) enum Entered<K> {
    /// `None`: nobody paces it.
    Admitted(Option<Permit<K>>),
    Refused(Paced),
    Waiting(Place<K>),
}

impl<K: Hash + Eq + Clone> Core<K> {
    pub(crate) fn enter(self: &Arc<Self>, request: &request::Parts) -> Entered<K> {
        let Some(key) = (self.key)(request) else { return Entered::Admitted(None) };
        let (weights, patience) = (self.weights(request), self.patience(request));
        let now = self.now();
        let Some(entry) = self.registry.get_or_make(key, now) else {
            return Entered::Admitted(None);
        };
        let arrival = entry.lock().arrive(weights, patience, now, &self.config);
        match arrival {
            Arrival::Admitted(pass) => {
                Entered::Admitted(Some(Permit { core: self.clone(), entry, pass: Some(pass) }))
            }
            Arrival::Refused(hold) => Entered::Refused(self.refuse(&entry.key, hold, now)),
            Arrival::Queued(ticket) => Entered::Waiting(Place {
                core: self.clone(),
                entry,
                ticket: Some(ticket),
                arrived: now,
            }),
        }
    }
}

impl<K: Clone> Place<K> {
    /// The outcome, or the latest moment at which to ask again.
    pub(crate) fn poll(&mut self, cx: &Context<'_>) -> Result<Result<Permit<K>, Paced>, Instant> {
        let Self { core, entry, ticket, arrived } = self;
        let asked = ticket.unwrap_or(u64::MAX);
        let now = core.now();
        let (turn, next) = entry.lock().ask(asked, cx.waker(), now, &core.config);
        if !matches!(turn, Turn::Later(_)) {
            *ticket = None;
        }
        next.into_iter().for_each(Waker::wake);
        match turn {
            Turn::Admitted(pass) => {
                let permit = Permit { core: core.clone(), entry: entry.clone(), pass: Some(pass) };
                let waited = Duration::from_nanos(now.saturating_sub(*arrived));
                core.tell(&entry.key, EventKind::Waited(waited));
                Ok(Ok(permit))
            }
            Turn::Refused(hold) => Ok(Err(core.refuse(&entry.key, hold, now))),
            Turn::Later(until) => Err(core.instant(until)),
        }
    }
}

impl<K> Drop for Place<K> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            let next = self.entry.lock().leave(ticket);
            next.into_iter().for_each(Waker::wake);
        }
    }
}

impl<K: Clone> Permit<K> {
    /// The reply's head came.
    pub(crate) fn head(mut self, response: &response::Parts) {
        let reading = (self.core.reading)(response);
        let Some(pass) = self.pass.take() else { return };
        let now = self.core.now();
        let (found, next) = {
            let mut line = self.entry.lock();
            line.state.end(&pass);
            let found = line.state.learn(&pass, &reading, now, &self.core.config);
            (found, line.first())
        };
        next.into_iter().for_each(Waker::wake);
        for (unit, limit) in Unit::ALL.into_iter().zip(found) {
            if let Some(limit) = limit {
                self.core.tell(&self.entry.key, EventKind::Found { unit, limit });
            }
        }
        if let Some(wait) = reading.blocked_for() {
            self.core.tell(&self.entry.key, EventKind::Blocked(wait));
        }
    }

    /// The inner service failed: the request counts for nothing.
    pub(crate) fn failed(mut self) {
        let Some(pass) = self.pass.take() else { return };
        let now = self.core.now();
        let next = {
            let mut line = self.entry.lock();
            line.state.end(&pass);
            line.state.give_back(&pass, now);
            line.first()
        };
        next.into_iter().for_each(Waker::wake);
    }
}

impl<K> Drop for Permit<K> {
    /// The caller left. The provider has probably counted the request, so it stays counted.
    fn drop(&mut self) {
        if let Some(pass) = self.pass.take() {
            self.entry.lock().state.end(&pass);
        }
    }
}

impl<K> fmt::Debug for Permit<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("pass", &self.pass).finish_non_exhaustive()
    }
}

impl<K> fmt::Debug for Place<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").field("ticket", &self.ticket).finish_non_exhaustive()
    }
}
