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
    /// [lost](Self::lost) and stays counted as it was taken.
    fn settle(&self, settlement: Settlement);

    /// Takes whether there is room or not, soon and once: what was used while the store was away.
    fn charge(&self, take: Take);

    /// Instances that were alive when it was last asked, at least 1.
    fn instances(&self) -> u32;

    /// Whether it isn't asked at present.
    fn is_away(&self) -> bool;

    /// Settlements and charges that were given up.
    fn lost(&self) -> u64;
}
