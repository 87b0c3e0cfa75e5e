//! What holds for any samples.
#![allow(clippy::unwrap_used, missing_docs)]

use std::time::Duration;

use proptest::{collection::vec, prelude::*};
use tokio::time::Instant;
use tollway_core::{ErrorClass, Target};
use tollway_route::{
    Quantiles,
    facts::{Config, Outcome, Sketch, Tracker, Trip},
};

/// Microseconds from 1 ms to 10 min, as many short ones as long ones.
fn time() -> impl Strategy<Value = u64> {
    (0.0..=1.0_f64).prop_map(|share| (1_000.0 * 600_000.0_f64.powf(share)) as u64)
}

fn sketch(micros: &[u64]) -> Sketch {
    let mut sketch = Sketch::default();
    micros.iter().for_each(|micros| sketch.add(Duration::from_micros(*micros)));
    sketch
}

fn exact(sorted: &[u64], per_mille: usize) -> Duration {
    let rank = (sorted.len() * per_mille).div_ceil(1000).max(1);
    Duration::from_micros(sorted[rank - 1])
}

fn within_five_percent(told: Duration, exact: Duration) -> bool {
    told.abs_diff(exact).as_secs_f64() <= exact.as_secs_f64() * 0.05
}

proptest! {
    #[test]
    fn quantiles_are_within_five_percent(micros in vec(time(), 1..400), per_mille in 0..=1000_u32) {
        let sketch = sketch(&micros);
        let mut sorted = micros;
        sorted.sort_unstable();
        let (told, exact) =
            (sketch.quantile(per_mille).unwrap(), exact(&sorted, per_mille as usize));
        prop_assert!(within_five_percent(told, exact), "{told:?} for {exact:?}");
    }

    #[test]
    fn merging_is_adding_all(one in vec(time(), 0..100), other in vec(time(), 0..100)) {
        let (mut merged, both) = (sketch(&one), [&one[..], &other[..]].concat());
        merged.merge(&sketch(&other));
        prop_assert_eq!(merged, sketch(&both));
    }

    /// A slot against a plain list of what ended within the window, read at any moment.
    #[test]
    fn a_slot_tells_what_the_window_holds(
        trips in vec((0..20_000_u64, time()), 1..80),
        wait in 0..400_000_u64,
    ) {
        let config = Config { min_samples: 1, ..Config::default() };
        let (window, part) = (config.window, config.window / config.parts);
        let slot = Tracker::new(config).unwrap().slot(&Target::new("a", "main", None));
        let (mut now, mut ends) = (Instant::now() + Duration::from_secs(1_000), Vec::new());
        for (gap, micros) in trips {
            now += Duration::from_millis(gap);
            slot.begin(now - Duration::from_micros(micros)).end(now, Outcome::success());
            ends.push((now, micros));
        }
        now += Duration::from_millis(wait);
        let within = |age: Duration| {
            let young = ends.iter().filter(move |(end, _)| now.duration_since(*end) < age);
            let mut micros: Vec<_> = young.map(|(_, micros)| *micros).collect();
            micros.sort_unstable();
            micros
        };
        let figures = slot.figures(now);
        let samples = figures.samples as usize;
        prop_assert!(within(window - part).len() <= samples && samples <= within(window).len());
        // All that counts are the last ones.
        let mut held: Vec<_> = ends[ends.len() - samples..].iter().map(|(_, m)| *m).collect();
        held.sort_unstable();
        prop_assert_eq!(figures.whole.is_some(), samples > 0);
        if let Some(Quantiles { p50, p95, p99 }) = figures.whole {
            for (told, per_mille) in [(p50, 500), (p95, 950), (p99, 990)] {
                let exact = exact(&held, per_mille);
                prop_assert!(within_five_percent(told, exact), "{told:?} for {exact:?}");
            }
        }
    }

    /// Whatever begins and ends in whatever order, at moments in whatever order.
    #[test]
    fn nobody_is_left_under_way_and_nothing_leaves_its_range(
        steps in vec((0..4_u8, 0..600_000_u64, 0..12_usize), 1..200),
    ) {
        let slot = Tracker::new(Config::default()).unwrap().slot(&Target::new("a", "main", None));
        let (start, mut trips) = (Instant::now(), Vec::<Trip>::new());
        for (step, at, class) in steps {
            let now = start + Duration::from_millis(at);
            match (step, trips.pop()) {
                (0, Some(trip)) => drop(trip),
                (1, Some(trip)) => trip.end(now, Outcome::success()),
                (2, Some(trip)) => trip.end(now, Outcome::failure(ErrorClass::ALL[class])),
                (_, trip) => {
                    trips.extend(trip);
                    trips.push(slot.begin(now));
                    slot.probed(class % 2 == 0, now);
                }
            }
            let figures = slot.figures(now);
            prop_assert_eq!(figures.in_flight as usize, trips.len());
            prop_assert!((0.0..=1.0).contains(&figures.success), "{}", figures.success);
            prop_assert!(figures.peak_ewma.is_finite() && figures.peak_ewma >= 0.0);
        }
        trips.clear();
        prop_assert_eq!(slot.figures(start).in_flight, 0);
    }
}
