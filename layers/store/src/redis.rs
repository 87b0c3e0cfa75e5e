//! Redis or Valkey: one connection for all that keep state there, a bound on every wait, and a
//! breaker, so that a Redis that is away costs nobody more than that bound.
//!
//! ```no_run
//! use std::time::Duration;
//! use tollway_store::redis::{Redis, RedisConfig};
//!
//! # async fn run() -> Result<(), tollway_store::StoreError> {
//! let config = RedisConfig::parse("redis://:secret@127.0.0.1:6379")?;
//! let redis = Redis::open(config.timeout(Duration::from_millis(10)))?;
//! redis.connected().await?;
//! # Ok(()) }
//! ```

mod board;
mod config;
mod keeper;
mod ledger;
mod link;
mod records;

use std::{
    fmt,
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use ::redis::{Cmd, ErrorKind, FromRedisValue, RedisError, RedisResult};
use tokio::{
    runtime,
    sync::{Notify, mpsc, oneshot, watch},
};

pub use board::RedisBoard;
pub use config::RedisConfig;
pub use ledger::RedisLedger;
pub(crate) use link::Link;
pub use records::RedisRecords;

use crate::StoreError;

/// A Redis that is asked by many: cheap to clone, from any thread and any runtime.
///
/// The sockets belong to a thread of its own, which connects, pings, and ends with the last clone.
/// Once the connection broke, or the [patience](RedisConfig::patience) is over, nobody waits for it:
/// every question fails at once until a ping in the background succeeds.
#[derive(Clone)]
pub struct Redis {
    shared: Arc<Shared>,
    thread: Arc<Thread>,
}

/// The thread ends when this is dropped.
struct Thread {
    runtime: runtime::Handle,
    /// Held by every task: the thread waits a moment for those to end.
    task: mpsc::Sender<()>,
    _open: oneshot::Sender<()>,
}

/// What the thread and those who ask have in common.
pub(crate) struct Shared {
    config: RedisConfig,
    link: Mutex<Option<Link>>,
    /// Timeouts in a row.
    late: AtomicU32,
    /// Something is amiss: connect anew.
    ill: Notify,
    /// `None`: it is there. Else why it isn't.
    away: watch::Sender<Option<String>>,
}

impl Redis {
    /// Starts to connect, and does not wait for it: a Redis that is away is connected to when it
    /// is back.
    ///
    /// # Errors
    /// The machine has no thread left.
    pub fn open(config: RedisConfig) -> Result<Self, StoreError> {
        let (away, _) = watch::channel(Some("not connected yet".to_owned()));
        let shared = Arc::new(Shared {
            config,
            link: Mutex::new(None),
            late: AtomicU32::new(0),
            ill: Notify::new(),
            away,
        });
        let thread = Arc::new(keeper::start(shared.clone())?);
        Ok(Self { shared, thread })
    }

    /// Where it is, without user and password, and how it is spoken to.
    pub fn config(&self) -> &RedisConfig {
        &self.shared.config
    }

    /// Why it can't be asked now; `None` if it can.
    pub fn away(&self) -> Option<String> {
        self.shared.away()
    }

    /// Waits until it can be asked; at once if it can.
    ///
    /// # Errors
    /// What kept it from connecting when a second had passed.
    pub async fn connected(&self) -> Result<(), StoreError> {
        let mut away = self.shared.away.subscribe();
        // The second is the thread's: a test's clock may stand still or run.
        let waits = self.thread.runtime.spawn(async move {
            let up = away.wait_for(Option::is_none);
            tokio::time::timeout(Duration::from_secs(1), up).await.is_ok()
        });
        match waits.await {
            Ok(true) => Ok(()),
            _ => Err(self.shared.gone()),
        }
    }

    /// Asks whether it is there.
    ///
    /// # Errors
    /// It isn't, or did not say so within the [timeout](RedisConfig::timeout).
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.query(&::redis::cmd("PING")).await
    }

    /// Runs one command within the [timeout](RedisConfig::timeout).
    pub(crate) async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, StoreError> {
        let ask = async |mut link: Link| command.query_async(&mut link).await;
        self.shared.ask(self.config().timeout, ask).await
    }

    /// Asks within `limit`, and waits for the answer on this thread.
    pub(crate) fn wait<T, F>(
        &self,
        limit: Duration,
        ask: impl FnOnce(Link) -> F + Send + 'static,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = RedisResult<T>> + Send + 'static,
    {
        let (answer, answered) = std::sync::mpsc::sync_channel(1);
        let shared = self.shared.clone();
        self.spawn(async move {
            let _ = answer.send(shared.ask(limit, async |link| ask(link).await).await);
        });
        answered.recv().unwrap_or_else(|_| Err(self.shared.gone()))
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Runs a task on the thread that has the sockets. It must hold [`Shared`], never a `Redis`, or
    /// neither would end.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let held = self.thread.task.clone();
        self.thread.runtime.spawn(async move {
            task.await;
            drop(held);
        });
    }
}

impl Shared {
    pub(crate) fn config(&self) -> &RedisConfig {
        &self.config
    }

    pub(crate) fn away(&self) -> Option<String> {
        self.away.borrow().clone()
    }

    /// Tells when it comes and goes.
    pub(crate) fn watch(&self) -> watch::Receiver<Option<String>> {
        self.away.subscribe()
    }

    /// Asks within `limit`, or fails at once if it is away.
    pub(crate) async fn ask<T>(
        &self,
        limit: Duration,
        ask: impl AsyncFnOnce(Link) -> RedisResult<T>,
    ) -> Result<T, StoreError> {
        let link = self.link.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone();
        let Some(link) = link else { return Err(self.gone()) };
        match tokio::time::timeout(limit, ask(link)).await {
            Ok(Ok(answer)) => {
                // Who waits longer than others says nothing of whether it is too slow for those. And
                // the line is not shared by threads while all is well.
                if limit <= self.config.timeout && self.late.load(Ordering::Relaxed) > 0 {
                    self.late.store(0, Ordering::Relaxed);
                }
                Ok(answer)
            }
            Ok(Err(error)) => Err(self.failed(error)),
            Err(_) => Err(self.timed_out(limit)),
        }
    }

    fn gone(&self) -> StoreError {
        let why = self.away.borrow().clone().unwrap_or_else(|| "it was just lost".to_owned());
        StoreError::away(format!("{} is away", self.config), why)
    }

    fn timed_out(&self, limit: Duration) -> StoreError {
        let why = format!("no answer within {limit:?}");
        if self.late.fetch_add(1, Ordering::Relaxed) + 1 >= self.config.patience {
            self.lose(&why);
        }
        StoreError::away(self.config.to_string(), why)
    }

    fn failed(&self, error: RedisError) -> StoreError {
        let away = is_away(&error);
        let error = in_words(&error);
        if away {
            self.lose(&error);
            return StoreError::away(self.config.to_string(), error);
        }
        StoreError::wrong(self.config.to_string()).because(error)
    }

    /// From now on nobody asks, until the keeper has found it anew.
    fn lose(&self, why: &str) {
        *self.link.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = None;
        self.away.send_if_modified(|away| {
            let was_there = away.is_none();
            *away = Some(why.to_owned());
            was_there
        });
        self.ill.notify_one();
    }

    fn found(&self, link: Link) {
        self.late.store(0, Ordering::Relaxed);
        *self.link.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(link);
        self.away.send_replace(None);
    }

    fn missing(&self, error: String) {
        self.away.send_replace(Some(error));
    }
}

/// Whether it is the connection's or the server's state, which a new connection may mend.
fn is_away(error: &RedisError) -> bool {
    const PASSING: &[&str] =
        &["LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "MISCONF", "BUSY"];
    error.is_io_error()
        || error.is_unrecoverable_error()
        || matches!(error.kind(), ErrorKind::ClusterConnectionNotFound | ErrorKind::Parse)
        || error.code().is_some_and(|code| PASSING.contains(&code))
}

/// In words, on one line. A server's error repeats no password, and the address is told apart.
fn in_words(error: &RedisError) -> String {
    error.to_string().replace(['\r', '\n'], " ")
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis")
            .field("config", self.config())
            .field("away", &self.away())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use tollway_testkit::RedisServer;

    use super::*;

    /// What is written behind the requests has more time than they have: that it comes through
    /// doesn't mean that they would.
    #[tokio::test]
    async fn answers_to_the_patient_hide_no_slow_redis() {
        let server = RedisServer::start();
        let config = RedisConfig::parse(&server.url()).unwrap();
        let redis = Redis::open(config.timeout(Duration::from_secs(20)).patience(3)).unwrap();
        while redis.connected().await.is_err() {}
        let late = async || {
            let limit = Duration::from_millis(1);
            let asked = redis.shared.ask(limit, async |_| pending::<RedisResult<()>>().await).await;
            assert!(asked.is_err());
        };
        let answered = async |limit| {
            let asked = redis.shared.ask(limit, async |_| ready(Ok(())).await).await;
            asked.unwrap();
        };
        late().await;
        late().await;
        answered(Duration::from_secs(20)).await;
        late().await;
        late().await;
        assert_eq!(redis.away(), None, "an answer in time was between them");
        answered(Duration::from_secs(21)).await;
        let mut away = redis.shared.watch();
        away.mark_unchanged();
        late().await;
        assert!(away.has_changed().unwrap(), "three in a row");
    }
}
