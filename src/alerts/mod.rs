//! What must not go unseen: a budget that is nearly spent, that is spent, and that is there again.
//!
//! Limits tell what happens at them; here it is told to people, once for each limit, key, period
//! and level: in the log, by a metric, and to a webhook where the policy names one.

mod alert;
mod told;
mod webhook;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, UNIX_EPOCH},
};

use metrics::Label;
use tokio::sync::mpsc;
use tollway_core::WallClock;
use tollway_rate_limit::{Event, EventKind, Unit, Zone, span};

pub use alert::{Alert, Level, Span};
pub use webhook::WebhookError;

use self::{
    told::{Seen, Told},
    webhook::Webhook,
};
use crate::{
    policy::{self, Policy, Shape},
    telemetry::{Telemetry, names},
};

/// Alerts that wait for the webhook.
const QUEUE: usize = 1024;
/// How often it is looked whether a period has ended.
const TICK: Duration = Duration::from_secs(1);

/// Limits whose alerts are told, and what was told already. Clones share the latter.
#[derive(Clone)]
pub struct Alerts {
    /// By the rule's name.
    watched: Arc<HashMap<Arc<str>, Watched>>,
    again: Duration,
    webhook: Option<Arc<Webhook>>,
    shared: Arc<Shared>,
}

struct Watched {
    /// `None`: no calendar's.
    period: Option<tollway_rate_limit::Calendar>,
}

struct Shared {
    telemetry: Telemetry,
    clock: Box<dyn WallClock>,
    told: Mutex<Told>,
    queue: mpsc::Sender<Alert>,
    /// Until somebody runs it.
    waiting: Mutex<Option<mpsc::Receiver<Alert>>>,
    webhook: Mutex<Option<Arc<Webhook>>>,
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Alerts {
    /// Alerts of every limit of the policy that has a mark to warn at; `name` is what each quota of
    /// it is called in events.
    ///
    /// # Errors
    ///
    /// The webhook can't be reached as the policy says.
    pub fn new(
        policy: &Policy,
        name: impl Fn(&policy::Limit, &policy::Quota) -> Arc<str>,
        telemetry: Telemetry,
        clock: impl WallClock + 'static,
    ) -> Result<Self, WebhookError> {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let shared = Shared {
            telemetry,
            clock: Box::new(clock),
            told: Mutex::default(),
            queue,
            waiting: Mutex::new(Some(waiting)),
            webhook: Mutex::default(),
        };
        let (watched, again, shared) = (Arc::default(), Duration::ZERO, Arc::new(shared));
        let alerts = Self { watched, again, webhook: None, shared }.next(policy, name)?;
        alerts.take_over();
        Ok(alerts)
    }

    /// The alerts of another policy, which know what these told. Their webhook is called once they
    /// [take over](Self::take_over).
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn next(
        &self,
        policy: &Policy,
        name: impl Fn(&policy::Limit, &policy::Quota) -> Arc<str>,
    ) -> Result<Self, WebhookError> {
        let webhook = policy.alerts.webhook.as_ref().map(Webhook::new).transpose()?;
        let zone = Zone::new(policy.time_zone.clone());
        let mut watched = HashMap::new();
        for limit in &policy.limits {
            for quota in limit.quotas.iter().filter(|quota| limit.warns_at(quota).is_some()) {
                let period = match quota.shape {
                    Shape::Calendar(period) => Some(match period {
                        policy::Period::Hour => tollway_rate_limit::Period::Hour.of(zone),
                        policy::Period::Day => tollway_rate_limit::Period::Day.of(zone),
                        policy::Period::Month => tollway_rate_limit::Period::Month.of(zone),
                    }),
                    _ => None,
                };
                watched.insert(name(limit, quota), Watched { period });
            }
        }
        let (again, webhook) = (policy.alerts.again, webhook.map(Arc::new));
        Ok(Self { watched: Arc::new(watched), again, webhook, shared: self.shared.clone() })
    }

    /// From now on it is their webhook that is called, also for what waits already.
    pub fn take_over(&self) {
        (*lock(&self.shared.webhook)).clone_from(&self.webhook);
    }

    /// Hears what happens at limits. Quick where there is nothing new to tell; never waits.
    pub fn hear(&self, event: &Event) {
        let Some(watched) = self.watched.get(&event.limit) else { return };
        let (level, figures) = match event.kind {
            EventKind::Warned { used, capacity } => (Level::Warning, Some((used, capacity))),
            EventKind::Filled { used, capacity } => (Level::Critical, Some((used, capacity))),
            EventKind::Refused { never_fits: false, .. }
            | EventKind::WouldHaveRefused
            | EventKind::Downgraded => (Level::Critical, None),
            _ => return,
        };
        let now = self.now();
        let mut told = lock(&self.shared.told);
        let over = told.over(now);
        let seen = Seen { limit: &event.limit, key: &event.key, unit: event.unit };
        let ends = |now| match watched.period {
            Some(period) => (span(period, now), true),
            None => ((now, now.saturating_add(nanos(self.again))), false),
        };
        let new = told.tell(seen, level, figures, now, ends);
        drop(told);
        over.into_iter().chain(new).for_each(|alert| self.shared.tell(alert));
    }

    /// Tells that periods have ended, and calls the webhook: for ever, or until it is dropped.
    pub async fn run(self) {
        let Some(waiting) = lock(&self.shared.waiting).take() else { return };
        let calls = webhook::run(waiting, |alert| {
            let webhook = lock(&self.shared.webhook).clone();
            let shared = self.shared.clone();
            async move {
                if let Some(webhook) = webhook {
                    shared.delivered(&alert.id, webhook.deliver(&alert, &*shared.clock).await);
                }
            }
        });
        let periods = async {
            loop {
                tokio::time::sleep(TICK).await;
                let over = lock(&self.shared.told).over(self.now());
                over.into_iter().for_each(|alert| self.shared.tell(alert));
            }
        };
        tokio::join!(calls, periods);
    }

    fn now(&self) -> u64 {
        nanos(self.shared.clock.now().duration_since(UNIX_EPOCH).unwrap_or_default())
    }
}

impl Shared {
    fn tell(&self, alert: Alert) {
        let (limit, key, unit) = (&*alert.limit, &*alert.key, Unit::as_str(alert.unit));
        let text = alert.text();
        match alert.level {
            Level::Info => tracing::info!(limit, key, unit, id = alert.id, "{text}"),
            Level::Warning => tracing::warn!(limit, key, unit, id = alert.id, "{text}"),
            Level::Critical => tracing::error!(limit, key, unit, id = alert.id, "{text}"),
        }
        let labels = vec![
            Label::new("level", alert.level.as_str()),
            Label::new("limit", alert.limit.to_string()),
        ];
        self.telemetry.count(names::ALERTS, labels);
        if lock(&self.webhook).is_some() && self.queue.try_send(alert).is_err() {
            self.outcome("dropped");
            tracing::warn!("an alert did not go to the webhook: too many wait for it");
        }
    }

    fn delivered(&self, id: &str, outcome: Result<(), String>) {
        match outcome {
            Ok(()) => self.outcome("delivered"),
            Err(why) => {
                tracing::error!(
                    id,
                    why,
                    "an alert could not be brought to the webhook and is given up"
                );
                self.outcome("given_up");
            }
        }
    }

    fn outcome(&self, outcome: &'static str) {
        self.telemetry.count(names::ALERT_CALLS, vec![Label::new("outcome", outcome)]);
    }
}

impl fmt::Debug for Alerts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limits: Vec<_> = self.watched.keys().collect();
        f.debug_struct("Alerts").field("limits", &limits).finish_non_exhaustive()
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
