use std::{fmt, sync::Arc};

use http::{Extensions, HeaderMap};
use tollway_core::{Hook, Metered, SystemClock, WallClock};
use tower_layer::Layer;

use crate::{Cost, Pricing, Record, Totals};

type FindMeter = dyn Fn(&HeaderMap, &Extensions) -> Option<Metered> + Send + Sync;

/// Prices every reply, tells a ledger about it and keeps [`Totals`]. See the [crate docs](crate).
///
/// `P` finds prices, `H` is the ledger's hook. Clones, and all services made, share both and the
/// totals.
pub struct CostLayer<P, H = ()> {
    pricing: Arc<P>,
    ledger: Arc<H>,
    options: Arc<Options>,
}

#[derive(Clone)]
pub(crate) struct Options {
    pub(crate) totals: Totals,
    pub(crate) clock: Arc<dyn WallClock>,
    pub(crate) meter: Option<Arc<FindMeter>>,
    pub(crate) header: bool,
}

impl<P: Pricing> CostLayer<P> {
    /// A layer with these prices, no ledger, fresh totals, the machine's clock and the
    /// [`COST_HEADER`](crate::COST_HEADER) on.
    pub fn new(pricing: P) -> Self {
        let options = Options {
            totals: Totals::default(),
            clock: Arc::new(SystemClock),
            meter: None,
            header: true,
        };
        Self { pricing: Arc::new(pricing), ledger: Arc::new(()), options: Arc::new(options) }
    }
}

impl<P, H> CostLayer<P, H> {
    /// Tells `ledger` every [`Record`], where the reply ends: it must be quick, so let it hand
    /// the record to a queue.
    pub fn with_ledger<L: Hook<Record>>(self, ledger: L) -> CostLayer<P, L> {
        CostLayer { pricing: self.pricing, ledger: Arc::new(ledger), options: self.options }
    }

    /// Adds to these totals, which may be shared with another layer or carried over from one.
    pub fn with_totals(self, totals: Totals) -> Self {
        self.set(|options| options.totals = totals)
    }

    /// Takes the dates of records and totals from `clock`.
    pub fn with_clock(self, clock: impl WallClock + 'static) -> Self {
        self.set(|options| options.clock = Arc::new(clock))
    }

    /// Finds a reply's meter from its headers and extensions, for programs where nobody puts a
    /// [`Metered`] into the response's extensions.
    pub fn with_meter(
        self,
        find: impl Fn(&HeaderMap, &Extensions) -> Option<Metered> + Send + Sync + 'static,
    ) -> Self {
        self.set(|options| options.meter = Some(Arc::new(find)))
    }

    /// Whether replies whose cost is known at their head carry
    /// [`COST_HEADER`](crate::COST_HEADER). Default: yes.
    pub fn with_header(self, header: bool) -> Self {
        self.set(|options| options.header = header)
    }

    /// The totals, to read.
    pub fn totals(&self) -> &Totals {
        &self.options.totals
    }

    fn set(mut self, change: impl FnOnce(&mut Options)) -> Self {
        change(Arc::make_mut(&mut self.options));
        self
    }
}

impl<P, H> Clone for CostLayer<P, H> {
    fn clone(&self) -> Self {
        Self {
            pricing: self.pricing.clone(),
            ledger: self.ledger.clone(),
            options: self.options.clone(),
        }
    }
}

impl<P, H> fmt::Debug for CostLayer<P, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CostLayer")
            .field("totals", &self.options.totals)
            .field("header", &self.options.header)
            .finish_non_exhaustive()
    }
}

impl<S, P, H> Layer<S> for CostLayer<P, H> {
    type Service = Cost<S, P, H>;

    fn layer(&self, inner: S) -> Self::Service {
        Cost::new(inner, self.clone())
    }
}

impl<P, H> CostLayer<P, H> {
    pub(crate) fn pricing(&self) -> &P {
        &self.pricing
    }

    pub(crate) fn ledger(&self) -> &H {
        &self.ledger
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }
}
