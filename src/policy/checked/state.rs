use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use secrecy::ExposeSecret;
use tollway_store::ledger::Keep;

use super::Secret;

/// Where each kind of state lives.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// One row a request, and their sums.
    pub ledger: Ledger,
    /// What limits have counted, money aside.
    pub limits: Store,
    /// What limits in USD have counted.
    pub budgets: Store,
    /// What is found out about targets and keys.
    pub breakers: Store,
    /// What is written at run time, such as keys and quotas: where all is that names no other place.
    pub documents: Store,
}

/// Where the ledger is, and what it keeps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ledger {
    /// Where it is.
    pub store: Store,
    /// How long it keeps what.
    pub keep: Keep,
}

/// Where something lives.
#[derive(Clone, Debug, Default, PartialEq)]
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
    /// The folder that its file would be in, if there is none.
    pub fn missing(&self) -> Option<&Path> {
        let Self::Sqlite(file) = self else { return None };
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty())?;
        (!folder.is_dir()).then_some(folder)
    }

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

impl fmt::Display for Store {
    /// `memory`, `tollway.db`, `a Redis (prefix tollway)`: no address, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::Sqlite(path) => path.display().fmt(f),
            Self::Redis(redis) => write!(f, "a Redis (prefix {})", redis.prefix),
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
    /// A PEM file with certificate authorities, besides the usual ones.
    pub extra_ca: Option<PathBuf>,
}

impl PartialEq for RedisStore {
    fn eq(&self, other: &Self) -> bool {
        let url = |one: &Self| one.url.expose_secret().to_owned();
        let rest = |one: &Self| (one.timeout, one.prefix.clone(), one.extra_ca.clone());
        (url(self), rest(self)) == (url(other), rest(other))
    }
}
