mod compact;

use std::{
    fmt,
    hash::BuildHasher,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, LazyLock},
};

use tollway_core::NameHash;

pub(crate) use compact::Compact;

/// One half of a [`Key`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// A name: user, key, model, provider, the value of a tag.
    Name(Arc<str>),
    /// An address.
    Ip(IpAddr),
}

/// Whose quota a request draws on. Cheap to clone; each limit has a key space of its own.
///
/// ```
/// use std::{net::IpAddr, sync::Arc};
/// use tollway_rate_limit::Key;
///
/// let user: Arc<str> = "ann".into();
/// let model: Arc<str> = "gpt-4o-mini".into();
/// assert_ne!(Key::from(user.clone()), Key::from((user, model)));
///
/// // Whoever holds one address of an IPv6 network holds all of its /64.
/// let ip = |text: &str| Key::network(text.parse::<IpAddr>().unwrap());
/// assert_eq!(ip("2001:db8::1"), ip("2001:db8::2:3"));
/// assert_ne!(ip("192.0.2.1"), ip("192.0.2.2"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Key {
    /// Everybody shares one quota.
    #[default]
    All,
    /// One quota for each value.
    One(Part),
    /// One quota for each pair of values.
    Two(Part, Part),
}

impl Key {
    /// A client's address as limits should see it: an IPv4 address (also when mapped into IPv6) by
    /// itself, an IPv6 address by its /64 network.
    pub fn network(ip: IpAddr) -> Self {
        Self::One(Part::Ip(match ip.to_canonical() {
            IpAddr::V4(ip) => IpAddr::V4(ip),
            IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from(u128::from(ip) & !u128::from(u64::MAX))),
        }))
    }
}

/// One for all limits, so that a request's key is hashed before any of them is asked.
static HASH: LazyLock<NameHash> = LazyLock::new(NameHash::default);

impl Key {
    /// Whether it is the very same name, which is seen at a glance.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::One(Part::Name(one)), Self::One(Part::Name(other))) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }

    /// By which tables find it.
    pub(crate) fn hash(&self) -> u32 {
        match self {
            Self::All => 0,
            key => HASH.hash_one(key) as u32,
        }
    }
}

impl Part {
    /// With its kind and length before it, so that no two keys are written alike.
    fn write(&self, out: &mut String) {
        use fmt::Write;
        // A `String` takes everything.
        let _ = match self {
            Self::Name(name) => write!(out, "n{}:{name}", name.len()),
            Self::Ip(ip) => write!(out, "i{ip}"),
        };
    }
}

impl Key {
    /// The key as a store has it.
    pub(crate) fn write(&self, out: &mut String) {
        match self {
            Self::All => out.push('*'),
            Self::One(part) => part.write(out),
            Self::Two(one, two) => {
                one.write(out);
                out.push(' ');
                two.write(out);
            }
        }
    }
}

impl Part {
    /// What [`write`](Self::write) wrote at the start of `text`, and the rest of it.
    fn read(text: &str) -> Option<(Self, &str)> {
        if let Some(ip) = text.strip_prefix('i') {
            let (ip, rest) = ip.split_at(ip.find(' ').unwrap_or(ip.len()));
            return Some((Self::Ip(ip.parse().ok()?), rest));
        }
        let (length, rest) = text.strip_prefix('n')?.split_once(':')?;
        let (name, rest) = rest.split_at_checked(length.parse().ok()?)?;
        Some((Self::from(name), rest))
    }
}

impl Key {
    /// The key that [`write`](Self::write) wrote.
    pub(crate) fn read(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::All);
        }
        let (one, rest) = Part::read(text)?;
        let Some(rest) = rest.strip_prefix(' ') else {
            return rest.is_empty().then_some(Self::One(one));
        };
        let (two, rest) = Part::read(rest)?;
        rest.is_empty().then_some(Self::Two(one, two))
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Ip(ip) => ip.fmt(f),
        }
    }
}

impl fmt::Display for Key {
    /// `all`, `ann`, or `ann, gpt-4o` for a pair.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::One(part) => part.fmt(f),
            Self::Two(one, two) => write!(f, "{one}, {two}"),
        }
    }
}

impl From<Arc<str>> for Part {
    fn from(name: Arc<str>) -> Self {
        Self::Name(name)
    }
}

impl From<&Arc<str>> for Part {
    fn from(name: &Arc<str>) -> Self {
        Self::Name(name.clone())
    }
}

impl From<&str> for Part {
    fn from(name: &str) -> Self {
        Self::Name(name.into())
    }
}

impl From<IpAddr> for Part {
    fn from(ip: IpAddr) -> Self {
        Self::Ip(ip)
    }
}

impl<P: Into<Part>> From<P> for Key {
    fn from(part: P) -> Self {
        Self::One(part.into())
    }
}

impl<A: Into<Part>, B: Into<Part>> From<(A, B)> for Key {
    fn from((a, b): (A, B)) -> Self {
        Self::Two(a.into(), b.into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn part() -> impl Strategy<Value = Part> {
        prop_oneof![
            ".{0,12}".prop_map(|name| Part::from(&*name)),
            "[ni0-9:* ]{0,6}".prop_map(|name| Part::from(&*name)),
            "[a-c]{20,25}".prop_map(|name| Part::from(&*name)),
            any::<IpAddr>().prop_map(Part::from),
        ]
    }

    proptest! {
        #[test]
        fn keys_are_read_as_they_were_written(one in part(), two in part()) {
            for key in [Key::All, Key::One(one.clone()), Key::Two(one, two)] {
                let mut text = String::new();
                key.write(&mut text);
                prop_assert_eq!(Key::read(&text), Some(key));
            }
        }

        #[test]
        fn a_compact_key_is_the_same_key(
            one in part(), two in part(), other in part(), another in part(),
        ) {
            let keys = |one: &Part, two: &Part| {
                [Key::All, Key::One(one.clone()), Key::Two(one.clone(), two.clone())]
            };
            for key in keys(&one, &two) {
                let compact = Compact::from(&key);
                prop_assert_eq!(&Key::from(&compact), &key);
                for other in keys(&one, &two).iter().chain(&keys(&other, &another)) {
                    let another = Compact::from(other);
                    prop_assert_eq!(compact == *other, key == *other);
                    prop_assert_eq!(compact == another, key == *other);
                    prop_assert!(key != *other || key.hash() == other.hash());
                }
            }
        }

        #[test]
        fn no_text_is_a_panic(text in "[ni*][0-9]{0,3}:?.{0,8}") {
            let _ = Key::read(&text);
        }
    }
}
