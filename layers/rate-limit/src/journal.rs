//! Limits that outlive the process: what has changed is saved soon after, by a thread of its own.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, Weak,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use tollway_store::{
    StoreError,
    limits::{LimitJournal, Now, Saved, State},
};

use crate::{decide::Core, key::Key, limiter::Shared, table::Table};

/// A process that is killed loses what it did in this time, and in that of one writing.
const EVERY: Duration = Duration::from_millis(200);
/// Keys for which the limits are held up at once, and which are written together.
const BATCH: usize = 256;

/// Where a [`Core`] is saved.
pub(crate) struct Journal {
    store: Arc<dyn LimitJournal>,
    /// Why the last attempt failed.
    failed: Mutex<Option<String>>,
    /// Where what was saved is.
    place: Mutex<Option<(u64, u64)>>,
    /// What was saved once, and is worth no memory. Held while something is saved: one at a time.
    stale: Mutex<Vec<Saved>>,
    /// The thread ends when this does.
    _open: mpsc::SyncSender<()>,
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Journal {
    /// Reads what was saved, and saves from now on what changes in `shared`.
    pub(crate) fn start(
        store: Arc<dyn LimitJournal>,
        shared: Weak<Shared>,
    ) -> Result<(Self, Vec<Saved>), StoreError> {
        let saved = store.load()?;
        let (open, closed) = mpsc::sync_channel::<()>(0);
        let run = move || {
            while let Err(RecvTimeoutError::Timeout) = closed.recv_timeout(EVERY) {
                let Some(shared) = shared.upgrade() else { return };
                let _ = shared.save();
            }
        };
        let thread = thread::Builder::new().name("tollway-journal".to_owned());
        thread.spawn(run).map_err(|error| {
            StoreError::wrong("no thread for what limits remember").because(error)
        })?;
        let (failed, stale) = (Mutex::default(), Mutex::default());
        let place = Mutex::new(store.place());
        Ok((Self { store, failed, place, stale, _open: open }, saved))
    }

    /// Whether what was saved is gone since this was last asked.
    fn moved(&self) -> bool {
        let mut place = self.place.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let now = self.store.place();
        std::mem::replace(&mut *place, now) != now
    }

    /// Has these forgotten, before anything is saved again.
    pub(crate) fn forget(&self, stale: Vec<Saved>) {
        *self.stale() = stale;
    }

    fn stale(&self) -> MutexGuard<'_, Vec<Saved>> {
        self.stale.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub(crate) fn failed(&self) -> Option<String> {
        self.failed.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }
}

impl Shared {
    /// Saves what has changed since the last time.
    pub(crate) fn save(&self) -> Result<(), StoreError> {
        let Some(journal) = self.journal() else { return Ok(()) };
        self.save_with(journal, &mut journal.stale())
    }

    fn save_with(&self, journal: &Journal, stale: &mut Vec<Saved>) -> Result<(), StoreError> {
        let saved = self.save_all(journal, stale);
        let failed = saved.as_ref().err().map(ToString::to_string);
        *journal.failed.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = failed;
        saved
    }

    /// Saves for the last time; what can't be is given up, and told.
    pub(crate) fn finish(&self) {
        let Some(journal) = self.journal() else { return };
        let mut stale = journal.stale();
        if self.save_with(journal, &mut stale).is_err() {
            let (_, keys) = self.lock().changed(usize::MAX);
            if !keys.is_empty() {
                journal.store.lost(keys.len());
            }
        }
    }

    fn save_all(&self, journal: &Journal, stale: &mut Vec<Saved>) -> Result<(), StoreError> {
        if journal.moved() {
            self.lock().tables.iter_mut().for_each(Table::touch_all);
        }
        if !stale.is_empty() {
            journal.store.save(stale)?;
            *stale = Vec::new();
        }
        loop {
            let (places, saved) = self.lock().changed(BATCH);
            if saved.is_empty() {
                return Ok(());
            }
            if let Err(error) = journal.store.save(&saved) {
                let mut core = self.lock();
                for (table, slot) in places {
                    core.tables[table].touch(slot);
                }
                return Err(error);
            }
        }
    }
}

impl Drop for Shared {
    /// The last of its generations is gone.
    fn drop(&mut self) {
        self.finish();
    }
}

impl Core {
    /// Some of the keys that changed since they were last asked for, and where they are.
    fn changed(&mut self, most: usize) -> (Vec<(usize, u32)>, Vec<Saved>) {
        let (mut places, mut saved) = (Vec::new(), Vec::new());
        for (at, table) in self.tables.iter_mut().enumerate() {
            // First, as some may be back already.
            while let Some(key) = table.take_evicted() {
                saved.push(table.saved(&key, None));
            }
            while saved.len() < most {
                let Some(slot) = table.untouch() else { break };
                saved.push(table.save(slot));
                places.push((at, slot));
            }
        }
        (places, saved)
    }

    /// Puts what was saved in its place; gives back what is not worth a memory any more.
    pub(crate) fn restore(&mut self, saved: Vec<Saved>, now: Now) -> Vec<Saved> {
        let now = self.clock(now);
        let mut stale = Vec::new();
        for saved in saved {
            // Another layer's, who keeps them in the same place; or of a limit that may be there again
            // one day.
            let table = self.tables.iter_mut().find(|table| *table.label() == *saved.limit);
            let Some(table) = table else { continue };
            let packed = saved.state.as_deref().and_then(|bytes| State::unpack(bytes, now));
            let (Some((shape, mut state)), Some(key)) = (packed, Key::read(&saved.key)) else {
                stale.push(Saved { state: None, ..saved });
                continue;
            };
            state.advance(&shape, now);
            match Some(table).filter(|table| shape.leads_to(&table.shape)) {
                _ if state.is_fresh() => stale.push(Saved { state: None, ..saved }),
                Some(table) => {
                    state.reshape(&shape, table.shape_for(&key), 0, now);
                    table.put(&key, state, now);
                }
                // It may be of this kind again one day.
                None => {}
            }
        }
        stale
    }
}

impl Table {
    /// Name and scope: what a limit is known by in a journal.
    fn label(&self) -> Arc<str> {
        match &self.scope {
            Some(scope) => format!("{}/{scope}", self.memory).into(),
            None => self.memory.clone(),
        }
    }

    fn save(&self, slot: u32) -> Saved {
        let (found, shape) = self.at(slot);
        self.saved(&Key::from(&found.key), found.state.pack(shape))
    }

    fn saved(&self, key: &Key, state: Option<Vec<u8>>) -> Saved {
        let mut name = String::new();
        key.write(&mut name);
        Saved { limit: self.label(), key: name.into(), state }
    }
}
