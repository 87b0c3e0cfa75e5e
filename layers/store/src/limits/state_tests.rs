use proptest::{collection::vec, prelude::*};

use super::{Kind, Now, Period, Receipt, Shape, State, state::Use};

fn shape(kind: Kind, capacity: u64) -> Shape {
    Shape { kind, capacity, warn: None }
}

fn at(mono: u64) -> Now {
    Now { mono, wall: mono }
}

fn bucket(rate: u64, per: u64, burst: u64) -> Shape {
    shape(Kind::Bucket { rate, per }, burst)
}

fn window(amount: u64, window: u64) -> Shape {
    shape(Kind::Window { window }, amount)
}

fn calendar(amount: u64, period: Period) -> Shape {
    shape(Kind::Calendar(period.into()), amount)
}

fn any_shape() -> impl Strategy<Value = Shape> {
    let (amount, time) = (1..200u64, 1..5_000u64);
    prop_oneof![
        (amount.clone(), time.clone(), 1..200u64).prop_map(|(a, per, b)| bucket(a, per, b)),
        (amount.clone(), time).prop_map(|(a, w)| window(a, w)),
        amount.prop_map(|amount| calendar(amount, Period::Hour)),
    ]
}

fn can_take(state: &State, shape: &Shape, amount: u64, now: Now) -> bool {
    amount <= shape.capacity && state.wait(shape, 0, amount, now) == Some(0)
}

/// Offers each amount after its gap; what was taken when.
fn offer(shape: &Shape, state: &mut State, steps: &[(u64, u64)]) -> Vec<(u64, u64, Receipt)> {
    let (mut now, mut taken) = (0, Vec::new());
    for (gap, amount) in steps {
        now += gap;
        state.advance(shape, at(now));
        if can_take(state, shape, *amount, at(now)) {
            taken.push((now, *amount, state.take(shape, *amount, at(now))));
        }
    }
    taken
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_bucket_gives_no_more_than_burst_and_rate(
        rate in 1..100u64, per in 1..1_000u64, burst in 1..100u64,
        steps in vec((0..300u64, 0..60u64), 1..60),
    ) {
        let shape = bucket(rate, per, burst);
        let taken = offer(&shape, &mut State::new(&shape), &steps);
        for from in 0..taken.len() {
            let mut sum = 0;
            for (now, amount, _) in &taken[from..] {
                sum += amount;
                let time = now - taken[from].0;
                prop_assert!(sum * per <= burst * per + rate * time, "{sum} in {time}");
            }
        }
    }

    #[test]
    fn no_window_holds_more_than_the_amount(
        amount in 1..60u64, length in 1..2_000u64,
        steps in vec((prop_oneof![0..8u64, 0..200u64], 0..10u64), 1..150),
    ) {
        let shape = window(amount, length);
        let taken = offer(&shape, &mut State::new(&shape), &steps);
        for (from, ..) in &taken {
            let inside = taken.iter().filter(|(now, ..)| (*from..from + length).contains(now));
            prop_assert!(inside.map(|(_, amount, _)| amount).sum::<u64>() <= amount);
        }
    }

    #[test]
    fn a_window_remembers_a_bounded_number_of_slices(
        length in 64..100_000u64, steps in vec(0..500u64, 1..400),
    ) {
        let shape = window(u64::MAX, length);
        let (mut state, mut now) = (State::new(&shape), 0);
        for gap in steps {
            now += gap;
            state.advance(&shape, at(now));
            state.take(&shape, 1, at(now));
            let Use::Window(slices) = &state.0 else { unreachable!() };
            // 64 of a whole slice's length, one more that reaches out at each end, and rounding.
            prop_assert!(slices.iter().count() <= 2 * 64 + 2);
        }
    }

    /// Refused until the promised moment, admitted at it.
    #[test]
    fn promises_are_the_truth(
        shape in any_shape(), steps in vec((0..300u64, 0..60u64), 0..40),
        debt in 0..100u64, wanted in 0..200u64, ahead in 0..100u64,
    ) {
        let wanted = wanted.min(shape.capacity);
        let mut state = State::new(&shape);
        let now = steps.iter().map(|(gap, _)| gap).sum();
        offer(&shape, &mut state, &steps);
        state.advance(&shape, at(now));
        state.take(&shape, debt, at(now));
        let wait = state.wait(&shape, 0, wanted, at(now)).unwrap();
        for early in [wait.checked_sub(1), Some(wait / 2)].into_iter().flatten() {
            let mut state = state.clone();
            state.advance(&shape, at(now + early));
            prop_assert_eq!(can_take(&state, &shape, wanted, at(now + early)), early == wait);
        }
        let behind = state.wait(&shape, ahead.into(), wanted, at(now)).unwrap();
        prop_assert!(behind >= wait, "others in front make no wait shorter");
        state.advance(&shape, at(now + wait));
        prop_assert!(can_take(&state, &shape, wanted, at(now + wait)));
        prop_assert!(state.reset(&shape, at(now + wait)).is_some());
    }

    /// Reset is when it is as new, not before.
    #[test]
    fn reset_is_when_all_is_back(
        shape in any_shape(), steps in vec((0..300u64, 1..60u64), 1..40),
    ) {
        let mut state = State::new(&shape);
        let now = steps.iter().map(|(gap, _)| gap).sum();
        offer(&shape, &mut state, &steps);
        state.advance(&shape, at(now));
        let reset = state.reset(&shape, at(now)).unwrap();
        if !state.is_fresh() {
            let mut early = state.clone();
            early.advance(&shape, at(now + reset - 1));
            prop_assert!(!early.is_fresh());
        }
        state.advance(&shape, at(now + reset));
        prop_assert!(state.is_fresh());
    }

    /// What stays taken is what was used, in whatever order replies end.
    #[test]
    fn settled_use_is_true_use(
        shape in any_shape(),
        takes in vec((0..50u64, 0..80u64), 1..30), order in any::<prop::sample::Index>(),
    ) {
        let mut state = State::new(&shape);
        let now = at(7_000);
        state.advance(&shape, now);
        let mut open: Vec<_> =
            takes.iter().map(|(take, spent)| (state.take(&shape, *take, now), *spent)).collect();
        let at = order.index(open.len());
        open.rotate_left(at);
        for (receipt, spent) in open {
            state.settle(&shape, receipt, spent, now);
        }
        prop_assert_eq!(state.used(&shape), takes.iter().map(|(_, spent)| spent).sum::<u64>());
    }

    /// With refunds at any later time, what was really used stays within the window's amount.
    #[test]
    fn no_window_holds_more_after_refunds(
        amount in 1..60u64, length in 1..1_000u64,
        steps in vec((0..100u64, 0..40u64, 0..40u64, 0..6usize), 1..60),
    ) {
        let shape = window(amount, length);
        let (mut state, mut now) = (State::new(&shape), 0);
        let (mut open, mut used) = (Vec::new(), Vec::new());
        for (gap, take, spent, settle) in steps {
            now += gap;
            state.advance(&shape, at(now));
            if settle < open.len() {
                let (receipt, spent) = open.swap_remove(settle);
                state.settle(&shape, receipt, spent, at(now));
            }
            if can_take(&state, &shape, take, at(now)) {
                open.push((state.take(&shape, take, at(now)), spent.min(take)));
                used.push((now, spent.min(take)));
            }
        }
        for (from, _) in &used {
            let inside = used.iter().filter(|(now, _)| (*from..from + length).contains(now));
            prop_assert!(inside.map(|(_, spent)| spent).sum::<u64>() <= amount);
        }
    }

    /// What goes back to a bucket is good for a burst when it goes back: net use stays within
    /// burst and rate over any time together with the longest time that a request was held.
    #[test]
    fn a_bucket_with_refunds_is_bounded(
        rate in 1..100u64, per in 1..1_000u64, burst in 1..100u64,
        steps in vec((0..100u64, 0..60u64, 0..60u64, 0..4usize), 1..60),
    ) {
        let shape = bucket(rate, per, burst);
        let (mut state, mut now, mut longest) = (State::new(&shape), 0, 0);
        let (mut open, mut used) = (Vec::new(), Vec::new());
        for (gap, take, spent, settle) in steps {
            now += gap;
            state.advance(&shape, at(now));
            if settle < open.len() {
                let (receipt, spent, since) = open.swap_remove(settle);
                longest = longest.max(now - since);
                state.settle(&shape, receipt, spent, at(now));
            }
            if can_take(&state, &shape, take, at(now)) {
                let spent = spent.min(take);
                open.push((state.take(&shape, take, at(now)), spent, now));
                used.push((now, spent));
            }
        }
        for from in 0..used.len() {
            let mut sum = 0;
            for (now, spent) in &used[from..] {
                sum += spent;
                let time = now - used[from].0 + longest;
                prop_assert!(sum * per <= burst * per + rate * time);
            }
        }
    }

    /// The date may do what it likes: no panic, and a backward jump within reach of a period gives
    /// nothing of it back.
    #[test]
    fn a_jumping_date_gives_nothing_back(
        period in prop_oneof![Just(Period::Hour), Just(Period::Day), Just(Period::Month)],
        start in 0..4_000_000_000u64, jumps in vec(-7_000_000..7_000_000i64, 1..20),
    ) {
        let shape = calendar(10, period);
        let nanos = |seconds: u64| at(seconds * 1_000_000_000);
        let (mut state, mut date) = (State::new(&shape), start);
        for jump in jumps {
            state.advance(&shape, nanos(date));
            state.take(&shape, 1, nanos(date));
            let (before, after) = (state.used(&shape), date.saturating_add_signed(jump));
            state.advance(&shape, nanos(after));
            if after <= date {
                prop_assert_eq!(state.used(&shape), before);
            }
            date = after;
        }
    }

    #[test]
    fn extremes_do_not_panic(
        amounts in vec(prop_oneof![Just(0), Just(1), Just(u64::MAX), any::<u64>()], 4),
        times in vec(prop_oneof![Just(0), Just(1), Just(u64::MAX), any::<u64>()], 1..12),
        kind in 0..4,
    ) {
        let [a, b, c, d] = amounts[..] else { unreachable!() };
        let shape = match kind {
            0 => bucket(a, b, c),
            1 => window(a, b),
            2 => calendar(a, Period::Month),
            _ => shape(Kind::Concurrent, a),
        };
        let mut state = State::new(&shape);
        for (step, time) in times.into_iter().enumerate() {
            state.advance(&shape, at(time));
            let receipt = state.take(&shape, c, at(time));
            let _ = state.wait(&shape, u128::MAX, d, at(time));
            let _ = (state.reset(&shape, at(time)), state.used(&shape));
            if step % 2 == 0 {
                state.settle(&shape, receipt, d, at(time));
            }
        }
    }
}

#[test]
fn a_date_far_ahead_does_not_lock_a_budget_for_years() {
    let shape = calendar(10, Period::Day);
    let day = 86_400_000_000_000;
    let mut state = State::new(&shape);
    state.advance(&shape, at(4_000 * day));
    state.take(&shape, 10, at(4_000 * day));
    state.advance(&shape, at(10 * day));
    assert_eq!(state.used(&shape), 10, "still spent");
    assert_eq!(state.wait(&shape, 0, 1, at(10 * day)), Some(day), "until the day's real end");
    state.advance(&shape, at(11 * day));
    assert_eq!(state.used(&shape), 0);
}

#[test]
fn a_midnight_crossed_twice_gives_nothing_back() {
    let shape = calendar(10, Period::Day);
    let day = 86_400_000_000_000;
    let mut state = State::new(&shape);
    state.advance(&shape, at(10 * day));
    state.take(&shape, 10, at(10 * day));
    for now in [10 * day - 1, 10 * day, 10 * day - 1_000, 10 * day + 1] {
        state.advance(&shape, at(now));
        assert_eq!(state.used(&shape), 10);
    }
}
