//! The circuits of all keys: who finds which, and the passes that ride on requests.

use std::hash::Hash;

use tollway_core::NameMap;

use crate::{
    config::Config,
    events::EventKind,
    state::{Circuit, Nanos, Outcome, Pass},
    sync::{Arc, Mutex, MutexGuard, RwLock},
};

/// A full map is searched for idle keys at most this often.
const SWEEP_EVERY: Nanos = 1_000_000_000;

#[derive(Debug)]
pub(crate) struct Entry<K> {
    pub(crate) key: K,
    circuit: Mutex<Circuit>,
}

impl<K> Entry<K> {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Circuit> {
        self.circuit.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[derive(Debug)]
pub(crate) struct Registry<K> {
    map: RwLock<Map<K>>,
}

#[derive(Debug)]
struct Map<K> {
    entries: NameMap<K, Arc<Entry<K>>>,
    next_sweep: Nanos,
}

impl<K: Hash + Eq + Clone> Registry<K> {
    pub(crate) fn new() -> Self {
        Self { map: RwLock::new(Map { entries: NameMap::default(), next_sweep: 0 }) }
    }

    pub(crate) fn get(&self, key: &K) -> Option<Arc<Entry<K>>> {
        let map = self.map.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        map.entries.get(key).cloned()
    }

    /// The circuit of `key`, made if there is room for it.
    pub(crate) fn get_or_make(&self, key: K, now: Nanos, config: &Config) -> Option<Arc<Entry<K>>> {
        if let Some(entry) = self.get(&key) {
            return Some(entry);
        }
        let mut map = self.map.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        if map.entries.len() >= config.max_keys && !map.entries.contains_key(&key) {
            if now < map.next_sweep {
                return None;
            }
            // A request under way holds its entry; that one must stay where it can be found.
            map.entries.retain(|_, entry| {
                Arc::strong_count(entry) > 1 || !entry.lock().is_idle(now, config)
            });
            if map.entries.len() >= config.max_keys {
                map.next_sweep = now.saturating_add(SWEEP_EVERY);
                return None;
            }
        }
        let entry = map.entries.entry(key).or_insert_with_key(|key| {
            Arc::new(Entry { key: key.clone(), circuit: Mutex::new(Circuit::new()) })
        });
        Some(entry.clone())
    }

    /// All circuits, in no order.
    pub(crate) fn all(&self) -> Vec<Arc<Entry<K>>> {
        let map = self.map.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        map.entries.values().cloned().collect()
    }
}

/// A pass that finds its own way back: dropped unsettled, it gives up its place and decides nothing.
#[derive(Debug)]
pub(crate) struct Permit<K> {
    entry: Arc<Entry<K>>,
    pass: Option<Pass>,
}

impl<K> Permit<K> {
    pub(crate) fn new(entry: Arc<Entry<K>>, pass: Pass) -> Self {
        Self { entry, pass: Some(pass) }
    }

    pub(crate) fn key(&self) -> &K {
        &self.entry.key
    }

    pub(crate) fn is_trial(&self) -> bool {
        self.pass.is_some_and(|pass| pass.trial)
    }

    /// Gives the pass back with what became of the request; the second time changes nothing.
    pub(crate) fn settle(
        &mut self,
        outcome: Outcome,
        slow: bool,
        now: Nanos,
        config: &Config,
    ) -> Option<EventKind> {
        let pass = self.pass.take()?;
        self.entry.lock().settle(pass, outcome, slow, now, config)
    }
}

impl<K> Drop for Permit<K> {
    fn drop(&mut self) {
        // Only trials hold a place.
        if let Some(pass) = self.pass.take().filter(|pass| pass.trial) {
            self.entry.lock().release(pass);
        }
    }
}
