use std::sync::Arc;

use http::{StatusCode, request, response};
use tollway_circuit_breaker::{
    ByFailure, CircuitBreakerLayer, Classify, Config, Judgement, SlowCalls, Verdict,
};
use tollway_core::{BoxError, Caller, Ending, Target, find_error};
use tollway_pace::Paced;

use super::{StackError, per_mille, tell};
use crate::{policy::Policy, telemetry::Telemetry};

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

/// The breaker layer of a stack.
pub(super) type Breakers = CircuitBreakerLayer<Circuit, KeyFn, Blame>;

/// [`ByFailure`], but a 403 benches nothing: it may be about one model, one prompt or one region,
/// and a caller who can bring one about must not shut out everybody else.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Blame;

impl Classify for Blame {
    type Ticket = <ByFailure as Classify>::Ticket;

    fn head(&self, reply: Result<&response::Parts, &BoxError>) -> Judgement<Self::Ticket> {
        match reply {
            Ok(head) if head.status == StatusCode::FORBIDDEN => Judgement::Now(Verdict::Ignore),
            // Not sent: nobody is to blame.
            Err(error) if find_error::<Paced>(&**error).is_some() => {
                Judgement::Now(Verdict::Ignore)
            }
            reply => ByFailure.head(reply),
        }
    }

    fn end(&self, ticket: Self::Ticket, ending: Ending) -> Verdict {
        ByFailure.end(ticket, ending)
    }
}

/// The key name of targets that get the client's own credential.
pub(super) const CALLERS_OWN: &str = "caller's own";

pub(super) fn by_target(request: &request::Parts) -> Option<Circuit> {
    let target = request.extensions.get::<Target>()?;
    let caller = || request.extensions.get::<Caller>()?.key.clone();
    let credential = if &**target.key() == CALLERS_OWN { caller() } else { None };
    Some(Circuit { target: target.clone(), credential })
}

/// A policy without a breaker guards nothing.
pub(super) fn layer(policy: &Policy, telemetry: &Telemetry) -> Result<Breakers, StackError> {
    let key: KeyFn = if policy.circuit_breaker.is_some() { by_target } else { |_| None };
    let layer = CircuitBreakerLayer::new(config(policy), key)
        .map_err(|error| StackError::new("circuit_breaker", error))?;
    Ok(layer
        .with_classifier(Blame)
        .with_bench_together(|a: &Circuit, b: &Circuit| {
            a.target.provider() == b.target.provider()
                && a.target.key() == b.target.key()
                && a.credential == b.credential
        })
        .with_hook(tell::breakers(telemetry.clone())))
}

fn config(policy: &Policy) -> Config {
    let Some(breaker) = &policy.circuit_breaker else { return Config::default() };
    let mut config = Config {
        consecutive_failures: Some(breaker.open_after.get()),
        open_for: breaker.recover_after,
        open_growth: per_mille(breaker.recover_factor),
        max_open_for: breaker.recover_max,
        trial_requests: breaker.trial_requests.get(),
        trial_successes: breaker.trial_requests.get(),
        ramp: breaker.ramp,
        bench_for: breaker.recover_after,
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
