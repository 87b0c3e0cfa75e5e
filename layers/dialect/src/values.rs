//! JSON values as providers may write them: of the type that is meant, or of any other.

use std::fmt;

use serde::{
    Deserialize,
    de::{
        DeserializeOwned, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess,
        Visitor,
    },
};

use crate::{
    tame::tame,
    text::{Count, Mode, Walk},
};

/// Reads JSON; a number that no double holds is no error, and neither is half a letter.
pub(crate) fn read<T: DeserializeOwned>(json: &[u8]) -> Result<T, serde_json::Error> {
    let read = match std::str::from_utf8(json) {
        // All letters were looked at in one go, which each string for itself takes longer.
        Ok(text) => serde_json::from_str(text),
        // They may stand where nobody reads.
        Err(_) => serde_json::from_slice(json),
    };
    read.or_else(|error| match tame(json, &error) {
        Some(tamed) => serde_json::from_slice(&tamed),
        None => Err(error),
    })
}

/// Implements `Deserialize` by a visitor that reads strings and passes over the rest.
macro_rules! from_any {
    ($name:ident, str: $of_str:expr, truthy: $truthy:expr) => {
        const _: () = {
            use std::fmt;

            use serde::de::{
                Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor,
            };

            impl<'de> Deserialize<'de> for $name {
                fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    struct Any;
                    impl<'de> Visitor<'de> for Any {
                        type Value = $name;

                        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                            f.write_str("a JSON value")
                        }

                        fn visit_str<E: Error>(self, text: &str) -> Result<$name, E> {
                            Ok($of_str(text))
                        }

                        fn visit_unit<E>(self) -> Result<$name, E> {
                            Ok($name::default())
                        }

                        fn visit_bool<E>(self, value: bool) -> Result<$name, E> {
                            Ok(if value { $truthy } else { $name::default() })
                        }

                        fn visit_u64<E>(self, _: u64) -> Result<$name, E> {
                            Ok($truthy)
                        }

                        fn visit_i64<E>(self, _: i64) -> Result<$name, E> {
                            Ok($truthy)
                        }

                        fn visit_f64<E>(self, _: f64) -> Result<$name, E> {
                            Ok($truthy)
                        }

                        fn visit_seq<A: SeqAccess<'de>>(
                            self,
                            mut seq: A,
                        ) -> Result<$name, A::Error> {
                            while seq.next_element::<IgnoredAny>()?.is_some() {}
                            Ok($truthy)
                        }

                        fn visit_map<A: MapAccess<'de>>(
                            self,
                            mut map: A,
                        ) -> Result<$name, A::Error> {
                            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                            Ok($truthy)
                        }
                    }
                    deserializer.deserialize_any(Any)
                }
            }
        };
    };
}
pub(crate) use from_any;

/// Whether a field holds anything that counts as true, as the official SDKs see it.
#[derive(Clone, Copy, Default)]
pub(crate) struct Present(pub(crate) bool);

from_any!(Present, str: |text: &str| Present(!text.is_empty()), truthy: Present(true));

/// Length of the text in a value, whatever its shape.
#[derive(Clone, Copy, Default)]
pub(crate) struct TextLen(pub(crate) u64);

impl<'de> Deserialize<'de> for TextLen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut count = Count::default();
        Walk { count: &mut count, mode: Mode::Text }.deserialize(deserializer)?;
        Ok(Self(count.bytes))
    }
}

/// A count that may be missing, null, a float or nonsense.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tokens(Option<u64>);

impl Tokens {
    pub(crate) fn or(self, other: Self) -> Self {
        Self(self.0.or(other.0))
    }

    pub(crate) fn number(self) -> Option<u64> {
        self.0
    }

    pub(crate) fn value(self) -> u64 {
        self.0.unwrap_or(0)
    }
}

impl<'de> Deserialize<'de> for Tokens {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ReadTokens).map(Tokens)
    }
}

struct ReadTokens;

impl<'de> Visitor<'de> for ReadTokens {
    type Value = Option<u64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a count")
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Some(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok((0.0..9e15).contains(&value).then_some(value as u64))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}
