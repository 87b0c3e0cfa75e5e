//! Small documents that are written at run time, and whoever goes by them: keys, quotas, advice.
//!
//! They live where `state:` says all does that it names no other place for: in memory, in a file, or
//! in a Redis, and then they are those of all its instances.
//!
//! How fresh: what this instance changes, its follower has been told when the change is answered. What
//! another instance changes is told within two seconds (it is looked for every second), and so is what
//! expires. While a store is away, the last list holds, less what expires meanwhile.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use tollway_core::{SystemClock, WallClock};
use tollway_store::{
    StoreError,
    ledger::millis,
    records::{MemoryRecords, Record, Records},
};

use super::stores::Place;

/// How often others' changes are looked for, and what has expired.
const EVERY: Duration = Duration::from_secs(1);
/// After so many looks what has expired is removed from the store.
const CLEAN: u32 = 600;
/// How long a Redis may take to be connected to, before it counts as away.
const CONNECT: Duration = Duration::from_secs(1);

/// Is told all documents of a kind, by name, each time that they are others than before. It must
/// neither hold nor ask the [`Documents`] that tell it, and wait for nothing.
pub type Follower = Arc<dyn Fn(&[Record]) + Send + Sync>;

/// The documents of a stack. Clones are the same ones.
#[derive(Clone)]
pub struct Documents(Arc<Inner>);

struct Inner {
    records: Arc<dyn Records>,
    /// Others write there, too.
    shared: bool,
    clock: Arc<dyn WallClock>,
    /// By kind. Held while the store is asked, so that nobody is told of an older state later.
    followed: Mutex<HashMap<String, Followed>>,
    failing: AtomicBool,
    /// The thread that looks ends with it.
    open: OnceLock<mpsc::Sender<()>>,
}

struct Followed {
    follower: Follower,
    told: Vec<Record>,
}

impl fmt::Debug for Documents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Documents").field("shared", &self.0.shared).finish_non_exhaustive()
    }
}

impl Default for Documents {
    /// In memory.
    fn default() -> Self {
        Self::over(Arc::new(MemoryRecords::default()), false, Arc::new(SystemClock))
    }
}

impl Documents {
    /// Those that live there. Waits for a Redis that was just opened, but not for long.
    pub(super) fn open(place: Place) -> Self {
        match place {
            Place::Memory => Self::default(),
            #[cfg(feature = "sqlite")]
            Place::File(file) => {
                let records = tollway_store::sqlite::SqliteRecords::new(file);
                Self::over(Arc::new(records), false, Arc::new(SystemClock))
            }
            #[cfg(feature = "redis")]
            Place::Shared(redis) => {
                const LOOK: Duration = Duration::from_millis(10);
                for _ in 0..CONNECT.as_millis() / LOOK.as_millis() {
                    if redis.away().is_none() {
                        break;
                    }
                    thread::park_timeout(LOOK);
                }
                let records = tollway_store::redis::RedisRecords::new(redis);
                Self::over(Arc::new(records), true, Arc::new(SystemClock))
            }
        }
    }

    /// Those of this store; `shared`: other instances write there, too.
    pub(super) fn over(records: Arc<dyn Records>, shared: bool, clock: Arc<dyn WallClock>) -> Self {
        Self(Arc::new(Inner {
            records,
            shared,
            clock,
            followed: Mutex::default(),
            failing: AtomicBool::new(false),
            open: OnceLock::new(),
        }))
    }

    /// All of a kind, by name, as the store has them now.
    ///
    /// # Errors
    ///
    /// The store can't be read.
    pub async fn list(&self, kind: &str) -> Result<Vec<Record>, StoreError> {
        let kind = kind.to_owned();
        self.blocking(move |inner| inner.records.list(&kind, inner.now())).await
    }

    /// Writes a document, over the one of its name if there is one.
    ///
    /// # Errors
    ///
    /// The store can't be written.
    pub async fn put(&self, kind: &str, record: Record) -> Result<(), StoreError> {
        let kind = kind.to_owned();
        self.blocking(move |inner| {
            let mut followed = inner.followed();
            inner.records.put(&kind, &record)?;
            inner.wrote(&mut followed, &kind, record);
            Ok(())
        })
        .await
    }

    /// Writes a document unless there is one of its name, of whatever instance; whether it did.
    ///
    /// # Errors
    ///
    /// The store can't be written.
    pub async fn add(&self, kind: &str, record: Record) -> Result<bool, StoreError> {
        let kind = kind.to_owned();
        self.blocking(move |inner| {
            let mut followed = inner.followed();
            let added = inner.records.add(&kind, &record, inner.now())?;
            if added {
                inner.wrote(&mut followed, &kind, record);
            }
            Ok(added)
        })
        .await
    }

    /// Removes a document; whether there was one.
    ///
    /// # Errors
    ///
    /// The store can't be written.
    pub async fn remove(&self, kind: &str, name: &str) -> Result<bool, StoreError> {
        let (kind, name) = (kind.to_owned(), name.to_owned());
        self.blocking(move |inner| {
            let mut followed = inner.followed();
            let removed = inner.records.remove(&kind, &name, inner.now())?;
            inner.changed(&mut followed, &kind, |told| {
                told.retain(|record| *record.name != *name);
            });
            Ok(removed)
        })
        .await
    }

    /// Tells `follower` all documents of a kind: now, and each time that they are others. Who
    /// follows a kind later takes the place of who did before. Blocks for as long as the store takes to
    /// be read; one that is away has no documents until it is back.
    pub fn follow(&self, kind: &str, follower: Follower) {
        let mut followed = self.0.followed();
        let before = followed.remove(kind).map(|before| before.told).unwrap_or_default();
        let now = self.0.now();
        let told = self.0.list(kind, now).unwrap_or_else(|| there(before, now));
        follower(&told);
        if self.0.shared || !told.is_empty() {
            self.0.watch();
        }
        followed.insert(kind.to_owned(), Followed { follower, told });
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<Inner>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let inner = self.0.clone();
        let done = tokio::task::spawn_blocking(move || work(&inner)).await;
        done.unwrap_or_else(|error| {
            Err(StoreError::wrong("documents were not read or written").because(error))
        })
    }
}

fn there(mut records: Vec<Record>, now: u64) -> Vec<Record> {
    records.retain(|record| record.is_there(now));
    records
}

impl Inner {
    fn now(&self) -> u64 {
        millis(self.clock.now())
    }

    fn followed(&self) -> MutexGuard<'_, HashMap<String, Followed>> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None`: the store is away, which is told once.
    fn list(&self, kind: &str, now: u64) -> Option<Vec<Record>> {
        let listed = self.records.list(kind, now);
        let failed_before = self.failing.swap(listed.is_err(), Ordering::Relaxed);
        match (&listed, failed_before) {
            (Err(error), false) => {
                tracing::warn!(%error, "keys and quotas made at run time can't be read: those last known hold");
            }
            (Ok(_), true) => tracing::info!("keys and quotas made at run time are read again"),
            _ => {}
        }
        listed.ok()
    }

    fn wrote(
        self: &Arc<Self>,
        followed: &mut HashMap<String, Followed>,
        kind: &str,
        record: Record,
    ) {
        self.watch();
        self.changed(followed, kind, |told| {
            match told.binary_search_by(|other| other.name.cmp(&record.name)) {
                Ok(at) => told[at] = record,
                Err(at) => told.insert(at, record),
            }
        });
    }

    /// What this instance changed is known without asking the store again.
    fn changed(
        &self,
        followed: &mut HashMap<String, Followed>,
        kind: &str,
        change: impl FnOnce(&mut Vec<Record>),
    ) {
        if let Some(followed) = followed.get_mut(kind) {
            let mut fresh = followed.told.clone();
            change(&mut fresh);
            followed.tell(there(fresh, self.now()));
        }
    }

    /// Tells what others changed, and what has expired.
    fn look(&self) {
        let mut followed = self.followed();
        for (kind, followed) in followed.iter_mut() {
            let now = self.now();
            let fresh = if self.shared { self.list(kind, now) } else { None };
            followed.tell(fresh.unwrap_or_else(|| there(followed.told.clone(), now)));
        }
    }

    /// What has expired is not there for anybody; now it is gone from the store as well.
    fn clean(&self) {
        if let Err(error) = self.records.clean(self.now()) {
            tracing::debug!(%error, "documents that have expired are not removed");
        }
    }

    /// Starts the thread that looks, once: when there is something that could expire, or that others
    /// could change.
    fn watch(self: &Arc<Self>) {
        self.open.get_or_init(|| {
            let (open, closed) = mpsc::channel();
            let inner = Arc::downgrade(self);
            let run = move || {
                let mut looks = 0_u32;
                while let Err(RecvTimeoutError::Timeout) = closed.recv_timeout(EVERY) {
                    let Some(inner) = inner.upgrade() else { return };
                    inner.look();
                    looks = looks.wrapping_add(1);
                    if looks.is_multiple_of(CLEAN) {
                        inner.clean();
                    }
                }
            };
            let started = thread::Builder::new().name("tollway-documents".into()).spawn(run);
            if let Err(error) = started {
                tracing::error!(%error, "what other instances change, and what expires, goes unseen");
            }
            open
        });
    }
}

impl Followed {
    fn tell(&mut self, fresh: Vec<Record>) {
        if fresh != self.told {
            (self.follower)(&fresh);
            self.told = fresh;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    const NOW: u64 = 1_795_305_600_000;

    /// A clock to set.
    #[derive(Clone)]
    struct Clock(Arc<AtomicU64>);

    impl Clock {
        fn new() -> Self {
            Self(Arc::new(AtomicU64::new(NOW)))
        }

        fn wall(&self) -> Arc<dyn WallClock> {
            let now = self.0.clone();
            Arc::new(move || {
                std::time::UNIX_EPOCH + Duration::from_millis(now.load(Ordering::SeqCst))
            })
        }
    }

    /// Follows a kind; what is told comes out here.
    fn told(documents: &Documents, kind: &str) -> mpsc::Receiver<Vec<(String, Vec<u8>)>> {
        let (tell, told) = mpsc::channel();
        let pair = |record: &Record| (record.name.to_string(), record.value.clone());
        let follow =
            move |all: &[Record]| tell.send(all.iter().map(pair).collect()).unwrap_or_default();
        documents.follow(kind, Arc::new(follow));
        told
    }

    type Told = mpsc::Receiver<Vec<(String, Vec<u8>)>>;

    fn next(told: &Told) -> Vec<(String, Vec<u8>)> {
        told.recv_timeout(Duration::from_secs(30)).unwrap()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, Vec<u8>)> {
        pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    /// What holds wherever they live.
    async fn told_of_what_changes(documents: Documents, clock: &Clock) {
        documents.put("key", Record::new("b", "1")).await.unwrap();
        let keys = told(&documents, "key");
        assert_eq!(next(&keys), pairs(&[("b", "1")]), "at the start");
        documents.put("key", Record::new("a", "2").expiring(NOW + 1)).await.unwrap();
        assert_eq!(keys.try_recv().unwrap(), pairs(&[("a", "2"), ("b", "1")]), "at once");
        assert!(!documents.add("key", Record::new("a", "3")).await.unwrap(), "there already");
        assert!(documents.add("key", Record::new("c", "3")).await.unwrap());
        assert_eq!(keys.try_recv().unwrap().len(), 3);
        assert!(documents.remove("key", "b").await.unwrap());
        assert_eq!(keys.try_recv().unwrap(), pairs(&[("a", "2"), ("c", "3")]));
        assert!(!documents.remove("key", "b").await.unwrap());
        documents.put("quota", Record::new("a", "1")).await.unwrap();
        assert!(keys.try_recv().is_err(), "nothing is told twice, nor of other kinds");
        clock.0.store(NOW + 1, Ordering::SeqCst);
        assert_eq!(next(&keys), pairs(&[("c", "3")]), "expired, and told by the thread");
        documents.0.clean();
        assert_eq!(documents.0.records.clean(NOW + 1).unwrap(), 0, "and removed");
        let listed = documents.list("key").await.unwrap();
        assert_eq!(listed, [Record::new("c", "3")]);
        // Who comes later takes the place.
        let later = told(&documents, "key");
        assert_eq!(next(&later), pairs(&[("c", "3")]));
        documents.remove("key", "c").await.unwrap();
        assert_eq!(later.try_recv().unwrap(), pairs(&[]));
        assert!(keys.try_recv().is_err());
    }

    #[tokio::test]
    async fn followers_are_told_in_memory() {
        let clock = Clock::new();
        let records = Arc::new(MemoryRecords::default());
        told_of_what_changes(Documents::over(records, false, clock.wall()), &clock).await;
    }

    #[cfg(feature = "sqlite")]
    #[tokio::test]
    async fn followers_are_told_of_a_file() {
        use tollway_store::sqlite::{Sqlite, SqliteRecords};
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::new();
        let open = || {
            let file = Arc::new(Sqlite::open(folder.path().join("state.db")).unwrap());
            Documents::over(Arc::new(SqliteRecords::new(file)), false, clock.wall())
        };
        told_of_what_changes(open(), &clock).await;
        open().put("key", Record::new("d", "4")).await.unwrap();
        assert_eq!(next(&told(&open(), "key")), pairs(&[("d", "4")]), "it outlives them");
    }

    #[cfg(feature = "redis")]
    mod shared {
        use tollway_store::redis::{Redis, RedisConfig, RedisRecords};
        use tollway_testkit::RedisServer;

        use super::*;

        fn at(server: &RedisServer, clock: &Clock) -> Documents {
            let redis = Redis::open(RedisConfig::parse(&server.url()).unwrap()).unwrap();
            while redis.away().is_some() {
                thread::yield_now();
            }
            Documents::over(Arc::new(RedisRecords::new(redis)), true, clock.wall())
        }

        #[tokio::test]
        async fn followers_are_told_of_a_redis() {
            let (server, clock) = (RedisServer::start(), Clock::new());
            told_of_what_changes(at(&server, &clock), &clock).await;
        }

        #[tokio::test]
        async fn anothers_change_is_seen_and_the_last_list_outlives_the_store() {
            let (mut server, clock) = (RedisServer::start(), Clock::new());
            let (one, two) = (at(&server, &clock), at(&server, &clock));
            let seen = told(&one, "key");
            assert_eq!(next(&seen), pairs(&[]));
            two.put("key", Record::new("a", "1")).await.unwrap();
            two.put("key", Record::new("b", "1").expiring(NOW + 9)).await.unwrap();
            while next(&seen).len() < 2 {}
            server.kill();
            assert!(one.list("key").await.is_err());
            one.0.look();
            assert!(seen.try_recv().is_err(), "away: as it was");
            clock.0.store(NOW + 9, Ordering::SeqCst);
            assert_eq!(next(&seen), pairs(&[("a", "1")]), "it expires all the same");
            server.restart();
            assert_eq!(next(&seen), pairs(&[]), "back, and empty");
        }
    }

    /// A program that opens and closes stacks has no thread for each that ever was.
    #[tokio::test]
    async fn the_thread_ends_with_the_documents() {
        let held = Arc::new(());
        let documents = Documents::default();
        let follows = held.clone();
        documents.follow("key", Arc::new(move |_| drop(follows.clone())));
        let inner = Arc::downgrade(&documents.0);
        drop(documents);
        while inner.upgrade().is_some() {
            thread::yield_now();
        }
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
