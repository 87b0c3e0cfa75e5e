use std::{fmt, time::Duration};

use tollway_core::ErrorClass;

use super::{Nanos, Thresholds, measures::Success, nanos};
use crate::{Health, Quantiles};

/// What is the matter with a target. Prints in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Issue {
    /// Requests fail.
    Failing {
        /// So many of
        failed: u32,
        /// the last requests, 20 at most.
        of: u32,
        /// What they fail with most, of late.
        class: Option<ErrorClass>,
    },
    /// Probes fail.
    ProbesFailing {
        /// How many in a row.
        failed: u32,
    },
    /// The first token takes long.
    SlowFirstToken {
        /// The 95th percentile.
        p95: Duration,
        /// The most that is thought healthy.
        wanted: Duration,
    },
    /// The whole reply takes long.
    SlowWhole {
        /// The 95th percentile.
        p95: Duration,
        /// The most that is thought healthy.
        wanted: Duration,
    },
    /// It is down and left alone.
    Resting {
        /// For so long yet.
        left: Duration,
    },
    /// Others found it down, and nothing here has shown otherwise.
    FoundByOthers {
        /// For so long yet.
        left: Duration,
    },
    /// It was down and is being tried.
    Trying {
        /// Successes in a row so far.
        succeeded: u32,
        /// How many are needed.
        of: u32,
    },
}

impl fmt::Display for Issue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Failing { failed, of, class } => {
                write!(f, "{failed} of the last {of} requests failed")?;
                class.map_or(Ok(()), |class| write!(f, ": {class}"))
            }
            Self::ProbesFailing { failed } => write!(f, "the last {failed} probes failed"),
            Self::SlowFirstToken { p95, wanted } => {
                write!(f, "95 % of first tokens come within {p95:.1?}, wanted are {wanted:?}")
            }
            Self::SlowWhole { p95, wanted } => {
                write!(f, "95 % of replies end within {p95:.1?}, wanted are {wanted:?}")
            }
            Self::Resting { left } => {
                write!(f, "down, tried again in {} s", left.as_millis().div_ceil(1000))
            }
            Self::FoundByOthers { left } => {
                write!(f, "found down by others, for {} s", left.as_millis().div_ceil(1000))
            }
            Self::Trying { succeeded, of } => {
                write!(f, "tried after an outage, {succeeded} of {of} successes so far")
            }
        }
    }
}

/// Outcomes of which it is told how many failed.
const RECENT: u32 = 20;

/// How a target stands, from what became of its requests and probes. Pure: no clock of its own.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct State {
    /// Set while it is down or being tried: the end of its rest.
    rests_until: Option<Nanos>,
    /// Successes in a row since that end.
    trials: u32,
    /// Failures in a row, of requests and of probes.
    streak: u32,
    probe_streak: u32,
    failing: bool,
    slow: bool,
    /// The latest outcomes, the last one lowest; set: failed.
    recent: u32,
    outcomes: u32,
}

/// The figures that health depends on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    pub(super) success: Success,
    pub(super) first_token: Option<Quantiles>,
    pub(super) whole: Option<Quantiles>,
}

impl State {
    /// A request that began at `began` has ended. Whether the target has thereby recovered, and
    /// what was known of its failures is to be forgotten.
    pub(super) fn outcome(
        &mut self,
        ok: bool,
        began: Nanos,
        now: Nanos,
        limits: &Thresholds,
    ) -> bool {
        self.recent = self.recent << 1 | u32::from(!ok);
        self.outcomes = (self.outcomes + 1).min(RECENT);
        self.streak = if ok { 0 } else { self.streak.saturating_add(1) };
        if ok {
            self.probe_streak = 0;
        }
        self.trial(ok, began, now, limits)
    }

    /// A probe has ended. Whether the target has thereby recovered.
    pub(super) fn probed(&mut self, ok: bool, now: Nanos, limits: &Thresholds) -> bool {
        self.probe_streak = if ok { 0 } else { self.probe_streak.saturating_add(1) };
        self.trial(ok, now, now, limits)
    }

    /// What of it probes have shown, where they fail.
    pub(super) fn of_probes(&self) -> Self {
        match self.probe_streak {
            0 => Self::default(),
            _ => Self { streak: 0, failing: false, slow: false, recent: 0, outcomes: 0, ..*self },
        }
    }

    fn trial(&mut self, ok: bool, began: Nanos, now: Nanos, limits: &Thresholds) -> bool {
        // What began before the rest was over tells of the outage, not of its end.
        let Some(until) = self.rests_until.filter(|until| began >= *until) else { return false };
        if !ok {
            self.rest(now.max(until), limits);
            return false;
        }
        self.trials += 1;
        let recovered = self.trials >= limits.recover_after;
        if recovered {
            *self = Self::default();
        }
        recovered
    }

    fn rest(&mut self, now: Nanos, limits: &Thresholds) {
        self.rests_until = Some(now.saturating_add(nanos(limits.cooldown)));
        self.trials = 0;
    }

    /// Weighs what is known against the thresholds.
    pub(super) fn judge(&mut self, seen: &Seen, now: Nanos, limits: &Thresholds) {
        if self.rests_until.is_some() {
            return;
        }
        let enough = seen.success.all.round() >= limits.min_outcomes as f32;
        let below = |bar: u32| enough && seen.success.share() * 1000.0 < bar as f32;
        if self.streak.max(self.probe_streak) >= limits.down_after || below(limits.down_below) {
            return self.rest(now, limits);
        }
        // One bar to fall below and a higher one to rise above, lest it flickers between the two.
        self.failing = below(match self.failing {
            true => limits.degraded_below.midpoint(1000),
            false => limits.degraded_below,
        });
        self.slow = slow(seen.first_token, limits.slow_first_token).is_some()
            || slow(seen.whole, limits.slow_whole).is_some();
    }

    pub(super) fn standing(&self) -> Standing {
        match self.rests_until {
            Some(until) => Standing::Down { until },
            None if self.failing || self.slow => Standing::Degraded,
            None => Standing::Healthy,
        }
    }

    /// What is the matter, the worst first; nothing with a target that is healthy.
    pub(super) fn issues(
        &self,
        seen: &Seen,
        class: Option<ErrorClass>,
        now: Nanos,
        limits: &Thresholds,
    ) -> Vec<Issue> {
        let mut issues = Vec::new();
        if self.standing() == Standing::Healthy {
            return issues;
        }
        if let Some(until) = self.rests_until {
            let left = Duration::from_nanos(until.saturating_sub(now));
            let trying = Issue::Trying { succeeded: self.trials, of: limits.recover_after };
            issues.push(if left.is_zero() { trying } else { Issue::Resting { left } });
        }
        let of = self.outcomes;
        let failed = (self.recent & ((1 << of) - 1)).count_ones();
        if failed > 0 && (self.failing || self.rests_until.is_some()) {
            issues.push(Issue::Failing { failed, of, class });
        }
        if self.probe_streak > 0 {
            issues.push(Issue::ProbesFailing { failed: self.probe_streak });
        }
        if let Some((p95, wanted)) = slow(seen.first_token, limits.slow_first_token) {
            issues.push(Issue::SlowFirstToken { p95, wanted });
        }
        if let Some((p95, wanted)) = slow(seen.whole, limits.slow_whole) {
            issues.push(Issue::SlowWhole { p95, wanted });
        }
        issues
    }
}

fn slow(times: Option<Quantiles>, wanted: Option<Duration>) -> Option<(Duration, Duration)> {
    let (times, wanted) = times.zip(wanted)?;
    (times.p95 > wanted).then_some((times.p95, wanted))
}

/// How a target stands, whatever the time: what is published of a [`State`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Healthy,
    Degraded,
    /// Resting until then, and being tried from then on.
    Down {
        until: Nanos,
    },
}

impl Standing {
    pub(super) fn health(self, now: Nanos, in_flight: u32, trickle: u32) -> Health {
        match self {
            Self::Healthy => Health::Healthy,
            Self::Degraded => Health::Degraded,
            Self::Down { until } if now >= until && in_flight < trickle => Health::Degraded,
            Self::Down { .. } => Health::Down,
        }
    }

    /// Whether it was down and is to be tried: what failed before says nothing of now.
    pub(super) fn is_on_trial(self, now: Nanos) -> bool {
        matches!(self, Self::Down { until } if now >= until)
    }

    pub(super) fn to_bits(self) -> u64 {
        match self {
            Self::Healthy => 0,
            Self::Degraded => 1,
            // Two bits less are 146 years.
            Self::Down { until } => until.min(u64::MAX >> 2) << 2 | 2,
        }
    }

    pub(super) fn from_bits(bits: u64) -> Self {
        match bits & 3 {
            0 => Self::Healthy,
            1 => Self::Degraded,
            _ => Self::Down { until: bits >> 2 },
        }
    }
}

#[cfg(test)]
#[path = "health_tests.rs"]
mod tests;
