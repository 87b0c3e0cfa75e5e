use std::{borrow::Cow, fmt, str::FromStr, sync::Arc, time::Duration};

use tollway_core::{Caller, Ending, Target, Usage, Usd};

/// One request, told once when it is over.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// When it was over, in milliseconds since 1970 (UTC).
    pub at: u64,
    /// Its id.
    pub request: Id,
    /// Who asked; empty where nobody was identified. Whether it was authenticated isn't kept.
    pub caller: Caller,
    /// Kind of call, such as `chat`.
    pub operation: Cow<'static, str>,
    /// The model that was asked for, in the caller's words.
    pub asked_model: Option<Arc<str>>,
    /// Who served it: provider, the name of the key used there, model.
    pub target: Option<Target>,
    /// Tokens by class, as reported or estimated; `None`: unknown.
    pub usage: Option<Usage>,
    /// What they cost; `None`: usage or price unknown, which is not zero.
    pub cost: Option<Usd>,
    /// Status of the reply; `None`: the caller left before there was one.
    pub status: Option<u16>,
    /// How often it was tried.
    pub attempts: u32,
    /// From its head to the reply's end. Kept to the microsecond.
    pub whole: Duration,
    /// From its head to the first content token. Kept to the microsecond.
    pub first_token: Option<Duration>,
    /// How long of it a provider was waited for. Kept to the microsecond.
    pub upstream: Duration,
    /// How the reply ended.
    pub ending: Ending,
    /// By what it was sent where it went, if it got as far.
    pub decision: Option<Decided>,
}

/// A routing decision in short.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Decided {
    /// Name of the route.
    pub route: Arc<str>,
    /// Its rule that matched.
    pub rule: Option<Arc<str>>,
    /// The strategy that ordered the targets.
    pub strategy: Cow<'static, str>,
    /// The arm of an experiment.
    pub arm: Option<Arc<str>>,
}

impl Row {
    /// A row of a request that was over at `at` and of which nothing else is known.
    pub fn new(at: u64, request: Id, ending: Ending) -> Self {
        Self {
            at,
            request,
            caller: Caller::default(),
            operation: Cow::Borrowed("other"),
            asked_model: None,
            target: None,
            usage: None,
            cost: None,
            status: None,
            attempts: 0,
            whole: Duration::ZERO,
            first_token: None,
            upstream: Duration::ZERO,
            ending,
            decision: None,
        }
    }

    /// Name of the model that served: the target's, or the one asked for.
    pub fn model(&self) -> Option<&Arc<str>> {
        self.target.as_ref().and_then(Target::model).or(self.asked_model.as_ref())
    }
}

/// A request's id, printed as 24 hex digits.
///
/// ```
/// use tollway_store::ledger::Id;
///
/// let id: Id = "00112233445566778899aabb".parse().unwrap();
/// assert_eq!(id.to_string(), "00112233445566778899aabb");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub [u8; 12]);

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A text is no request's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseIdError;

impl fmt::Display for ParseIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected 24 hex digits")
    }
}

impl std::error::Error for ParseIdError {}

impl FromStr for Id {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() != 24 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(ParseIdError);
        }
        let bits = u128::from_str_radix(text, 16).map_err(|_| ParseIdError)?;
        let mut id = [0; 12];
        id.copy_from_slice(&bits.to_be_bytes()[4..]);
        Ok(Self(id))
    }
}

/// How an ending is written: `complete`, `failed` or `client_left`.
pub(crate) fn ending_name(ending: Ending) -> &'static str {
    match ending {
        Ending::Complete => "complete",
        Ending::Failed => "failed",
        Ending::Dropped => "client_left",
    }
}

pub(crate) fn ending_of(name: &str) -> Ending {
    match name {
        "complete" => Ending::Complete,
        "failed" => Ending::Failed,
        _ => Ending::Dropped,
    }
}

pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
