use std::{fmt, hash::Hash, sync::Arc, time::Duration};

use tokio::time::Instant;
use tollway_core::{ErrorClass, Hook};

use crate::{
    advice::{Advice, Heard},
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
    /// Every request is refused: others found that it should be so ([`Advice`]).
    Advised {
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
            Self::Advised { .. } => "advised",
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
    /// What others say of it, as long as it holds.
    pub advice: Vec<Advice>,
}

/// What a circuit found by itself: why it isn't closed. What others said is none.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding<K> {
    /// The key.
    pub key: K,
    /// Why; prints in words.
    pub reason: Reason,
    /// When it was found.
    pub found: Instant,
    /// Until when no request goes there; past while it is tried again; `None`: until an operator resets
    /// it.
    pub until: Option<Instant>,
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

    fn clock(&self, at: Instant) -> Nanos {
        nanos(at.saturating_duration_since(self.epoch))
    }

    fn instant(&self, at: Nanos) -> Instant {
        self.epoch.checked_add(Duration::from_nanos(at)).unwrap_or(self.epoch)
    }

    pub(crate) fn state(&self, phase: Phase, now: Nanos) -> State {
        match phase {
            Phase::Closed => State::Closed,
            Phase::Open { until } => State::Open { until: self.instant(until) },
            Phase::Benched { until } => State::Benched { until: self.instant(until) },
            Phase::Advised { until } => State::Advised { until: self.instant(until) },
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
            advice: circuit.heard(now).map(|heard| heard.shown(|at| self.instant(at))).collect(),
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

    /// Closes the circuit of `key` and forgets its past; ends a bench, a forced opening and what
    /// others found until now, too.
    /// Requests under way decide nothing any more. `false` for an unknown key.
    pub fn reset(&self, key: &K) -> bool {
        let Some(entry) = self.get(key) else {
            return false;
        };
        entry.lock().reset(self.0.now());
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
        entry.lock().force_open(now);
        self.0.tell(key, EventKind::ForcedOpen);
        true
    }

    /// Takes another's word for it that the circuit of `key` should be open. Said again, it holds
    /// for as long as it now says. Nothing of it counts as a failure, and nothing of it is among
    /// this layer's own [findings](Self::findings), so two that advise each other keep nothing open.
    ///
    /// `false` if it is too late for it, if calls here have shown since that it isn't so, if an
    /// operator reset the circuit since, or if there is no room for a key not seen before.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tokio::time::Instant;
    /// use tollway_circuit_breaker::{Advice, CircuitBreakerLayer, Config};
    ///
    /// let by_host = |request: &http::request::Parts| request.uri.host().map(str::to_owned);
    /// let circuits = CircuitBreakerLayer::new(Config::default(), by_host)?.handle();
    /// let (down, advice) = ("api.example.com".to_owned(), Advice {
    ///     from: "proxy-2".into(),
    ///     why: "5 failures in a row".into(),
    ///     found: Instant::now() - Duration::from_secs(1),
    ///     until: Instant::now() + Duration::from_secs(299),
    ///     benched: None,
    ///     firm: false,
    /// });
    /// assert!(circuits.advise(&down, &advice));
    /// assert_eq!(circuits.state(&down).as_str(), "advised");
    /// assert!(!circuits.allows(&down) && circuits.findings().is_empty());
    /// circuits.withdraw(&down, "proxy-2");
    /// assert!(circuits.allows(&down));
    /// # Ok::<_, tollway_circuit_breaker::ConfigError>(())
    /// ```
    pub fn advise(&self, key: &K, advice: &Advice) -> bool {
        let (now, config) = (self.0.now(), &self.0.config);
        if self.0.clock(advice.until) <= now {
            return false;
        }
        let Some(entry) = self.0.registry.get_or_make(key.clone(), now, config) else {
            return false;
        };
        let heard = Heard::new(advice, now, |at| self.0.clock(at));
        let (change, heard) = {
            let mut circuit = entry.lock();
            let change = circuit.advise(heard, now, config);
            (change, circuit.heard(now).any(|heard| heard.from == advice.from))
        };
        if let Some(kind) = change {
            self.0.tell(key, kind);
        }
        heard
    }

    /// Whoever gave advice takes it back: where nobody else says so, the circuit stands at once as
    /// it would without.
    pub fn withdraw(&self, key: &K, from: &str) {
        let change = self.get(key).and_then(|entry| entry.lock().withdraw(from));
        if let Some(kind) = change {
            self.0.tell(key, kind);
        }
    }

    /// What circuits found by themselves, for others to be told, in no particular order.
    pub fn findings(&self) -> Vec<Finding<K>> {
        let now = self.0.now();
        let all = self.0.registry.all();
        let found = all.iter().filter_map(|entry| {
            let found = entry.lock().finding(now, &self.0.config)?;
            Some(Finding {
                key: entry.key.clone(),
                reason: found.reason,
                found: self.0.instant(found.at),
                until: found.until.map(|until| self.0.instant(until)),
            })
        });
        found.collect()
    }
}
