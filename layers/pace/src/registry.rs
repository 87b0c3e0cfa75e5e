//! The lines of all keys: who finds which.

use std::{
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

use tollway_core::NameMap;

use crate::{gauge::Nanos, queue::Line};

/// A full map is searched for idle keys at most this often.
const SWEEP_EVERY: Nanos = 1_000_000_000;

#[derive(Debug)]
pub(crate) struct Entry<K> {
    pub(crate) key: K,
    line: Mutex<Line>,
}

impl<K> Entry<K> {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
pub(crate) struct Registry<K> {
    map: RwLock<Map<K>>,
    max_keys: usize,
}

#[derive(Debug)]
struct Map<K> {
    entries: NameMap<K, Arc<Entry<K>>>,
    next_sweep: Nanos,
}

impl<K: Hash + Eq + Clone> Registry<K> {
    pub(crate) fn new(max_keys: usize) -> Self {
        Self { map: RwLock::new(Map { entries: NameMap::default(), next_sweep: 0 }), max_keys }
    }

    pub(crate) fn get(&self, key: &K) -> Option<Arc<Entry<K>>> {
        let map = self.map.read().unwrap_or_else(PoisonError::into_inner);
        map.entries.get(key).cloned()
    }

    /// The line of `key`, made if there is room for it.
    pub(crate) fn get_or_make(&self, key: K, now: Nanos) -> Option<Arc<Entry<K>>> {
        if let Some(entry) = self.get(&key) {
            return Some(entry);
        }
        let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
        if map.entries.len() >= self.max_keys && !map.entries.contains_key(&key) {
            if now < map.next_sweep {
                return None;
            }
            // A request under way or in line holds its entry.
            map.entries.retain(|_, entry| {
                Arc::strong_count(entry) > 1 || !entry.lock().state.is_idle(now)
            });
            if map.entries.len() >= self.max_keys {
                map.next_sweep = now.saturating_add(SWEEP_EVERY);
                return None;
            }
        }
        let entry = map
            .entries
            .entry(key)
            .or_insert_with_key(|key| Arc::new(Entry { key: key.clone(), line: Mutex::default() }));
        Some(entry.clone())
    }

    /// All lines, in no order.
    pub(crate) fn all(&self) -> Vec<Arc<Entry<K>>> {
        let map = self.map.read().unwrap_or_else(PoisonError::into_inner);
        map.entries.values().cloned().collect()
    }
}
