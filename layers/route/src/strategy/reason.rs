//! Why the first member is first, in words: none says more than the figures beside it.

use super::{Of, Strategy};

/// By what the first member of a group that measures is first. The default: by its figures as they
/// are told, which are the best.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lead {
    /// It is nearly as good as the best, with which it shares requests.
    pub(crate) near: bool,
    /// Load or failures made the difference: by the figures that are told another would be first.
    pub(crate) counted: bool,
    pub(crate) form: Form,
}

/// What of the groups among the members has to be said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Form {
    /// Nothing.
    #[default]
    Plain,
    /// It is of the best member, and first in that one for another reason.
    Pool,
    /// A better one is first in a group that is worse as a whole.
    Whole,
    /// A better one stands behind the first of its group.
    Firsts,
}

/// Whom the first was compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// All that can be used.
    All,
    /// Some, which stand before the others for another reason.
    PutFirst,
    /// The others of its group.
    Pool,
}

/// One reason in all its forms, put together a part at a time.
macro_rules! told {
    ($lead:expr, $scope:expr, $best:literal, $more:literal) => {
        match ($lead.form == Form::Pool, $lead.near) {
            (false, false) => told!(@scope $lead, $scope, $more, $best),
            (false, true) => told!(@scope $lead, $scope, $more, "near the ", $best),
            (true, false) => told!(@scope $lead, $scope, $more, "of the pool with the ", $best),
            (true, true) => told!(@scope $lead, $scope, $more, "of a pool near the ", $best),
        }
    };
    (@scope $lead:expr, $scope:expr, $more:literal, $($said:literal),+) => {
        match $scope {
            Scope::All => told!(@form $lead, $more, $($said),+),
            Scope::PutFirst => told!(@form $lead, $more, $($said),+, " of those put first"),
            Scope::Pool => told!(@form $lead, $more, $($said),+, " of its pool"),
        }
    };
    (@form $lead:expr, $more:literal, $($said:literal),+) => {
        match $lead.form {
            Form::Plain | Form::Pool => told!(@counted $lead, $more, $($said),+),
            Form::Whole => told!(@counted $lead, $more, $($said),+, ", each pool as a whole"),
            Form::Firsts => told!(@counted $lead, $more, $($said),+, ", each pool by its first"),
        }
    };
    (@counted $lead:expr, $more:literal, $($said:literal),+) => {
        match $lead.counted {
            true => concat!($($said),+, ", ", $more, " counted"),
            false => concat!($($said),+),
        }
    };
}

impl Strategy {
    /// Why the first member is first.
    pub(crate) fn reason(&self, lead: Lead, scope: Scope) -> &'static str {
        match self {
            Self::Failover => "first that is ready",
            Self::Capability => "first that can",
            Self::RoundRobin => "its turn",
            Self::Weighted => "its share",
            Self::LeastBusy => match scope {
                Scope::All => "least busy",
                Scope::PutFirst => "least busy of those put first",
                Scope::Pool => "least busy of its pool",
            },
            Self::PowerOfTwo => "better of two at random",
            Self::Latency { of: Of::FirstToken } => {
                told!(lead, scope, "lowest p95 to the first token", "load and failures")
            }
            Self::Latency { of: Of::Whole } => {
                told!(lead, scope, "lowest p95 to the end", "load and failures")
            }
            Self::Cost => told!(lead, scope, "lowest cost", "failures"),
            Self::Score { .. } => {
                told!(lead, scope, "best score of latency and cost", "load and failures")
            }
            Self::Affinity { .. } => "where the same requests go",
            Self::Split { .. } => "its arm of the split",
            Self::Nearest => "nearest",
        }
    }

    /// The same where a request's own member is passed over.
    pub(crate) fn own_is_out(&self) -> &'static str {
        match self {
            Self::Affinity { .. } => "where the same requests go is out: the next",
            Self::Split { .. } => "its arm of the split is out: the next",
            Self::Nearest => "the nearest is out: the next",
            other => other.reason(Lead::default(), Scope::All),
        }
    }

    /// The same where a rule or a bound puts a request's own member behind others.
    pub(crate) fn put_first(&self) -> &'static str {
        match self {
            Self::Affinity { .. } => "where the same requests go, of those put first",
            Self::Split { .. } => "its arm of the split, of those put first",
            Self::Nearest => "nearest of those put first",
            other => other.reason(Lead::default(), Scope::PutFirst),
        }
    }

    /// The same where what it goes by isn't known of the request or of any member.
    pub(crate) fn shrug(&self) -> &'static str {
        match self {
            Self::Capability => "first that may: of none is it known that it can",
            Self::Affinity { .. } | Self::Split { .. } => {
                "by chance: the request doesn't say what it goes by"
            }
            Self::Nearest => "first that is ready: the caller's region is not known",
            other => other.reason(Lead::default(), Scope::All),
        }
    }

    /// Why the first member is first, where no time of any is known, or no price; `None`: what it goes
    /// by is known of some. `elsewhere`: of those that don't come first in their groups a price is known.
    pub(crate) fn blind(&self, timed: bool, priced: bool, elsewhere: bool) -> Option<&'static str> {
        let (wants_time, wants_price) = match self {
            Self::Latency { .. } => (true, false),
            Self::Cost => (false, true),
            Self::Score { latency, cost } => (*latency > 0, *cost > 0),
            _ => return None,
        };
        match (wants_time && !timed, wants_price && !priced) {
            (false, false) => None,
            (true, false) if wants_price => Some("by cost alone: too little is known of times"),
            (false, true) if wants_time => Some(match elsewhere {
                false => "by latency alone: no price is known",
                true => "by latency alone: no price is known to go by",
            }),
            (false, true) => Some(match elsewhere {
                false => "no price is known",
                true => "no price is known to go by",
            }),
            (true, _) => Some("too little is known to compare"),
        }
    }
}
