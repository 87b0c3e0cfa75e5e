use std::{fmt, sync::Arc};

use http::request::Parts;

use crate::{Key, Limit};

/// What a limit counts. The layer only hands it on: to [`Settle`](crate::Settle), to events, and
/// to the choice between OpenAI's `-requests` and `-tokens` headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Unit {
    /// Requests.
    Requests,
    /// Tokens, input and output together.
    Tokens,
    /// Input tokens.
    InputTokens,
    /// Output tokens.
    OutputTokens,
    /// Money, in nano-USD.
    NanoUsd,
    /// Anything else: bytes, pages, seats; the number is the caller's own.
    Custom(u8),
}

impl Unit {
    /// A low-cardinality name for labels, logs and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
            Self::InputTokens => "input tokens",
            Self::OutputTokens => "output tokens",
            Self::NanoUsd => "nano-USD",
            Self::Custom(_) => "units",
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

type KeyFn = dyn Fn(&Parts) -> Option<Key> + Send + Sync;
type EstimateFn = dyn Fn(&Parts) -> u64 + Send + Sync;

/// A [`Limit`] applied to requests: whose quota a request draws on, and how much of it.
///
/// ```
/// use std::time::Duration;
/// use tollway_core::{Ask, Caller};
/// use tollway_rate_limit::{Key, Limit, Quota, Rule, Unit};
///
/// let minute = Duration::from_secs(60);
/// let quota = Quota::TokenBucket { amount: 50_000, per: minute, burst: 50_000 };
/// let rule = Rule::new(Limit::new("user-tokens", quota)?, Unit::Tokens)
///     .key(|request| Some(Key::from(request.extensions.get::<Caller>()?.user.as_ref()?)))
///     .estimate(|request| request.extensions.get::<Ask>().map_or(0, |ask| ask.input_tokens));
/// assert_eq!(&**rule.limit().name(), "user-tokens");
/// # Ok::<_, tollway_rate_limit::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct Rule {
    pub(crate) limit: Limit,
    pub(crate) unit: Unit,
    pub(crate) key: Arc<KeyFn>,
    pub(crate) estimate: Arc<EstimateFn>,
    pub(crate) scope: Option<Arc<str>>,
    pub(crate) known_as: Option<Arc<str>>,
    pub(crate) here: bool,
    pub(crate) bounded: bool,
}

impl Rule {
    /// One quota for everybody, of which each request takes 1.
    pub fn new(limit: Limit, unit: Unit) -> Self {
        let (key, estimate) = (Arc::new(|_: &Parts| Some(Key::All)), Arc::new(|_: &Parts| 1));
        let (scope, known_as) = (None, None);
        Self { limit, unit, key, estimate, scope, known_as, here: false, bounded: false }
    }

    /// Whose quota; `None`: the limit doesn't apply to the request.
    #[must_use]
    pub fn key(mut self, key: impl Fn(&Parts) -> Option<Key> + Send + Sync + 'static) -> Self {
        self.key = Arc::new(key);
        self
    }

    /// How much to take on the way in. A request whose estimate is above [`Limit::capacity`], or
    /// above its key's [own quota](crate::Handle::set_quota), is refused as one that never fits,
    /// unless the rule is [`bounded`](Self::bounded).
    #[must_use]
    pub fn estimate(mut self, estimate: impl Fn(&Parts) -> u64 + Send + Sync + 'static) -> Self {
        self.estimate = Arc::new(estimate);
        self
    }

    /// A request whose estimate is above all that its key may have waits for a full quota, and
    /// pays the rest as a debt.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        self.bounded = true;
        self
    }

    /// In one word what the keys are (`user`). A rule that
    /// [takes over](crate::RateLimitLayerBuilder::resume) from one with another word begins anew: the
    /// quota of the user `main` is none of the key `main`.
    #[must_use]
    pub fn scope(mut self, scope: impl Into<Arc<str>>) -> Self {
        self.scope = Some(scope.into());
        self
    }

    /// The name under which is remembered what was used, where that is not the limit's own: a rule
    /// [takes over](crate::RateLimitLayerBuilder::resume) from another with the same one, also if the
    /// limit is called differently now.
    #[must_use]
    pub fn known_as(mut self, name: impl Into<Arc<str>>) -> Self {
        self.known_as = Some(name.into());
        self
    }

    /// Decided by this process, also in a layer whose limits are
    /// [shared](crate::RateLimitLayerBuilder::shared): after those, and undone with them.
    #[must_use]
    pub fn here(mut self) -> Self {
        self.here = true;
        self
    }

    /// The limit.
    pub fn limit(&self) -> &Limit {
        &self.limit
    }

    /// The name under which is remembered what was used.
    pub(crate) fn memory(&self) -> &Arc<str> {
        self.known_as.as_ref().unwrap_or(self.limit.name())
    }

    /// What it counts.
    pub fn unit(&self) -> Unit {
        self.unit
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rule")
            .field("limit", &self.limit)
            .field("unit", &self.unit)
            .finish_non_exhaustive()
    }
}
