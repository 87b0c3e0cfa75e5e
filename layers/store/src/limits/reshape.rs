//! A limit gets another shape while its quota is in use.

use super::{Calendar, Kind, Now, Shape, State, calendar, state::Use};

/// A whole, in fixed point.
const ONE: u128 = 1 << 64;

impl Shape {
    /// Whether what is used under this shape means something under `new`: the same algorithm, and
    /// no shorter period of the calendar, since nobody knows how much of a month fell on its day.
    pub fn leads_to(&self, new: &Self) -> bool {
        match (self.kind, new.kind) {
            (Kind::Calendar(old), Kind::Calendar(new)) => {
                // Whose calendar it is makes no difference.
                let length = |of: Calendar| calendar::at_least(of.period.into());
                length(old) <= length(new)
            }
            (old, new) => std::mem::discriminant(&old) == std::mem::discriminant(&new),
        }
    }
}

impl State {
    /// Goes on under `new`, which `old` [leads to](Shape::leads_to), of which `held` is reserved.
    ///
    /// A bucket stays as full as it was by its share, so that a changed limit is neither a present nor a
    /// punishment. What is reserved is settled in whole amounts later, and what is owed was really
    /// used: both stay as they are. Windows, calendars and places count the same amounts on.
    pub fn reshape(&mut self, old: &Shape, new: &Shape, held: u64, now: Now) {
        self.advance(old, now);
        match (&mut self.0, old.kind, new.kind) {
            (
                Use::Bucket { used, .. },
                Kind::Bucket { per: old_per, .. },
                Kind::Bucket { per: new_per, .. },
            ) => {
                let (old_per, new_per) = (u128::from(old_per), u128::from(new_per));
                let before = used.get();
                let held = (u128::from(held) * old_per).min(before);
                let full = u128::from(old.capacity) * old_per;
                let filled = (before - held).min(full);
                let owed = before - held - filled;
                let full = (u128::from(new.capacity) * new_per, full);
                *used = scaled(filled, full)
                    .saturating_add(scaled(held, (new_per, old_per)))
                    .saturating_add(scaled(owed, (new_per, old_per)))
                    .into();
            }
            (Use::Calendar { start, end, .. }, Kind::Calendar(old), Kind::Calendar(new))
                if old != new =>
            {
                let (first, last) = calendar::span(new, now.wall);
                // What was reserved before is given back still.
                (*start, *end) = ((*start).min(first), last);
            }
            _ => {}
        }
        self.advance(new, now);
    }
}

/// `value * new / old`, rounded up; where that product is huge, by at most 2^-62 of `new` and one.
fn scaled(value: u128, (new, old): (u128, u128)) -> u128 {
    if new == old {
        return value;
    }
    if let Some(product) = value.checked_mul(new) {
        return product.div_ceil(old);
    }
    let (whole, rest) = (value / old, value % old);
    // The rest as a part of `old`; the lowest bits of a huge `old` don't matter.
    let shift = (128 - old.leading_zeros()).saturating_sub(63);
    let rest = (rest >> shift) + u128::from(shift > 0);
    let part = (rest << 64).div_ceil(old >> shift).min(ONE);
    let (high, low) = (new >> 64, new & (ONE - 1));
    let of_rest = (high * part).saturating_add((low * part).div_ceil(ONE));
    whole.saturating_mul(new).saturating_add(of_rest)
}

#[cfg(test)]
#[path = "reshape_tests.rs"]
mod tests;
