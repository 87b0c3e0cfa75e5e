use std::sync::Arc;

use http::{StatusCode, request, response};
use tollway_circuit_breaker::{
    ByFailure, CircuitBreakerLayer, Classify, Config, Judgement, SlowCalls, Verdict,
};
use tollway_core::{BoxError, Ending, ErrorClass, Failure, Target, find_error};
use tollway_pace::Paced;

use super::{
    StackError,
    keys::{self, Credential, Guarded},
    per_mille,
    shared_advice::Wake,
    tell,
};
use crate::{
    policy::{Bench, Policy},
    telemetry::Telemetry,
};

/// What one breaker guards: a target, and with providers that get the client's own credential,
/// one client's use of it, so that nobody's bad key shuts out others.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Circuit {
    /// Provider, key and model.
    pub target: Target,
    /// The client's own credential, hashed, where it goes upstream.
    pub credential: Option<Arc<str>>,
}

impl Circuit {
    /// The circuit of a target with the policy's own credential.
    pub fn of(target: &Target) -> Self {
        Self { target: target.clone(), credential: None }
    }
}

/// A plain function, so that the layer's type has a name.
type KeyFn = fn(&request::Parts) -> Option<Circuit>;

/// The breaker layer of a stack: the health of each target.
pub(super) type Breakers = CircuitBreakerLayer<Circuit, KeyFn, Health>;

/// The layer in front of it: keys that are set aside, whatever the model.
pub(super) type Benches = CircuitBreakerLayer<Credential, Guarded, Blame>;

/// [`ByFailure`], but a refused or empty key says nothing of the target's health: it is set aside
/// by itself, for models too that nobody has asked it for yet.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Health;

impl Classify for Health {
    type Ticket = <ByFailure as Classify>::Ticket;

    fn head(&self, reply: Result<&response::Parts, &BoxError>) -> Judgement<Self::Ticket> {
        match ByFailure.head(reply) {
            Judgement::Now(verdict) => Judgement::Now(Self::of(verdict)),
            later => later,
        }
    }

    fn end(&self, ticket: Self::Ticket, ending: Ending) -> Verdict {
        Self::of(ByFailure.end(ticket, ending))
    }
}

impl Health {
    fn of(verdict: Verdict) -> Verdict {
        if let Verdict::Bench { .. } = verdict { Verdict::Ignore } else { verdict }
    }
}

/// Which key is of no use, and for how long: only what [`ByFailure`] benches for counts.
///
/// A 403 benches nothing, unless it says that the account is out: it may be about one model, one
/// prompt or one region, and a caller who can bring one about must not shut out everybody else.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blame(Bench);

impl Classify for Blame {
    type Ticket = <ByFailure as Classify>::Ticket;

    fn head(&self, reply: Result<&response::Parts, &BoxError>) -> Judgement<Self::Ticket> {
        match reply {
            Ok(head) if head.status == StatusCode::FORBIDDEN && !is_out(head) => {
                Judgement::Now(Verdict::Ignore)
            }
            // Not sent: nobody is to blame.
            Err(error) if find_error::<Paced>(&**error).is_some() => {
                Judgement::Now(Verdict::Ignore)
            }
            reply => match ByFailure.head(reply) {
                Judgement::Now(verdict) => Judgement::Now(self.of(verdict)),
                later => later,
            },
        }
    }

    fn end(&self, ticket: Self::Ticket, ending: Ending) -> Verdict {
        self.of(ByFailure.end(ticket, ending))
    }
}

impl Blame {
    fn of(&self, verdict: Verdict) -> Verdict {
        match verdict {
            Verdict::Success => Verdict::Success,
            Verdict::Bench { class, .. } => {
                let time = if class == ErrorClass::Quota { self.0.quota } else { self.0.auth };
                Verdict::Bench { class, bench_for: Some(time) }
            }
            Verdict::Failure(_) | Verdict::Ignore => Verdict::Ignore,
        }
    }
}

fn is_out(head: &response::Parts) -> bool {
    head.extensions.get::<Failure>().is_some_and(|failure| failure.class() == ErrorClass::Quota)
}

pub(super) fn by_target(request: &request::Parts) -> Option<Circuit> {
    let target = request.extensions.get::<Target>()?;
    let credential = keys::callers_own(target, &request.extensions);
    Some(Circuit { target: target.clone(), credential })
}

/// A policy without a breaker guards no target.
pub(super) fn layer(
    policy: &Policy,
    telemetry: &Telemetry,
    wake: Wake,
) -> Result<Breakers, StackError> {
    let key: KeyFn = if policy.circuit_breaker.is_some() { by_target } else { |_| None };
    let layer = CircuitBreakerLayer::new(config(policy), key)
        .map_err(|error| StackError::new("circuit_breaker", error))?;
    Ok(layer.with_classifier(Health).with_hook(tell::breakers(telemetry.clone(), wake)))
}

/// Keys are set aside where the policy has a breaker, and where others are there to take over.
/// After the time one request tries again.
pub(super) fn benches(
    policy: &Policy,
    telemetry: &Telemetry,
    wake: Wake,
) -> Result<Benches, StackError> {
    let bench = policy.circuit_breaker.as_ref().map(|breaker| breaker.bench).unwrap_or_default();
    let config = Config {
        consecutive_failures: None,
        trial_requests: 1,
        trial_successes: 1,
        advice_for: bench.auth.max(bench.quota),
        ..Config::default()
    };
    let layer = CircuitBreakerLayer::new(config, |_: &request::Parts| None::<Credential>)
        .map_err(|error| StackError::new("circuit_breaker.bench", error))?;
    Ok(layer
        .with_key(Guarded::new(policy))
        .with_classifier(Blame(bench))
        .with_hook(tell::benches(telemetry.clone(), wake)))
}

fn config(policy: &Policy) -> Config {
    let Some(breaker) = &policy.circuit_breaker else { return Config::default() };
    let mut config = Config {
        consecutive_failures: Some(breaker.open_after.get()),
        open_for: breaker.recover_after,
        open_growth: per_mille(breaker.recover_factor),
        max_open_for: breaker.recover_max,
        // Another's word weighs no more than a first finding of its own.
        advice_for: breaker.recover_after,
        trial_requests: breaker.trial_requests.get(),
        trial_successes: breaker.trial_requests.get(),
        ramp: breaker.ramp,
        ..Config::default()
    };
    for (class, weight) in &breaker.weights {
        let weights = std::mem::take(&mut config.weights);
        config.weights = weights.with(*class, per_mille(*weight));
    }
    if let Some(trip) = &breaker.failure_ratio {
        config.failure_ratio = Some(per_mille(trip.ratio));
        config.window = trip.window;
        config.min_calls = trip.min_calls.get();
    }
    if let Some(trip) = &breaker.slow_calls {
        let ratio = per_mille(trip.ratio);
        config.slow_calls = Some(SlowCalls { longer_than: trip.slower_than, ratio });
        config.window = trip.window;
        config.min_calls = trip.min_calls.get();
    }
    config
}
