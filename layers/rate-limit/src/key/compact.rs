//! A key as a table has it: small, as there may be a million.

use std::{net::IpAddr, sync::Arc};

use super::{Key, Part};

/// Bytes of a name that needs no memory of its own.
const SHORT: usize = 22;

/// A [`Key`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Compact {
    #[default]
    All,
    One(Half),
    Two(Box<(Half, Half)>),
}

/// A [`Part`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Half {
    Short { len: u8, name: [u8; SHORT] },
    Long(Arc<str>),
    Ip(IpAddr),
}

const _: () = assert!(size_of::<Compact>() <= 24, "a key takes more room: see benches/README.md");

impl From<&Part> for Half {
    fn from(part: &Part) -> Self {
        match part {
            Part::Ip(ip) => Self::Ip(*ip),
            Part::Name(text) => {
                let mut name = [0; SHORT];
                match name.get_mut(..text.len()) {
                    Some(place) => {
                        place.copy_from_slice(text.as_bytes());
                        Self::Short { len: text.len() as u8, name }
                    }
                    None => Self::Long(text.clone()),
                }
            }
        }
    }
}

impl From<&Half> for Part {
    fn from(half: &Half) -> Self {
        match half {
            Half::Ip(ip) => Self::Ip(*ip),
            Half::Long(name) => Self::Name(name.clone()),
            Half::Short { len, name } => {
                // It was a `str`, whole.
                let name = name.get(..usize::from(*len)).unwrap_or_default();
                Self::from(std::str::from_utf8(name).unwrap_or_default())
            }
        }
    }
}

impl From<&Key> for Compact {
    fn from(key: &Key) -> Self {
        match key {
            Key::All => Self::All,
            Key::One(part) => Self::One(part.into()),
            Key::Two(one, two) => Self::Two(Box::new((one.into(), two.into()))),
        }
    }
}

impl From<&Compact> for Key {
    fn from(key: &Compact) -> Self {
        match key {
            Compact::All => Self::All,
            Compact::One(half) => Self::One(half.into()),
            Compact::Two(halves) => Self::Two((&halves.0).into(), (&halves.1).into()),
        }
    }
}

// Keys of requests are compared as they are.

impl PartialEq<Part> for Half {
    fn eq(&self, part: &Part) -> bool {
        match (self, part) {
            (Self::Ip(ip), Part::Ip(other)) => ip == other,
            (Self::Long(name), Part::Name(other)) => name == other,
            (Self::Short { len, name }, Part::Name(other)) => {
                name.get(..usize::from(*len)) == Some(other.as_bytes())
            }
            _ => false,
        }
    }
}

impl PartialEq<Key> for Compact {
    fn eq(&self, key: &Key) -> bool {
        match (self, key) {
            (Self::All, Key::All) => true,
            (Self::One(half), Key::One(part)) => half == part,
            (Self::Two(halves), Key::Two(one, two)) => halves.0 == *one && halves.1 == *two,
            _ => false,
        }
    }
}
