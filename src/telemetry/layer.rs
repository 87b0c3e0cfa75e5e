use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{HeaderName, Method, Request, Response, StatusCode};
use http_body::Body;
use pin_project::pin_project;
use tokio::time::Instant;
use tollway_core::{
    Ask, AtWork, Caller, Ending, Guard, GuardedBody, Metered, Operation, Plan, SystemClock, Target,
    Usage, Usd, WallClock,
};
use tollway_retry::Attempts;
use tollway_store::ledger::{Decided, Id, Pen, Row, millis};
use tower_layer::Layer;
use tower_service::Service;

use super::{Decision, Exchange, Outcome, RequestId, Telemetry, familiar::Familiar, is_told};
use crate::policy::Tell;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-tollway-request-id");
const DECISION: HeaderName = HeaderName::from_static("x-tollway-decision");

/// The price of a usage at a target; `None` where it is unknown.
pub type Pricing = Arc<dyn Fn(&Target, &Usage) -> Option<Usd> + Send + Sync>;

/// The outermost layer: gives each request an id and an [`Exchange`], and writes one log line and
/// the metrics when its reply has ended, whichever way.
#[derive(Clone)]
pub struct ObserveLayer {
    telemetry: Telemetry,
    pricing: Pricing,
    tell: Tell,
    pen: Option<Pen>,
    familiar: Familiar,
}

impl fmt::Debug for ObserveLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObserveLayer").finish_non_exhaustive()
    }
}

impl ObserveLayer {
    /// Tells `telemetry`, with costs by `pricing`.
    pub fn new(telemetry: Telemetry, pricing: Pricing) -> Self {
        Self { telemetry, pricing, tell: Tell::Chosen, pen: None, familiar: Familiar::default() }
    }

    /// With a row of each request in a ledger.
    pub fn writing(self, pen: Option<Pen>) -> Self {
        Self { pen, ..self }
    }

    /// With the decision in a header of these replies, as far as plans are noted.
    pub fn telling(self, tell: Tell) -> Self {
        Self { tell, ..self }
    }
}

impl<S> Layer<S> for ObserveLayer {
    type Service = Observe<S>;

    fn layer(&self, inner: S) -> Observe<S> {
        let layer = Self { familiar: Familiar::default(), ..self.clone() };
        Observe { inner, layer: Arc::new(layer) }
    }
}

/// Service of [`ObserveLayer`].
#[derive(Clone, Debug)]
pub struct Observe<S> {
    inner: S,
    /// One count to take for each request, and not one that all workers share.
    layer: Arc<ObserveLayer>,
}

impl<S, B, R> Service<Request<B>> for Observe<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Body,
{
    type Response = Response<GuardedBody<R, Observed>>;
    type Error = S::Error;
    type Future = ObserveFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let at_work = request.extensions_mut().get_or_insert_default::<AtWork>().clone();
        let exchange = Arc::new(Exchange::new(RequestId::next(), Instant::now(), at_work));
        request.extensions_mut().insert(exchange.clone());
        self.layer.telemetry.in_flight().increment(1.0);
        let seen = Observed {
            layer: self.layer.clone(),
            exchange,
            method: request.method().clone(),
            reply: None,
            done: false,
        };
        ObserveFuture { inner: self.inner.call(request), seen: Some(seen) }
    }
}

/// Future of [`Observe`].
#[pin_project]
#[derive(Debug)]
pub struct ObserveFuture<F> {
    #[pin]
    inner: F,
    seen: Option<Observed>,
}

impl<F, R, E> Future for ObserveFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: Body,
{
    type Output = Result<Response<GuardedBody<R, Observed>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = ready!(this.inner.poll(cx));
        let mut seen = this.seen.take().expect("polled after it was ready");
        let mut reply = answer?;
        seen.head(&reply);
        reply.headers_mut().insert(REQUEST_ID, seen.exchange.id().header());
        let tell = seen.layer.tell;
        let told = |decision: &Decision| tell != Tell::Never && decision.is_told(tell);
        if let Some(decision) = seen.decision().filter(told) {
            reply.headers_mut().insert(DECISION, decision.header());
        }
        Poll::Ready(Ok(reply.map(|body| GuardedBody::new(body, seen))))
    }
}

/// Rides on a reply to its end, then tells.
pub struct Observed {
    layer: Arc<ObserveLayer>,
    exchange: Arc<Exchange>,
    method: Method,
    reply: Option<Reply>,
    done: bool,
}

struct Reply {
    status: StatusCode,
    target: Option<Target>,
    metered: Option<Metered>,
    attempts: Option<Attempts>,
}

impl fmt::Debug for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observed").field("exchange", &self.exchange).finish_non_exhaustive()
    }
}

impl Observed {
    fn head<R>(&mut self, reply: &Response<R>) {
        let facts = reply.extensions();
        // Of a request that was refused because nobody can serve it.
        if let Some(plan) = facts.get::<Plan>() {
            self.exchange.note_plan(plan);
        }
        let attempts = facts.get::<Attempts>().cloned();
        // Waits that Tollway chose to make are not its overhead.
        if attempts.as_ref().is_none_or(|attempts| attempts.len() <= 1)
            && !self.exchange.has_paused()
        {
            let own = self.exchange.started().elapsed();
            let own = own.saturating_sub(self.exchange.upstream_wait());
            self.layer.telemetry.overhead().record(own.as_secs_f64());
        }
        self.reply = Some(Reply {
            status: reply.status(),
            target: facts.get::<Target>().cloned(),
            metered: facts.get::<Metered>().cloned(),
            attempts,
        });
    }

    fn tell(&mut self, ending: Ending) {
        if std::mem::replace(&mut self.done, true) {
            return;
        }
        let ending = self.ending(ending);
        let elapsed = self.exchange.started().elapsed();
        let telemetry = &self.layer.telemetry;
        telemetry.in_flight().decrement(1.0);
        let operation = self.exchange.ask().map(|ask| ask.operation).unwrap_or_default();
        let reply = self.reply.as_ref();
        // Without a reply: whom the caller left at work.
        let abandoned = if reply.is_none() { self.exchange.at_work().target() } else { None };
        let target = reply.and_then(|reply| reply.target.as_ref()).or(abandoned.as_ref());
        let series = telemetry.series(operation, target);
        series.request(reply.map(|reply| reply.status));
        series.duration.record(elapsed.as_secs_f64());
        let asked = || Usage::new(self.input_tokens(), 0).estimated();
        let usage = match reply {
            Some(reply) => self.usage(operation, reply),
            None => abandoned.as_ref().filter(|_| operation.uses_tokens()).map(|_| asked()),
        };
        let cost = usage.and_then(|usage| target.and_then(|at| (self.layer.pricing)(at, &usage)));
        if let Some(usage) = &usage {
            series.usage(usage, cost);
        }
        let first_token = reply
            .and_then(|reply| reply.metered.as_ref()?.first_token())
            .map(|at| at.saturating_duration_since(self.exchange.started()));
        if let Some(time) = first_token {
            series.first_token.record(time.as_secs_f64());
        }
        let decision = self.decision();
        self.log(ending, elapsed, first_token, (usage, cost), decision.as_ref());
        if let Some(pen) = &self.layer.pen {
            pen.row(self.row(ending, (elapsed, first_token), (usage, cost), target));
        }
        if let Some(decision) = decision {
            let outcome = Outcome {
                request: self.exchange.id(),
                at: SystemClock.now(),
                user: self.exchange.caller().and_then(|caller| caller.user.clone()),
                model: self.exchange.ask().and_then(|ask| ask.model.clone()),
                status: self.reply.as_ref().map(|reply| reply.status.as_u16()),
                failed: ending == Ending::Failed,
                cost,
                first_token,
                whole: elapsed,
            };
            let answered = self.reply.as_ref().is_some_and(|reply| reply.status.is_success())
                && ending != Ending::Failed;
            let alone = decision.attempts.is_none() && !self.exchange.has_paused();
            let decision = Decision { outcome: Some(outcome), ..decision };
            // Of those that nobody replied to, nothing came of the choice.
            let replied = self.reply.as_ref().is_some_and(|reply| reply.target.is_some());
            if replied && decision.is_told(self.layer.tell) {
                telemetry.decided(&decision, answered, alone);
            }
            telemetry.decisions().push(decision);
        }
    }

    /// How it ended for the client: a stream that broke off is sent to its end all the same, with
    /// an error for its last event.
    fn ending(&self, ending: Ending) -> Ending {
        let broke = |reply: &Reply| {
            let failure = reply.metered.as_ref().and_then(|metered| metered.failure());
            reply.status.is_success() && failure.is_some()
        };
        match ending {
            // Whatever became of the reply that nobody waited for.
            _ if self.exchange.at_work().is_abandoned() => Ending::Dropped,
            Ending::Complete if self.reply.as_ref().is_some_and(broke) => Ending::Failed,
            ending => ending,
        }
    }

    /// The request as a ledger's row.
    fn row(
        &self,
        ending: Ending,
        (whole, first_token): (Duration, Option<Duration>),
        (usage, cost): (Option<Usage>, Option<Usd>),
        target: Option<&Target>,
    ) -> Row {
        let (exchange, reply) = (&self.exchange, self.reply.as_ref());
        let ask = exchange.ask();
        // There is a history only where there was more to it than one reply.
        let history = reply.and_then(|reply| reply.attempts.as_ref());
        let attempts = history.map_or(usize::from(target.is_some()), |all| all.len());
        let familiar = |name: Option<&Arc<str>>| name.map(|name| self.layer.familiar.name(name));
        let mut caller = exchange.caller().cloned().unwrap_or_default();
        caller.user = familiar(caller.user.as_ref());
        caller.key = familiar(caller.key.as_ref());
        Row {
            caller,
            operation: ask.map(|ask| ask.operation).unwrap_or_default().as_str().into(),
            asked_model: familiar(ask.and_then(|ask| ask.model.as_ref())),
            target: target.cloned(),
            usage,
            cost,
            status: reply.map(|reply| reply.status.as_u16()),
            attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
            whole,
            first_token,
            upstream: exchange.upstream_wait(),
            decision: exchange.plan().map(|plan| decided(plan, target)),
            ..Row::new(millis(SystemClock.now()), Id(exchange.id().bytes()), ending)
        }
    }

    /// What is known of the decision, where it is told or went another way than the first of a list.
    fn decision(&self) -> Option<Decision> {
        let plan = self.exchange.plan()?;
        let reply = self.reply.as_ref();
        let attempts = reply.and_then(|reply| reply.attempts.clone());
        let more = attempts.as_ref().is_some_and(|attempts| attempts.len() > 1);
        if !(more || !plan.rejected.is_empty() || is_told(self.layer.tell, plan)) {
            return None;
        }
        Some(Decision {
            rescored: self.exchange.rescored(),
            attempts,
            target: reply.and_then(|reply| reply.target.clone()).or_else(|| self.tried_last()),
            ..Decision::new(plan.clone())
        })
    }

    /// Who was asked last, where nobody replied.
    fn tried_last(&self) -> Option<Target> {
        let Some(reply) = &self.reply else { return self.exchange.at_work().target() };
        reply.attempts.iter().flat_map(|all| all.iter().rev()).find_map(|one| one.target.clone())
    }

    fn usage(&self, operation: Operation, reply: &Reply) -> Option<Usage> {
        let metered = reply.metered.as_ref()?;
        metered.used(operation, self.input_tokens(), reply.status.is_success())
    }

    fn input_tokens(&self) -> u64 {
        self.exchange.ask().map_or(0, |ask| ask.input_tokens)
    }

    fn log(
        &self,
        ending: Ending,
        elapsed: Duration,
        first_token: Option<Duration>,
        (usage, cost): (Option<Usage>, Option<Usd>),
        decision: Option<&Decision>,
    ) {
        if !tracing::enabled!(tracing::Level::INFO) {
            return;
        }
        let (caller, ask) = (self.exchange.caller(), self.exchange.ask());
        let reply = self.reply.as_ref();
        let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
        let chosen = decision.and_then(Decision::chosen);
        let failure = reply.and_then(|reply| reply.metered.as_ref()?.failure());
        let replied = reply.and_then(|reply| reply.target.as_ref());
        let tried = if replied.is_none() { self.tried_last() } else { None };
        let target = replied.or(tried.as_ref());
        tracing::info!(
            request_id = %self.exchange.id(),
            method = %self.method,
            operation = ask.map(|ask| ask.operation.as_str()),
            status = reply.map(|reply| reply.status.as_u16()),
            ending = match ending {
                Ending::Complete => "complete",
                Ending::Failed => "failed",
                Ending::Dropped => "client_left",
            },
            user = caller.and_then(|caller| caller.user.as_deref()),
            key = caller.and_then(|caller| caller.key.as_deref()),
            ip = caller.and_then(|caller| caller.ip).map(tracing::field::display),
            asked_model = ask.and_then(Ask::model),
            target = target.map(tracing::field::display),
            provider_key = target.map(|target| &**target.key()),
            stream = ask.map(|ask| ask.stream),
            attempts = reply
                .and_then(|reply| reply.attempts.as_ref())
                .filter(|attempts| attempts.len() > 1)
                .map(tracing::field::display),
            route = decision.map(|decision| &*decision.plan.route),
            rule = decision.and_then(|decision| decision.plan.rule.as_deref()),
            strategy = decision.map(|decision| decision.plan.strategy),
            arm = decision.and_then(Decision::arm).map(|arm| &**arm),
            reason = decision.map(Decision::reason),
            estimated_cost_usd = chosen.and_then(|one| one.cost).map(tracing::field::display),
            estimated_ms = chosen.and_then(|one| one.latency).map(milliseconds),
            input_tokens = usage.map(|usage| usage.input),
            cached_tokens = usage.map(|usage| usage.cached),
            output_tokens = usage.map(|usage| usage.output),
            reasoning_tokens = usage.map(|usage| usage.reasoning),
            usage_estimated = usage.filter(Usage::is_estimate).map(|_| true),
            cost_usd = cost.map(tracing::field::display),
            first_token_ms = first_token.map(milliseconds),
            total_ms = milliseconds(elapsed),
            upstream_wait_ms = milliseconds(self.exchange.upstream_wait()),
            failure = failure.map(|failure| tracing::field::debug(failure.message().to_owned())),
            "request"
        );
    }
}

fn decided(plan: &Plan, served: Option<&Target>) -> Decided {
    let by_target = |target: &Target| plan.candidates.iter().find(|one| one.target == *target);
    let chosen = served.and_then(by_target).or(plan.candidates.first());
    Decided {
        route: plan.route.clone(),
        rule: plan.rule.clone(),
        strategy: plan.strategy.into(),
        arm: chosen.and_then(|one| one.arm.clone()),
    }
}

impl Guard for Observed {
    fn ended(&mut self, ending: Ending) {
        self.tell(ending);
    }
}

impl Drop for Observed {
    /// The request was cancelled before its reply had a head.
    fn drop(&mut self) {
        self.tell(Ending::Dropped);
    }
}

/// Copies [`Caller`] and [`Ask`], once they are known, into the request's [`Exchange`].
#[derive(Clone, Copy, Debug, Default)]
pub struct NoteLayer;

impl<S> Layer<S> for NoteLayer {
    type Service = Note<S>;

    fn layer(&self, inner: S) -> Note<S> {
        Note { inner }
    }
}

/// Service of [`NoteLayer`].
#[derive(Clone, Debug)]
pub struct Note<S> {
    inner: S,
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for Note<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> S::Future {
        let known = request.extensions();
        if let Some(exchange) = known.get::<Arc<Exchange>>() {
            if let Some(caller) = known.get::<Caller>() {
                exchange.note_caller(caller);
            }
            if let Some(ask) = known.get::<Ask>() {
                exchange.note_ask(ask);
            }
        }
        self.inner.call(request)
    }
}
