use std::fmt;

/// What a request is judged by. Each is counted, and each count is worth points
/// ([`Weights`](super::Weights)).
///
/// Words are read of the last user message alone, and not where they stand in quotation marks or
/// in fenced code. Where the system prompt begins by asking for something small, the user's message
/// is its material: words that ask for more don't count in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Feature {
    /// Doublings of the last user message's length above 4 tokens.
    AskLength,
    /// Doublings of the whole prompt's length above 512 tokens.
    PromptLength,
    /// User messages before the last one.
    Turns,
    /// Doublings of the number of tools offered, one tool being the first.
    Tools,
    /// Images.
    Images,
    /// The answer must follow a schema.
    Schema,
    /// Marks of program text: fences, keywords with their punctuation, names of files.
    Code,
    /// Marks of a failure: stack traces, names of exceptions, `segfault`.
    Trace,
    /// Marks of mathematics: LaTeX, symbols, names of its objects.
    Maths,
    /// Numbers written in digits, where there is a question or a word of reasoning.
    Figures,
    /// Words that ask for a proof or a derivation.
    Proof,
    /// Words that ask for thinking: step by step, solve, why not, puzzle, root cause.
    Reasoning,
    /// Words that ask for weighing: compare, evaluate, trade-off, risks.
    Analysis,
    /// Words that ask for a plan of something large: design, architecture, migrate, optimise.
    Design,
    /// Words that ask for something made or explained: write, implement, summarise, explain.
    Task,
    /// Words of experts' subjects: concurrency, theorem, liability.
    Topic,
    /// Conditions on the answer: must, without, exactly, at least.
    Constraints,
    /// Question marks, and words that ask for a number.
    Questions,
    /// Lines of a list, and numbered ones.
    Items,
    /// Doublings of the length asked for, above 100 words.
    LengthAsked,
    /// Words that ask for something small, near the beginning: greetings, thanks, what is the
    /// capital of, translate, a synonym.
    Trivial,
    /// Words that ask for a short answer: in one sentence, briefly, in ten words.
    Brief,
    /// Marks of hard matters (code, failures, proofs, thinking, designs) in what was said before.
    Context,
    /// Marks of hard matters in what the user asked before, where the last user message asks for
    /// nothing small: it goes on with the same matter.
    Earlier,
    /// Words of the system prompt that ask for something small or for a short answer.
    Narrow,
    /// Commas and semicolons in the first and the last paragraph of the last user message: what is
    /// to be thought of.
    Clauses,
}

impl Feature {
    /// All of them, in order.
    pub const ALL: [Self; 26] = [
        Self::AskLength,
        Self::PromptLength,
        Self::Turns,
        Self::Tools,
        Self::Images,
        Self::Schema,
        Self::Code,
        Self::Trace,
        Self::Maths,
        Self::Figures,
        Self::Proof,
        Self::Reasoning,
        Self::Analysis,
        Self::Design,
        Self::Task,
        Self::Topic,
        Self::Constraints,
        Self::Questions,
        Self::Items,
        Self::LengthAsked,
        Self::Trivial,
        Self::Brief,
        Self::Context,
        Self::Earlier,
        Self::Narrow,
        Self::Clauses,
    ];

    /// The lower-case name used in policies and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AskLength => "ask_length",
            Self::PromptLength => "prompt_length",
            Self::Turns => "turns",
            Self::Tools => "tools",
            Self::Images => "images",
            Self::Schema => "schema",
            Self::Code => "code",
            Self::Trace => "trace",
            Self::Maths => "maths",
            Self::Figures => "figures",
            Self::Proof => "proof",
            Self::Reasoning => "reasoning",
            Self::Analysis => "analysis",
            Self::Design => "design",
            Self::Task => "task",
            Self::Topic => "topic",
            Self::Constraints => "constraints",
            Self::Questions => "questions",
            Self::Items => "items",
            Self::LengthAsked => "length_asked",
            Self::Trivial => "trivial",
            Self::Brief => "brief",
            Self::Context => "context",
            Self::Earlier => "earlier",
            Self::Narrow => "narrow",
            Self::Clauses => "clauses",
        }
    }

    /// The feature of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|feature| feature.as_str() == name)
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A value for each feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Each<T>([T; Feature::ALL.len()]);

impl<T: Copy> Each<T> {
    pub(super) const fn all(value: T) -> Self {
        Self([value; Feature::ALL.len()])
    }

    pub(super) fn get(&self, feature: Feature) -> T {
        self.0[feature as usize]
    }

    pub(super) fn get_mut(&mut self, feature: Feature) -> &mut T {
        &mut self.0[feature as usize]
    }
}
