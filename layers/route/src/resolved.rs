use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use tollway_core::{NameMap, Needs, Plan, Target};

use crate::{Live, Traits, builder::Sources};

/// Plans that a route keeps for one model.
const MAX_PLANS: usize = 128;
/// Models whose plans a route keeps at hand.
const MAX_CACHED: usize = 256;
/// Longer names are no model's; they are worked out anew each time.
const MAX_CACHED_NAME: usize = 128;

/// Needs that a prompt is read for, whatever the route; whether one reasons is a matter of taste.
const READ: Needs = Needs::VISION.or(Needs::TOOLS).or(Needs::JSON).or(Needs::AUDIO);

/// Targets that are out, by place, and why.
pub(crate) type Out = Vec<(usize, &'static str)>;
type Partial = Option<(Out, Plan)>;

/// A route's places with the asked model filled in, what is known of them, and the plans that never
/// change.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) targets: Box<[Target]>,
    pub(crate) traits: Box<[Traits]>,
    pub(crate) live: Box<[Arc<dyn Live>]>,
    /// Some place lacks what only the prompt tells a need of, which is worth reading, then.
    pub(crate) lacks: bool,
    /// One for each choice, for when every target is ready.
    plans: Box<[OnceLock<Plan>]>,
    /// The latest for each choice while some are out: for as long as a breaker is open, the same
    /// targets are out for the same reasons.
    partial: Box<[Mutex<Partial>]>,
}

impl Resolved {
    fn new(places: &Places, sources: &Sources, model: Option<&Arc<str>>) -> Self {
        let targets = places.written.iter().map(|target| match model {
            Some(model) if target.model().is_none() => {
                Target::new(target.provider().clone(), target.key().clone(), Some(model.clone()))
            }
            _ => target.clone(),
        });
        let targets: Box<[Target]> = targets.collect();
        let kept = 0..places.choices.min(MAX_PLANS);
        let traits = targets.iter().map(|target| sources.catalog.traits(target));
        // Where there is no choice nobody is better, and the provider has the last word.
        let alone = targets.windows(2).all(|two| {
            matches!(two, [one, next] if one.provider() == next.provider() && one.model() == next.model())
        });
        let traits: Box<[Traits]> =
            if alone { traits.map(Traits::trusted).collect() } else { traits.collect() };
        let lacks = |traits: &Traits| traits.can.is_some_and(|can| !can.contains(READ));
        Self {
            lacks: traits.iter().any(lacks),
            traits,
            live: targets.iter().map(|target| sources.figures.slot(target)).collect(),
            plans: kept.clone().map(|_| OnceLock::new()).collect(),
            partial: kept.map(|_| Mutex::new(None)).collect(),
            targets,
        }
    }

    /// The plan for this choice while these are out.
    pub(crate) fn kept(&self, choice: usize, out: &Out, make: impl FnOnce() -> Plan) -> Plan {
        if out.is_empty() {
            return match self.plans.get(choice) {
                Some(plan) => plan.get_or_init(make).clone(),
                None => make(),
            };
        }
        let Some(slot) = self.partial.get(choice) else { return make() };
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, plan)) = slot.as_ref().filter(|(then, _)| then == out) {
            return plan.clone();
        }
        let plan = make();
        *slot = Some((out.clone(), plan.clone()));
        plan
    }
}

/// A route's places, and what they become for each model that is asked.
#[derive(Debug)]
pub(crate) struct Places {
    written: Box<[Target]>,
    choices: usize,
    /// For requests whose model no target takes over.
    as_written: OnceLock<Arc<Resolved>>,
    takes_asked_model: bool,
    by_model: RwLock<NameMap<Arc<str>, Arc<Resolved>>>,
}

impl Places {
    pub(crate) fn new(written: Vec<Target>, choices: usize) -> Self {
        Self {
            takes_asked_model: written.iter().any(|target| target.model().is_none()),
            written: written.into(),
            choices,
            as_written: OnceLock::new(),
            by_model: RwLock::default(),
        }
    }

    pub(crate) fn resolve(&self, model: Option<&Arc<str>>, sources: &Sources) -> Arc<Resolved> {
        let Some(model) = model.filter(|_| self.takes_asked_model) else {
            let make = || Arc::new(Resolved::new(self, sources, None));
            return self.as_written.get_or_init(make).clone();
        };
        let cached = self.by_model.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(resolved) = cached.get(model) {
            return resolved.clone();
        }
        drop(cached);
        let resolved = Arc::new(Resolved::new(self, sources, Some(model)));
        if model.len() <= MAX_CACHED_NAME {
            let mut cached = self.by_model.write().unwrap_or_else(PoisonError::into_inner);
            // Names that clients make up fill it; starting over keeps the real ones quick.
            if cached.len() >= MAX_CACHED {
                cached.clear();
            }
            cached.insert(model.clone(), resolved.clone());
        }
        resolved
    }
}
