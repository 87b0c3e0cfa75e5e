use std::fmt;

use tollway_core::BoxError;

/// A store did not do what it was asked to.
#[derive(Debug)]
pub struct StoreError {
    kind: Kind,
    what: String,
    source: Option<BoxError>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Away,
    Wrong,
}

impl StoreError {
    /// It can't be reached, or was too slow: asking again later may help.
    pub fn away(what: impl Into<String>, source: impl Into<BoxError>) -> Self {
        Self { kind: Kind::Away, what: what.into(), source: Some(source.into()) }
    }

    /// It answers, but not so that it can be used: wrong address or password, a file of a newer
    /// version, data that is damaged.
    pub fn wrong(what: impl Into<String>) -> Self {
        Self { kind: Kind::Wrong, what: what.into(), source: None }
    }

    /// The same, with what caused it.
    #[must_use]
    pub fn because(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Whether asking again later may help.
    pub fn is_away(&self) -> bool {
        self.kind == Kind::Away
    }
}

impl fmt::Display for StoreError {
    /// The whole reason: it is told in logs as one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for StoreError {}
