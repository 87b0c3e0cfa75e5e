use std::{fmt, time::Duration};

/// What a provider counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unit {
    /// Requests.
    Requests,
    /// Tokens, input and output together.
    Tokens,
    /// Input tokens.
    InputTokens,
    /// Output tokens.
    OutputTokens,
}

pub(crate) const UNITS: usize = Unit::ALL.len();

impl Unit {
    /// Every unit.
    pub const ALL: [Self; 4] =
        [Self::Requests, Self::Tokens, Self::InputTokens, Self::OutputTokens];

    /// The snake_case name used in labels and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
            Self::InputTokens => "input_tokens",
            Self::OutputTokens => "output_tokens",
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One limit, as far as a reply tells of it. The default tells nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// What the limit allows when full. 0 counts as not told: it stands for "none" where it occurs.
    pub limit: Option<u64>,
    /// What is left of it. More than the limit counts as all of it.
    pub remaining: Option<u64>,
    /// How long until it is full again: not the least wait.
    pub reset: Option<Duration>,
}

impl Told {
    /// A limit of which all three are told.
    pub fn new(limit: u64, remaining: u64, reset: Duration) -> Self {
        Self { limit: Some(limit), remaining: Some(remaining), reset: Some(reset) }
    }
}

/// What a reply's head tells of the provider's limits. The default tells nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    told: [Option<Told>; UNITS],
    blocked_for: Option<Duration>,
}

impl Reading {
    /// The same reading with what was told of one limit.
    #[must_use]
    pub fn with(mut self, unit: Unit, told: impl Into<Option<Told>>) -> Self {
        self.told[unit as usize] = told.into();
        self
    }

    /// The same reading of a reply that was a refusal for now (429), with the wait it asked for.
    #[must_use]
    pub fn with_block(mut self, wait: impl Into<Option<Duration>>) -> Self {
        self.blocked_for = wait.into();
        self
    }

    /// What was told of one limit.
    pub fn told(&self, unit: Unit) -> Option<Told> {
        self.told[unit as usize]
    }

    /// The wait that a refusal asked for.
    pub fn blocked_for(&self) -> Option<Duration> {
        self.blocked_for
    }
}

/// How much a request takes of each limit. By default one request and no tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weights(pub(crate) [u64; UNITS]);

impl Default for Weights {
    fn default() -> Self {
        Self([1, 0, 0, 0])
    }
}

impl Weights {
    /// One request of so many tokens.
    pub fn tokens(input: u64, output: u64) -> Self {
        Self([1, input.saturating_add(output), input, output])
    }

    /// More than any limit there is, and sums of it don't overflow.
    pub(crate) fn bounded(self) -> Self {
        Self(self.0.map(|weight| weight.min(1 << 40)))
    }

    /// How much of one limit.
    pub fn of(&self, unit: Unit) -> u64 {
        self.0[unit as usize]
    }
}
