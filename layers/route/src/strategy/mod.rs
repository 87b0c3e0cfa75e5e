//! How a group orders its members: a family of strategies a file, each a pure function of what is
//! known of the members.

mod load;
mod measured;
mod order;
mod reason;
mod region;
mod sticky;
mod turns;

use http::HeaderName;

pub(crate) use measured::{Told, median};
use order::sorted;
pub(crate) use reason::{Form, Lead, Scope};
pub(crate) use sticky::key;
pub(crate) use turns::Turns;

use crate::{chance::Chance, set::Few};

/// How a group orders its members.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Strategy {
    /// In the order written: the next only when those before it are out.
    #[default]
    Failover,
    /// Those that are known to be able first: of which it is written down what they can do, and
    /// whose window is known to hold a long prompt. Then those of which it isn't known, each in the
    /// order written. (What surely can't serve a request is passed over under every strategy.)
    Capability,
    /// Each in turn; the rest follow in the same circle.
    RoundRobin,
    /// By weight: over any run as long as the sum of the weights, each member is first exactly as
    /// often as its weight says, spread evenly. The rest follow, the heaviest first.
    Weighted,
    /// The fewest requests under way, by weight.
    LeastBusy,
    /// Two at random, and of them the one whose latest replies were quicker, by how many requests it
    /// has under way: for pools of places that are as good as each other.
    PowerOfTwo,
    /// The lowest 95th percentile. It counts for more while a place has more requests under way
    /// than the times were taken with, or fails; among those within 10 % of the best, the less
    /// busy of two at random.
    Latency {
        /// Which time.
        of: Of,
    },
    /// The lowest estimated cost of the request at hand. Members without a price come last.
    Cost,
    /// Latency and cost multiplied, each to the power of its share. Members without a price come last.
    Score {
        /// Share of latency.
        latency: u32,
        /// Share of cost.
        cost: u32,
    },
    /// The same requests to the same member, by weight, so that its prompt cache hits. When a member
    /// goes, only what it had moves. Requests that don't say what they go by are spread.
    Affinity {
        /// What makes requests the same.
        by: By,
    },
    /// An A/B test: the same callers always to the same arm, by weight, and independent of other
    /// splits. The plan tells the arm.
    Split {
        /// What makes callers the same.
        by: By,
    },
    /// The caller's own region first, then those that [`Near`](crate::Near) names, then those that
    /// share its first word (`eu` of `eu-west`), then the others in the order written.
    Nearest,
}

/// Which time a strategy goes by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Of {
    /// That to the first token.
    #[default]
    FirstToken,
    /// That to the end of the reply.
    Whole,
}

/// What makes requests the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum By {
    /// The value of this header.
    Header(HeaderName),
    /// The caller: user, else key, else address.
    User,
    /// The start of the prompt, by [`Lazy::prefix`](crate::Lazy::prefix).
    Prompt,
}

impl Strategy {
    /// The snake_case name used in policies, labels and logs.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Failover => "failover",
            Self::Capability => "capability",
            Self::RoundRobin => "round_robin",
            Self::Weighted => "weighted",
            Self::LeastBusy => "least_busy",
            Self::PowerOfTwo => "power_of_two",
            Self::Latency { .. } => "latency",
            Self::Cost => "cost",
            Self::Score { .. } => "score",
            Self::Affinity { .. } => "affinity",
            Self::Split { .. } => "split",
            Self::Nearest => "nearest",
        }
    }

    /// Whether the order depends on nothing but whose turn it is.
    pub(crate) fn is_fixed(&self) -> bool {
        matches!(self, Self::Failover | Self::RoundRobin | Self::Weighted)
    }

    /// Whether it compares members by figures, so that their order is made anew after a failure.
    pub(crate) fn compares(&self) -> bool {
        matches!(
            self,
            Self::LeastBusy
                | Self::PowerOfTwo
                | Self::Latency { .. }
                | Self::Cost
                | Self::Score { .. }
        )
    }

    /// How good the best of some members is, as a logarithm, the lower the better; of no meaning where
    /// it doesn't compare.
    pub(crate) fn best(&self, ranks: &[Rank]) -> f32 {
        if !self.compares() {
            return 0.0;
        }
        let best = ranks.iter().map(|rank| rank.key).fold(f32::INFINITY, f32::min);
        // Scores are products, and their keys logarithms already.
        if matches!(self, Self::Score { .. }) { best } else { best.ln() }
    }

    /// Whether it goes by the times and costs that are told.
    pub(crate) fn measures(&self) -> bool {
        matches!(self, Self::Latency { .. } | Self::Cost | Self::Score { .. })
    }

    /// Whether each request has a member of its own, whoever else is ready.
    pub(crate) fn has_own(&self) -> bool {
        self.by().is_some() || *self == Self::Nearest
    }

    /// What makes requests the same, where it goes by that.
    pub(crate) fn by(&self) -> Option<&By> {
        match self {
            Self::Affinity { by } | Self::Split { by } => Some(by),
            _ => None,
        }
    }

    /// How often a member of this weight is first, beside others, where turns or chance decide.
    pub(crate) fn share(&self, weight: u32) -> f32 {
        match self {
            Self::RoundRobin => 1.0,
            Self::PowerOfTwo => weight.min(1) as f32,
            _ => weight as f32,
        }
    }

    /// Which time it goes by, if by any: the inner `None` is that which is meant where none is said.
    pub(crate) fn of(&self) -> Option<Option<Of>> {
        match self {
            Self::Latency { of } => Some(Some(*of)),
            Self::Score { .. } => Some(None),
            _ => None,
        }
    }

    /// Whether it needs to know every member's times.
    pub(crate) fn explores(&self) -> bool {
        matches!(self, Self::Latency { .. } | Self::Score { latency: 1.., .. })
    }
}

/// What a strategy knows of one usable member.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Entrant {
    /// Its place among the group's members.
    pub(crate) at: u8,
    pub(crate) weight: u32,
    /// The same for the same member, wherever it stands.
    pub(crate) identity: u64,
    /// How near its region is: 0 nearest.
    pub(crate) away: u8,
    /// It is known to be able.
    pub(crate) able: bool,
    /// Seconds to expect; `None`: too little is known.
    pub(crate) latency: Option<f32>,
    /// Nano-dollars to expect; `None`: no price is known.
    pub(crate) cost: Option<f32>,
    /// Seconds its latest replies took, under what is under way.
    pub(crate) peak: Option<f32>,
    pub(crate) in_flight: u32,
}

/// What is known of others, where nothing is of any entrant: what goes by one measure is compared
/// beyond its group.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Others {
    /// The median.
    pub(crate) latency: Option<f32>,
    pub(crate) peak: Option<f32>,
    /// One of them has a price.
    pub(crate) priced: bool,
}

/// A member's place in an order.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rank {
    pub(crate) at: u8,
    /// Lower is better.
    pub(crate) key: f32,
    /// Whether the key rests on figures of its own.
    pub(crate) known: bool,
    /// 0 to 1, the best 1; `None`: the strategy doesn't compare.
    pub(crate) score: Option<f32>,
}

/// What orders the entrants of a group that doesn't go by turns. `key`: of what makes requests the
/// same; `chance`: `None` leaves nothing to it, and tells who comes first before any lot is drawn.
pub(crate) fn rank(
    strategy: &Strategy,
    entrants: &Few<Entrant>,
    others: &Others,
    (key, chance): (u64, Option<&Chance>),
) -> Few<Rank> {
    let all = entrants.as_slice();
    match strategy {
        Strategy::LeastBusy => load::least_busy(all, chance),
        Strategy::PowerOfTwo => load::power_of_two(all, others, chance),
        Strategy::Latency { .. } => measured::latency(all, others, chance),
        Strategy::Cost => measured::cost(all, chance),
        Strategy::Score { latency, cost } => {
            measured::score(all, others, (*latency, *cost), chance)
        }
        Strategy::Affinity { .. } | Strategy::Split { .. } => sticky::rendezvous(all, key),
        Strategy::Nearest => region::nearest(all),
        Strategy::Capability => sorted(all, |one| if one.able { 0.0 } else { 1.0 }),
        _ => sorted(all, |_| 0.0),
    }
}

/// The less busy of two at random among the first `near` comes first; the others stay in order.
/// The best alone would get every request until its figures show it.
fn spread(ranks: &mut [Rank], near: usize, chance: Option<&Chance>, busy: impl Fn(u8) -> f32) {
    let Some(chance) = chance.filter(|_| near > 1) else { return };
    let one = chance.below(near);
    let other = (one + 1 + chance.below(near - 1)) % near;
    let load = |index: usize| ranks.get(index).map_or(f32::INFINITY, |rank| busy(rank.at));
    let first = if load(other) < load(one) { other } else { one };
    if let Some(before) = ranks.get_mut(..=first) {
        before.rotate_right(1);
    }
}
