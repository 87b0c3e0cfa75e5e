//! One limit with the state of all its keys.

mod chunks;
mod index;
mod keys;
mod own;
mod slot;

use std::sync::Arc;

use tollway_core::NameMap;

use tollway_store::limits::{Kind, Now, Receipt, Shape, State};

use self::{
    chunks::Chunks,
    index::Index,
    own::{Own, shape_of},
    slot::Slot,
};
use crate::{
    decide::Claim,
    events::{Event, EventKind},
    key::{Compact, Key},
    quota::Terms,
    rule::Unit,
};

/// The slot of [`Key::All`].
const ALL: u32 = 0;
/// The slot that keys share which found no place.
const OVERFLOW: u32 = 1;

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
    slots: Chunks<Slot>,
    free: Vec<u32>,
    index: Index,
    hand: usize,
    /// Slots that are to be saved; `None`: none ever is.
    touched: Option<Vec<u32>>,
    /// Keys that were evicted since this was last asked for.
    evicted: Vec<Compact>,
    /// Quotas that keys have of their own.
    own: NameMap<Compact, Own>,
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
        let mut slots = Chunks::default();
        for _ in [ALL, OVERFLOW] {
            slots.push(Slot::new(Compact::All, &shape));
        }
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
            index: Index::default(),
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

    /// As if all that is used were so since this moment.
    pub(crate) fn touch_all(&mut self) {
        for slot in 0..self.slots.len() {
            if !self.slots[slot].is_unused() {
                // The builder bounds max_keys below u32::MAX.
                self.touch(slot as u32);
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
        self.evicted.pop().as_ref().map(Key::from)
    }

    /// Gives `key` a state, if there is room for it.
    pub(crate) fn put(&mut self, key: &Key, state: State, now: Now) {
        let slot = self.resolve(key, key.hash(), now);
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
            for slot in slots.iter_mut() {
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
            (self.free, self.index, self.hand) = (Vec::new(), Index::default(), 0);
            self.own = NameMap::default();
            self.touched = self.touched.take().map(|_| Vec::new());
        }
    }

    /// Lets go of all queues; whoever stood there is to be told.
    pub(crate) fn disperse(&mut self) {
        self.slots.iter_mut().for_each(|slot| slot.line = None);
    }

    /// As if nothing had been used but what is held now.
    pub(crate) fn renew(&mut self, slot: u32, now: Now) {
        let (entry, shape) = self.at_mut(slot);
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

    /// A slot, and the shape that its key goes by.
    pub(crate) fn at(&self, slot: u32) -> (&Slot, &Shape) {
        let entry = &self.slots[slot as usize];
        (entry, shape_of(entry, &self.own, &self.shape))
    }

    fn at_mut(&mut self, slot: u32) -> (&mut Slot, &Shape) {
        let Self { slots, shape, own, .. } = self;
        let entry = &mut slots[slot as usize];
        let shape = shape_of(entry, own, shape);
        (entry, shape)
    }

    /// The same, brought up to `now`.
    pub(crate) fn advance(&mut self, slot: u32, now: Now) -> (&Slot, &Shape) {
        let (entry, shape) = self.at_mut(slot);
        entry.state.advance(shape, now);
        // A period may have ended since: the next that crosses the mark is told.
        if entry.warned && !entry.state.warns(shape) {
            (entry.warned, entry.filled) = (false, false);
        }
        (entry, shape)
    }

    /// Takes `amount` for one request more.
    pub(crate) fn take(&mut self, slot: u32, amount: u64, now: Now) -> Receipt {
        let (entry, shape) = self.at_mut(slot);
        entry.holds = entry.holds.saturating_add(1);
        entry.held = entry.held.saturating_add(amount);
        let receipt = entry.state.take(shape, amount, now);
        self.admitted = self.admitted.saturating_add(1);
        self.touch(slot);
        receipt
    }

    /// Puts what was used in the place of what a request took; whether anybody waits for it.
    pub(crate) fn settle(&mut self, claim: &Claim, now: Now) -> bool {
        let (entry, shape) = self.at_mut(claim.slot);
        entry.holds = entry.holds.saturating_sub(1);
        entry.held = entry.held.saturating_sub(claim.amount);
        let (waits, as_taken) = (entry.waiting() > 0, claim.spent == claim.amount);
        // As of each limit of requests: what was taken stays, and needs no look at the clock.
        if as_taken && shape.kind != Kind::Concurrent && shape.warn.is_none() {
            return waits;
        }
        self.advance(claim.slot, now);
        let (entry, shape) = self.at_mut(claim.slot);
        entry.state.settle(shape, claim.receipt, claim.spent, now);
        if !as_taken {
            self.touch(claim.slot);
        }
        waits
    }

    /// Nanoseconds until `amount` can be taken behind `ahead` that wait already.
    pub(crate) fn wait(&self, slot: u32, ahead: u128, amount: u64, now: Now) -> Option<u64> {
        let (entry, shape) = self.at(slot);
        entry.state.wait(shape, ahead, amount, now)
    }

    /// Notes whether use has climbed over the mark and to the brim, or fallen below them.
    #[inline]
    pub(crate) fn watch(&mut self, slot: u32, events: &mut Vec<Event>) {
        if self.shape.warn.is_some() {
            self.note(slot, events);
        }
    }

    fn note(&mut self, slot: u32, events: &mut Vec<Event>) {
        let (entry, shape) = self.at_mut(slot);
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
        let key = Key::from(&self.slots[slot as usize].key);
        Event { limit: self.name.clone(), unit: self.unit, key, kind }
    }

    /// The same of a claim, whose key is at hand unless it found no place.
    pub(crate) fn event_of(&self, claim: &Claim, kind: EventKind) -> Event {
        let key = if claim.slot == OVERFLOW { Key::All } else { claim.key.clone() };
        Event { limit: self.name.clone(), unit: self.unit, key, kind }
    }
}
