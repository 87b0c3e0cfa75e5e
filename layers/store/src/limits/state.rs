//! The algorithms of one limit and key: whole numbers only, `now` is an argument.

use super::{
    calendar::{self, Calendar},
    window::Window,
};

/// Both clocks in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Since some moment of the caller's choice; never runs backwards.
    pub mono: u64,
    /// Since 1970, for what goes by the calendar; may jump.
    pub wall: u64,
}

/// How use of a limit comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Fills at `rate` in each `per`.
    Bucket {
        /// What comes back in `per`, at least 1.
        rate: u64,
        /// Nanoseconds, at least 1.
        per: u64,
    },
    /// What was taken counts for `window` from then on.
    Window {
        /// Nanoseconds, at least 1.
        window: u64,
    },
    /// What was taken counts until the period ends.
    Calendar(Calendar),
    /// What was taken counts until it is settled.
    Concurrent,
}

/// What all keys of a limit have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// How use comes back.
    pub kind: Kind,
    /// The most that can be taken at once, at least 1.
    pub capacity: u64,
    /// Tell when this much is used.
    pub warn: Option<u64>,
}

/// What was taken when, so that it can be settled in its place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// How much.
    pub amount: u64,
    mark: u64,
}

/// How much of its quota one key has used.
///
/// ```
/// use tollway_store::limits::{Kind, Now, Shape, State};
///
/// // Ten at once, and one comes back each second.
/// let second = 1_000_000_000;
/// let shape = Shape { kind: Kind::Bucket { rate: 1, per: second }, capacity: 10, warn: None };
/// let mut state = State::new(&shape);
///
/// let now = Now::default();
/// state.advance(&shape, now);
/// assert_eq!(state.wait(&shape, 0, 8, now), Some(0));
/// let receipt = state.take(&shape, 8, now);
/// assert_eq!(state.wait(&shape, 0, 4, now), Some(2 * second), "two are missing");
///
/// // Only one of the eight was used.
/// state.settle(&shape, receipt, 1, now);
/// assert_eq!((state.used(&shape), state.wait(&shape, 0, 4, now)), (1, Some(0)));
/// ```
#[derive(Clone, Debug)]
pub struct State(pub(super) Use);

#[derive(Clone, Debug)]
pub(super) enum Use {
    /// `used` is in units of amount * per, in which a refill of `rate` a nanosecond is exact.
    Bucket {
        used: Level,
        at: u64,
    },
    Window(Window),
    Calendar {
        start: u64,
        end: u64,
        used: u64,
    },
    Concurrent {
        used: u64,
    },
}

// A million keys have a million of them.
const _: () = assert!(size_of::<State>() <= 32, "a key's state has grown: see benches/README.md");

/// A `u128` in two halves: whole, it would have every state begin at a multiple of 16.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Level {
    low: u64,
    high: u64,
}

impl Level {
    pub(super) fn get(self) -> u128 {
        u128::from(self.low) | u128::from(self.high) << 64
    }
}

impl From<u128> for Level {
    fn from(level: u128) -> Self {
        Self { low: level as u64, high: (level >> 64) as u64 }
    }
}

impl State {
    /// Of a key that was never seen.
    pub fn new(shape: &Shape) -> Self {
        Self(match shape.kind {
            Kind::Bucket { .. } => Use::Bucket { used: Level::default(), at: 0 },
            Kind::Window { .. } => Use::Window(Window::default()),
            Kind::Calendar(_) => Use::Calendar { start: 0, end: 0, used: 0 },
            Kind::Concurrent => Use::Concurrent { used: 0 },
        })
    }

    /// Lets time pass up to `now`. The other methods count on it having been called.
    pub fn advance(&mut self, shape: &Shape, now: Now) {
        match (&mut self.0, shape.kind) {
            (Use::Bucket { used, at }, Kind::Bucket { rate, .. }) => {
                let passed = now.mono.saturating_sub(*at);
                let back = u128::from(passed) * u128::from(rate);
                *used = used.get().saturating_sub(back).into();
                *at = (*at).max(now.mono);
            }
            (Use::Window(slices), Kind::Window { window }) => slices.advance(window, now.mono),
            (Use::Calendar { start, end, used }, Kind::Calendar(period)) => {
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
    pub fn wait(&self, shape: &Shape, ahead: u128, amount: u64, now: Now) -> Option<u64> {
        let need = ahead.saturating_add(amount.into());
        let capacity = u128::from(shape.capacity.max(1));
        match (&self.0, shape.kind) {
            (Use::Bucket { used, .. }, Kind::Bucket { rate, per }) => {
                let per = u128::from(per);
                let level = need.saturating_mul(per).saturating_add(used.get());
                match level.saturating_sub(capacity * per) {
                    0 => Some(0),
                    missing => Some(clamp(missing.div_ceil(rate.max(1).into()))),
                }
            }
            (Use::Window(slices), Kind::Window { window }) => {
                let mut used = u128::from(slices.used());
                if need.saturating_add(used) <= capacity {
                    return Some(0);
                }
                // What comes after a whole capacity goes one window after what it displaces.
                let rounds = need.saturating_sub(1) / capacity;
                let need = need - rounds * capacity;
                let mut wait = 0;
                for slice in slices.iter() {
                    if used + need <= capacity {
                        break;
                    }
                    used = used.saturating_sub(slice.amount.into());
                    wait = slice.last.saturating_add(window).saturating_sub(now.mono);
                }
                Some(clamp(rounds.saturating_mul(window.into())).saturating_add(wait))
            }
            (Use::Calendar { end, used, .. }, Kind::Calendar(period)) => {
                let free = capacity.saturating_sub((*used).into());
                if u128::from(*used) <= capacity && need <= free {
                    return Some(0);
                }
                let periods = need.saturating_sub(free).saturating_sub(1) / capacity;
                let more = periods.saturating_mul(calendar::at_least(period).into());
                Some(end.saturating_sub(now.wall).max(1).saturating_add(clamp(more)))
            }
            (Use::Concurrent { used }, _) => {
                (need.saturating_add((*used).into()) <= capacity).then_some(0)
            }
            _ => None,
        }
    }

    /// Takes `amount`, whether there is room or not: a debt is what goes beyond.
    pub fn take(&mut self, shape: &Shape, amount: u64, now: Now) -> Receipt {
        let mut mark = 0;
        match (&mut self.0, shape.kind) {
            (Use::Bucket { used, .. }, Kind::Bucket { per, .. }) => {
                let more = u128::from(amount) * u128::from(per);
                *used = used.get().saturating_add(more).into();
            }
            (Use::Window(slices), Kind::Window { window }) if amount > 0 => {
                mark = slices.take(window, now.mono, amount);
            }
            (Use::Calendar { start, used, .. }, _) => {
                *used = used.saturating_add(amount);
                mark = *start;
            }
            (Use::Concurrent { used }, _) => *used = used.saturating_add(amount),
            _ => {}
        }
        Receipt { amount, mark }
    }

    /// Puts `spent` in the place of what was taken: the rest goes back to where it came from, as
    /// far as it still counts there; what is missing counts from now on.
    pub fn settle(&mut self, shape: &Shape, receipt: Receipt, spent: u64, now: Now) {
        if let Use::Concurrent { used } = &mut self.0 {
            *used = used.saturating_sub(receipt.amount);
            return;
        }
        if spent > receipt.amount {
            self.take(shape, spent - receipt.amount, now);
            return;
        }
        let rest = receipt.amount - spent;
        match (&mut self.0, shape.kind) {
            (Use::Bucket { used, .. }, Kind::Bucket { per, .. }) => {
                let back = u128::from(rest) * u128::from(per);
                *used = used.get().saturating_sub(back).into();
            }
            (Use::Window(slices), _) => slices.give_back(receipt.mark, rest),
            // Taken in this period, or in one that this has come to hold.
            (Use::Calendar { start, used, .. }, _) if *start <= receipt.mark => {
                *used = used.saturating_sub(rest);
            }
            _ => {}
        }
    }

    /// What is used, rounded up to whole units.
    pub fn used(&self, shape: &Shape) -> u64 {
        match (&self.0, shape.kind) {
            (Use::Bucket { used, .. }, Kind::Bucket { per, .. }) => {
                clamp(used.get().div_ceil(per.max(1).into()))
            }
            (Use::Window(slices), _) => slices.used(),
            (Use::Calendar { used, .. } | Use::Concurrent { used }, _) => *used,
            _ => 0,
        }
    }

    /// Whether as much as the limit warns of is used.
    pub fn warns(&self, shape: &Shape) -> bool {
        let Some(warn) = shape.warn else { return false };
        match (&self.0, shape.kind) {
            // Without the division.
            (Use::Bucket { used, .. }, Kind::Bucket { per, .. }) => {
                used.get() >= u128::from(warn) * u128::from(per)
            }
            _ => self.used(shape) >= warn,
        }
    }

    /// Nanoseconds until the whole quota is there again; `None` where no time brings it.
    pub fn reset(&self, shape: &Shape, now: Now) -> Option<u64> {
        match (&self.0, shape.kind) {
            (Use::Bucket { used, .. }, Kind::Bucket { rate, .. }) => {
                Some(clamp(used.get().div_ceil(rate.max(1).into())))
            }
            (Use::Window(slices), Kind::Window { window }) => {
                let last = slices.iter().next_back().map(|slice| slice.last.saturating_add(window));
                Some(last.map_or(0, |last| last.saturating_sub(now.mono)))
            }
            (Use::Calendar { end, .. }, _) => Some(end.saturating_sub(now.wall)),
            _ => None,
        }
    }

    /// Whether it can't be told from a new one.
    pub fn is_fresh(&self) -> bool {
        match &self.0 {
            Use::Bucket { used, .. } => used.get() == 0,
            Use::Window(slices) => slices.used() == 0,
            Use::Calendar { used, .. } | Use::Concurrent { used } => *used == 0,
        }
    }
}

fn clamp(nanos: u128) -> u64 {
    u64::try_from(nanos).unwrap_or(u64::MAX)
}
