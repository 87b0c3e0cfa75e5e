//! Quotas of single keys in the place of their limit's: given, told, and taken back.

use axum::{
    Json,
    body::Bytes,
    extract::{RawQuery, State, rejection::BytesRejection},
};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use tollway_core::{SystemClock, WallClock};
use tollway_store::ledger::millis;

use super::{
    ApiError, App, Reply, body,
    limits::{Asked, quota},
};
use crate::{
    policy::{Quota, Unit, duration},
    stack::{Custom, CustomQuota, InForce, Stack, Who},
};

/// What a key is to have, as it is sent.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    limit: Option<String>,
    user: Option<String>,
    key: Option<String>,
    ip: Option<String>,
    provider: Option<String>,
    requests: Option<String>,
    tokens: Option<String>,
    input_tokens: Option<String>,
    output_tokens: Option<String>,
    usd: Option<String>,
    concurrent: Option<u64>,
    burst: Option<u64>,
    expires: Option<String>,
}

impl Wanted {
    fn asked(&self) -> Asked {
        Asked {
            limit: self.limit.clone(),
            user: self.user.clone(),
            key: self.key.clone(),
            ip: self.ip.clone(),
            provider: self.provider.clone(),
            all: false,
        }
    }

    /// What of each unit.
    fn amounts(&self) -> Vec<(Unit, String)> {
        let given = [
            (Unit::Requests, self.requests.clone()),
            (Unit::Tokens, self.tokens.clone()),
            (Unit::InputTokens, self.input_tokens.clone()),
            (Unit::OutputTokens, self.output_tokens.clone()),
            (Unit::Usd, self.usd.clone()),
            (Unit::Concurrent, self.concurrent.map(|count| count.to_string())),
        ];
        given.into_iter().filter_map(|(unit, text)| Some((unit, text?))).collect()
    }

    fn until(&self) -> Result<Option<u64>, ApiError> {
        let Some(text) = &self.expires else { return Ok(None) };
        let wrong = |why: &str| {
            ApiError::bad("expires", format!("`{text}` {why}: expected a time such as 30d or 12h"))
        };
        let time = duration(text).map_err(|why| wrong(&why))?;
        if time.is_zero() {
            return Err(wrong("is over at once"));
        }
        let time = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Ok(Some(millis(SystemClock.now()).saturating_add(time)))
    }

    /// What is to be written down; nothing of it, if one part can't be.
    fn customs(&self, stack: &Stack) -> Result<Vec<Custom>, ApiError> {
        let asked = self.asked();
        let who = one(&asked)?;
        let amounts = self.amounts();
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
        let custom = |(unit, text): (Unit, String)| {
            let limit = meant(stack, &asked, &who, unit)?;
            let burst = self.burst.filter(|_| bursts == Some(unit));
            limit.quota.instead(&text, burst).map_err(|wrong| {
                let field = if wrong.burst { "burst" } else { unit.as_str() };
                ApiError::bad(field, format!("{field}: {wrong}"))
            })?;
            Ok(Custom::new(&limit, &who, text, burst))
        };
        amounts.into_iter().map(custom).collect()
    }
}

/// Exactly one.
fn one(asked: &Asked) -> Result<Who, ApiError> {
    let mut who = asked.who()?;
    match (who.pop(), who.pop()) {
        (Some(one), None) => Ok(one),
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

/// `POST /limits/quotas`: somebody has this quota from now on.
pub(super) async fn set(State(admin): App, sent: Result<Bytes, BytesRejection>) -> Reply {
    let wanted: Wanted = body(sent)?;
    let stack = admin.stack();
    let (customs, until) = (wanted.customs(&stack)?, wanted.until()?);
    for custom in &customs {
        stack.set_quota(custom, until).await?;
        let Custom { limit, unit, per, key, quota, .. } = custom;
        tracing::info!(limit, unit, per, key, quota, "an operator gave a key its own quota");
    }
    tell(&stack, |one| customs.contains(&one.custom)).await
}

/// `GET /limits/quotas`: all of them, or somebody's.
pub(super) async fn show(State(admin): App, RawQuery(query): RawQuery) -> Reply {
    let asked = Asked::of_query(query.as_deref(), &NAMES)?;
    let (who, stack) = (asked.who()?, admin.stack());
    tell(&stack, |one| {
        asked.limit.as_ref().is_none_or(|limit| one.custom.is_at(limit))
            && (who.is_empty() || who.iter().any(|who| one.custom.is_of(who)))
    })
    .await
}

/// `DELETE /limits/quotas`: somebody has the limit's quota again.
pub(super) async fn remove(State(admin): App, RawQuery(query): RawQuery) -> Reply {
    let asked = Asked::of_query(query.as_deref(), &NAMES)?;
    let (who, stack) = (one(&asked)?, admin.stack());
    let mut removed = Vec::new();
    for one in stack.custom_quotas().await? {
        let meant = asked.limit.as_ref().is_none_or(|limit| one.custom.is_at(limit));
        if meant && one.custom.is_of(&who) && stack.remove_quota(&one.custom).await? {
            let Custom { limit, unit, per, key, .. } = &one.custom;
            tracing::info!(limit, unit, per, key, "an operator took a key's own quota back");
            removed.push(told(&stack, &one));
        }
    }
    if removed.is_empty() {
        return Err(ApiError::not_found("nobody of that name has a quota of their own there"));
    }
    Ok(Json(json!({ "removed": removed })))
}

const NAMES: [&str; 5] = ["limit", "user", "key", "ip", "provider"];

async fn tell(stack: &Stack, wanted: impl Fn(&CustomQuota) -> bool) -> Reply {
    let all = stack.custom_quotas().await?;
    let all: Vec<_> = all.iter().filter(|one| wanted(one)).map(|one| told(stack, one)).collect();
    Ok(Json(json!({ "quotas": all })))
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
