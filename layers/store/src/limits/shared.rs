use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use super::Shape;
use crate::StoreError;

/// What a request wants of one limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Want {
    /// The limit and whose quota it is: one for each state that is kept.
    pub key: Arc<str>,
    /// The limit's shape. A key whose capacity or rate has changed keeps its fill as a fraction.
    pub shape: Shape,
    /// How much to take. Above 2^53 amounts are rounded.
    pub amount: u64,
    /// `false`: takes nothing where there is no room, and holds nobody up.
    pub enforce: bool,
    /// `true`: taken whether there is room or not, by a request that goes on without it.
    pub force: bool,
    /// The most that an instance may take beforehand, to let in others without asking; 0: nothing.
    pub borrow: u64,
    /// Hears what the store finds when it is settled, or charged.
    pub tell: Option<Tell>,
}

impl Want {
    /// Of a limit that refuses; nothing is borrowed, and nobody told.
    pub fn new(key: impl Into<Arc<str>>, shape: Shape, amount: u64) -> Self {
        let key = key.into();
        Self { key, shape, amount, enforce: true, force: false, borrow: 0, tell: None }
    }
}

/// Hears that a settlement crossed a mark. Called on the store's thread.
#[derive(Clone)]
pub struct Tell(Arc<dyn Fn(Crossing) + Send + Sync>);

impl Tell {
    /// Calls this.
    pub fn new(tell: impl Fn(Crossing) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    #[cfg(feature = "redis")]
    pub(super) fn hear(&self, crossing: Crossing) {
        (self.0)(crossing);
    }
}

impl PartialEq for Tell {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Tell {}

impl fmt::Debug for Tell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tell")
    }
}

/// A mark that use of a shared limit climbed over: told by the store to the one instance that did
/// it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crossing {
    /// What the shape warns of.
    Warned {
        /// What is used now, by all.
        used: u64,
    },
    /// The capacity, by a request that has ended.
    Filled {
        /// What is used now, by all, and also what others have reserved beyond the capacity.
        used: u64,
    },
}

/// All that a request wants, to be decided at once.
#[derive(Clone, Debug)]
pub struct Take {
    /// From [`SharedLimits::id`]; the same for a repetition of the same take.
    pub id: u64,
    /// All of them or none.
    pub wants: Arc<[Want]>,
    /// The date in nanoseconds since 1970, of which only the calendar's periods are made: the
    /// store's own clock decides which of them it is.
    pub wall: u64,
}

/// What became of a [`Take`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Everything was taken: one for each want, in their order.
    Taken(Vec<Had>),
    /// Nothing was taken. Every enforced want without room, in their order.
    Refused(Vec<Lack>),
    /// It had been settled before it came; nothing was taken.
    Settled,
}

/// One want of a [`Take`] that was let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Had {
    /// What is used now, by all.
    pub used: u64,
    /// Whether it was taken, or there was no room at a limit that isn't enforced.
    pub taken: bool,
    /// Use climbed over what the shape warns of.
    pub climbed: bool,
}

/// One want that there is no room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lack {
    /// Its place among the wants.
    pub want: usize,
    /// It is larger than the limit itself.
    pub never_fits: bool,
    /// Nanoseconds until there is room, if that is known.
    pub wait: Option<u64>,
    /// What is used now, by all.
    pub used: u64,
    /// Nanoseconds until the whole quota is there again, where time brings it.
    pub reset: Option<u64>,
}

/// What was used in the place of what was taken.
#[derive(Clone, Debug)]
pub struct Settlement {
    /// Of the [`Take`].
    pub id: u64,
    /// Of the [`Take`].
    pub wants: Arc<[Want]>,
    /// One for each want; all zero for a take that nobody knows the outcome of.
    pub spent: Vec<u64>,
    /// The date, as in [`Take`].
    pub wall: u64,
}

/// A [`Verdict`] that is on its way.
pub type Deciding<'a> = Pin<Box<dyn Future<Output = Result<Verdict, StoreError>> + Send + 'a>>;

/// Names of keys that are on their way, and from where on there are more.
pub type Finding<'a> =
    Pin<Box<dyn Future<Output = Result<(Vec<Arc<str>>, Option<u64>), StoreError>> + Send + 'a>>;

/// How one key of a limit stands, for all instances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// What is used now, reserved included.
    pub used: u64,
    /// What of that is only reserved, where that is kept apart: of concurrent requests, and of limits
    /// that warn.
    pub held: Option<u64>,
    /// Nanoseconds until the whole quota is there again, where time brings it.
    pub reset: Option<u64>,
}

/// A look that is on its way.
pub type Looking<'a> = Pin<Box<dyn Future<Output = Result<Vec<Seen>, StoreError>> + Send + 'a>>;

/// Keys that are being reset: those of them that had used something.
pub type Resetting<'a> =
    Pin<Box<dyn Future<Output = Result<Vec<Arc<str>>, StoreError>> + Send + 'a>>;

/// Limits that several instances share.
///
/// Takes and settlements are idempotent by their id, and a settlement that overtakes its take
/// leaves it without effect. Concurrent requests hold leases, which end some seconds after the
/// instance that has them died; everything else that it had reserved stays counted as spent.
pub trait SharedLimits: fmt::Debug + Send + Sync {
    /// An id that this instance has not had.
    fn id(&self) -> u64;

    /// The longest that a [take](Self::take) waits for an answer.
    fn timeout(&self) -> Duration;

    /// Decides all that a request wants in one step, by the store's own clock. Does not wait
    /// longer than the store's timeout. Whoever gets an error, or drops the future, has nothing:
    /// what may have been taken is given back.
    fn take(&self, take: Take) -> Deciding<'_>;

    /// Never waits: it is written soon, and tried again until it is. What finds the queue full is
    /// [lost](Figures::lost) and stays counted as it was taken.
    fn settle(&self, settlement: Settlement);

    /// Takes whether there is room or not, soon and once: what was used while the store was away.
    fn charge(&self, take: Take);

    /// Instances that were alive when it was last asked, at least 1.
    fn instances(&self) -> u32;

    /// Whether it isn't asked at present.
    fn is_away(&self) -> bool;

    /// Why it can't be asked, in words: for people, some moments after it began.
    fn trouble(&self) -> Option<String> {
        None
    }

    /// Some of the keys that are kept and whose names begin so, from 0 on: with the place where to
    /// go on, until there is none. What is there all the while is found, if not only once.
    fn keys<'a>(&'a self, prefix: &'a str, from: u64) -> Finding<'a>;

    /// How the keys of these wants stand, one for each in their order; takes nothing. `wall` is as in
    /// [`Take`]. For an operator: some hundred at once.
    fn look<'a>(&'a self, wants: &'a [Want], wall: u64) -> Looking<'a>;

    /// Gives these keys their whole quotas back, in one step; which of them had used something.
    /// What is reserved there counts no more than the rest, is given back to nobody when it is
    /// settled, and only what goes beyond it counts then. Places for concurrent requests stay taken.
    fn reset<'a>(&'a self, keys: &'a [Arc<str>]) -> Resetting<'a>;

    /// What was asked, and what became of it, since the start.
    fn figures(&self) -> Figures;

    /// Settlements and charges that were given up.
    fn lost(&self) -> u64 {
        self.figures().lost
    }

    /// Gives back what is borrowed, and waits until everything that was settled is written; for
    /// ever if the store stays away.
    fn flush(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// What a shared store was asked, by this instance since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Takes that were a round trip.
    pub asked: u64,
    /// Takes that slices were enough for.
    pub borrowed: u64,
    /// Of those that asked, who got no answer: too late, or none.
    pub unanswered: u64,
    /// Settlements and charges that wait to be written.
    pub waiting: u64,
    /// Settlements and charges that were given up: what they were about stays counted as taken.
    pub lost: u64,
}
