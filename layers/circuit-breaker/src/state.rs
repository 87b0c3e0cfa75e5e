//! One circuit as a pure state machine: integers, and `now` is an argument.

#[path = "state/advised.rs"]
mod advised;

use std::time::Duration;

use tollway_core::ErrorClass;

use crate::{
    advice::Advised,
    config::Config,
    events::{EventKind, Reason},
    window::{Counts, Window},
};

/// Nanoseconds since the layer was made.
pub(crate) type Nanos = u64;

/// One admission of the ramp, in parts of it: shares of requests are parts per million.
const WHOLE: u64 = 1_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Closed,
    Open {
        until: Nanos,
    },
    Benched {
        until: Nanos,
    },
    Forced,
    HalfOpen {
        under_way: u32,
        successes: u32,
        last_trial: Nanos,
    },
    Ramping {
        since: Nanos,
        credit: u64,
    },
    /// Never a circuit's own: how it looks where others hold it open.
    Advised {
        until: Nanos,
    },
}

/// Leave to send one request. It speaks for the circuit as it was: once the circuit has moved on
/// (`generation`), whatever became of the request decides nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pass {
    generation: u64,
    pub(crate) trial: bool,
    /// Of the trials of what others said; 0: it is none of them.
    round: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) phase: Phase,
    pub(crate) reason: Reason,
    pub(crate) retry_after: Option<Duration>,
}

/// How a request that had a pass ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Success,
    Failure(ErrorClass),
    Bench(ErrorClass, Option<Duration>),
    Nothing,
}

#[derive(Clone, Debug)]
pub(crate) struct Circuit {
    phase: Phase,
    generation: u64,
    /// Failures in a row: how many, and their weight.
    streak: u32,
    streak_weight: u64,
    /// Times opened since it was last fully closed.
    opened: u32,
    reason: Reason,
    /// When that was found.
    found: Nanos,
    last_failure: Option<(ErrorClass, Nanos)>,
    last_success: Option<Nanos>,
    touched: Nanos,
    window: Window,
    /// What others say. It changes nothing of all the above.
    advised: Option<Box<Advised>>,
    /// What others found until then says nothing any more: it was tried here, or an operator spoke.
    cleared: Option<Nanos>,
    rounds: u64,
}

/// A finding of this circuit's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) at: Nanos,
    /// `None`: until an operator resets it.
    pub(crate) until: Option<Nanos>,
    pub(crate) reason: Reason,
}

pub(crate) fn nanos(duration: Duration) -> Nanos {
    u64::try_from(duration.as_nanos()).unwrap_or(Nanos::MAX)
}

impl Circuit {
    pub(crate) fn new() -> Self {
        Self {
            phase: Phase::Closed,
            generation: 0,
            streak: 0,
            streak_weight: 0,
            opened: 0,
            reason: Reason::Forced,
            found: 0,
            last_failure: None,
            last_success: None,
            touched: 0,
            window: Window::default(),
            advised: None,
            cleared: None,
            rounds: 0,
        }
    }

    /// Asks leave for one request; also says what the passing of time has changed.
    pub(crate) fn admit(
        &mut self,
        now: Nanos,
        config: &Config,
    ) -> (Result<Pass, Refusal>, Option<EventKind>) {
        self.touched = now;
        let change = self.tick(now, config);
        let advised = self.advised.as_deref_mut();
        let held = advised.as_ref().is_some_and(|advised| advised.trials.is_none());
        let trials = advised.and_then(|advised| advised.trials.as_mut());
        let mut round = 0;
        let admitted = match (&mut self.phase, trials) {
            (Phase::Open { .. } | Phase::Benched { .. } | Phase::Forced, _) => false,
            _ if held => false,
            (Phase::HalfOpen { under_way, last_trial, .. }, _) => {
                let free = *under_way < config.trial_requests;
                if free {
                    *under_way += 1;
                    *last_trial = now;
                }
                free
            }
            (_, Some(trials)) => {
                round = trials.round;
                trials.take(now, config)
            }
            (Phase::Ramping { since, credit }, None) => {
                draw(credit, share(now, *since, config), true)
            }
            _ => true,
        };
        if admitted {
            let trial = round > 0 || matches!(self.phase, Phase::HalfOpen { .. });
            return (Ok(Pass { generation: self.generation, trial, round }), change);
        }
        let (phase, reason) = self.view(now, config);
        let own = match self.phase {
            Phase::Open { until } | Phase::Benched { until } => Some(until),
            _ => None,
        };
        // Forced open it is until somebody says otherwise.
        let until = own.max(self.held_until(now)).filter(|_| self.phase != Phase::Forced);
        let retry_after = until.map(|until| Duration::from_nanos(until.saturating_sub(now)));
        (Err(Refusal { phase, reason, retry_after }), change)
    }

    /// Whether [`admit`](Self::admit) would say yes, without taking anything.
    ///
    /// In a ramp the question counts as the request it is asked for, else a router that asks first
    /// would never send one.
    pub(crate) fn allows(&mut self, now: Nanos, config: &Config) -> bool {
        if self.held_until(now).is_some() {
            return false;
        }
        let trials = self.advised.as_ref().map(|advised| advised.trials);
        match (&mut self.phase, trials) {
            (Phase::Forced, _) => false,
            (Phase::Open { until } | Phase::Benched { until }, _) => now >= *until,
            (Phase::HalfOpen { under_way, last_trial, .. }, _) => {
                *under_way < config.trial_requests || lease_over(now, *last_trial, config)
            }
            (_, Some(trials)) => trials.is_none_or(|trials| trials.allow(now, config)),
            (Phase::Ramping { since, credit }, None) => {
                draw(credit, share(now, *since, config), false)
            }
            _ => true,
        }
    }

    /// What time alone changes.
    fn tick(&mut self, now: Nanos, config: &Config) -> Option<EventKind> {
        let tried = self
            .advised
            .as_mut()
            .is_some_and(|advised| advised.tick(now, self.last_success, &mut self.rounds, config));
        let own = self.own_tick(now, config);
        own.or((tried && self.phase == Phase::Closed).then_some(EventKind::HalfOpened))
    }

    fn own_tick(&mut self, now: Nanos, config: &Config) -> Option<EventKind> {
        match self.phase {
            Phase::Open { until } | Phase::Benched { until } if now >= until => {
                self.go(Phase::HalfOpen { under_way: 0, successes: 0, last_trial: now });
                Some(EventKind::HalfOpened)
            }
            Phase::HalfOpen { under_way, successes, last_trial }
                if under_way >= config.trial_requests && lease_over(now, last_trial, config) =>
            {
                self.go(Phase::HalfOpen { under_way: 0, successes, last_trial });
                None
            }
            Phase::Ramping { since, .. } if share(now, since, config) >= WHOLE => {
                // No `go`: what was admitted in the ramp still counts.
                self.phase = Phase::Closed;
                self.opened = 0;
                Some(EventKind::Closed)
            }
            _ => None,
        }
    }

    /// Takes back a pass, once, with what became of the request.
    pub(crate) fn settle(
        &mut self,
        pass: Pass,
        outcome: Outcome,
        slow: bool,
        now: Nanos,
        config: &Config,
    ) -> Option<EventKind> {
        if outcome == Outcome::Success {
            // It was served, whatever has become of the circuit.
            self.last_success = Some(now);
        }
        if pass.generation != self.generation {
            self.release(pass);
            return None;
        }
        let weight = match outcome {
            Outcome::Failure(class) => config.weights.get(class),
            _ => 0,
        };
        let of_advice = self.release(pass);
        match outcome {
            Outcome::Nothing => None,
            Outcome::Bench(class, bench_for) => {
                self.last_failure = Some((class, now));
                self.bench(class, bench_for.unwrap_or(config.bench_for), now)
            }
            Outcome::Failure(_) if weight == 0 => None,
            Outcome::Failure(class) => {
                self.last_failure = Some((class, now));
                if of_advice {
                    return Some(self.open(Reason::TrialFailed(class), now, config));
                }
                self.count(Some(class), weight, slow, now, config)
            }
            Outcome::Success if of_advice && slow => {
                Some(self.open(Reason::TrialSlow, now, config))
            }
            Outcome::Success => {
                let freed = of_advice && self.tried(now, config);
                let change = self.count(None, 0, slow, now, config);
                change.or(freed.then_some(EventKind::Freed))
            }
        }
    }

    /// Takes back a pass of which nothing is known. Whether it was one of the trials of what others
    /// said, and they go on.
    pub(crate) fn release(&mut self, pass: Pass) -> bool {
        if pass.round > 0 {
            let trials = self.advised.as_mut().and_then(|advised| advised.trials.as_mut());
            let Some(trials) = trials.filter(|trials| trials.round == pass.round) else {
                return false;
            };
            trials.under_way = trials.under_way.saturating_sub(1);
            return true;
        }
        if let Phase::HalfOpen { under_way, .. } = &mut self.phase {
            if pass.generation == self.generation {
                *under_way = under_way.saturating_sub(1);
            }
        }
        false
    }

    /// Counts one success (`failed` is `None`) or failure.
    fn count(
        &mut self,
        failed: Option<ErrorClass>,
        weight: u32,
        slow: bool,
        now: Nanos,
        config: &Config,
    ) -> Option<EventKind> {
        if let Phase::HalfOpen { successes, .. } = &mut self.phase {
            if let Some(class) = failed {
                return Some(self.open(Reason::TrialFailed(class), now, config));
            }
            if slow {
                return Some(self.open(Reason::TrialSlow, now, config));
            }
            *successes += 1;
            let enough = *successes >= config.trial_successes;
            return enough.then(|| self.recover(now, config));
        }
        if failed.is_some() {
            self.streak = self.streak.saturating_add(1);
            self.streak_weight = self.streak_weight.saturating_add(weight.into());
        } else {
            (self.streak, self.streak_weight) = (0, 0);
        }
        let mut counts = Counts::default();
        if config.failure_ratio.is_some() || config.slow_calls.is_some() {
            counts = self.window.add(now, config.window, weight, slow);
        }
        let reason = self.too_much(failed, counts, config)?;
        Some(self.open(reason, now, config))
    }

    fn too_much(
        &self,
        failed: Option<ErrorClass>,
        counts: Counts,
        config: &Config,
    ) -> Option<Reason> {
        if let (Some(limit), Some(last)) = (config.consecutive_failures, failed) {
            if self.streak_weight >= u64::from(limit) * 1000 {
                return Some(Reason::Consecutive { failures: self.streak, last });
            }
        }
        if counts.calls < config.min_calls {
            return None;
        }
        let last = failed.or(self.last_failure.map(|(class, _)| class));
        if let (Some(limit), Some(last)) = (config.failure_ratio, last) {
            let ratio = counts.failure_ratio();
            if ratio >= limit {
                return Some(Reason::FailureRatio { ratio, calls: counts.calls, last });
            }
        }
        let ratio = counts.slow_ratio();
        let slow = config.slow_calls.filter(|slow| ratio >= slow.ratio);
        slow.map(|_| Reason::SlowCalls { ratio, calls: counts.calls })
    }

    fn open(&mut self, reason: Reason, now: Nanos, config: &Config) -> EventKind {
        let cap = nanos(config.max_open_for);
        let mut open_for = nanos(config.open_for).min(cap);
        for _ in 0..self.opened {
            if open_for >= cap || config.open_growth <= 1000 {
                break;
            }
            let longer = u128::from(open_for) * u128::from(config.open_growth) / 1000;
            open_for = u64::try_from(longer).unwrap_or(cap).min(cap);
        }
        self.opened = self.opened.saturating_add(1);
        (self.reason, self.found) = (reason, now);
        self.outranks(now);
        self.go(Phase::Open { until: now.saturating_add(open_for) });
        EventKind::Opened { reason, open_for: Duration::from_nanos(open_for) }
    }

    fn recover(&mut self, now: Nanos, config: &Config) -> EventKind {
        self.outranks(now);
        if config.ramp.is_zero() {
            self.opened = 0;
            self.go(Phase::Closed);
            return EventKind::Closed;
        }
        self.go(Phase::Ramping { since: now, credit: 0 });
        EventKind::Ramping { over: config.ramp }
    }

    /// Sets the key aside, unless an operator has already: the operator's word stands above it.
    pub(crate) fn bench(
        &mut self,
        class: ErrorClass,
        bench_for: Duration,
        now: Nanos,
    ) -> Option<EventKind> {
        if self.phase == Phase::Forced {
            return None;
        }
        (self.reason, self.found) = (Reason::Benched(class), now);
        self.outranks(now);
        self.go(Phase::Benched { until: now.saturating_add(nanos(bench_for)) });
        Some(EventKind::Benched { class, bench_for })
    }

    pub(crate) fn force_open(&mut self, now: Nanos) {
        (self.reason, self.found) = (Reason::Forced, now);
        self.go(Phase::Forced);
    }

    /// What others found until now is forgotten, too.
    pub(crate) fn reset(&mut self, now: Nanos) {
        let (generation, rounds) = (self.generation + 1, self.rounds);
        let cleared = Some(now);
        *self = Self { generation, rounds, cleared, touched: self.touched, ..Self::new() };
    }

    /// Enters another phase: counting starts anew, and passes given before decide nothing.
    fn go(&mut self, phase: Phase) {
        self.phase = phase;
        self.generation += 1;
        (self.streak, self.streak_weight) = (0, 0);
        self.window.clear();
    }

    /// Its own phase as the next request would find it.
    fn own(&self, now: Nanos, config: &Config) -> Phase {
        match self.phase {
            Phase::Open { until } | Phase::Benched { until } if now >= until => {
                Phase::HalfOpen { under_way: 0, successes: 0, last_trial: now }
            }
            Phase::Ramping { since, .. } if share(now, since, config) >= WHOLE => Phase::Closed,
            phase => phase,
        }
    }

    pub(crate) fn phase(&self, now: Nanos, config: &Config) -> Phase {
        self.view(now, config).0
    }

    /// Why it isn't closed.
    pub(crate) fn reason(&self, now: Nanos, config: &Config) -> Option<Reason> {
        let (phase, reason) = self.view(now, config);
        (phase != Phase::Closed).then_some(reason)
    }

    pub(crate) fn streak(&self) -> u32 {
        self.streak
    }

    pub(crate) fn last_failure(&self) -> Option<(ErrorClass, Nanos)> {
        self.last_failure
    }

    /// Whether forgetting this circuit would lose nothing worth keeping: it is closed, and either
    /// remembers no failure or had no request for a whole window.
    pub(crate) fn is_idle(&self, now: Nanos, config: &Config) -> bool {
        let clean = self.streak == 0 && self.window.is_clean();
        self.own(now, config) == Phase::Closed
            && self.heard(now).next().is_none()
            && (clean || now.saturating_sub(self.touched) >= nanos(config.window))
    }
}

/// Parts per million of the requests that a ramp lets through by now.
pub(crate) fn share(now: Nanos, since: Nanos, config: &Config) -> u64 {
    let (passed, ramp) = (now.saturating_sub(since), nanos(config.ramp));
    if passed >= ramp {
        return WHOLE;
    }
    u64::try_from(u128::from(passed) * u128::from(WHOLE) / u128::from(ramp)).unwrap_or(WHOLE)
}

/// Lets through `share` of those who ask, evenly spread. At most one admission is kept in store.
fn draw(credit: &mut u64, share: u64, take: bool) -> bool {
    if *credit < WHOLE {
        *credit = credit.saturating_add(share);
    }
    let yes = *credit >= WHOLE;
    if yes && take {
        *credit -= WHOLE;
    }
    yes
}

fn lease_over(now: Nanos, last_trial: Nanos, config: &Config) -> bool {
    now.saturating_sub(last_trial) >= nanos(config.trial_timeout)
}

#[cfg(all(test, not(loom)))]
#[path = "state/tests.rs"]
mod tests;

#[cfg(all(test, not(loom)))]
#[path = "state/advice_tests.rs"]
mod advice_tests;
