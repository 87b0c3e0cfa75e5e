//! Resets of shared limits, told to the other instances: what each of them remembers of its own part
//! decides while the store is away.

use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tollway_core::{SystemClock, WallClock};
use tollway_rate_limit::Handle;
use tollway_store::{StoreError, ledger::millis, records::Record};

use super::{Stack, Who, in_force::limits_in_force};
use crate::policy::Policy;

/// The kind of these documents.
const KIND: &str = "reset";
/// How long they are told, in milliseconds.
const TOLD: u64 = 60_000;

/// What was reset.
#[derive(Serialize, Deserialize)]
struct Reset {
    limits: Vec<String>,
    /// Scope and name; nobody: everybody.
    who: Vec<(String, String)>,
    at: u64,
}

impl Reset {
    fn apply(&self, policy: &Policy, handles: &[Handle; 2]) {
        let named = |(scope, name): &(String, String)| Who::named(scope, name);
        let who: Vec<Who> = self.who.iter().filter_map(named).collect();
        if who.len() < self.who.len() {
            return;
        }
        for limit in limits_in_force(policy, handles) {
            if self.limits.iter().any(|name| **name == *limit.name) {
                limit.reset_here(&who);
            }
        }
    }
}

impl Stack {
    /// Tells the other instances that these limits were reset for somebody, or for all.
    ///
    /// # Errors
    ///
    /// The store can't be written; doing it again does no harm.
    pub async fn tell_reset(&self, limits: &[Arc<str>], who: &[Who]) -> Result<(), StoreError> {
        if limits.is_empty() {
            return Ok(());
        }
        let name = |who: &Who| (who.scope().to_string(), who.key().to_string());
        let (limits, at) = (limits.iter().map(ToString::to_string), millis(SystemClock.now()));
        let reset = Reset { limits: limits.collect(), who: who.iter().map(name).collect(), at };
        let wrong = |error| StoreError::wrong("a reset can't be told").because(error);
        let value = serde_json::to_vec(&reset).map_err(wrong)?;
        // The same one again takes its place.
        let name = format!("{:?} {:?}", reset.limits, reset.who);
        let record = Record::new(name, value).expiring(at.saturating_add(TOLD));
        self.documents().put(KIND, record).await
    }

    /// Hears of resets from now on.
    pub(super) fn follow_resets(&self) {
        let quotas = self.stores.quotas.clone();
        let before: Mutex<Vec<Record>> = Mutex::default();
        let follow = move |records: &[Record]| {
            let mut before = before.lock().unwrap_or_else(PoisonError::into_inner);
            for record in records.iter().filter(|record| !before.contains(record)) {
                if let Ok(reset) = serde_json::from_slice::<Reset>(&record.value) {
                    quotas.with_limits(|policy, handles| reset.apply(policy, handles));
                }
            }
            *before = records.to_vec();
        };
        self.stores.documents.follow(KIND, Arc::new(follow));
    }
}
