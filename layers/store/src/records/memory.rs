use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{Record, Records};
use crate::StoreError;

/// Documents that end with the process.
#[derive(Debug, Default)]
pub struct MemoryRecords(Mutex<Kinds>);

type Kinds = BTreeMap<String, BTreeMap<Arc<str>, Record>>;

impl MemoryRecords {
    fn lock(&self) -> MutexGuard<'_, Kinds> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Records for MemoryRecords {
    fn put(&self, kind: &str, record: &Record) -> Result<(), StoreError> {
        let mut kinds = self.lock();
        kinds.entry(kind.to_owned()).or_default().insert(record.name.clone(), record.clone());
        Ok(())
    }

    fn add(&self, kind: &str, record: &Record, now: u64) -> Result<bool, StoreError> {
        let mut kinds = self.lock();
        let records = kinds.entry(kind.to_owned()).or_default();
        let is_new = !records.get(&record.name).is_some_and(|there| there.is_there(now));
        if is_new {
            records.insert(record.name.clone(), record.clone());
        }
        Ok(is_new)
    }

    fn get(&self, kind: &str, name: &str, now: u64) -> Result<Option<Record>, StoreError> {
        let kinds = self.lock();
        let record = kinds.get(kind).and_then(|records| records.get(name));
        Ok(record.filter(|record| record.is_there(now)).cloned())
    }

    fn list(&self, kind: &str, now: u64) -> Result<Vec<Record>, StoreError> {
        let kinds = self.lock();
        let records = kinds.get(kind).into_iter().flat_map(BTreeMap::values);
        Ok(records.filter(|record| record.is_there(now)).cloned().collect())
    }

    fn remove(&self, kind: &str, name: &str, now: u64) -> Result<bool, StoreError> {
        let removed = self.lock().get_mut(kind).and_then(|records| records.remove(name));
        Ok(removed.is_some_and(|record| record.is_there(now)))
    }

    fn clean(&self, now: u64) -> Result<u64, StoreError> {
        let mut removed = 0;
        for records in self.lock().values_mut() {
            let before = records.len();
            records.retain(|_, record| record.is_there(now));
            removed += before.saturating_sub(records.len()) as u64;
        }
        Ok(removed)
    }
}
