//! A request's row, to and from its columns.

use std::{borrow::Cow, sync::Arc, time::Duration};

use rusqlite::{Statement, params};
use tollway_core::{Caller, Target, Usage, Usd};

use super::{int, uint};
use crate::ledger::{
    Decided, Id, Row, ending_name, ending_of, micros, tags_from_json, tags_to_json,
};

/// In this order everywhere.
pub(super) const COLUMNS: &str = "at, request, user, key, ip, tags, operation, asked_model, provider, \
     provider_key, model, input, cached, cache_write, cache_write_1h, input_audio, output, reasoning, \
     output_audio, estimated, cost, status, attempts, whole_us, first_token_us, upstream_us, ending, \
     route, rule, strategy, arm";

pub(super) fn insert(into: &mut Statement<'_>, row: &Row) -> rusqlite::Result<()> {
    let (caller, target) = (&row.caller, row.target.as_ref());
    let tokens = |of: fn(&Usage) -> u64| row.usage.as_ref().map(|usage| int(of(usage)));
    let decision = row.decision.as_ref();
    into.execute(params![
        int(row.at),
        row.request.0,
        caller.user.as_deref(),
        caller.key.as_deref(),
        caller.ip.map(|ip| ip.to_string()),
        tags_to_json(&caller.tags),
        &*row.operation,
        row.asked_model.as_deref(),
        target.map(|target| &**target.provider()),
        target.map(|target| &**target.key()),
        target.and_then(|target| target.model().map(|model| &**model)),
        tokens(|usage| usage.input),
        tokens(|usage| usage.cached),
        tokens(|usage| usage.cache_write),
        tokens(|usage| usage.cache_write_1h),
        tokens(|usage| usage.input_audio),
        tokens(|usage| usage.output),
        tokens(|usage| usage.reasoning),
        tokens(|usage| usage.output_audio),
        tokens(|usage| usage.is_estimate().into()),
        row.cost.map(|cost| int(cost.nanos())),
        row.status,
        row.attempts,
        int(micros(row.whole)),
        row.first_token.map(|time| int(micros(time))),
        int(micros(row.upstream)),
        ending_name(row.ending),
        decision.map(|made| &*made.route),
        decision.and_then(|made| made.rule.as_deref()),
        decision.map(|made| &*made.strategy),
        decision.and_then(|made| made.arm.as_deref()),
    ])?;
    Ok(())
}

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
    let ending = ending_of(&row.get::<_, Arc<str>>(26)?);
    Ok(Row {
        caller,
        operation: Cow::Owned(row.get(6)?),
        asked_model: text(7)?,
        target,
        usage,
        cost: number(20)?.map(Usd::from_nanos),
        status: row.get(21)?,
        attempts: row.get(22)?,
        whole: time(23)?.unwrap_or_default(),
        first_token: time(24)?,
        upstream: time(25)?.unwrap_or_default(),
        decision,
        ..Row::new(uint(row.get(0)?), Id(row.get(1)?), ending)
    })
}
