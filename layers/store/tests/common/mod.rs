//! Rows to write, and what the suites share.

#![allow(dead_code, reason = "no suite needs all of it")]

use std::{sync::Arc, time::Duration};

use jiff::tz::TimeZone;
use tollway_core::{Caller, Ending, Target, Usage, Usd};
use tollway_store::ledger::{Batch, Decided, Id, Row};

/// 2026-11-22T00:00:00Z, in milliseconds.
pub(crate) const DAY: u64 = 1_795_305_600_000;

/// A row with every figure told, different for each number.
pub(crate) fn row(number: u64) -> Row {
    let mut caller = Caller::default();
    caller.user = Some(format!("user-{}", number % 3).into());
    caller.key = Some(format!("key-{}", number % 2).into());
    caller.ip = Some([192, 0, 2, (number % 250) as u8].into());
    caller.tags = [("team", "search"), ("env", if number & 1 == 0 { "prod" } else { "test" })]
        .into_iter()
        .collect::<std::collections::BTreeMap<_, _>>()
        .into_iter()
        .collect();
    let mut usage = Usage::new(100 + number, 20);
    (usage.cached, usage.cache_write, usage.cache_write_1h) = (4, 3, 2);
    (usage.input_audio, usage.reasoning, usage.output_audio) = (1, 7, 5);
    let mut id = [0; 12];
    id[4..].copy_from_slice(&number.to_be_bytes());
    Row {
        caller,
        operation: "chat".into(),
        asked_model: Some("gpt-4o".into()),
        target: Some(Target::new("openai", "main", Some("gpt-4o-2024-08-06".into()))),
        usage: Some(if [0, 5].contains(&(number % 10)) { usage.estimated() } else { usage }),
        cost: Some(Usd::from_nanos(1_000 + number)),
        status: Some(200),
        attempts: 2,
        whole: Duration::from_micros(1_234_567),
        first_token: Some(Duration::from_micros(345_678)),
        upstream: Duration::from_micros(1_200_000),
        decision: Some(Decided {
            route: "chat".into(),
            rule: Some("cheap ones".into()),
            strategy: "cost".into(),
            arm: None,
        }),
        ..Row::new(DAY + number * 1000, Id(id), Ending::Complete)
    }
}

/// A row of which nothing is known: the caller left.
pub(crate) fn bare(number: u64) -> Row {
    Row::new(DAY + number * 1000, Id([9; 12]), Ending::Dropped)
}

pub(crate) fn batch(id: u128, rows: Vec<Row>) -> Batch {
    Batch::of_rows(id, rows, &TimeZone::UTC)
}

pub(crate) fn name(name: &str) -> Arc<str> {
    name.into()
}
