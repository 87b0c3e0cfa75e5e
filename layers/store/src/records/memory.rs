use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{Mark, Record, Records, Snapshot};
use crate::StoreError;

/// Documents that end with the process.
#[derive(Debug, Default)]
pub struct MemoryRecords(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    kinds: BTreeMap<String, BTreeMap<Arc<str>, Record>>,
    mark: Option<Mark>,
}

impl Inner {
    fn changed(&mut self, now: u64) {
        self.mark = Some(self.mark.map_or_else(|| Mark::begin(now), Mark::next));
    }

    fn list(&self, kind: &str, now: u64) -> Vec<Record> {
        let records = self.kinds.get(kind).into_iter().flat_map(BTreeMap::values);
        records.filter(|record| record.is_there(now)).cloned().collect()
    }
}

impl MemoryRecords {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Records for MemoryRecords {
    fn put(&self, kind: &str, record: &Record, now: u64) -> Result<(), StoreError> {
        let mut all = self.lock();
        let records = all.kinds.entry(kind.to_owned()).or_default();
        records.insert(record.name.clone(), record.clone());
        all.changed(now);
        Ok(())
    }

    fn add(&self, kind: &str, record: &Record, now: u64) -> Result<bool, StoreError> {
        let mut all = self.lock();
        let records = all.kinds.entry(kind.to_owned()).or_default();
        let is_new = !records.get(&record.name).is_some_and(|there| there.is_there(now));
        if is_new {
            records.insert(record.name.clone(), record.clone());
            all.changed(now);
        }
        Ok(is_new)
    }

    fn get(&self, kind: &str, name: &str, now: u64) -> Result<Option<Record>, StoreError> {
        let all = self.lock();
        let record = all.kinds.get(kind).and_then(|records| records.get(name));
        Ok(record.filter(|record| record.is_there(now)).cloned())
    }

    fn list(&self, kind: &str, now: u64) -> Result<Vec<Record>, StoreError> {
        Ok(self.lock().list(kind, now))
    }

    fn remove(&self, kind: &str, name: &str, now: u64) -> Result<bool, StoreError> {
        let mut all = self.lock();
        let removed = all.kinds.get_mut(kind).and_then(|records| records.remove(name));
        if removed.is_some() {
            all.changed(now);
        }
        Ok(removed.is_some_and(|record| record.is_there(now)))
    }

    fn clean(&self, now: u64) -> Result<u64, StoreError> {
        let mut removed = 0;
        for records in self.lock().kinds.values_mut() {
            let before = records.len();
            records.retain(|_, record| record.is_there(now));
            removed += before.saturating_sub(records.len()) as u64;
        }
        Ok(removed)
    }

    fn mark(&self) -> Result<Option<Mark>, StoreError> {
        Ok(self.lock().mark)
    }

    fn snapshot(&self, kinds: &[&str], now: u64) -> Result<Snapshot, StoreError> {
        let all = self.lock();
        let kinds = kinds.iter().map(|kind| all.list(kind, now)).collect();
        Ok(Snapshot { mark: all.mark, kinds })
    }

    fn restore(
        &self,
        was: Option<Mark>,
        mark: Mark,
        kinds: &[(&str, &[Record])],
    ) -> Result<bool, StoreError> {
        let mut all = self.lock();
        if all.mark != was {
            return Ok(false);
        }
        all.mark = Some(mark);
        for (kind, records) in kinds {
            let records = records.iter().map(|record| (record.name.clone(), record.clone()));
            all.kinds.insert((*kind).to_owned(), records.collect());
        }
        Ok(true)
    }
}
