use std::{borrow::Cow, fmt};

use crate::NoneAble;

/// Why a set of routes was refused.
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

/// No route takes the request; answer with 404, for OpenAI's clients with code `model_not_found`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoRoute {
    pub(crate) model: Option<Box<str>>,
    pub(crate) nearest: Vec<String>,
}

impl NoRoute {
    /// The model that was asked for, cut off at 64 characters; `None`: the request names none.
    pub fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// Names of known models that may have been meant, the nearest first.
    pub fn nearest(&self) -> &[String] {
        &self.nearest
    }
}

impl fmt::Display for NoRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(model) = &self.model else {
            return f.write_str("No route takes this request, which names no model.");
        };
        write!(f, "The model `{model}` does not exist here or is not open to you.")?;
        for (at, name) in self.nearest.iter().enumerate() {
            let before = match at {
                0 => " Did you mean",
                _ if at + 1 == self.nearest.len() => " or",
                _ => ",",
            };
            write!(f, "{before} `{name}`")?;
        }
        if self.nearest.is_empty() { Ok(()) } else { f.write_str("?") }
    }
}

impl std::error::Error for NoRoute {}

/// Why a request goes nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// No route takes it.
    NoRoute(NoRoute),
    /// Its route has no target that can serve it.
    NoneAble(NoneAble),
}

impl Refusal {
    fn inner(&self) -> &(dyn std::error::Error + 'static) {
        match self {
            Self::NoRoute(refusal) => refusal,
            Self::NoneAble(refusal) => refusal,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.inner())
    }
}

impl std::error::Error for Refusal {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(self.inner())
    }
}

impl From<NoRoute> for Refusal {
    fn from(refusal: NoRoute) -> Self {
        Self::NoRoute(refusal)
    }
}

impl From<NoneAble> for Refusal {
    fn from(refusal: NoneAble) -> Self {
        Self::NoneAble(refusal)
    }
}
