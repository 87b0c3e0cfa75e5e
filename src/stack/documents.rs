//! Small documents that are written at run time, and whoever goes by them: keys, quotas, advice.
//!
//! They live where `state:` says all does that it names no other place for: in memory, in a file, or
//! in a Redis, and then they are those of all its instances.
//!
//! How fresh: what this instance changes, its follower has been told when the change is answered. What
//! another instance changes is told within two seconds (it is looked for every second), and so is what
//! expires. While a store is away, the last list holds, less what expires meanwhile.
//!
//! What a store has lost, this process still knows. Whenever the store's [`Mark`] is another one, what
//! is there and what is known are united, and that is written if it is more than what is there: whether
//! the store is empty, went back to an older state, or was written by who knew less. Removals are known
//! like documents, so a key that one process knows to be revoked stays so.
//!
//! One store is not united with: another one that was there before (its era is older than the
//! moment at which this process last saw its own). What that one says holds, and gets nothing of what
//! is known. An era that is younger was begun when the documents had been lost, by somebody who knew none.

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use tollway_core::{SystemClock, WallClock};
use tollway_store::{
    StoreError,
    ledger::millis,
    records::{Mark, MemoryRecords, Record, Records, Snapshot},
};

use super::{
    history::{self, History, of_gone},
    stores::Place,
};
use crate::telemetry::{Telemetry, names};

/// How often others' changes are looked for, and what has expired.
const EVERY: Duration = Duration::from_secs(1);
/// After so many looks what has expired is removed from the store.
const CLEAN: u32 = 600;
/// How far clocks of instances may be apart, in milliseconds.
const SKEW: u64 = 5_000;
/// How often what is to be written anew is tried, when others write at the same moment.
const TRIES: u32 = 3;
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
    /// Held while the store is asked, so that nobody is told of an older state later.
    known: Mutex<Known>,
    /// Why the store can't be read, or what it lost can't be written anew.
    trouble: Mutex<Option<String>>,
    losses: Losses,
    /// The thread that looks ends with it.
    open: OnceLock<mpsc::Sender<()>>,
}

/// What is known of a store.
#[derive(Default)]
struct Known {
    /// By kind.
    followed: BTreeMap<String, Followed>,
    /// Of the moment of which it is known.
    mark: Option<Mark>,
    /// When that store was last seen, in milliseconds since 1970.
    at: u64,
    /// Of this store, and of what it was before it was lost.
    eras: Vec<u64>,
}

/// What a store has, or shall have: its mark, and of each kind that is followed what is known.
type Seen = (Option<Mark>, Vec<History>);

struct Followed {
    follower: Follower,
    history: History,
    told: Vec<Record>,
    /// Whether the follower was told anything, and whether the store was ever read.
    heard: bool,
    read: bool,
}

/// How often a store had lost what was known.
#[derive(Default)]
struct Losses {
    restored: AtomicU64,
    let_go: AtomicU64,
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
            known: Mutex::default(),
            trouble: Mutex::default(),
            losses: Losses::default(),
            open: OnceLock::new(),
        }))
    }

    /// All of a kind, by name, as the store has them now: with what it had lost.
    ///
    /// # Errors
    ///
    /// The store can't be read.
    pub async fn list(&self, kind: &str) -> Result<Vec<Record>, StoreError> {
        let kind = kind.to_owned();
        self.blocking(move |inner| {
            inner.look(&mut inner.known(), Look::Changes);
            let all = inner.records.list(&kind, inner.now())?;
            Ok(all.iter().map(history::told).collect())
        })
        .await
    }

    /// Writes a document, over the one of its name if there is one.
    ///
    /// # Errors
    ///
    /// The store can't be written.
    pub async fn put(&self, kind: &str, record: Record) -> Result<(), StoreError> {
        let kind = kind.to_owned();
        self.blocking(move |inner| {
            inner.write(&kind, |now| {
                let Before { there, gone } = inner.before(&kind, &record.name, now)?;
                let record = history::changed(&record, [there.as_ref(), gone.as_ref()], now);
                inner.records.put(&kind, &record, now)?;
                inner.clear(gone.is_some(), &of_gone(&kind), &record.name, now);
                Ok(((), History { there: vec![record], gone: vec![] }))
            })
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
            inner.write(&kind, |now| {
                let Before { gone, .. } = inner.before(&kind, &record.name, now)?;
                let record = history::changed(&record, [None, gone.as_ref()], now);
                if !inner.records.add(&kind, &record, now)? {
                    return Ok((false, History::default()));
                }
                inner.clear(gone.is_some(), &of_gone(&kind), &record.name, now);
                Ok((true, History { there: vec![record], gone: vec![] }))
            })
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
            inner.write(&kind, |now| {
                let Some(was) = inner.records.get(&kind, &name, now)? else {
                    return Ok((false, History::default()));
                };
                let gone = history::removed(&was, now);
                inner.records.put(&of_gone(&kind), &gone, now)?;
                inner.clear(true, &kind, &name, now);
                Ok((true, History { there: vec![], gone: vec![gone] }))
            })
        })
        .await
    }

    /// Tells `follower` all documents of a kind: now, and each time that they are others. Who
    /// follows a kind later takes the place of who did before. Blocks for as long as the store takes to
    /// be read; one that is away has no documents until it is back.
    pub fn follow(&self, kind: &str, follower: Follower) {
        let mut known = self.0.known();
        let before = known.followed.remove(kind).map(|it| (it.history, it.read));
        let (history, read) = before.unwrap_or_default();
        let followed = Followed { follower, history, told: Vec::new(), heard: false, read };
        known.followed.insert(kind.to_owned(), followed);
        self.0.look(&mut known, Look::Whole);
        // What is known to be gone must stay so, too.
        let knows = |it: &Followed| !it.told.is_empty() || !it.history.gone.is_empty();
        if self.0.shared || known.followed.get(kind).is_some_and(knows) {
            self.0.watch();
        }
    }

    /// Why the store can't be read, or what it lost can't be written anew: what is known holds.
    pub(super) fn trouble(&self) -> Option<String> {
        self.0.trouble().clone()
    }

    /// Tells how the store does, and what it had lost.
    pub(super) fn refresh_metrics(&self, telemetry: &Telemetry) {
        let Losses { restored, let_go } = &self.0.losses;
        let failing = f64::from(u8::from(self.trouble().is_some()));
        telemetry.set(names::DOCUMENTS_FAILING, vec![], failing);
        telemetry.count_to(names::DOCUMENTS_RESTORED, restored.load(Ordering::Relaxed));
        telemetry.count_to(names::DOCUMENTS_LET_GO, let_go.load(Ordering::Relaxed));
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

/// How closely a store is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    /// Only if its mark is another one.
    Changes,
    Whole,
}

/// What a store has of a name, and that it was removed there.
struct Before {
    there: Option<Record>,
    gone: Option<Record>,
}

impl Inner {
    fn now(&self) -> u64 {
        millis(self.clock.now())
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn trouble(&self) -> MutexGuard<'_, Option<String>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn before(&self, kind: &str, name: &str, now: u64) -> Result<Before, StoreError> {
        let get = |kind: &str| self.records.get(kind, name, now);
        Ok(Before { there: get(kind)?, gone: get(&of_gone(kind))? })
    }

    /// Removes what holds no more, since something later is written. If it stays, the next who looks
    /// removes it.
    fn clear(&self, is_there: bool, kind: &str, name: &str, now: u64) {
        if is_there && let Err(error) = self.records.remove(kind, name, now) {
            tracing::debug!(%error, "what a later change replaced is not removed");
        }
    }

    /// Writes, into a store that has what it lost again; then those who follow the kind are told.
    fn write<T>(
        self: &Arc<Self>,
        kind: &str,
        write: impl FnOnce(u64) -> Result<(T, History), StoreError>,
    ) -> Result<T, StoreError> {
        let mut known = self.known();
        self.look(&mut known, Look::Changes);
        let (written, change) = write(self.now())?;
        self.watch();
        // It is known whatever becomes of the store from here on.
        if let Some(followed) = known.followed.get_mut(kind) {
            followed.history = followed.history.united(&change);
        }
        self.look(&mut known, Look::Changes);
        Ok(written)
    }

    /// Tells what others changed, and what has expired, and mends what the store has lost.
    fn look(&self, known: &mut Known, how: Look) {
        let now = self.now();
        known.followed.values_mut().for_each(|followed| followed.history.expire(now));
        let seen = self.see(known, how, now);
        self.note(seen.as_ref().err());
        if let Ok(seen) = seen {
            if let Some((mark, kinds)) = seen {
                known.goes_by(mark);
                for (followed, fresh) in known.followed.values_mut().zip(kinds) {
                    (followed.history, followed.read) = (fresh, true);
                }
            }
            known.at = now;
        }
        known.followed.values_mut().for_each(Followed::tell);
    }

    /// What the store has, with what is known; `None`: that is known already.
    fn see(&self, known: &Known, how: Look, now: u64) -> Result<Option<Seen>, StoreError> {
        let all_read = known.followed.values().all(|followed| followed.read);
        let may_be_known = how == Look::Changes && all_read && known.mark.is_some();
        if may_be_known && self.records.mark()? == known.mark {
            return Ok(None);
        }
        let nothing = History::default();
        for _ in 0..TRIES {
            let (mark, there) = self.read(known, now)?;
            let is_another = mark.is_some_and(|mark| known.is_of_another_than(mark));
            let unite = |(followed, there): (&Followed, &History)| {
                let mine = if is_another { &nothing } else { &followed.history };
                mine.united(there)
            };
            let united: Vec<_> = known.followed.values().zip(&there).map(unite).collect();
            let seen = if united == there {
                (mark, there)
            } else {
                let next = mark.or(known.mark).map_or_else(|| Mark::begin(now), Mark::next);
                if !self.restore(known, mark, next, &united)? {
                    continue;
                }
                let missing = united.iter().zip(&there).map(|(all, there)| all.missing_in(there));
                self.tell_restored(missing.sum());
                (Some(next), united)
            };
            if is_another {
                self.tell_let_go(known.count());
            }
            return Ok(Some(seen));
        }
        Err(StoreError::wrong("others write documents at every moment"))
    }

    fn read(&self, known: &Known, now: u64) -> Result<Seen, StoreError> {
        let kinds = known.kinds();
        let kinds: Vec<_> = kinds.iter().map(String::as_str).collect();
        let Snapshot { mark, kinds } = self.records.snapshot(&kinds, now)?;
        let mut kinds = kinds.into_iter();
        let next = || Some(History { there: kinds.next()?, gone: kinds.next()? });
        Ok((mark, std::iter::from_fn(next).collect()))
    }

    /// Writes all anew, unless the store is another than it `was`; whether it did.
    fn restore(
        &self,
        known: &Known,
        was: Option<Mark>,
        mark: Mark,
        all: &[History],
    ) -> Result<bool, StoreError> {
        let kinds = known.kinds();
        let lists = all.iter().flat_map(|History { there, gone }| [&**there, &**gone]);
        let kinds: Vec<_> = kinds.iter().map(String::as_str).zip(lists).collect();
        self.records.restore(was, mark, &kinds)
    }

    fn tell_restored(&self, documents: usize) {
        if documents > 0 {
            self.losses.restored.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(
                documents,
                "keys and quotas made at run time, or that they were revoked, were lost in their \
                 store, and are written anew"
            );
        }
    }

    fn tell_let_go(&self, documents: usize) {
        if documents > 0 {
            self.losses.let_go.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(
                documents,
                "another store is in the place of the one of keys and quotas made at run time: what \
                 it says holds, and what was known is let go"
            );
        }
    }

    /// Tells once that the store can't be used, and once that it can.
    fn note(&self, failed: Option<&StoreError>) {
        let why = failed.map(ToString::to_string);
        let before = std::mem::replace(&mut *self.trouble(), why);
        match (failed, before) {
            (Some(error), None) => {
                tracing::warn!(%error, "keys and quotas made at run time can't be read: those last known hold");
            }
            (None, Some(_)) => tracing::info!("keys and quotas made at run time are read again"),
            _ => {}
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
                    inner.look(&mut inner.known(), Look::Changes);
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

impl Known {
    fn count(&self) -> usize {
        self.followed.values().map(|followed| followed.history.there.len()).sum()
    }

    /// Of all that is followed: those that are there, and those that are gone.
    fn kinds(&self) -> Vec<String> {
        self.followed.keys().flat_map(|kind| [kind.clone(), of_gone(kind)]).collect()
    }

    /// Whether a store of this mark was there, elsewhere, when that of these was last seen.
    fn is_of_another_than(&self, mark: Mark) -> bool {
        let is_before = mark.begun().saturating_add(SKEW) < self.at;
        is_before && !self.eras.is_empty() && !self.eras.contains(&mark.era)
    }

    fn goes_by(&mut self, mark: Option<Mark>) {
        self.mark = mark;
        if let Some(mark) = mark {
            if self.is_of_another_than(mark) {
                self.eras.clear();
            }
            if !self.eras.contains(&mark.era) {
                self.eras.push(mark.era);
            }
        }
    }
}

impl Followed {
    fn tell(&mut self) {
        let fresh = self.history.told();
        if fresh != self.told || !self.heard {
            (self.follower)(&fresh);
            (self.told, self.heard) = (fresh, true);
        }
    }
}
