//! Two worlds to choose in.

use crate::world::{Place, Scenario};

const USUAL: Place = Place {
    first: 0.5,
    token: 0.008,
    capacity: 80.0,
    fails: (0.001, 0.3),
    limit: None,
    input_price: 1_000_000,
    output_price: 4_000_000,
    cached: 0.0,
};

/// Which of the five is the model that costs most.
pub(crate) const LARGE: usize = 0;

/// Five places, none of which is the best from beginning to end.
pub(crate) const FIVE: Scenario = Scenario {
    names: &["large", "steady", "small", "quick", "frugal"],
    place: five,
    requests: 100_000,
    rate: 20.0,
    seed: 7,
    by_caller: 0.0,
};

/// The same, where each caller has a use of its own: half of what lengths of replies differ by is theirs.
pub(crate) const CALLED: Scenario = Scenario { by_caller: 0.5, ..FIVE };

/// Two that are as good as each other and slow down with load.
pub(crate) const TWINS: Scenario = Scenario {
    names: &["one", "other"],
    place: twins,
    requests: 100_000,
    rate: 24.0,
    seed: 11,
    by_caller: 0.0,
};

/// When the first of the twins is twice as slow.
pub(crate) const SLOW: std::ops::Range<f64> = 0.4..0.6;

fn five(index: usize, part: f64) -> Place {
    let between = |from: f64, to: f64| (from..to).contains(&part);
    let wave = |turns: f64| 1.0 + 0.15 * (std::f64::consts::TAU * turns * part).sin();
    match index {
        LARGE => Place {
            first: 0.9 * wave(3.0),
            token: 0.014,
            capacity: 200.0,
            input_price: 5_000_000,
            output_price: 25_000_000,
            ..USUAL
        },
        // Three times slower for a fifth of the time.
        1 => {
            let slow = if between(0.3, 0.5) { 3.0 } else { 1.0 };
            Place { first: 0.5 * wave(5.0) * slow, token: 0.009 * slow, ..USUAL }
        }
        // Goes down altogether for a while.
        2 => Place {
            first: 0.25 * wave(7.0),
            token: 0.005,
            fails: if between(0.2, 0.23) { (1.0, 1.0) } else { (0.002, 0.3) },
            input_price: 150_000,
            output_price: 2_000_000,
            ..USUAL
        },
        // The quickest, but small; refuses what is above its limit, and has a bad hour.
        3 => {
            let slow = if between(0.6, 0.7) { 4.0 } else { 1.0 };
            Place {
                first: 0.12 * wave(11.0) * slow,
                token: 0.0025 * slow,
                capacity: 12.0,
                fails: if between(0.5, 0.53) { (0.3, 0.2) } else { (0.002, 0.2) },
                limit: Some(15.0),
                input_price: 500_000,
                output_price: 1_500_000,
                ..USUAL
            }
        }
        // The cheapest; slow, until it becomes quick near the end.
        _ => {
            let quick = if part >= 0.75 { 0.15 } else { 1.0 };
            Place {
                first: 0.7 * wave(2.0) * quick,
                token: 0.012 * quick,
                input_price: 450_000,
                output_price: 900_000,
                cached: (part * 0.8).min(0.6),
                ..USUAL
            }
        }
    }
}

/// Each could take 20 requests a second, so that neither can take all.
fn twins(index: usize, part: f64) -> Place {
    let slow = if index == 0 && SLOW.contains(&part) { 2.0 } else { 1.0 };
    Place { first: 0.3 * slow, token: 0.004 * slow, capacity: 20.0, ..USUAL }
}
