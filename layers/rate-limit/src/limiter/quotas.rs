//! Keys that have a quota of their own for a time, while traffic flows.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, SystemTime},
};

use tollway_store::limits::{Now, Shape};

use super::{Limiter, nanos};
use crate::{
    ConfigError, Key, KeyQuota, Rule,
    decide::{Claim, Core, Effects},
};

/// How late it is noticed at most that somebody has put the date forward.
const LOOK: Duration = Duration::from_secs(60);

/// What is known of such keys without the lock. Hints: what holds is in the tables.
#[derive(Debug)]
pub(super) struct Hints {
    /// There are some.
    some: AtomicBool,
    /// When to look whether one is over, in nanoseconds of the limits' own clock.
    look: AtomicU64,
}

impl Hints {
    pub(super) fn new() -> Self {
        Self { some: AtomicBool::new(false), look: AtomicU64::new(u64::MAX) }
    }

    pub(super) fn are_due(&self, mono: u64) -> bool {
        mono >= self.look.load(Ordering::Relaxed)
    }

    fn note(&self, core: &Core, mono: u64, wall: SystemTime) {
        let all = || core.tables.iter().flat_map(|table| table.quotas());
        let next = all().filter_map(|(_, quota)| quota.until).min();
        let look = next.map_or(u64::MAX, |end| {
            let left = end.duration_since(wall).unwrap_or_default();
            mono.saturating_add(nanos(left.min(LOOK)))
        });
        self.look.store(look, Ordering::Relaxed);
        self.some.store(all().next().is_some(), Ordering::Relaxed);
    }
}

impl Limiter {
    /// Gives a key of a rule this quota, or the rule's again; whether that is a change.
    pub(crate) fn set_quota(
        &self,
        rule: usize,
        key: &Key,
        quota: Option<KeyQuota>,
    ) -> Result<bool, ConfigError> {
        let at = self.place(rule).ok_or(ConfigError("there is no such limit"))?;
        let (now, wall, mut effects) = (self.now(), self.wall.now(), Effects::default());
        // What is over is over already.
        let quota = quota.filter(|quota| quota.until.is_none_or(|end| end > wall));
        let mut core = self.lock();
        let changed = core.set_quota(at as u32, key, quota, now, &mut effects)?;
        self.shared.hints.note(&core, now.mono, wall);
        drop(core);
        self.finish(effects);
        Ok(changed)
    }

    /// The keys of a rule that have a quota of their own.
    pub(crate) fn quotas(&self, rule: usize) -> Option<Vec<(Key, KeyQuota)>> {
        let at = self.place(rule)?;
        // Those that are over go first.
        self.now();
        let core = self.lock();
        Some(core.tables[at].quotas().map(|(key, quota)| (key, *quota)).collect())
    }

    /// Ends what is over.
    #[cold]
    pub(super) fn end_quotas(&self, now: Now) {
        let (wall, mut effects) = (self.wall.now(), Effects::default());
        let mut core = self.lock();
        for at in 0..core.tables.len() {
            for key in core.tables[at].over(wall) {
                // The limit's own quota always fits.
                let _ = core.set_quota(at as u32, &key, None, now, &mut effects);
            }
        }
        self.shared.hints.note(&core, now.mono, wall);
        drop(core);
        self.finish(effects);
    }

    /// Some of them may be of no use any more, or newly due.
    pub(super) fn note_quotas(&self, core: &Core, now: Now) {
        if self.shared.hints.some.load(Ordering::Relaxed) {
            self.shared.hints.note(core, now.mono, self.wall.now());
        }
    }

    /// The key's own quota, and its shape over all instances.
    pub(super) fn in_force(&self, claim: &Claim, rule: &Rule) -> (Shape, Option<KeyQuota>) {
        let shape = rule.limit.shape();
        if !self.shared.hints.some.load(Ordering::Relaxed) {
            return (shape, None);
        }
        let core = self.lock();
        let table = &core.tables[claim.rule as usize];
        (table.whole_of(&claim.key).unwrap_or(shape), table.quota_of(&claim.key))
    }
}

impl Core {
    pub(crate) fn set_quota(
        &mut self,
        table: u32,
        key: &Key,
        quota: Option<KeyQuota>,
        now: Now,
        effects: &mut Effects,
    ) -> Result<bool, ConfigError> {
        let now = self.clock(now);
        let limit = &mut self.tables[table as usize];
        let changed = limit.set_own(key, quota, now)?;
        if changed {
            if let Some(slot) = limit.own(key, key.hash()) {
                limit.touch(slot);
                limit.watch(slot, &mut effects.events);
            }
            // Who waited for more may go, or asks for all that there is now.
            self.look_again(now, effects);
        }
        Ok(changed)
    }
}
