//! What is learnt of callers and models is kept by the hash of their names, so that nothing is copied
//! to look it up. It is keyed: nobody can choose names that meet, and two that meet by chance have
//! one entry.

use std::{
    hash::{BuildHasher, Hash},
    sync::LazyLock,
};

use foldhash::quality::RandomState;
use tollway_core::NameMap;

/// By the hash of names.
pub(super) type Table<T> = NameMap<u64, T>;

static NAMES: LazyLock<RandomState> = LazyLock::new(RandomState::default);

pub(super) fn hash(names: impl Hash) -> u64 {
    NAMES.hash_one(names)
}
