//! A request's row, to and from its columns.

use std::{borrow::Cow, net::IpAddr, sync::Arc, time::Duration};

use rusqlite::{
    Statement, ToSql, Transaction,
    types::{ToSqlOutput, Value},
};
use tollway_core::{Caller, Ending, Target, Usage, Usd};

use super::{int, names::Known, uint};
use crate::ledger::{Decided, Id, Row, ending_of, micros, tags_from_json};

/// Of the view that shows a row whole, in the order in which they are read.
pub(super) const COLUMNS: &str = "at, request, user, key, ip, tags, operation, asked_model, provider, \
     provider_key, model, input, cached, cache_write, cache_write_1h, input_audio, output, reasoning, \
     output_audio, estimated, cost, status, attempts, whole_us, first_token_us, upstream_us, ending, \
     route, rule, strategy, arm";

/// A row's id is its time, and below that a number among those of the same millisecond.
const NUMBER_BITS: u32 = 20;
/// In the year 2248. What is later counts as this.
const LATEST: u64 = (1 << 43) - 1;

/// The first id that a row of this moment, or a later one, may have.
pub(super) fn first_id(at: u64) -> i64 {
    if at > LATEST { i64::MAX } else { int(at << NUMBER_BITS) }
}

/// The day, counted from 1970, of the row with this id.
pub(super) fn day_of(id: i64) -> i64 {
    (id >> NUMBER_BITS) / DAY
}

const DAY: i64 = 86_400_000;

/// Adds rows, in the order of their times: so they come one after the other in the file, too.
pub(super) fn add(into: &Transaction<'_>, rows: &[Row], known: &mut Known) -> rusqlite::Result<()> {
    let gone = "SELECT names_gone FROM entries";
    known.heed(into.prepare_cached(gone)?.query_row([], |row| row.get(0))?);
    let mut rows: Vec<&Row> = rows.iter().collect();
    rows.sort_by_key(|row| row.at);
    let last = "SELECT coalesce(max(id), 0) FROM entry WHERE id < ?1";
    let mut last = into.prepare_cached(last)?;
    let mut last_before = |id: i64| last.query_row([id], |row| row.get::<_, i64>(0));
    let mut insert = into.prepare_cached(
        "INSERT INTO entry (id, caller, course, input, cached, cache_write, cache_write_1h, input_audio,
         output, reasoning, output_audio, cost, whole_us, first_token_us, upstream_us, request, ip)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
    )?;
    let mut bound = Bound::default();
    let there = last_before(i64::MAX)?;
    let mut mine = 0;
    for row in &rows {
        let at = row.at.min(LATEST);
        let first = first_id(at);
        let before = if first <= mine {
            mine
        } else if first <= there {
            last_before(first_id(at + 1))?
        } else {
            0
        };
        mine = first.max(before.saturating_add(1));
        known.turn_to(day_of(mine));
        let (caller, course) = (known.caller(row, into)?, known.course(row, into)?);
        put(&mut insert, &mut bound, row, (mine, caller, course))?;
    }
    let count = "UPDATE entries SET count = count + ?1";
    into.prepare_cached(count)?.execute([int(rows.len() as u64)])?;
    Ok(())
}

/// What a statement has bound at first: nothing.
type Bound = [Option<i64>; 15];

/// Much is as in the row before, and stays bound.
fn put(
    insert: &mut Statement<'_>,
    bound: &mut Bound,
    row: &Row,
    (id, caller, course): (i64, i64, i64),
) -> rusqlite::Result<()> {
    let tokens = |of: fn(&Usage) -> u64| row.usage.as_ref().map(|usage| int(of(usage)));
    let numbers = [
        Some(id),
        Some(caller),
        Some(course),
        tokens(|usage| usage.input),
        tokens(|usage| usage.cached),
        tokens(|usage| usage.cache_write),
        tokens(|usage| usage.cache_write_1h),
        tokens(|usage| usage.input_audio),
        tokens(|usage| usage.output),
        tokens(|usage| usage.reasoning),
        tokens(|usage| usage.output_audio),
        row.cost.map(|cost| int(cost.nanos())),
        Some(int(micros(row.whole))),
        row.first_token.map(|time| int(micros(time))),
        Some(int(micros(row.upstream))),
    ];
    for (n, (now, before)) in numbers.into_iter().zip(bound).enumerate() {
        if now != *before {
            insert.raw_bind_parameter(n + 1, now)?;
            *before = now;
        }
    }
    insert.raw_bind_parameter(numbers.len() + 1, row.request.0)?;
    insert.raw_bind_parameter(numbers.len() + 2, row.caller.ip.map(Address))?;
    insert.raw_execute()?;
    Ok(())
}

struct Address(IpAddr);

impl ToSql for Address {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Owned(match self.0 {
            IpAddr::V4(ip) => Value::Integer(u32::from(ip).into()),
            IpAddr::V6(ip) => Value::Text(ip.to_string()),
        }))
    }
}

/// A row whose names somebody removed is read without them.
pub(super) fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    let text = |at: usize| row.get::<_, Option<Arc<str>>>(at);
    let number = |at: usize| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(at)?.map(uint));
    let mut caller = Caller::default();
    (caller.user, caller.key) = (text(2)?, text(3)?);
    caller.ip = text(4)?.and_then(|ip| ip.parse().ok());
    caller.tags = text(5)?.map(|tags| tags_from_json(&tags)).unwrap_or_default();
    let target = match (text(8)?, text(9)?) {
        (Some(provider), key) => Some(Target::new(provider, key.unwrap_or_default(), text(10)?)),
        _ => None,
    };
    let usage = match (number(11)?, number(16)?) {
        (Some(input), Some(output)) => {
            let mut usage = Usage::new(input, output);
            let part = |at| Ok::<_, rusqlite::Error>(number(at)?.unwrap_or(0));
            (usage.cached, usage.cache_write) = (part(12)?, part(13)?);
            (usage.cache_write_1h, usage.input_audio) = (part(14)?, part(15)?);
            (usage.reasoning, usage.output_audio) = (part(17)?, part(18)?);
            Some(if part(19)? == 0 { usage } else { usage.estimated() })
        }
        _ => None,
    };
    let time = |at| Ok::<_, rusqlite::Error>(number(at)?.map(Duration::from_micros));
    let decision = match (text(27)?, text(29)?) {
        (Some(route), strategy) => Some(Decided {
            route,
            rule: text(28)?,
            strategy: Cow::Owned(strategy.unwrap_or_default().as_ref().into()),
            arm: text(30)?,
        }),
        _ => None,
    };
    let ending = text(26)?.map_or(Ending::Dropped, |ending| ending_of(&ending));
    Ok(Row {
        caller,
        operation: Cow::Owned(row.get::<_, Option<_>>(6)?.unwrap_or_default()),
        asked_model: text(7)?,
        target,
        usage,
        cost: number(20)?.map(Usd::from_nanos),
        status: row.get(21)?,
        attempts: row.get::<_, Option<_>>(22)?.unwrap_or_default(),
        whole: time(23)?.unwrap_or_default(),
        first_token: time(24)?,
        upstream: time(25)?.unwrap_or_default(),
        decision,
        ..Row::new(uint(row.get(0)?), Id(row.get(1)?), ending)
    })
}
