use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use rusqlite::{OptionalExtension, Transaction, params, params_from_iter, types::Value};

use super::{Sqlite, int, rows, uint};
use crate::{
    StoreError,
    ledger::{
        Batch, FIGURES, Ledger, LimitDay, MOST_NAMES, OTHER_KEYS, Old, Period, Refusal, RefusalsOf,
        Rollup, Row, RowsOf, Total, TotalsOf,
    },
};

/// A ledger in a file.
#[derive(Debug)]
pub struct SqliteLedger {
    file: Arc<Sqlite>,
    names: Mutex<Names>,
    most_names: usize,
}

/// How many names there are, by how they are counted, of what, and when.
type Names = HashMap<(&'static str, String, u32), usize>;

/// The columns of [`Total`]'s figures, in their order.
const SUMS: [&str; FIGURES] = [
    "requests",
    "estimated",
    "unpriced",
    "cost",
    "input",
    "cached",
    "cache_write",
    "cache_write_1h",
    "input_audio",
    "output",
    "reasoning",
    "output_audio",
];

/// `column` and `?n` together; never more than the largest integer.
fn plus(column: &str, n: usize) -> String {
    format!("{column} = {column} + min(?{n}, {} - {column})", i64::MAX)
}

/// Rows removed in one step.
const STEP: u64 = 2_000;

impl SqliteLedger {
    /// A ledger in this file, which may hold other things besides.
    pub fn new(file: Arc<Sqlite>) -> Self {
        Self { file, names: Mutex::default(), most_names: MOST_NAMES }
    }

    #[cfg(test)]
    pub(super) fn with_most_names(file: Arc<Sqlite>, most_names: usize) -> Self {
        Self { most_names, ..Self::new(file) }
    }
}

/// Whether one more name has its place; counted once a process and period, then kept.
struct Room<'l> {
    counted: Names,
    most: usize,
    transaction: &'l Transaction<'l>,
}

impl Room<'_> {
    fn take(&mut self, count: &'static str, what: &str, period: u32) -> rusqlite::Result<bool> {
        let place = (count, what.to_owned(), period);
        let there = match self.counted.get(&place) {
            Some(there) => *there,
            None => {
                let there: i64 =
                    self.transaction.query_row(count, params![what, period], |row| row.get(0))?;
                usize::try_from(there).unwrap_or(0)
            }
        };
        let free = there < self.most;
        self.counted.insert(place, there + usize::from(free));
        Ok(free)
    }
}

fn add_totals(room: &mut Room<'_>, totals: &[Rollup]) -> rusqlite::Result<()> {
    let sets: Vec<_> = SUMS.iter().enumerate().map(|(n, sum)| plus(sum, n + 4)).collect();
    let update =
        format!("UPDATE total SET {} WHERE by = ?1 AND period = ?2 AND name = ?3", sets.join(", "));
    let places: Vec<_> = (1..FIGURES + 4).map(|n| format!("?{n}")).collect();
    let insert = format!(
        "INSERT INTO total (by, period, name, {}) VALUES ({})",
        SUMS.join(", "),
        places.join(", ")
    );
    let (mut update, mut insert) =
        (room.transaction.prepare(&update)?, room.transaction.prepare(&insert)?);
    let count = "SELECT count(*) FROM total WHERE by = ?1 AND period = ?2";
    for sum in totals {
        let by = sum.by.as_str();
        let values = |name: &str| {
            let key =
                [Value::from(by.to_owned()), sum.period.number().into(), name.to_owned().into()];
            let figures = sum.total.figures().map(|figure| Value::from(int(figure)));
            params_from_iter(key.into_iter().chain(figures))
        };
        if update.execute(values(&sum.name))? > 0 {
            continue;
        }
        if room.take(count, by, sum.period.number())? {
            insert.execute(values(&sum.name))?;
        } else if update.execute(values(OTHER_KEYS))? == 0 {
            insert.execute(values(OTHER_KEYS))?;
        }
    }
    Ok(())
}

fn add_refusals(room: &mut Room<'_>, refusals: &[Refusal]) -> rusqlite::Result<()> {
    let update = format!(
        "UPDATE refusal SET {}, asked = ?5, available = ?6, last = max(last, ?7)
         WHERE day = ?1 AND limited_by = ?2 AND key = ?3",
        plus("count", 4)
    );
    let mut update = room.transaction.prepare(&update)?;
    let mut insert =
        room.transaction.prepare("INSERT INTO refusal VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?;
    let count = "SELECT count(*) FROM refusal WHERE limited_by = ?1 AND day = ?2";
    for one in refusals {
        let day = one.day.number();
        let (asked, available, last) = (int(one.asked), int(one.available), int(one.last));
        let run = |statement: &mut rusqlite::Statement<'_>, key: &str| {
            let values = params![day, &*one.limit, key, int(one.count), asked, available, last];
            statement.execute(values)
        };
        if run(&mut update, &one.key)? > 0 {
            continue;
        }
        if room.take(count, &one.limit, day)? {
            run(&mut insert, &one.key)?;
        } else if run(&mut update, OTHER_KEYS)? == 0 {
            run(&mut insert, OTHER_KEYS)?;
        }
    }
    Ok(())
}

fn add_limits(transaction: &Transaction<'_>, limits: &[LimitDay]) -> rusqlite::Result<()> {
    let add = format!(
        "INSERT INTO limit_day VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO UPDATE SET {}, {}",
        plus("allowed", 3),
        plus("refused", 4)
    );
    let mut add = transaction.prepare(&add)?;
    for day in limits {
        let (allowed, refused) = (int(day.allowed), int(day.refused));
        add.execute(params![day.day.number(), &*day.limit, allowed, refused])?;
    }
    Ok(())
}

fn period(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<Period> {
    let number: u32 = row.get(at)?;
    Period::from_number(number).ok_or(rusqlite::Error::IntegralValueOutOfRange(at, number.into()))
}

impl Ledger for SqliteLedger {
    fn append(&self, batch: &Batch) -> Result<(), StoreError> {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        // Counts are kept only if what they count is.
        let counted = std::mem::take(&mut *names);
        *names = self.file.change(|transaction| {
            let places: Vec<_> = (1..=31).map(|n| format!("?{n}")).collect();
            let insert =
                format!("INSERT INTO request ({}) VALUES ({})", rows::COLUMNS, places.join(", "));
            let mut insert = transaction.prepare(&insert)?;
            batch.rows.iter().try_for_each(|row| rows::insert(&mut insert, row))?;
            let mut room = Room { counted, most: self.most_names, transaction };
            add_totals(&mut room, &batch.totals)?;
            add_refusals(&mut room, &batch.refusals)?;
            add_limits(transaction, &batch.limits)?;
            Ok(room.counted)
        })?;
        // Of periods long past, there is nothing more to know.
        if names.len() > 10_000 {
            names.clear();
        }
        Ok(())
    }

    fn rows(&self, asked: &RowsOf) -> Result<Vec<Row>, StoreError> {
        let sql = format!(
            "SELECT {} FROM request WHERE at >= ?1 AND at < ?2
             AND (?3 IS NULL OR user = ?3) AND (?4 IS NULL OR key = ?4)
             ORDER BY at DESC, id DESC LIMIT ?5",
            rows::COLUMNS
        );
        let most = int(asked.most as u64);
        self.file.look(|connection| {
            let mut found = connection.prepare(&sql)?;
            let (user, key) = (asked.user.as_deref(), asked.key.as_deref());
            let values = params![int(asked.from), int(asked.to), user, key, most];
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
            let bounds = "SELECT min(id), max(id) FROM request";
            let bounds = transaction.query_row(bounds, [], |row| {
                Ok(row.get::<_, Option<i64>>(0)?.zip(row.get::<_, Option<i64>>(1)?))
            });
            // Rows are in the order of writing, so how many there are is told without counting.
            let beyond = bounds.optional()?.flatten().map_or(0, |(first, last)| {
                last.saturating_sub(int(old.most_rows)).saturating_add(1).max(first)
            });
            let stale = "DELETE FROM request WHERE id IN
                         (SELECT id FROM request WHERE at < ?1 ORDER BY at LIMIT ?2)";
            let mut removed = transaction.execute(stale, params![int(old.rows), int(STEP)])?;
            let many = "DELETE FROM request WHERE id IN
                        (SELECT id FROM request WHERE id < ?1 ORDER BY id LIMIT ?2)";
            removed += transaction.execute(many, params![beyond, int(STEP)])?;
            let sums = "DELETE FROM total WHERE (by, period, name) IN
                        (SELECT by, period, name FROM total WHERE
                         period < ?1 AND period % 100 > 0 OR period < ?2 AND period % 100 = 0
                         LIMIT ?3)";
            removed += transaction.execute(sums, params![days, months, int(STEP)])?;
            let refused = "DELETE FROM refusal WHERE (day, limited_by, key) IN
                           (SELECT day, limited_by, key FROM refusal WHERE day < ?1 LIMIT ?2)";
            removed += transaction.execute(refused, params![days, int(STEP)])?;
            transaction.execute("DELETE FROM limit_day WHERE day < ?1", params![days])?;
            Ok(removed)
        })?;
        if removed > 0 {
            self.file.shrink()?;
        }
        Ok(removed as u64 >= STEP)
    }
}
