//! The policy's stores, open.

use std::sync::Arc;
#[cfg(feature = "sqlite")]
use std::{collections::HashMap, path::PathBuf};

#[cfg(feature = "sqlite")]
use tollway_store::sqlite::{Sqlite, SqliteLimits};
use tollway_store::{
    StoreError,
    ledger::{Ledger, Writer},
    limits::{LimitJournal, SharedLimits},
};
#[cfg(feature = "redis")]
use tollway_store::{
    limits::RedisLimits,
    redis::{Redis, RedisConfig},
};

#[cfg(feature = "sqlite")]
use super::journal;
use super::{StackError, ledger};
#[cfg(feature = "redis")]
use crate::policy::RedisStore;
use crate::{
    policy::{Policy, Store, Unit},
    telemetry::{Telemetry, names},
};

/// Where a stack keeps what outlives a request; a stack of its own, which only shows what it would
/// do, has none.
#[derive(Clone, Debug, Default)]
pub(super) struct Stores {
    /// The ledger.
    pub(super) ledger: Option<Books>,
    pub(super) limits: Counted,
}

/// Where limits are counted besides in memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Counted {
    /// Remembers what memory decides.
    pub(super) journal: Option<Arc<dyn LimitJournal>>,
    /// Decides for all instances.
    pub(super) shared: Option<Arc<dyn SharedLimits>>,
    limits: bool,
    budgets: bool,
}

impl Counted {
    fn open(
        policy: &Policy,
        places: &mut Places,
        telemetry: &Telemetry,
    ) -> Result<Self, StackError> {
        telemetry.set(names::LIMITS_UNSAVED, vec![], 0.0);
        let (limits, budgets) = (&policy.state.limits, &policy.state.budgets);
        let mut counted = Self::default();
        for (name, store) in [("state.limits", limits), ("state.budgets", budgets)] {
            let wrong = |error: StoreError| StackError::new(name, error);
            let other = if name == "state.limits" { budgets } else { limits };
            // Memory decides them in one step, and one script.
            let apart = matches!(
                (store, other),
                (Store::Sqlite(_), Store::Sqlite(_)) | (Store::Redis(_), Store::Redis(_))
            ) && !store.is(other);
            if apart {
                let what = "limits and budgets can't live in two files, nor in two Redis";
                return Err(wrong(StoreError::wrong(what)));
            }
            match places.open(store).map_err(wrong)? {
                Place::Memory => {}
                #[cfg(feature = "sqlite")]
                Place::File(file) => {
                    counted.journal = Some(journal::told(SqliteLimits::new(file), telemetry));
                }
                #[cfg(feature = "redis")]
                Place::Shared(redis) => {
                    counted.limits |= name == "state.limits";
                    counted.budgets |= name == "state.budgets";
                    let shared = counted.shared.take();
                    counted.shared =
                        Some(shared.unwrap_or_else(|| Arc::new(RedisLimits::new(redis))));
                }
            }
        }
        Ok(counted)
    }

    /// Whether limits of this unit are shared.
    pub(super) fn shares(&self, unit: Unit) -> bool {
        if unit == Unit::Usd { self.budgets } else { self.limits }
    }
}

/// A ledger to read and what writes it.
#[derive(Clone)]
pub(super) struct Books {
    pub(super) ledger: Arc<dyn Ledger>,
    pub(super) writer: Arc<Writer>,
}

impl std::fmt::Debug for Books {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Books").field("writer", &self.writer).finish_non_exhaustive()
    }
}

impl Stores {
    /// Opens what the policy names. Blocks for as long as that takes.
    ///
    /// # Errors
    /// When a store can't be used as it is: a file of a newer version, a folder that is not there.
    /// One that is only away at present is no error.
    pub(super) fn open(policy: &Policy, telemetry: &Telemetry) -> Result<Self, StackError> {
        let mut places = Places::default();
        let ledger = Some(ledger::open(policy, &mut places, telemetry)?);
        Ok(Self { ledger, limits: Counted::open(policy, &mut places, telemetry)? })
    }
}

/// What is open already: kinds of state that live in the same place share it.
#[derive(Debug, Default)]
pub(super) struct Places {
    #[cfg(feature = "sqlite")]
    files: HashMap<PathBuf, Arc<Sqlite>>,
    #[cfg(feature = "redis")]
    shared: Vec<(Arc<RedisStore>, Redis)>,
}

/// An open place.
#[derive(Clone, Debug)]
pub(super) enum Place {
    Memory,
    #[cfg(feature = "sqlite")]
    File(Arc<Sqlite>),
    #[cfg(feature = "redis")]
    Shared(Redis),
}

impl Places {
    pub(super) fn open(&mut self, store: &Store) -> Result<Place, StoreError> {
        match store {
            Store::Memory => Ok(Place::Memory),
            #[cfg(feature = "sqlite")]
            Store::Sqlite(path) => {
                if let Some(file) = self.files.get(path) {
                    return Ok(Place::File(file.clone()));
                }
                let file = Arc::new(Sqlite::open(path)?);
                self.files.insert(path.clone(), file.clone());
                Ok(Place::File(file))
            }
            #[cfg(feature = "redis")]
            Store::Redis(at) => {
                use secrecy::ExposeSecret;
                let known = self.shared.iter().find(|(known, _)| Arc::ptr_eq(known, at));
                if let Some((_, redis)) = known {
                    return Ok(Place::Shared(redis.clone()));
                }
                let config = RedisConfig::parse(at.url.expose_secret())?;
                let redis = Redis::open(config.timeout(at.timeout).prefix(&*at.prefix)?)?;
                self.shared.push((at.clone(), redis.clone()));
                Ok(Place::Shared(redis))
            }
            // The policy's check lets none of these through.
            #[cfg(not(all(feature = "sqlite", feature = "redis")))]
            _ => Err(StoreError::wrong("this program was built without that store")),
        }
    }
}
