use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

/// Address of the socket's other end, written by the server into each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerAddr(pub SocketAddr);

/// Labels an operator gave to a caller (`team: search`), shared and cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tags(Option<Arc<[Tag]>>);

type Tag = (Arc<str>, Arc<str>);

impl Tags {
    /// The value of tag `name`.
    pub fn get(&self, name: &str) -> Option<&Arc<str>> {
        self.iter().find(|(key, _)| &**key == name).map(|(_, value)| value)
    }

    /// All tags in the order they were given.
    pub fn iter(&self) -> impl Iterator<Item = &(Arc<str>, Arc<str>)> {
        self.0.iter().flat_map(|tags| tags.iter())
    }
}

impl<K: Into<Arc<str>>, V: Into<Arc<str>>> FromIterator<(K, V)> for Tags {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(tags: I) -> Self {
        let tags: Arc<[_]> = tags.into_iter().map(|(k, v)| (k.into(), v.into())).collect();
        Self((!tags.is_empty()).then_some(tags))
    }
}

/// Who sends a request, as far as it could be told.
///
/// No field ever holds a secret: `key` is the configured name of a key or a hash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Caller {
    /// The person or program: name of the key's owner, value of the trusted header, or another
    /// stable stand-in (hashed provider key, IP). What `per: user` limits go by.
    pub user: Option<Arc<str>>,
    /// Name of the Tollway key, or a short hash of the provider key that was sent.
    pub key: Option<Arc<str>>,
    /// The client's address, behind trusted proxies where the policy names any.
    pub ip: Option<IpAddr>,
    /// The key's tags.
    pub tags: Tags,
    /// The request came with a credential that this proxy issued (so it must not go upstream).
    pub authenticated: bool,
}
