//! What is known of one key, and what it means for the next request. Pure: `now` is an argument.
//!
//! Each [`Gauge`] keeps a level: what requests not yet sent may count on. The level falls with each
//! request sent and rises as the provider's bucket fills. A reply's word does not simply replace it:
//! the provider counted at some moment between the sending of that request and its head, and others
//! were sent meanwhile. So the word bounds the level from both sides ([`Gauge::read`]), and the
//! level moves only as far as it has to. Replies may therefore come in any order, and a late one
//! undoes nothing. The level never says more than the provider has as long as the provider counts
//! as was estimated, nobody else uses the key, and requests are there at once; where that fails the
//! next word corrects it.

use crate::{
    config::Config,
    gauge::{Around, Gauge, Nanos, nanos},
    reading::{Reading, UNITS, Unit, Weights},
};

#[derive(Debug, Default)]
pub(crate) struct State {
    gauges: [Option<Gauge>; UNITS],
    /// All that was ever sent, wrapping.
    sent: [u64; UNITS],
    /// Sent and neither answered nor given up.
    under_way: [u64; UNITS],
    blocked_until: Nanos,
    /// The last time that a request was let through or a reply was read.
    last: Nanos,
}

/// A request that was let through, until its reply's head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pass {
    weights: Weights,
    sent: [u64; UNITS],
    under_way: [u64; UNITS],
    at: Nanos,
}

/// What holds a request back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hold {
    pub(crate) until: Nanos,
    /// `None`: the wait that a refusal asked for.
    pub(crate) unit: Option<Unit>,
}

impl State {
    /// What holds back a request that comes after others who want `ahead`; `None`: nothing.
    pub(crate) fn hold(
        &self,
        ahead: &[u64; UNITS],
        weights: &Weights,
        now: Nanos,
        config: &Config,
    ) -> Option<Hold> {
        let mut hold = Hold { until: self.blocked_until, unit: None };
        for unit in Unit::ALL {
            let Some(gauge) = &self.gauges[unit as usize] else { continue };
            let weight = weights.of(unit);
            if weight == 0 {
                continue;
            }
            let until = now.saturating_add(gauge.wait(ahead[unit as usize], weight, now));
            if until > hold.until {
                hold = Hold { until, unit: Some(unit) };
            }
        }
        // However long a provider's word would last, somebody has to hear the next one.
        hold.until = hold.until.min(self.last.saturating_add(nanos(config.max_wait)));
        (hold.until > now).then_some(hold)
    }

    /// Lets a request through.
    pub(crate) fn take(&mut self, weights: Weights, now: Nanos) -> Pass {
        let under_way = self.under_way;
        for unit in 0..UNITS {
            let weight = weights.0[unit];
            if let Some(gauge) = &mut self.gauges[unit] {
                gauge.take(weight, now);
            }
            self.sent[unit] = self.sent[unit].wrapping_add(weight);
            self.under_way[unit] = self.under_way[unit].saturating_add(weight);
        }
        self.last = now;
        Pass { weights, sent: self.sent, under_way, at: now }
    }

    /// The request is under way no longer.
    pub(crate) fn end(&mut self, pass: &Pass) {
        for unit in 0..UNITS {
            self.under_way[unit] = self.under_way[unit].saturating_sub(pass.weights.0[unit]);
        }
    }

    /// The request never got there: what it took is there for others.
    pub(crate) fn give_back(&mut self, pass: &Pass, now: Nanos) {
        for (gauge, weight) in self.gauges.iter_mut().zip(pass.weights.0) {
            if let Some(gauge) = gauge {
                gauge.give_back(weight, now);
            }
        }
    }

    /// Learns from a reply's head. Tells which limits were found to be other than was known.
    pub(crate) fn learn(
        &mut self,
        pass: &Pass,
        reading: &Reading,
        now: Nanos,
        config: &Config,
    ) -> [Option<u64>; UNITS] {
        let mut found = [None; UNITS];
        for unit in Unit::ALL {
            let at = unit as usize;
            let old = self.gauges[at];
            let Some(told) = reading.told(unit) else {
                // Told no more, and what was told is over.
                self.gauges[at] = old.filter(|gauge| !gauge.ran_out(now));
                continue;
            };
            let around = Around {
                latency: now.saturating_sub(pass.at),
                after: self.sent[at].wrapping_sub(pass.sent[at]),
                under_way: pass.under_way[at],
            };
            let window = match unit {
                Unit::Requests => config.request_window,
                _ => config.token_window,
            };
            let gauge = Gauge::read(old, told, around, now, window);
            if let Some(gauge) = gauge.filter(|new| old.is_none_or(|old| old.limit != new.limit)) {
                found[at] = Some(gauge.limit);
            }
            self.gauges[at] = gauge.or(old);
        }
        if let Some(wait) = reading.blocked_for() {
            let until = now.saturating_add(nanos(wait.min(config.max_wait)));
            self.blocked_until = self.blocked_until.max(until);
        }
        self.last = now;
        found
    }

    /// Knows nothing that would hold anybody back.
    pub(crate) fn is_idle(&self, now: Nanos) -> bool {
        let full = |gauge: &Gauge| gauge.ran_out(now) && gauge.full_in(now) == 0;
        self.blocked_until <= now && self.gauges.iter().flatten().all(full)
    }

    pub(crate) fn gauge(&self, unit: Unit) -> Option<&Gauge> {
        self.gauges[unit as usize].as_ref()
    }

    pub(crate) fn blocked_until(&self) -> Nanos {
        self.blocked_until
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
