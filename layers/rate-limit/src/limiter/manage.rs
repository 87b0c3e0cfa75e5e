//! What an operator asks of limits while traffic flows: a few keys at a time, so that no request
//! waits long for the lock.

use super::{Limiter, tell};
use crate::{
    Key, Standing,
    decide::{Core, Effects},
};
use tollway_store::limits::Now;

/// Keys looked at while the lock is held.
const PAGE: usize = 256;

impl Limiter {
    /// How every key stands that a rule has in memory.
    pub(crate) fn entries(&self, rule: usize) -> Option<Vec<(Key, Standing)>> {
        let (at, told) = (self.place(rule)?, &self.rules[rule]);
        let (mut entries, mut from) = (Vec::new(), 0);
        loop {
            let now = self.now();
            let Some(views) = self.lock().tables[at].page(from, PAGE, now) else {
                return Some(entries);
            };
            entries.extend(views.into_iter().map(|(key, view)| (key, tell(told, view))));
            from += PAGE;
        }
    }

    /// Gives a key its whole quota back, less what is held of it; whether it is in memory.
    pub(crate) fn reset(&self, rule: usize, key: &Key) -> bool {
        let Some(at) = self.place(rule) else { return false };
        let (now, mut effects) = (self.now(), Effects::default());
        let found = self.lock().reset(at as u32, key, now, &mut effects);
        self.finish(effects);
        found
    }

    /// Forgets the keys of a rule that can't be told from new ones; how many.
    pub(crate) fn sweep(&self, rule: usize) -> Option<usize> {
        let at = self.place(rule)?;
        let (mut swept, mut left) = (0, self.lock().tables[at].room());
        while left > 0 {
            let now = self.now();
            swept += self.lock().tables[at].sweep(PAGE.min(left), now);
            left = left.saturating_sub(PAGE);
        }
        Some(swept)
    }
}

impl Core {
    fn reset(&mut self, table: u32, key: &Key, now: Now, effects: &mut Effects) -> bool {
        let now = self.clock(now);
        let limit = &mut self.tables[table as usize];
        let Some(slot) = limit.own(key) else { return false };
        limit.renew(slot, now);
        limit.watch(slot, &mut effects.events);
        // Who waited for it can go.
        self.pump(vec![(table, slot)], now, effects);
        true
    }
}
