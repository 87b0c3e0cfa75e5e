//! How hard a request looks.

/// How hard a request looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Complexity {
    /// A small model will do.
    #[default]
    Simple,
    /// In between.
    Moderate,
    /// It takes a large model.
    Complex,
}

impl Complexity {
    /// The lower-case name used in policies, labels and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Simple => "simple",
            Self::Moderate => "moderate",
            Self::Complex => "complex",
        }
    }
}

/// What was read of a prompt.
#[derive(Clone, Copy, Debug, Default)]
pub struct Signals {
    /// Tokens of the prompt.
    pub tokens: u64,
}

/// What [`Weights`] say of a request.
#[derive(Clone, Copy, Debug)]
pub struct Judgement {
    /// How hard it looks.
    pub complexity: Complexity,
    /// Whether it asks for thinking.
    pub reasoning: bool,
}

/// How much each feature counts.
#[derive(Clone, Debug, Default)]
pub struct Weights {
    _to_come: (),
}

impl Weights {
    /// Judges a request.
    pub fn score(&self, signals: &Signals) -> Judgement {
        let complexity = match signals.tokens {
            0..=199 => Complexity::Simple,
            200..=1_999 => Complexity::Moderate,
            _ => Complexity::Complex,
        };
        Judgement { complexity, reasoning: false }
    }
}
