use std::time::Duration;

use crate::state::Nanos;

const STEPS: u64 = 10;

/// Counts of the calls that ended within the last `STEPS` steps of time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Window {
    step: Nanos,
    slots: [Slot; STEPS as usize],
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// Number of the step this slot counts, from the clock's zero.
    number: u64,
    counts: Counts,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) calls: u32,
    /// Weight of the failures, per mille of a call.
    pub(crate) failed: u64,
    pub(crate) slow: u32,
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.calls = self.calls.saturating_add(other.calls);
        self.failed = self.failed.saturating_add(other.failed);
        self.slow = self.slow.saturating_add(other.slow);
    }

    pub(crate) fn failure_ratio(&self) -> u32 {
        let ratio = self.failed / u64::from(self.calls.max(1));
        u32::try_from(ratio).unwrap_or(u32::MAX)
    }

    pub(crate) fn slow_ratio(&self) -> u32 {
        let ratio = u64::from(self.slow) * 1000 / u64::from(self.calls.max(1));
        u32::try_from(ratio).unwrap_or(u32::MAX)
    }
}

impl Window {
    /// Adds one call and returns the window's counts with it.
    pub(crate) fn add(&mut self, now: Nanos, length: Duration, weight: u32, slow: bool) -> Counts {
        let step = u64::try_from(length.as_nanos()).unwrap_or(u64::MAX).div_ceil(STEPS).max(1);
        if self.step != step {
            self.go_by(step);
        }
        let number = now / step;
        let slot = &mut self.slots[(number % STEPS) as usize];
        if slot.number != number {
            *slot = Slot { number, counts: Counts::default() };
        }
        slot.counts.calls = slot.counts.calls.saturating_add(1);
        slot.counts.failed = slot.counts.failed.saturating_add(weight.into());
        slot.counts.slow = slot.counts.slow.saturating_add(slow.into());
        self.sum(number)
    }

    /// A policy was replaced: what is known counts on in steps of another length, from each old
    /// step's begin. Requests of both policies may end in turn; what is old is never made younger.
    fn go_by(&mut self, step: Nanos) {
        let old = std::mem::replace(self, Self { step, ..Self::default() });
        for slot in old.slots.iter().filter(|slot| slot.counts != Counts::default()) {
            let number = slot.number.saturating_mul(old.step) / step;
            let into = &mut self.slots[(number % STEPS) as usize];
            if into.number < number {
                *into = Slot { number, counts: slot.counts };
            } else if into.number == number {
                into.counts.add(slot.counts);
            }
        }
    }

    fn sum(&self, number: u64) -> Counts {
        let mut sum = Counts::default();
        for slot in &self.slots {
            if slot.number <= number && number - slot.number < STEPS {
                sum.add(slot.counts);
            }
        }
        sum
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Nothing bad is remembered (whether or not it has slid out by now).
    pub(crate) fn is_clean(&self) -> bool {
        self.slots.iter().all(|slot| slot.counts.failed == 0 && slot.counts.slow == 0)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const LENGTH: Duration = Duration::from_nanos(100);

    #[test]
    fn forgets_after_its_length_and_not_before_nine_tenths() {
        let mut window = Window::default();
        assert_eq!(window.add(9, LENGTH, 1000, false).failed, 1000);
        assert_eq!(window.add(99, LENGTH, 0, false), Counts { calls: 2, failed: 1000, slow: 0 });
        assert_eq!(window.add(100, LENGTH, 0, true), Counts { calls: 2, failed: 0, slow: 1 });
        assert_eq!(window.add(1000, LENGTH, 0, false), Counts { calls: 1, failed: 0, slow: 0 });
    }

    #[test]
    fn another_length_counts_on() {
        let mut window = Window::default();
        for now in [5, 15, 25] {
            window.add(now, LENGTH, 1000, false);
        }
        assert_eq!(
            window.add(30, LENGTH * 2, 0, false),
            Counts { calls: 4, failed: 3000, slow: 0 }
        );
        assert_eq!(window.add(199, LENGTH * 2, 0, false).failed, 3000);
        assert_eq!(window.add(200, LENGTH * 2, 0, false).failed, 1000, "the step from 0 on is out");
        assert_eq!(window.add(201, LENGTH, 0, false), Counts { calls: 3, failed: 0, slow: 0 });
    }

    /// Requests of two policies end in turn.
    #[test]
    fn lengths_in_turn_keep_nothing_alive() {
        let mut window = Window::default();
        window.add(0, LENGTH, 1000, false);
        for now in 1..30 {
            window.add(now * 10, LENGTH, 0, false);
            window.add(now * 10, LENGTH * 3, 0, false);
        }
        assert_eq!(window.add(300, LENGTH, 0, false).failed, 0);
    }

    proptest::proptest! {
        /// Against a plain list: everything younger than 9/10 counts, nothing older than 1/1 does.
        #[test]
        fn counts_what_a_list_counts(gaps in proptest::collection::vec(0_u64..40, 1..60)) {
            let (mut window, mut now, mut ends) = (Window::default(), 0, Vec::new());
            for gap in gaps {
                now += gap;
                ends.push(now);
                let calls = window.add(now, LENGTH, 0, false).calls as usize;
                let within = |age: u64| ends.iter().filter(|end| now - **end < age).count();
                proptest::prop_assert!(within(90) <= calls && calls <= within(100));
            }
        }
    }
}
