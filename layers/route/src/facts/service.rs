use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Extensions, Request, Response, response};
use http_body::Body;
use tokio::time::Instant;
use tollway_core::{
    Ask, BoxError, Caller, Ending, ErrorClass, Failure, Guard, GuardedBody, Metered, Operation,
    Target,
};
use tower_service::Service;

use super::{
    Classify, CostOf, Outcome, ResponseFuture, Slot, Trip, Verdict, classify::is_callers_own,
    layer::Parts,
};

/// The service that [`TrackLayer`](super::TrackLayer) makes.
pub struct TrackService<S, C, P> {
    inner: S,
    parts: Arc<Parts<C, P>>,
}

impl<S, C, P> TrackService<S, C, P> {
    pub(super) fn new(inner: S, parts: Arc<Parts<C, P>>) -> Self {
        Self { inner, parts }
    }
}

impl<S: Clone, C, P> Clone for TrackService<S, C, P> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), parts: self.parts.clone() }
    }
}

impl<S: fmt::Debug, C, P> fmt::Debug for TrackService<S, C, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrackService").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<S, C, P, B, R> Service<Request<B>> for TrackService<S, C, P>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: Into<BoxError>,
    C: Classify,
    P: CostOf,
    R: Body,
{
    type Response = Response<GuardedBody<R, Tracked<C, P>>>;
    type Error = BoxError;
    type Future = ResponseFuture<S::Future, C, P>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The trip has begun before the inner service runs, so that a panic there ends it.
        let tracked = Tracked::begin(&self.parts, request.extensions());
        ResponseFuture::new(self.inner.call(request), tracked)
    }
}

/// One request's trip, from `call` to the reply's end. Rides in the body; nothing to be done with
/// it by hand.
pub struct Tracked<C, P>(Option<Live<C, P>>);

/// A trip not over yet. Dropped, it counts for nothing.
struct Live<C, P> {
    parts: Arc<Parts<C, P>>,
    trip: Trip,
    operation: Operation,
    input_tokens: u64,
    meter: Option<Metered>,
    /// The credential is not the proxy's, by what the head says.
    callers_own: bool,
}

impl<C, P> fmt::Debug for Tracked<C, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracked").field("open", &self.0.is_some()).finish()
    }
}

impl<C: Classify, P: CostOf> Tracked<C, P> {
    fn begin(parts: &Arc<Parts<C, P>>, request: &Extensions) -> Self {
        let slot = request.get::<Target>().and_then(|target| parts.tracker.tracked(target));
        let (operation, input_tokens) = match request.get::<Ask>() {
            Some(ask) => (ask.operation, ask.input_tokens),
            None => (Operation::Other, 0),
        };
        let begin = |slot: Arc<Slot>| {
            let mut trip = slot.begin(Instant::now());
            if let Some(ask) = request.get::<Ask>() {
                trip.asked_by(request.get::<Caller>(), ask);
            }
            trip
        };
        Self(slot.map(|slot| Live {
            parts: parts.clone(),
            trip: begin(slot),
            operation,
            input_tokens,
            meter: None,
            callers_own: false,
        }))
    }

    /// The head has come, or an error in its stead.
    pub(super) fn head(&mut self, reply: Result<&response::Parts, &BoxError>) {
        let Some(live) = &mut self.0 else { return };
        match (live.parts.classify.classify(reply), reply) {
            (Verdict::Success, Ok(head)) => {
                live.meter = head.extensions.get().cloned();
                live.callers_own = is_callers_own(ErrorClass::Auth, head);
            }
            (Verdict::Failure(class), _) => self.settle(|_| Some(Outcome::failure(class))),
            (Verdict::Success | Verdict::Ignore, _) => self.0 = None,
        }
    }

    pub(super) fn take(&mut self) -> Self {
        Self(self.0.take())
    }

    fn settle(&mut self, outcome: impl FnOnce(&Live<C, P>) -> Option<Outcome>) {
        let Some(mut live) = self.0.take() else { return };
        let Some(outcome) = outcome(&live) else { return };
        if let Some(first_token) = live.meter.as_ref().and_then(|meter| meter.first_token()) {
            live.trip.first_token(first_token);
        }
        live.trip.end(Instant::now(), outcome);
    }
}

impl<C, P: CostOf> Live<C, P> {
    /// What became of it; `None`: nobody can tell.
    fn outcome(&self, ending: Ending) -> Option<Outcome> {
        let failure = self.meter.as_ref().and_then(|meter| meter.failure());
        match (failure.map(Failure::class), ending) {
            (Some(ErrorClass::Auth | ErrorClass::Quota), _) if self.callers_own => None,
            // Even if the client left on seeing it.
            (Some(class), _) => Some(Outcome::failure(class)),
            (None, Ending::Failed) => Some(Outcome::failure(ErrorClass::Network)),
            (None, Ending::Dropped) => None,
            (None, Ending::Complete) => {
                let used = |meter: &Metered| meter.used(self.operation, self.input_tokens, true);
                let usage = self.meter.as_ref().and_then(used);
                let target = self.trip.slot().target();
                let cost = usage.and_then(|usage| self.parts.cost.cost_of(target, &usage));
                Some(Outcome { usage, cost, ..Outcome::success() })
            }
        }
    }
}

impl<C: Classify, P: CostOf> Guard for Tracked<C, P> {
    fn ended(&mut self, ending: Ending) {
        self.settle(|live| live.outcome(ending));
    }
}
