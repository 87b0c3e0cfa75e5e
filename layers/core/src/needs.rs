use std::{fmt, ops};

/// What a request needs of a model, as a set.
///
/// ```
/// use tollway_core::Needs;
///
/// let asked = Needs::VISION | Needs::TOOLS;
/// assert!(asked.contains(Needs::TOOLS) && !Needs::TOOLS.contains(asked));
/// assert_eq!(asked.without(Needs::TOOLS), Needs::VISION);
/// assert_eq!(asked.to_string(), "vision, tools");
/// assert_eq!(Needs::from_name("json"), Some(Needs::JSON));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Needs(u8);

impl Needs {
    /// Nothing in particular.
    pub const NONE: Self = Self(0);
    /// Images among the input.
    pub const VISION: Self = Self(1);
    /// Calls of tools.
    pub const TOOLS: Self = Self(1 << 1);
    /// JSON by mode or schema.
    pub const JSON: Self = Self(1 << 2);
    /// Thinking before the answer.
    pub const REASONING: Self = Self(1 << 3);
    /// A stream of events.
    pub const STREAMING: Self = Self(1 << 4);
    /// Audio in or out.
    pub const AUDIO: Self = Self(1 << 5);

    const NAMES: [(Self, &'static str); 6] = [
        (Self::VISION, "vision"),
        (Self::TOOLS, "tools"),
        (Self::JSON, "json"),
        (Self::REASONING, "reasoning"),
        (Self::STREAMING, "streaming"),
        (Self::AUDIO, "audio"),
    ];

    /// The need of this lower-case name, as policies write it.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(_, known)| *known == name).map(|(need, _)| *need)
    }

    /// Whether all of `other` is in it.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// What is in either.
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What of it isn't in `other`.
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether nothing is in it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The lower-case names of what is in it.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let here = move |(need, _): &(Self, _)| self.contains(*need);
        Self::NAMES.into_iter().filter(here).map(|(_, name)| name)
    }
}

impl ops::BitOr for Needs {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.or(other)
    }
}

impl ops::BitOrAssign for Needs {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl fmt::Display for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, name) in self.names().enumerate() {
            if at > 0 {
                f.write_str(", ")?;
            }
            f.write_str(name)?;
        }
        Ok(())
    }
}
