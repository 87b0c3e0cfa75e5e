//! What a sliding window remembers: when how much was taken, oldest first.

use std::collections::VecDeque;

/// Slices that a window remembers at most, and by whose length it errs.
const SLICES: u64 = 64;

/// Takes close to each other, which leave the window with the last of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slice {
    pub(super) start: u64,
    pub(super) last: u64,
    pub(super) amount: u64,
}

/// The slices of one key's window. Where keys are many, most have one at a time: it needs no memory beside
/// the key's own.
#[derive(Clone, Debug, Default)]
pub(super) enum Window {
    #[default]
    None,
    One(Slice),
    Many(Box<Many>),
}

#[derive(Clone, Debug)]
pub(super) struct Many {
    slices: VecDeque<Slice>,
    used: u64,
}

impl Slice {
    fn new(now: u64, amount: u64) -> Self {
        Self { start: now, last: now, amount }
    }

    fn has_left(&self, window: u64, now: u64) -> bool {
        self.last.saturating_add(window) <= now
    }

    fn reaches(&self, window: u64, now: u64) -> bool {
        now <= self.start.saturating_add(window / SLICES)
    }

    fn add(&mut self, now: u64, amount: u64) {
        self.last = self.last.max(now);
        self.amount = self.amount.saturating_add(amount);
    }
}

impl Window {
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Slice> {
        let (one, many) = match self {
            Self::None => (None, None),
            Self::One(slice) => (Some(slice), None),
            Self::Many(many) => (None, Some(&many.slices)),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    pub(super) fn used(&self) -> u64 {
        match self {
            Self::None => 0,
            Self::One(slice) => slice.amount,
            Self::Many(many) => many.used,
        }
    }

    /// Forgets what has left the window.
    pub(super) fn advance(&mut self, window: u64, now: u64) {
        match self {
            Self::One(slice) if slice.has_left(window, now) => *self = Self::None,
            Self::None | Self::One(_) => {}
            Self::Many(many) => {
                while let Some(slice) = many.slices.front().filter(|s| s.has_left(window, now)) {
                    many.used = many.used.saturating_sub(slice.amount);
                    many.slices.pop_front();
                }
                if many.slices.len() < 2 {
                    *self = many.slices.front().copied().into();
                }
            }
        }
    }

    /// Takes an amount, which is not zero; the start of its slice.
    pub(super) fn take(&mut self, window: u64, now: u64, amount: u64) -> u64 {
        let last = match self {
            Self::None => None,
            Self::One(slice) => Some(slice),
            Self::Many(many) => {
                many.used = many.used.saturating_add(amount);
                many.slices.back_mut()
            }
        };
        if let Some(slice) = last.filter(|slice| slice.reaches(window, now)) {
            slice.add(now, amount);
            return slice.start;
        }
        let next = Slice::new(now, amount);
        match self {
            Self::None => *self = Self::One(next),
            Self::One(first) => {
                let (slices, used) = ([*first, next].into(), first.amount.saturating_add(amount));
                *self = Self::Many(Box::new(Many { slices, used }));
            }
            Self::Many(many) => many.slices.push_back(next),
        }
        now
    }

    /// Takes back of the slice that starts there, as far as it is in the window still.
    pub(super) fn give_back(&mut self, start: u64, amount: u64) {
        match self {
            Self::One(slice) if slice.start == start => {
                slice.amount = slice.amount.saturating_sub(amount);
            }
            Self::None | Self::One(_) => {}
            Self::Many(many) => {
                let found = many.slices.binary_search_by_key(&start, |slice| slice.start);
                if let Some(slice) = found.ok().and_then(|at| many.slices.get_mut(at)) {
                    let amount = amount.min(slice.amount);
                    slice.amount -= amount;
                    many.used = many.used.saturating_sub(amount);
                }
            }
        }
    }
}

impl From<Option<Slice>> for Window {
    fn from(slice: Option<Slice>) -> Self {
        slice.map_or(Self::None, Self::One)
    }
}

impl FromIterator<Slice> for Window {
    fn from_iter<I: IntoIterator<Item = Slice>>(slices: I) -> Self {
        let slices = VecDeque::from_iter(slices);
        if slices.len() < 2 {
            return slices.front().copied().into();
        }
        let used = slices.iter().fold(0, |sum: u64, slice| sum.saturating_add(slice.amount));
        Self::Many(Box::new(Many { slices, used }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        /// However many there are, they are the slices of a plain list.
        #[test]
        fn they_are_a_list(
            window in 64..2_000u64,
            steps in vec((prop_oneof![0..8u64, 0..300u64], 0..40u64, 0..40u64), 1..100),
        ) {
            let (mut slices, mut list, mut now) = (Window::default(), Vec::<Slice>::new(), 0);
            let mut marks = Vec::new();
            for (gap, amount, back) in steps {
                now += gap;
                slices.advance(window, now);
                list.retain(|slice| slice.last + window > now);
                if amount > 0 {
                    match list.last_mut().filter(|slice| now <= slice.start + window / 64) {
                        Some(slice) => (slice.last, slice.amount) = (now, slice.amount + amount),
                        None => list.push(Slice::new(now, amount)),
                    }
                    let mark = slices.take(window, now, amount);
                    prop_assert_eq!(mark, list.last().unwrap().start);
                    marks.push(mark);
                }
                if let (true, Some(mark)) = (back < 20, marks.get(back as usize)) {
                    slices.give_back(*mark, back);
                    if let Some(slice) = list.iter_mut().find(|slice| slice.start == *mark) {
                        slice.amount = slice.amount.saturating_sub(back);
                    }
                }
                let as_told = |slice: &Slice| (slice.start, slice.last, slice.amount);
                let expected: Vec<_> = list.iter().map(as_told).collect();
                prop_assert_eq!(slices.iter().map(as_told).collect::<Vec<_>>(), expected);
                prop_assert_eq!(slices.used(), list.iter().map(|slice| slice.amount).sum::<u64>());
            }
        }
    }
}
