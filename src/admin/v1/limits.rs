//! What limits allow, how they stand, and who begins anew.

use std::{cmp::Reverse, net::IpAddr, time::Duration};

use axum::{
    Json,
    body::Bytes,
    extract::{RawQuery, State, rejection::BytesRejection},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tollway_core::Usd;
use tollway_rate_limit::{Key, KeyQuota, Standing};

use super::{ApiError, App, Query, Reply, blocking, body, quotas::custom};
use crate::{
    policy::{Quota, Shape, Unit, WhenFull, nearest},
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
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    #[serde(default)]
    pub(super) limit: Option<String>,
    #[serde(default)]
    pub(super) user: Option<String>,
    #[serde(default)]
    pub(super) key: Option<String>,
    #[serde(default)]
    pub(super) ip: Option<String>,
    #[serde(default)]
    pub(super) provider: Option<String>,
    #[serde(default)]
    pub(super) all: bool,
}

const NAMES: [&str; 6] = ["limit", "user", "key", "ip", "provider", "all"];

impl Asked {
    pub(super) fn of_query(query: Option<&str>, names: &[&str]) -> Result<Self, ApiError> {
        let query = Query::parse(query, names)?;
        let name = |name| query.get(name).map(str::to_owned);
        Ok(Self {
            limit: name("limit"),
            user: name("user"),
            key: name("key"),
            ip: name("ip"),
            provider: name("provider"),
            all: query.flag("all")?,
        })
    }

    pub(super) fn who(&self) -> Result<Vec<Who>, ApiError> {
        let ip = self.ip.as_deref().map(|text| {
            let wrong = |_| ApiError::bad("ip", format!("`{text}` is no address"));
            text.parse::<IpAddr>().map(Who::Ip).map_err(wrong)
        });
        let named = [
            self.user.as_deref().map(|name| Who::User(name.into())),
            self.key.as_deref().map(|name| Who::Key(name.into())),
            ip.transpose()?,
            self.provider.as_deref().map(|name| Who::Provider(name.into())),
        ];
        Ok(named.into_iter().flatten().collect())
    }

    /// The limits asked for: one by its name, or by the name of which it is a part; or all.
    pub(super) fn among<'a>(&self, stack: &'a Stack) -> Result<Vec<InForce<'a>>, ApiError> {
        let Some(name) = &self.limit else { return Ok(stack.limits_in_force().collect()) };
        let is = |one: &InForce<'_>| *one.name == **name || *one.limit.name == **name;
        let found: Vec<_> = stack.limits_in_force().filter(is).collect();
        if !found.is_empty() {
            return Ok(found);
        }
        let names: Vec<_> = stack.limits_in_force().map(|one| one.name).collect();
        let near = nearest(name, names.iter().map(|name| &**name));
        let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        Err(ApiError::not_found(format!("there is no limit `{name}`{near}")))
    }
}

/// `GET /limits/status`: how limits stand for somebody, or for those who have used the most.
pub(super) async fn status(State(admin): App, RawQuery(query): RawQuery) -> Reply {
    let asked = Asked::of_query(query.as_deref(), &NAMES)?;
    let stack = admin.stack();
    blocking(move || {
        let who = asked.who()?;
        let (mut told, mut more) = (Vec::new(), false);
        for limit in asked.among(&stack)? {
            let mut found: Vec<(Key, Standing)> = match who.as_slice() {
                [] => limit.all(),
                who => who.iter().flat_map(|who| limit.of(who)).collect(),
            };
            found.sort_by_key(|(key, standing)| {
                (Reverse(standing.capacity.saturating_sub(standing.remaining)), key.to_string())
            });
            let most = if who.is_empty() && !asked.all { FULLEST } else { MOST };
            more |= found.len() > most;
            found.truncate(most);
            told.extend(found.iter().map(|(key, standing)| standing_of(&limit, key, standing)));
        }
        more |= told.len() > MOST;
        told.truncate(MOST);
        Ok(Json(json!({ "limits": told, "more": more })))
    })
    .await
}

fn standing_of(in_force: &InForce<'_>, key: &Key, standing: &Standing) -> Value {
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
        "used": amount(of, standing.capacity.saturating_sub(standing.remaining)),
        "held": amount(of, standing.held),
        "left": amount(of, standing.remaining),
        "reset_seconds": standing.reset.map(seconds),
        "waiting": standing.waiting,
        "enforce": in_force.limit.enforce,
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
pub(super) async fn reset(State(admin): App, sent: Result<Bytes, BytesRejection>) -> Reply {
    let asked: Asked = body(sent)?;
    let (stack, who) = (admin.stack(), asked.who()?);
    if who.is_empty() && !asked.all {
        let message = "say whose: `user`, `key`, `ip` or `provider`, or `all`: true";
        return Err(ApiError::bad("user", message));
    }
    let limits = asked.among(&stack)?;
    let (mut reset, mut shared): (Vec<Value>, _) = (Vec::new(), Vec::new());
    for limit in &limits {
        for key in limit.reset(&who).await? {
            if reset.len() < MOST {
                reset.push(json!({ "limit": &*limit.name, "key": key.to_string() }));
            }
        }
        shared.extend(limit.is_shared().then(|| limit.name.clone()));
    }
    stack.tell_reset(&shared, &who).await?;
    if reset.is_empty() {
        return Err(ApiError::not_found("nothing of that was used"));
    }
    tracing::info!(keys = reset.len(), "an operator gave keys their quota back");
    Ok(Json(json!({ "reset": reset })))
}

/// `POST /limits/cleanup`: keys are forgotten that can't be told from new ones.
pub(super) async fn cleanup(State(admin): App, sent: Result<Bytes, BytesRejection>) -> Reply {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Nothing {}
    let Nothing {} = body(sent)?;
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
