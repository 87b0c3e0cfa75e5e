use tollway_identify::{Config, IdentifyLayer, Key, KeyDigest, KeySet, Source};

use super::StackError;
use crate::policy::{self, Policy};

/// Who is calling.
pub(super) fn layer(policy: &Policy) -> Result<IdentifyLayer, StackError> {
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
        trusted_proxies: callers.trusted_proxies.clone(),
        ..Config::default()
    })
    .map_err(wrong)
}
