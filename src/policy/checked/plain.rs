/// Which time of a reply is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timing {
    /// To the first token.
    FirstToken,
    /// To the end.
    Whole,
}

/// What a request asks of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Need {
    /// Images.
    Vision,
    /// Tools.
    Tools,
    /// Answers in JSON.
    Json,
    /// Thinking.
    Reasoning,
    /// A stream.
    Streaming,
    /// Sound.
    Audio,
}

/// How hard a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Complexity {
    /// Not hard.
    Simple,
    /// In between.
    Moderate,
    /// Hard.
    Complex,
}

/// How large a model is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// The smallest.
    Tiny,
    /// For everyday work.
    Small,
    /// For hard work.
    Large,
    /// Thinks before it answers.
    Reasoning,
}

/// How long a prompt is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PromptSize {
    /// Under 200 tokens.
    Tiny,
    /// Under 2,000.
    Small,
    /// Under 20,000.
    Medium,
    /// Under 100,000.
    Large,
    /// 100,000 and more.
    Huge,
}

/// From the first to the last, both within.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The least.
    pub first: Option<u64>,
    /// The most, itself within.
    pub last: Option<u64>,
}

/// Hours of the week, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hours {
    /// A bit for each day on which they begin, Monday the lowest.
    pub days: u8,
    /// Minutes since midnight.
    pub from: u16,
    /// The first minute behind it; not later than `from`: on the next day.
    pub to: u16,
}
