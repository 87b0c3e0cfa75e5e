//! Policy to layers: builds each layer from its part of the policy, keeps their state and handles,
//! and stacks them in order.
//!
//! `build.rs` is the one place where the order is written.

mod aliases;
mod availability;
mod breaker;
mod build;
mod calibration;
mod callers;
mod carried;
mod catalog;
mod circuits;
mod documents;
mod downgrade;
mod estimate;
mod explain;
mod figures;
mod fits;
mod found;
mod hangup;
mod health;
mod history;
mod in_force;
#[cfg(feature = "sqlite")]
mod journal;
mod key_ring;
mod keys;
mod ledger;
mod limits;
mod models;
mod names;
mod opening;
mod pace;
mod prices;
mod probes;
mod providers;
mod quotas;
mod quotes;
mod rehearse;
mod rescue;
mod resets;
mod retry;
mod routes;
mod said;
mod shared;
mod shared_advice;
mod shared_findings;
mod signals;
mod stores;
mod tell;
mod tokens;
mod upstream;

use std::{fmt, sync::Arc, time::SystemTime};

use tollway_circuit_breaker::CircuitBreakerHandle;
use tollway_core::BoxError;
use tollway_cost::Totals;
use tollway_identify::KeyDigest;
use tollway_pace::PaceHandle;
use tollway_route::facts::Tracker;

use crate::{policy::Policy, simulate::Simulator, telemetry::Telemetry};

pub use breaker::Circuit;
pub use build::Stack;
pub use documents::{Documents, Follower};
pub use figures::Facts;
pub use in_force::{InForce, Who};
pub use key_ring::{KeyRing, KeyScope, RuntimeKey};
pub use keys::Credential;
pub use probes::Probing;
pub use providers::Providers;
pub use quotas::{Custom, CustomQuota};
pub use shared::Shared;
pub use shared_advice::{Exchanging, Sharing};
pub use upstream::{Pools, PoolsOf};

/// A part of the policy that can't be built.
#[derive(Debug)]
pub struct StackError {
    part: String,
    source: BoxError,
}

impl StackError {
    fn new(part: impl Into<String>, source: impl Into<BoxError>) -> Self {
        Self { part: part.into(), source: source.into() }
    }
}

impl fmt::Display for StackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.part, self.source)
    }
}

impl std::error::Error for StackError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // It is said in full above.
        self.source.source()
    }
}

/// Views of a running stack's state: for the admin side, embedders and tests.
impl Stack {
    /// What it is built of.
    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// From when on it holds.
    pub fn since(&self) -> SystemTime {
        self.since
    }

    /// Metrics.
    pub fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    /// Who is told of budgets. Nobody is called, and no new period told, before it
    /// [runs](crate::alerts::Alerts::run).
    pub fn alerts(&self) -> &crate::alerts::Alerts {
        &self.alerts
    }

    /// Limits by caller and model, decided once a request.
    pub fn request_limits(&self) -> tollway_rate_limit::Handle {
        self.request_limits.handle()
    }

    /// Limits by provider, decided at each attempt.
    pub fn attempt_limits(&self) -> tollway_rate_limit::Handle {
        self.attempt_limits.handle()
    }

    /// Breakers by target.
    pub fn breakers(&self) -> CircuitBreakerHandle<Circuit> {
        self.breakers.handle()
    }

    /// Keys of providers that are set aside, or were.
    pub fn benches(&self) -> CircuitBreakerHandle<Credential> {
        self.benches.handle()
    }

    /// Providers and the state of their keys, for the admin listener.
    pub fn providers(&self) -> Providers {
        Providers::new(self.policy.clone(), self.benches())
    }

    /// What is known of targets from their traffic.
    pub fn facts(&self) -> &Tracker {
        self.track.tracker()
    }

    /// What providers have told of their limits.
    pub fn pacing(&self) -> PaceHandle<Circuit> {
        self.pace.handle()
    }

    /// Usage and cost, totalled.
    pub fn totals(&self) -> &Totals {
        self.cost.totals()
    }

    /// What is written at run time, and outlives this stack: keys, quotas, advice.
    pub fn documents(&self) -> &Documents {
        &self.stores.documents
    }

    /// The name of the Tollway key made at run time whose SHA-256 this is, if it is good for that now.
    pub fn key_for(&self, sha256: &KeyDigest, what: KeyScope) -> Option<Arc<str>> {
        let name = self.stores.keys.find(sha256, what)?.name;
        (!self.policy.callers.keys.iter().any(|key| key.name == name)).then_some(name)
    }

    /// The simulated provider of this name.
    pub fn simulator(&self, provider: &str) -> Option<&Simulator> {
        self.simulators.get(provider)
    }
}

/// What a policy's share (0..1) is per mille; the checked policy holds no other values.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped before")]
fn per_mille(share: f64) -> u32 {
    (share * 1000.0).round().clamp(0.0, f64::from(u32::MAX)) as u32
}
