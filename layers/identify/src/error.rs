use std::{borrow::Cow, fmt};

/// Why a set of settings was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(Cow<'static, str>);

impl ConfigError {
    pub(crate) fn new(text: impl Into<Cow<'static, str>>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

/// What was the matter with the caller's credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// None was sent.
    Missing,
    /// What was sent is none of our keys.
    Wrong,
    /// Two different keys of ours, or more credentials than any client sends.
    Ambiguous,
}

/// The caller showed no valid key; answer with 401. Never repeats what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unauthorized {
    reason: Reason,
}

impl Unauthorized {
    pub(crate) fn new(reason: Reason) -> Self {
        Self { reason }
    }

    /// What was the matter.
    pub fn reason(&self) -> Reason {
        self.reason
    }
}

impl fmt::Display for Unauthorized {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.reason {
            Reason::Missing => {
                "No API key was sent. Send the key this proxy's operator gave you, as \
                 `Authorization: Bearer KEY`."
            }
            Reason::Wrong => {
                "The API key is not known here. Send a key from this proxy's operator, as \
                 `Authorization: Bearer KEY`; a provider's own key is not accepted."
            }
            Reason::Ambiguous => {
                "Several different API keys were sent. Send one, as `Authorization: Bearer KEY`."
            }
        })
    }
}

impl std::error::Error for Unauthorized {}
