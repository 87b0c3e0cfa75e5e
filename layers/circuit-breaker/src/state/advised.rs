//! A circuit and what others say of it.

use std::time::Duration;

use super::{Circuit, Found, Nanos, Phase};
use crate::{
    advice::{Advised, Heard},
    config::Config,
    events::{EventKind, Reason},
};

impl Circuit {
    /// A trial of what others said has succeeded; whether that was enough.
    pub(super) fn tried(&mut self, now: Nanos, config: &Config) -> bool {
        let Some(trials) = self.advised.as_mut().and_then(|advised| advised.trials.as_mut()) else {
            return false;
        };
        trials.successes += 1;
        let enough = trials.successes >= config.trial_successes;
        if enough {
            self.outranks(now);
        }
        enough
    }

    /// What was found here stands above what others found before, where that doesn't bind any more.
    pub(super) fn outranks(&mut self, now: Nanos) {
        if self.advised.is_some() && self.held_until(now).is_none() {
            (self.advised, self.cleared) = (None, Some(now));
        }
    }

    /// Somebody else found that it should be open.
    pub(crate) fn advise(&mut self, said: Heard, now: Nanos, config: &Config) -> Option<EventKind> {
        if said.until <= now || Some(said.found) <= self.cleared {
            return None;
        }
        let was_held = self.held_until(now).is_some();
        self.advised.get_or_insert_with(|| Box::new(Advised::new())).hear(said, config);
        let change = self.tick(now, config);
        let binds = self.advised.as_ref().and_then(|all| all.binds(now, self.last_success));
        match binds {
            Some(heard) if !was_held && self.admits() => Some(EventKind::Advised {
                hold_for: Duration::from_nanos(heard.until.saturating_sub(now)),
                benched: heard.benched,
            }),
            _ => change,
        }
    }

    /// They say so no more.
    pub(crate) fn withdraw(&mut self, from: &str) -> Option<EventKind> {
        if !self.advised.as_mut()?.unhear(from) {
            return None;
        }
        self.advised = None;
        self.admits().then_some(EventKind::Freed)
    }

    /// Whether it lets requests through, as far as it is up to what was found here.
    pub(super) fn admits(&self) -> bool {
        matches!(self.phase, Phase::Closed | Phase::Ramping { .. })
    }

    /// Until when others hold it open.
    pub(super) fn held_until(&self, now: Nanos) -> Option<Nanos> {
        let advised = self.advised.as_ref()?;
        advised.binds(now, self.last_success).map(|heard| heard.until)
    }

    /// What others say, as long as it holds.
    pub(crate) fn heard(&self, now: Nanos) -> impl Iterator<Item = &Heard> {
        self.advised.iter().flat_map(move |advised| advised.fresh(now))
    }

    /// What was found here; nothing of what others say.
    pub(crate) fn finding(&self, now: Nanos, config: &Config) -> Option<Found> {
        let until = match self.own(now, config) {
            Phase::Closed => return None,
            Phase::Forced => None,
            Phase::Open { until } | Phase::Benched { until } => Some(until),
            _ => Some(now),
        };
        Some(Found { at: self.found, until, reason: self.reason })
    }

    /// The phase as the next request would find it, with what others say, and why it is so.
    pub(super) fn view(&self, now: Nanos, config: &Config) -> (Phase, Reason) {
        let own = self.own(now, config);
        let advised = match (&self.advised, own) {
            (_, Phase::Open { .. } | Phase::Benched { .. } | Phase::Forced) | (None, _) => {
                return (own, self.reason);
            }
            (Some(advised), _) => advised,
        };
        if let Some(heard) = advised.binds(now, self.last_success) {
            return (Phase::Advised { until: heard.until }, Reason::Advised(heard.benched));
        }
        if matches!(own, Phase::HalfOpen { .. }) {
            return (own, self.reason);
        }
        let (under_way, successes, last_trial) = advised
            .trials
            .map_or((0, 0, now), |trials| (trials.under_way, trials.successes, trials.last));
        let reason = Reason::Advised(advised.benched());
        (Phase::HalfOpen { under_way, successes, last_trial }, reason)
    }
}
