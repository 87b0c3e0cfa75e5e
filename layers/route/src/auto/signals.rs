use super::{Feature, feature::Each};

/// What a [`Scanner`](super::Scanner) found: all that a judgement needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signals {
    pub(super) counts: Each<u16>,
    pub(super) tokens: u64,
    pub(super) scanned: u64,
}

impl Default for Signals {
    /// Of an empty request.
    fn default() -> Self {
        Self { counts: Each::all(0), tokens: 0, scanned: 0 }
    }
}

impl Signals {
    /// How often a feature was found.
    pub fn count(&self, feature: Feature) -> u16 {
        self.counts.get(feature)
    }

    /// The length of all texts, at four bytes a token.
    pub fn tokens(&self) -> u64 {
        self.tokens
    }

    /// Bytes that were searched for words; at most 32 KB, whatever the prompt's length.
    pub fn scanned(&self) -> u64 {
        self.scanned
    }
}
