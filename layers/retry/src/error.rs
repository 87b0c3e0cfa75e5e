use std::{error::Error, fmt};

use tollway_core::BoxError;

use crate::Attempts;

/// The error of the attempt that was handed on, with the history of all attempts.
///
/// Transparent: it prints as the error within, and [`tollway_core::find_error`] finds what is in the
/// chain below it.
#[derive(Debug)]
pub struct RetryError {
    attempts: Attempts,
    source: BoxError,
}

impl RetryError {
    pub(crate) fn new(attempts: Attempts, source: BoxError) -> Self {
        Self { attempts, source }
    }

    /// All attempts, in order.
    pub fn attempts(&self) -> &Attempts {
        &self.attempts
    }

    /// The error itself.
    pub fn into_inner(self) -> BoxError {
        self.source
    }
}

impl fmt::Display for RetryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

impl Error for RetryError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}
