use std::sync::Arc;

use tollway_core::{Hook, SystemClock, WallClock};
use tollway_store::{
    StoreError,
    limits::{LimitJournal, Saved, SharedLimits},
};
use tower_layer::Layer;

use crate::{
    ConfigError, Event, Handle, RateLimit, Rule, Settle,
    limiter::{Limiter, Shared},
    remote::Remote,
};

/// Makes [`RateLimit`] services, which all draw on the same limits: those of every clone of the
/// layer too.
#[derive(Debug)]
pub struct RateLimitLayer<T = ()> {
    limiter: Arc<Limiter>,
    settle: Arc<T>,
}

impl<T: Settle> RateLimitLayer<T> {
    /// A layer with these rules, the machine's date, and no hook.
    ///
    /// # Errors
    /// See [`RateLimitLayerBuilder::build`].
    pub fn new(rules: impl IntoIterator<Item = Rule>, settle: T) -> Result<Self, ConfigError> {
        Self::builder(rules, settle).build()
    }

    /// A layer with more to set.
    pub fn builder(rules: impl IntoIterator<Item = Rule>, settle: T) -> RateLimitLayerBuilder<T> {
        RateLimitLayerBuilder {
            rules: rules.into_iter().collect(),
            settle,
            hook: Box::new(()),
            wall: Arc::new(SystemClock),
            max_keys: 100_000,
            shared: None,
            remote: None,
            saved: None,
        }
    }

    /// Saves at once what has changed, where there is a [journal](RateLimitLayerBuilder::journal):
    /// for the end of a process. Blocks.
    ///
    /// # Errors
    /// When it can't be written; it is tried again soon.
    pub fn save(&self) -> Result<(), StoreError> {
        self.limiter.shared().save()
    }

    /// The same for the end of a process: what can't be saved is given up, and the journal is
    /// [told](LimitJournal::lost) of how many keys. Blocks.
    pub fn finish(&self) {
        self.limiter.shared().finish();
    }

    /// A view of the limits, alive as long as anybody holds it.
    pub fn handle(&self) -> Handle {
        Handle::new(self.limiter.clone())
    }
}

impl<T> RateLimitLayer<T> {
    /// From now on these rules hold, and not those that this layer
    /// [resumes](RateLimitLayerBuilder::resume).
    pub fn take_over(&self) {
        self.limiter.take_over();
    }
}

impl<T> Clone for RateLimitLayer<T> {
    fn clone(&self) -> Self {
        Self { limiter: self.limiter.clone(), settle: self.settle.clone() }
    }
}

impl<S, T> Layer<S> for RateLimitLayer<T> {
    type Service = RateLimit<S, T>;

    fn layer(&self, inner: S) -> Self::Service {
        RateLimit::new(inner, self.limiter.clone(), self.settle.clone())
    }
}

/// Sets the particulars of a [`RateLimitLayer`].
#[must_use]
pub struct RateLimitLayerBuilder<T> {
    rules: Vec<Rule>,
    settle: T,
    hook: Box<dyn Hook<Event> + Send + Sync>,
    wall: Arc<dyn WallClock>,
    max_keys: usize,
    shared: Option<Arc<Shared>>,
    remote: Option<Arc<dyn SharedLimits>>,
    saved: Option<Vec<Saved>>,
}

impl<T: Settle> RateLimitLayerBuilder<T> {
    /// Goes on with what `old` knows, under these rules: for a policy that is replaced while traffic
    /// flows. It happens at the first request (or look, or by [`RateLimitLayer::take_over`]), all at
    /// once; built and not used, it changes nothing.
    ///
    /// A limit goes on if its name (or what it is [known as](Rule::known_as)), unit,
    /// [scope](Rule::scope) and kind of [`Quota`](crate::Quota) are the same; otherwise it begins anew and says so
    /// ([`StartedAnew`](crate::EventKind::StartedAnew)). A bucket keeps its fill as a share when rate
    /// or burst change, and its debts as amounts; windows and calendars keep what was used, also in
    /// a longer period (a shorter one begins anew); places for concurrent requests stay taken.
    /// Requests under way settle here, those in line keep their place. A limit that is not there any
    /// more refuses nobody, and its keys go with the last request that `old` let in.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tollway_rate_limit::{Key, Limit, Quota, RateLimitLayer, Rule, Unit};
    ///
    /// let rule = |burst| {
    ///     let quota = Quota::TokenBucket { amount: 60, per: Duration::from_secs(60), burst };
    ///     Limit::new("everyone", quota).map(|limit| Rule::new(limit, Unit::Requests))
    /// };
    /// let old = RateLimitLayer::new([rule(10)?], ())?;
    /// let new = RateLimitLayer::builder([rule(40)?], ()).resume(&old).build()?;
    /// assert_eq!(new.handle().standing("everyone", &Key::All).unwrap().capacity, 40);
    /// # Ok::<_, tollway_rate_limit::ConfigError>(())
    /// ```
    pub fn resume<U>(mut self, old: &RateLimitLayer<U>) -> Self {
        // What was never asked must not take over later from those that come after it.
        old.take_over();
        self.shared = Some(old.limiter.shared().clone());
        self
    }

    /// Decides in a store that other instances have too. All limits of a request are one question;
    /// the reply's settlement is told later, and waits for nobody.
    ///
    /// While the store is away, or too slow, each limit does what
    /// [`when_store_is_away`](crate::LimitBuilder::when_store_is_away) says. What is used meanwhile
    /// is charged once when it is back: to a bucket as much as would not have come back since.
    /// [`WhenFull::Wait`](crate::WhenFull::Wait) keeps a line in each instance, of which the first
    /// asks the store again at the moment that it told. Limits go by their names and kinds: instances
    /// that share one store have the same ones. Where a policy is changed at one after the other,
    /// those with another kind of quota count apart until all have it.
    pub fn shared(mut self, store: Arc<dyn SharedLimits>) -> Self {
        self.remote = Some(store);
        self
    }

    /// Remembers beyond the process what is used: memory decides as before, and what has changed is
    /// saved within a fifth of a second by a thread of its own. What is reserved is saved as used,
    /// so a process that is killed errs to the safe side but for that fifth. Places for concurrent
    /// requests are free at the start.
    ///
    /// What was saved is read here, which blocks; a limit goes on by its name, scope and kind.
    /// Layers that [resume](Self::resume) this one have its journal.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn journal(mut self, store: Arc<dyn LimitJournal>) -> Result<Self, StoreError> {
        let (shared, saved) = Shared::durable(store, &*self.wall)?;
        self.shared = Some(shared);
        self.saved = Some(saved);
        Ok(self)
    }

    /// Hears of refusals, warnings, waits and debts.
    pub fn hook(mut self, hook: impl Hook<Event> + Send + Sync + 'static) -> Self {
        self.hook = Box::new(hook);
        self
    }

    /// The date that calendar windows go by.
    pub fn wall_clock(mut self, clock: impl WallClock + 'static) -> Self {
        self.wall = Arc::new(clock);
        self
    }

    /// Keys that each limit keeps in memory (100,000; 92 bytes each, up to 6 KB in a busy
    /// sliding window). A key is forgotten only when its quota is whole again and nothing is held
    /// of it. While all places are taken, keys that have none share a single quota of their limit:
    /// flooding a limit with keys wins neither memory nor quota.
    pub fn max_keys(mut self, keys: usize) -> Self {
        self.max_keys = keys;
        self
    }

    /// Builds it.
    ///
    /// # Errors
    /// Two limits of one name, or [known as](Rule::known_as) the same; room for no key, or for more than a thousand million.
    pub fn build(self) -> Result<RateLimitLayer<T>, ConfigError> {
        let Self { rules, settle, hook, wall, max_keys, shared, remote, saved } = self;
        let name = |rule: &Rule| rule.limit.name().clone();
        let same = |a: &Rule, b: &Rule| name(a) == name(b) || a.memory() == b.memory();
        let twice = |(at, rule): (usize, &Rule)| rules[..at].iter().any(|other| same(other, rule));
        if rules.iter().enumerate().any(twice) {
            return Err(ConfigError("two limits have the same name"));
        }
        if !(1..=1_000_000_000).contains(&max_keys) {
            return Err(ConfigError("max_keys is at least 1 and at most 1000000000"));
        }
        let shared = shared.unwrap_or_else(Shared::new);
        let remote = remote.map(|store| Arc::new(Remote::new(store)));
        let limiter = Arc::new(Limiter::new(rules, shared, hook, wall, max_keys, remote));
        if let (Some(saved), Some(journal)) = (saved, limiter.shared().journal()) {
            journal.forget(limiter.restore(saved));
        }
        Ok(RateLimitLayer { limiter, settle: Arc::new(settle) })
    }
}

impl<T> std::fmt::Debug for RateLimitLayerBuilder<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RateLimitLayerBuilder").field("rules", &self.rules).finish_non_exhaustive()
    }
}
