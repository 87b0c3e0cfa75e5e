//! Small documents by kind and name, each with an expiry if it has one: custom quotas, keys, advice.
//!
//! What a document says is its owner's matter. A store holds a few thousand of a kind; a list is
//! whole. One that has expired is not there any more, for whoever looks.
//!
//! ```
//! use tollway_store::records::{MemoryRecords, Record, Records};
//!
//! let records = MemoryRecords::default();
//! let now = 1_795_305_600_000;
//! records.put("quota", &Record::new("amira", "200/min").expiring(now + 1_000), now).unwrap();
//! assert_eq!(records.get("quota", "amira", now).unwrap().unwrap().value, b"200/min");
//! assert!(records.get("quota", "amira", now + 1_000).unwrap().is_none());
//! ```

mod memory;

use std::{collections::hash_map::RandomState, hash::BuildHasher, sync::Arc};

pub use memory::MemoryRecords;

use crate::StoreError;

/// One document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its name among those of its kind.
    pub name: Arc<str>,
    /// What it says.
    pub value: Vec<u8>,
    /// From when on it isn't there any more, in milliseconds since 1970; `None`: never.
    pub expires: Option<u64>,
}

impl Record {
    /// A document that never expires.
    pub fn new(name: impl Into<Arc<str>>, value: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into(), value: value.into(), expires: None }
    }

    /// The same, there until this moment, in milliseconds since 1970.
    #[must_use]
    pub fn expiring(self, at: u64) -> Self {
        Self { expires: Some(at), ..self }
    }

    /// Whether it has not expired by then, in milliseconds since 1970.
    pub fn is_there(&self, now: u64) -> bool {
        self.expires.is_none_or(|expires| expires > now)
    }
}

/// Which state of a store's documents one knows: of which store, and after which change there.
///
/// A store gets its mark with its first document, and keeps it when the last one is removed. So one
/// without a mark has lost what somebody knows a mark of. The same mark is the same documents, but for
/// those that were cleaned away: two changes have the same number by no chance worth a thought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Of the store, made with its first document: when that was, and some chance.
    pub era: u64,
    /// A number of chance, made with the last change.
    pub last: u64,
}

/// So much of an era is chance.
const CHANCE: u32 = 20;

impl Mark {
    /// That of a store that has its first document at `now`, in milliseconds since 1970.
    #[must_use]
    pub fn begin(now: u64) -> Self {
        let chance = Self::chance() >> (u64::BITS - CHANCE);
        Self { era: (now << CHANCE) | chance, last: Self::chance() }
    }

    /// The same store's after another change.
    #[must_use]
    pub fn next(self) -> Self {
        Self { last: Self::chance(), ..self }
    }

    /// When the store had its first document, in milliseconds since 1970, by the clock of who wrote it.
    pub fn begun(self) -> u64 {
        self.era >> CHANCE
    }

    fn chance() -> u64 {
        RandomState::new().hash_one(std::process::id())
    }
}

/// All documents of some kinds at one moment, those that have expired aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Which moment; `None`: no document was ever written there.
    pub mark: Option<Mark>,
    /// For each kind asked for, by name.
    pub kinds: Vec<Vec<Record>>,
}

/// Where documents are kept. Every method may block: call it from a thread that may wait. `now` is
/// in milliseconds since 1970. The kind of no name is the store's own.
pub trait Records: Send + Sync + 'static {
    /// Writes a document, over the one of its name if there is one.
    ///
    /// # Errors
    /// When it could not be written.
    fn put(&self, kind: &str, record: &Record, now: u64) -> Result<(), StoreError>;

    /// Writes a document unless there is one of its name that has not expired; whether it did. Of
    /// several that try at the same moment, one does.
    ///
    /// # Errors
    /// When it could not be written.
    fn add(&self, kind: &str, record: &Record, now: u64) -> Result<bool, StoreError>;

    /// The document of this name.
    ///
    /// # Errors
    /// When it could not be read.
    fn get(&self, kind: &str, name: &str, now: u64) -> Result<Option<Record>, StoreError>;

    /// All of a kind, by name.
    ///
    /// # Errors
    /// When they could not be read.
    fn list(&self, kind: &str, now: u64) -> Result<Vec<Record>, StoreError>;

    /// Removes a document; whether there was one.
    ///
    /// # Errors
    /// When it could not be removed.
    fn remove(&self, kind: &str, name: &str, now: u64) -> Result<bool, StoreError>;

    /// Removes what has expired; how many there were.
    ///
    /// # Errors
    /// When they could not be removed.
    fn clean(&self, now: u64) -> Result<u64, StoreError>;

    /// Which state of the documents this is: another one after each change, but for cleaning.
    ///
    /// # Errors
    /// When it could not be read.
    fn mark(&self) -> Result<Option<Mark>, StoreError>;

    /// All documents of these kinds, and the mark they have.
    ///
    /// # Errors
    /// When they could not be read.
    fn snapshot(&self, kinds: &[&str], now: u64) -> Result<Snapshot, StoreError>;

    /// Writes kinds of documents whole, in the place of what there is of these kinds, and `mark`: if
    /// the mark there is `was` until then. Whether it did; of several that try at the same moment, one
    /// does.
    ///
    /// # Errors
    /// When it could not be written.
    fn restore(
        &self,
        was: Option<Mark>,
        mark: Mark,
        kinds: &[(&str, &[Record])],
    ) -> Result<bool, StoreError>;
}
