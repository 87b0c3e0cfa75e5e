use std::fmt;

use super::Feature;

/// How hard a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Complexity {
    /// A small model answers it well: greetings, facts, short translations, classification.
    Simple,
    /// It takes some skill: a function, a summary, an explanation, a short text.
    Moderate,
    /// It takes a large model: proofs, architecture, long analyses, many steps.
    Complex,
}

impl Complexity {
    /// All of them, the simplest first.
    pub const ALL: [Self; 3] = [Self::Simple, Self::Moderate, Self::Complex];

    /// The lower-case name used in policies and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Simple => "simple",
            Self::Moderate => "moderate",
            Self::Complex => "complex",
        }
    }
}

impl fmt::Display for Complexity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What [`Weights`](super::Weights) make of [`Signals`](super::Signals).
///
/// It displays as one sentence:
///
/// ```
/// use tollway_route::auto::{Role, Scanner, Weights};
///
/// let mut scanner = Scanner::new();
/// scanner.turn(Role::User);
/// scanner.text("Thanks!");
/// let judgement = Weights::default().score(&scanner.finish());
/// assert_eq!(judgement.to_string(), "simple at -17 points: trivial -17");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// How hard it is.
    pub complexity: Complexity,
    /// Whether it asks for thinking before the answer.
    pub reasoning: bool,
    /// All points together.
    pub score: i32,
    /// The features that weigh most, with their points; the heaviest first.
    pub because: [Option<(Feature, i32)>; 3],
}

impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {} points", self.complexity, self.score)?;
        if self.reasoning {
            f.write_str(", with reasoning")?;
        }
        for (nth, (feature, points)) in self.because.iter().flatten().enumerate() {
            let before = if nth == 0 { ":" } else { "," };
            write!(f, "{before} {feature} {points:+}")?;
        }
        Ok(())
    }
}
