use std::sync::Arc;

use http::HeaderName;
use ipnet::IpNet;

use crate::{ConfigError, KeySet, LiveKeys, forwarded::ProxyHeader};

/// Where to look for the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// A key of [`Config::keys`], in any of the
    /// [credential headers](crate::CREDENTIAL_HEADERS).
    Key,
    /// A header that names the user, set by something in front that can be trusted with it.
    Header {
        /// Which header, usually `x-user-id`.
        name: HeaderName,
        /// Believe it only when the peer is one of [`Config::trusted_proxies`]; otherwise
        /// everybody who can reach this service is believed.
        from_proxies_only: bool,
    },
    /// The provider's key that the caller brought, as a short hash. Only where no keys are
    /// configured: with them, a credential that isn't ours is refused.
    ProviderKey,
    /// The client's address.
    Ip,
}

/// Settings of an [`IdentifyLayer`](crate::IdentifyLayer).
#[derive(Clone, Debug)]
pub struct Config {
    /// In order: the first that answers names the user.
    pub sources: Vec<Source>,
    /// The keys that let somebody in. Empty, and no [`live`](Self::live) ones: everybody may call.
    pub keys: KeySet,
    /// Keys that let somebody in besides, and come and go while the layer serves. With them nobody
    /// gets in without a key, also while there is none.
    pub live: Option<Arc<dyn LiveKeys>>,
    /// Networks of the proxies in front, whose word about the client's address is taken.
    pub trusted_proxies: Vec<IpNet>,
    /// The header those proxies write. Naming it is safer than the default.
    pub proxy_header: ProxyHeader,
    /// Leading bits of an IPv6 address that count as one user, 1 to 128: a subscriber owns a /64
    /// at least, and could take a new address for each request.
    pub ipv6_prefix: u8,
}

impl Default for Config {
    /// Key, provider key, IP; no keys, no proxies; IPv6 by /64.
    fn default() -> Self {
        Self {
            sources: vec![Source::Key, Source::ProviderKey, Source::Ip],
            keys: KeySet::default(),
            live: None,
            trusted_proxies: Vec::new(),
            proxy_header: ProxyHeader::Either,
            ipv6_prefix: 64,
        }
    }
}

impl Config {
    /// Whether nobody gets in without a key.
    pub(crate) fn asks_for_keys(&self) -> bool {
        !self.keys.is_empty() || self.live.is_some()
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.sources.is_empty() {
            return Err(ConfigError::new("no source to identify callers by: name at least one"));
        }
        if let Some((_, twice)) =
            self.sources.iter().enumerate().find(|(at, source)| {
                self.sources.iter().take(*at).any(|earlier| earlier == *source)
            })
        {
            return Err(ConfigError::new(format!("source {twice:?} is listed twice")));
        }
        if self.asks_for_keys() && !self.sources.contains(&Source::Key) {
            let text = "keys are configured, but `key` is not among the sources";
            return Err(ConfigError::new(text));
        }
        let needs_proxies =
            |source: &Source| matches!(source, Source::Header { from_proxies_only: true, .. });
        if self.trusted_proxies.is_empty() && self.sources.iter().any(needs_proxies) {
            let text = "a header is believed from trusted proxies only, but none are configured";
            return Err(ConfigError::new(text));
        }
        if !(1..=128).contains(&self.ipv6_prefix) {
            return Err(ConfigError::new("an IPv6 prefix has 1 to 128 bits"));
        }
        Ok(())
    }
}
