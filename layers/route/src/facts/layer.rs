use std::{fmt, sync::Arc};

use tollway_core::{Target, Usage, Usd};
use tower_layer::Layer;

use super::{ByFailure, TrackService, Tracker};

/// Finds what a reply cost. `()` knows no prices; a closure `Fn(&Target, &Usage) -> Option<Usd>`
/// is one that does.
pub trait CostOf {
    /// What `usage` costs at `target`; `None`: not known. Must not panic: it may run while a body
    /// is dropped.
    fn cost_of(&self, target: &Target, usage: &Usage) -> Option<Usd>;
}

impl CostOf for () {
    fn cost_of(&self, _: &Target, _: &Usage) -> Option<Usd> {
        None
    }
}

impl<F: Fn(&Target, &Usage) -> Option<Usd>> CostOf for F {
    fn cost_of(&self, target: &Target, usage: &Usage) -> Option<Usd> {
        self(target, usage)
    }
}

/// Fills a [`Tracker`] with what passes to each [`Target`]; it stands around one attempt.
///
/// Reads the target and, to estimate usage that nobody reported, the [`Ask`](tollway_core::Ask)
/// from the request's extensions, and [`Metered`](tollway_core::Metered) from the response's. A
/// request without a target, or whose target the tracker has no room for, passes untouched. A
/// reply's time lasts to the end of its body, so a client that reads slowly makes it longer; the
/// time to its first token is the meter's, which for a reply that comes whole is when it came.
///
/// Whatever refuses requests by itself (a breaker, a limit) belongs outside of this layer: its
/// refusals say nothing of the target.
///
/// ```
/// use tollway_core::{Target, Usage, Usd};
/// use tollway_route::facts::{Config, TrackLayer, Tracker};
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tollway_core::BoxError> {
/// let tracker = Tracker::new(Config::default())?;
/// let price = |_: &Target, usage: &Usage| Some(Usd::from_nanos(150 * usage.total()));
/// let service = TrackLayer::new(tracker.clone()).with_cost(price).layer(service_fn(
///     async |_: http::Request<()>| Ok::<_, tollway_core::BoxError>(http::Response::new(String::new())),
/// ));
///
/// let target = Target::new("groq", "main", None);
/// let mut request = http::Request::new(());
/// request.extensions_mut().insert(target.clone());
/// service.oneshot(request).await?;
/// assert_eq!(tracker.slot(&target).figures(tokio::time::Instant::now()).samples, 1);
/// # Ok(())
/// # }
/// ```
pub struct TrackLayer<C = ByFailure, P = ()>(Arc<Parts<C, P>>);

/// One count to take for each request, not one for each part.
pub(super) struct Parts<C, P> {
    pub(super) tracker: Tracker,
    pub(super) classify: Arc<C>,
    pub(super) cost: Arc<P>,
}

impl TrackLayer {
    /// A layer that fills `tracker`, judges by [`ByFailure`] and knows no prices.
    pub fn new(tracker: Tracker) -> Self {
        Self(Arc::new(Parts { tracker, classify: Arc::new(ByFailure), cost: Arc::new(()) }))
    }
}

impl<C, P> TrackLayer<C, P> {
    /// With another judge of replies.
    pub fn with_classifier<D>(self, classify: D) -> TrackLayer<D, P> {
        let Parts { tracker, cost, .. } = &*self.0;
        TrackLayer(Arc::new(Parts {
            tracker: tracker.clone(),
            classify: Arc::new(classify),
            cost: cost.clone(),
        }))
    }

    /// With prices.
    pub fn with_cost<Q: CostOf>(self, cost: Q) -> TrackLayer<C, Q> {
        let Parts { tracker, classify, .. } = &*self.0;
        TrackLayer(Arc::new(Parts {
            tracker: tracker.clone(),
            classify: classify.clone(),
            cost: Arc::new(cost),
        }))
    }

    /// What it fills.
    pub fn tracker(&self) -> &Tracker {
        &self.0.tracker
    }
}

impl<C, P> Clone for TrackLayer<C, P> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<C, P> fmt::Debug for TrackLayer<C, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrackLayer").field("tracker", &self.0.tracker).finish_non_exhaustive()
    }
}

impl<S, C, P> Layer<S> for TrackLayer<C, P> {
    type Service = TrackService<S, C, P>;

    fn layer(&self, inner: S) -> Self::Service {
        TrackService::new(inner, self.0.clone())
    }
}
