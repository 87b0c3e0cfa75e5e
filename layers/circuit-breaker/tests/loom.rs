//! Every interleaving of requests that race for the same circuit:
//! `RUSTFLAGS="--cfg loom" cargo test --release -p tollway-circuit-breaker --test loom`
#![cfg(loom)]
#![allow(dead_code, unreachable_pub, reason = "only the concurrent core is compiled in")]

#[path = "../src/advice.rs"]
mod advice;
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

use advice::{Advice, Heard};
use config::Config;
use loom::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};
use registry::{Permit, Registry};
use state::{Nanos, Outcome, Phase, nanos};
use tokio::time::Instant;
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
        self.phase_at(OPEN_FOR)
    }

    fn phase_at(&self, now: Nanos) -> Phase {
        let entry = self.registry.get(&7).expect("never evicted");
        entry.lock().phase(now, &self.config)
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

/// Others speak of a circuit while calls of its own end.
#[test]
fn advice_that_races_with_a_call_loses_neither() {
    loom::model(|| {
        let world = Arc::new(World {
            registry: Registry::new(),
            config: Config { consecutive_failures: Some(2), ..config() },
            trials: AtomicUsize::new(0),
        });
        let mut failing = world.take(7, 0).expect("closed");
        let other = world.clone();
        let thread = thread::spawn(move || {
            let entry = other.registry.get_or_make(7, 0, &other.config).expect("room");
            entry.lock().advise(heard(), 0, &other.config);
        });
        failing.settle(FAILED, false, 0, &world.config);
        let late = world.take(7, 0);
        thread.join().unwrap();
        assert!(matches!(world.phase_at(0), Phase::Advised { .. }), "what was said holds");
        drop(late);
        let entry = world.registry.get(&7).expect("made");
        assert_eq!(entry.lock().streak(), 1, "what was found by itself counts");
        assert!(world.trial(Some(Outcome::Success)), "when it is over, a trial");
        assert_eq!(world.phase(), Phase::Closed);
    });
}

#[test]
fn one_trial_at_a_time_of_what_others_said() {
    loom::model(|| {
        let world = Arc::new(World {
            registry: Registry::new(),
            config: config(),
            trials: AtomicUsize::new(0),
        });
        let entry = world.registry.get_or_make(7, 0, &world.config).expect("room");
        entry.lock().advise(heard(), 0, &world.config);
        drop(entry);
        let (one, other) = (world.clone(), world.clone());
        let trial = thread::spawn(move || one.trial(None));
        let withdrawn = thread::spawn(move || {
            let entry = other.registry.get(&7).expect("made");
            entry.lock().withdraw("b");
        });
        let mine = world.trial(Some(Outcome::Success));
        withdrawn.join().unwrap();
        assert!(trial.join().unwrap() || mine, "somebody got through");
        assert_eq!(world.phase(), Phase::Closed);
    });
}

/// Holds as long as an opening.
fn heard() -> Heard {
    let epoch = Instant::now();
    let advice = Advice {
        from: "b".into(),
        why: "down".into(),
        found: epoch,
        until: epoch + Duration::from_nanos(OPEN_FOR),
        benched: None,
        firm: false,
    };
    Heard::new(&advice, 0, |at| nanos(at - epoch))
}
