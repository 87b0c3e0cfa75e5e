use std::{collections::HashMap, convert::Infallible, sync::Arc, time::Duration};

use http::{Request, Response};
use tollway_core::{BoxError, GuardedBody, SystemClock};
use tollway_cost::{CostLayer, PriceBook, Totals, TotalsConfig};
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
    Facts, StackError,
    aliases::Aliases,
    breaker, callers,
    downgrade::DowngradeLayer,
    fits,
    hangup::{HangupBody, HangupLayer},
    keys::Accounts,
    limits,
    models::ModelsLayer,
    pace,
    prices::Prices,
    rehearse::RehearseLayer,
    rescue, retry,
    routes::{self, Decider},
    shared::SharedLayer,
    signals::Reads,
    tell,
    tokens::InputTokens,
    upstream,
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
    identify: IdentifyLayer,
    pub(super) inspect: InspectLayer,
    pub(super) input_tokens: InputTokens,
    pub(super) models: ModelsLayer,
    pub(super) cost: CostLayer<PriceBook, InputTokens>,
    pub(super) request_limits: RateLimitLayer<limits::BySpending>,
    pub(super) decider: Decider,
    route: RouteLayer<routes::Availability, routes::Hook, Reads>,
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
    /// Builds every layer of the policy, or says which part can't be.
    pub fn new(policy: &Policy) -> Result<Self, StackError> {
        Self::knowing(policy, None)
    }

    /// The same, where decisions go by these figures, if any, and not by what its own traffic shows.
    pub fn knowing(policy: &Policy, facts: Option<Facts>) -> Result<Self, StackError> {
        let policy = Arc::new(policy.clone());
        let telemetry = tell::telemetry(&policy);
        let prices = Prices::new(&policy)?;
        let aliases = Aliases::new(&policy);
        let input_tokens = InputTokens::new(aliases.clone());
        let settle = limits::BySpending::new(prices.clone(), aliases, Accounts::new(&policy));
        let alerts = Alerts::new(&policy, limits::rule_name, telemetry.clone(), SystemClock)
            .map_err(|error| StackError::new("alerts", error))?;
        let told = (&telemetry, &alerts);
        let attempt_limits = limits::layer(&policy, limits::Side::Attempt, settle.clone(), told)?;
        let benches = breaker::benches(&policy, &telemetry)?;
        let breakers = breaker::layer(&policy, &telemetry)?;
        let pace = pace::layer(&policy, settle.clone(), &telemetry)?;
        let judges = (&benches, &breakers);
        let tracker = routes::tracker(&policy)?;
        let figures = (&tracker, facts);
        let decider = routes::decider(&policy, judges, &attempt_limits, &pace, figures)?;
        Ok(Self {
            observe: ObserveLayer::new(telemetry.clone(), prices.pricing())
                .telling(policy.routing.header),
            identify: callers::layer(&policy)?,
            inspect: upstream::inspect(&policy)?,
            models: ModelsLayer::new(&policy),
            track: routes::track(tracker, prices.clone()),
            cost: CostLayer::new(prices.book)
                .with_totals(totals(&policy)?)
                .with_ledger(input_tokens.clone()),
            input_tokens,
            request_limits: limits::layer(&policy, limits::Side::Request, settle, told)?,
            retry: retry::layer(&policy, &decider, &telemetry)?,
            alerts,
            route: decider.layer(&telemetry),
            decider,
            translate: fits::layer(&policy),
            attempt: upstream::attempt(&policy)?,
            simulators: upstream::simulators(&policy),
            tls: upstream::tls(&policy)?,
            pace,
            attempt_limits,
            benches,
            breakers,
            telemetry,
            policy,
        })
    }

    /// The whole stack as a service with connection pools of its own. Read from top to bottom it is
    /// a request's way in, from bottom to top its reply's way out.
    pub fn service(
        &self,
    ) -> impl Service<
        Request<RequestBody>,
        Response = Response<ReplyBody>,
        Error = Infallible,
        Future: Send + 'static,
    >
    + Clone
    + Send
    + 'static
    + use<> {
        let drain = match self.policy.streams.on_hangup {
            OnHangup::Cancel => None,
            OnHangup::Drain => Some(DRAIN_ABANDONED),
        };
        ServiceBuilder::new()
            // All connections of a worker hold the same stack.
            .layer(SharedLayer)
            // What concerns the client's connection alone ends here: nobody below may be told by it
            // which of our own headers to drop.
            .map_request(|mut request: Request<RequestBody>| {
                remove_hop_by_hop(request.headers_mut());
                request
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
                let tokens = self.input_tokens.clone();
                move |request| tokens.aimed(request)
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
            // The target's API, where the client speaks another one.
            .layer(self.translate.clone())
            // The target's model and usage asked for; the reply read as it passes; commits late.
            .layer(self.attempt.clone())
            .service(upstream::service(&self.policy, &self.simulators, &self.tls))
    }
}

/// By days and months of the policy's time zone.
fn totals(policy: &Policy) -> Result<Totals, StackError> {
    let config = TotalsConfig { zone: policy.time_zone.clone(), ..TotalsConfig::default() };
    Totals::new(config).map_err(|error| StackError::new("totals", error))
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
