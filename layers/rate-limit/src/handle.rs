use std::sync::Arc;

use http::request::Parts;

use crate::{Downgraded, Key, Rule, Standing, limiter::Limiter};

/// Reads a layer's limits, and lets an operator reset them. Cheap to clone.
///
/// With a [shared store](crate::RateLimitLayerBuilder::shared) it asks nobody: it knows what this
/// instance has used of its share, and nothing of the others.
#[derive(Clone, Debug)]
pub struct Handle(Arc<Limiter>);

impl Handle {
    pub(crate) fn new(limiter: Arc<Limiter>) -> Self {
        Self(limiter)
    }

    /// The rules, in their order.
    pub fn rules(&self) -> &[Rule] {
        &self.0.rules
    }

    /// How `limit` stands for `key`; `None` if there is no such limit. A key that was never seen
    /// has its whole quota.
    pub fn standing(&self, limit: &str, key: &Key) -> Option<Standing> {
        self.0.standing(self.find(limit)?, key)
    }

    /// Keys that `limit` has in memory; `None` if there is no such limit.
    pub fn keys(&self, limit: &str) -> Option<usize> {
        self.0.keys(self.find(limit)?)
    }

    /// How `limit` stands for each key that it has in memory, in no order; `None` if there is no such
    /// limit. The limit is not held up: requests are let in between keys.
    pub fn entries(&self, limit: &str) -> Option<Vec<(Key, Standing)>> {
        self.0.entries(self.find(limit)?)
    }

    /// Gives `key` its whole quota back, less what running requests have reserved of it, and lets
    /// those in line go for whom there is room now; whether `limit` has the key in memory. Of a limit
    /// with a shared store this is done here, and not there.
    pub fn reset(&self, limit: &str, key: &Key) -> bool {
        self.find(limit).is_some_and(|rule| self.0.reset(rule, key))
    }

    /// Forgets the keys of `limit` that can't be told from new ones, which happens by and by without
    /// it; how many. `None` if there is no such limit.
    pub fn sweep(&self, limit: &str) -> Option<usize> {
        self.0.sweep(self.find(limit)?)
    }

    /// Why what has changed could not be saved when that was last tried; `None` if all is well.
    pub fn unsaved(&self) -> Option<String> {
        self.0.shared().journal()?.failed()
    }

    /// Requests that each limit has let in, by its name; attempts, where those are limited.
    pub fn admitted(&self) -> Vec<(Arc<str>, u64)> {
        self.0.admitted()
    }

    /// Whether a request with these parts would be admitted now, without waiting.
    pub fn would_admit(&self, request: &Parts) -> bool {
        self.0.would_admit(request)
    }

    /// What a request with these parts would carry if it came now: the limits that would send it
    /// elsewhere ([`WhenFull::Downgrade`](crate::WhenFull::Downgrade)). Of limits that instances share it
    /// is what this one knows.
    pub fn would_downgrade(&self, request: &Parts) -> Option<Downgraded> {
        self.0.would_downgrade(request)
    }

    /// Whether `limit` would give `amount` to `key` now, without waiting. A limit that does not
    /// exist, or is not enforced, admits everything.
    pub fn would_admit_key(&self, limit: &str, key: &Key, amount: u64) -> bool {
        self.find(limit).is_none_or(|rule| self.0.would_admit_key(rule, key, amount))
    }

    fn find(&self, limit: &str) -> Option<usize> {
        self.0.rules.iter().position(|rule| **rule.limit.name() == *limit)
    }
}
