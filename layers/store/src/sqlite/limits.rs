use std::sync::Arc;

use rusqlite::params;

use super::Sqlite;
use crate::{
    StoreError,
    limits::{LimitJournal, Saved},
};

/// What limits have used, in a file.
#[derive(Clone, Debug)]
pub struct SqliteLimits(Arc<Sqlite>);

impl SqliteLimits {
    /// Limits in this file, which may hold other things besides.
    pub fn new(file: Arc<Sqlite>) -> Self {
        Self(file)
    }
}

impl LimitJournal for SqliteLimits {
    fn load(&self) -> Result<Vec<Saved>, StoreError> {
        let read = |row: &rusqlite::Row<'_>| {
            Ok(Saved { limit: row.get(0)?, key: row.get(1)?, state: Some(row.get(2)?) })
        };
        let all = "SELECT name, key, state FROM limit_state";
        self.0.look(|file| file.prepare(all)?.query_map([], read)?.collect())
    }

    fn save(&self, keys: &[Saved]) -> Result<(), StoreError> {
        self.0.change(|transaction| {
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
