use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::params;

use super::{
    Sqlite, int,
    names::{self, Known},
    rows,
    sums::{self, Names, SUMS},
    uint,
};
use crate::{
    StoreError,
    ledger::{
        Batch, FIGURES, Ledger, LimitDay, MOST_NAMES, Old, Period, Refusal, RefusalsOf, Rollup,
        Row, RowsOf, Total, TotalsOf,
    },
};

/// A ledger in a file.
#[derive(Debug)]
pub struct SqliteLedger {
    file: Arc<Sqlite>,
    kept: Mutex<Kept>,
    most_names: usize,
}

/// What this process knows of the file, and need not ask it: true of one opened file only.
#[derive(Debug, Default)]
struct Kept {
    opened: u64,
    known: Known,
    counted: Names,
}

/// Rows removed in one step.
pub(super) const STEP: u64 = 2_000;

impl SqliteLedger {
    /// A ledger in this file, which may hold other things besides.
    pub fn new(file: Arc<Sqlite>) -> Self {
        Self { file, kept: Mutex::default(), most_names: MOST_NAMES }
    }

    #[cfg(test)]
    pub(super) fn with_most_names(file: Arc<Sqlite>, most_names: usize) -> Self {
        Self { most_names, ..Self::new(file) }
    }
}

fn period(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<Period> {
    let number: u32 = row.get(at)?;
    Period::from_number(number).ok_or(rusqlite::Error::IntegralValueOutOfRange(at, number.into()))
}

impl Ledger for SqliteLedger {
    fn append(&self, batch: &Batch) -> Result<(), StoreError> {
        let mut slot = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        // What is kept in mind is true only if what was written with it is there.
        let mut kept = std::mem::take(&mut *slot);
        *slot = self.file.change(|transaction| {
            let opened = self.file.opened();
            if kept.opened != opened {
                kept = Kept { opened, ..Kept::default() };
            }
            if !batch.rows.is_empty() {
                rows::add(transaction, &batch.rows, &mut kept.known)?;
            }
            sums::add(transaction, batch, &mut kept.counted, self.most_names)?;
            Ok(kept)
        })?;
        // Of periods long past, there is nothing more to know.
        if slot.counted.len() > 10_000 {
            slot.counted.clear();
        }
        Ok(())
    }

    fn rows(&self, asked: &RowsOf) -> Result<Vec<Row>, StoreError> {
        let sql = format!(
            "SELECT {} FROM request WHERE id >= ?1 AND id < ?2
             AND (?3 IS NULL OR user = ?3) AND (?4 IS NULL OR key = ?4)
             ORDER BY id DESC LIMIT ?5",
            rows::COLUMNS
        );
        let most = int(asked.most as u64);
        self.file.look(|connection| {
            let mut found = connection.prepare(&sql)?;
            let (user, key) = (asked.user.as_deref(), asked.key.as_deref());
            let (from, to) = (rows::first_id(asked.from), rows::first_id(asked.to));
            let values = params![from, to, user, key, most];
            found.query_map(values, rows::read)?.collect()
        })
    }

    fn totals(&self, asked: &TotalsOf) -> Result<Vec<Rollup>, StoreError> {
        let (from, to) = asked.bounds();
        let months = if to.is_month() { "period % 100 = 0" } else { "period % 100 > 0" };
        let sql = format!(
            "SELECT period, name, {} FROM total WHERE by = ?1 AND period BETWEEN ?2 AND ?3
             AND {months} AND (?4 IS NULL OR name = ?4) ORDER BY period, name",
            SUMS.join(", ")
        );
        self.file.look(|connection| {
            let mut found = connection.prepare(&sql)?;
            let name = asked.name.as_deref();
            let values = params![asked.by.as_str(), from.number(), to.number(), name];
            let read = |row: &rusqlite::Row<'_>| {
                let mut figures = [0; FIGURES];
                for (n, figure) in figures.iter_mut().enumerate() {
                    *figure = uint(row.get(n + 2)?);
                }
                let total = Total::from_figures(figures);
                Ok(Rollup { period: period(row, 0)?, by: asked.by, name: row.get(1)?, total })
            };
            found.query_map(values, read)?.collect()
        })
    }

    fn refusals(&self, asked: &RefusalsOf) -> Result<Vec<Refusal>, StoreError> {
        let sql = "SELECT day, limited_by, key, count, asked, available, last FROM refusal
                   WHERE day >= ?1 AND (?2 IS NULL OR key = ?2) ORDER BY last DESC LIMIT ?3";
        self.file.look(|connection| {
            let mut found = connection.prepare(sql)?;
            let most = int(asked.most as u64);
            let read = |row: &rusqlite::Row<'_>| {
                let number = |at: usize| Ok::<_, rusqlite::Error>(uint(row.get(at)?));
                Ok(Refusal {
                    day: period(row, 0)?,
                    limit: row.get(1)?,
                    key: row.get(2)?,
                    count: number(3)?,
                    asked: number(4)?,
                    available: number(5)?,
                    last: number(6)?,
                })
            };
            found
                .query_map(params![asked.from.number(), asked.key.as_deref(), most], read)?
                .collect()
        })
    }

    fn limits(&self, from: Period, to: Period) -> Result<Vec<LimitDay>, StoreError> {
        let sql = "SELECT day, limited_by, allowed, refused FROM limit_day
                   WHERE day BETWEEN ?1 AND ?2 ORDER BY day, limited_by";
        self.file.look(|connection| {
            let read = |row: &rusqlite::Row<'_>| {
                let (allowed, refused) = (uint(row.get(2)?), uint(row.get(3)?));
                Ok(LimitDay { day: period(row, 0)?, limit: row.get(1)?, allowed, refused })
            };
            let mut found = connection.prepare(sql)?;
            found.query_map(params![from.number(), to.number()], read)?.collect()
        })
    }

    fn clean(&self, old: &Old) -> Result<bool, StoreError> {
        let (days, months) = (old.days.number(), old.months.number());
        let removed = self.file.change(|transaction| {
            let gone = "DELETE FROM entry WHERE id IN
                        (SELECT id FROM entry WHERE id < ?1 ORDER BY id LIMIT ?2)";
            let stale = rows::first_id(old.rows);
            let mut removed = transaction.execute(gone, params![stale, int(STEP)])?;
            let left = "SELECT count FROM entries";
            let left: i64 = transaction.query_row(left, [], |row| row.get(0))?;
            let beyond = left.saturating_sub(int(old.most_rows)).clamp(0, int(STEP));
            removed += transaction.execute(gone, params![i64::MAX, beyond])?;
            let sums = "DELETE FROM total WHERE (by, period, name) IN
                        (SELECT by, period, name FROM total WHERE
                         period < ?1 AND period % 100 > 0 OR period < ?2 AND period % 100 = 0
                         LIMIT ?3)";
            removed += transaction.execute(sums, params![days, months, int(STEP)])?;
            let refused = "DELETE FROM refusal WHERE (day, limited_by, key) IN
                           (SELECT day, limited_by, key FROM refusal WHERE day < ?1 LIMIT ?2)";
            removed += transaction.execute(refused, params![days, int(STEP)])?;
            transaction.execute("DELETE FROM limit_day WHERE day < ?1", params![days])?;
            let oldest = "SELECT min(id) FROM entry";
            let oldest: Option<i64> = transaction.query_row(oldest, [], |row| row.get(0))?;
            // Without rows, no name is needed.
            removed += names::remove_before(transaction, oldest.map_or(i64::MAX, rows::day_of))?;
            Ok(removed)
        })?;
        if removed > 0 {
            self.file.shrink()?;
        }
        Ok(removed as u64 >= STEP)
    }
}
