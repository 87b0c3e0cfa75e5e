//! Every interleaving of requests that race for the same circuit:
//! `RUSTFLAGS="--cfg loom" cargo test --release -p tollway-circuit-breaker --test loom`
#![cfg(loom)]
#![allow(dead_code, unreachable_pub, reason = "only the concurrent core is compiled in")]

#[path = "../src/config.rs"]
mod config;
#[path = "../src/events.rs"]
mod events;
#[path = "../src/registry.rs"]
mod registry;
#[path = "../src/state.rs"]
mod state;
#[path = "../src/sync.rs"]
mod sync;
#[path = "../src/window.rs"]
mod window;

use std::time::Duration;

use config::Config;
use loom::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};
use registry::{Permit, Registry};
use state::{Nanos, Outcome, Phase};
use tollway_core::ErrorClass;

const FAILED: Outcome = Outcome::Failure(ErrorClass::Server);
const OPEN_FOR: Nanos = 100;

fn config() -> Config {
    Config {
        consecutive_failures: Some(1),
        open_for: Duration::from_nanos(OPEN_FOR),
        trial_requests: 1,
        trial_successes: 1,
        max_keys: 1,
        ..Config::default()
    }
}

struct World {
    registry: Registry<u8>,
    config: Config,
    trials: AtomicUsize,
}

impl World {
    /// With the circuit of key 7 opened at 0.
    fn open() -> Arc<Self> {
        let world =
            Self { registry: Registry::new(), config: config(), trials: AtomicUsize::new(0) };
        world.take(7, 0).expect("closed").settle(FAILED, false, 0, &world.config);
        Arc::new(world)
    }

    fn take(&self, key: u8, now: Nanos) -> Option<Permit<u8>> {
        let entry = self.registry.get_or_make(key, now, &self.config)?;
        let pass = entry.lock().admit(now, &self.config).0.ok()?;
        Some(Permit::new(entry, pass))
    }

    /// One trial from its start to whatever end; checks that it is alone.
    fn trial(&self, end: Option<Outcome>) -> bool {
        let Some(mut permit) = self.take(7, OPEN_FOR) else { return false };
        if permit.is_trial() {
            assert_eq!(self.trials.fetch_add(1, Ordering::SeqCst), 0, "two trials at once");
            self.trials.fetch_sub(1, Ordering::SeqCst);
        }
        if let Some(outcome) = end {
            permit.settle(outcome, false, OPEN_FOR, &self.config);
        }
        true
    }

    fn phase(&self) -> Phase {
        let entry = self.registry.get(&7).expect("never evicted");
        entry.lock().phase(OPEN_FOR, &self.config)
    }
}

#[test]
fn one_trial_at_a_time_and_a_cancelled_one_frees_its_place() {
    loom::model(|| {
        let world = World::open();
        let other = world.clone();
        let thread = thread::spawn(move || other.trial(None));
        let mine = world.trial(None);
        let others = thread.join().unwrap();
        assert!(mine || others, "somebody got through");
        assert!(world.trial(Some(Outcome::Success)), "the place is free again");
        assert_eq!(world.phase(), Phase::Closed);
    });
}

#[test]
fn a_success_and_a_cancel_never_leave_it_half_open_for_good() {
    loom::model(|| {
        let world = World::open();
        let other = world.clone();
        let thread = thread::spawn(move || other.trial(None));
        let succeeded = world.trial(Some(Outcome::Success));
        thread.join().unwrap();
        if succeeded {
            assert_eq!(world.phase(), Phase::Closed);
        } else {
            assert!(world.trial(Some(Outcome::Success)));
        }
    });
}

#[test]
fn a_failed_trial_opens_it_whoever_else_asks() {
    loom::model(|| {
        let world = World::open();
        let other = world.clone();
        let thread = thread::spawn(move || other.trial(Some(FAILED)));
        let mine = world.trial(Some(FAILED));
        let others = thread.join().unwrap();
        assert!(mine != others, "the first trial opens it, so there is no second");
        assert!(matches!(world.phase(), Phase::Open { .. }));
    });
}

#[test]
fn a_key_in_use_is_never_evicted() {
    loom::model(|| {
        let world = Arc::new(World {
            registry: Registry::new(),
            config: config(),
            trials: AtomicUsize::new(0),
        });
        let other = world.clone();
        let thread = thread::spawn(move || {
            if let Some(mut permit) = other.take(7, 0) {
                permit.settle(FAILED, false, 0, &other.config);
                drop(permit);
                assert!(matches!(other.phase(), Phase::Open { .. } | Phase::HalfOpen { .. }));
            }
        });
        drop(world.take(8, 0));
        thread.join().unwrap();
    });
}
