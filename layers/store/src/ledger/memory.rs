use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    Batch, By, Ledger, LimitDay, MOST_NAMES, OTHER_KEYS, Old, Period, Refusal, RefusalsOf, Rollup,
    Row, RowsOf, Total, TotalsOf,
};
use crate::StoreError;

/// A ledger that ends with the process: the latest rows, and sums.
#[derive(Debug)]
pub struct MemoryLedger {
    most_rows: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    rows: VecDeque<Row>,
    totals: BTreeMap<(By, Period), BTreeMap<Arc<str>, Total>>,
    refusals: BTreeMap<(Period, Arc<str>), BTreeMap<Arc<str>, Refusal>>,
    limits: BTreeMap<(Period, Arc<str>), LimitDay>,
}

impl Default for MemoryLedger {
    /// The latest 10,000 rows.
    fn default() -> Self {
        Self::new(10_000)
    }
}

impl MemoryLedger {
    /// Keeps this many rows, each of some 300 bytes; and a sum for each name that was seen.
    pub fn new(most_rows: usize) -> Self {
        Self { most_rows, kept: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of `name`, or that of all others where there are too many.
fn place<'m, V>(
    names: &'m mut BTreeMap<Arc<str>, V>,
    name: &Arc<str>,
    new: impl FnOnce(Arc<str>) -> V,
) -> &'m mut V {
    let full = names.len() >= MOST_NAMES && !names.contains_key(name);
    let name = if full { OTHER_KEYS.into() } else { name.clone() };
    names.entry(name.clone()).or_insert_with(|| new(name))
}

impl Ledger for MemoryLedger {
    fn append(&self, batch: &Batch) -> Result<(), StoreError> {
        let mut kept = self.lock();
        kept.rows.extend(batch.rows.iter().cloned());
        let beyond = kept.rows.len().saturating_sub(self.most_rows);
        kept.rows.drain(..beyond);
        for sum in &batch.totals {
            let names = kept.totals.entry((sum.by, sum.period)).or_default();
            place(names, &sum.name, |_| Total::default()).merge(&sum.total);
        }
        for more in &batch.refusals {
            let keys = kept.refusals.entry((more.day, more.limit.clone())).or_default();
            let new = |key| Refusal { key, count: 0, ..more.clone() };
            let one = place(keys, &more.key, new);
            *one = Refusal {
                key: one.key.clone(),
                count: one.count.saturating_add(more.count),
                ..more.clone()
            };
        }
        for more in &batch.limits {
            let day = kept.limits.entry((more.day, more.limit.clone()));
            let day = day.or_insert_with(|| LimitDay { allowed: 0, refused: 0, ..more.clone() });
            day.allowed = day.allowed.saturating_add(more.allowed);
            day.refused = day.refused.saturating_add(more.refused);
        }
        Ok(())
    }

    fn rows(&self, asked: &RowsOf) -> Result<Vec<Row>, StoreError> {
        let kept = self.lock();
        let found = kept.rows.iter().rev().filter(|row| asked.holds(row));
        Ok(found.take(asked.most).cloned().collect())
    }

    fn totals(&self, asked: &TotalsOf) -> Result<Vec<Rollup>, StoreError> {
        let kept = self.lock();
        let (from, to) = asked.bounds();
        if from > to {
            return Ok(vec![]);
        }
        let pages = kept.totals.range((asked.by, from)..=(asked.by, to));
        let pages = pages.filter(|((_, period), _)| asked.holds(*period));
        let found = pages.flat_map(|((by, period), names)| {
            let names = names
                .iter()
                .filter(|(name, _)| asked.name.as_ref().is_none_or(|asked| asked == *name));
            names.map(|(name, total)| Rollup {
                period: *period,
                by: *by,
                name: name.clone(),
                total: *total,
            })
        });
        Ok(found.collect())
    }

    fn refusals(&self, asked: &RefusalsOf) -> Result<Vec<Refusal>, StoreError> {
        let kept = self.lock();
        let days = kept.refusals.iter().filter(|((day, _), _)| *day >= asked.from);
        let found = days.flat_map(|(_, keys)| keys.values());
        let found = found.filter(|one| asked.key.as_ref().is_none_or(|key| *key == one.key));
        let mut found: Vec<Refusal> = found.cloned().collect();
        found.sort_by_key(|one| std::cmp::Reverse(one.last));
        found.truncate(asked.most);
        Ok(found)
    }

    fn limits(&self, from: Period, to: Period) -> Result<Vec<LimitDay>, StoreError> {
        let kept = self.lock();
        let days = kept.limits.values().filter(|day| (from..=to).contains(&day.day));
        Ok(days.cloned().collect())
    }

    fn clean(&self, old: &Old) -> Result<bool, StoreError> {
        let mut kept = self.lock();
        let fresh = kept.rows.iter().position(|row| row.at >= old.rows);
        let many = usize::try_from(old.most_rows).unwrap_or(usize::MAX);
        let stale = fresh.unwrap_or(kept.rows.len()).max(kept.rows.len().saturating_sub(many));
        kept.rows.drain(..stale);
        kept.totals.retain(|(_, period), _| {
            if period.is_month() { *period >= old.months } else { *period >= old.days }
        });
        kept.refusals.retain(|(day, _), _| *day >= old.days);
        kept.limits.retain(|(day, _), _| *day >= old.days);
        Ok(false)
    }
}
