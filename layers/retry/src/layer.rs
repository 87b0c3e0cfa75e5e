use std::{fmt, sync::Arc};

use tollway_core::{SystemClock, WallClock};

use crate::{Budget, Config, Random, Retry, SplitMix, Standard};

/// What all clones and services of a layer share.
pub(crate) struct Shared<P, H> {
    pub(crate) config: Config,
    pub(crate) policy: P,
    pub(crate) hook: H,
    pub(crate) budget: Option<Budget>,
    pub(crate) random: Box<dyn Random>,
    pub(crate) clock: Box<dyn WallClock>,
}

/// Retries and fails over; see the [crate's documentation](crate).
pub struct RetryLayer<P = Standard, H = ()> {
    shared: Arc<Shared<P, H>>,
}

impl RetryLayer {
    /// Bodies that are `Clone`, the default budget, no hook.
    pub fn new(config: Config) -> Self {
        Self::builder(config).build()
    }

    /// To set more than the config.
    pub fn builder(config: Config) -> RetryBuilder {
        RetryBuilder(Shared {
            config,
            policy: Standard,
            hook: (),
            budget: Some(Budget::default()),
            random: Box::new(SplitMix::default()),
            clock: Box::new(SystemClock),
        })
    }
}

impl<P, H> RetryLayer<P, H> {
    /// Its budget, if it has one.
    pub fn budget(&self) -> Option<&Budget> {
        self.shared.budget.as_ref()
    }
}

impl Default for RetryLayer {
    fn default() -> Self {
        Self::new(Config::default())
    }
}

impl<P, H> Clone for RetryLayer<P, H> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<P, H> fmt::Debug for RetryLayer<P, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryLayer").field("config", &self.shared.config).finish_non_exhaustive()
    }
}

impl<S, P, H> tower_layer::Layer<S> for RetryLayer<P, H> {
    type Service = Retry<S, P, H>;

    fn layer(&self, inner: S) -> Self::Service {
        Retry { inner, shared: self.shared.clone() }
    }
}

/// Sets up a [`RetryLayer`]; made by [`RetryLayer::builder`].
pub struct RetryBuilder<P = Standard, H = ()>(Shared<P, H>);

impl<P, H> RetryBuilder<P, H> {
    /// How requests are copied and outcomes are classified; default [`Standard`].
    pub fn policy<Q>(self, policy: Q) -> RetryBuilder<Q, H> {
        let Shared { config, hook, budget, random, clock, .. } = self.0;
        RetryBuilder(Shared { config, policy, hook, budget, random, clock })
    }

    /// Who is told the [`Event`](crate::Event)s; default nobody.
    pub fn hook<G>(self, hook: G) -> RetryBuilder<P, G> {
        let Shared { config, policy, budget, random, clock, .. } = self.0;
        RetryBuilder(Shared { config, policy, hook, budget, random, clock })
    }

    /// The retry budget; `None` is none. Default [`Budget::default`], for this layer alone.
    pub fn budget(mut self, budget: impl Into<Option<Budget>>) -> Self {
        self.0.budget = budget.into();
        self
    }

    /// Where the jitter comes from; default [`SplitMix`].
    pub fn random(mut self, random: impl Random + 'static) -> Self {
        self.0.random = Box::new(random);
        self
    }

    /// The clock that dates in `Retry-After` are read against; default the machine's.
    pub fn clock(mut self, clock: impl WallClock + 'static) -> Self {
        self.0.clock = Box::new(clock);
        self
    }

    /// The layer.
    pub fn build(self) -> RetryLayer<P, H> {
        RetryLayer { shared: Arc::new(self.0) }
    }
}

impl<P, H> fmt::Debug for RetryBuilder<P, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryBuilder").field("config", &self.0.config).finish_non_exhaustive()
    }
}
