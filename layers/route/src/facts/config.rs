use std::{fmt, time::Duration};

/// How long figures count, and what they say of a target's health. The same for every target.
///
/// Plain values; [`Tracker::new`](super::Tracker::new) checks them. Ratios are per mille.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Length of the sliding window behind quantiles and means. At a busy target quantiles rest on the
    /// newest of its parts that hold 200 samples, or [`min_samples`](Self::min_samples) if that is more.
    /// Default 5 min.
    pub window: Duration,
    /// Parts in which the window slides; each that holds something takes 1.7 kB. Default 10.
    pub parts: u32,
    /// Samples in the window before it has quantiles. A target that would soon have fewer, for want of
    /// traffic, is told as stale. Default 10.
    pub min_samples: u32,
    /// Time after which an outcome weighs half as much in the success rate. Default 30 s.
    pub half_life: Duration,
    /// Time in which a peak of latency halves, down to the median. Default 10 s.
    pub peak_half_life: Duration,
    /// When a target is degraded or down.
    pub health: Thresholds,
    /// Most targets to remember. When there are more, those go that had no request for a window, and
    /// if all had, those that had none for the longest. Default 4,096.
    pub max_targets: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(300),
            parts: 10,
            min_samples: 10,
            half_life: Duration::from_secs(30),
            peak_half_life: Duration::from_secs(10),
            health: Thresholds::default(),
            max_targets: 4096,
        }
    }
}

/// When a target is degraded or down, and how it comes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Degraded while its success rate, per mille, is below this (and until it is halfway from
    /// here to 1000 again). Default 950.
    pub degraded_below: u32,
    /// Down as its success rate, per mille, falls below this. Default 500.
    pub down_below: u32,
    /// Outcomes that still weigh, each by its age, before a success rate counts. Default 10.
    pub min_outcomes: u32,
    /// Down after this many failures in a row, of requests or of probes. Default 5.
    pub down_after: u32,
    /// Degraded while the 95th percentile of the time to the first token is above this. Default
    /// `None`: never for this reason.
    pub slow_first_token: Option<Duration>,
    /// The same for the whole reply. Default `None`.
    pub slow_whole: Option<Duration>,
    /// How long a target that is down is left alone; each failure after that begins it anew.
    /// Default 30 s.
    pub cooldown: Duration,
    /// After the cooldown a target is told as degraded while fewer requests than this are under
    /// way, else as down: the trickle that tries it. Default 1.
    pub trickle: u32,
    /// Successes in a row, of the trickle or of probes, that end the trial. Default 3.
    pub recover_after: u32,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            degraded_below: 950,
            down_below: 500,
            min_outcomes: 10,
            down_after: 5,
            slow_first_token: None,
            slow_whole: None,
            cooldown: Duration::from_secs(30),
            trickle: 1,
            recover_after: 3,
        }
    }
}

/// The longest a setting of time may be; keeps every sum of times far from overflow.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

const TIME: &str = "more than zero and at most 365 days";

pub(super) fn is_time(time: Duration) -> bool {
    !time.is_zero() && time <= LONGEST
}

impl Config {
    /// Whether figures can be kept by these settings.
    ///
    /// # Errors
    ///
    /// Names the first setting that can't be, and what it may be.
    pub fn check(&self) -> Result<(), ConfigError> {
        let health = &self.health;
        let rate = |rate: u32| rate <= 1000;
        let slow = |slow: Option<Duration>| slow.is_none_or(is_time);
        first_broken(&[
            (is_time(self.window), "window", TIME),
            ((1..=1000).contains(&self.parts), "parts", "1 to 1000"),
            (self.min_samples > 0, "min_samples", "1 or more"),
            (is_time(self.half_life), "half_life", TIME),
            (is_time(self.peak_half_life), "peak_half_life", TIME),
            (self.max_targets > 0, "max_targets", "1 or more"),
            (rate(health.degraded_below), "health.degraded_below", "0 to 1000 per mille"),
            (
                health.down_below <= health.degraded_below,
                "health.down_below",
                "at most degraded_below",
            ),
            (health.min_outcomes > 0, "health.min_outcomes", "1 or more"),
            (health.down_after > 0, "health.down_after", "1 or more"),
            (slow(health.slow_first_token), "health.slow_first_token", TIME),
            (slow(health.slow_whole), "health.slow_whole", TIME),
            (is_time(health.cooldown), "health.cooldown", TIME),
            (health.trickle > 0, "health.trickle", "1 or more"),
            (health.recover_after > 0, "health.recover_after", "1 or more"),
        ])
    }
}

/// The first of the rules that doesn't hold: what it is for, and what is expected there.
pub(super) fn first_broken(
    rules: &[(bool, &'static str, &'static str)],
) -> Result<(), ConfigError> {
    match rules.iter().find(|(holds, ..)| !holds) {
        None => Ok(()),
        Some((_, setting, expected)) => Err(ConfigError { setting, expected }),
    }
}

/// A setting that no figures can be kept by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigError {
    setting: &'static str,
    expected: &'static str,
}

impl ConfigError {
    /// The field of [`Config`] or [`Pacing`](super::Pacing), as written there.
    pub fn setting(&self) -> &'static str {
        self.setting
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} must be {}", self.setting, self.expected)
    }
}

impl std::error::Error for ConfigError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_holds() {
        assert_eq!(Config::default().check(), Ok(()));
    }

    #[test]
    fn names_what_cannot_be() {
        type Spoil = fn(&mut Config);
        let cases: [(&str, Spoil); 15] = [
            ("window", |c| c.window = Duration::ZERO),
            ("parts", |c| c.parts = 0),
            ("min_samples", |c| c.min_samples = 0),
            ("half_life", |c| c.half_life = Duration::MAX),
            ("peak_half_life", |c| c.peak_half_life = Duration::ZERO),
            ("max_targets", |c| c.max_targets = 0),
            ("health.degraded_below", |c| c.health.degraded_below = 1001),
            ("health.down_below", |c| c.health.down_below = 951),
            ("health.min_outcomes", |c| c.health.min_outcomes = 0),
            ("health.down_after", |c| c.health.down_after = 0),
            ("health.slow_first_token", |c| c.health.slow_first_token = Some(Duration::ZERO)),
            ("health.slow_whole", |c| c.health.slow_whole = Some(Duration::ZERO)),
            ("health.cooldown", |c| c.health.cooldown = Duration::ZERO),
            ("health.trickle", |c| c.health.trickle = 0),
            ("health.recover_after", |c| c.health.recover_after = 0),
        ];
        for (setting, spoil) in cases {
            let mut config = Config::default();
            spoil(&mut config);
            let error = config.check().unwrap_err();
            assert_eq!(error.setting(), setting);
            assert!(error.to_string().starts_with(setting));
        }
    }
}
