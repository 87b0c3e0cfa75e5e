use std::{
    fmt,
    sync::{Arc, LazyLock, Mutex, PoisonError, RwLock},
    time::Duration,
};

use metrics::{Counter, Gauge, Histogram, Label};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tollway_core::{NameMap, Operation, Target, Usage, Usd};

use super::{
    Decisions, decided,
    names::{self, Kind},
};

/// The program's metrics: a Prometheus registry of its own, and handles resolved once.
///
/// Two proxies in one process do not share figures.
#[derive(Clone)]
pub struct Telemetry(Arc<Inner>);

struct Inner {
    recorder: metrics_exporter_prometheus::PrometheusRecorder,
    exporter: PrometheusHandle,
    pub(super) in_flight: Gauge,
    pub(super) overhead: Histogram,
    known_models: RwLock<KnownModels>,
    series: Mutex<NameMap<SeriesKey, Arc<Series>>>,
    decided: decided::Table,
    decisions: Decisions,
}

type KnownModels = Box<dyn Fn(&str) -> bool + Send + Sync>;
type SeriesKey = (Operation, Option<Target>);

/// What is counted per operation and target.
pub(super) struct Series {
    requests: [Counter; 6],
    pub(super) duration: Histogram,
    pub(super) first_token: Histogram,
    tokens: [Counter; 5],
    estimated: Counter,
    cost: Counter,
}

/// Bound on `(operation, target)` pairs; targets beyond it are counted without their names.
pub(super) const MAX_SERIES: usize = 2_000;
static OTHER: LazyLock<Arc<str>> = LazyLock::new(|| "other".into());
const STATUS: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "hung_up"];

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry").finish_non_exhaustive()
    }
}

impl Telemetry {
    /// A new registry. A model that `known_models` denies is written `other`, so that a caller
    /// can't make labels up.
    ///
    /// `decisions`: how many of the latest are kept.
    pub fn new(
        known_models: impl Fn(&str) -> bool + Send + Sync + 'static,
        decisions: usize,
    ) -> Self {
        let mut builder = PrometheusBuilder::new();
        for metric in names::ALL {
            if let Kind::Histogram(buckets) = metric.kind {
                builder = builder
                    .set_buckets_for_metric(Matcher::Full(metric.name.into()), buckets)
                    .expect("the table's buckets are not empty");
            }
        }
        let recorder = builder.build_recorder();
        let exporter = recorder.handle();
        let (in_flight, overhead) = metrics::with_local_recorder(&recorder, || {
            describe();
            (metrics::gauge!(names::IN_FLIGHT), metrics::histogram!(names::OVERHEAD_SECONDS))
        });
        Self(Arc::new(Inner {
            recorder,
            exporter,
            in_flight,
            overhead,
            known_models: RwLock::new(Box::new(known_models)),
            series: Mutex::default(),
            decided: decided::Table::default(),
            decisions: Decisions::new(decisions),
        }))
    }

    /// Goes on under another policy: with other known models, and so many decisions.
    pub(crate) fn keep_by(
        &self,
        known_models: impl Fn(&str) -> bool + Send + Sync + 'static,
        decisions: usize,
    ) {
        let mut known = self.0.known_models.write().unwrap_or_else(PoisonError::into_inner);
        *known = Box::new(known_models);
        drop(known);
        self.0.decisions.keep(decisions);
    }

    fn knows(&self, model: &str) -> bool {
        (self.0.known_models.read().unwrap_or_else(PoisonError::into_inner))(model)
    }

    /// The figures in Prometheus' text format.
    pub fn render(&self) -> String {
        self.0.exporter.render()
    }

    /// Drains histograms every five seconds; without it they keep every sample.
    pub async fn upkeep(self) {
        loop {
            tokio::time::sleep(Duration::from_secs(5)).await;
            self.0.exporter.run_upkeep();
        }
    }

    /// The latest decisions.
    pub fn decisions(&self) -> &Decisions {
        &self.0.decisions
    }

    pub(super) fn decided_table(&self) -> &decided::Table {
        &self.0.decided
    }

    /// Makes metrics of this registry.
    pub(super) fn record<M>(&self, make: impl FnOnce() -> M) -> M {
        metrics::with_local_recorder(&self.0.recorder, make)
    }

    pub(super) fn in_flight(&self) -> &Gauge {
        &self.0.in_flight
    }

    pub(super) fn overhead(&self) -> &Histogram {
        &self.0.overhead
    }

    /// Adds one to a counter that is too rare to keep a handle of.
    pub(crate) fn count(&self, name: &'static str, labels: Vec<Label>) {
        self.record(|| {
            metrics::counter!(name, labels).increment(1);
        });
    }

    /// Tells a counter as 0 before anything is counted, so that its first count is seen as a rise.
    pub(crate) fn begin(&self, name: &'static str, labels: Vec<Label>) {
        self.record(|| {
            metrics::counter!(name, labels).increment(0);
        });
    }

    /// Moves a gauge without labels.
    pub(crate) fn add(&self, name: &'static str, by: f64) {
        self.record(|| metrics::gauge!(name).increment(by));
    }

    /// Adds this much to a counter without labels.
    pub(crate) fn count_many(&self, name: &'static str, many: u64) {
        self.record(|| {
            metrics::counter!(name).increment(many);
        });
    }

    /// A counter without labels that is kept elsewhere has come so far.
    pub(crate) fn count_to(&self, name: &'static str, so_far: u64) {
        self.record(|| {
            metrics::counter!(name).absolute(so_far);
        });
    }

    /// Sets a gauge that is too rare to keep a handle of.
    pub(crate) fn set(&self, name: &'static str, labels: Vec<Label>, value: f64) {
        self.record(|| {
            metrics::gauge!(name, labels).set(value);
        });
    }

    /// The labels of a target; a model nobody knows is `other`.
    pub(crate) fn target_labels(&self, target: &Target) -> Vec<Label> {
        let model = match target.model() {
            Some(model) if self.knows(model) => model.to_string(),
            Some(_) => OTHER.to_string(),
            None => String::new(),
        };
        vec![
            Label::new("gen_ai_provider_name", target.provider().to_string()),
            Label::new("gen_ai_response_model", model),
        ]
    }

    pub(super) fn series(&self, operation: Operation, target: Option<&Target>) -> Arc<Series> {
        let lock = || self.0.series.lock().unwrap_or_else(PoisonError::into_inner);
        // What is there under its own name is known.
        let key = (operation, target.cloned());
        if let Some(found) = lock().get(&key) {
            return found.clone();
        }
        let key = (operation, target.map(|target| self.bounded(target)));
        let mut series = lock();
        if let Some(found) = series.get(&key) {
            return found.clone();
        }
        let key = if series.len() < MAX_SERIES { key } else { (operation, None) };
        series.entry(key.clone()).or_insert_with(|| self.register(key.0, key.1.as_ref())).clone()
    }

    /// The target, with `other` for a model that nobody knows.
    pub(super) fn bounded(&self, target: &Target) -> Target {
        match target.model() {
            Some(model) if !self.knows(model) => {
                Target::new(target.provider().clone(), target.key().clone(), Some(OTHER.clone()))
            }
            _ => target.clone(),
        }
    }

    fn register(&self, operation: Operation, target: Option<&Target>) -> Arc<Series> {
        let mut labels = target.map(|target| self.target_labels(target)).unwrap_or_default();
        labels.push(Label::new("gen_ai_operation_name", operation.as_str()));
        let with = |name, value| {
            let mut labels = labels.clone();
            labels.push(Label::new(name, value));
            labels
        };
        self.record(|| {
            Arc::new(Series {
                requests: STATUS
                    .map(|status| metrics::counter!(names::REQUESTS, with("status", status))),
                duration: metrics::histogram!(names::DURATION, labels.clone()),
                first_token: metrics::histogram!(names::FIRST_TOKEN, labels.clone()),
                tokens: ["input", "cached", "cache_write", "output", "reasoning"].map(|class| {
                    metrics::counter!(names::TOKENS, with("gen_ai_token_type", class))
                }),
                estimated: metrics::counter!(names::ESTIMATED, labels.clone()),
                cost: metrics::counter!(names::COST, labels.clone()),
            })
        })
    }
}

impl Series {
    /// `None`: the client hung up before the reply's head.
    pub(super) fn request(&self, status: Option<http::StatusCode>) {
        let index = status.map_or(5, |status| usize::from(status.as_u16() / 100 - 1).min(4));
        self.requests[index].increment(1);
    }

    pub(super) fn usage(&self, usage: &Usage, cost: Option<Usd>) {
        let writes = usage.cache_write.saturating_add(usage.cache_write_1h);
        let counts = [usage.input, usage.cached, writes, usage.output, usage.reasoning];
        for (counter, count) in self.tokens.iter().zip(counts) {
            if count > 0 {
                counter.increment(count);
            }
        }
        if usage.is_estimate() {
            self.estimated.increment(1);
        }
        if let Some(cost) = cost {
            self.cost.increment(cost.nanos());
        }
    }
}

fn describe() {
    for metric in names::ALL {
        match metric.kind {
            Kind::Counter => metrics::describe_counter!(metric.name, metric.help),
            Kind::Gauge => metrics::describe_gauge!(metric.name, metric.help),
            Kind::Histogram(_) => metrics::describe_histogram!(metric.name, metric.help),
        }
    }
}
