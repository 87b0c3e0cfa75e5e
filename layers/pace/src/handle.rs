use std::{fmt, hash::Hash, sync::Arc, time::Duration};

use http::{request, response};
use tokio::time::Instant;
use tollway_core::Hook;

use crate::{
    Config, Event, EventKind, Paced, Reading, Unit, Weights,
    gauge::{Nanos, nanos},
    queue::Line,
    registry::Registry,
    state::Hold,
};

pub(crate) type KeyFn<K> = Arc<dyn Fn(&request::Parts) -> Option<K> + Send + Sync>;
pub(crate) type WeightFn = Arc<dyn Fn(&request::Parts) -> Weights + Send + Sync>;
pub(crate) type PatienceFn = Arc<dyn Fn(&request::Parts) -> Duration + Send + Sync>;
pub(crate) type ReadingFn = Arc<dyn Fn(&response::Parts) -> Reading + Send + Sync>;

/// What all clones of a layer, their services and requests share.
pub(crate) struct Core<K> {
    pub(crate) registry: Arc<Registry<K>>,
    pub(crate) config: Config,
    pub(crate) key: KeyFn<K>,
    pub(crate) reading: ReadingFn,
    pub(crate) weights: Option<WeightFn>,
    pub(crate) patience: Option<PatienceFn>,
    pub(crate) hook: Option<Arc<dyn Hook<Event<K>> + Send + Sync>>,
    pub(crate) epoch: Instant,
    /// The message of every refusal's failure, made once.
    pub(crate) refusal: Arc<str>,
}

impl<K> Clone for Core<K> {
    fn clone(&self) -> Self {
        Self {
            registry: self.registry.clone(),
            config: self.config.clone(),
            key: self.key.clone(),
            reading: self.reading.clone(),
            weights: self.weights.clone(),
            patience: self.patience.clone(),
            hook: self.hook.clone(),
            epoch: self.epoch,
            refusal: self.refusal.clone(),
        }
    }
}

impl<K> Core<K> {
    pub(crate) fn now(&self) -> Nanos {
        nanos(self.epoch.elapsed())
    }

    pub(crate) fn instant(&self, at: Nanos) -> Instant {
        self.epoch.checked_add(Duration::from_nanos(at)).unwrap_or(self.epoch)
    }

    pub(crate) fn weights(&self, request: &request::Parts) -> Weights {
        self.weights.as_ref().map_or_else(Weights::default, |weights| weights(request).bounded())
    }

    pub(crate) fn patience(&self, request: &request::Parts) -> Nanos {
        let patience = self.patience.as_ref().map(|patience| patience(request));
        nanos(patience.unwrap_or(self.config.patience))
    }
}

impl<K: Clone> Core<K> {
    /// Tells what happened, with no lock held.
    pub(crate) fn tell(&self, key: &K, kind: EventKind) {
        if let Some(hook) = &self.hook {
            hook.on(&Event { key: key.clone(), kind });
        }
    }

    pub(crate) fn refuse(&self, key: &K, hold: Hold, now: Nanos) -> Paced {
        let retry_after = Duration::from_nanos(hold.until.saturating_sub(now));
        self.tell(key, EventKind::Refused { unit: hold.unit, retry_after });
        Paced::new(hold.unit, retry_after, self.refusal.clone())
    }
}

/// One limit of a provider as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GaugeStatus {
    /// What is limited.
    pub unit: Unit,
    /// What the limit allows when full.
    pub limit: u64,
    /// What is probably left for further requests, by now.
    pub remaining: u64,
    /// What the provider told to be left, the last time it did.
    pub told_remaining: Option<u64>,
    /// How long until it is probably full.
    pub full_in: Duration,
    /// In which time it fills from empty; `None` while too little was used to tell.
    pub window: Option<Duration>,
}

/// A key and what is known of its limits.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyStatus<K> {
    /// The key.
    pub key: K,
    /// The limits that its replies tell of.
    pub gauges: Vec<GaugeStatus>,
    /// How long a refusal of the provider's still holds.
    pub blocked_for: Option<Duration>,
    /// Requests in line.
    pub waiting: usize,
    /// Requests that stood in line and were let through, so far.
    pub waited: u64,
    /// Requests that were refused, so far.
    pub refused: u64,
}

/// Reads what a layer knows while traffic flows; takes nothing and changes nothing. Cheap to clone.
pub struct PaceHandle<K>(pub(crate) Arc<Core<K>>);

impl<K> Clone for PaceHandle<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K> fmt::Debug for PaceHandle<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PaceHandle").field("config", &self.0.config).finish_non_exhaustive()
    }
}

impl<K: Hash + Eq + Clone> PaceHandle<K> {
    /// Everything known of every key, in no particular order.
    pub fn snapshot(&self) -> Vec<KeyStatus<K>> {
        let now = self.0.now();
        let entries = self.0.registry.all();
        entries.iter().map(|entry| status(entry.key.clone(), &entry.lock(), now)).collect()
    }

    /// Everything known of `key`; `None` for an unknown key.
    pub fn status(&self, key: &K) -> Option<KeyStatus<K>> {
        let entry = self.0.registry.get(key)?;
        Some(status(entry.key.clone(), &entry.lock(), self.0.now()))
    }

    /// Whether a request of this weight would be let through now, without waiting. Takes nothing:
    /// the request still has to ask, and may be refused if another was quicker.
    pub fn would_admit(&self, key: &K, weights: &Weights) -> bool {
        let Some(entry) = self.0.registry.get(key) else {
            return true;
        };
        let now = self.0.now();
        entry.lock().hold(&weights.bounded(), now, &self.0.config).is_none()
    }
}

fn status<K>(key: K, line: &Line, now: Nanos) -> KeyStatus<K> {
    let gauges = Unit::ALL.into_iter().filter_map(|unit| {
        let gauge = line.state.gauge(unit)?;
        Some(GaugeStatus {
            unit,
            limit: gauge.limit,
            remaining: gauge.level(now) as u64,
            told_remaining: gauge.told_remaining,
            full_in: Duration::from_nanos(gauge.full_in(now)),
            window: gauge.window().map(Duration::from_nanos),
        })
    });
    let blocked = line.state.blocked_until().saturating_sub(now);
    KeyStatus {
        key,
        gauges: gauges.collect(),
        blocked_for: (blocked > 0).then(|| Duration::from_nanos(blocked)),
        waiting: line.waiting(),
        waited: line.waited,
        refused: line.refused,
    }
}
