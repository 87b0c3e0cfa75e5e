//! What an operator asks of limits while traffic flows: a few keys at a time, so that no request
//! waits long for the lock.

use std::collections::HashMap;

use tollway_store::{
    StoreError,
    limits::{Kind, Now, Seen, Want},
};

use super::{Limiter, ask, tell};
use crate::{
    Key, Standing,
    decide::{Core, Effects, View},
};

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

    /// Whether a shared store decides a rule.
    pub(crate) fn is_shared(&self, rule: usize) -> bool {
        self.rules.get(rule).is_some_and(|rule| !self.is_here(rule))
    }

    /// The same in the store, for one key; whether that had used something. Places are given back
    /// by nobody but those who have them.
    pub(crate) async fn reset_shared(&self, rule: usize, key: &Key) -> Result<bool, StoreError> {
        let (Some(remote), Some(told)) = (&self.remote, self.rules.get(rule)) else {
            return Ok(false);
        };
        self.reset(rule, key);
        if told.limit.shape().kind == Kind::Concurrent {
            return Ok(false);
        }
        Ok(!remote.store.reset(&[ask::name(told, key)]).await?.is_empty())
    }

    /// The same for all keys that `which` picks; which had used something.
    pub(crate) async fn reset_all_shared(
        &self,
        rule: usize,
        which: impl Fn(&Key) -> bool,
    ) -> Result<Vec<Key>, StoreError> {
        let (Some(remote), Some(told)) = (&self.remote, self.rules.get(rule)) else {
            return Ok(Vec::new());
        };
        for (key, _) in self.entries(rule).unwrap_or_default() {
            if which(&key) {
                self.reset(rule, &key);
            }
        }
        let (mut all, mut from) = (Vec::new(), Some(0));
        if told.limit.shape().kind == Kind::Concurrent {
            return Ok(all);
        }
        let prefix = ask::prefix(told);
        let read = |name: &str| Key::read(name.strip_prefix(&prefix)?);
        while let Some(at) = from {
            let (mut found, next) = remote.store.keys(&prefix, at).await?;
            found.retain(|name| read(name).is_some_and(|key| which(&key)));
            let reset = remote.store.reset(&found).await?;
            all.extend(reset.iter().filter_map(|name| read(name)));
            from = next;
        }
        Ok(all)
    }

    /// How one key stands by the store; `None`: no store decides the rule.
    pub(crate) async fn standing_shared(
        &self,
        rule: usize,
        key: &Key,
    ) -> Result<Option<Standing>, StoreError> {
        let mut seen = self.look(rule, std::slice::from_ref(key)).await?;
        Ok(seen.pop().map(|(_, standing)| standing))
    }

    /// The same of all keys that `which` picks and that have used something there: of more than `most`
    /// those that have used the most.
    pub(crate) async fn entries_shared(
        &self,
        rule: usize,
        which: impl Fn(&Key) -> bool,
        most: usize,
    ) -> Result<Vec<(Key, Standing)>, StoreError> {
        let (Some(remote), Some(told)) = (&self.remote, self.rules.get(rule)) else {
            return Ok(Vec::new());
        };
        let left =
            |(_, standing): &(Key, Standing)| standing.remaining as f64 / standing.capacity as f64;
        let (prefix, mut all, mut from) = (ask::prefix(told), HashMap::new(), Some(0));
        while let Some(at) = from {
            let (found, next) = remote.store.keys(&prefix, at).await?;
            let keys = found.iter().filter_map(|name| Key::read(name.strip_prefix(&prefix)?));
            let keys: Vec<_> = keys.filter(|key| which(key)).collect();
            for keys in keys.chunks(PAGE) {
                all.extend(self.look(rule, keys).await?);
            }
            if all.len() > 2 * most {
                let mut sorted: Vec<_> = all.drain().collect();
                sorted.sort_by(|a, b| left(a).total_cmp(&left(b)));
                all.extend(sorted.into_iter().take(most));
            }
            from = next;
        }
        Ok(all.into_iter().filter(|(_, standing)| standing.remaining < standing.capacity).collect())
    }

    async fn look(&self, rule: usize, keys: &[Key]) -> Result<Vec<(Key, Standing)>, StoreError> {
        let (Some(remote), Some(told), Some(at)) =
            (&self.remote, self.rules.get(rule).filter(|rule| !rule.here), self.place(rule))
        else {
            return Ok(Vec::new());
        };
        let shape = told.limit.shape();
        let (wants, owned): (Vec<_>, Vec<_>) = {
            let core = self.lock();
            let table = &core.tables[at];
            let own = |key| (table.whole_of(key).unwrap_or(shape), table.quota_of(key));
            let both = keys.iter().map(|key| (own(key), ask::name(told, key)));
            both.map(|((shape, own), name)| (Want::new(name, shape, 0), own)).unzip()
        };
        let seen = remote.store.look(&wants, self.now().wall).await?;
        let all = keys.iter().zip(&wants).zip(owned).zip(seen);
        Ok(all
            .map(|(((key, want), own), seen)| {
                let waiting = remote.lines.waiting(&want.key);
                let (Seen { used, reset, .. }, held) = (seen, seen.held.unwrap_or(0));
                let capacity = want.shape.capacity;
                (key.clone(), tell(told, View { capacity, used, held, waiting, reset, own }))
            })
            .collect())
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
        let Some(slot) = limit.own(key, key.hash()) else { return false };
        limit.renew(slot, now);
        limit.touch(slot);
        limit.watch(slot, &mut effects.events);
        // Who waited for it can go.
        self.pump(vec![(table, slot)], now, effects);
        true
    }
}
