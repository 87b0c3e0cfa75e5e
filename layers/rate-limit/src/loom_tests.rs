//! Every interleaving of threads at the limiter's lock. The machine behind the lock has no clock
//! and no runtime of its own, so loom runs it as it is.

use std::{
    future::poll_fn,
    task::{Poll, Waker},
};

use loom::{
    future::block_on,
    sync::{Arc, Mutex},
    thread,
};
use tollway_store::limits::Now;

use crate::{
    Key, Limit, Quota, Unit,
    decide::{Arrival, Claim, Core, Effects},
    queue::Outcome,
    table::Table,
};

/// Locks, decides, unlocks, wakes: as `Limiter` does.
#[derive(Clone)]
struct Shared(Arc<Mutex<Core>>);

impl Shared {
    /// Two limits with one place each.
    fn new(max_wait: Option<u64>) -> Self {
        let table = |_| {
            let limit = Limit::new("places", Quota::Concurrent { amount: 1 }).unwrap();
            Table::new(limit.name().clone(), Unit::Requests, limit.shape(), true, max_wait, 10)
        };
        Self(Arc::new(Mutex::new(Core::new((0..2).map(table).collect()))))
    }

    fn with<T>(&self, act: impl FnOnce(&mut Core, &mut Effects) -> T) -> T {
        let mut effects = Effects::default();
        let result = act(&mut self.0.lock().unwrap(), &mut effects);
        effects.wakers.into_iter().for_each(Waker::wake);
        result
    }

    fn arrive(&self, rules: &[u32]) -> Arrival {
        let claims = rules.iter().map(|rule| Claim::new(*rule, Key::All, 1, None)).collect();
        self.with(|core, effects| core.arrive(claims, Now::default(), effects))
    }

    fn settle(&self, claims: &[Claim]) {
        self.with(|core, effects| core.settle(claims, Now::default(), effects));
    }

    /// Waits to its end; loom tells if the wake never comes.
    fn wait(&self, seq: u64) -> Vec<Claim> {
        let outcome = block_on(poll_fn(|cx| {
            let poll = self
                .with(|core, effects| core.poll_waiter(seq, cx.waker(), Now::default(), effects));
            poll.map_or(Poll::Pending, Poll::Ready)
        }));
        match outcome {
            Outcome::Admitted(claims) => claims,
            Outcome::Refused(refusal) => panic!("{refusal:?}"),
        }
    }

    fn run(&self, rules: &[u32]) {
        let claims = match self.arrive(rules) {
            Arrival::Admitted(claims) => claims,
            Arrival::Queued(seq) => self.wait(seq),
            Arrival::Refused(refusal) => panic!("{refusal:?}"),
        };
        self.settle(&claims);
    }

    fn assert_free(&self) {
        let core = self.0.lock().unwrap();
        assert!(core.waiters.is_empty());
        for table in &core.tables {
            let (state, slot) = table.peek(&Key::All, Now::default());
            assert_eq!((state.used(&table.shape), slot.unwrap().held), (0, 0));
            assert_eq!(slot.unwrap().waiting(), 0);
        }
    }
}

#[test]
fn no_wake_is_lost() {
    loom::model(|| {
        let shared = Shared::new(Some(u64::MAX));
        let other = shared.clone();
        let thread = thread::spawn(move || other.run(&[0]));
        shared.run(&[0]);
        thread.join().unwrap();
        shared.assert_free();
    });
}

#[test]
fn limits_named_in_any_order_are_no_deadlock() {
    loom::model(|| {
        let shared = Shared::new(Some(u64::MAX));
        let other = shared.clone();
        let thread = thread::spawn(move || other.run(&[1, 0]));
        shared.run(&[0, 1]);
        thread.join().unwrap();
        shared.assert_free();
    });
}

#[test]
fn all_or_nothing() {
    loom::model(|| {
        let shared = Shared::new(None);
        let enter = |shared: Shared, rules: [u32; 2]| match shared.arrive(&rules) {
            Arrival::Admitted(claims) => Some(claims),
            _ => None,
        };
        let other = shared.clone();
        let thread = thread::spawn(move || enter(other, [1, 0]));
        let mine = enter(shared.clone(), [0, 1]);
        let theirs = thread.join().unwrap();
        assert!(mine.is_some() != theirs.is_some(), "one place each: one of two gets both");
        shared.settle(&mine.or(theirs).unwrap());
        shared.assert_free();
    });
}

/// The first in line leaves at the moment when the place becomes free.
#[test]
fn a_turn_is_never_lost_with_who_leaves() {
    loom::model(|| {
        let shared = Shared::new(Some(u64::MAX));
        let Arrival::Admitted(held) = shared.arrive(&[0]) else { panic!() };
        let Arrival::Queued(leaves) = shared.arrive(&[0]) else { panic!() };
        let Arrival::Queued(stays) = shared.arrive(&[0]) else { panic!() };
        let (a, b) = (shared.clone(), shared.clone());
        let settles = thread::spawn(move || a.settle(&held));
        let departs = thread::spawn(move || {
            b.with(|core, effects| core.leave(leaves, Now::default(), effects));
        });
        let claims = shared.wait(stays);
        settles.join().unwrap();
        departs.join().unwrap();
        shared.settle(&claims);
        shared.assert_free();
    });
}
