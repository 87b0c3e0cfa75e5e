//! The algorithms of one limit and key: whole numbers only, `now` is an argument.

use std::collections::VecDeque;

use crate::{calendar, config::Period};

/// Both clocks in nanoseconds: since the layer was built, and since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Now {
    pub(crate) mono: u64,
    pub(crate) wall: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Bucket { rate: u64, per: u64 },
    Window { window: u64 },
    Calendar(Period),
    Concurrent,
}

/// What all keys of a limit have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) kind: Kind,
    /// The most that can be taken at once.
    pub(crate) capacity: u64,
    /// Tell when this much is used.
    pub(crate) warn: Option<u64>,
}

/// What was taken when, so that it can be settled in its place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Receipt {
    pub(crate) amount: u64,
    mark: u64,
}

/// Slices that a window remembers at most, and by whose length it errs.
const SLICES: u64 = 64;

/// Takes close to each other, which leave the window with the last of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slice {
    start: u64,
    last: u64,
    amount: u64,
}

/// How much of its quota one key has used.
#[derive(Clone, Debug)]
pub(crate) enum State {
    /// `used` is in units of amount * per, in which a refill of `rate` a nanosecond is exact.
    Bucket {
        used: u128,
        at: u64,
    },
    Window {
        slices: VecDeque<Slice>,
        used: u64,
    },
    Calendar {
        start: u64,
        end: u64,
        used: u64,
    },
    Concurrent {
        used: u64,
    },
}

impl State {
    pub(crate) fn new(shape: &Shape) -> Self {
        match shape.kind {
            Kind::Bucket { .. } => Self::Bucket { used: 0, at: 0 },
            Kind::Window { .. } => Self::Window { slices: VecDeque::new(), used: 0 },
            Kind::Calendar(_) => Self::Calendar { start: 0, end: 0, used: 0 },
            Kind::Concurrent => Self::Concurrent { used: 0 },
        }
    }

    /// Lets time pass up to `now`. The other methods count on it having been called.
    pub(crate) fn advance(&mut self, shape: &Shape, now: Now) {
        match (self, shape.kind) {
            (Self::Bucket { used, at }, Kind::Bucket { rate, .. }) => {
                let passed = now.mono.saturating_sub(*at);
                *used = used.saturating_sub(u128::from(passed) * u128::from(rate));
                *at = (*at).max(now.mono);
            }
            (Self::Window { slices, used }, Kind::Window { window }) => {
                while let Some(slice) = slices.front() {
                    if slice.last.saturating_add(window) > now.mono {
                        break;
                    }
                    *used = used.saturating_sub(slice.amount);
                    slices.pop_front();
                }
            }
            (Self::Calendar { start, end, used }, Kind::Calendar(period)) => {
                if now.wall >= *end {
                    *used = 0;
                    (*start, *end) = calendar::span(period, now.wall);
                } else if now.wall < start.saturating_sub(calendar::at_least(period)) {
                    // A date that was far ahead was put right: what was spent stays spent. A date
                    // that is only just before the period doesn't count as a new one.
                    (*start, *end) = calendar::span(period, now.wall);
                }
            }
            _ => {}
        }
    }

    /// Nanoseconds until `amount` can be taken, after `ahead` has been taken by others; `None`:
    /// nobody knows. Never late where requests in front take theirs as soon as they can.
    pub(crate) fn wait(&self, shape: &Shape, ahead: u128, amount: u64, now: Now) -> Option<u64> {
        let need = ahead.saturating_add(amount.into());
        let capacity = u128::from(shape.capacity);
        match (self, shape.kind) {
            (Self::Bucket { used, .. }, Kind::Bucket { rate, per }) => {
                let per = u128::from(per);
                let level = need.saturating_mul(per).saturating_add(*used);
                match level.saturating_sub(capacity * per) {
                    0 => Some(0),
                    missing => Some(clamp(missing.div_ceil(rate.into()))),
                }
            }
            (Self::Window { slices, used }, Kind::Window { window }) => {
                // What comes after a whole capacity goes one window after what it displaces.
                let rounds = need.saturating_sub(1) / capacity;
                let need = need - rounds * capacity;
                let mut used = u128::from(*used);
                let mut wait = 0;
                for slice in slices {
                    if used + need <= capacity {
                        break;
                    }
                    used = used.saturating_sub(slice.amount.into());
                    wait = slice.last.saturating_add(window).saturating_sub(now.mono);
                }
                Some(clamp(rounds.saturating_mul(window.into())).saturating_add(wait))
            }
            (Self::Calendar { end, used, .. }, Kind::Calendar(period)) => {
                let free = capacity.saturating_sub((*used).into());
                if u128::from(*used) <= capacity && need <= free {
                    return Some(0);
                }
                let periods = need.saturating_sub(free).saturating_sub(1) / capacity;
                let more = periods.saturating_mul(calendar::at_least(period).into());
                Some(end.saturating_sub(now.wall).max(1).saturating_add(clamp(more)))
            }
            (Self::Concurrent { used }, _) => {
                (need.saturating_add((*used).into()) <= capacity).then_some(0)
            }
            _ => None,
        }
    }

    /// Takes `amount`, whether there is room or not: a debt is what goes beyond.
    pub(crate) fn take(&mut self, shape: &Shape, amount: u64, now: Now) -> Receipt {
        let mut mark = 0;
        match (self, shape.kind) {
            (Self::Bucket { used, .. }, Kind::Bucket { per, .. }) => {
                *used = used.saturating_add(u128::from(amount) * u128::from(per));
            }
            (Self::Window { slices, used }, Kind::Window { window }) if amount > 0 => {
                *used = used.saturating_add(amount);
                match slices.back_mut() {
                    Some(slice) if now.mono <= slice.start.saturating_add(window / SLICES) => {
                        slice.last = slice.last.max(now.mono);
                        slice.amount = slice.amount.saturating_add(amount);
                        mark = slice.start;
                    }
                    _ => {
                        slices.push_back(Slice { start: now.mono, last: now.mono, amount });
                        mark = now.mono;
                    }
                }
            }
            (Self::Calendar { start, used, .. }, _) => {
                *used = used.saturating_add(amount);
                mark = *start;
            }
            (Self::Concurrent { used }, _) => *used = used.saturating_add(amount),
            _ => {}
        }
        Receipt { amount, mark }
    }

    /// Puts `spent` in the place of what was taken: the rest goes back to where it came from, as
    /// far as it still counts there; what is missing counts from now on.
    pub(crate) fn settle(&mut self, shape: &Shape, receipt: Receipt, spent: u64, now: Now) {
        if let Self::Concurrent { used } = self {
            *used = used.saturating_sub(receipt.amount);
            return;
        }
        if spent > receipt.amount {
            self.take(shape, spent - receipt.amount, now);
            return;
        }
        let rest = receipt.amount - spent;
        match (self, shape.kind) {
            (Self::Bucket { used, .. }, Kind::Bucket { per, .. }) => {
                *used = used.saturating_sub(u128::from(rest) * u128::from(per));
            }
            (Self::Window { slices, used }, _) => {
                let found = slices.binary_search_by_key(&receipt.mark, |slice| slice.start);
                if let Some(slice) = found.ok().and_then(|at| slices.get_mut(at)) {
                    let rest = rest.min(slice.amount);
                    slice.amount -= rest;
                    *used = used.saturating_sub(rest);
                }
            }
            // Taken in this period, or in one that this has come to hold.
            (Self::Calendar { start, used, .. }, _) if *start <= receipt.mark => {
                *used = used.saturating_sub(rest);
            }
            _ => {}
        }
    }

    /// What is used, rounded up to whole units.
    pub(crate) fn used(&self, shape: &Shape) -> u64 {
        match (self, shape.kind) {
            (Self::Bucket { used, .. }, Kind::Bucket { per, .. }) => {
                clamp(used.div_ceil(per.into()))
            }
            (Self::Window { used, .. } | Self::Calendar { used, .. }, _) => *used,
            (Self::Concurrent { used }, _) => *used,
            _ => 0,
        }
    }

    /// Whether as much as the limit warns of is used.
    pub(crate) fn warns(&self, shape: &Shape) -> bool {
        let Some(warn) = shape.warn else { return false };
        match (self, shape.kind) {
            // Without the division.
            (Self::Bucket { used, .. }, Kind::Bucket { per, .. }) => {
                *used >= u128::from(warn) * u128::from(per)
            }
            _ => self.used(shape) >= warn,
        }
    }

    /// Nanoseconds until the whole quota is there again; `None` where no time brings it.
    pub(crate) fn reset(&self, shape: &Shape, now: Now) -> Option<u64> {
        match (self, shape.kind) {
            (Self::Bucket { used, .. }, Kind::Bucket { rate, .. }) => {
                Some(clamp(used.div_ceil(rate.into())))
            }
            (Self::Window { slices, .. }, Kind::Window { window }) => {
                let last = slices.back().map(|slice| slice.last.saturating_add(window));
                Some(last.map_or(0, |last| last.saturating_sub(now.mono)))
            }
            (Self::Calendar { end, .. }, _) => Some(end.saturating_sub(now.wall)),
            _ => None,
        }
    }

    /// Whether it can't be told from a new one.
    pub(crate) fn is_fresh(&self) -> bool {
        match self {
            Self::Bucket { used, .. } => *used == 0,
            Self::Window { used, .. } | Self::Calendar { used, .. } => *used == 0,
            Self::Concurrent { used } => *used == 0,
        }
    }
}

fn clamp(nanos: u128) -> u64 {
    u64::try_from(nanos).unwrap_or(u64::MAX)
}
