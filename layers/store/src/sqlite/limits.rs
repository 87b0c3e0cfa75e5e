use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rusqlite::{Connection, params};

use super::{FileId, Sqlite, file_id, is_held};
use crate::{
    StoreError,
    limits::{LimitJournal, Saved},
};

/// What limits have used, in a file. Of two processes each would write over what the other counted,
/// so one of them [claims](Self::claim) it.
#[derive(Debug)]
pub struct SqliteLimits {
    file: Arc<Sqlite>,
    /// `None`: nobody is kept from it.
    claim: Mutex<Option<Claim>>,
}

/// Keeps others from a file; nothing does, where nothing could be made beside it.
#[derive(Debug, Default)]
struct Claim {
    /// Locks as long as it is open.
    _lock: Option<Connection>,
    /// Which file was locked.
    file: Option<FileId>,
}

impl SqliteLimits {
    /// Limits in this file, which may hold other things besides.
    pub fn new(file: Arc<Sqlite>) -> Self {
        Self { file, claim: Mutex::default() }
    }

    /// Waits until no other process counts limits in this file, but not for longer than `most`, and
    /// keeps others from it until this is dropped or the process ends, however it does. What locks is a
    /// file beside it, named as it is and `-owner`. Where that one was taken away, it is made and locked
    /// anew before anything is saved; if another process was first, nothing is, until that one has ended.
    ///
    /// # Errors
    /// When another process still does. A folder in which nothing can be made is no error: nothing
    /// will be saved there, which is told when it is tried.
    pub fn claim(&self, most: Duration) -> Result<(), StoreError> {
        let claimed = self.lock(most)?;
        *self.claim.lock().unwrap_or_else(PoisonError::into_inner) = Some(claimed);
        Ok(())
    }

    /// The file that locks.
    fn owner(&self) -> PathBuf {
        // Another name for the same file is no other file.
        let path = self.file.path();
        let path = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        let mut path = path.into_os_string();
        path.push("-owner");
        path.into()
    }

    fn lock(&self, most: Duration) -> Result<Claim, StoreError> {
        let path = self.owner();
        let lock = || {
            let lock = Connection::open(&path)?;
            lock.busy_timeout(most)?;
            lock.execute_batch("BEGIN EXCLUSIVE")?;
            Ok(lock)
        };
        match lock() {
            Err(error) if is_held(&error) => {
                let path = self.file.path().display();
                let what = format!("another process counts limits in `{path}`");
                Err(StoreError::away(what, error))
            }
            Err(_) => Ok(Claim::default()),
            Ok(lock) => Ok(Claim { _lock: Some(lock), file: file_id(&path) }),
        }
    }

    /// What was locked is still what others would lock, or it is locked anew.
    fn hold(&self) -> Result<(), StoreError> {
        let mut slot = self.claim.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(claim) = slot.as_mut().filter(|claim| claim.file != file_id(&self.owner())) {
            *claim = self.lock(Duration::ZERO)?;
        }
        Ok(())
    }
}

impl LimitJournal for SqliteLimits {
    fn place(&self) -> Option<(u64, u64)> {
        file_id(self.file.path())
    }

    fn load(&self) -> Result<Vec<Saved>, StoreError> {
        let read = |row: &rusqlite::Row<'_>| {
            Ok(Saved { limit: row.get(0)?, key: row.get(1)?, state: Some(row.get(2)?) })
        };
        let all = "SELECT name, key, state FROM limit_state";
        self.file.look(|file| file.prepare(all)?.query_map([], read)?.collect())
    }

    fn save(&self, keys: &[Saved]) -> Result<(), StoreError> {
        self.hold()?;
        self.file.change(|transaction| {
            let mut put =
                transaction.prepare("INSERT OR REPLACE INTO limit_state VALUES (?1, ?2, ?3)")?;
            let mut drop =
                transaction.prepare("DELETE FROM limit_state WHERE name = ?1 AND key = ?2")?;
            for Saved { limit, key, state } in keys {
                match state {
                    Some(state) => put.execute(params![&**limit, &**key, state])?,
                    None => drop.execute(params![&**limit, &**key])?,
                };
            }
            Ok(())
        })
    }
}
