//! Sums of days and months, and what limits refused and let in, added to what the file has of them.

use std::{collections::HashMap, sync::LazyLock};

use rusqlite::{CachedStatement, ErrorCode, Transaction, params};

use super::int;
use crate::ledger::{Batch, FIGURES, LimitDay, OTHER_KEYS, Refusal, Rollup};

/// How many names there are, by how they are counted, of what, and when.
pub(super) type Names = HashMap<(&'static str, String, u32), usize>;

/// The columns of [`Total`](crate::ledger::Total)'s figures, in their order.
pub(super) const SUMS: [&str; FIGURES] = [
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

/// A sum beyond the largest integer is none that fits its column: an error.
static UPDATE_TOTAL: LazyLock<String> =
    LazyLock::new(|| update_total(|sum, n| format!("{sum} = {sum} + ?{n}")));

/// For that case; it takes twice as long.
static UPDATE_HUGE_TOTAL: LazyLock<String> = LazyLock::new(|| update_total(plus));

fn update_total(set: impl Fn(&str, usize) -> String) -> String {
    let sets: Vec<_> = SUMS.iter().enumerate().map(|(n, sum)| set(sum, n + 4)).collect();
    format!("UPDATE total SET {} WHERE by = ?1 AND period = ?2 AND name = ?3", sets.join(", "))
}

static INSERT_TOTAL: LazyLock<String> = LazyLock::new(|| {
    let places: Vec<_> = (1..FIGURES + 4).map(|n| format!("?{n}")).collect();
    let (sums, places) = (SUMS.join(", "), places.join(", "));
    format!("INSERT INTO total (by, period, name, {sums}) VALUES ({places})")
});

static UPDATE_REFUSAL: LazyLock<String> = LazyLock::new(|| {
    let count = plus("count", 4);
    format!(
        "UPDATE refusal SET {count}, asked = ?5, available = ?6, last = max(last, ?7)
         WHERE day = ?1 AND limited_by = ?2 AND key = ?3"
    )
});

static ADD_LIMIT: LazyLock<String> = LazyLock::new(|| {
    let (allowed, refused) = (plus("allowed", 3), plus("refused", 4));
    format!(
        "INSERT INTO limit_day VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO UPDATE SET {allowed}, {refused}"
    )
});

/// Adds all but the rows. Of a name beyond `most_names` the figures go to all others'.
pub(super) fn add(
    into: &Transaction<'_>,
    batch: &Batch,
    counted: &mut Names,
    most_names: usize,
) -> rusqlite::Result<()> {
    let mut room = Room { counted, most: most_names, transaction: into };
    add_totals(&mut room, &batch.totals)?;
    add_refusals(&mut room, &batch.refusals)?;
    add_limits(into, &batch.limits)
}

/// Whether one more name has its place; counted once a process and period, then kept.
struct Room<'l> {
    counted: &'l mut Names,
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
    if totals.is_empty() {
        return Ok(());
    }
    let mut update = room.transaction.prepare_cached(&UPDATE_TOTAL)?;
    let mut insert = room.transaction.prepare_cached(&INSERT_TOTAL)?;
    let count = "SELECT count(*) FROM total WHERE by = ?1 AND period = ?2";
    for sum in totals {
        let (by, period) = (sum.by.as_str(), sum.period.number());
        let run = |statement: &mut CachedStatement<'_>, name: &str| {
            statement.raw_bind_parameter(1, by)?;
            statement.raw_bind_parameter(2, period)?;
            statement.raw_bind_parameter(3, name)?;
            for (n, figure) in sum.total.figures().into_iter().enumerate() {
                statement.raw_bind_parameter(n + 4, int(figure))?;
            }
            statement.raw_execute()
        };
        let transaction = room.transaction;
        let mut update = |name: &str| match run(&mut update, name) {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                run(&mut transaction.prepare_cached(&UPDATE_HUGE_TOTAL)?, name)
            }
            done => done,
        };
        if update(&sum.name)? > 0 {
            continue;
        }
        if room.take(count, by, period)? {
            run(&mut insert, &sum.name)?;
        } else if update(OTHER_KEYS)? == 0 {
            run(&mut insert, OTHER_KEYS)?;
        }
    }
    Ok(())
}

fn add_refusals(room: &mut Room<'_>, refusals: &[Refusal]) -> rusqlite::Result<()> {
    if refusals.is_empty() {
        return Ok(());
    }
    let mut update = room.transaction.prepare_cached(&UPDATE_REFUSAL)?;
    let insert = "INSERT INTO refusal VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let mut insert = room.transaction.prepare_cached(insert)?;
    let count = "SELECT count(*) FROM refusal WHERE limited_by = ?1 AND day = ?2";
    for one in refusals {
        let day = one.day.number();
        let (asked, available, last) = (int(one.asked), int(one.available), int(one.last));
        let run = |statement: &mut CachedStatement<'_>, key: &str| {
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
    if limits.is_empty() {
        return Ok(());
    }
    let mut add = transaction.prepare_cached(&ADD_LIMIT)?;
    for day in limits {
        let (allowed, refused) = (int(day.allowed), int(day.refused));
        add.execute(params![day.day.number(), &*day.limit, allowed, refused])?;
    }
    Ok(())
}
