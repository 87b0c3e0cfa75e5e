use std::{cell::LazyCell, sync::Arc, time::Duration};

use http::{Request, request, response};
use tollway_core::{Ask, ErrorClass, Failure, Operation, Plan, SystemClock, Target, WallClock};
use tollway_dialect::ratelimit::{RateLimits, Window};
use tollway_pace::{Config, PaceHandle, PaceLayer, Reading, Told, Unit, Waited, Weights};

use super::{Circuit, StackError, breaker::by_target, keys::CALLERS_OWN, limits::BySpending, tell};
use crate::{
    policy::{self, Policy},
    telemetry::{Exchange, Telemetry},
};

/// Paces attempts by what their providers say; a policy without pacing paces nothing.
pub(super) fn layer(
    policy: &Policy,
    settle: BySpending,
    telemetry: &Telemetry,
) -> Result<PaceLayer<Circuit>, StackError> {
    let wrong = |error| StackError::new("pacing", error);
    let Some(policy::Pacing { wait }) = policy.pacing else {
        return PaceLayer::new(Config::default(), |_| None, reading).map_err(wrong);
    };
    Ok(PaceLayer::new(Config::default(), key, reading)
        .map_err(wrong)?
        .with_weights(move |request| {
            let (input, output) = settle.tokens(request);
            Weights::tokens(input, output)
        })
        .with_patience(move |request| patience(request, wait))
        .with_hook(tell::pacing(telemetry.clone())))
}

/// A provider's key and model. Where the client's own credential goes through, limits are that
/// credential's; of one that isn't known nobody can say whose they are. What a prompt would count
/// is asked under limits of its own, told by the same headers.
fn key(request: &request::Parts) -> Option<Circuit> {
    if request.extensions.get::<Ask>()?.operation == Operation::CountTokens {
        return None;
    }
    let own =
        |circuit: &Circuit| &**circuit.target.key() != CALLERS_OWN || circuit.credential.is_some();
    by_target(request).filter(own)
}

/// Elsewhere comes before waiting: only at a plan's last target does a request stand in line.
fn patience(request: &request::Parts, wait: Duration) -> Duration {
    let plan = request.extensions.get::<Plan>();
    let last = plan.and_then(|plan| plan.candidates.last()).map(|last| &last.target);
    if last.is_none_or(|last| Some(last) == request.extensions.get()) {
        wait
    } else {
        Duration::ZERO
    }
}

fn reading(head: &response::Parts) -> Reading {
    let limits = RateLimits::from_headers(&head.headers);
    // Few replies need the date.
    let now = LazyCell::new(|| SystemClock.now());
    let told = |window: Window| Told {
        limit: window.limit,
        remaining: window.remaining,
        reset: window.reset.map(|reset| reset.after(*now)),
    };
    // Both bind; the one that has less left binds first.
    let tokens = [limits.tokens, limits.project_tokens].into_iter().flatten();
    let tokens = tokens.min_by_key(|window| window.remaining.unwrap_or(u64::MAX));
    let failure = head.extensions.get::<Failure>();
    let refusal = failure.filter(|failure| failure.class() == ErrorClass::RateLimit);
    Reading::default()
        .with(Unit::Requests, limits.requests.map(told))
        .with(Unit::Tokens, tokens.map(told))
        .with(Unit::InputTokens, limits.input_tokens.map(told))
        .with(Unit::OutputTokens, limits.output_tokens.map(told))
        .with_block(refusal.and_then(Failure::retry_after))
}

/// Whether a target would take a request of next to no tokens at once.
pub(super) fn has_room(pace: &PaceHandle<Circuit>, target: &Target) -> bool {
    pace.would_admit(&Circuit::of(target), &Weights::tokens(1, 1))
}

/// Time in line is not the proxy's own.
pub(super) fn note_wait<B>(request: Request<B>) -> Request<B> {
    let extensions = request.extensions();
    if let (Some(exchange), Some(Waited)) = (extensions.get::<Arc<Exchange>>(), extensions.get()) {
        exchange.pause();
    }
    request
}
