use std::{
    collections::HashMap,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response};
use tokio::time::Instant;
use tollway_circuit_breaker::{CircuitOpen, Reason};
use tollway_core::{AtWork, BoxError, ErrorClass, Failure, Plan, Target, find_error};
use tollway_dialect::RequestBody;
use tollway_pace::Paced;
use tollway_retry::{
    Backoff, Budget, BudgetSettings, Classes, Config, Deadline, Jitter, RetryLayer, Settings,
};
use tower::timeout::Timeout;
use tower_layer::Layer;
use tower_service::Service;

use super::{StackError, keys, per_mille, routes::Decider, tell};
use crate::{
    policy,
    telemetry::{Exchange, Telemetry},
};

/// Told of every attempt after the first.
pub(super) type Hook = tell::Retries;

/// Sends held bodies again; a body that streams through is sent once.
#[derive(Clone, Debug)]
pub(super) struct Policy {
    windows: Arc<Windows>,
    decider: Decider,
}

/// How long prompts may be, by provider and model, in tokens.
type Windows = HashMap<Arc<str>, HashMap<Arc<str>, u64>>;

/// As far as the registry knows.
fn windows(policy: &policy::Policy) -> Windows {
    let mut windows = Windows::new();
    for provider in &policy.providers {
        let seller = provider.known.as_ref().unwrap_or(&provider.name);
        let models = policy.registry.models.iter().filter(|model| {
            model.provider == *seller || matches!(provider.endpoint, policy::Endpoint::Simulate(_))
        });
        let ours = windows.entry(provider.name.clone()).or_default();
        for model in models {
            let Some(window) = model.max_input_tokens.or(model.context_window) else { continue };
            for id in std::iter::once(&model.id).chain(&model.aliases) {
                ours.entry(id.clone()).or_insert(window);
            }
        }
    }
    windows
}

impl Policy {
    fn new(policy: &policy::Policy, decider: Decider) -> Self {
        Self { windows: Arc::new(windows(policy)), decider }
    }

    fn window(&self, target: &Target) -> Option<u64> {
        self.windows.get(target.provider())?.get(target.model()?).copied()
    }
}

impl<B, R> tollway_retry::Policy<RequestBody<B>, R> for Policy {
    fn clone_request(&self, request: &Request<RequestBody<B>>) -> Option<Request<RequestBody<B>>> {
        let body = request.body().try_clone()?;
        let mut copy = Request::new(body);
        *copy.method_mut() = request.method().clone();
        *copy.uri_mut() = request.uri().clone();
        *copy.version_mut() = request.version();
        *copy.headers_mut() = request.headers().clone();
        *copy.extensions_mut() = request.extensions().clone();
        Some(copy)
    }

    /// Asked after a failure: whoever was at work is done with it, and why it went there may be asked.
    /// For a caller who has left nobody else is asked.
    fn can_replay(&self, kept: &Request<RequestBody<B>>) -> bool {
        let known = kept.extensions();
        if let (Some(plan), Some(exchange)) = (known.get(), known.get::<Arc<Exchange>>()) {
            exchange.note_plan(plan);
        }
        kept.extensions().get::<AtWork>().is_none_or(|work| {
            work.end();
            !work.is_abandoned()
        })
    }

    /// What was learnt meanwhile counts: who is out by now is passed over, who is back is there, and
    /// who looked best may not any more.
    fn rescore(
        &self,
        kept: &Request<RequestBody<B>>,
        plan: &Plan,
        tried: &[Target],
    ) -> Option<Plan> {
        let exchange = kept.extensions().get::<Arc<Exchange>>();
        if let Some(exchange) = exchange {
            exchange.note_plan(plan);
        }
        let rest = self.decider.rescore(kept, plan, tried)?;
        if let Some(exchange) = exchange {
            exchange.note_rescored(&rest);
        }
        Some(rest)
    }

    /// What was too long for one model goes to a model with a larger window, or one whose window
    /// nobody knows.
    fn may_follow(&self, failed: &Target, class: ErrorClass, target: &Target) -> bool {
        if class != ErrorClass::ContextLength {
            return true;
        }
        match (self.window(failed), self.window(target)) {
            (Some(small), Some(window)) => window > small,
            _ => true,
        }
    }

    /// A refusal by our own breaker goes elsewhere at once, however soon the breaker might let
    /// something through: waiting for it would spend the attempts on a target known to be ill. So
    /// does one by pace; it was made because there is an elsewhere.
    fn classify(&self, outcome: &Result<Response<R>, BoxError>) -> Option<Failure> {
        match outcome {
            Err(error) if find_error::<CircuitOpen>(&**error).is_some() => {
                let class = match find_error::<CircuitOpen>(&**error).map(CircuitOpen::reason) {
                    // The key is out, with every model behind it.
                    Some(Reason::Benched(class) | Reason::Advised(Some(class))) => class,
                    _ => ErrorClass::Overloaded,
                };
                Some(Failure::new(class, "the circuit is open").that_never_fits())
            }
            Err(error) => match find_error::<Paced>(&**error) {
                Some(paced) => {
                    let failure = Failure::new(ErrorClass::RateLimit, "paced");
                    Some(failure.with_retry_after(Some(paced.retry_after().max(WORTH_LEAVING))))
                }
                None => tollway_retry::classify(outcome),
            },
            Ok(_) => tollway_retry::classify(outcome),
        }
    }
}

/// Longer than what a request stays at a target for where another is left (`stay_up_to`).
const WORTH_LEAVING: Duration = Duration::from_millis(1001);

/// Targets and keys of a route that a request goes through at most, where the policy says nothing of retry.
const FAILOVERS: u32 = 8;

/// Whether any route has somewhere else to go: another target, or another key.
fn can_fail_over(policy: &policy::Policy) -> bool {
    policy.routes.iter().any(|route| route.places().nth(1).is_some()) || keys::has_pool(policy)
}

/// Whether a request may be tried more than once.
pub(super) fn tries_again(policy: &policy::Policy) -> bool {
    policy.retry.is_some() || can_fail_over(policy)
}

/// A policy without a `retry` section tries each target of a route once, each key of a provider
/// counted, and waits for none.
pub(super) fn layer(
    policy: &policy::Policy,
    decider: &Decider,
    telemetry: &Telemetry,
    before: Option<&RetryLayer<Policy, Hook>>,
) -> Result<RetryLayer<Policy, Hook>, StackError> {
    let wrong = |error| StackError::new("retry", error);
    let hook = tell::retries(telemetry.clone());
    let asks = Policy::new(policy, decider.clone());
    let Some(retry) = &policy.retry else {
        let attempts = if can_fail_over(policy) { FAILOVERS } else { 1 };
        let once_each = Settings { attempts, attempts_per_target: Some(1), ..Settings::default() };
        let config = Config::new(once_each).map_err(wrong)?;
        return Ok(RetryLayer::builder(config).policy(asks).hook(hook).build());
    };
    let backoff = retry.backoff;
    let jitter = match backoff.jitter {
        policy::Jitter::None => Jitter::None,
        policy::Jitter::Share(share) => {
            Jitter::Proportional((per_mille(share) / 10).try_into().unwrap_or(100))
        }
        policy::Jitter::Full => Jitter::Full,
        policy::Jitter::Decorrelated => Jitter::Decorrelated,
    };
    let mut settings = Settings {
        attempts: retry.attempts.get(),
        attempts_per_target: None,
        backoff: Backoff::new(backoff.first, backoff.factor, backoff.max, jitter).map_err(wrong)?,
        obey_up_to: retry.obey_retry_after,
        ..Settings::default()
    };
    settings.stay_up_to = settings.stay_up_to.min(settings.obey_up_to);
    if let Some(on) = &retry.on {
        settings.retry_on = on.iter().copied().filter(|class| class.is_retryable()).collect();
        // A key that is of no use is no reason to fail where another one is there, whatever else
        // the policy has tried again.
        let of_the_key = [ErrorClass::Auth, ErrorClass::Quota];
        settings.fail_over_on = on
            .iter()
            .copied()
            .chain(of_the_key)
            .collect::<Classes>()
            .without(ErrorClass::Cancelled);
    }
    let budget = retry.budget.map(|budget| {
        let settings = BudgetSettings {
            percent: per_mille(budget.ratio).div_ceil(10),
            floor_per_second: budget.min_per_second,
            ..BudgetSettings::default()
        };
        match before.and_then(RetryLayer::budget) {
            Some(before) => before.under(settings, Instant::now()),
            None => Budget::new(settings),
        }
    });
    Ok(RetryLayer::builder(Config::new(settings).map_err(wrong)?)
        .policy(asks)
        .hook(hook)
        .budget(budget.transpose().map_err(wrong)?)
        .build())
}

/// Gives each request its [`Deadline`] and ends the wait for a reply's head there, whatever it is
/// that the request waits for: its own body, its turn at a limit, a provider.
#[derive(Clone, Copy, Debug)]
pub(super) struct DeadlineLayer(Duration);

impl DeadlineLayer {
    pub(super) fn new(time: Duration) -> Self {
        Self(time)
    }
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = WithDeadline<S>;

    fn layer(&self, inner: S) -> WithDeadline<S> {
        WithDeadline { inner: Timeout::new(inner, self.0), time: self.0 }
    }
}

/// Service of [`DeadlineLayer`].
#[derive(Clone, Debug)]
pub(super) struct WithDeadline<S> {
    inner: Timeout<S>,
    time: Duration,
}

impl<S, B> Service<Request<B>> for WithDeadline<S>
where
    S: Service<Request<B>>,
    S::Error: Into<BoxError>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = <Timeout<S> as Service<Request<B>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        request.extensions_mut().insert(Deadline(Instant::now() + self.time));
        self.inner.call(request)
    }
}
