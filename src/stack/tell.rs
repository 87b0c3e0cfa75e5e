//! What layers tell, turned into metrics.

use std::{collections::HashSet, sync::Arc};

use http::Request;
use metrics::Label;
use tollway_circuit_breaker as breaker;
use tollway_core::{ErrorClass, Hook, Plan, SystemClock, Target, WallClock};
use tollway_pace as pace;
use tollway_rate_limit as limit;
use tollway_store::ledger::{Pen, millis};

use super::{Circuit, Credential, keys, providers, shared_advice::Wake};
use crate::{
    alerts::Alerts,
    policy::{Policy, Tell},
    telemetry::{Exchange, Telemetry, is_told, names},
};

/// Metrics that name only models which the policy or the registry knows.
pub(super) fn telemetry(policy: &Policy) -> Telemetry {
    Telemetry::new(known_models(policy), policy.routing.decisions)
}

pub(super) fn known_models(policy: &Policy) -> impl Fn(&str) -> bool + Send + Sync + 'static {
    let mut known: HashSet<Box<str>> = HashSet::new();
    for model in &policy.registry.models {
        known.insert((&*model.id).into());
        known.extend(model.aliases.iter().map(|alias| (&**alias).into()));
    }
    let targets = policy.routes.iter().flat_map(|route| route.places());
    known.extend(targets.filter_map(|target| target.model.as_deref().map(Into::into)));
    let exact = policy.routes.iter().flat_map(|route| &route.matches.models);
    known.extend(exact.filter(|glob| glob.is_exact()).map(|glob| glob.as_str().into()));
    move |model| known.contains(model)
}

/// Refusals, waits and warnings of limits, and the alerts made of them; refusals into the ledger too.
pub(super) fn limits(
    telemetry: Telemetry,
    alerts: Alerts,
    pen: Option<Pen>,
) -> impl Hook<limit::Event> + Send + Sync + 'static {
    move |event: &limit::Event| {
        alerts.hear(event);
        let mut labels = vec![
            Label::new("limit", event.limit.to_string()),
            Label::new("unit", event.unit.as_str()),
        ];
        let name = match &event.kind {
            limit::EventKind::Refused { asked, available, .. } => {
                if let Some(pen) = &pen {
                    let key = event.key.to_string();
                    pen.refused(
                        &event.limit,
                        &key,
                        (*asked, *available),
                        millis(SystemClock.now()),
                    );
                }
                labels.push(Label::new("enforced", "true"));
                names::REFUSALS
            }
            limit::EventKind::WouldHaveRefused => {
                labels.push(Label::new("enforced", "false"));
                names::REFUSALS
            }
            limit::EventKind::StartedAnew => {
                tracing::info!(limit = &*event.limit, "a limit of another kind begins anew");
                return;
            }
            limit::EventKind::Waited(_) => names::LIMIT_WAITS,
            limit::EventKind::DecidedAlone => names::LIMIT_ALONE,
            limit::EventKind::Downgraded => names::LIMIT_DOWNGRADES,
            limit::EventKind::Warned { .. } => names::LIMIT_WARNINGS,
            _ => return,
        };
        telemetry.count(name, labels);
    }
}

/// Keys that are set aside, and those that work again.
pub(super) fn benches(
    telemetry: Telemetry,
    wake: Wake,
) -> impl Hook<breaker::Event<Credential>> + Send + Sync + 'static {
    move |event: &breaker::Event<Credential>| {
        wake_for(&event.kind, &wake);
        let at = &event.key;
        let (provider, key) = (&*at.provider, &*at.key);
        match &event.kind {
            breaker::EventKind::Benched { class, .. } if at.is_callers_own() => {
                tracing::info!(provider, %class, "a client's own key is set aside for that client");
                telemetry.count(names::KEY_BENCHED_TOTAL, key_labels(at, *class));
            }
            breaker::EventKind::Benched { class, bench_for } => {
                let until = providers::timestamp().checked_add(*bench_for).ok();
                let (reason, until) = (providers::in_words(*class), providers::date(until));
                tracing::warn!(provider, key, reason, until, "a provider's key is set aside");
                works(&telemetry, at);
                telemetry.set(names::KEY_BENCHED, key_labels(at, *class), 1.0);
                telemetry.count(names::KEY_BENCHED_TOTAL, key_labels(at, *class));
            }
            breaker::EventKind::Closed if !at.is_callers_own() => {
                tracing::info!(provider, key, "a provider's key works again");
                works(&telemetry, at);
            }
            breaker::EventKind::Advised { benched: Some(class), .. } => {
                works(&telemetry, at);
                telemetry.set(names::KEY_BENCHED, key_labels(at, *class), 1.0);
            }
            breaker::EventKind::Freed => works(&telemetry, at),
            breaker::EventKind::Refused { .. } => {
                let target = Target::new(at.provider.clone(), at.key.clone(), None);
                telemetry.count(names::BREAKER_REFUSED, telemetry.target_labels(&target));
            }
            _ => {}
        }
    }
}

/// Tells that no key of the policy is set aside.
pub(super) fn all_work(telemetry: &Telemetry, policy: &Policy) {
    for provider in &policy.providers {
        for (key, _) in keys::of(provider) {
            works(telemetry, &Credential::new(provider.name.clone(), key));
        }
    }
}

/// Tells that nobody guards a target any more.
pub(super) fn unguarded(telemetry: &Telemetry, target: &Target) {
    telemetry.set(names::BREAKER_STATE, telemetry.target_labels(target), 0.0);
}

pub(super) fn works(telemetry: &Telemetry, at: &Credential) {
    for class in [ErrorClass::Auth, ErrorClass::Quota].iter().filter(|_| !at.is_callers_own()) {
        telemetry.set(names::KEY_BENCHED, key_labels(at, *class), 0.0);
    }
}

fn key_labels(at: &Credential, class: ErrorClass) -> Vec<Label> {
    vec![
        Label::new("gen_ai_provider_name", at.provider.to_string()),
        Label::new("key", at.key.to_string()),
        Label::new("reason", class.as_str()),
    ]
}

/// States and refusals of breakers.
pub(super) fn breakers(
    telemetry: Telemetry,
    wake: Wake,
) -> impl Hook<breaker::Event<Circuit>> + Send + Sync + 'static {
    move |event: &breaker::Event<Circuit>| {
        wake_for(&event.kind, &wake);
        let target = &event.key.target;
        let labels = || telemetry.target_labels(target);
        let state = |value| telemetry.set(names::BREAKER_STATE, labels(), value);
        match &event.kind {
            breaker::EventKind::Opened { reason, .. } => {
                tracing::warn!(%target, %reason, "circuit breaker opened");
                opened(&telemetry, target, "failures");
                state(2.0);
            }
            breaker::EventKind::ForcedOpen => {
                tracing::warn!(%target, "circuit breaker opened by hand");
                state(2.0);
            }
            breaker::EventKind::HalfOpened | breaker::EventKind::Ramping { .. } => state(1.0),
            breaker::EventKind::Closed => {
                tracing::info!(%target, "circuit breaker closed");
                state(0.0);
            }
            breaker::EventKind::Advised { .. } => state(2.0),
            breaker::EventKind::Freed => state(0.0),
            breaker::EventKind::Refused { .. } => telemetry.count(names::BREAKER_REFUSED, labels()),
            _ => {}
        }
    }
}

/// What others should hear of at once.
fn wake_for(kind: &breaker::EventKind, wake: &Wake) {
    use breaker::EventKind::{Benched, Closed, ForcedOpen, Opened};
    if matches!(kind, Opened { .. } | Benched { .. } | ForcedOpen | Closed) {
        wake.up();
    }
}

/// Refusals and waits by what providers say, and the limits found.
pub(super) fn pacing(
    telemetry: Telemetry,
) -> impl Hook<pace::Event<Circuit>> + Send + Sync + 'static {
    move |event: &pace::Event<Circuit>| {
        let target = &event.key.target;
        let mut labels = telemetry.target_labels(target);
        let name = match event.kind {
            pace::EventKind::Refused { unit, .. } => {
                labels.push(Label::new("unit", unit.map_or("any", pace::Unit::as_str)));
                names::PACE_REFUSED
            }
            pace::EventKind::Waited(_) => names::PACE_WAITS,
            pace::EventKind::Blocked(_) => names::PROVIDER_REFUSALS,
            pace::EventKind::Found { unit, limit } => {
                tracing::info!(%target, key = &**target.key(), %unit, limit,
                    "a provider told a limit of its own");
                return;
            }
            _ => return,
        };
        telemetry.count(name, labels);
    }
}

fn opened(telemetry: &Telemetry, target: &Target, reason: &'static str) {
    let mut labels = telemetry.target_labels(target);
    labels.push(Label::new("reason", reason));
    telemetry.count(names::BREAKER_OPENED, labels);
}

/// Counts attempts after the first.
#[derive(Clone, Debug)]
pub(super) struct Retries(Telemetry);

pub(super) fn retries(telemetry: Telemetry) -> Retries {
    Retries(telemetry)
}

impl Hook<tollway_retry::Event> for Retries {
    fn on(&self, event: &tollway_retry::Event) {
        let (class, elsewhere) = match event {
            tollway_retry::Event::Retrying { class, .. } => (class, "false"),
            tollway_retry::Event::FailingOver { class, .. } => (class, "true"),
            tollway_retry::Event::BudgetEmpty { class, .. } => {
                tracing::warn!(%class, "the retry budget is empty: failures are handed on");
                return;
            }
            _ => return,
        };
        let labels =
            vec![Label::new("error_type", class.as_str()), Label::new("failover", elsewhere)];
        self.0.count(names::RETRIES, labels);
    }
}

/// Notes plans that are told: those chosen by more than order and turns, or all; and those that passed
/// somebody over. What every other request of a static route does is told by its target, and costs
/// nothing here.
pub(super) fn plans<B>(tell: Tell) -> impl Fn(Request<B>) -> Request<B> + Clone {
    move |request| {
        let known = request.extensions();
        let told = |plan: &&Plan| is_told(tell, plan) || !plan.rejected.is_empty();
        let plan = known.get::<Plan>().filter(told);
        if let (Some(plan), Some(exchange)) = (plan, known.get::<Arc<Exchange>>()) {
            exchange.note_plan(plan);
        }
        request
    }
}

/// Counts targets that should not be tried, by reason.
#[derive(Clone, Debug)]
pub(super) struct Routes(Telemetry);

pub(super) fn routes(telemetry: Telemetry) -> Routes {
    Routes(telemetry)
}

impl Hook<tollway_route::Event> for Routes {
    fn on(&self, event: &tollway_route::Event) {
        let plan = match event {
            tollway_route::Event::Routed(plan) => plan,
            tollway_route::Event::NoneAble(refusal) => refusal.plan(),
            _ => return,
        };
        for rejected in plan.rejected.iter() {
            let mut labels = self.0.target_labels(&rejected.target);
            labels.push(Label::new("route", plan.route.to_string()));
            labels.push(Label::new("reason", rejected.reason));
            self.0.count(names::PASSED_OVER, labels);
        }
    }
}
