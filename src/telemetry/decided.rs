//! What is counted of decisions.

use std::sync::{Arc, Mutex, PoisonError};

use metrics::{Counter, Histogram, Label};
use tollway_core::{NameMap, Target, Usd};

use super::{Decision, Telemetry, names, series::MAX_SERIES};

/// Decisions by what is alike.
pub(super) type Table = Mutex<NameMap<Key, Arc<Series>>>;

/// What decisions are counted by.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    route: Arc<str>,
    rule: Option<Arc<str>>,
    strategy: &'static str,
    arm: Option<Arc<str>>,
    target: Option<Target>,
}

/// What is counted of decisions that are alike.
pub(super) struct Series {
    count: Counter,
    cost: Histogram,
    latency: Histogram,
}

impl Telemetry {
    /// Counts a decision, and how far off its estimates were. `answered`: with what was
    /// asked for; `alone`: no other waits than the target's are in its time.
    pub(super) fn decided(&self, decision: &Decision, answered: bool, alone: bool) {
        let series = self.alike(decision);
        series.count.increment(1);
        if let (Some(chosen), Some(outcome), true) =
            (decision.chosen(), &decision.outcome, answered)
        {
            let costs = outcome.cost.zip(chosen.cost).filter(|(_, told)| *told > Usd::ZERO);
            if let Some((real, told)) = costs {
                series.cost.record(real.nanos() as f64 / told.nanos() as f64);
            }
            let first_token = decision.plan.first_token;
            let real = if first_token { outcome.first_token } else { Some(outcome.whole) };
            let times = real.zip(chosen.latency).filter(|(_, told)| alone && !told.is_zero());
            if let Some((real, told)) = times {
                series.latency.record(real.as_secs_f64() / told.as_secs_f64());
            }
        }
    }

    fn alike(&self, decision: &Decision) -> Arc<Series> {
        let plan = &decision.plan;
        let chosen = decision.chosen().map(|chosen| &chosen.target);
        let mut key = Key {
            route: plan.route.clone(),
            rule: plan.rule.clone(),
            strategy: plan.strategy,
            arm: decision.arm().cloned(),
            target: chosen.map(|target| self.bounded(target)),
        };
        let mut table = self.decided_table().lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = table.get(&key) {
            return found.clone();
        }
        if table.len() >= MAX_SERIES {
            key.target = None;
        }
        table.entry(key.clone()).or_insert_with(|| self.count_by(&key)).clone()
    }

    fn count_by(&self, key: &Key) -> Arc<Series> {
        let mut labels = key.target.as_ref().map(|at| self.target_labels(at)).unwrap_or_default();
        labels.push(Label::new("route", key.route.to_string()));
        labels.push(Label::new("strategy", key.strategy));
        let mut counted = labels.clone();
        let text = |text: &Option<Arc<str>>| text.as_deref().unwrap_or_default().to_owned();
        counted.push(Label::new("rule", text(&key.rule)));
        counted.push(Label::new("arm", text(&key.arm)));
        self.record(|| {
            Arc::new(Series {
                count: metrics::counter!(names::DECISIONS, counted),
                cost: metrics::histogram!(names::COST_RATIO, labels.clone()),
                latency: metrics::histogram!(names::LATENCY_RATIO, labels),
            })
        })
    }
}
