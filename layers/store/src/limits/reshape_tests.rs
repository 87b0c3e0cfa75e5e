use proptest::prelude::*;

use super::*;
use crate::limits::{Period, Zone};

const SECOND: u64 = 1_000_000_000;

fn shape(kind: Kind, capacity: u64) -> Shape {
    Shape { kind, capacity, warn: None }
}

fn bucket(amount: u64, seconds: u64, burst: u64) -> Shape {
    shape(Kind::Bucket { rate: amount, per: seconds * SECOND }, burst)
}

fn at(seconds: u64) -> Now {
    Now { mono: seconds * SECOND, wall: seconds * SECOND }
}

#[test]
fn a_bucket_keeps_its_share_and_owes_what_it_owed() {
    let (small, large) = (bucket(100, 60, 100), bucket(5000, 3600, 1000));
    for (used, other) in [(0, 0), (25, 250), (100, 1000), (130, 1030)] {
        let mut state = State::new(&small);
        state.take(&small, used, at(0));
        state.reshape(&small, &large, 0, at(0));
        assert_eq!(state.used(&large), other);
        state.reshape(&large, &small, 0, at(0));
        assert!(state.used(&small).abs_diff(used) <= 1, "{used}: there and back");
    }
}

#[test]
fn what_is_reserved_is_settled_in_its_own_amount() {
    let (large, small) = (bucket(1000, 60, 1000), bucket(100, 60, 100));
    let mut state = State::new(&large);
    state.take(&large, 400, at(0));
    let receipt = state.take(&large, 500, at(0));
    state.reshape(&large, &small, 500, at(0));
    assert_eq!(state.used(&small), 540, "40 of 100, and 500 that run");
    state.settle(&small, receipt, 100, at(0));
    assert_eq!(state.used(&small), 140, "what others used is not given back with the rest");
}

#[test]
fn time_counts_by_the_old_rate_up_to_the_change() {
    let (old, new) = (bucket(10, 1, 100), bucket(1, 1, 100));
    let mut state = State::new(&old);
    state.advance(&old, at(0));
    state.take(&old, 100, at(0));
    state.reshape(&old, &new, 0, at(5));
    assert_eq!(state.used(&new), 50);
    state.advance(&new, at(15));
    assert_eq!(state.used(&new), 40);
}

#[test]
fn windows_and_calendars_keep_what_was_used() {
    let window = |amount, seconds: u64| shape(Kind::Window { window: seconds * SECOND }, amount);
    let mut state = State::new(&window(50, 60));
    state.take(&window(50, 60), 30, at(100));
    state.reshape(&window(50, 60), &window(20, 600), 0, at(150));
    assert_eq!(state.used(&window(20, 600)), 30);
    state.reshape(&window(20, 600), &window(20, 10), 0, at(150));
    assert_eq!(state.used(&window(20, 10)), 0, "no such window holds what is 50 s old");

    let calendar = |amount, period| shape(Kind::Calendar(Period::into(period)), amount);
    let (hour, day) = (calendar(10, Period::Hour), calendar(100, Period::Day));
    let mut state = State::new(&hour);
    state.advance(&hour, at(10_000));
    let receipt = state.take(&hour, 8, at(10_000));
    state.reshape(&hour, &day, 8, at(10_000));
    assert_eq!((state.used(&day), state.reset(&day, at(10_000))), (8, Some(76_400 * SECOND)));
    state.settle(&day, receipt, 3, at(20_000));
    assert_eq!(state.used(&day), 3);
    assert!(hour.leads_to(&day) && !day.leads_to(&hour) && !hour.leads_to(&bucket(1, 1, 1)));
}

#[test]
fn another_zone_counts_on_until_its_own_period_ends() {
    let zone = |hours| Zone::new(jiff::tz::TimeZone::fixed(jiff::tz::offset(hours)));
    let day = |zone| shape(Kind::Calendar(Period::Day.of(zone)), 100);
    for hours in [9, -5] {
        let (utc, there) = (day(Zone::UTC), day(zone(hours)));
        assert!(utc.leads_to(&there) && there.leads_to(&utc));
        let (noon, mut state) = (at(86_400 * 3 + 43_200), State::new(&utc));
        state.advance(&utc, noon);
        let receipt = state.take(&utc, 60, noon);
        state.reshape(&utc, &there, 60, noon);
        let end = (if hours > 0 { 3 } else { 17 }) * 3600 * SECOND;
        assert_eq!((state.used(&there), state.reset(&there, noon)), (60, Some(end)));
        state.settle(&there, receipt, 20, noon);
        assert_eq!(state.used(&there), 20, "what was reserved before is given back");
    }
}

fn wide() -> impl Strategy<Value = u64> {
    prop_oneof![1..1_000u64, any::<u64>().prop_map(|n| n.max(1)), Just(u64::MAX)]
}

proptest! {
    /// Against a floating point, wherever that is good enough.
    #[test]
    fn scaling_is_near_and_never_below(
        value in any::<u128>(), by in 0..128u32, new in (wide(), wide()), old in (wide(), wide()),
    ) {
        let of = |(a, b): (u64, u64)| u128::from(a) * u128::from(b);
        let (value, new, old) = (value >> by, of(new), of(old));
        let got = scaled(value, (new, old)) as f64;
        let wanted = (value as f64 * (new as f64 / old as f64)).min(u128::MAX as f64);
        prop_assert!(got >= wanted * 0.999_999 - 1.0, "{got} {wanted}");
        prop_assert!(got <= wanted * 1.000_001 + 2.0 + new as f64 / 1e15, "{got} {wanted}");
    }

    #[test]
    fn no_shape_and_no_state_is_a_panic(
        shapes in proptest::collection::vec((wide(), wide(), wide()), 2..5),
        takes in proptest::collection::vec(any::<u64>(), 0..4), held in any::<u64>(), now in any::<u64>(),
    ) {
        let shape = |(amount, per, burst): (u64, u64, u64)| {
            shape(Kind::Bucket { rate: amount, per }, burst)
        };
        let now = Now { mono: now, wall: now };
        let mut old = shape(shapes[0]);
        let mut state = State::new(&old);
        for next in &shapes[1..] {
            for amount in &takes {
                state.take(&old, *amount, now);
            }
            let new = shape(*next);
            state.reshape(&old, &new, held, now);
            state.wait(&new, 0, new.capacity, now);
            old = new;
        }
    }
}
