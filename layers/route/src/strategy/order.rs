//! Members by their keys.

use super::{Entrant, Rank};
use crate::set::Few;

/// By key, and those with the same in the order written.
pub(super) fn sorted(all: &[Entrant], mut key: impl FnMut(&Entrant) -> f32) -> Few<Rank> {
    ranked(all, |one| (key(one), true))
}

/// By key, and of those with the same first the ones whose key is known: where it rests on the median
/// of the others nobody is first for what isn't known of it, until exploration has found out.
pub(super) fn ranked(all: &[Entrant], mut key: impl FnMut(&Entrant) -> (f32, bool)) -> Few<Rank> {
    // Each in one number, which are sorted in a fraction of the time: key, whether it is known, place.
    let mut packed = Few::new();
    for one in all {
        let (key, known) = key(one);
        packed.push(u64::from(ordinal(key)) << 16 | u64::from(!known) << 8 | u64::from(one.at));
    }
    packed.as_mut_slice().sort_unstable();
    let mut ranks = Few::new();
    for number in packed.as_slice() {
        let (key, [.., unknown, at]) = (of_ordinal((number >> 16) as u32), number.to_be_bytes());
        ranks.push(Rank { at, key, known: unknown == 0, score: None });
    }
    ranks
}

const SIGN: u32 = 1 << 31;

/// A whole number that stands to others as `total_cmp` puts theirs.
fn ordinal(key: f32) -> u32 {
    let bits = key.to_bits();
    if key.is_sign_negative() { !bits } else { bits | SIGN }
}

fn of_ordinal(number: u32) -> f32 {
    f32::from_bits(if number & SIGN == 0 { !number } else { number ^ SIGN })
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        /// Every key, be it no number, and its order survive.
        #[test]
        fn keys_are_ordered_as_total_cmp_orders(one: u32, other: u32) {
            let (a, b) = (f32::from_bits(one), f32::from_bits(other));
            proptest::prop_assert_eq!(ordinal(a).cmp(&ordinal(b)), a.total_cmp(&b));
            proptest::prop_assert_eq!(of_ordinal(ordinal(a)).to_bits(), one);
        }
    }
}
