use std::{
    cmp::Reverse,
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use tokio::time::Instant;
use tollway_core::{Ask, Caller, NameMap, Target};

use super::{
    Config, ConfigError, Nanos, Slot, Snapshot,
    book::Proof,
    lengths::{Asker, Lengths},
    nanos,
};
use crate::{Live, Track};

/// Targets in a snapshot that nobody names, at most.
const STRANGERS: usize = 64;

/// The live figures of all targets. Clones share them.
#[derive(Clone)]
pub struct Tracker(Arc<Inner>);

struct Inner {
    epoch: Instant,
    lengths: Arc<Lengths>,
    table: RwLock<Table>,
}

struct Table {
    config: Arc<Config>,
    slots: NameMap<Target, Arc<Slot>>,
    /// Newcomers to turn away before a full table is searched for idle targets again.
    turn_away: usize,
}

impl Tracker {
    /// A tracker of no targets yet.
    ///
    /// # Errors
    ///
    /// Names the setting of `config` that no figures can be kept by.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        config.check()?;
        let (config, slots) = (Arc::new(config), NameMap::default());
        let table = RwLock::new(Table { config, slots, turn_away: 0 });
        Ok(Self(Arc::new(Inner { epoch: Instant::now(), lengths: Arc::default(), table })))
    }

    /// What figures are kept by.
    pub fn config(&self) -> Arc<Config> {
        self.0.table.read().unwrap_or_else(PoisonError::into_inner).config.clone()
    }

    /// Keeps the figures by another config from now on. What is known stays: samples count on in the
    /// new window, and each target is judged again by the new thresholds.
    ///
    /// # Errors
    ///
    /// Names the setting of `config` that no figures can be kept by; then nothing is changed.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tokio::time::Instant;
    /// use tollway_core::Target;
    /// use tollway_route::facts::{Config, Outcome, Tracker};
    ///
    /// let (tracker, now) = (Tracker::new(Config::default())?, Instant::now());
    /// let llama = tracker.slot(&Target::new("groq", "main", Some("llama".into())));
    /// llama.begin(now).end(now, Outcome::success());
    /// tracker.keep_by(Config { min_samples: 1, ..Config::default() }, now)?;
    /// assert_eq!(llama.figures(now).samples, 1);
    /// assert!(llama.figures(now).whole.is_some());
    /// # Ok::<_, tollway_route::facts::ConfigError>(())
    /// ```
    pub fn keep_by(&self, config: Config, now: Instant) -> Result<(), ConfigError> {
        config.check()?;
        let mut table = self.0.table.write().unwrap_or_else(PoisonError::into_inner);
        if *table.config == config {
            return Ok(());
        }
        table.config = Arc::new(config);
        let slots: Vec<_> = table.slots.values().cloned().collect();
        let config = table.config.clone();
        drop(table);
        slots.iter().for_each(|slot| slot.keep_by(config.clone(), now));
        Ok(())
    }

    /// The figures of `target`. Where there is no room for it, they are apart from all others, and
    /// nobody else adds to them.
    pub fn slot(&self, target: &Target) -> Arc<Slot> {
        self.tracked(target).unwrap_or_else(|| self.0.make(target, self.config()))
    }

    /// The figures of `target`, if it has some or there is room for it.
    pub fn tracked(&self, target: &Target) -> Option<Arc<Slot>> {
        let table = self.0.table.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = table.slots.get(target) {
            return Some(slot.clone());
        }
        drop(table);
        let mut table = self.0.table.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = table.slots.get(target) {
            return Some(slot.clone());
        }
        if table.slots.len() >= table.config.max_targets && !table.make_room() {
            return None;
        }
        let slot = self.0.make(target, table.config.clone());
        // A model that is new knows what probes have shown of who serves it.
        let whole = target.model().and_then(|_| table.slots.get(&without_model(target)));
        if let Some(whole) = whole {
            slot.follow(whole);
        }
        table.slots.insert(target.clone(), slot.clone());
        Some(slot)
    }

    /// A probe of a provider by one of its keys, which is no request, has ended: counts for the
    /// health of all targets of both, whatever the model, and of those that are yet to come.
    ///
    /// ```
    /// use tokio::time::Instant;
    /// use tollway_core::{NameMap, Target};
    /// use tollway_route::{Health, facts::{Config, Tracker}};
    ///
    /// let (tracker, now) = (Tracker::new(Config::default())?, Instant::now());
    /// let llama = tracker.slot(&Target::new("groq", "main", Some("llama".into())));
    /// (0..5).for_each(|_| tracker.probed(&Target::new("groq", "main", None), false, now));
    /// assert_eq!(llama.figures(now).health, Health::Down);
    /// let late = tracker.slot(&Target::new("groq", "main", Some("qwen".into())));
    /// assert_eq!(late.figures(now).health, Health::Down);
    /// let other = tracker.slot(&Target::new("groq", "spare", Some("llama".into())));
    /// assert_eq!(other.figures(now).health, Health::Healthy);
    /// # Ok::<_, tollway_route::facts::ConfigError>(())
    /// ```
    pub fn probed(&self, whole: &Target, ok: bool, now: Instant) {
        // The one that tells those to come.
        let held = self.tracked(&without_model(whole));
        let slots = self.by_one_key(whole);
        slots.iter().for_each(|slot| slot.probed(ok, now));
        drop(held);
    }

    /// All targets of one provider by one of its keys.
    fn by_one_key(&self, whole: &Target) -> Vec<Arc<Slot>> {
        let table = self.0.table.read().unwrap_or_else(PoisonError::into_inner);
        let same = |slot: &&Arc<Slot>| {
            let target = slot.target();
            (target.provider(), target.key()) == (whole.provider(), whole.key())
        };
        table.slots.values().filter(same).cloned().collect()
    }

    /// Somebody else found by probes that a provider is down by one of its keys: all targets of both are
    /// taken for down until then, or until a request or a probe here succeeds. `None`: they say so no
    /// more. Nothing of it is counted. Whether it was found after anything was last seen to be well here.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tokio::time::Instant;
    /// use tollway_core::Target;
    /// use tollway_route::{Health, facts::{Config, Tracker}};
    ///
    /// let (tracker, now) = (Tracker::new(Config::default())?, Instant::now());
    /// let (whole, llama) = (Target::new("groq", "main", None), Target::new("groq", "main", Some("llama".into())));
    /// let health = |at| tracker.slot(&llama).figures(at).health;
    /// assert!(tracker.advise_down(&whole, now, Some(now + Duration::from_secs(30))));
    /// assert_eq!(health(now), Health::Down);
    /// assert_eq!(health(now + Duration::from_secs(30)), Health::Healthy);
    /// tracker.probed(&whole, true, now + Duration::from_secs(1));
    /// assert_eq!(health(now + Duration::from_secs(1)), Health::Healthy);
    /// assert!(!tracker.advise_down(&whole, now, Some(now + Duration::from_secs(30))));
    /// # Ok::<_, tollway_route::facts::ConfigError>(())
    /// ```
    pub fn advise_down(&self, whole: &Target, found: Instant, until: Option<Instant>) -> bool {
        let Some(held) = self.tracked(&without_model(whole)) else { return false };
        let slots = self.by_one_key(whole);
        // One model that was served says that the provider is not down.
        let late = slots.iter().filter(|slot| !slot.advise_down(found, until)).count() > 0;
        if late {
            slots.iter().for_each(|slot| _ = slot.advise_down(found, None));
        }
        drop(held);
        !late
    }

    /// The figures as they are at `now`, by target, provider and model: of those that are `named`, of
    /// providers that were probed, and of the 64 others that had a request last. A model that its
    /// provider refused as not known, and never served, has had none; and there may be providers that
    /// serve whatever name a client makes up.
    ///
    /// ```
    /// use tokio::time::Instant;
    /// use tollway_core::{ErrorClass, Target};
    /// use tollway_route::facts::{Config, Outcome, Tracker};
    ///
    /// let (tracker, now) = (Tracker::new(Config::default())?, Instant::now());
    /// let of = |model: &str| Target::new("groq", "main", Some(model.into()));
    /// tracker.slot(&of("llama")).begin(now).end(now, Outcome::success());
    /// tracker.slot(&of("lama")).begin(now).end(now, Outcome::failure(ErrorClass::NotFound));
    /// tracker.slot(&of("qwen"));
    /// let known = |named: &dyn Fn(&Target) -> bool| tracker.snapshot(now, named).targets.len();
    /// assert_eq!(known(&|_| false), 1);
    /// assert_eq!(known(&|target| *target == of("qwen")), 2);
    /// # Ok::<_, tollway_route::facts::ConfigError>(())
    /// ```
    pub fn snapshot(&self, now: Instant, named: impl Fn(&Target) -> bool) -> Snapshot {
        let table = self.0.table.read().unwrap_or_else(PoisonError::into_inner);
        let mut slots: Vec<_> = table.slots.values().cloned().collect();
        let config = table.config.clone();
        drop(table);
        let known = |slot: &Slot| slot.target().model().is_none() || named(slot.target());
        slots.retain(|slot| slot.proof() != Some(Proof::None) || named(slot.target()));
        // Those that are known first, then who had a request last.
        slots.sort_by_key(|slot| (!known(slot), Reverse(slot.idle_since().unwrap_or(Nanos::MAX))));
        let known = slots.iter().take_while(|slot| known(slot)).count();
        slots.truncate(known.saturating_add(STRANGERS));
        Snapshot::of(&slots, &config, now)
    }
}

fn without_model(target: &Target) -> Target {
    Target::new(target.provider().clone(), target.key().clone(), None)
}

impl Inner {
    fn make(&self, target: &Target, config: Arc<Config>) -> Arc<Slot> {
        Arc::new(Slot::new(target.clone(), config, self.epoch, self.lengths.clone()))
    }
}

impl Table {
    /// Lets go of targets that nobody holds and that had no request for a window before the last
    /// one there was, or nothing but refusals as not known; if all have, of those that never had a
    /// success; if all had, of an eighth of all that had no request for the longest. Whether there is
    /// room now.
    fn make_room(&mut self) -> bool {
        if self.turn_away > 0 {
            self.turn_away -= 1;
            return false;
        }
        let last = self.slots.values().filter_map(|slot| slot.idle_since()).max().unwrap_or(0);
        let config = self.config.clone();
        let gone = last.saturating_sub(nanos(config.window));
        let is_idle = |slot: &Slot| slot.idle_since().is_some_and(|since| since < gone);
        let mut let_go = |of: &dyn Fn(&Slot, Proof) -> bool| {
            self.slots.retain(|_, slot| {
                Arc::strong_count(slot) > 1 || !slot.proof().is_some_and(|proof| of(slot, proof))
            });
            self.slots.len() < config.max_targets
        };
        let room = let_go(&|slot, proof| proof == Proof::None || is_idle(slot))
            || let_go(&|_, proof| proof != Proof::Succeeded)
            || self.let_go_of_the_oldest();
        if !room {
            // A search costs as much as this many look-ups.
            self.turn_away = self.slots.len() / 8;
        }
        room
    }

    fn let_go_of_the_oldest(&mut self) -> bool {
        let since = |slot: &Arc<Slot>| slot.idle_since().filter(|_| Arc::strong_count(slot) == 1);
        let mut all: Vec<_> = self.slots.values().filter_map(since).collect();
        all.sort_unstable();
        let mut left = all.len().min(self.slots.len().div_ceil(8));
        let Some(last) = left.checked_sub(1).and_then(|at| all.get(at).copied()) else {
            return false;
        };
        self.slots.retain(|_, slot| {
            let goes = left > 0 && since(slot).is_some_and(|since| since <= last);
            left -= usize::from(goes);
            !goes
        });
        true
    }
}

impl Track for Tracker {
    fn slot(&self, target: &Target) -> Arc<dyn Live> {
        self.slot(target)
    }

    fn usual_output(&self, caller: Option<&Caller>, ask: &Ask) -> Option<f32> {
        ask.operation.has_output().then(|| self.0.lengths.usual(Asker::new(caller, ask)))?
    }
}

impl fmt::Debug for Tracker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracker").field("config", &self.config()).finish_non_exhaustive()
    }
}
