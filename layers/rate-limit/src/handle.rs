use std::{sync::Arc, time::SystemTime};

use http::request::Parts;
use tollway_store::StoreError;

use crate::{ConfigError, Downgraded, Key, KeyQuota, Quota, Rule, Standing, limiter::Limiter};

/// Reads a layer's limits, and lets an operator reset them. Cheap to clone.
///
/// With a [shared store](crate::RateLimitLayerBuilder::shared) it knows what this instance has used of
/// its share, and asks the store for what all have only where that is said.
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
    /// with a shared store this is done here, and not [there](Self::reset_shared).
    pub fn reset(&self, limit: &str, key: &Key) -> bool {
        self.find(limit).is_some_and(|rule| self.0.reset(rule, key))
    }

    /// Whether a [shared store](crate::RateLimitLayerBuilder::shared) decides `limit`.
    pub fn is_shared(&self, limit: &str) -> bool {
        self.find(limit).is_some_and(|rule| self.0.is_shared(rule))
    }

    /// How `limit` stands for `key` by the shared store, for all instances; `None` if no such store decides
    /// it. What instances have [borrowed](crate::LimitBuilder::borrow) counts as used.
    ///
    /// # Errors
    /// The store is away; then each instance goes by its [own figures](Self::standing).
    pub async fn standing_shared(
        &self,
        limit: &str,
        key: &Key,
    ) -> Result<Option<Standing>, StoreError> {
        match self.find(limit) {
            Some(rule) => self.0.standing_shared(rule, key).await,
            None => Ok(None),
        }
    }

    /// The same of all keys that `which` picks and that have used something there, in no order: of more
    /// than `most` those that have used the largest share. Some hundred are read at once.
    ///
    /// # Errors
    /// The store is away.
    pub async fn entries_shared(
        &self,
        limit: &str,
        which: impl Fn(&Key) -> bool,
        most: usize,
    ) -> Result<Vec<(Key, Standing)>, StoreError> {
        match self.find(limit) {
            Some(rule) => self.0.entries_shared(rule, which, most).await,
            None => Ok(Vec::new()),
        }
    }

    /// Gives `key` its whole quota back in the shared store, in one step, and here; whether it had
    /// used something. What requests under way have reserved there counts no more: only what they
    /// use beyond it does. Places for concurrent requests stay theirs. Other instances, which go by
    /// what they let in themselves while the store is away, are to be told by [`reset`](Self::reset).
    ///
    /// # Errors
    /// The store is away; then nothing is changed there.
    pub async fn reset_shared(&self, limit: &str, key: &Key) -> Result<bool, StoreError> {
        match self.find(limit) {
            Some(rule) => self.0.reset_shared(rule, key).await,
            None => Ok(false),
        }
    }

    /// The same for all keys that `which` picks, some hundred in one step; those that had used
    /// something, each at least once.
    ///
    /// # Errors
    /// The store is away; then some of them may be reset, and doing it again does the rest.
    pub async fn reset_all_shared(
        &self,
        limit: &str,
        which: impl Fn(&Key) -> bool,
    ) -> Result<Vec<Key>, StoreError> {
        match self.find(limit) {
            Some(rule) => self.0.reset_all_shared(rule, which).await,
            None => Ok(Vec::new()),
        }
    }

    /// Forgets the keys of `limit` that can't be told from new ones, which happens by and by without
    /// it; how many. `None` if there is no such limit.
    pub fn sweep(&self, limit: &str) -> Option<usize> {
        self.0.sweep(self.find(limit)?)
    }

    /// Gives `key` a quota of its own in the place of the limit's, larger or smaller, until that
    /// moment of the [wall clock](crate::RateLimitLayerBuilder::wall_clock) or until it is
    /// [removed](Self::remove_quota). One that it has already is replaced.
    ///
    /// It goes on as if the limit had been changed for this key alone: a bucket keeps its fill as a
    /// share, all else what was used; the limit's headroom and warning are those of the quota too,
    /// and who waits in line is served by it. So it goes at the end, whether requests come or not.
    /// A set of rules that [takes over](crate::RateLimitLayerBuilder::resume) keeps it, as far as
    /// it fits there. A key with a quota of its own has a place beyond
    /// [`max_keys`](crate::RateLimitLayerBuilder::max_keys). It is not remembered beyond the
    /// process, and of a limit with a shared store each instance must be told.
    ///
    /// ```
    /// use std::time::{Duration, SystemTime};
    /// use tollway_rate_limit::{Key, Limit, Quota, RateLimitLayer, Rule, Unit};
    ///
    /// let minute = Duration::from_secs(60);
    /// let of = |amount| Quota::TokenBucket { amount, per: minute, burst: amount };
    /// let rule = Rule::new(Limit::new("user", of(60))?, Unit::Requests);
    /// let handle = RateLimitLayer::new([rule], ())?.handle();
    ///
    /// let (ann, day) = (Key::from("ann"), Duration::from_secs(86_400));
    /// let until = SystemTime::now() + 30 * day;
    /// handle.set_quota("user", &ann, of(200), Some(until))?;
    /// assert_eq!(handle.standing("user", &ann).unwrap().capacity, 200);
    /// assert_eq!(handle.quotas("user").unwrap()[0].1.quota, of(200));
    ///
    /// assert!(handle.remove_quota("user", &ann));
    /// assert_eq!(handle.standing("user", &ann).unwrap().capacity, 60);
    /// # Ok::<_, tollway_rate_limit::ConfigError>(())
    /// ```
    ///
    /// # Errors
    /// No such limit; a quota that can't be, or that is of another kind than the limit's, or of a
    /// calendar's other period. Then nothing is changed.
    pub fn set_quota(
        &self,
        limit: &str,
        key: &Key,
        quota: Quota,
        until: Option<SystemTime>,
    ) -> Result<(), ConfigError> {
        let rule = self.find(limit).ok_or(ConfigError("there is no such limit"))?;
        self.0.set_quota(rule, key, Some(KeyQuota { quota, until })).map(drop)
    }

    /// Gives `key` the limit's quota again; whether it had one of its own.
    pub fn remove_quota(&self, limit: &str, key: &Key) -> bool {
        self.find(limit).is_some_and(|rule| self.0.set_quota(rule, key, None).unwrap_or(false))
    }

    /// The keys of `limit` that have a quota of their own, in no order; `None` if there is no such
    /// limit.
    pub fn quotas(&self, limit: &str) -> Option<Vec<(Key, KeyQuota)>> {
        self.0.quotas(self.find(limit)?)
    }

    /// Has the shared store charge what was used while it was away, if it is there now. Otherwise the
    /// next request does, or whoever drops the layer: for the end of a process.
    pub fn repay(&self) {
        self.0.repay();
    }

    /// Keys whose use the shared store is yet to be told of: it was away.
    pub fn owed(&self) -> usize {
        self.0.owed()
    }

    /// Saves what has changed since it was last saved, where the layer has a
    /// [journal](crate::RateLimitLayerBuilder::journal), which does so by and by without it. Blocks.
    ///
    /// # Errors
    /// The store can't be written; it is tried again.
    pub fn save(&self) -> Result<(), StoreError> {
        self.0.shared().save()
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
