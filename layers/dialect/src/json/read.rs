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
            Ok(text) => Self::document(serde_json::Deserializer::from_str(text)),
            Err(_) => Self::document(serde_json::Deserializer::from_slice(json)),
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

    fn document<R: serde_json::de::Read<'a>>(
        mut reader: serde_json::Deserializer<R>,
    ) -> Result<Self, serde_json::Error> {
        let document = Read(Tree { top: true }).deserialize(&mut reader)?;
        reader.end()?;
        Ok(document)
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

/// A value within something else that is read.
impl<'de: 'a, 'a> Deserialize<'de> for Json<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Read(Tree { top: false }).deserialize(deserializer)
    }
}

/// What is made of a document while it is read.
trait Shape<'a>: Sized {
    type Made;

    fn leaf(self, value: Json<'a>) -> Self::Made;

    fn array<A: SeqAccess<'a>>(self, items: A) -> Result<Self::Made, A::Error>;

    fn object<A: MapAccess<'a>>(self, members: A) -> Result<Self::Made, A::Error>;
}

/// A value.
struct Tree {
    /// Of a whole document.
    top: bool,
}

impl<'a> Shape<'a> for Tree {
    type Made = Json<'a>;

    fn leaf(self, value: Json<'a>) -> Json<'a> {
        value
    }

    fn array<A: SeqAccess<'a>>(self, mut items: A) -> Result<Json<'a>, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(Read(Self { top: false }))? {
            array.push(item);
        }
        Ok(Json::Array(array))
    }

    fn object<A: MapAccess<'a>>(self, mut members: A) -> Result<Json<'a>, A::Error> {
        let mut object = Vec::new();
        while let Some(key) = members.next_key_seed(Read(Self { top: false }))? {
            let key = key.into_key();
            let value = if self.top && LONG.contains(&&*key) {
                let mut flat = Vec::new();
                members.next_value_seed(Read(Flatten(&mut flat)))?;
                match flat.first() {
                    Some(Flat::Array(_)) => Json::Items(Items(flat)),
                    _ => Json::next(&mut flat.into_iter()),
                }
            } else {
                members.next_value_seed(Read(Self { top: false }))?
            };
            object.push((key, value));
        }
        Ok(Json::Object(Object(object)))
    }
}

/// A list.
struct Flatten<'f, 'a>(&'f mut Vec<Flat<'a>>);

impl<'a> Flatten<'_, 'a> {
    /// Ends the container that began at `start`: it is known how long it is.
    fn close(self, start: usize, container: Flat<'a>) {
        if let Some(begun) = self.0.get_mut(start) {
            *begun = container;
        }
    }
}

impl<'a> Shape<'a> for Flatten<'_, 'a> {
    type Made = ();

    fn leaf(self, value: Json<'a>) {
        self.0.push(Flat::Whole(value));
    }

    fn array<A: SeqAccess<'a>>(self, mut items: A) -> Result<(), A::Error> {
        let (start, mut len) = (self.0.len(), 0);
        self.0.push(Flat::Array(0));
        while items.next_element_seed(Read(Flatten(self.0)))?.is_some() {
            len += 1;
        }
        self.close(start, Flat::Array(len));
        Ok(())
    }

    fn object<A: MapAccess<'a>>(self, mut members: A) -> Result<(), A::Error> {
        let (start, mut len) = (self.0.len(), 0);
        self.0.push(Flat::Object(0));
        while members.next_key_seed(Read(Flatten(self.0)))?.is_some() {
            members.next_value_seed(Read(Flatten(self.0)))?;
            len += 1;
        }
        self.close(start, Flat::Object(len));
        Ok(())
    }
}

struct Read<S>(S);

impl<'de, S: Shape<'de>> DeserializeSeed<'de> for Read<S> {
    type Value = S::Made;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Made, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, S: Shape<'de>> Visitor<'de> for Read<S> {
    type Value = S::Made;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<S::Made, E> {
        Ok(self.0.leaf(Json::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<S::Made, E> {
        Ok(self.0.leaf(Json::Bool(value)))
    }

    fn visit_u64<E>(self, number: u64) -> Result<S::Made, E> {
        Ok(self.0.leaf(Json::Number(number.into())))
    }

    fn visit_i64<E>(self, number: i64) -> Result<S::Made, E> {
        Ok(self.0.leaf(Json::Number(number.into())))
    }

    fn visit_f64<E>(self, number: f64) -> Result<S::Made, E> {
        Ok(self.0.leaf(Number::from_f64(number).map_or(Json::Null, Json::Number)))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<S::Made, E> {
        Ok(self.0.leaf(Json::String(Cow::Borrowed(text))))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<S::Made, E> {
        Ok(self.0.leaf(Json::String(Cow::Owned(text.to_owned()))))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<S::Made, A::Error> {
        self.0.array(items)
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<S::Made, A::Error> {
        self.0.object(members)
    }
}
