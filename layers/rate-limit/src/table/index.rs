//! Which slot a key has: chains of slots, by the hashes of their keys.
//!
//! With each slot comes one more chain, and the keys of one other are divided between the two
//! (linear hashing). So the index is never made anew, for which a million keys would have to wait
//! while the lock is held. It takes twelve bytes a slot and no second copy of a key.

use super::chunks::Chunks;

/// The end of a chain.
const NONE: u32 = u32::MAX;

#[derive(Debug, Default)]
pub(super) struct Index {
    /// The first slot of each chain.
    heads: Chunks<u32>,
    /// By slot.
    links: Chunks<Link>,
    len: usize,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    next: u32,
    hash: u32,
}

impl Index {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The slot that has this hash and `is` it.
    pub(super) fn find(&self, hash: u32, is: impl Fn(u32) -> bool) -> Option<u32> {
        if self.len == 0 {
            return None;
        }
        let mut slot = self.heads[self.chain(hash)];
        while slot != NONE {
            let link = self.links[slot as usize];
            if link.hash == hash && is(slot) {
                return Some(slot);
            }
            slot = link.next;
        }
        None
    }

    /// Adds a slot, which is not there yet.
    pub(super) fn insert(&mut self, hash: u32, slot: u32) {
        while self.links.len() <= slot as usize {
            self.links.push(Link { next: NONE, hash: 0 });
            self.divide();
        }
        let chain = self.chain(hash);
        let next = std::mem::replace(&mut self.heads[chain], slot);
        self.links[slot as usize] = Link { next, hash };
        self.len += 1;
    }

    /// Removes a slot, which is there.
    pub(super) fn remove(&mut self, slot: u32) {
        let Link { next, hash } = self.links[slot as usize];
        let chain = self.chain(hash);
        self.len -= 1;
        if self.heads[chain] == slot {
            self.heads[chain] = next;
            return;
        }
        let mut before = self.heads[chain];
        while before != NONE {
            let link = &mut self.links[before as usize];
            if link.next == slot {
                link.next = next;
                return;
            }
            before = link.next;
        }
    }

    /// The chain of a hash: as many of its lower bits as there are chains for, if need be less one.
    fn chain(&self, hash: u32) -> usize {
        let mask = self.heads.len().next_power_of_two() - 1;
        let chain = hash as usize & mask;
        if chain < self.heads.len() { chain } else { chain & (mask >> 1) }
    }

    /// One chain more, with what belongs to it of the one that had it until now.
    fn divide(&mut self) {
        let new = self.heads.len();
        self.heads.push(NONE);
        // The same number without its highest bit.
        let Some(old) = new.checked_ilog2().map(|bits| new - (1 << bits)) else { return };
        let mut slot = std::mem::replace(&mut self.heads[old], NONE);
        while slot != NONE {
            let Link { next, hash } = self.links[slot as usize];
            let chain = self.chain(hash);
            self.links[slot as usize].next = std::mem::replace(&mut self.heads[chain], slot);
            slot = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        /// Finds what a map finds, wherever hashes meet and slots are used again.
        #[test]
        fn it_is_a_map(
            steps in vec((prop_oneof![0..64u32, any::<u32>()], any::<prop::sample::Index>()), 1..300),
        ) {
            let (mut index, mut slots) = (Index::default(), HashMap::<u32, u32>::new());
            let mut free: Vec<u32> = Vec::new();
            for (nth, (hash, other)) in steps.into_iter().enumerate() {
                let mut all: Vec<_> = slots.keys().copied().collect();
                all.sort_unstable();
                if nth % 3 == 2 && !all.is_empty() {
                    let gone = *other.get(&all);
                    slots.remove(&gone);
                    index.remove(gone);
                    free.push(gone);
                }
                let slot = free.pop().filter(|_| nth % 2 == 0).unwrap_or(2 + nth as u32);
                free.retain(|other| *other != slot);
                slots.insert(slot, hash);
                index.insert(hash, slot);
                prop_assert_eq!(index.len(), slots.len());
                for (slot, hash) in &slots {
                    prop_assert_eq!(index.find(*hash, |found| found == *slot), Some(*slot));
                    prop_assert_eq!(index.find(*hash, |_| false), None);
                }
            }
        }
    }

    #[test]
    fn chains_are_short() {
        let mut index = Index::default();
        let hash = |slot: u32| slot.wrapping_mul(0x9E37_79B1).rotate_left(16);
        for slots in [1_000, 1_500, 4_096, 10_000] {
            (index.len() as u32..slots).for_each(|slot| index.insert(hash(slot), slot));
            let looks = std::cell::Cell::new(0);
            for slot in 0..slots {
                let mut at = index.heads[index.chain(hash(slot))];
                while at != slot {
                    (at, _) = (index.links[at as usize].next, looks.set(looks.get() + 1));
                }
            }
            assert!(looks.get() < slots, "{} looks at others for {slots} keys", looks.get());
        }
    }
}
