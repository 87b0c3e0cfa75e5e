//! Limits that providers told, beside those that the policy sets for them.

use std::{collections::HashMap, time::Duration};

use metrics::Label;
use serde_json::{Value, json};
use tollway_core::Target;
use tollway_pace::{GaugeStatus, KeyStatus, Unit};
use tollway_route::Health;

use super::{Circuit, Stack};
use crate::{
    policy::{self, Limit, Quota, Scope, Shape},
    telemetry::names,
};

impl Stack {
    /// What providers have told of their limits, beside the policy's, as JSON; sorted.
    pub fn show_pacing(&self) -> String {
        let mut all = self.pacing().snapshot();
        let name = |status: &KeyStatus<Circuit>| {
            let target = &status.key.target;
            (target.to_string(), target.key().clone(), status.key.credential.clone())
        };
        all.sort_by_cached_key(name);
        let all: Vec<Value> = all.iter().map(|status| self.shown(status)).collect();
        json!({ "pacing": all }).to_string()
    }

    fn shown(&self, status: &KeyStatus<Circuit>) -> Value {
        let Circuit { target, credential } = &status.key;
        let limits = status.gauges.iter().map(|gauge| {
            json!({
                "unit": gauge.unit.as_str(),
                "limit": gauge.limit,
                "remaining": gauge.remaining,
                "told_remaining": gauge.told_remaining,
                "full_in_seconds": gauge.full_in.as_secs_f64(),
                "window_seconds": gauge.window.map(|window| window.as_secs_f64()),
                "policy": self.beside(target, gauge),
            })
        });
        json!({
            "provider": &**target.provider(),
            "model": target.model().map(|model| &**model),
            "key": &**target.key(),
            "credential": credential.as_deref(),
            "limits": limits.collect::<Vec<_>>(),
            "blocked_for_seconds": status.blocked_for.map(|wait| wait.as_secs_f64()),
            "waiting": status.waiting,
            "waited": status.waited,
            "refused": status.refused,
        })
    }

    /// The policy's limits on the same: what was found is larger, smaller or equal.
    fn beside(&self, target: &Target, gauge: &GaugeStatus) -> Vec<Value> {
        let applies = |limit: &&Limit| {
            let named = |glob: &policy::Glob| target.model().is_some_and(|it| glob.matches(&**it));
            limit.per.contains(&Scope::Provider)
                && (limit.models.is_empty() || limit.models.iter().any(named))
        };
        let limits = self.policy.limits.iter().filter(applies);
        let quotas = limits.flat_map(|limit| limit.quotas.iter().map(move |quota| (limit, quota)));
        let same = quotas.filter(|(_, quota)| unit(quota.unit) == Some(gauge.unit));
        same.filter_map(|(limit, quota)| {
            let window = window(quota)?;
            Some(json!({
                "limit": &*limit.name,
                "amount": quota.amount,
                "window_seconds": window.as_secs_f64(),
                "found": compare(gauge, quota.amount.get(), window),
            }))
        })
        .collect()
    }

    /// Why the store of shared limits can't be asked.
    pub(crate) fn limits_trouble(&self) -> Option<String> {
        self.stores.limits.trouble()
    }

    /// Why keys and quotas made at run time can't be read or kept.
    pub(crate) fn documents_trouble(&self) -> Option<String> {
        self.documents().trouble()
    }

    /// Sets the gauges of what providers told and of how targets and the store of limits stand: once a
    /// scrape, not once a reply.
    pub(crate) fn refresh_metrics(&self) {
        self.stores.limits.refresh_metrics(&self.telemetry);
        self.stores.documents.refresh_metrics(&self.telemetry);
        // Models that nobody knows share their labels: the worst of them is told.
        let mut worst: HashMap<Vec<Label>, Health> = HashMap::new();
        for facts in self.known_targets().targets {
            let mut labels = self.telemetry.target_labels(&facts.target);
            labels.push(Label::new("key", facts.target.key().to_string()));
            let health = worst.entry(labels).or_default();
            *health = facts.figures.health.max(*health);
        }
        for (labels, health) in worst {
            let health = match health {
                Health::Healthy => 0.0,
                Health::Degraded => 1.0,
                Health::Down => 2.0,
            };
            self.telemetry.set(names::HEALTH, labels, health);
        }
        for KeyStatus { key, gauges, .. } in self.pacing().snapshot() {
            // Clients' own credentials are no label.
            if key.credential.is_some() {
                continue;
            }
            for gauge in gauges {
                let mut labels = self.telemetry.target_labels(&key.target);
                labels.push(Label::new("key", key.target.key().to_string()));
                labels.push(Label::new("unit", gauge.unit.as_str()));
                #[expect(clippy::cast_precision_loss, reason = "a metric")]
                let (limit, remaining) = (gauge.limit as f64, gauge.remaining as f64);
                self.telemetry.set(names::PROVIDER_LIMIT, labels.clone(), limit);
                self.telemetry.set(names::PROVIDER_REMAINING, labels, remaining);
            }
        }
    }
}

fn unit(unit: policy::Unit) -> Option<Unit> {
    match unit {
        policy::Unit::Requests => Some(Unit::Requests),
        policy::Unit::Tokens => Some(Unit::Tokens),
        policy::Unit::InputTokens => Some(Unit::InputTokens),
        policy::Unit::OutputTokens => Some(Unit::OutputTokens),
        policy::Unit::Usd | policy::Unit::Concurrent => None,
    }
}

/// In which time a quota allows its amount.
fn window(quota: &Quota) -> Option<Duration> {
    const HOUR: Duration = Duration::from_secs(3600);
    match quota.shape {
        Shape::Bucket { per, .. } => Some(per),
        Shape::Sliding { window } => Some(window),
        Shape::Calendar(policy::Period::Hour) => Some(HOUR),
        Shape::Calendar(policy::Period::Day) => Some(24 * HOUR),
        Shape::Calendar(policy::Period::Month) => Some(30 * 24 * HOUR),
        Shape::Concurrent => None,
    }
}

/// By what is allowed over the policy's window. While the provider's own isn't known it is taken
/// for the same.
#[expect(clippy::cast_precision_loss, reason = "compared roughly")]
fn compare(gauge: &GaugeStatus, amount: u64, window: Duration) -> &'static str {
    let share = gauge.window.map_or(1.0, |own| window.as_secs_f64() / own.as_secs_f64());
    let found = gauge.limit as f64 * share;
    match found / amount as f64 {
        // Windows are told in whole seconds, if at all.
        ratio if ratio > 1.05 => "larger",
        ratio if ratio < 0.95 => "smaller",
        _ => "equal",
    }
}
