//! The policy's stores, open.

#[cfg(feature = "redis")]
use std::io;
#[cfg(feature = "sqlite")]
use std::{collections::HashMap, path::PathBuf};
use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use tollway_rate_limit::Handle;
#[cfg(feature = "sqlite")]
use tollway_store::sqlite::{Sqlite, SqliteLimits};
use tollway_store::{
    StoreError,
    ledger::{Ledger, Writer},
    limits::{Figures, LimitJournal, SharedLimits},
};
#[cfg(feature = "redis")]
use tollway_store::{
    limits::RedisLimits,
    redis::{Redis, RedisBoard, RedisConfig},
};

#[cfg(feature = "sqlite")]
use super::journal;
use super::{
    KeyRing, StackError,
    documents::Documents,
    ledger,
    quotas::Quotas,
    shared_advice::{Sharing, Wake},
};
#[cfg(feature = "redis")]
use crate::{policy::RedisStore, upstream};
use crate::{
    policy::{Policy, Store, Unit},
    telemetry::{Telemetry, names},
};

/// What a process writes after its drain has taken no longer.
#[cfg(feature = "sqlite")]
const AFTER_DRAIN: Duration = Duration::from_secs(15);

/// At the start, a Redis that is there has this long to say how many instances there are.
#[cfg(feature = "redis")]
const FIRST_WORD: Duration = Duration::from_secs(1);

/// What another process holds a file for is waited for so long at the end of this one.
#[cfg(feature = "sqlite")]
const LOCKED: Duration = Duration::from_secs(3);

/// At the end of a process its last settlements have this long.
const LEAVE: Duration = Duration::from_secs(1);

/// Where a stack keeps what outlives a request; a stack of its own, which only shows what it would
/// do, has none.
#[derive(Clone, Debug, Default)]
pub(super) struct Stores {
    /// The ledger.
    pub(super) ledger: Option<Books>,
    pub(super) limits: Counted,
    /// What is written at run time.
    pub(super) documents: Documents,
    /// The keys among them.
    pub(super) keys: Arc<KeyRing>,
    /// And the quotas.
    pub(super) quotas: Arc<Quotas>,
    /// Where instances tell each other what breakers found.
    pub(super) sharing: Option<Sharing>,
    /// Files of any of these.
    #[cfg(feature = "sqlite")]
    pub(super) files: Vec<Arc<Sqlite>>,
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
            match places.open(store).map_err(wrong)? {
                Place::Memory => {}
                #[cfg(feature = "sqlite")]
                Place::File(file) => {
                    if counted.journal.is_none() {
                        let limits = claimed(file, policy.server.drain).map_err(wrong)?;
                        counted.journal = Some(journal::told(limits, telemetry));
                    }
                }
                #[cfg(feature = "redis")]
                Place::Shared(redis) => {
                    counted.limits |= name == "state.limits";
                    counted.budgets |= name == "state.budgets";
                    let shared = counted.shared.take();
                    counted.shared = Some(shared.unwrap_or_else(|| connected(redis)));
                }
            }
        }
        Ok(counted)
    }

    /// Tells how the store that instances share does.
    pub(super) fn refresh_metrics(&self, telemetry: &Telemetry) {
        let Some(store) = &self.shared else { return };
        let Figures { asked, borrowed, unanswered, waiting, lost } = store.figures();
        let away = if store.is_away() { 1.0 } else { 0.0 };
        #[expect(clippy::cast_precision_loss, reason = "a metric")]
        let waiting = waiting as f64;
        telemetry.set(names::LIMIT_STORE_AWAY, vec![], away);
        telemetry.set(names::LIMIT_STORE_INSTANCES, vec![], store.instances().into());
        telemetry.set(names::LIMIT_STORE_WAITING, vec![], waiting);
        telemetry.count_to(names::LIMIT_STORE_ASKED, asked);
        telemetry.count_to(names::LIMIT_STORE_BORROWED, borrowed);
        telemetry.count_to(names::LIMIT_STORE_UNANSWERED, unanswered);
        telemetry.count_to(names::LIMIT_STORE_LOST, lost);
    }

    /// Why the store that instances share can't be asked.
    pub(super) fn trouble(&self) -> Option<String> {
        self.shared.as_ref()?.trouble()
    }

    /// Has what limits decided alone charged, if the store is back within a moment.
    pub(super) async fn repay(&self, limits: &[Handle]) {
        let until = Instant::now() + LEAVE;
        loop {
            limits.iter().for_each(Handle::repay);
            let keys: usize = limits.iter().map(Handle::owed).sum();
            if keys == 0 {
                return;
            }
            if Instant::now() >= until {
                tracing::warn!(
                    keys,
                    "the Redis of limits is away: what was used without it since is lost"
                );
                return;
            }
            tokio::time::sleep(LEAVE / 20).await;
        }
    }

    /// Gives back what is borrowed, and waits a moment until what ended is settled: no request does
    /// any more.
    pub(super) async fn finish(&self) {
        let Some(store) = &self.shared else { return };
        if tokio::time::timeout(LEAVE, store.flush()).await.is_err() {
            let waiting = store.figures().waiting;
            tracing::warn!(
                waiting,
                "the Redis of limits is away: what it isn't told stays as it was reserved"
            );
        }
    }

    /// Whether limits of this unit are shared.
    pub(super) fn shares(&self, unit: Unit) -> bool {
        if unit == Unit::Usd { self.budgets } else { self.limits }
    }
}

/// Limits in a Redis, which others may count in. Until it has answered, nobody knows of anybody.
#[cfg(feature = "redis")]
fn connected(redis: Redis) -> Arc<dyn SharedLimits> {
    let limits = RedisLimits::new(redis);
    limits.on_trouble(|why| match why {
        Some(why) => tracing::warn!(
            why,
            "the Redis of limits can't be asked: each limit does what its when_store_is_away says"
        ),
        None => tracing::info!("the Redis of limits is asked again"),
    });
    limits.wait_known(FIRST_WORD);
    Arc::new(limits)
}

/// Limits in a file, which no other process counts in. One that does may be about to end: it is waited
/// for as long as that may take it.
#[cfg(feature = "sqlite")]
fn claimed(file: Arc<Sqlite>, drain: Duration) -> Result<SqliteLimits, StoreError> {
    let limits = SqliteLimits::new(file);
    if let Err(error) = limits.claim(Duration::ZERO) {
        let (most, begun) = (drain + AFTER_DRAIN, Instant::now());
        tracing::warn!(most_s = most.as_secs(), %error, "waiting until it has ended; the port opens then");
        limits.claim(most)?;
        tracing::info!(waited_s = begun.elapsed().as_secs(), "it has ended");
    }
    Ok(limits)
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
        let limits = Counted::open(policy, &mut places, telemetry)?;
        let wrong = |error: StoreError| StackError::new("state", error);
        let documents = places.open(&policy.state.documents).map_err(wrong)?;
        Ok(Self {
            ledger,
            limits,
            documents: Documents::open(documents),
            keys: Arc::default(),
            quotas: Arc::default(),
            sharing: board(policy, &mut places)?,
            #[cfg(feature = "sqlite")]
            files: places.files.into_values().collect(),
        })
    }

    /// For the end of a process: from here on none of its files is waited for for long.
    pub(super) fn leave(&self) {
        #[cfg(feature = "sqlite")]
        self.files.iter().for_each(|file| file.leave(LOCKED));
    }

    /// Wakes whoever tells others; of no effect where nobody is told.
    pub(super) fn wake(&self) -> Wake {
        self.sharing.as_ref().map(Sharing::wake).unwrap_or_default()
    }
}

/// Where breakers tell what they found; in memory there is nobody to tell.
fn board(policy: &Policy, places: &mut Places) -> Result<Option<Sharing>, StackError> {
    let wrong = |error| StackError::new("state.breakers", error);
    match places.open(&policy.state.breakers).map_err(wrong)? {
        #[cfg(feature = "redis")]
        Place::Shared(redis) => {
            let board = Arc::new(RedisBoard::new(redis, "breakers"));
            Ok(Some(Sharing::new(board, super::shared_advice::instance())))
        }
        _ => Ok(None),
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
                let mut config = config.timeout(at.timeout).prefix(&*at.prefix)?;
                if let Some(path) = at.extra_ca.clone() {
                    let pem = move || upstream::authorities(&path).map_err(io::Error::other);
                    // What is wrong with the file shows now.
                    pem().map_err(|error| StoreError::wrong(error.to_string()))?;
                    config = config.ca_from(pem);
                }
                let redis = Redis::open(config)?;
                self.shared.push((at.clone(), redis.clone()));
                Ok(Place::Shared(redis))
            }
            // The policy's check lets none of these through.
            #[cfg(not(all(feature = "sqlite", feature = "redis")))]
            _ => Err(StoreError::wrong("this program was built without that store")),
        }
    }
}
