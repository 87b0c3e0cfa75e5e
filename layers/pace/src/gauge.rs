//! One limit of a provider as seen from outside: a bucket that fills evenly.
//!
//! Providers tell what is left (`remaining`) and when the bucket is full again (`reset`), so the
//! missing part divided by that time is the speed at which it fills, and the wait for any amount
//! follows. Between replies the gauge goes on by itself: it fills with time and gives to requests.

use std::time::Duration;

use crate::reading::Told;

/// Time since the layer was made, in nanoseconds.
pub(crate) type Nanos = u64;

/// A window is never taken for longer or shorter than this, whatever is told.
const SHORTEST: f64 = 1e6;
const LONGEST: f64 = 366.0 * 86_400e9;

/// A request may take so long to the provider. A bucket that was full until then has not begun to
/// fill before: who counts from the sending comes that much too early.
const ON_ITS_WAY: Nanos = 100_000_000;

pub(crate) fn nanos(time: Duration) -> Nanos {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// What a reply's reading has to be judged by: what was sent around its request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Around {
    /// Since its request was sent.
    pub(crate) latency: Nanos,
    /// Sent after its request.
    pub(crate) after: u64,
    /// Sent before its request and unanswered at that time.
    pub(crate) under_way: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Gauge {
    pub(crate) limit: u64,
    pub(crate) told_remaining: Option<u64>,
    /// What is left for requests not yet sent, at `at`; 0 to `limit`.
    level: f64,
    at: Nanos,
    /// Nanoseconds in which it fills from empty.
    window: f64,
    /// What was missing when the window was learnt: the more, the better it is known.
    learnt_at: u64,
    /// When the provider's own word runs out: full by what was told last.
    full_at: Nanos,
}

impl Gauge {
    /// What is known after a reply's word; `None`: nothing. `window` is for limits without a reset.
    pub(crate) fn read(
        old: Option<Self>,
        told: Told,
        around: Around,
        now: Nanos,
        window: Duration,
    ) -> Option<Self> {
        let known = old.map(|old| old.limit);
        let limit = told.limit.filter(|limit| *limit > 0).or(known).or(told.remaining);
        let limit = limit.filter(|limit| *limit > 0)?;
        let remaining = told.remaining.map_or(limit, |remaining| remaining.min(limit));
        let missing = limit - remaining;
        let reset = told.reset.map(nanos);
        let learnt = old.filter(|old| old.limit == limit).map(|old| (old.window, old.learnt_at));
        let (window, learnt_at) = match (reset, learnt) {
            (None, _) => (nanos(window) as f64, missing),
            // Full, or about to be, or just rounded: tells less of the speed than is known.
            (Some(_), Some(learnt)) if missing < learnt.1 => learnt,
            (Some(reset), _) if reset > 0 && missing > 0 => {
                (reset as f64 * (limit as f64 / missing as f64), missing)
            }
            (Some(_), learnt) => learnt.unwrap_or((60e9, 0)),
        };
        let window = window.clamp(SHORTEST, LONGEST);
        let rate = limit as f64 / window;
        // The provider may have counted at any moment between sending and head. Either way it has
        // no less than this: whatever it may not have counted yet is subtracted.
        let least = remaining.saturating_sub(around.after.saturating_add(around.under_way)) as f64;
        // And no more than this: what it said, or that and what has come and gone since the request
        // was there.
        let there_for = around.latency.saturating_sub(ON_ITS_WAY);
        let since = there_for as f64 * rate - around.after as f64;
        let most = (remaining as f64 + since.max(0.0)).min(limit as f64);
        let level = match old {
            Some(old) => old.level(now).max(least).min(most),
            None => least,
        };
        let full_in = reset.unwrap_or((missing as f64 / rate) as u64).min(LONGEST as u64);
        let full_at = now.saturating_add(full_in);
        let told_remaining = told.remaining;
        Some(Self { limit, told_remaining, level, at: now, window, learnt_at, full_at })
    }

    /// What is left at `now`.
    pub(crate) fn level(&self, now: Nanos) -> f64 {
        let limit = self.limit as f64;
        let filled = now.saturating_sub(self.at) as f64 / self.window * limit;
        (self.level + filled).min(limit)
    }

    /// Nanoseconds until there is enough for `weight` behind others that want `ahead`.
    pub(crate) fn wait(&self, ahead: u64, weight: u64, now: Nanos) -> Nanos {
        // Who wants more than there can be waits for all of it.
        let limit = self.limit as f64;
        let wanted = ahead as f64 + (weight as f64).min(limit);
        let lacking = wanted - self.level(now);
        // A whole part in a million less is rounding.
        if lacking <= wanted * 1e-6 {
            return 0;
        }
        self.time_for(lacking, now)
    }

    /// Nanoseconds in which so much comes back.
    fn time_for(&self, lacking: f64, now: Nanos) -> Nanos {
        let fills = (lacking / self.limit as f64 * self.window).ceil() as u64;
        self.at.saturating_sub(now).saturating_add(fills)
    }

    pub(crate) fn take(&mut self, weight: u64, now: Nanos) {
        let level = self.level(now);
        // A bucket that will have been full before the request is there fills no further till then.
        let full_in = self.time_for(self.limit as f64 - level, now);
        self.at = self.at.max(now.saturating_add(ON_ITS_WAY.saturating_sub(full_in)));
        self.level = (level - weight as f64).max(0.0);
    }

    pub(crate) fn give_back(&mut self, weight: u64, now: Nanos) {
        self.level = (self.level(now) + weight as f64).min(self.limit as f64);
        self.at = self.at.max(now);
    }

    /// The provider's own word holds no longer.
    pub(crate) fn ran_out(&self, now: Nanos) -> bool {
        self.full_at <= now
    }

    /// Nanoseconds in which it fills from empty, where that has been seen well enough: rounding
    /// makes little of what is told of a bucket that is nearly full.
    pub(crate) fn window(&self) -> Option<Nanos> {
        (self.learnt_at >= self.limit.div_ceil(10)).then_some(self.window as u64)
    }

    pub(crate) fn full_in(&self, now: Nanos) -> Nanos {
        let lacking = self.limit as f64 - self.level(now);
        if lacking > 0.0 { self.time_for(lacking, now) } else { 0 }
    }
}
