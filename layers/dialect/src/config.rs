use std::fmt;

/// A bound that would let nothing through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigError {
    field: &'static str,
}

impl ConfigError {
    pub(crate) fn check(bounds: &[(&'static str, usize)]) -> Result<(), Self> {
        match bounds.iter().find(|(_, bound)| *bound == 0) {
            Some((field, _)) => Err(Self { field }),
            None => Ok(()),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` must be at least 1", self.field)
    }
}

impl std::error::Error for ConfigError {}
