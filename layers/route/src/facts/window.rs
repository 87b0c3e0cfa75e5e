use std::{collections::VecDeque, time::Duration};

use super::{Nanos, measures::Part, nanos};

/// What was added within the last `length`: a ring of parts, of which the oldest is forgotten
/// whole. What is younger than all parts but one counts, what is older than all doesn't.
#[derive(Debug)]
pub(super) struct Window<P> {
    step: Nanos,
    parts: u64,
    /// Those that hold something, by the number of their step from the clock's zero, oldest first.
    live: VecDeque<(u64, Box<P>)>,
    /// All of them together; `None`: there are none.
    total: Option<Box<P>>,
}

impl<P: Part> Window<P> {
    pub(super) fn new(length: Duration, parts: u32) -> Self {
        let parts = u64::from(parts).max(1);
        let step = nanos(length).div_ceil(parts).max(1);
        Self { step, parts, live: VecDeque::new(), total: None }
    }

    /// Goes on with another length or number of parts. What was in a part counts from its end on, so
    /// nothing that the new window holds is lost.
    pub(super) fn resize(&mut self, length: Duration, parts: u32) {
        let Self { step, live, .. } = std::mem::replace(self, Self::new(length, parts));
        if (step, u64::from(parts).max(1)) == (self.step, self.parts) {
            self.live = live;
        } else {
            for (number, part) in live {
                let end = number.saturating_add(1).saturating_mul(step) - 1;
                match self.live.back_mut().filter(|(last, _)| *last == end / self.step) {
                    Some((_, last)) => last.merge(&part),
                    None => self.live.push_back((end / self.step, part)),
                }
            }
        }
        self.total = self.sum();
    }

    fn sum(&self) -> Option<Box<P>> {
        (!self.live.is_empty()).then(|| {
            let mut total = Box::<P>::default();
            self.live.iter().for_each(|(_, part)| total.merge(part));
            total
        })
    }

    /// Adds to the part of `now`, or of the latest moment there was, by `add`.
    pub(super) fn add(&mut self, now: Nanos, add: impl Fn(&mut P)) {
        self.forget(now);
        let number = now / self.step;
        if self.live.back().is_none_or(|(newest, _)| *newest < number) {
            self.live.push_back((number, Box::default()));
        }
        if let Some((_, part)) = self.live.back_mut() {
            add(part);
        }
        add(self.total.get_or_insert_default());
    }

    /// Lets go of what has left the window by `now`.
    pub(super) fn forget(&mut self, now: Nanos) {
        let (number, held) = (now / self.step, self.live.len());
        let gone = number.checked_sub(self.parts);
        while self.live.front().is_some_and(|(oldest, _)| Some(*oldest) <= gone) {
            self.live.pop_front();
        }
        if self.live.len() < held {
            self.total = self.sum();
        }
    }

    /// All that is in it since it last added or forgot.
    pub(super) fn total(&self) -> Option<&P> {
        self.total.as_deref()
    }

    /// The newest parts that are enough together, or all there are.
    pub(super) fn recent(&self, enough: impl Fn(&P) -> bool) -> P {
        let mut recent = P::default();
        for (_, part) in self.live.iter().rev() {
            recent.merge(part);
            if enough(&recent) {
                break;
            }
        }
        recent
    }

    /// Lets go of everything.
    pub(super) fn clear(&mut self) {
        self.live.clear();
        self.total = None;
    }

    /// When it has something to forget.
    pub(super) fn forgets_at(&self) -> Nanos {
        let last = self.live.front().map(|(oldest, _)| oldest.saturating_add(self.parts));
        last.map_or(Nanos::MAX, |last| last.saturating_mul(self.step))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq)]
    struct Count(usize);

    impl Part for Count {
        fn merge(&mut self, other: &Self) {
            self.0 += other.0;
        }
    }

    const LENGTH: u64 = 100;

    fn window() -> Window<Count> {
        Window::new(Duration::from_nanos(LENGTH), 10)
    }

    fn count(window: &mut Window<Count>, now: Nanos) -> usize {
        window.forget(now);
        window.total().map_or(0, |count| count.0)
    }

    #[test]
    fn forgets_when_it_says_and_not_before() {
        let mut window = window();
        assert_eq!(window.forgets_at(), Nanos::MAX);
        window.add(9, |count| count.0 += 1);
        window.add(50, |count| count.0 += 1);
        assert_eq!(window.forgets_at(), 100);
        assert_eq!(count(&mut window, 99), 2);
        assert_eq!(count(&mut window, 100), 1);
        assert_eq!(window.forgets_at(), 150);
        assert_eq!(count(&mut window, 10_000), 0);
        assert_eq!(window.total(), None);
    }

    #[test]
    fn a_moment_that_comes_late_counts_with_the_latest() {
        let mut window = window();
        window.add(500, |count| count.0 += 1);
        window.add(3, |count| count.0 += 1);
        assert_eq!(window.live.len(), 1, "not a part for each that is late");
        assert_eq!(count(&mut window, 590), 2);
        assert_eq!(count(&mut window, 600), 0);
    }

    #[test]
    fn another_length_keeps_what_it_holds() {
        let mut window = window();
        for now in [5, 50, 95] {
            window.add(now, |count| count.0 += 1);
        }
        window.resize(Duration::from_nanos(400), 4);
        assert_eq!((count(&mut window, 399), count(&mut window, 400)), (3, 0));
        window.add(1005, |count| count.0 += 1);
        window.resize(Duration::from_nanos(LENGTH), 10);
        assert_eq!((count(&mut window, 1189), count(&mut window, 1190)), (1, 0));
    }

    #[test]
    fn what_is_recent_is_no_more_than_enough() {
        let mut window = window();
        (0..50).for_each(|now| window.add(now, |count| count.0 += 1));
        assert_eq!(window.recent(|count| count.0 >= 5), Count(10));
        assert_eq!(window.recent(|count| count.0 >= 11), Count(20));
        assert_eq!(window.recent(|_| false), Count(50));
        window.clear();
        assert_eq!((window.recent(|_| false), window.total()), (Count(0), None));
        assert_eq!(window.forgets_at(), Nanos::MAX);
    }

    proptest::proptest! {
        /// Against a plain list: everything younger than 9/10 counts, nothing older than 1/1 does.
        #[test]
        fn counts_what_a_list_counts(gaps in proptest::collection::vec(0_u64..40, 1..60)) {
            let (mut window, mut now, mut times) = (window(), 0, Vec::new());
            for gap in gaps {
                now += gap;
                times.push(now);
                window.add(now, |count| count.0 += 1);
                let counted = count(&mut window, now);
                let within = |age: u64| times.iter().filter(|time| now - **time < age).count();
                proptest::prop_assert!(within(90) <= counted && counted <= within(LENGTH));
                proptest::prop_assert!(window.live.len() <= 10);
            }
        }
    }
}
