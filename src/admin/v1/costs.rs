//! What was spent, by whom and on what, and what the month will come to.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{RawQuery, State},
};
use jiff::{Timestamp, ToSpan, tz::TimeZone};
use serde_json::{Value, json};
use tollway_core::{SystemClock, Usd, WallClock};
use tollway_store::ledger::{By, Ledger, Period, Total, TotalsOf, millis};

use super::{ApiError, App, Query, Reply, blocking};
use crate::stack::Stack;

/// How long to wait for what ended just now to be counted, too.
const WRITTEN: Duration = Duration::from_millis(500);

const NAMES: [&str; 3] = ["by", "from", "to"];
const BYS: [&str; 8] = ["all", "user", "key", "provider", "model", "tag", "day", "month"];

/// What is asked for.
struct Asked {
    by: By,
    /// A row for each day or month, and not for each name.
    periods: bool,
    name: &'static str,
    from: Period,
    to: Period,
}

impl Asked {
    fn parse(query: Option<&str>, today: Period) -> Result<Self, ApiError> {
        let query = Query::parse(query, &NAMES)?;
        let by = query.get("by").unwrap_or("user");
        let Some(name) = BYS.into_iter().find(|name| *name == by) else {
            let message = format!("by: expected one of {}, not `{by}`", BYS.join(", "));
            return Err(ApiError::bad("by", message));
        };
        let period = |name| query.read::<Period>(name, "a day (2026-11-22) or a month (2026-11)");
        let (from, to) = (period("from")?, period("to")?);
        let days = match (name, from.or(to)) {
            ("day", _) => true,
            ("month", _) => false,
            (_, given) => given.is_some_and(|period| !period.is_month()),
        };
        let whole = |period: Period| if days { period } else { period.whole_month() };
        let to = to.map_or(whole(today), |to| if days { last_day(to) } else { to.whole_month() });
        let from = match from {
            Some(from) => whole(first_day(from)),
            None if name == "month" => to.days_before(330).whole_month(),
            None => whole(first_day(to.whole_month())),
        };
        if from > to {
            return Err(ApiError::bad("from", format!("from: {from} is later than {to}")));
        }
        let by = By::named(name).unwrap_or(By::All);
        Ok(Self { by, periods: matches!(name, "day" | "month"), name, from, to })
    }
}

/// The first day of a month; a day is one already.
pub(super) fn first_day(period: Period) -> Period {
    if period.is_month() {
        Period::from_number(period.number() + 1).unwrap_or(period)
    } else {
        period
    }
}

pub(super) fn last_day(period: Period) -> Period {
    if !period.is_month() {
        return period;
    }
    (28..=31).rev().find_map(|day| Period::from_number(period.number() + day)).unwrap_or(period)
}

/// The ledger, with what ended just now. Blocks.
pub(super) fn ledger(stack: &Stack) -> Result<&dyn Ledger, ApiError> {
    if let Some(writer) = stack.ledger_writer() {
        writer.flush(WRITTEN);
    }
    let ledger = stack.ledger().map(|ledger| &**ledger);
    ledger.ok_or_else(|| ApiError::failed("this proxy keeps no ledger"))
}

/// `GET /costs`
pub(super) async fn show(State(admin): App, RawQuery(query): RawQuery) -> Reply {
    let stack = admin.stack();
    let now = millis(SystemClock.now());
    let today = Period::day_in(now, &stack.policy().time_zone);
    let asked = Asked::parse(query.as_deref(), today)?;
    blocking(move || {
        let ledger = ledger(&stack)?;
        let (by, from, to) = (asked.by, asked.from, asked.to);
        let sums = ledger.totals(&TotalsOf { by, from, to, name: None })?;
        let mut rows: BTreeMap<Arc<str>, Total> = BTreeMap::new();
        for sum in sums {
            let name = if asked.periods { sum.period.to_string().into() } else { sum.name };
            rows.entry(name).or_default().merge(&sum.total);
        }
        // Tags count a request once for each, so the sum of all is asked for by itself.
        let mut whole = Total::default();
        for sum in ledger.totals(&TotalsOf { by: By::All, from, to, name: None })? {
            whole.merge(&sum.total);
        }
        let mut rows: Vec<_> = rows.into_iter().collect();
        if !asked.periods {
            rows.sort_by_key(|(_, total)| std::cmp::Reverse((total.cost, total.requests)));
        }
        let rows: Vec<_> = rows
            .iter()
            .map(|(name, total)| {
                let mut row = figures(total);
                row["name"] = (&**name).into();
                row
            })
            .collect();
        Ok(Json(json!({
            "by": asked.name,
            "from": from.to_string(),
            "to": to.to_string(),
            "rows": rows,
            "total": figures(&whole),
            "projection": projection(ledger, now, &stack.policy().time_zone)?,
        })))
    })
    .await
}

fn figures(total: &Total) -> Value {
    let usage = &total.usage;
    json!({
        "requests": total.requests,
        "estimated": total.estimated,
        "unpriced": total.unpriced,
        "input_tokens": usage.input,
        "cached_tokens": usage.cached,
        "output_tokens": usage.output,
        "reasoning_tokens": usage.reasoning,
        "cost_usd": total.cost.to_string(),
    })
}

/// What the month comes to if it goes on as it began.
fn projection(ledger: &dyn Ledger, now: u64, zone: &TimeZone) -> Result<Value, ApiError> {
    let today = Period::day_in(now, zone);
    let month = today.whole_month();
    let all = |from, to| ledger.totals(&TotalsOf { by: By::All, from, to, name: None });
    let spent: Usd = all(month, month)?.iter().map(|sum| sum.total.cost).sum();
    let before = first_day(month).days_before(1);
    // Who began in the middle of the month has no figures of its first days.
    let since = match all(before.whole_month(), before.whole_month())?.is_empty() {
        false => first_day(month),
        true => all(first_day(month), today)?.first().map_or(today, |sum| sum.period),
    };
    let (begun, end) = (start_of(since, 0, zone), start_of(first_day(month), 1, zone));
    let covered = now.saturating_sub(begun).max(1);
    let expected = expected(spent, covered, end.saturating_sub(now));
    let days = covered / 86_400_000;
    Ok(json!({
        "month": month.to_string(),
        "spent_usd": spent.to_string(),
        "expected_usd": expected.to_string(),
        "since": since.to_string(),
        "confidence": match days { 0..3 => "low", 3..10 => "medium", _ => "high" },
    }))
}

/// What is spent in all, where `spent` went in the time that is `covered` and some is left.
fn expected(spent: Usd, covered: u64, left: u64) -> Usd {
    let more = u128::from(spent.nanos()) * u128::from(left) / u128::from(covered.max(1));
    spent + Usd::from_nanos(u64::try_from(more).unwrap_or(u64::MAX))
}

/// The moment, in milliseconds since 1970, at which a day begins, or the same day some months later.
fn start_of(day: Period, months: i32, zone: &TimeZone) -> u64 {
    let date = day.to_string().parse::<jiff::civil::Date>().ok();
    let date = date.and_then(|date| date.checked_add(months.months()).ok());
    let start = date.and_then(|date| date.to_zoned(zone.clone()).ok());
    let start: Option<Timestamp> = start.map(|start| start.timestamp());
    start.and_then(|start| u64::try_from(start.as_millisecond()).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use tollway_store::ledger::{Batch, Id, MemoryLedger, Row};

    use super::*;

    fn at(text: &str) -> u64 {
        text.parse::<Timestamp>().unwrap().as_millisecond() as u64
    }

    #[test]
    fn spans_are_read_with_what_is_left_out() {
        let today: Period = "2026-11-22".parse().unwrap();
        for (query, by, from, to) in [
            ("", By::User, "2026-11", "2026-11"),
            ("by=tag&from=2026-09", By::Tag, "2026-09", "2026-11"),
            ("by=model&from=2026-11-03", By::Model, "2026-11-03", "2026-11-22"),
            ("by=model&to=2026-02", By::Model, "2026-02", "2026-02"),
            ("by=day", By::All, "2026-11-01", "2026-11-22"),
            ("by=day&from=2026-02&to=2026-02", By::All, "2026-02-01", "2026-02-28"),
            ("by=month", By::All, "2025-12", "2026-11"),
            ("by=month&from=2026-03-09", By::All, "2026-03", "2026-11"),
        ] {
            let asked =
                Asked::parse(Some(query), today).unwrap_or_else(|e| panic!("{query}: {e:?}"));
            let got = (asked.by, asked.from.to_string(), asked.to.to_string());
            assert_eq!(got, (by, from.into(), to.into()), "{query}");
        }
        for wrong in ["by=colour", "from=yesterday", "from=2026-12", "form=2026-11"] {
            assert!(Asked::parse(Some(wrong), today).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_month_goes_on_as_it_began() {
        let ledger = MemoryLedger::default();
        let spend = |id: u128, when: &str, usd: &str| {
            let mut row = Row::new(at(when), Id::default(), tollway_core::Ending::Complete);
            row.cost = Some(usd.parse().unwrap());
            ledger.append(&Batch::of_rows(id, vec![row], &TimeZone::UTC)).unwrap();
        };
        spend(1, "2026-11-11T12:00:00Z", "3");
        spend(2, "2026-11-15T12:00:00Z", "2");
        // Five days from the first one, and fifteen to come.
        let told = projection(&ledger, at("2026-11-16T00:00:00Z"), &TimeZone::UTC).unwrap();
        assert_eq!((&told["spent_usd"], &told["expected_usd"]), (&json!("5"), &json!("20")));
        assert_eq!((&told["since"], &told["confidence"]), (&json!("2026-11-11"), &json!("medium")));
        // It was there in the month before: the days in which nothing was spent count, too.
        spend(3, "2026-10-03T12:00:00Z", "70");
        let told = projection(&ledger, at("2026-11-16T00:00:00Z"), &TimeZone::UTC).unwrap();
        assert_eq!((&told["expected_usd"], &told["confidence"]), (&json!("10"), &json!("high")));
        let empty =
            projection(&MemoryLedger::default(), at("2026-11-16T00:00:00Z"), &TimeZone::UTC)
                .unwrap();
        assert_eq!((&empty["expected_usd"], &empty["confidence"]), (&json!("0"), &json!("low")));
    }
}
