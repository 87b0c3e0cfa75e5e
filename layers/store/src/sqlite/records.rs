use std::sync::Arc;

use rusqlite::{OptionalExtension, params};

use super::{Sqlite, int, uint};
use crate::{
    StoreError,
    records::{Record, Records},
};

/// Documents in a file.
#[derive(Clone, Debug)]
pub struct SqliteRecords(Arc<Sqlite>);

impl SqliteRecords {
    /// Documents in this file, which may hold other things besides.
    pub fn new(file: Arc<Sqlite>) -> Self {
        Self(file)
    }
}

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Record> {
    let expires = row.get::<_, Option<i64>>(2)?.map(uint);
    Ok(Record { name: row.get(0)?, value: row.get(1)?, expires })
}

impl Records for SqliteRecords {
    fn put(&self, kind: &str, record: &Record) -> Result<(), StoreError> {
        let put = "INSERT OR REPLACE INTO record VALUES (?1, ?2, ?3, ?4)";
        let values = params![kind, &*record.name, record.value, record.expires.map(int)];
        self.0.change(|transaction| transaction.execute(put, values)).map(drop)
    }

    fn add(&self, kind: &str, record: &Record, now: u64) -> Result<bool, StoreError> {
        let add = "INSERT INTO record VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE
                   SET value = excluded.value, expires = excluded.expires WHERE expires <= ?5";
        let values = params![kind, &*record.name, record.value, record.expires.map(int), int(now)];
        self.0.change(|transaction| transaction.execute(add, values)).map(|rows| rows > 0)
    }

    fn get(&self, kind: &str, name: &str, now: u64) -> Result<Option<Record>, StoreError> {
        let get = "SELECT name, value, expires FROM record WHERE kind = ?1 AND name = ?2
                   AND (expires IS NULL OR expires > ?3)";
        self.0.look(|file| file.query_row(get, params![kind, name, int(now)], read).optional())
    }

    fn list(&self, kind: &str, now: u64) -> Result<Vec<Record>, StoreError> {
        let list = "SELECT name, value, expires FROM record WHERE kind = ?1
                    AND (expires IS NULL OR expires > ?2) ORDER BY name";
        self.0.look(|file| file.prepare(list)?.query_map(params![kind, int(now)], read)?.collect())
    }

    fn remove(&self, kind: &str, name: &str, now: u64) -> Result<bool, StoreError> {
        let remove = "DELETE FROM record WHERE kind = ?1 AND name = ?2
                      RETURNING expires IS NULL OR expires > ?3";
        let removed = self.0.change(|transaction| {
            let mut remove = transaction.prepare(remove)?;
            let mut rows = remove.query(params![kind, name, int(now)])?;
            let there = rows.next()?.map(|row| row.get(0)).transpose()?;
            // It is done when it was stepped to its end.
            while rows.next()?.is_some() {}
            Ok(there)
        })?;
        Ok(removed.unwrap_or(false))
    }

    fn clean(&self, now: u64) -> Result<u64, StoreError> {
        let clean = "DELETE FROM record WHERE expires <= ?1";
        let removed = self.0.change(|transaction| transaction.execute(clean, params![int(now)]))?;
        Ok(removed as u64)
    }
}
