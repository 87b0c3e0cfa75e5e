use std::{
    collections::HashMap,
    convert::Infallible,
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{Request, Response};
use tollway_core::{BoxError, GuardedBody, SystemClock, WallClock};
use tollway_cost::{CostLayer, PriceBook};
use tollway_dialect::{AttemptLayer, InspectLayer, translate::TranslateLayer};
use tollway_identify::IdentifyLayer;
use tollway_pace::PaceLayer;
use tollway_rate_limit::RateLimitLayer;
use tollway_retry::RetryLayer;
use tollway_route::{
    RouteLayer,
    facts::{ByFailure, TrackLayer},
};
use tower::ServiceBuilder;
use tower_http::body::UnsyncBoxBody;
use tower_http::catch_panic::CatchPanicLayer;
use tower_service::Service;

use super::{
    Facts, RuntimeKey, StackError,
    aliases::Aliases,
    availability::Availability,
    breaker, callers,
    carried::{Carried, InUse},
    downgrade::DowngradeLayer,
    estimate::Estimates,
    fits,
    hangup::{HangupBody, HangupLayer},
    keys::Accounts,
    ledger, limits,
    models::ModelsLayer,
    pace,
    prices::Prices,
    quotes::Quotes,
    rehearse::RehearseLayer,
    rescue, retry,
    routes::{self, Decider},
    shared::{Shared, SharedLayer},
    signals::Reads,
    stores::Stores,
    tell,
    tokens::InputTokens,
    upstream::{self, Pools},
};
use crate::{
    alerts::Alerts,
    policy::{OnHangup, Policy},
    server::RequestBody,
    simulate::Simulator,
    telemetry::{NoteLayer, ObserveLayer, Observed, Telemetry},
    upstream::remove_hop_by_hop,
};

/// A policy's layers, with all their state. Services made from it share that state.
pub struct Stack {
    pub(super) policy: Arc<Policy>,
    pub(super) alerts: Alerts,
    pub(super) telemetry: Telemetry,
    observe: ObserveLayer,
    pub(super) identify: IdentifyLayer,
    pub(super) inspect: InspectLayer,
    pub(super) input_tokens: InputTokens,
    pub(super) models: ModelsLayer,
    pub(super) cost: CostLayer<PriceBook, InputTokens>,
    pub(super) request_limits: RateLimitLayer<limits::BySpending>,
    pub(super) decider: Decider,
    route: RouteLayer<Availability, routes::Hook, Reads>,
    retry: RetryLayer<retry::Policy, retry::Hook>,
    pub(super) benches: breaker::Benches,
    pub(super) breakers: breaker::Breakers,
    pub(super) pace: PaceLayer<breaker::Circuit>,
    pub(super) attempt_limits: RateLimitLayer<limits::BySpending>,
    pub(super) track: TrackLayer<ByFailure, routes::Costs>,
    translate: TranslateLayer,
    attempt: AttemptLayer,
    pub(super) simulators: HashMap<Arc<str>, Simulator>,
    pub(super) tls: upstream::Tls,
    pub(super) estimates: Arc<Estimates>,
    in_use: Arc<InUse>,
    pub(super) stores: Stores,
    pub(super) since: SystemTime,
}

impl std::fmt::Debug for Stack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stack").finish_non_exhaustive()
    }
}

/// A reply's body as it leaves the stack.
pub(super) type ReplyBody =
    HangupBody<GuardedBody<UnsyncBoxBody<bytes::Bytes, BoxError>, Observed>>;

impl Stack {
    /// Builds every layer of the policy, or says which part can't be. It keeps no ledger, and opens no
    /// store: [`open`](Self::open) does.
    pub fn new(policy: &Policy) -> Result<Self, StackError> {
        Self::knowing(policy, None)
    }

    /// The same with the policy's stores. Blocks for as long as it takes to open them.
    pub fn open(policy: &Policy) -> Result<Self, StackError> {
        let telemetry = tell::telemetry(policy);
        let stores = Stores::open(policy, &telemetry)?;
        let stack = Self::begun(policy, None, (telemetry, stores))?;
        stack.follow_quotas();
        stack.follow_resets();
        Ok(stack)
    }

    /// The same, where decisions go by these figures, if any, and not by what its own traffic shows.
    pub fn knowing(policy: &Policy, facts: Option<Facts>) -> Result<Self, StackError> {
        Self::begun(policy, facts, (tell::telemetry(policy), Stores::default()))
    }

    fn begun(
        policy: &Policy,
        facts: Option<Facts>,
        with: (Telemetry, Stores),
    ) -> Result<Self, StackError> {
        let stack = Self::built(policy, facts, with, None)?;
        tell::all_work(&stack.telemetry, &stack.policy);
        if let Some(books) = &stack.stores.ledger {
            ledger::restore(books, policy, stack.totals());
        }
        stack.count_limits();
        // Those of later policies are the same ones.
        stack.stores.documents.follow(RuntimeKey::KIND, stack.stores.keys.follower());
        stack.hold_quotas();
        Ok(stack)
    }

    /// The ledger counts what the limits of this stack let in.
    pub(super) fn count_limits(&self) {
        if let Some(books) = &self.stores.ledger {
            ledger::count(books, [self.request_limits(), self.attempt_limits()]);
        }
    }

    /// Builds it to take the place of `before`, of which nothing is changed yet.
    pub(super) fn built(
        policy: &Policy,
        facts: Option<Facts>,
        (telemetry, stores): (Telemetry, Stores),
        before: Option<&Self>,
    ) -> Result<Self, StackError> {
        let policy = Arc::new(policy.clone());
        let pen = stores.ledger.as_ref().map(|books| books.writer.pen().clone());
        let prices = Prices::new(&policy)?;
        let Carried { estimates, input_tokens, totals, tracker, simulators } =
            Carried::to(&policy, Aliases::new(&policy), before)?;
        let alerts = match before {
            Some(before) => before.alerts.next(&policy, limits::rule_name),
            None => Alerts::new(&policy, limits::rule_name, telemetry.clone(), SystemClock),
        };
        let alerts = alerts.map_err(|error| StackError::new("alerts", error))?;
        let accounts = Accounts::new(&policy);
        let quotes = Quotes::new(&policy, prices.clone());
        let settle = limits::BySpending::new(quotes, accounts, estimates.clone());
        let told = (&telemetry, &alerts, &pen);
        let limits = |side, old: Option<_>| {
            limits::layer(&policy, side, settle.clone(), &stores.limits, told, old)
        };
        let attempt_limits =
            limits(limits::Side::Attempt, before.map(|before| &before.attempt_limits))?;
        let request_limits =
            limits(limits::Side::Request, before.map(|before| &before.request_limits))?;
        let (mut benches, mut breakers) = (
            breaker::benches(&policy, &telemetry, stores.wake())?,
            breaker::layer(&policy, &telemetry, stores.wake())?,
        );
        let mut pace = pace::layer(&policy, settle, &telemetry)?;
        if let Some(before) = before {
            benches = benches.with_circuits_of(&before.benches());
            breakers = breakers.with_circuits_of(&before.breakers());
            pace = pace.with_state_of(&before.pacing());
        }
        let judges = (&benches, &breakers);
        let figures = (&tracker, facts);
        let sides = (&request_limits, &attempt_limits);
        let decider = routes::decider(&policy, judges, sides, &pace, figures)?;
        Ok(Self {
            observe: ObserveLayer::new(telemetry.clone(), prices.pricing())
                .telling(policy.routing.header)
                .writing(pen),
            identify: callers::layer(&policy, &stores.keys)?,
            inspect: upstream::inspect(&policy)?,
            models: ModelsLayer::new(&policy, &stores.keys),
            track: routes::track(tracker, prices.clone()),
            cost: CostLayer::new(prices.book).with_totals(totals).with_ledger(input_tokens.clone()),
            input_tokens,
            request_limits,
            retry: retry::layer(&policy, &decider, &telemetry, before.map(|before| &before.retry))?,
            alerts,
            route: decider.layer(&telemetry),
            decider,
            translate: fits::layer(&policy),
            attempt: upstream::attempt(&policy)?,
            simulators,
            tls: upstream::tls(&policy, before.map(|before| (&*before.policy, &before.tls)))?,
            pace,
            attempt_limits,
            benches,
            breakers,
            in_use: InUse::new(&telemetry),
            estimates,
            telemetry,
            stores,
            since: SystemClock.now(),
            policy,
        })
    }

    /// The whole stack as a service with connection pools of its own.
    pub fn service(
        &self,
    ) -> Shared<
        impl Service<
            Request<RequestBody>,
            Response = Response<ReplyBody>,
            Error = Infallible,
            Future: Send + 'static,
        >
        + Send
        + 'static
        + use<>,
    > {
        self.service_with(&mut Pools::default())
    }

    /// The same with these connection pools, as far as they are of providers that are the same.
    /// Read from top to bottom it is a request's way in, from bottom to top its reply's way out.
    pub fn service_with(
        &self,
        pools: &mut Pools,
    ) -> Shared<
        impl Service<
            Request<RequestBody>,
            Response = Response<ReplyBody>,
            Error = Infallible,
            Future: Send + 'static,
        >
        + Send
        + 'static
        + use<>,
    > {
        let drain = match self.policy.streams.on_hangup {
            OnHangup::Cancel => None,
            OnHangup::Drain => Some(DRAIN_ABANDONED),
        };
        ServiceBuilder::new()
            // All connections of a worker hold the same stack.
            .layer(SharedLayer)
            // What concerns the client's connection alone ends here: nobody below may be told by it
            // which of our own headers to drop.
            .map_request({
                let in_use = self.in_use.clone();
                move |mut request: Request<RequestBody>| {
                    let _held = &in_use;
                    remove_hop_by_hop(request.headers_mut());
                    request
                }
            })
            // A request nobody waits for any more is let go, or what runs of it is let run and its
            // reply read to the end; outermost, so that everything below settles when that ends.
            .layer(HangupLayer::new(drain))
            // One line and the metrics of every request, refused ones too.
            .layer(self.observe.clone())
            // A bug costs one request, not a connection. Also the one place that boxes the body.
            .layer(CatchPanicLayer::custom(rescue::panicked))
            // The one place where an error becomes an answer.
            .layer(rescue::RescueLayer)
            // The whole time to a reply's head: body, waits and retries included.
            .layer(retry::DeadlineLayer::new(self.policy.server.request_deadline))
            // Who asks? Before anything that costs work, so that strangers get none.
            .layer(self.identify.clone())
            .layer(NoteLayer)
            // What is asked? Everything below goes by it.
            .layer(self.inspect)
            // A request whose body is yet to come holds what is below; so does one that may be tried again.
            .layer(SharedLayer)
            // How many tokens is that, by what replies of this model taught?
            .map_request({
                let tokens = self.input_tokens.clone();
                move |request| tokens.asked(request)
            })
            .layer(NoteLayer)
            // May this caller use this model? Lists those it may.
            .layer(self.models.clone())
            // Who only wants to know where it would go is told here, and spends nothing.
            .layer(RehearseLayer(self.decider.clone()))
            // Usage, cost and totals of the reply: outside of limits, so that it sees refusals too.
            .layer(self.cost.clone())
            // By user, key, IP, model, tag and all together: once a request, however often it is
            // tried below.
            .layer(self.request_limits.clone())
            // Where to? Writes the plan.
            .layer(self.route.clone())
            // Whose budget is spent goes where the budget says, if anywhere.
            .layer(DowngradeLayer(self.decider.clone()))
            .map_request(tell::plans(self.policy.routing.header))
            // Walks the plan; everything below is one attempt.
            .layer(self.retry.clone())
            .layer(SharedLayer)
            // How many tokens is that for this target?
            .map_request({
                let (tokens, in_use) = (self.input_tokens.clone(), self.in_use.clone());
                move |request| {
                    let _held = &in_use;
                    tokens.aimed(request)
                }
            })
            // A key that is of no use is left alone, whatever the model.
            .layer(self.benches.clone())
            // An open breaker refuses before a provider's bucket is drawn on.
            .layer(self.breakers.clone())
            // What the provider would refuse, by its own word, waits or goes elsewhere; nothing was
            // drawn on for it.
            .layer(self.pace.clone())
            .map_request(pace::note_wait)
            // By provider: each attempt takes, since each costs the provider's quota.
            .layer(self.attempt_limits.clone())
            // What the target does is known from here: waits at our own limits are none of it.
            .layer(self.track.clone())
            // Boxed, as a reply is moved from layer to layer: outside of here it is a head and a pointer.
            .map_response(|reply: Response<_>| reply.map(Box::pin))
            // The target's API, where the client speaks another one.
            .layer(self.translate.clone())
            // The target's model and usage asked for; the reply read as it passes; commits late.
            .layer(self.attempt.clone())
            .service(upstream::service(&self.policy, &self.simulators, &self.tls, pools))
    }
}

/// How long a request whose client left goes on, where the policy says `drain`.
const DRAIN_ABANDONED: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    /// It moves from layer to layer as it grows, so what few requests need is boxed.
    #[test]
    fn a_requests_future_stays_small() {
        fn size<S: Service<Request<RequestBody>>>(_: &S) -> usize {
            size_of::<S::Future>()
        }
        let stack = Stack::new(&Policy::embedded().unwrap()).unwrap();
        let size = size(&stack.service());
        assert!(size <= 1_900, "{size} bytes");
    }
}
