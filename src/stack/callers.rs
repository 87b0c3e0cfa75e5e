use std::{collections::HashSet, sync::Arc};

use tollway_identify::{Config, IdentifyLayer, Key, KeyDigest, KeySet, LiveKeys, Source};

use super::{KeyRing, KeyScope, StackError};
use crate::policy::{self, Policy};

/// Who is calling. Keys made at run time are looked at only where the policy asks for keys at all.
pub(super) fn layer(policy: &Policy, ring: &Arc<KeyRing>) -> Result<IdentifyLayer, StackError> {
    let callers = &policy.callers;
    let keys = callers.keys.iter().map(|key| Key {
        user: Some(key.user.clone()),
        tags: key.tags.iter().cloned().collect(),
        ..Key::new(key.name.clone(), KeyDigest::from_bytes(key.sha256))
    });
    let sources = callers.identify.iter().map(|source| match source {
        policy::Source::Key => Source::Key,
        policy::Source::Header(name) => Source::Header {
            name: name.clone(),
            from_proxies_only: !callers.trusted_proxies.is_empty(),
        },
        policy::Source::ProviderKey => Source::ProviderKey,
        policy::Source::Ip => Source::Ip,
    });
    let wrong = |error| StackError::new("callers", error);
    IdentifyLayer::new(Config {
        sources: sources.collect(),
        keys: KeySet::new(keys).map_err(wrong)?,
        live: callers.require_key.then(|| live(policy, ring.clone())),
        trusted_proxies: callers.trusted_proxies.clone(),
        ..Config::default()
    })
    .map_err(wrong)
}

/// Keys made at run time. A name that the policy has given to a key since is that key's alone: limits
/// and bills go by names.
fn live(policy: &Policy, ring: Arc<KeyRing>) -> Arc<dyn LiveKeys> {
    let taken: HashSet<Arc<str>> = policy.callers.keys.iter().map(|key| key.name.clone()).collect();
    Arc::new(move |digest: &KeyDigest| {
        ring.find(digest, KeyScope::Api).filter(|key| !taken.contains(&key.name))
    })
}
