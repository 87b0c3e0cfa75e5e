use std::{fmt, hash::Hash, sync::Arc, time::Duration};

use tokio::time::Instant;
use tollway_core::{ErrorClass, Hook};

use crate::{
    config::Config,
    events::{Event, EventKind, Reason},
    registry::{Entry, Registry},
    state::{Nanos, Phase, nanos, share},
    sync,
};

/// How the circuit of one key stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// Every request is let through.
    Closed,
    /// Every request is refused.
    Open {
        /// From then on trial requests are let through.
        until: Instant,
    },
    /// A few trial requests are let through.
    HalfOpen,
    /// A growing share of requests is let through.
    Ramping {
        /// The share by now, per mille.
        share: u32,
    },
    /// Every request is refused until an operator resets the circuit.
    ForcedOpen,
    /// Every request is refused: the key's credential was refused or its account is empty.
    Benched {
        /// From then on trial requests are let through.
        until: Instant,
    },
}

impl State {
    /// The snake_case name used in labels and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open { .. } => "open",
            Self::HalfOpen => "half_open",
            Self::Ramping { .. } => "ramping",
            Self::ForcedOpen => "forced_open",
            Self::Benched { .. } => "benched",
        }
    }
}

/// A key and how its circuit stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status<K> {
    /// The key.
    pub key: K,
    /// How its circuit stands.
    pub state: State,
    /// Why it isn't closed; prints in words. `None` if it is.
    pub reason: Option<Reason>,
    /// Failures in a row by now, while the circuit is closed.
    pub failures_in_a_row: u32,
    /// The last failure that counted, and when.
    pub last_failure: Option<(ErrorClass, Instant)>,
}

type SharedHook<K> = Arc<dyn Hook<Event<K>> + Send + Sync>;
type SameKey<K> = Arc<dyn Fn(&K, &K) -> bool + Send + Sync>;

/// What all clones of a layer, their services and replies share.
pub(crate) struct Core<K> {
    pub(crate) registry: Arc<Registry<K>>,
    pub(crate) config: Arc<Config>,
    pub(crate) hook: Option<SharedHook<K>>,
    pub(crate) bench_together: Option<SameKey<K>>,
    pub(crate) epoch: Instant,
    /// The message of every refusal's failure, made once.
    pub(crate) refusal: Arc<str>,
}

impl<K> Clone for Core<K> {
    fn clone(&self) -> Self {
        Self {
            registry: self.registry.clone(),
            config: self.config.clone(),
            hook: self.hook.clone(),
            bench_together: self.bench_together.clone(),
            epoch: self.epoch,
            refusal: self.refusal.clone(),
        }
    }
}

impl<K: Hash + Eq + Clone> Core<K> {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            registry: Arc::new(Registry::new()),
            config: Arc::new(config),
            hook: None,
            bench_together: None,
            epoch: Instant::now(),
            refusal: "the provider is left alone for now: its last replies failed".into(),
        }
    }
}

impl<K> Core<K> {
    pub(crate) fn now(&self) -> Nanos {
        nanos(self.epoch.elapsed())
    }

    fn instant(&self, at: Nanos) -> Instant {
        self.epoch.checked_add(Duration::from_nanos(at)).unwrap_or(self.epoch)
    }

    pub(crate) fn state(&self, phase: Phase, now: Nanos) -> State {
        match phase {
            Phase::Closed => State::Closed,
            Phase::Open { until } => State::Open { until: self.instant(until) },
            Phase::Benched { until } => State::Benched { until: self.instant(until) },
            Phase::Forced => State::ForcedOpen,
            Phase::HalfOpen { .. } => State::HalfOpen,
            Phase::Ramping { since, .. } => {
                let share = share(now, since, &self.config) / 1000;
                State::Ramping { share: u32::try_from(share).unwrap_or(1000) }
            }
        }
    }
}

impl<K: Hash + Eq + Clone> Core<K> {
    /// Tells what happened, with no lock held. A bench also reaches the keys that share its fate.
    pub(crate) fn tell(&self, key: &K, kind: EventKind) {
        if let Some(hook) = &self.hook {
            hook.on(&Event { key: key.clone(), kind });
        }
    }

    pub(crate) fn changed(&self, key: &K, change: Option<EventKind>, now: Nanos) {
        let Some(kind) = change else { return };
        self.tell(key, kind);
        let (EventKind::Benched { class, bench_for }, Some(same)) = (kind, &self.bench_together)
        else {
            return;
        };
        for entry in self.registry.all() {
            if entry.key != *key && same(key, &entry.key) {
                let change = entry.lock().bench(class, bench_for, now);
                if let Some(kind) = change {
                    self.tell(&entry.key, kind);
                }
            }
        }
    }

    fn status(&self, entry: &Entry<K>, now: Nanos) -> Status<K> {
        let circuit = entry.lock();
        Status {
            key: entry.key.clone(),
            state: self.state(circuit.phase(now, &self.config), now),
            reason: circuit.reason(now, &self.config),
            failures_in_a_row: circuit.streak(),
            last_failure: circuit.last_failure().map(|(class, at)| (class, self.instant(at))),
        }
    }
}

/// Reads and moves the circuits of a layer while traffic flows. Cheap to clone.
pub struct CircuitBreakerHandle<K>(pub(crate) Arc<Core<K>>);

impl<K> Clone for CircuitBreakerHandle<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K> fmt::Debug for CircuitBreakerHandle<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreakerHandle")
            .field("config", &self.0.config)
            .finish_non_exhaustive()
    }
}

impl<K: Hash + Eq + Clone> CircuitBreakerHandle<K> {
    fn get(&self, key: &K) -> Option<sync::Arc<Entry<K>>> {
        self.0.registry.get(key)
    }

    /// How the circuit of `key` stands; an unknown key's is closed.
    pub fn state(&self, key: &K) -> State {
        self.status(key).map_or(State::Closed, |status| status.state)
    }

    /// Everything known of `key`'s circuit; `None` for an unknown key.
    pub fn status(&self, key: &K) -> Option<Status<K>> {
        self.get(key).map(|entry| self.0.status(&entry, self.0.now()))
    }

    /// Everything known of every key, in no particular order.
    pub fn list(&self) -> Vec<Status<K>> {
        let now = self.0.now();
        self.0.registry.all().iter().map(|entry| self.0.status(entry, now)).collect()
    }

    /// Whether a request for `key` would be let through now. Takes nothing: the request still has
    /// to ask, and may be refused if another was quicker.
    ///
    /// While a circuit ramps up, ask once for each request that could go there: the share let
    /// through is a share of the questions.
    pub fn allows(&self, key: &K) -> bool {
        let Some(entry) = self.get(key) else {
            return true;
        };
        entry.lock().allows(self.0.now(), &self.0.config)
    }

    /// Closes the circuit of `key` and forgets its past; ends a bench and a forced opening too.
    /// Requests under way decide nothing any more. `false` for an unknown key.
    pub fn reset(&self, key: &K) -> bool {
        let Some(entry) = self.get(key) else {
            return false;
        };
        entry.lock().reset();
        self.0.tell(key, EventKind::Closed);
        true
    }

    /// Refuses every request for `key` until [`reset`](Self::reset). `false` if there was no room
    /// for a key not seen before ([`Config::max_keys`]).
    pub fn force_open(&self, key: &K) -> bool {
        let now = self.0.now();
        let Some(entry) = self.0.registry.get_or_make(key.clone(), now, &self.0.config) else {
            return false;
        };
        entry.lock().force_open();
        self.0.tell(key, EventKind::ForcedOpen);
        true
    }
}
