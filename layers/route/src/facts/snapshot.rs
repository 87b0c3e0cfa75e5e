use std::{collections::BTreeMap, sync::Arc};

use tokio::time::Instant;
use tollway_core::Target;

use super::{
    Config, Issue, PastError, Slot,
    measures::{Measures, Part, Success},
};
use crate::{Figures, Health};

/// The figures of all targets at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// By provider, model and key.
    pub targets: Vec<TargetFacts>,
    /// Of all targets of one provider, by its name.
    pub providers: Vec<GroupFacts>,
    /// Of all targets of one model, by its name; those without a model are in none.
    pub models: Vec<GroupFacts>,
}

/// What is known of one target.
#[derive(Clone, Debug)]
pub struct TargetFacts {
    /// The target.
    pub target: Target,
    /// Its figures.
    pub figures: Figures,
    /// What is the matter with it, the worst first; nothing, if it is healthy.
    pub issues: Vec<Issue>,
    /// Its last failures, the latest first; at most eight.
    pub errors: Vec<PastError>,
}

/// What is known of targets together.
#[derive(Clone, Debug)]
pub struct GroupFacts {
    /// What they have in common: the name of a provider or a model.
    pub name: Arc<str>,
    /// How many they are.
    pub targets: usize,
    /// As if all their replies had come from one target. The peak is the highest of theirs; they
    /// are healthy or down if all are, else degraded.
    pub figures: Figures,
}

impl Snapshot {
    pub(super) fn of(slots: &[Arc<Slot>], config: &Config, now: Instant) -> Self {
        let mut targets: Vec<_> = slots.iter().map(|slot| slot.facts(now)).collect();
        targets.sort_by(|one, other| {
            let key = |facts: &TargetFacts| {
                let target = &facts.target;
                (target.provider().clone(), target.model().cloned(), target.key().clone())
            };
            key(one).cmp(&key(other))
        });
        Self {
            targets,
            providers: group(slots, |target| Some(target.provider()), config, now),
            models: group(slots, Target::model, config, now),
        }
    }
}

fn group<'a>(
    slots: &'a [Arc<Slot>],
    name: impl Fn(&'a Target) -> Option<&'a Arc<str>>,
    config: &Config,
    now: Instant,
) -> Vec<GroupFacts> {
    let mut groups = BTreeMap::<&Arc<str>, Merged>::new();
    for slot in slots {
        if let Some(name) = name(slot.target()) {
            slot.add_to(groups.entry(name).or_default(), now);
        }
    }
    groups.into_iter().map(|(name, merged)| merged.facts(name.clone(), config)).collect()
}

/// The sums of several targets.
#[derive(Debug, Default)]
pub(super) struct Merged {
    targets: usize,
    measures: Measures,
    success: Success,
    peak: f32,
    in_flight: u32,
    /// The best and the worst.
    health: Option<(Health, Health)>,
}

impl Merged {
    pub(super) fn add(&mut self, figures: &Figures, all: Option<&Measures>, success: Success) {
        self.targets += 1;
        if let Some(measures) = all {
            self.measures.merge(measures);
        }
        self.success.good += success.good;
        self.success.all += success.all;
        self.peak = self.peak.max(figures.peak_ewma);
        self.in_flight = self.in_flight.saturating_add(figures.in_flight);
        let health = figures.health;
        let (best, worst) = self.health.unwrap_or((health, health));
        self.health = Some((best.min(health), worst.max(health)));
    }

    fn facts(&self, name: Arc<str>, config: &Config) -> GroupFacts {
        let marks = self.measures.marks(config.min_samples);
        let figures = Figures {
            first_token: marks.first_token(),
            whole: marks.whole(),
            peak_ewma: self.peak,
            success: self.success.share(),
            in_flight: self.in_flight,
            health: match self.health {
                Some((best, worst)) if best == worst => best,
                Some(_) => Health::Degraded,
                None => Health::Healthy,
            },
            ..self.measures.means()
        };
        GroupFacts { name, targets: self.targets, figures }
    }
}
