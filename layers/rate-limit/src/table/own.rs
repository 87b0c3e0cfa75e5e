//! Keys with a quota of their own.

use std::time::SystemTime;

use tollway_core::NameMap;
use tollway_store::limits::{Now, Shape};

use super::{Slot, Table};
use crate::{
    ConfigError,
    key::{Compact, Key},
    quota::KeyQuota,
    remote::share,
};

/// A quota in the place of the table's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Own {
    quota: KeyQuota,
    /// Of all instances together.
    whole: Shape,
    /// Of the part that the table is.
    shape: Shape,
}

impl Own {
    fn new(quota: KeyQuota, table: &Table) -> Result<Self, ConfigError> {
        let whole = table.terms.shape(quota.quota)?;
        // There and back again.
        if !table.shape.leads_to(&whole) || !whole.leads_to(&table.shape) {
            return Err(ConfigError(
                "a key's own quota is of the same kind, and over the same period, as its limit's",
            ));
        }
        let shape = table.parts.map_or(whole, |parts| share(whole, parts));
        Ok(Self { quota, whole, shape })
    }
}

/// The shape that a slot's key goes by.
pub(super) fn shape_of<'a>(
    slot: &Slot,
    own: &'a NameMap<Compact, Own>,
    shape: &'a Shape,
) -> &'a Shape {
    if !slot.own {
        return shape;
    }
    own.get(&slot.key).map_or(shape, |own| &own.shape)
}

impl Table {
    /// The same of a key, whether it is in memory or not.
    pub(crate) fn shape_for(&self, key: &Key) -> &Shape {
        self.own_of(key).map_or(&self.shape, |own| &own.shape)
    }

    /// Of all instances together; `None`: the limit's.
    pub(crate) fn whole_of(&self, key: &Key) -> Option<Shape> {
        self.own_of(key).map(|own| own.whole)
    }

    pub(crate) fn quota_of(&self, key: &Key) -> Option<KeyQuota> {
        self.own_of(key).map(|own| own.quota)
    }

    pub(crate) fn quota_at(&self, slot: u32) -> Option<KeyQuota> {
        let slot = &self.slots[slot as usize];
        if slot.own { self.own.get(&slot.key).map(|own| own.quota) } else { None }
    }

    pub(super) fn has_own(&self, key: &Key) -> bool {
        self.own_of(key).is_some()
    }

    fn own_of(&self, key: &Key) -> Option<&Own> {
        if self.own.is_empty() { None } else { self.own.get(&Compact::from(key)) }
    }

    /// All of them.
    pub(crate) fn quotas(&self) -> impl Iterator<Item = (Key, &KeyQuota)> {
        self.own.iter().map(|(key, own)| (key.into(), &own.quota))
    }

    /// Keys whose own quota is over.
    pub(crate) fn over(&self, wall: SystemTime) -> Vec<Key> {
        let over = self.quotas().filter(|(_, quota)| quota.until.is_some_and(|end| end <= wall));
        over.map(|(key, _)| key).collect()
    }

    /// From now on `key` has this quota, or the limit's again; what it has used goes on. Whether
    /// that is a change.
    pub(crate) fn set_own(
        &mut self,
        key: &Key,
        quota: Option<KeyQuota>,
        now: Now,
    ) -> Result<bool, ConfigError> {
        let next = quota.map(|quota| Own::new(quota, self)).transpose()?;
        let (old, before) = (*self.shape_for(key), self.quota_of(key));
        let new = next.map_or(self.shape, |own| own.shape);
        if let Some(slot) = self.own(key, key.hash()) {
            let slot = self.slot_mut(slot);
            slot.own = next.is_some();
            if old != new {
                slot.state.reshape(&old, &new, slot.held, now);
            }
        }
        match next {
            Some(own) => drop(self.own.insert(key.into(), own)),
            None => drop(self.own.remove(&Compact::from(key))),
        }
        Ok(before != quota)
    }

    /// Those that mean something once this table goes on as `next`.
    pub(super) fn own_under(&self, next: &Self) -> NameMap<Compact, Own> {
        let under =
            |(key, own): (&Compact, &Own)| Some((key.clone(), Own::new(own.quota, next).ok()?));
        self.own.iter().filter_map(under).collect()
    }
}
