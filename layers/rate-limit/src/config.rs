use std::{fmt, sync::Arc, time::Duration};

use tollway_store::limits::{Kind, Shape, Zone};

use crate::quota::{Quota, Terms};

/// What becomes of a request when a limit is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// Refused at once.
    #[default]
    Reject,
    /// Goes on with [`Downgraded`](crate::Downgraded) in its extensions, so that what is inside of
    /// the layer can send it where it costs less. Nothing is reserved for it; what it used is a
    /// debt, as what a reply uses beyond its reservation.
    Downgrade,
    /// Waits its turn for at most this long, first come first served; refused at once where it is
    /// known already that the time won't do.
    Wait(Duration),
}

/// What becomes of a request while the store that instances share is away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenStoreIsAway {
    /// Each instance decides by itself, over its share: rate and amount divided by the instances
    /// that were there when the store was last seen.
    #[default]
    Local,
    /// Everything goes; it is charged when the store is back.
    Open,
    /// Nothing goes: [`StoreAway`](crate::StoreAway).
    Closed,
}

/// A checked limit: a name, a quota, and what happens when it is full.
///
/// ```
/// use std::time::Duration;
/// use tollway_rate_limit::{Limit, Quota, WhenFull};
///
/// let quota = Quota::SlidingWindow { amount: 1000, window: Duration::from_secs(60) };
/// let limit = Limit::builder("provider", quota)
///     .when_full(WhenFull::Wait(Duration::from_secs(15)))
///     .headroom(5) // use at most 950
///     .warn_at(80)
///     .build()?;
/// assert_eq!(limit.capacity(), 950);
/// assert!(Limit::builder("provider", quota).headroom(100).build().is_err());
/// # Ok::<_, tollway_rate_limit::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Limit {
    name: Arc<str>,
    quota: Quota,
    when_full: WhenFull,
    when_store_is_away: WhenStoreIsAway,
    enforce: bool,
    terms: Terms,
    borrow: u64,
    shape: Shape,
}

impl Limit {
    /// A limit that rejects when it is full.
    ///
    /// # Errors
    /// See [`LimitBuilder::build`].
    pub fn new(name: impl Into<Arc<str>>, quota: Quota) -> Result<Self, ConfigError> {
        Self::builder(name, quota).build()
    }

    /// A limit with more to set.
    pub fn builder(name: impl Into<Arc<str>>, quota: Quota) -> LimitBuilder {
        LimitBuilder {
            name: name.into(),
            quota,
            when_full: WhenFull::Reject,
            when_store_is_away: WhenStoreIsAway::Local,
            enforce: true,
            terms: Terms::default(),
            borrow: 0,
        }
    }

    /// The name, as errors, headers and events give it.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The quota as it was set, without the headroom.
    pub fn quota(&self) -> Quota {
        self.quota
    }

    /// What happens when it is full.
    pub fn when_full(&self) -> WhenFull {
        self.when_full
    }

    /// What happens while a shared store is away.
    pub fn when_store_is_away(&self) -> WhenStoreIsAway {
        self.when_store_is_away
    }

    /// The most that an instance may take beforehand of a shared limit; 0: nothing.
    pub fn borrow(&self) -> u64 {
        self.borrow
    }

    /// Whether it refuses; a limit that doesn't is a shadow and only tells.
    pub fn enforced(&self) -> bool {
        self.enforce
    }

    /// The most that a single request can take: burst or amount, less the headroom.
    pub fn capacity(&self) -> u64 {
        self.shape.capacity
    }

    pub(crate) fn shape(&self) -> Shape {
        self.shape
    }

    pub(crate) fn terms(&self) -> Terms {
        self.terms
    }
}

/// Sets the particulars of a [`Limit`].
#[derive(Clone, Debug)]
#[must_use]
pub struct LimitBuilder {
    name: Arc<str>,
    quota: Quota,
    when_full: WhenFull,
    when_store_is_away: WhenStoreIsAway,
    enforce: bool,
    terms: Terms,
    borrow: u64,
}

impl LimitBuilder {
    /// What happens when it is full; the default is [`WhenFull::Reject`].
    pub fn when_full(mut self, when_full: WhenFull) -> Self {
        self.when_full = when_full;
        self
    }

    /// What happens while the store that instances share is away; the default is
    /// [`WhenStoreIsAway::Local`]. Without such a store it means nothing.
    pub fn when_store_is_away(mut self, when: WhenStoreIsAway) -> Self {
        self.when_store_is_away = when;
        self
    }

    /// The most that an instance may take beforehand of a limit that is
    /// [shared](crate::RateLimitLayerBuilder::shared), at most a tenth of it: a slice by which it lets
    /// in others without asking. The default is 0: it asks for each request.
    ///
    /// An instance takes a slice of a key that it asked for at least four times within the last
    /// second, as much of it as it needed then, and only while more than a tenth of the limit is
    /// left. A slice counts as used at once; what is left of it goes back within a second. In any
    /// time the limit then holds plus at most `instances * borrow` that was taken before that time
    /// and spent in it; as much can be missing for that second when the limit is nearly used up.
    /// An instance that dies takes its slices with it, as spent.
    pub fn borrow(mut self, amount: u64) -> Self {
        self.borrow = amount;
        self
    }

    /// `false`: a shadow, which tells what it would have refused and refuses nothing.
    pub fn enforce(mut self, enforce: bool) -> Self {
        self.enforce = enforce;
        self
    }

    /// Percent of the quota to keep free (0 to 99): the rest is the limit.
    pub fn headroom(mut self, percent: u8) -> Self {
        self.terms.headroom = percent;
        self
    }

    /// Tells once when use climbs over this percentage of the limit (1 to 100).
    pub fn warn_at(mut self, percent: u8) -> Self {
        self.terms.warn_at = Some(percent);
        self
    }

    /// Whose clocks a calendar window goes by.
    pub fn zone(mut self, zone: Zone) -> Self {
        self.terms.zone = zone;
        self
    }

    /// Checks it.
    ///
    /// # Errors
    /// An amount, burst, window or wait of zero; a percentage out of range; more to borrow than a
    /// tenth of the limit, or places for concurrent requests; a name that is empty,
    /// longer than 64 bytes, or has a character that a header's quoted string can't hold.
    pub fn build(self) -> Result<Limit, ConfigError> {
        let name_fits = |b: u8| (b' '..=b'~').contains(&b) && b != b'"' && b != b'\\';
        if self.name.is_empty() || self.name.len() > 64 || !self.name.bytes().all(name_fits) {
            return Err(ConfigError("a limit's name has 1 to 64 ASCII characters, no quotes"));
        }
        if self.terms.headroom > 99 {
            return Err(ConfigError("headroom is a percentage from 0 to 99"));
        }
        if self.terms.warn_at.is_some_and(|percent| percent == 0 || percent > 100) {
            return Err(ConfigError("warn_at is a percentage from 1 to 100"));
        }
        if self.when_full == WhenFull::Wait(Duration::ZERO) {
            return Err(ConfigError("a wait of zero is a rejection: say so"));
        }
        let shape = self.terms.shape(self.quota)?;
        if self.borrow > 0 && (shape.kind == Kind::Concurrent || self.borrow > shape.capacity / 10)
        {
            return Err(ConfigError("at most a tenth of a limit can be borrowed, and no places"));
        }
        let Self { name, quota, when_full, when_store_is_away, enforce, terms, borrow } = self;
        Ok(Limit { name, quota, when_full, when_store_is_away, enforce, terms, borrow, shape })
    }
}

/// Why a limit or a set of rules can't be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigError(pub(crate) &'static str);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for ConfigError {}
