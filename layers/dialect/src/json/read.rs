use std::borrow::Cow;

use serde::{
    Deserialize,
    de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::Number;

use super::{Json, Object};
use crate::tame::{mend, underflows};

/// What makes a request long, at the top of it: arrays that are put together item by item.
const LONG: [&str; 3] = ["messages", "input", "contents"];

/// The items of an array, each put together when it is its turn: of a long conversation one message
/// is held at a time, and its memory is that of the one before it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Items<'a>(Vec<Flat<'a>>);

/// A document as a list, its containers before what is in them.
#[derive(Clone, Debug, PartialEq)]
enum Flat<'a> {
    /// A value, or a member's key.
    Whole(Json<'a>),
    /// Of so many items.
    Array(usize),
    /// Of so many members, each a key and a value.
    Object(usize),
}

impl<'a> Json<'a> {
    /// Reads a document. A number that no double can hold is an error: it would have to become
    /// another number on its way. Half a letter (a surrogate by itself) becomes U+FFFD.
    pub(crate) fn read(json: &'a [u8]) -> Result<Self, serde_json::Error> {
        // Bytes that are no UTF-8 are looked for at once, which is faster than string by string;
        // but only the reader of bytes says where they are.
        let read = match std::str::from_utf8(json) {
            Ok(text) => serde_json::from_str(text),
            Err(_) => serde_json::from_slice(json),
        };
        let read = read.or_else(|error| match mend(json, &error) {
            Some(mended) => serde_json::from_slice::<Json<'_>>(&mended).map(Json::into_owned),
            None => Err(error),
        })?;
        if underflows(json) {
            return Err(serde_json::Error::custom("number out of range"));
        }
        Ok(read)
    }

    /// Puts the next value together.
    fn next(flat: &mut std::vec::IntoIter<Flat<'a>>) -> Self {
        match flat.next() {
            Some(Flat::Whole(value)) => value,
            Some(Flat::Array(len)) => Self::Array((0..len).map(|_| Self::next(flat)).collect()),
            Some(Flat::Object(len)) => {
                let member = |_| (Self::next(flat).into_key(), Self::next(flat));
                Self::Object(Object((0..len).map(member).collect()))
            }
            None => Self::Null,
        }
    }

    fn into_key(self) -> Cow<'a, str> {
        match self {
            Self::String(key) => key,
            _ => Cow::Borrowed(""),
        }
    }
}

impl<'a> Items<'a> {
    pub(crate) fn each(self) -> impl ExactSizeIterator<Item = Json<'a>> {
        let mut flat = self.0.into_iter();
        let len = match flat.next() {
            Some(Flat::Array(len)) => len,
            _ => 0,
        };
        (0..len).map(move |_| Json::next(&mut flat))
    }
}

impl<'a> From<Vec<Json<'a>>> for Items<'a> {
    fn from(items: Vec<Json<'a>>) -> Self {
        let len = Flat::Array(items.len());
        Self(std::iter::once(len).chain(items.into_iter().map(Flat::Whole)).collect())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Json<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut flat = Vec::with_capacity(24);
        Flatten { flat: &mut flat, top: true }.deserialize(deserializer)?;
        Ok(Self::next(&mut flat.into_iter()))
    }
}

struct Flatten<'f, 'a> {
    flat: &'f mut Vec<Flat<'a>>,
    /// At the document itself.
    top: bool,
}

impl<'a> Flatten<'_, 'a> {
    fn push<E>(self, value: Json<'a>) -> Result<(), E> {
        self.flat.push(Flat::Whole(value));
        Ok(())
    }

    /// Ends the container that began at `start`: it is known how long it is.
    fn close<E>(self, start: usize, container: Flat<'a>) -> Result<(), E> {
        if let Some(begun) = self.flat.get_mut(start) {
            *begun = container;
        }
        Ok(())
    }

    /// For what is within.
    fn inner(&mut self) -> Flatten<'_, 'a> {
        Flatten { flat: self.flat, top: false }
    }

    /// Whether the key that was read last is one of [`LONG`].
    fn is_long(&self) -> bool {
        match self.flat.last() {
            Some(Flat::Whole(Json::String(key))) if self.top => LONG.contains(&&**key),
            _ => false,
        }
    }
}

impl<'de> DeserializeSeed<'de> for Flatten<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Flatten<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.push(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.push(Json::Bool(value))
    }

    fn visit_u64<E>(self, number: u64) -> Result<(), E> {
        self.push(Json::Number(number.into()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<(), E> {
        self.push(Json::Number(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<(), E> {
        self.push(Number::from_f64(number).map_or(Json::Null, Json::Number))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<(), E> {
        self.push(Json::String(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.push(Json::String(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        let (start, mut len) = (self.flat.len(), 0);
        self.flat.push(Flat::Array(0));
        while seq.next_element_seed(self.inner())?.is_some() {
            len += 1;
        }
        self.close(start, Flat::Array(len))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let (start, mut len) = (self.flat.len(), 0);
        self.flat.push(Flat::Object(0));
        while map.next_key_seed(self.inner())?.is_some() {
            if self.is_long() {
                let mut flat = Vec::new();
                map.next_value_seed(Flatten { flat: &mut flat, top: false })?;
                match flat.first() {
                    Some(Flat::Array(_)) => self.flat.push(Flat::Whole(Json::Items(Items(flat)))),
                    _ => self.flat.append(&mut flat),
                }
            } else {
                map.next_value_seed(self.inner())?;
            }
            len += 1;
        }
        self.close(start, Flat::Object(len))
    }
}
