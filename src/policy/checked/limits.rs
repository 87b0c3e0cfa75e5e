use std::{fmt, num::NonZeroU64, sync::Arc, time::Duration};

use tollway_core::Usd;

use super::{Place, Secret};
use crate::policy::{Glob, read::Scalar, values::Count};

/// A limit: one name, one scope, one or more quotas that are decided together.
#[derive(Clone, Debug, PartialEq)]
pub struct Limit {
    /// Unique.
    pub name: Arc<str>,
    /// One scope or a pair.
    pub per: Vec<Scope>,
    /// At least one; at most one of a unit.
    pub quotas: Vec<Quota>,
    /// What is taken for a reply that is yet to come.
    pub reserve: Reserve,
    /// What happens to a request that finds it full.
    pub when_full: WhenFull,
    /// What happens while the store that instances share is away.
    pub when_store_is_away: WhenStoreIsAway,
    /// Share of every quota that an instance may take beforehand, 0..=0.1; above 0 only where all
    /// of them are in a Redis.
    pub borrow: f64,
    /// `false`: a shadow that only tells what it would have refused.
    pub enforce: bool,
    /// Share of every quota held back, 0..1. The quotas are as written, not reduced.
    pub headroom: f64,
    /// Share of use at which it warns, above 0 and at most 1, where the policy says one.
    pub warn_at: Option<f64>,
    /// Only for models that one of these matches; empty: for every request.
    pub models: Vec<Glob>,
}

impl Limit {
    /// Share of use at which this quota warns: where the policy says nothing, money does at 80 %.
    pub fn warns_at(&self, quota: &Quota) -> Option<f64> {
        self.warn_at.or((quota.unit == Unit::Usd).then_some(0.8))
    }
}

/// What a limit takes for a reply that is yet to come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reserve {
    /// What such replies needed so far.
    #[default]
    Usual,
    /// All that it may use and cost.
    Most,
}

impl Reserve {
    /// As it is written in a policy.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Usual => "usual",
            Self::Most => "most",
        }
    }
}

/// What a limit does while the store that instances share is away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenStoreIsAway {
    /// Each instance decides by its share.
    #[default]
    Local,
    /// Everything goes.
    Open,
    /// Nothing goes.
    Closed,
}

impl WhenStoreIsAway {
    /// As it is written in a policy.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Open => "open",
            Self::Closed => "closed",
        }
    }
}

/// Whose requests share a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everybody's together.
    All,
    /// Each user.
    User,
    /// Each caller key.
    Key,
    /// Each client address.
    Ip,
    /// Each provider; decided at each attempt.
    Provider,
    /// Each key of each provider; decided at each attempt.
    ProviderKey,
    /// Each model.
    Model,
    /// Each value of this tag.
    Tag(Arc<str>),
}

impl fmt::Display for Scope {
    /// As it is written in a policy.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::User => f.write_str("user"),
            Self::Key => f.write_str("key"),
            Self::Ip => f.write_str("ip"),
            Self::Provider => f.write_str("provider"),
            Self::ProviderKey => f.write_str("provider_key"),
            Self::Model => f.write_str("model"),
            Self::Tag(tag) => write!(f, "tag {tag}"),
        }
    }
}

impl Scope {
    /// Whether it is known only once a request has a target, so that each attempt is decided.
    pub fn is_of_target(&self) -> bool {
        matches!(self, Self::Provider | Self::ProviderKey)
    }
}

/// How much of one unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// What is counted.
    pub unit: Unit,
    /// How many, in the unit's smallest part: requests, tokens, nano-USD.
    pub amount: NonZeroU64,
    /// Over which time.
    pub shape: Shape,
}

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unit {
    /// Requests.
    Requests,
    /// Input and output tokens.
    Tokens,
    /// Input tokens.
    InputTokens,
    /// Output tokens.
    OutputTokens,
    /// Money, in nano-USD.
    Usd,
    /// Requests that run at the same time.
    Concurrent,
}

impl Unit {
    /// As it is written in a policy.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
            Self::InputTokens => "input_tokens",
            Self::OutputTokens => "output_tokens",
            Self::Usd => "usd",
            Self::Concurrent => "concurrent",
        }
    }

    /// An amount as it is written in a policy, in the unit's smallest part.
    pub(in crate::policy) fn amount(self, text: &str) -> Option<u64> {
        match self {
            Self::Usd => text.trim_start_matches('$').parse().ok().map(Usd::nanos),
            _ => Count::parse(text).ok().map(|count| count.0),
        }
    }
}

/// Over which time a quota counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A token bucket: `amount` flows in over `per`, at most `burst` wait in it.
    Bucket {
        /// The time in which `amount` flows in.
        per: Duration,
        /// The bucket's size; `amount` where the policy says nothing.
        burst: NonZeroU64,
    },
    /// Never more than `amount` in any window of this length.
    Sliding {
        /// The window.
        window: Duration,
    },
    /// `amount` in each period of the calendar, by the policy's time zone.
    Calendar(Period),
    /// `amount` at the same time (only [`Unit::Concurrent`]).
    Concurrent,
}

/// A period of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// From the full hour.
    Hour,
    /// From midnight.
    Day,
    /// From the first of the month.
    Month,
}

impl Period {
    /// As it is written in a policy.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Month => "month",
        }
    }
}

/// What happens to a request that finds a limit full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// 429 at once.
    Reject,
    /// Waits its turn, this long at most, then 429.
    Wait(Duration),
    /// Goes on, but only to these targets; 429 if its route has none of them.
    Downgrade(Cheaper),
}

/// Where requests go whose budget is spent, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cheaper {
    /// These, whatever the route.
    pub to: Vec<Place>,
    /// Behind them those targets of the route that cost nothing.
    pub free: bool,
}

/// Who is told of budgets.
#[derive(Clone, Debug)]
pub struct Alerts {
    /// What is called.
    pub webhook: Option<Webhook>,
    /// After which time it is told again of a limit that is no calendar's.
    pub again: Duration,
}

/// Gets a POST of JSON for each alert.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// `http` or `https`, and a host. A secret, as it may hold a token.
    pub url: Secret,
    /// What calls are signed with.
    pub secret: Secret,
    /// The longest that a call may take.
    pub timeout: Duration,
    /// Calls after the first that brought nothing.
    pub retries: u32,
}
