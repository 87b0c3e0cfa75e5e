//! Quotas of single keys in the place of their limit's: given, told, and taken back.

use axum::{
    Json,
    extract::{RawQuery, State},
};
use jiff::{Timestamp, tz::TimeZone};
use serde_json::{Value, json};
use tollway_core::{SystemClock, WallClock};
use tollway_store::ledger::millis;

use super::{
    ApiError, App, Fields, Query, Reply, Sent,
    expiry::expiry,
    limits::{Asked, NAMES, quota},
};
use crate::{
    policy::{Quota, Unit},
    stack::{Custom, CustomQuota, InForce, Stack, Who},
};

/// Quotas of single keys: each list of them is whole, here and in every instance.
const MOST: usize = 10_000;

/// What a key is to have, as it is sent.
struct Wanted {
    asked: Asked,
    /// What of each unit.
    amounts: Vec<(Unit, String)>,
    burst: Option<u64>,
    /// In milliseconds since 1970.
    until: Option<u64>,
}

/// What is counted by rates.
const RATES: [Unit; 5] =
    [Unit::Requests, Unit::Tokens, Unit::InputTokens, Unit::OutputTokens, Unit::Usd];

impl Wanted {
    fn of_body(sent: Sent, zone: &TimeZone) -> Result<Self, ApiError> {
        let units = RATES.iter().chain(&[Unit::Concurrent]).map(|unit| unit.as_str());
        let known: Vec<_> = NAMES.into_iter().chain(units).chain(["burst", "expires"]).collect();
        let fields = Fields::parse(sent, &known)?;
        let mut amounts = Vec::new();
        for unit in RATES {
            amounts.extend(fields.text(unit.as_str())?.map(|text| (unit, text.to_owned())));
        }
        let places = fields.number(Unit::Concurrent.as_str())?;
        amounts.extend(places.map(|count| (Unit::Concurrent, count.to_string())));
        let now = millis(SystemClock.now());
        let expires = fields.text("expires")?;
        Ok(Self {
            asked: Asked::of(&fields)?,
            amounts,
            burst: fields.number("burst")?,
            until: expires.map(|text| expiry(text, now, zone)).transpose()?,
        })
    }

    /// What is to be written down; nothing of it, if one part can't be.
    fn customs(&self, stack: &Stack) -> Result<Vec<Custom>, ApiError> {
        let (asked, amounts) = (&self.asked, &self.amounts);
        let who = one(asked)?;
        if amounts.is_empty() {
            let message = "say how much: `requests`, `tokens`, `input_tokens`, `output_tokens`, \
                           `usd` or `concurrent`";
            return Err(ApiError::bad("requests", message));
        }
        // As in a policy it is that of the requests, or of the only rate that there is.
        let rates = amounts.iter().map(|(unit, _)| *unit).filter(|unit| *unit != Unit::Concurrent);
        let rates: Vec<Unit> = rates.collect();
        let bursts = match rates.as_slice() {
            [one] => Some(*one),
            rates => rates.contains(&Unit::Requests).then_some(Unit::Requests),
        };
        if self.burst.is_some() && bursts.is_none() {
            let message = "a burst goes with `requests`, or with the only rate that is given";
            return Err(ApiError::bad("burst", message));
        }
        let custom = |(unit, text): &(Unit, String)| {
            let unit = *unit;
            let limit = meant(stack, asked, &who, unit)?;
            let burst = self.burst.filter(|_| bursts == Some(unit));
            limit.quota.instead(text, burst).map_err(|wrong| {
                let field = if wrong.burst { "burst" } else { unit.as_str() };
                ApiError::bad(field, format!("{field}: {wrong}"))
            })?;
            Ok(Custom::new(&limit, &who, text.clone(), burst))
        };
        amounts.iter().map(custom).collect()
    }
}

/// Exactly one.
fn one(asked: &Asked) -> Result<Who, ApiError> {
    match asked.who.as_slice() {
        [one] => Ok(one.clone()),
        _ => Err(ApiError::bad("user", "say whose: one of `user`, `key`, `ip` and `provider`")),
    }
}

/// The limit of that name, or the only one, that counts this for somebody.
fn meant<'a>(
    stack: &'a Stack,
    asked: &Asked,
    who: &Who,
    unit: Unit,
) -> Result<InForce<'a>, ApiError> {
    let (all, per) = (asked.among(stack)?, who.scope());
    let listed = |some: &mut dyn Iterator<Item = &InForce<'a>>| {
        let each = some.map(|limit| {
            let scopes: Vec<_> = limit.limit.per.iter().map(ToString::to_string).collect();
            format!("`{}` ({} per {})", limit.name, limit.quota.unit.as_str(), scopes.join(", "))
        });
        each.collect::<Vec<_>>().join(", ")
    };
    let fits = |limit: &&InForce<'_>| limit.counts(who) && limit.quota.unit == unit;
    let many = all.iter().filter(fits).count();
    let unit = unit.as_str();
    let message = match (many, &asked.limit) {
        (1, _) => {
            let found = all.into_iter().find(|limit| fits(&limit));
            return found.ok_or_else(|| ApiError::failed("the limit is gone"));
        }
        (0, Some(name)) => {
            let those = listed(&mut all.iter());
            format!("limit `{name}` does not count {unit} per {per}; it has {those}")
        }
        (0, None) => {
            let those = listed(&mut all.iter().filter(|limit| limit.counts(who)));
            let those = if those.is_empty() { "none".to_owned() } else { those };
            format!("no limit counts {unit} per {per}; per {per} there is {those}")
        }
        _ => {
            let those = listed(&mut all.iter().filter(fits));
            format!("several limits count {unit} per {per}, say which: {those}")
        }
    };
    Err(ApiError::bad("limit", message))
}

/// Whether these may be written down beside those.
fn room(there: &[CustomQuota], customs: &[Custom]) -> Result<(), ApiError> {
    let is_new = |one: &&Custom| !there.iter().any(|other| other.custom.replaces(one));
    let new = customs.iter().filter(is_new).count();
    if new > 0 && there.len() + new > MOST {
        let message =
            format!("there are {} quotas, and may be {MOST}; remove some first", there.len());
        return Err(ApiError::conflict(message));
    }
    Ok(())
}

/// `POST /limits/quotas`: somebody has this quota from now on.
pub(super) async fn set(State(admin): App, sent: Sent) -> Reply {
    let stack = admin.stack();
    let wanted = Wanted::of_body(sent, &stack.policy().time_zone)?;
    let customs = wanted.customs(&stack)?;
    room(&stack.custom_quotas().await?, &customs)?;
    for custom in &customs {
        stack.set_quota(custom, wanted.until).await?;
        let Custom { limit, unit, per, key, quota, .. } = custom;
        tracing::info!(limit, unit, per, key, quota, "an operator gave a key its own quota");
    }
    let all = stack.custom_quotas().await?;
    let all: Vec<_> = all.iter().filter(|one| customs.contains(&one.custom)).collect();
    Ok(Json(json!({ "quotas": tell(&stack, all) })))
}

/// `GET /limits/quotas`: all of them, or somebody's.
pub(super) async fn show(State(admin): App, RawQuery(query): RawQuery) -> Reply {
    let asked = Asked::of(&Query::parse(query.as_deref(), &NAMES)?)?;
    let stack = admin.stack();
    let all = stack.custom_quotas().await?;
    let all: Vec<_> = all.iter().filter(|one| is_meant(&asked, one)).collect();
    // A limit may be gone whose quotas are still there.
    if all.is_empty() {
        asked.check(&stack)?;
    }
    Ok(Json(json!({ "quotas": tell(&stack, all) })))
}

fn is_meant(asked: &Asked, one: &CustomQuota) -> bool {
    asked.limit.as_ref().is_none_or(|limit| one.custom.is_at(limit))
        && (asked.who.is_empty() || asked.who.iter().any(|who| one.custom.is_of(who)))
}

/// `DELETE /limits/quotas`: somebody has the limit's quota again.
pub(super) async fn remove(State(admin): App, RawQuery(query): RawQuery, sent: Sent) -> Reply {
    Fields::none(sent)?;
    let asked = Asked::of(&Query::parse(query.as_deref(), &NAMES)?)?;
    one(&asked)?;
    let stack = admin.stack();
    let all = stack.custom_quotas().await?;
    let mut removed = Vec::new();
    for one in all.iter().filter(|one| is_meant(&asked, one)) {
        if stack.remove_quota(&one.custom).await? {
            let Custom { limit, unit, per, key, .. } = &one.custom;
            tracing::info!(limit, unit, per, key, "an operator took a key's own quota back");
            removed.push(one);
        }
    }
    if removed.is_empty() {
        asked.check(&stack)?;
        return Err(ApiError::not_found("nobody of that name has a quota of their own there"));
    }
    Ok(Json(json!({ "removed": tell(&stack, removed) })))
}

fn tell(stack: &Stack, all: Vec<&CustomQuota>) -> Vec<Value> {
    all.into_iter().map(|one| told(stack, one)).collect()
}

fn told(stack: &Stack, one: &CustomQuota) -> Value {
    let Custom { limit, unit, per, key, quota: written, burst } = &one.custom;
    let is =
        |other: &InForce<'_>| *other.limit.name == **limit && other.quota.unit.as_str() == *unit;
    let name = stack.limits_in_force().find(is).map(|found| found.name);
    let why_not = one.quota.as_ref().err();
    json!({
        "limit": name.as_deref().unwrap_or(limit),
        "per": per,
        "key": key,
        "unit": unit,
        "written": written,
        "burst": burst,
        "quota": one.quota.as_ref().ok().map(quota),
        "expires": expires(one.until),
        "holds": why_not.is_none(),
        "why_not": why_not,
    })
}

/// Milliseconds since 1970 as a date.
fn expires(until: Option<u64>) -> Option<String> {
    let until = i64::try_from(until?).unwrap_or(i64::MAX);
    let until = Timestamp::from_millisecond(until).unwrap_or(Timestamp::MAX);
    Some(format!("{until:.3}"))
}

/// A key's own quota, where it stands beside the limit's.
pub(super) fn custom(limit: &InForce<'_>, own: &tollway_rate_limit::KeyQuota) -> (Quota, Value) {
    (limit.quota_of(own), json!({ "expires": expires(own.until.map(millis)) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn custom(key: usize) -> Custom {
        let [limit, unit, per] = ["l", "requests", "user"].map(str::to_owned);
        Custom { limit, unit, per, key: key.to_string(), quota: "1/min".into(), burst: None }
    }

    #[test]
    fn there_are_so_many_and_no_more() {
        let quota =
            |key| CustomQuota { custom: custom(key), until: None, quota: Err(String::new()) };
        let mut there: Vec<_> = (0..MOST - 1).map(quota).collect();
        assert!(room(&there, &[custom(MOST)]).is_ok());
        assert!(room(&there, &[custom(MOST), custom(MOST + 1)]).is_err());
        there.push(quota(MOST));
        let error = room(&there, &[custom(MOST + 1)]).unwrap_err();
        assert!(error.message().contains("there are 10000 quotas"), "{}", error.message());
        let larger = Custom { quota: "9/min".into(), ..custom(7) };
        assert!(room(&there, &[larger]).is_ok(), "one in the place of another");
    }
}
