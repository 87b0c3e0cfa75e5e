use std::{borrow::Cow, fmt, time::Duration};

use tollway_core::ErrorClass;

use crate::{Backoff, Classes};

/// A setting that makes no sense; says which and what is allowed.
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

/// What comes first where both another target and another try at the same one could help.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Prefer {
    /// The next target of the plan, at once. The same target again only when no other is left, or
    /// when its own hint is short ([`Settings::stay_up_to`]).
    #[default]
    OtherTarget,
    /// The same target, up to [`Settings::attempts_per_target`] times, then the next.
    SameTarget,
}

/// The settings as written; [`Config::new`] checks them.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Attempts a request may take in all, on all targets, the first one included. 1 to 32;
    /// default 3.
    pub attempts: u32,
    /// Attempts one target may take in all, at least 1. Default `None`: no bound but `attempts`.
    pub attempts_per_target: Option<u32>,
    /// Waits between attempts at the same target; default [`Backoff::default`].
    pub backoff: Backoff,
    /// The longest hint (`Retry-After`) that is waited for. A longer one is not waited for: the
    /// request goes to another target, or its failure goes to the caller with the hint. Default 60 s.
    pub obey_up_to: Duration,
    /// A hint up to this is waited for even while another target is left, once for each. Default 1 s; zero turns
    /// that off.
    pub stay_up_to: Duration,
    /// What comes first; default: the other target.
    pub prefer: Prefer,
    /// Failures after which the same target is tried again. Default: all that core calls
    /// retryable; others are refused.
    pub retry_on: Classes,
    /// Failures after which another target is tried. Default: all that core lets fail over, which
    /// leaves out invalid requests and content filters.
    pub fail_over_on: Classes,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            attempts: 3,
            attempts_per_target: None,
            backoff: Backoff::default(),
            obey_up_to: Duration::from_secs(60),
            stay_up_to: Duration::from_secs(1),
            prefer: Prefer::OtherTarget,
            retry_on: ErrorClass::ALL.into_iter().filter(|class| class.is_retryable()).collect(),
            fail_over_on: ErrorClass::ALL
                .into_iter()
                .filter(|class| class.can_fail_over())
                .collect(),
        }
    }
}

/// Checked [`Settings`].
///
/// ```
/// use tollway_retry::{Config, Settings};
///
/// assert!(Config::new(Settings { attempts: 5, ..Settings::default() }).is_ok());
/// assert!(Config::new(Settings { attempts: 0, ..Settings::default() }).is_err());
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config(Settings);

impl Config {
    /// Attempts a request may be given at most, whatever the settings.
    pub const MOST_ATTEMPTS: u32 = 32;

    /// Checks the settings.
    ///
    /// # Errors
    /// Where a number is out of its range, or a class can never be helped by another try.
    pub fn new(settings: Settings) -> Result<Self, ConfigError> {
        if !(1..=Self::MOST_ATTEMPTS).contains(&settings.attempts) {
            return Err(ConfigError::new("attempts must be 1 to 32"));
        }
        if settings.attempts_per_target == Some(0) {
            return Err(ConfigError::new("attempts per target must be at least 1"));
        }
        if settings.stay_up_to > settings.obey_up_to {
            return Err(ConfigError::new("stay_up_to must not be above obey_up_to"));
        }
        if let Some(class) = settings.retry_on.iter().find(|class| !class.is_retryable()) {
            return Err(ConfigError::new(format!(
                "{class} cannot be retried on the same target: nothing changes by waiting"
            )));
        }
        if settings.fail_over_on.contains(ErrorClass::Cancelled) {
            return Err(ConfigError::new("cancelled cannot fail over: the caller has left"));
        }
        Ok(Self(settings))
    }

    /// The settings that were checked.
    pub fn settings(&self) -> &Settings {
        &self.0
    }
}

impl std::ops::Deref for Config {
    type Target = Settings;

    fn deref(&self) -> &Settings {
        &self.0
    }
}
