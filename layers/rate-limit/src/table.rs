//! The keys of one limit: bounded, and swept a few at a time.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};
use tollway_store::limits::{Now, Shape, State};

use crate::{
    events::{Event, EventKind},
    key::Key,
    rule::Unit,
};

/// The slot of [`Key::All`].
const ALL: u32 = 0;
/// The slot that keys share which found no place.
const OVERFLOW: u32 = 1;
/// Slots looked at for one to evict: each new key, and each new key that finds the table full.
const SWEEP: usize = 2;
const SWEEP_FULL: usize = 16;

/// One key's state.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) key: Key,
    pub(crate) state: State,
    /// Requests that hold a reservation here, and how much they hold.
    pub(crate) holds: u32,
    pub(crate) held: u64,
    pub(crate) warned: bool,
    pub(crate) filled: bool,
    /// Requests that wait here, by the order in which they came, and what they want in all.
    pub(crate) queue: VecDeque<u64>,
    pub(crate) backlog: u128,
}

impl Slot {
    fn new(key: Key, shape: &Shape) -> Self {
        Self {
            key,
            state: State::new(shape),
            holds: 0,
            held: 0,
            warned: false,
            filled: false,
            queue: VecDeque::new(),
            backlog: 0,
        }
    }

    fn evictable(&self) -> bool {
        self.holds == 0 && self.queue.is_empty() && self.state.is_fresh()
    }
}

/// One limit with all its keys.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) name: Arc<str>,
    pub(crate) unit: Unit,
    pub(crate) shape: Shape,
    pub(crate) enforce: bool,
    /// Nanoseconds that a request may wait; `None`: it is rejected.
    pub(crate) max_wait: Option<u64>,
    /// Who finds too little goes on all the same, as one that is downgraded.
    pub(crate) downgrades: bool,
    max_keys: usize,
    slots: Vec<Slot>,
    free: Vec<u32>,
    index: HashMap<Key, u32>,
    hand: usize,
}

impl Table {
    pub(crate) fn new(
        name: Arc<str>,
        unit: Unit,
        shape: Shape,
        enforce: bool,
        max_wait: Option<u64>,
        max_keys: usize,
    ) -> Self {
        let slots = vec![Slot::new(Key::All, &shape), Slot::new(Key::All, &shape)];
        let (free, index) = (Vec::new(), HashMap::new());
        let downgrades = false;
        Self {
            name,
            unit,
            shape,
            enforce,
            max_wait,
            downgrades,
            max_keys,
            slots,
            free,
            index,
            hand: 0,
        }
    }

    /// Keys in memory, besides [`Key::All`].
    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// The slot of `key`, brought up to `now`. A key that finds no place shares one slot with all
    /// others that found none: neither memory nor quota grows with the number of keys.
    pub(crate) fn resolve(&mut self, key: &Key, now: Now) -> u32 {
        let slot = match key {
            Key::All => ALL,
            key => match self.index.get(key) {
                Some(slot) => *slot,
                None => self.insert(key, now),
            },
        };
        self.advance(slot, now);
        slot
    }

    /// The state of `key` as it is at `now`; changes nothing.
    pub(crate) fn peek(&self, key: &Key, now: Now) -> (State, Option<&Slot>) {
        let slot = self.find(key).map(|slot| self.slot(slot));
        let mut state = slot.map_or_else(|| State::new(&self.shape), |slot| slot.state.clone());
        state.advance(&self.shape, now);
        (state, slot)
    }

    /// The slot of `key` if it has one, be it the shared one.
    pub(crate) fn find(&self, key: &Key) -> Option<u32> {
        if *key == Key::All {
            return Some(ALL);
        }
        let full = self.index.len() >= self.max_keys;
        self.index.get(key).copied().or(full.then_some(OVERFLOW))
    }

    pub(crate) fn slot(&self, slot: u32) -> &Slot {
        &self.slots[slot as usize]
    }

    pub(crate) fn slot_mut(&mut self, slot: u32) -> &mut Slot {
        &mut self.slots[slot as usize]
    }

    pub(crate) fn advance(&mut self, slot: u32, now: Now) {
        let Self { slots, shape, .. } = self;
        let entry = &mut slots[slot as usize];
        entry.state.advance(shape, now);
        // A period may have ended since: the next that crosses the mark is told.
        if entry.warned && !entry.state.warns(shape) {
            (entry.warned, entry.filled) = (false, false);
        }
    }

    /// Nanoseconds until `amount` can be taken behind `ahead` that wait already.
    pub(crate) fn wait(&self, slot: u32, ahead: u128, amount: u64, now: Now) -> Option<u64> {
        self.slots[slot as usize].state.wait(&self.shape, ahead, amount, now)
    }

    /// Notes whether use has climbed over the mark and to the brim, or fallen below them.
    pub(crate) fn watch(&mut self, slot: u32, events: &mut Vec<Event>) {
        if self.shape.warn.is_none() {
            return;
        }
        let Self { slots, shape, .. } = self;
        let entry = &mut slots[slot as usize];
        let warns = entry.state.warns(shape);
        let (warned, filled) = (entry.warned, entry.filled);
        let (used, capacity) = (if warns { entry.state.used(shape) } else { 0 }, shape.capacity);
        // What is only reserved may come back.
        let fills = warns && used.saturating_sub(entry.held) >= capacity;
        (entry.warned, entry.filled) = (warns, fills);
        if warns && !warned {
            events.push(self.event(slot, EventKind::Warned { used, capacity }));
        }
        if fills && !filled {
            events.push(self.event(slot, EventKind::Filled { used, capacity }));
        }
    }

    pub(crate) fn event(&self, slot: u32, kind: EventKind) -> Event {
        let key = self.slots[slot as usize].key.clone();
        Event { limit: self.name.clone(), unit: self.unit, key, kind }
    }

    fn insert(&mut self, key: &Key, now: Now) -> u32 {
        let full = self.index.len() >= self.max_keys;
        self.sweep(if full { SWEEP_FULL } else { SWEEP }, now);
        if self.index.len() >= self.max_keys {
            return OVERFLOW;
        }
        let entry = Slot::new(key.clone(), &self.shape);
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
        self.index.insert(key.clone(), slot);
        slot
    }

    /// Looks at the next few slots in turn and evicts those that are like new.
    fn sweep(&mut self, steps: usize, now: Now) {
        let first = OVERFLOW as usize + 1;
        for _ in 0..steps.min(self.slots.len() - first) {
            self.hand = if self.hand + 1 < self.slots.len() { self.hand + 1 } else { first };
            self.hand = self.hand.max(first);
            let slot = &mut self.slots[self.hand];
            // A slot that is free already has no key in the index.
            if slot.key == Key::All {
                continue;
            }
            slot.state.advance(&self.shape, now);
            if slot.evictable() {
                let key = std::mem::take(&mut slot.key);
                self.index.remove(&key);
                self.free.push(self.hand as u32);
            }
        }
    }
}
