use std::{
    borrow::Cow,
    fmt::{self, Write as _},
    net::IpAddr,
    str,
    sync::Arc,
};

use http::{HeaderMap, HeaderName};
use ipnet::{IpNet, Ipv6Net};
use tollway_core::Caller;

use crate::{
    Config, ConfigError, Event, Key, KeyDigest, Reason, Source, Unauthorized,
    credential::credentials,
    forwarded::{client_ip, is_trusted},
};

/// More credentials than this in one request are somebody's guessing, not a client.
const MAX_CREDENTIALS: usize = 8;
/// A user's name in a header: longer ones are no names.
const MAX_USER_BYTES: usize = 256;

/// Tells the caller from a request's headers and peer address: no I/O, no clock.
#[derive(Clone, Debug)]
pub struct Identifier(Arc<Config>);

impl Identifier {
    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// Settings that contradict each other, such as keys that no source would look for.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        config.check()?;
        Ok(Self(Arc::new(config)))
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.0
    }

    /// Who sent `headers` from `peer`.
    ///
    /// The user is named by the first source that answers. A key without a user leaves that to
    /// a header listed after it, and stands in with its own name where no header answers. `ip`,
    /// `key` and `tags` are filled whoever names the user.
    ///
    /// # Errors
    ///
    /// Keys are configured and the request carries none of them, or several.
    pub fn identify(
        &self,
        peer: Option<IpAddr>,
        headers: &HeaderMap,
    ) -> Result<Caller, Unauthorized> {
        self.identify_call(peer, headers, None)
    }

    /// The same for a request with a query, whose `key=` is a credential too: so clients of Google
    /// may send theirs.
    ///
    /// # Errors
    ///
    /// As [`identify`](Self::identify).
    pub fn identify_call(
        &self,
        peer: Option<IpAddr>,
        headers: &HeaderMap,
        query: Option<&str>,
    ) -> Result<Caller, Unauthorized> {
        self.explain(peer, headers, query).map(|(caller, _)| caller)
    }

    pub(crate) fn explain(
        &self,
        peer: Option<IpAddr>,
        headers: &HeaderMap,
        query: Option<&str>,
    ) -> Result<(Caller, Event), Unauthorized> {
        let config = &*self.0;
        let mut caller = Caller::default();
        caller.ip =
            peer.map(|peer| client_ip(peer, headers, &config.trusted_proxies, config.proxy_header));
        let key = self.key(headers, query)?;
        let key = key.as_deref();
        if let Some(key) = key {
            caller.key = Some(key.name.clone());
            caller.tags = key.tags.clone();
            caller.authenticated = true;
        } else if config.sources.contains(&Source::ProviderKey) {
            caller.key = credentials(headers, query).next().map(|key| short_hash(&key));
        }
        let mut answers = config.sources.iter().filter_map(|source| {
            let (user, event) = self.ask(source, peer, headers, key, &caller)?;
            Some((user, event))
        });
        let (user, event) = match answers.next() {
            Some((user, event)) => (Some(user), event),
            None => match key {
                Some(key) => (Some(key.name.clone()), Event::Key),
                None => (None, Event::Unknown),
            },
        };
        drop(answers);
        caller.user = user;
        Ok((caller, event))
    }

    fn ask(
        &self,
        source: &Source,
        peer: Option<IpAddr>,
        headers: &HeaderMap,
        key: Option<&Key>,
        caller: &Caller,
    ) -> Option<(Arc<str>, Event)> {
        match source {
            Source::Key => Some((key?.user.clone()?, Event::Key)),
            Source::Header { name, from_proxies_only } => {
                let trusted = &self.0.trusted_proxies;
                let believed = !from_proxies_only || peer.is_some_and(|ip| is_trusted(ip, trusted));
                Some((believed.then(|| named_user(headers, name))??, Event::Header))
            }
            // A shared key is still a better name than a network address.
            Source::ProviderKey | Source::Ip if key.is_some() => None,
            Source::ProviderKey => Some((caller.key.clone()?, Event::ProviderKey)),
            Source::Ip => Some((ip_user(caller.ip?, self.0.ipv6_prefix), Event::Ip)),
        }
    }

    fn key(
        &self,
        headers: &HeaderMap,
        query: Option<&str>,
    ) -> Result<Option<Cow<'_, Key>>, Unauthorized> {
        if !self.0.asks_for_keys() {
            return Ok(None);
        }
        let mut reason = Reason::Missing;
        let mut found: Option<Cow<'_, Key>> = None;
        for (count, credential) in credentials(headers, query).enumerate() {
            if count >= MAX_CREDENTIALS {
                return Err(Unauthorized::new(Reason::Ambiguous));
            }
            reason = Reason::Wrong;
            match (&found, self.find(&credential)) {
                (Some(one), Some(other)) if one.digest != other.digest => {
                    return Err(Unauthorized::new(Reason::Ambiguous));
                }
                (_, Some(key)) => found = Some(key),
                (_, None) => {}
            }
        }
        found.map(Some).ok_or(Unauthorized::new(reason))
    }

    fn find(&self, credential: &[u8]) -> Option<Cow<'_, Key>> {
        let digest = KeyDigest::of(credential);
        if let Some(key) = self.0.keys.find_digest(&digest) {
            return Some(Cow::Borrowed(key));
        }
        self.0.live.as_ref()?.find(&digest).map(Cow::Owned)
    }
}

/// The user that a header names; two lines of it may be a client's and a proxy's, so then nobody.
fn named_user(headers: &HeaderMap, name: &HeaderName) -> Option<Arc<str>> {
    let mut values = headers.get_all(name).into_iter();
    let value = values.next()?;
    if values.next().is_some() {
        return None;
    }
    let user = str::from_utf8(value.as_bytes()).ok()?.trim();
    (!user.is_empty() && user.len() <= MAX_USER_BYTES).then(|| user.into())
}

/// `sha256:` and the first 16 hex digits: enough to tell callers apart, useless as a key.
fn short_hash(credential: &[u8]) -> Arc<str> {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let digest = KeyDigest::of(credential);
    let nibbles = digest.as_bytes().iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    let mut text = *b"sha256:0123456789abcdef";
    for (place, nibble) in text.iter_mut().skip(7).zip(nibbles) {
        *place = HEX[usize::from(nibble & 0xf)];
    }
    str::from_utf8(&text).unwrap_or_default().into()
}

/// The network that counts as one caller: all of an IPv4 address, the first `ipv6_prefix` bits of
/// an IPv6 one. For limits by address.
///
/// ```
/// let ip = "2001:db8:1:2:3:4:5:6".parse().unwrap();
/// assert_eq!(tollway_identify::ip_group(ip, 64).to_string(), "2001:db8:1:2::");
/// ```
pub fn ip_group(ip: IpAddr, ipv6_prefix: u8) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => IpNet::from(Ipv6Net::new(v6, ipv6_prefix).unwrap_or(v6.into())).network(),
        v4 => v4,
    }
}

fn ip_user(ip: IpAddr, ipv6_prefix: u8) -> Arc<str> {
    let mut text = StackText::default();
    let _ = write!(text, "{}", ip_group(ip, ipv6_prefix));
    if ip.is_ipv6() && ipv6_prefix < 128 {
        let _ = write!(text, "/{ipv6_prefix}");
    }
    text.as_str().into()
}

/// A short text put together without allocating.
struct StackText {
    bytes: [u8; 64],
    len: usize,
}

impl Default for StackText {
    fn default() -> Self {
        Self { bytes: [0; 64], len: 0 }
    }
}

impl StackText {
    fn as_str(&self) -> &str {
        self.bytes.get(..self.len).and_then(|bytes| str::from_utf8(bytes).ok()).unwrap_or_default()
    }
}

impl fmt::Write for StackText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.len + text.len();
        let room = self.bytes.get_mut(self.len..end).ok_or(fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}
