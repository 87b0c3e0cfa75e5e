use std::{
    fmt,
    hash::{BuildHasher, Hash, Hasher, RandomState},
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
};

/// One place a request can be sent: a provider, the name of the key used there, and a model.
///
/// Cheap to clone. Printed as `provider/model`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Target(Arc<Inner>);

#[derive(PartialEq, Eq)]
struct Inner {
    /// Of all three: targets are keys of many tables, and most are made once.
    hash: u64,
    provider: Arc<str>,
    key: Arc<str>,
    model: Option<Arc<str>>,
}

impl Hash for Inner {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// Keyed, as some names come from outside.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);

impl Target {
    /// `key` is the key's name, never the secret. `model` `None` means: the model that was asked
    /// for (or none, where the request names none).
    pub fn new(
        provider: impl Into<Arc<str>>,
        key: impl Into<Arc<str>>,
        model: Option<Arc<str>>,
    ) -> Self {
        let (provider, key) = (provider.into(), key.into());
        let hash = HASHER.hash_one((&provider, &key, &model));
        Self(Arc::new(Inner { hash, provider, key, model }))
    }

    /// Name of the provider in the policy.
    pub fn provider(&self) -> &Arc<str> {
        &self.0.provider
    }

    /// Name of the provider's key, for benching one key and not its neighbours.
    pub fn key(&self) -> &Arc<str> {
        &self.0.key
    }

    /// Model id to send upstream; `None`: send what was asked.
    pub fn model(&self) -> Option<&Arc<str>> {
        self.0.model.as_ref()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.provider)?;
        if let Some(model) = &self.0.model {
            f.write_str("/")?;
            f.write_str(model)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({self}, key {})", self.0.key)
    }
}

/// Which target is at work on a request, in the request's extensions.
///
/// Work that a caller abandons before its reply has a head costs all the same: guards that never
/// saw a head ask here whether anybody had been asked. What goes on for a caller who has left goes
/// on for that work alone: nobody else is asked.
///
/// ```
/// use tollway_core::{AtWork, Target};
///
/// let work = AtWork::default();
/// work.begin(Target::new("openai", "main", None));
/// assert!(work.target().is_some());
/// work.end();
/// assert!(work.target().is_none());
/// assert!(!work.abandon());
/// assert!(work.is_abandoned());
/// ```
#[derive(Clone, Debug, Default)]
pub struct AtWork(Arc<Mutex<Work>>);

#[derive(Debug, Default)]
struct Work {
    target: Option<Target>,
    abandoned: bool,
}

impl AtWork {
    /// `target` has been sent the request.
    pub fn begin(&self, target: Target) {
        self.lock().target = Some(target);
    }

    /// It is done with it, or has refused it.
    pub fn end(&self) {
        self.lock().target = None;
    }

    /// Who is at work.
    pub fn target(&self) -> Option<Target> {
        self.lock().target.clone()
    }

    /// The caller has left. Whether anybody is at work.
    pub fn abandon(&self) -> bool {
        let mut work = self.lock();
        work.abandoned = true;
        work.target.is_some()
    }

    /// Whether the caller has left.
    pub fn is_abandoned(&self) -> bool {
        self.lock().abandoned
    }

    fn lock(&self) -> MutexGuard<'_, Work> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_target_is_one_key_however_often_it_is_made() {
        let all = || {
            ["a", "ab"].into_iter().flat_map(|provider| {
                let models = [None, Some(""), Some("c")];
                let of =
                    move |model: Option<&str>| Target::new(provider, "b", model.map(Into::into));
                models.into_iter().map(of)
            })
        };
        let made: HashSet<Target> = all().chain(all()).collect();
        assert_eq!(made.len(), 6);
        assert!(all().all(|target| made.contains(&target)));
    }
}
