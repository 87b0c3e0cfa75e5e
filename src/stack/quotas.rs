//! Quotas that an operator gave to single keys of limits: documents, and the limits that go by them.

use std::{
    collections::HashSet,
    fmt,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use tollway_rate_limit::{Handle, Key, KeyQuota};
use tollway_store::{StoreError, records::Record};

use super::{
    InForce, Stack, Who,
    in_force::limits_in_force,
    limits::{as_layer, as_policy, side},
};
use crate::policy::{Policy, Quota, Scope};

/// The kind of these documents.
const KIND: &str = "quota";

/// A quota in the place of a limit's for one of its keys, in the words of a policy: what it means
/// is read by the limit that the policy has at the time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Custom {
    /// The limit's name in the policy.
    pub limit: String,
    /// Which of its quotas: the unit's name in the policy.
    pub unit: String,
    /// What the key is: the scope's name in the policy.
    pub per: String,
    /// Whose.
    pub key: String,
    /// `200/min`; of places a number.
    pub quota: String,
    /// What a bucket holds, if that is not its amount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<u64>,
}

/// One of them as it holds at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomQuota {
    /// As it was written.
    pub custom: Custom,
    /// From when on the limit's own holds again, in milliseconds since 1970; `None`: never.
    pub until: Option<u64>,
    /// What it is, or why the limits of the policy can't go by it.
    pub quota: Result<Quota, String>,
}

impl Custom {
    /// Of this limit for somebody that it counts.
    pub fn new(limit: &InForce<'_>, who: &Who, quota: String, burst: Option<u64>) -> Self {
        Self {
            limit: limit.limit.name.to_string(),
            unit: limit.quota.unit.as_str().to_owned(),
            per: who.scope().to_string(),
            key: who.key().to_string(),
            quota,
            burst,
        }
    }

    /// Whether it is somebody's.
    pub fn is_of(&self, who: &Who) -> bool {
        *self.per == who.scope().to_string() && *self.key == who.key().to_string()
    }

    /// Whether it stands at this limit, by its name with or without the unit.
    pub fn is_at(&self, limit: &str) -> bool {
        let with_unit = || limit.strip_prefix(&*self.limit)?.strip_prefix('.');
        *self.limit == *limit || with_unit() == Some(&self.unit)
    }

    /// Whether only one of the two can be: they are for the same key of the same quota.
    pub fn replaces(&self, other: &Self) -> bool {
        [&self.limit, &self.unit, &self.per, &self.key]
            == [&other.limit, &other.unit, &other.per, &other.key]
    }

    /// One document for each; no two are called alike.
    fn name(&self) -> String {
        let Self { limit, unit, per, key, .. } = self;
        format!("{}:{limit} {unit} {}:{per} {key}", limit.len(), per.len())
    }

    fn read(record: &Record) -> Option<Self> {
        serde_json::from_slice(&record.value).ok()
    }

    /// The key and the quota, if `limit` is the one that is meant.
    fn at(&self, limit: &InForce<'_>) -> Option<Result<(Key, Quota), String>> {
        if *limit.limit.name != *self.limit || limit.quota.unit.as_str() != self.unit {
            return None;
        }
        Some(self.under(limit))
    }

    fn under(&self, limit: &InForce<'_>) -> Result<(Key, Quota), String> {
        let scopes = limit.scopes();
        let [scope] = scopes.as_slice() else {
            return Err(format!("limit `{}` is not per {} alone any more", self.limit, self.per));
        };
        if scope.to_string() != self.per {
            return Err(format!("limit `{}` is per {scope} now", self.limit));
        }
        let key = match scope {
            Scope::Ip => {
                let wrong = |_| format!("`{}` is no address", self.key);
                Key::network(self.key.parse::<IpAddr>().map_err(wrong)?)
            }
            _ => Key::from(&*self.key),
        };
        let quota = limit.quota.instead(&self.quota, self.burst).map_err(|why| why.to_string())?;
        Ok((key, quota))
    }
}

/// What documents say, and the limits that are to go by it.
#[derive(Default)]
pub(super) struct Quotas(Mutex<State>);

#[derive(Default)]
struct State {
    told: Vec<Record>,
    at: Option<(Arc<Policy>, [Handle; 2])>,
}

impl fmt::Debug for Quotas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Quotas").finish_non_exhaustive()
    }
}

impl Quotas {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The limits that hold now.
    pub(super) fn with_limits(&self, act: impl FnOnce(&Policy, &[Handle; 2])) {
        if let Some((policy, handles)) = &self.state().at {
            act(policy, handles);
        }
    }

    fn tell(&self, records: &[Record]) {
        let mut state = self.state();
        state.told = records.to_vec();
        state.apply();
    }
}

impl State {
    fn apply(&self) {
        let Some((policy, handles)) = &self.at else { return };
        let all: Vec<_> =
            self.told.iter().filter_map(|record| Some((Custom::read(record)?, record))).collect();
        let mut held = vec![false; all.len()];
        for limit in limits_in_force(policy, handles) {
            let mut wanted: Vec<(Key, KeyQuota)> = Vec::new();
            for ((custom, record), held) in all.iter().zip(&mut held) {
                if let Some(Ok((key, quota))) = custom.at(&limit) {
                    let until = record
                        .expires
                        .and_then(|at| UNIX_EPOCH.checked_add(Duration::from_millis(at)));
                    let quota = as_layer(&quota, side(limit.limit));
                    wanted.push((key, KeyQuota { quota, until }));
                    *held = true;
                }
            }
            limit.go_by(&wanted);
        }
        for ((custom, _), _) in all.iter().zip(held).filter(|(_, held)| !held) {
            let Custom { limit, unit, per, key, .. } = custom;
            tracing::warn!(limit, unit, per, key, "a custom quota has no limit to hold at");
        }
    }
}

impl InForce<'_> {
    /// Exactly these keys have a quota of their own.
    fn go_by(&self, wanted: &[(Key, KeyQuota)]) {
        let keys: HashSet<&Key> = wanted.iter().map(|(key, _)| key).collect();
        for (key, _) in self.handle.quotas(&self.name).unwrap_or_default() {
            if !keys.contains(&key) {
                self.handle.remove_quota(&self.name, &key);
            }
        }
        for (key, KeyQuota { quota, until }) in wanted {
            if let Err(error) = self.handle.set_quota(&self.name, key, *quota, *until) {
                tracing::warn!(limit = &*self.name, %key, %error, "a custom quota does not hold");
            }
        }
    }

    /// The keys that have a quota of their own, in the order of their names.
    pub fn custom(&self) -> Vec<(Key, KeyQuota)> {
        let mut all = self.handle.quotas(&self.name).unwrap_or_default();
        all.sort_by_cached_key(|(key, _)| key.to_string());
        all
    }

    /// A key's own quota in the policy's terms.
    pub fn quota_of(&self, own: &KeyQuota) -> Quota {
        as_policy(own.quota, self.quota.unit, side(self.limit))
    }
}

impl Stack {
    /// From now on the limits of this stack go by what documents say.
    pub(super) fn hold_quotas(&self) {
        let mut state = self.stores.quotas.state();
        state.at = Some((self.policy.clone(), [self.request_limits(), self.attempt_limits()]));
        state.apply();
    }

    /// Hears of documents from now on.
    pub(super) fn follow_quotas(&self) {
        let quotas = self.stores.quotas.clone();
        self.stores.documents.follow(KIND, Arc::new(move |records| quotas.tell(records)));
    }

    /// All quotas that keys were given, and whether they hold.
    ///
    /// # Errors
    ///
    /// The store can't be read.
    pub async fn custom_quotas(&self) -> Result<Vec<CustomQuota>, StoreError> {
        let records = self.documents().list(KIND).await?;
        let told = |record: &Record| {
            let custom = Custom::read(record)?;
            let found = self.limits_in_force().find_map(|limit| custom.at(&limit));
            let quota = found.unwrap_or_else(|| {
                Err(format!("there is no limit `{}` on {}", custom.limit, custom.unit))
            });
            let quota = quota.map(|(_, quota)| quota);
            Some(CustomQuota { custom, until: record.expires, quota })
        };
        Ok(records.iter().filter_map(told).collect())
    }

    /// Gives a key its own quota, until this moment in milliseconds since 1970. It holds when this
    /// is done; at other instances within two seconds.
    ///
    /// # Errors
    ///
    /// The store can't be written; then nothing is changed.
    pub async fn set_quota(&self, custom: &Custom, until: Option<u64>) -> Result<(), StoreError> {
        let wrong = |error| StoreError::wrong("a quota can't be written down").because(error);
        let value = serde_json::to_vec(custom).map_err(wrong)?;
        let record = Record { expires: until, ..Record::new(custom.name(), value) };
        self.documents().put(KIND, record).await
    }

    /// Gives a key the limit's quota again; whether it had one of its own.
    ///
    /// # Errors
    ///
    /// The store can't be written; then nothing is changed.
    pub async fn remove_quota(&self, custom: &Custom) -> Result<bool, StoreError> {
        self.documents().remove(KIND, &custom.name()).await
    }
}
