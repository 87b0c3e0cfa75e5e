use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;
use tollway_circuit_breaker::{CircuitBreakerHandle, Reason, State, Status};
use tollway_core::{ErrorClass, SystemClock, WallClock};

use super::keys::{self, Credential};
use crate::policy::{Endpoint, Policy, Provider};

/// Providers and their keys as the admin listener shows them: names and states, never a secret.
#[derive(Clone, Debug)]
pub struct Providers {
    policy: Arc<Policy>,
    benches: CircuitBreakerHandle<Credential>,
}

impl Providers {
    pub(super) fn new(policy: Arc<Policy>, benches: CircuitBreakerHandle<Credential>) -> Self {
        Self { policy, benches }
    }

    /// As JSON.
    pub fn json(&self) -> String {
        let now = Now { instant: Instant::now(), date: timestamp() };
        let each = self.policy.providers.iter().map(|provider| self.provider(provider, now));
        json!({ "providers": each.collect::<Vec<_>>() }).to_string()
    }

    fn provider(&self, provider: &Provider, now: Now) -> Value {
        let keys = keys::of(provider).into_iter().map(|(name, weight)| {
            let credential = Credential::new(provider.name.clone(), name);
            let status = self.benches.status(&credential);
            key(&credential.key, weight, status.as_ref(), now)
        });
        json!({
            "name": &*provider.name,
            "simulated": matches!(provider.endpoint, Endpoint::Simulate(_)),
            "keys": keys.collect::<Vec<_>>(),
        })
    }
}

/// One moment on both clocks.
#[derive(Clone, Copy)]
struct Now {
    instant: Instant,
    date: Timestamp,
}

fn key(name: &str, weight: u32, status: Option<&Status<Credential>>, now: Now) -> Value {
    let mut shown = json!({ "name": name, "weight": weight, "state": "active" });
    let Some(status) = status else { return shown };
    let (state, until) = match status.state {
        State::Benched { until } | State::Advised { until } => ("benched", Some(until)),
        State::HalfOpen => ("trial", None),
        State::ForcedOpen => ("closed by hand", None),
        _ => return shown,
    };
    shown["state"] = state.into();
    if let Some(class) = why(status) {
        shown["reason"] = in_words(class).into();
    }
    let found = status.advice.first().map(|advice| advice.found);
    if let Some(since) = status.last_failure.map(|(_, at)| at).or(found) {
        let ago = now.instant.saturating_duration_since(since);
        shown["since"] = date(now.date.checked_sub(ago).ok()).into();
    }
    if let Some(until) = until {
        let left = until.saturating_duration_since(now.instant);
        shown["until"] = date(now.date.checked_add(left).ok()).into();
    }
    shown
}

/// Why a key is set aside, as far as that is known: by its own last failure, or another instance's.
pub(super) fn why(status: &Status<Credential>) -> Option<ErrorClass> {
    match status.reason {
        Some(Reason::Advised(class)) => class,
        _ => status.last_failure.map(|(class, _)| class),
    }
}

/// Why a key is of no use.
pub(super) fn in_words(class: ErrorClass) -> &'static str {
    match class {
        ErrorClass::Quota => "out of money",
        _ => "refused by the provider",
    }
}

pub(super) fn timestamp() -> Timestamp {
    SystemClock.now().try_into().unwrap_or(Timestamp::UNIX_EPOCH)
}

/// To the second, RFC 3339.
pub(super) fn date(at: Option<Timestamp>) -> String {
    let at = at.unwrap_or(Timestamp::MAX);
    at.round(jiff::Unit::Second).unwrap_or(at).to_string()
}
