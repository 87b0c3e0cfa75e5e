use std::{error::Error, fmt};

/// Why a text is no [`Rate`](crate::Rate).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseRateError;

impl fmt::Display for ParseRateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "expected USD per 1M tokens as a decimal with at most six decimals, such as 2.5",
        )
    }
}

impl Error for ParseRateError {}

/// Why a price, a price book or totals could not be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    SameBound(u64),
    SameName { provider: String, name: String },
    Zero(&'static str),
}

impl From<Kind> for ConfigError {
    fn from(kind: Kind) -> Self {
        Self(kind)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::SameBound(from) => {
                write!(f, "two price tiers begin at the same prompt of {from} tokens")
            }
            Kind::SameName { provider, name } => {
                write!(f, "model '{name}' of provider '{provider}' has two prices")
            }
            Kind::Zero(what) => write!(f, "{what} must be at least 1"),
        }
    }
}

impl Error for ConfigError {}
