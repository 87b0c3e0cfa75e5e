//! One limit with the state of all its keys.

mod keys;
mod own;

use std::{collections::VecDeque, sync::Arc};

use tollway_core::NameMap;

use tollway_store::limits::{Now, Shape, State};

use self::own::{Own, shape_of};
use crate::{
    events::{Event, EventKind},
    key::Key,
    quota::Terms,
    rule::Unit,
};

/// The slot of [`Key::All`].
const ALL: u32 = 0;
/// The slot that keys share which found no place.
const OVERFLOW: u32 = 1;

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
    /// To be saved.
    touched: bool,
    /// The key has a quota of its own.
    own: bool,
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
            touched: false,
            own: false,
        }
    }

    fn evictable(&self) -> bool {
        self.holds == 0 && !self.touched && self.is_unused()
    }

    fn is_unused(&self) -> bool {
        self.queue.is_empty() && self.state.is_fresh()
    }
}

/// One limit with all its keys.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) name: Arc<str>,
    /// The name under which is remembered what was used.
    pub(crate) memory: Arc<str>,
    pub(crate) unit: Unit,
    /// Of keys that have no quota of their own.
    pub(crate) shape: Shape,
    /// By which those of keys are made that have one.
    pub(crate) terms: Terms,
    /// Instances that it is one's share of; `None`: it is the whole.
    pub(crate) parts: Option<u32>,
    /// What its keys are, if the rule says so.
    pub(crate) scope: Option<Arc<str>>,
    pub(crate) enforce: bool,
    /// Nanoseconds that a request may wait; `None`: it is rejected.
    pub(crate) max_wait: Option<u64>,
    /// Who finds too little goes on all the same, as one that is downgraded.
    pub(crate) downgrades: bool,
    /// Who wants more than there ever is takes all that there is.
    pub(crate) bounded: bool,
    /// Requests let in, over all keys.
    pub(crate) admitted: u64,
    pub(crate) max_keys: usize,
    /// Generations of rules that know it. Nobody does: its place is free.
    pub(crate) users: u32,
    /// Belongs to the latest of them.
    pub(crate) current: bool,
    slots: Vec<Slot>,
    free: Vec<u32>,
    index: NameMap<Key, u32>,
    hand: usize,
    /// Slots that are to be saved; `None`: none ever is.
    touched: Option<Vec<u32>>,
    /// Keys that were evicted since this was last asked for.
    evicted: Vec<Key>,
    /// Quotas that keys have of their own.
    own: NameMap<Key, Own>,
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
        Self {
            memory: name.clone(),
            name,
            unit,
            shape,
            enforce,
            max_wait,
            downgrades: false,
            bounded: false,
            terms: Terms::default(),
            parts: None,
            admitted: 0,
            max_keys,
            scope: None,
            users: 0,
            current: true,
            slots,
            free: Vec::new(),
            index: NameMap::default(),
            hand: 0,
            touched: None,
            evicted: Vec::new(),
            own: NameMap::default(),
        }
    }

    /// From now on it is remembered which slots change.
    pub(crate) fn remember(&mut self) {
        self.touched.get_or_insert_default();
    }

    /// A slot has changed.
    pub(crate) fn touch(&mut self, slot: u32) {
        let Some(touched) = &mut self.touched else { return };
        // What keys share that found no place is nobody's.
        if let Some(entry) = self.slots.get_mut(slot as usize).filter(|_| slot != OVERFLOW) {
            if !std::mem::replace(&mut entry.touched, true) {
                touched.push(slot);
            }
        }
    }

    /// A slot that has changed since it was last asked for.
    pub(crate) fn untouch(&mut self) -> Option<u32> {
        let slot = self.touched.as_mut()?.pop()?;
        if let Some(entry) = self.slots.get_mut(slot as usize) {
            entry.touched = false;
        }
        Some(slot)
    }

    /// A key whose memory is of no use any more.
    pub(crate) fn take_evicted(&mut self) -> Option<Key> {
        self.evicted.pop()
    }

    /// Gives `key` a state, if there is room for it.
    pub(crate) fn put(&mut self, key: &Key, state: State, now: Now) {
        let slot = self.resolve(key, now);
        if slot != OVERFLOW {
            self.slot_mut(slot).state = state;
        }
    }

    /// Whether what is used here counts on under `next`.
    pub(crate) fn leads_to(&self, next: &Self) -> bool {
        self.current
            && (&self.memory, self.unit, &self.scope) == (&next.memory, next.unit, &next.scope)
            && self.shape.leads_to(&next.shape)
    }

    /// Goes on as `next`; its keys keep what they have used.
    pub(crate) fn reshape(&mut self, next: &Self, now: Now) {
        let own = self.own_under(next);
        let Self { slots, shape, own: before, .. } = self;
        if *shape != next.shape || !before.is_empty() {
            for slot in slots {
                let old = *shape_of(slot, before, shape);
                slot.own &= own.contains_key(&slot.key);
                let new = shape_of(slot, &own, &next.shape);
                if old != *new {
                    slot.state.reshape(&old, new, slot.held, now);
                }
            }
        }
        (self.shape, self.own) = (next.shape, own);
        (self.terms, self.parts, self.bounded) = (next.terms, next.parts, next.bounded);
        self.name.clone_from(&next.name);
        (self.enforce, self.max_wait) = (next.enforce, next.max_wait);
        self.downgrades = next.downgrades;
        self.max_keys = next.max_keys;
    }

    /// Lets go of all keys, once no rule knows it.
    pub(crate) fn close_if_unused(&mut self) {
        if self.users == 0 && !self.current {
            self.slots.truncate(OVERFLOW as usize + 1);
            self.slots.shrink_to_fit();
            (self.free, self.index, self.hand) = (Vec::new(), NameMap::default(), 0);
            self.own = NameMap::default();
            self.touched = self.touched.take().map(|_| Vec::new());
        }
    }

    /// Lets go of all queues; whoever stood there is to be told.
    pub(crate) fn disperse(&mut self) {
        for slot in &mut self.slots {
            slot.queue.clear();
            slot.backlog = 0;
        }
    }

    /// As if nothing had been used but what is held now.
    pub(crate) fn renew(&mut self, slot: u32, now: Now) {
        let Self { slots, shape, own, .. } = self;
        let entry = &mut slots[slot as usize];
        let shape = shape_of(entry, own, shape);
        entry.state = State::new(shape);
        entry.state.advance(shape, now);
        entry.state.take(shape, entry.held, now);
        (entry.warned, entry.filled) = (false, false);
    }

    pub(crate) fn slot(&self, slot: u32) -> &Slot {
        &self.slots[slot as usize]
    }

    pub(crate) fn slot_mut(&mut self, slot: u32) -> &mut Slot {
        &mut self.slots[slot as usize]
    }

    pub(crate) fn advance(&mut self, slot: u32, now: Now) {
        let Self { slots, shape, own, .. } = self;
        let entry = &mut slots[slot as usize];
        let shape = shape_of(entry, own, shape);
        entry.state.advance(shape, now);
        // A period may have ended since: the next that crosses the mark is told.
        if entry.warned && !entry.state.warns(shape) {
            (entry.warned, entry.filled) = (false, false);
        }
    }

    /// Nanoseconds until `amount` can be taken behind `ahead` that wait already.
    pub(crate) fn wait(&self, slot: u32, ahead: u128, amount: u64, now: Now) -> Option<u64> {
        self.slots[slot as usize].state.wait(self.shape_at(slot), ahead, amount, now)
    }

    /// Notes whether use has climbed over the mark and to the brim, or fallen below them.
    pub(crate) fn watch(&mut self, slot: u32, events: &mut Vec<Event>) {
        if self.shape.warn.is_none() {
            return;
        }
        let Self { slots, shape, own, .. } = self;
        let entry = &mut slots[slot as usize];
        let shape = shape_of(entry, own, shape);
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
}
