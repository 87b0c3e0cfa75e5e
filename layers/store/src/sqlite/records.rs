use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};

use super::{Sqlite, int, uint};
use crate::{
    StoreError,
    records::{Mark, Record, Records, Snapshot},
};

/// Documents in a file.
#[derive(Clone, Debug)]
pub struct SqliteRecords(Arc<Sqlite>);

impl SqliteRecords {
    /// Documents in this file, which may hold other things besides.
    pub fn new(file: Arc<Sqlite>) -> Self {
        Self(file)
    }

    /// Looks, unless the file isn't there or is a bare one: then it has lost all that was in it.
    fn seek<T>(
        &self,
        look: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, StoreError> {
        const BARE: &str = "SELECT count(*) = 0 FROM sqlite_schema WHERE name = 'record'";
        let seen = self.0.look(|file| match look(file) {
            Err(_) if file.query_row(BARE, [], |row| row.get(0))? => Ok(None),
            seen => seen.map(Some),
        });
        if seen.is_err() && self.0.is_gone() { Ok(None) } else { seen }
    }
}

const PUT: &str = "INSERT OR REPLACE INTO record VALUES (?1, ?2, ?3, ?4)";
const LIST: &str = "SELECT name, value, expires FROM record WHERE kind = ?1
                    AND (expires IS NULL OR expires > ?2) ORDER BY name";

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Record> {
    let expires = row.get::<_, Option<i64>>(2)?.map(uint);
    Ok(Record { name: row.get(0)?, value: row.get(1)?, expires })
}

fn list(file: &Connection, kind: &str, now: u64) -> rusqlite::Result<Vec<Record>> {
    file.prepare(LIST)?.query_map(params![kind, int(now)], read)?.collect()
}

/// The mark is the document of no kind and no name: two numbers in text.
fn mark(file: &Connection) -> rusqlite::Result<Option<Mark>> {
    let get = "SELECT value FROM record WHERE kind = '' AND name = ''";
    let text: Option<Vec<u8>> = file.query_row(get, [], |row| row.get(0)).optional()?;
    Ok(text.and_then(|text| {
        let (era, last) = std::str::from_utf8(&text).ok()?.split_once(' ')?;
        Some(Mark { era: era.parse().ok()?, last: last.parse().ok()? })
    }))
}

fn set_mark(file: &Connection, Mark { era, last }: Mark) -> rusqlite::Result<()> {
    let text = format!("{era} {last}").into_bytes();
    file.execute(PUT, params!["", "", text, None::<i64>]).map(drop)
}

fn changed(file: &Connection, now: u64) -> rusqlite::Result<()> {
    set_mark(file, mark(file)?.map_or_else(|| Mark::begin(now), Mark::next))
}

impl Records for SqliteRecords {
    fn put(&self, kind: &str, record: &Record, now: u64) -> Result<(), StoreError> {
        let values = params![kind, &*record.name, record.value, record.expires.map(int)];
        self.0.change(|transaction| {
            transaction.execute(PUT, values)?;
            changed(transaction, now)
        })
    }

    fn add(&self, kind: &str, record: &Record, now: u64) -> Result<bool, StoreError> {
        let add = "INSERT INTO record VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE
                   SET value = excluded.value, expires = excluded.expires WHERE expires <= ?5";
        let values = params![kind, &*record.name, record.value, record.expires.map(int), int(now)];
        self.0.change(|transaction| {
            let added = transaction.execute(add, values)? > 0;
            if added {
                changed(transaction, now)?;
            }
            Ok(added)
        })
    }

    fn get(&self, kind: &str, name: &str, now: u64) -> Result<Option<Record>, StoreError> {
        let get = "SELECT name, value, expires FROM record WHERE kind = ?1 AND name = ?2
                   AND (expires IS NULL OR expires > ?3)";
        let get =
            |file: &Connection| file.query_row(get, params![kind, name, int(now)], read).optional();
        Ok(self.seek(get)?.flatten())
    }

    fn list(&self, kind: &str, now: u64) -> Result<Vec<Record>, StoreError> {
        Ok(self.seek(|file| list(file, kind, now))?.unwrap_or_default())
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
            if there.is_some() {
                changed(transaction, now)?;
            }
            Ok(there)
        })?;
        Ok(removed.unwrap_or(false))
    }

    fn clean(&self, now: u64) -> Result<u64, StoreError> {
        let clean = "DELETE FROM record WHERE expires <= ?1";
        let removed = self.0.change(|transaction| transaction.execute(clean, params![int(now)]))?;
        Ok(removed as u64)
    }

    fn mark(&self) -> Result<Option<Mark>, StoreError> {
        Ok(self.seek(mark)?.flatten())
    }

    fn snapshot(&self, kinds: &[&str], now: u64) -> Result<Snapshot, StoreError> {
        let seen = self.seek(|file| {
            let moment = file.unchecked_transaction()?;
            let mark = mark(&moment)?;
            let kinds = kinds.iter().map(|kind| list(&moment, kind, now)).collect::<Result<_, _>>();
            Ok(Snapshot { mark, kinds: kinds? })
        })?;
        Ok(seen.unwrap_or_else(|| Snapshot { mark: None, kinds: vec![Vec::new(); kinds.len()] }))
    }

    fn restore(
        &self,
        was: Option<Mark>,
        mark_of: Mark,
        kinds: &[(&str, &[Record])],
    ) -> Result<bool, StoreError> {
        let restore = || {
            self.0.change(|transaction| {
                if mark(transaction)? != was {
                    return Ok(false);
                }
                let mut put = transaction.prepare(PUT)?;
                for (kind, records) in kinds {
                    transaction.execute("DELETE FROM record WHERE kind = ?1", [kind])?;
                    for Record { name, value, expires } in *records {
                        put.execute(params![kind, &**name, value, expires.map(int)])?;
                    }
                }
                set_mark(transaction, mark_of)?;
                Ok(true)
            })
        };
        // Where the file was just found to be another one, the next try has that one.
        restore().or_else(|error| if error.is_away() { restore() } else { Err(error) })
    }
}
