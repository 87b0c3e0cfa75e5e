//! What is old gives way to what is new.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use tollway_core::{ErrorClass, Target};
use tollway_route::{
    Figures,
    facts::{Config, Outcome, Slot, Tracker},
};

const SLOW: Duration = Duration::from_secs(2);
const QUICK: Duration = Duration::from_millis(500);

/// A slot and the time.
struct Rig(Arc<Slot>, Instant);

impl Rig {
    fn new() -> Self {
        let tracker = Tracker::new(Config::default()).unwrap();
        Self(tracker.slot(&Target::new("groq", "main", None)), Instant::now())
    }

    fn wait(&mut self, seconds: u64) -> &mut Self {
        self.1 += Duration::from_secs(seconds);
        self
    }

    /// So many at once; the clock stands at their end.
    fn run(&mut self, count: usize, time: Duration) -> &mut Self {
        let trips: Vec<_> = (0..count).map(|_| self.0.begin(self.1)).collect();
        self.1 += time;
        trips.into_iter().for_each(|trip| trip.end(self.1, Outcome::success()));
        self
    }

    fn figures(&self) -> Figures {
        self.0.figures(self.1)
    }

    /// The median in tenths of a second.
    fn tenths(&self) -> Option<u128> {
        self.figures().whole.map(|whole| (whole.p50.as_millis() + 50) / 100)
    }
}

#[test]
fn a_busy_target_goes_by_its_newest_times() {
    let mut rig = Rig::new();
    rig.run(400, QUICK).wait(60).run(400, SLOW).wait(1);
    assert_eq!((rig.tenths(), rig.figures().samples), (Some(20), 800));
    // What was under way beside them is of the same time.
    (0..300).for_each(|_| _ = rig.run(1, QUICK));
    let figures = rig.figures();
    assert_eq!((rig.tenths(), figures.usual_in_flight), (Some(5), 0.0));
    assert!(figures.samples > 400, "all of the window tell the means");
}

#[test]
fn one_with_few_samples_goes_by_all_of_them() {
    let mut rig = Rig::new();
    rig.run(70, QUICK).wait(100).run(60, SLOW);
    assert_eq!(rig.tenths(), Some(5));
}

#[test]
fn one_more_sample_is_due_after_a_pause() {
    let mut rig = Rig::new();
    rig.run(50, QUICK).wait(23);
    assert!(!rig.figures().stale);
    rig.wait(1);
    assert!(rig.figures().stale, "0.8 x 300 s / 10");
    let trip = rig.0.begin(rig.1);
    assert!(!rig.figures().stale, "it is under way");
    trip.end(rig.1, Outcome::failure(ErrorClass::Server));
    assert!(rig.figures().stale, "a failure tells no time");
    rig.run(1, QUICK);
    assert!(!rig.figures().stale);
}

#[test]
fn a_reply_far_quicker_than_before_a_pause_makes_that_forgotten() {
    let mut rig = Rig::new();
    rig.run(500, SLOW).wait(30).run(1, QUICK);
    assert_eq!((rig.tenths(), rig.figures().samples), (None, 1));
    rig.run(9, QUICK);
    assert_eq!(rig.tenths(), Some(5));
}

#[test]
fn one_that_is_a_little_quicker_or_comes_amid_others_changes_little() {
    let mut rig = Rig::new();
    rig.run(500, SLOW).wait(30).run(1, SLOW / 2);
    assert_eq!((rig.tenths(), rig.figures().samples), (Some(20), 501));
    rig.run(1, QUICK);
    assert_eq!((rig.tenths(), rig.figures().samples), (Some(20), 502));
}

#[test]
fn the_first_token_tells_it_too() {
    let mut rig = Rig::new();
    let mut one = |first: Duration| {
        let mut trip = rig.0.begin(rig.1);
        trip.first_token(rig.1 + first);
        rig.1 += SLOW;
        trip.end(rig.1, Outcome::success());
    };
    (0..20).for_each(|_| one(SLOW));
    rig.wait(30);
    let mut trip = rig.0.begin(rig.1);
    trip.first_token(rig.1 + QUICK);
    trip.end(rig.1 + SLOW, Outcome::success());
    assert_eq!(rig.figures().samples, 1);
}
