//! The line at one key: nobody overtakes, and only the first looks at the clock.

use std::{collections::VecDeque, task::Waker};

use crate::{
    config::Config,
    gauge::Nanos,
    reading::{UNITS, Weights},
    state::{Hold, Pass, State},
};

/// One key's state and those who wait for it.
#[derive(Debug, Default)]
pub(crate) struct Line {
    pub(crate) state: State,
    waiters: VecDeque<Waiter>,
    /// What the waiters want in all.
    backlog: [u64; UNITS],
    next: u64,
    pub(crate) waited: u64,
    pub(crate) refused: u64,
}

#[derive(Debug)]
struct Waiter {
    ticket: u64,
    weights: Weights,
    deadline: Nanos,
    waker: Option<Waker>,
}

/// What becomes of a request at its arrival.
pub(crate) enum Arrival {
    Admitted(Pass),
    Refused(Hold),
    Queued(u64),
}

/// How a waiter stands.
pub(crate) enum Turn {
    Admitted(Pass),
    Refused(Hold),
    /// Asks again by then at the latest.
    Later(Nanos),
}

impl Line {
    /// What would hold a request back that came now.
    pub(crate) fn hold(&self, weights: &Weights, now: Nanos, config: &Config) -> Option<Hold> {
        let hold = self.state.hold(&self.backlog, weights, now, config);
        // Whoever is in line has the next turn, be it there already.
        let behind = || Hold { until: now, unit: None };
        hold.or_else(|| (!self.waiters.is_empty()).then(behind))
    }

    pub(crate) fn arrive(
        &mut self,
        weights: Weights,
        patience: Nanos,
        now: Nanos,
        config: &Config,
    ) -> Arrival {
        let Some(hold) = self.hold(&weights, now, config) else {
            return Arrival::Admitted(self.state.take(weights, now));
        };
        let deadline = now.saturating_add(patience);
        if patience == 0 || hold.until > deadline {
            self.refused += 1;
            return Arrival::Refused(hold);
        }
        let ticket = self.next;
        self.next += 1;
        for (all, weight) in self.backlog.iter_mut().zip(weights.0) {
            *all = all.saturating_add(weight);
        }
        self.waiters.push_back(Waiter { ticket, weights, deadline, waker: None });
        Arrival::Queued(ticket)
    }

    /// A waiter asks how it stands. Where it leaves the line, the one behind is to be woken.
    pub(crate) fn ask(
        &mut self,
        ticket: u64,
        waker: &Waker,
        now: Nanos,
        config: &Config,
    ) -> (Turn, Option<Waker>) {
        let Some(place) = self.find(ticket) else { return (Turn::Later(Nanos::MAX), None) };
        let waiter = &mut self.waiters[place];
        let (weights, deadline) = (waiter.weights, waiter.deadline);
        let hold = match place {
            0 => self.state.hold(&[0; UNITS], &weights, now, config),
            _ => Some(Hold { until: deadline, unit: None }),
        };
        let Some(hold) = hold else {
            self.remove(place);
            self.waited += 1;
            return (Turn::Admitted(self.state.take(weights, now)), self.first());
        };
        if now >= deadline || hold.until > deadline {
            self.remove(place);
            self.refused += 1;
            // What is told is how long it would have been from here.
            let hold = self.hold(&weights, now, config).unwrap_or(hold);
            return (Turn::Refused(hold), if place == 0 { self.first() } else { None });
        }
        match &mut waiter.waker {
            Some(known) => known.clone_from(waker),
            unset => *unset = Some(waker.clone()),
        }
        (Turn::Later(hold.until), None)
    }

    /// A waiter goes away without an answer.
    pub(crate) fn leave(&mut self, ticket: u64) -> Option<Waker> {
        let place = self.find(ticket)?;
        self.remove(place);
        if place == 0 { self.first() } else { None }
    }

    /// Whoever is first, to look at the clock again.
    pub(crate) fn first(&mut self) -> Option<Waker> {
        self.waiters.front_mut()?.waker.take()
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiters.len()
    }

    fn find(&self, ticket: u64) -> Option<usize> {
        self.waiters.binary_search_by_key(&ticket, |waiter| waiter.ticket).ok()
    }

    fn remove(&mut self, place: usize) {
        if let Some(waiter) = self.waiters.remove(place) {
            for (all, weight) in self.backlog.iter_mut().zip(waiter.weights.0) {
                *all = all.saturating_sub(weight);
            }
        }
    }
}
