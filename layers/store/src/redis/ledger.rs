use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ::redis::{FromRedisValue, Pipeline, Script};
use serde_json::json;

use super::Redis;
use crate::{
    StoreError,
    ledger::{
        Batch, FIGURES, Ledger, LimitDay, MOST_NAMES, OTHER_KEYS, Old, Period, Refusal, RefusalsOf,
        Rollup, Row, RowsOf, Total, TotalsOf,
    },
};

/// A ledger that several instances share: rows in a stream, sums in hashes.
///
/// All its keys begin with `{PREFIX:ledger}`, so a cluster keeps them on one of its servers. A
/// batch is added by one script, once: one whose answer was lost is known by its id for an hour.
#[derive(Debug)]
pub struct RedisLedger {
    redis: Redis,
    base: String,
    append: Script,
    clean: Script,
}

/// No request waits for any of this.
const PATIENCE: Duration = Duration::from_secs(5);
/// Rows read at once.
const PAGE: usize = 500;
/// Rows removed at once.
const STEP: usize = 500;
/// Rows are found by their own time if they were written within this time of it.
const LATE: u64 = 86_400_000;

impl RedisLedger {
    /// A ledger there.
    pub fn new(redis: Redis) -> Self {
        let base = format!("{{{}:ledger}}", redis.config().key_prefix());
        let append = Script::new(include_str!("ledger.lua"));
        let clean = Script::new(include_str!("clean.lua"));
        Self { redis, base, append, clean }
    }

    fn run<T>(&self, script: &Script, arguments: &[String]) -> Result<T, StoreError>
    where
        T: FromRedisValue + Send + 'static,
    {
        let (script, base, arguments) = (script.clone(), self.base.clone(), arguments.to_vec());
        self.redis.wait(PATIENCE, move |mut link| async move {
            script.key(base).arg(arguments).invoke_async(&mut link).await
        })
    }

    fn pipe<T: FromRedisValue + Send + 'static>(
        &self,
        commands: Pipeline,
    ) -> Result<T, StoreError> {
        self.redis
            .wait(PATIENCE, move |mut link| async move { commands.query_async(&mut link).await })
    }

    fn hashes(&self, names: &[String]) -> Result<Vec<BTreeMap<String, String>>, StoreError> {
        if names.is_empty() {
            return Ok(vec![]);
        }
        let mut pipe = ::redis::pipe();
        for name in names {
            pipe.cmd("HGETALL").arg(format!("{}:{name}", self.base));
        }
        self.pipe(pipe)
    }

    /// Names of hashes of days, or of months, that begin with this.
    fn index(
        &self,
        kind: &str,
        (from, to): (Period, Period),
    ) -> Result<Vec<(Period, String)>, StoreError> {
        let index = if to.is_month() { "months" } else { "days" };
        let mut pipe = ::redis::pipe();
        let range = pipe.cmd("ZRANGEBYSCORE").arg(format!("{}:{index}", self.base));
        range.arg(from.number()).arg(to.number());
        let (names,): (Vec<String>,) = self.pipe(pipe)?;
        let found = names.into_iter().filter_map(|name| {
            let period = name.strip_prefix(kind)?.parse().ok().and_then(Period::from_number)?;
            Some((period, name))
        });
        Ok(found.collect())
    }
}

fn damaged(what: &str) -> StoreError {
    StoreError::wrong(format!("the ledger in Redis holds something else: {what:?}"))
}

impl Ledger for RedisLedger {
    fn append(&self, batch: &Batch) -> Result<(), StoreError> {
        let row = |row: &Row| Ok((row.at, serde_json::to_string(row)?));
        let rows: Result<Vec<_>, serde_json::Error> = batch.rows.iter().map(row).collect();
        let rows = rows.map_err(|error| StoreError::wrong("a row is no JSON").because(error))?;
        let int = |number: u64| number.min(i64::MAX as u64).to_string();
        let totals = batch.totals.iter().map(|sum| {
            let figures = sum.total.figures().map(int);
            (sum.by.as_str(), sum.period.number(), &*sum.name, figures)
        });
        let refusals = batch.refusals.iter().map(|one| {
            let figures = (one.count, int(one.asked), int(one.available), int(one.last));
            json!([
                one.day.number(),
                &*one.limit,
                &*one.key,
                figures.0,
                figures.1,
                figures.2,
                figures.3
            ])
        });
        let limits = batch
            .limits
            .iter()
            .map(|one| (one.day.number(), &*one.limit, int(one.allowed), int(one.refused)));
        let batch = json!({
            "id": format!("{:x}", batch.id),
            "most": MOST_NAMES,
            "other": OTHER_KEYS,
            "rows": rows,
            "totals": totals.collect::<Vec<_>>(),
            "refusals": refusals.collect::<Vec<_>>(),
            "limits": limits.collect::<Vec<_>>(),
        });
        self.run(&self.append, &[batch.to_string()]).map(|_: i64| ())
    }

    fn rows(&self, asked: &RowsOf) -> Result<Vec<Row>, StoreError> {
        let mut found = Vec::new();
        let mut end = match asked.to {
            u64::MAX => "+".to_owned(),
            to => to.saturating_add(LATE).to_string(),
        };
        while found.len() < asked.most {
            let mut pipe = ::redis::pipe();
            let range = pipe.cmd("XREVRANGE").arg(format!("{}:rows", self.base));
            range.arg(&end).arg(asked.from).arg("COUNT").arg(PAGE);
            let (page,): (Vec<(String, Vec<String>)>,) = self.pipe(pipe)?;
            let Some((last, _)) = page.last() else { break };
            end = format!("({last}");
            for (id, fields) in &page {
                let text = fields.get(1).ok_or_else(|| damaged(id))?;
                let row: Row =
                    serde_json::from_str(text).map_err(|error| damaged(id).because(error))?;
                if asked.holds(&row) && found.len() < asked.most {
                    found.push(row);
                }
            }
        }
        Ok(found)
    }

    fn totals(&self, asked: &TotalsOf) -> Result<Vec<Rollup>, StoreError> {
        let kind = format!("total:{}:", asked.by.as_str());
        let (periods, names): (Vec<_>, Vec<_>) =
            self.index(&kind, asked.bounds())?.into_iter().unzip();
        let mut found = Vec::new();
        for (period, hash) in periods.into_iter().zip(self.hashes(&names)?) {
            let mut sums: BTreeMap<Arc<str>, [u64; FIGURES]> = BTreeMap::new();
            for (field, figure) in hash {
                let place =
                    field.split_once(':').and_then(|(n, name)| Some((n.parse().ok()?, name)));
                let (n, name): (usize, &str) = place.ok_or_else(|| damaged(&field))?;
                let sum = sums.entry(name.into()).or_default();
                let slot = sum.get_mut(n).ok_or_else(|| damaged(&field))?;
                *slot = figure.parse().map_err(|_| damaged(&figure))?;
            }
            let wanted = |name: &Arc<str>| asked.name.as_ref().is_none_or(|asked| asked == name);
            let sums = sums.into_iter().filter(|(name, _)| wanted(name));
            found.extend(sums.map(|(name, figures)| Rollup {
                period,
                by: asked.by,
                name,
                total: Total::from_figures(figures),
            }));
        }
        Ok(found)
    }

    fn refusals(&self, asked: &RefusalsOf) -> Result<Vec<Refusal>, StoreError> {
        let last = Period::from_number(99_991_231).unwrap_or(asked.from);
        let (days, names): (Vec<_>, Vec<_>) =
            self.index("refusal:", (asked.from, last))?.into_iter().unzip();
        let mut found = Vec::new();
        for (day, hash) in days.into_iter().zip(self.hashes(&names)?) {
            for (field, figures) in hash {
                let (limit, key): (String, String) =
                    serde_json::from_str(&field).map_err(|_| damaged(&field))?;
                let (limit, key): (Arc<str>, Arc<str>) = (limit.into(), key.into());
                let numbers: Option<Vec<u64>> =
                    figures.split(' ').map(|number| number.parse().ok()).collect();
                let Some([count, wanted, available, last]) = numbers.as_deref() else {
                    return Err(damaged(&figures));
                };
                let (count, available, last) = (*count, *available, *last);
                if asked.key.as_ref().is_none_or(|asked| *asked == key) {
                    found.push(Refusal { day, limit, key, count, asked: *wanted, available, last });
                }
            }
        }
        found.sort_by_key(|one| std::cmp::Reverse(one.last));
        found.truncate(asked.most);
        Ok(found)
    }

    fn limits(&self, from: Period, to: Period) -> Result<Vec<LimitDay>, StoreError> {
        let (days, names): (Vec<_>, Vec<_>) = self.index("limit:", (from, to))?.into_iter().unzip();
        let mut found = Vec::new();
        for (day, hash) in days.into_iter().zip(self.hashes(&names)?) {
            let mut limits: BTreeMap<Arc<str>, (u64, u64)> = BTreeMap::new();
            for (field, count) in hash {
                let count = count.parse().map_err(|_| damaged(&count))?;
                match field.split_once(':') {
                    Some(("a", limit)) => limits.entry(limit.into()).or_default().0 = count,
                    Some(("r", limit)) => limits.entry(limit.into()).or_default().1 = count,
                    _ => return Err(damaged(&field)),
                }
            }
            let limits = limits.into_iter();
            found.extend(limits.map(|(limit, (allowed, refused))| LimitDay {
                day,
                limit,
                allowed,
                refused,
            }));
        }
        Ok(found)
    }

    fn clean(&self, old: &Old) -> Result<bool, StoreError> {
        let arguments = [
            old.rows.saturating_sub(1).to_string(),
            old.most_rows.to_string(),
            old.days.number().to_string(),
            old.months.number().to_string(),
            STEP.to_string(),
        ];
        self.run(&self.clean, &arguments).map(|more: i64| more > 0)
    }
}
