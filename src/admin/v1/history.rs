//! What limits let in and refused, by day.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::{RawQuery, State},
};
use jiff::Timestamp;
use serde_json::{Value, json};
use tollway_core::{SystemClock, WallClock};
use tollway_store::ledger::{Period, Refusal, RefusalsOf, millis};

use super::{
    ApiError, App, Query, Reply, blocking,
    costs::{first_day, last_day, ledger},
    limits::amount,
    names,
};
use crate::{policy::Unit, stack::Stack};

const EXPECTED: &str = "a day (2026-11-22) or a month (2026-11)";
/// Violations told in one answer.
const MOST: usize = 10_000;

/// The present day, as the ledger counts days.
fn today(stack: &Stack) -> Period {
    Period::day_in(millis(SystemClock.now()), &stack.policy().time_zone)
}

/// `GET /limits/stats`: how many requests each limit let in and refused.
pub(super) async fn stats(State(admin): App, RawQuery(query): RawQuery) -> Reply {
    let query = Query::parse(query.as_deref(), &["from", "to", "per"])?;
    let stack = admin.stack();
    let today = today(&stack);
    let to = query.read("to", EXPECTED)?.map_or(today, last_day);
    let from = query.read("from", EXPECTED)?.map_or(first_day(to.whole_month()), first_day);
    let per = query.get("per").unwrap_or("day").to_owned();
    if !["day", "month", "limit"].contains(&&*per) {
        let message = format!("per: expected day, month or limit, not `{per}`");
        return Err(ApiError::bad("per", message));
    }
    if from > to {
        return Err(ApiError::bad("from", format!("from: {from} is later than {to}")));
    }
    blocking(move || {
        let mut sums: BTreeMap<_, (u64, u64)> = BTreeMap::new();
        for day in ledger(&stack)?.limits(from, to)? {
            let period = match &*per {
                "day" => day.day.to_string(),
                "month" => day.day.whole_month().to_string(),
                _ => String::new(),
            };
            let sum = sums.entry((period, day.limit)).or_default();
            *sum = (sum.0.saturating_add(day.allowed), sum.1.saturating_add(day.refused));
        }
        let row = |((period, limit), (allowed, refused)): ((String, _), _)| {
            let period = Some(period).filter(|period| !period.is_empty());
            let limit: std::sync::Arc<str> = limit;
            json!({ "period": period, "limit": &*limit, "allowed": allowed, "refused": refused })
        };
        let rows: Vec<_> = sums.into_iter().map(row).collect();
        Ok(Json(json!({
            "per": per, "from": from.to_string(), "to": to.to_string(), "rows": rows,
        })))
    })
    .await
}

/// `GET /limits/violations`: whom limits refused, the latest first.
pub(super) async fn violations(State(admin): App, RawQuery(query): RawQuery) -> Reply {
    let query = Query::parse(query.as_deref(), &["key", "limit", "from", "last"])?;
    let stack = admin.stack();
    let today = today(&stack);
    let from = query.read("from", EXPECTED)?.map_or(first_day(today.whole_month()), first_day);
    let last = query.read("last", "a whole number")?.unwrap_or(100).min(MOST);
    let limit = query.get("limit").map(str::to_owned);
    if query.get("key") == Some("") {
        return Err(ApiError::bad("key", "key: expected a name or an address, not nothing"));
    }
    // What is asked for by limit is picked out of all.
    let most = if limit.is_some() { usize::MAX } else { last };
    let asked = RefusalsOf { from, key: query.get("key").map(Into::into), most };
    blocking(move || {
        let mut found = ledger(&stack)?.refusals(&asked)?;
        if let Some(limit) = &limit {
            // By the name of which it is a part, too, as everywhere.
            let meant = stack.limits_in_force().filter(|one| one.is_called(limit));
            let meant: Vec<_> = meant.map(|one| one.name).collect();
            found.retain(|one| *limit == *one.limit || meant.contains(&one.limit));
            if found.is_empty() {
                names::limit(&stack, limit)?;
            }
        }
        found.truncate(last);
        let rows: Vec<_> = found.iter().map(|one| violation(&stack, one)).collect();
        Ok(Json(json!({ "from": from.to_string(), "rows": rows })))
    })
    .await
}

fn violation(stack: &Stack, refusal: &Refusal) -> Value {
    // A limit that is gone is told in numbers.
    let unit = stack.limits_in_force().find(|limit| limit.name == refusal.limit);
    let unit = unit.map_or(Unit::Requests, |limit| limit.quota.unit);
    let last = i64::try_from(refusal.last).unwrap_or(i64::MAX);
    let last = Timestamp::from_millisecond(last).unwrap_or(Timestamp::MAX);
    json!({
        "day": refusal.day.to_string(),
        "limit": &*refusal.limit,
        "key": &*refusal.key,
        "count": refusal.count,
        "asked": amount(unit, refusal.asked),
        "available": amount(unit, refusal.available),
        "last": format!("{last:.3}"),
    })
}
