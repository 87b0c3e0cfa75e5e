//! Keys come and go: bounded, and swept a few at a time.

use tollway_store::limits::{Now, State};

use super::{ALL, OVERFLOW, Slot, Table, own::shape_of};
use crate::{
    decide::View,
    key::{Compact, Key},
};

/// Slots looked at for one to evict: each new key, and each new key that finds the table full.
const SWEEP: usize = 2;
const SWEEP_FULL: usize = 16;

impl Table {
    /// Keys in memory, besides [`Key::All`].
    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// The slot of `key`, whose hash it is. A key that finds no place shares one slot with all
    /// others that found none: neither memory nor quota grows with the number of keys.
    pub(crate) fn resolve(&mut self, key: &Key, hash: u32, now: Now) -> u32 {
        match self.own(key, hash) {
            Some(slot) => slot,
            None => self.insert(key, hash, now),
        }
    }

    /// The state of `key` as it is at `now`; changes nothing.
    pub(crate) fn peek(&self, key: &Key, now: Now) -> (State, Option<&Slot>) {
        let slot = self.find(key, key.hash()).map(|slot| self.slot(slot));
        let shape = self.shape_for(key);
        let mut state = slot.map_or_else(|| State::new(shape), |slot| slot.state.clone());
        state.advance(shape, now);
        (state, slot)
    }

    /// The slot of `key` if it has one, be it the shared one.
    pub(crate) fn find(&self, key: &Key, hash: u32) -> Option<u32> {
        let shares = || self.index.len() >= self.max_keys && !self.has_own(key);
        self.own(key, hash).or_else(|| shares().then_some(OVERFLOW))
    }

    /// The slot that `key` has to itself.
    pub(crate) fn own(&self, key: &Key, hash: u32) -> Option<u32> {
        match key {
            Key::All => Some(ALL),
            key => self.index.find(hash, |slot| self.slot(slot).key == *key),
        }
    }

    /// Slots in memory.
    pub(crate) fn room(&self) -> usize {
        self.slots.len()
    }

    /// Keys and how they stand, of some slots; `None` if there are none from `from` on.
    pub(crate) fn page(&self, from: usize, many: usize, now: Now) -> Option<Vec<(Key, View)>> {
        let slots = from..self.slots.len().min(from.saturating_add(many));
        let used = |at: &usize| match &self.slots[*at] {
            // A place that is free, or that the keys share which found none.
            slot if slot.key == Compact::All => *at == ALL as usize && !slot.is_unused(),
            _ => true,
        };
        let stands = |at: usize| {
            let (slot, shape) = self.at(at as u32);
            let mut state = slot.state.clone();
            state.advance(shape, now);
            let view = View::new(shape, &state, slot.held, slot.waiting(), now);
            (Key::from(&slot.key), View { own: self.quota_at(at as u32), ..view })
        };
        (from < self.slots.len()).then(|| slots.filter(used).map(stands).collect())
    }

    fn insert(&mut self, key: &Key, hash: u32, now: Now) -> u32 {
        let full = self.index.len() >= self.max_keys;
        self.sweep(if full { SWEEP_FULL } else { SWEEP }, now);
        let own = self.has_own(key);
        if self.index.len() >= self.max_keys && !own {
            return OVERFLOW;
        }
        let entry = Slot { own, ..Slot::new(key.into(), &self.shape) };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = entry;
                slot
            }
            None => {
                self.slots.push(entry);
                // The builder bounds max_keys below u32::MAX.
                (self.slots.len() - 1) as u32
            }
        };
        self.index.insert(hash, slot);
        slot
    }

    /// Looks at the next few slots in turn and evicts those that are like new; how many.
    pub(crate) fn sweep(&mut self, steps: usize, now: Now) -> usize {
        let before = self.index.len();
        let first = OVERFLOW as usize + 1;
        for _ in 0..steps.min(self.slots.len() - first) {
            self.hand = if self.hand + 1 < self.slots.len() { self.hand + 1 } else { first };
            self.hand = self.hand.max(first);
            let slot = &mut self.slots[self.hand];
            // A slot that is free already has no key in the index.
            if slot.key == Compact::All {
                continue;
            }
            slot.state.advance(shape_of(slot, &self.own, &self.shape), now);
            if slot.evictable() {
                let key = std::mem::take(&mut slot.key);
                self.index.remove(self.hand as u32);
                if self.touched.is_some() {
                    self.evicted.push(key);
                }
                self.free.push(self.hand as u32);
            }
        }
        before - self.index.len()
    }
}
