use std::{path::PathBuf, sync::Arc, time::Duration};

use tollway_store::ledger::Keep;

use super::Secret;

/// Where each kind of state lives.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// One row a request, and their sums.
    pub ledger: Ledger,
    /// What limits have counted, money aside.
    pub limits: Store,
    /// What limits in USD have counted.
    pub budgets: Store,
    /// What is found out about targets and keys.
    pub breakers: Store,
}

/// Where the ledger is, and what it keeps.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Where it is.
    pub store: Store,
    /// How long it keeps what.
    pub keep: Keep,
}

/// Where something lives.
#[derive(Clone, Debug, Default)]
pub enum Store {
    /// It ends with the process.
    #[default]
    Memory,
    /// In this file.
    Sqlite(PathBuf),
    /// In Redis or Valkey.
    Redis(Arc<RedisStore>),
}

impl Store {
    /// Whether it is the same place.
    pub fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Memory, Self::Memory) => true,
            (Self::Sqlite(one), Self::Sqlite(other)) => one == other,
            (Self::Redis(one), Self::Redis(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

/// A Redis or Valkey.
#[derive(Clone, Debug)]
pub struct RedisStore {
    /// Its address, with a password if it has one.
    pub url: Secret,
    /// The longest that anything waits for it.
    pub timeout: Duration,
    /// What its keys begin with.
    pub prefix: Arc<str>,
}
