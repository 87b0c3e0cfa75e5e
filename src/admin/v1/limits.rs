//! What limits allow, how they stand, and who begins anew.

use std::{cmp::Reverse, net::IpAddr, sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{RawQuery, State},
};
use serde_json::{Value, json};
use tollway_core::Usd;
use tollway_rate_limit::{Key, KeyQuota, Standing};

use super::{
    ApiError, App, Fields, Query, Reply, Sent, blocking,
    body::Texts,
    names::{self, name},
    quotas::custom,
};
use crate::{
    policy::{Quota, Shape, Unit, WhenFull},
    stack::{InForce, Stack, Who},
};

/// Keys told of each limit, where nobody is asked for by name.
const FULLEST: usize = 10;
/// Keys told in one answer.
const MOST: usize = 10_000;

/// `GET /limits`: the limits as the policy has them.
pub(super) async fn config(State(admin): App, RawQuery(query): RawQuery) -> Reply {
    Query::parse(query.as_deref(), &[])?;
    let stack = admin.stack();
    let all: Vec<_> = stack.limits_in_force().map(|limit| configured(&limit)).collect();
    Ok(Json(json!({ "limits": all })))
}

fn configured(in_force: &InForce<'_>) -> Value {
    let limit = in_force.limit;
    let (full, wait) = match &limit.when_full {
        WhenFull::Reject => ("reject", None),
        WhenFull::Wait(time) => ("wait", Some(time.as_secs_f64())),
        WhenFull::Downgrade(_) => ("downgrade", None),
    };
    json!({
        "limit": &*in_force.name,
        "per": per(in_force),
        "unit": in_force.quota.unit.as_str(),
        "quota": quota(in_force.quota),
        "reserve": limit.reserve.as_str(),
        "when_full": full,
        "wait_seconds": wait,
        "when_store_is_away": limit.when_store_is_away.as_str(),
        "enforce": limit.enforce,
        "headroom": limit.headroom,
        "warn_at": limit.warns_at(in_force.quota),
        "models": limit.models.iter().map(|glob| glob.as_str()).collect::<Vec<_>>(),
        "custom": customs(in_force),
    })
}

/// Keys with a quota of their own.
fn customs(in_force: &InForce<'_>) -> Vec<Value> {
    let told = |(key, own): &(Key, KeyQuota)| {
        let (own, mut told) = custom(in_force, own);
        (told["key"], told["quota"]) = (key.to_string().into(), quota(&own));
        told
    };
    in_force.custom().iter().take(MOST).map(told).collect()
}

fn per(in_force: &InForce<'_>) -> Vec<String> {
    in_force.limit.per.iter().map(ToString::to_string).collect()
}

/// Money is text, as no float holds it.
pub(super) fn amount(unit: Unit, amount: u64) -> Value {
    match unit {
        Unit::Usd => Usd::from_nanos(amount).to_string().into(),
        _ => amount.into(),
    }
}

pub(super) fn quota(quota: &Quota) -> Value {
    let most = amount(quota.unit, quota.amount.get());
    match quota.shape {
        Shape::Bucket { per, burst } => json!({
            "shape": "bucket", "amount": most, "seconds": seconds(per),
            "burst": amount(quota.unit, burst.get()),
        }),
        Shape::Sliding { window } => {
            json!({ "shape": "sliding", "amount": most, "seconds": seconds(window) })
        }
        Shape::Calendar(period) => {
            json!({ "shape": "calendar", "amount": most, "period": period.as_str() })
        }
        Shape::Concurrent => json!({ "shape": "concurrent", "amount": most }),
    }
}

/// To the millisecond.
#[expect(clippy::cast_precision_loss, reason = "whole milliseconds for 285,000 years")]
fn seconds(time: Duration) -> f64 {
    (time.as_millis() as f64) / 1e3
}

/// Whom a query or a body asks for.
pub(super) struct Asked {
    pub(super) limit: Option<String>,
    pub(super) who: Vec<Who>,
}

/// What names somebody, and a limit.
pub(super) const NAMES: [&str; 5] = ["limit", "user", "key", "ip", "provider"];
const NAMES_OR_ALL: [&str; 6] = ["limit", "user", "key", "ip", "provider", "all"];

impl Asked {
    pub(super) fn of(request: &impl Texts) -> Result<Self, ApiError> {
        let named = |field| -> Result<Option<Arc<str>>, ApiError> {
            let text = request.text_of(field)?.map(|text| name(field, text));
            Ok(text.transpose()?.map(Into::into))
        };
        let ip = request.text_of("ip")?.map(|text| {
            let wrong =
                |_| ApiError::bad("ip", format!("ip: `{text}` is no address such as 192.0.2.7"));
            text.parse::<IpAddr>().map(Who::Ip).map_err(wrong)
        });
        let who = [
            named("user")?.map(Who::User),
            named("key")?.map(Who::Key),
            ip.transpose()?,
            named("provider")?.map(Who::Provider),
        ];
        let limit = request.text_of("limit")?.map(str::to_owned);
        Ok(Self { limit, who: who.into_iter().flatten().collect() })
    }

    /// Fails if the policy has no such limit or provider.
    pub(super) fn check(&self, stack: &Stack) -> Result<(), ApiError> {
        if let Some(limit) = &self.limit {
            names::limit(stack, limit)?;
        }
        for who in &self.who {
            if let Who::Provider(name) = who {
                names::provider(stack, name)?;
            }
        }
        Ok(())
    }

    /// The limits asked for: one by its name, or by the name of which it is a part; or all.
    pub(super) fn among<'a>(&self, stack: &'a Stack) -> Result<Vec<InForce<'a>>, ApiError> {
        self.check(stack)?;
        let is = |one: &InForce<'_>| self.limit.as_ref().is_none_or(|name| one.is_called(name));
        Ok(stack.limits_in_force().filter(is).collect())
    }
}

/// `GET /limits/status`: how limits stand for somebody, or for those who have used the most.
pub(super) async fn status(State(admin): App, RawQuery(query): RawQuery) -> Reply {
    let query = Query::parse(query.as_deref(), &NAMES_OR_ALL)?;
    let (asked, everybody) = (Asked::of(&query)?, query.flag("all")?);
    let stack = admin.stack();
    // What instances share is told for all of them, as long as its store is there.
    let mut shared = Vec::new();
    for limit in asked.among(&stack)? {
        shared.push(limit.everywhere(&asked.who, MOST + 1).await.ok());
    }
    blocking(move || {
        let (mut told, mut more) = (Vec::new(), false);
        for (limit, shared) in asked.among(&stack)?.iter().zip(shared) {
            let alone = shared.is_none();
            let here = || match asked.who.as_slice() {
                [] => limit.all(),
                who => who.iter().flat_map(|who| limit.of(who)).collect(),
            };
            let mut found: Vec<(Key, Standing)> = shared.flatten().unwrap_or_else(here);
            found.sort_by_key(|(key, standing)| (Reverse(standing.used), key.to_string()));
            let most = if asked.who.is_empty() && !everybody { FULLEST } else { MOST };
            more |= found.len() > most;
            found.truncate(most);
            let found = found.iter();
            told.extend(found.map(|(key, standing)| standing_of(limit, (key, standing), alone)));
        }
        more |= told.len() > MOST;
        told.truncate(MOST);
        Ok(Json(json!({ "limits": told, "more": more })))
    })
    .await
}

/// `alone`: it is what this instance counts for itself, as the store that others have too is away.
fn standing_of(in_force: &InForce<'_>, (key, standing): (&Key, &Standing), alone: bool) -> Value {
    let of = in_force.quota.unit;
    let own = standing.own.as_ref().map(|own| custom(in_force, own));
    let (own, custom) = own.unzip();
    json!({
        "limit": &*in_force.name,
        "per": per(in_force),
        "key": key.to_string(),
        "unit": of.as_str(),
        "quota": quota(own.as_ref().unwrap_or(in_force.quota)),
        "custom": custom,
        "capacity": amount(of, standing.capacity),
        "used": amount(of, standing.used),
        "held": amount(of, standing.held),
        "left": amount(of, standing.remaining),
        "reset_seconds": standing.reset.map(seconds),
        "waiting": standing.waiting,
        "enforce": in_force.limit.enforce,
        "alone": alone,
    })
}

/// `GET /limits/buckets`: how many keys each limit has in memory.
pub(super) async fn buckets(State(admin): App, RawQuery(query): RawQuery) -> Reply {
    Query::parse(query.as_deref(), &[])?;
    let stack = admin.stack();
    let told = |limit: InForce<'_>| json!({ "limit": &*limit.name, "keys": limit.keys() });
    let all: Vec<_> = stack.limits_in_force().map(told).collect();
    Ok(Json(json!({ "limits": all })))
}

/// `POST /limits/reset`: somebody has their whole quota again.
pub(super) async fn reset(State(admin): App, sent: Sent) -> Reply {
    let fields = Fields::parse(sent, &NAMES_OR_ALL)?;
    let (asked, everybody) = (Asked::of(&fields)?, fields.flag("all")?);
    let (stack, who) = (admin.stack(), &asked.who);
    if who.is_empty() && !everybody {
        let message = "say whose: `user`, `key`, `ip` or `provider`, or `all`: true";
        return Err(ApiError::bad("user", message));
    }
    if !who.is_empty() && everybody {
        return Err(ApiError::bad("all", "all: leave it out, or name nobody"));
    }
    let limits = asked.among(&stack)?;
    let (mut reset, mut shared): (Vec<Value>, _) = (Vec::new(), Vec::new());
    for limit in &limits {
        for key in limit.reset(who).await? {
            if reset.len() < MOST {
                reset.push(json!({ "limit": &*limit.name, "key": key.to_string() }));
            }
        }
        shared.extend(limit.is_shared().then(|| limit.name.clone()));
    }
    stack.tell_reset(&shared, who).await?;
    if reset.is_empty() {
        return Err(ApiError::not_found("nothing of that was used"));
    }
    tracing::info!(keys = reset.len(), "an operator gave keys their quota back");
    Ok(Json(json!({ "reset": reset })))
}

/// `POST /limits/cleanup`: keys are forgotten that can't be told from new ones.
pub(super) async fn cleanup(State(admin): App, sent: Sent) -> Reply {
    Fields::none(sent)?;
    let stack = admin.stack();
    blocking(move || {
        let clean = |limit: InForce<'_>| {
            let removed = limit.sweep();
            json!({ "limit": &*limit.name, "removed": removed, "keys": limit.keys() })
        };
        Ok(Json(json!({ "limits": stack.limits_in_force().map(clean).collect::<Vec<_>>() })))
    })
    .await
}
