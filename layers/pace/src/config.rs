use std::{fmt, time::Duration};

/// How to pace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// How long a request stands in line for its turn; zero (the default) refuses it at once.
    pub patience: Duration,
    /// The longest that anything a provider tells can hold requests back (60 s). After so long
    /// without a request or a reply one is let through to hear what the provider says by now.
    pub max_wait: Duration,
    /// The window of a limit on requests that is told without a reset (1 s, as xAI's is).
    pub request_window: Duration,
    /// The window of a limit on tokens that is told without a reset (60 s).
    pub token_window: Duration,
    /// Keys kept in memory (10,000). Further ones go unpaced, until one has nothing to tell any more.
    pub max_keys: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            patience: Duration::ZERO,
            max_wait: Duration::from_secs(60),
            request_window: Duration::from_secs(1),
            token_window: Duration::from_secs(60),
            max_keys: 10_000,
        }
    }
}

const LONGEST: Duration = Duration::from_secs(366 * 86_400);

impl Config {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let times = [self.max_wait, self.request_window, self.token_window];
        if times.iter().any(Duration::is_zero) {
            return Err(ConfigError("max_wait and the windows are longer than nothing"));
        }
        if times.iter().chain([&self.patience]).any(|time| *time > LONGEST) {
            return Err(ConfigError("no time is longer than 366 days"));
        }
        if self.max_keys == 0 {
            return Err(ConfigError("max_keys is at least 1"));
        }
        Ok(())
    }
}

/// A setting that nothing can be paced by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigError(&'static str);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for ConfigError {}
