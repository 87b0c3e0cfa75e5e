use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rusqlite::{Connection, params};

use super::{Sqlite, is_held};
use crate::{
    StoreError,
    limits::{LimitJournal, Saved},
};

/// What limits have used, in a file. Of two processes each would write over what the other counted,
/// so one of them [claims](Self::claim) it.
#[derive(Debug)]
pub struct SqliteLimits {
    file: Arc<Sqlite>,
    /// Holds a lock as long as it is open.
    claim: Mutex<Option<Connection>>,
}

impl SqliteLimits {
    /// Limits in this file, which may hold other things besides.
    pub fn new(file: Arc<Sqlite>) -> Self {
        Self { file, claim: Mutex::default() }
    }

    /// Waits until no other process counts limits in this file, but not for longer than `most`, and
    /// keeps others from it until this is dropped or the process ends, however it does. What locks is a
    /// file beside it, named as it is and `-owner`.
    ///
    /// # Errors
    /// When another process still does. A folder in which nothing can be made is no error: nothing
    /// will be saved there, which is told when it is tried.
    pub fn claim(&self, most: Duration) -> Result<(), StoreError> {
        // Another name for the same file is no other file.
        let path = self.file.path();
        let path = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        let mut path = path.into_os_string();
        path.push("-owner");
        let claim = || {
            let claim = Connection::open(&path)?;
            claim.busy_timeout(most)?;
            claim.execute_batch("BEGIN EXCLUSIVE")?;
            Ok(claim)
        };
        let claimed = match claim() {
            Err(error) if is_held(&error) => {
                let path = self.file.path().display();
                let what = format!("another process counts limits in `{path}`");
                return Err(StoreError::away(what, error));
            }
            claimed => claimed.ok(),
        };
        *self.claim.lock().unwrap_or_else(PoisonError::into_inner) = claimed;
        Ok(())
    }
}

impl LimitJournal for SqliteLimits {
    fn load(&self) -> Result<Vec<Saved>, StoreError> {
        let read = |row: &rusqlite::Row<'_>| {
            Ok(Saved { limit: row.get(0)?, key: row.get(1)?, state: Some(row.get(2)?) })
        };
        let all = "SELECT name, key, state FROM limit_state";
        self.file.look(|file| file.prepare(all)?.query_map([], read)?.collect())
    }

    fn save(&self, keys: &[Saved]) -> Result<(), StoreError> {
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
