//! A JSON document as a tree that borrows its strings: what translation reads from and writes to.

mod read;
mod write;

use std::{borrow::Cow, fmt};

use serde_json::Number;

pub(crate) use read::Items;
pub(crate) use write::Rows;

use crate::BadRequest;

/// Any JSON value. Keys keep their order; strings without escapes are slices of what was read.
///
/// Numbers are integers of 64 bits or doubles, as RFC 8259 (section 6) lets a reader have them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Json<'a> {
    #[default]
    Null,
    Bool(bool),
    Number(Number),
    String(Cow<'a, str>),
    Array(Vec<Json<'a>>),
    Object(Object<'a>),
    /// An array that was read, but not put together.
    Items(Items<'a>),
    /// An array that is written already.
    Rows(Rows),
}

/// The members of a JSON object, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Object<'a>(Vec<(Cow<'a, str>, Json<'a>)>);

impl<'a> Json<'a> {
    pub(crate) fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Number(number) => number.as_u64().or_else(|| {
                let float = number.as_f64()?;
                (float.fract() == 0.0 && (0.0..9e15).contains(&float)).then_some(float as u64)
            }),
            _ => None,
        }
    }

    pub(crate) fn as_object(&self) -> Option<&Object<'a>> {
        match self {
            Self::Object(object) => Some(object),
            _ => None,
        }
    }

    pub(crate) fn as_array(&self) -> Option<&[Json<'a>]> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    /// Its items, put together if they were not yet.
    pub(crate) fn as_array_mut(&mut self) -> Option<&mut Vec<Json<'a>>> {
        if let Self::Items(items) = self {
            *self = Self::Array(std::mem::take(items).each().collect());
        }
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    pub(crate) fn into_owned(self) -> Json<'static> {
        match self {
            Self::Null => Json::Null,
            Self::Bool(value) => Json::Bool(value),
            Self::Number(number) => Json::Number(number),
            Self::String(text) => Json::String(Cow::Owned(text.into_owned())),
            Self::Array(items) => Json::Array(items.into_iter().map(Json::into_owned).collect()),
            Self::Object(object) => {
                let members = object.0.into_iter();
                let owned =
                    members.map(|(key, value)| (Cow::Owned(key.into_owned()), value.into_owned()));
                Json::Object(Object(owned.collect()))
            }
            Self::Items(items) => Json::Array(items.each().map(Json::into_owned).collect()),
            Self::Rows(rows) => Json::Rows(rows),
        }
    }

    // What a reader expects to find, or says what it found instead.

    pub(crate) fn into_text(self, at: &At<'_>) -> Result<Cow<'a, str>, BadRequest> {
        match self {
            Self::String(text) => Ok(text),
            other => Err(at.expected("a string", &other)),
        }
    }

    pub(crate) fn into_array(self, at: &At<'_>) -> Result<Vec<Json<'a>>, BadRequest> {
        match self {
            Self::Array(items) => Ok(items),
            Self::Items(items) => Ok(items.each().collect()),
            other => Err(at.expected("an array", &other)),
        }
    }

    /// The same for one of many items.
    pub(crate) fn into_items(self, at: &At<'_>) -> Result<Items<'a>, BadRequest> {
        match self {
            Self::Items(items) => Ok(items),
            other => other.into_array(at).map(Items::from),
        }
    }

    pub(crate) fn into_object(self, at: &At<'_>) -> Result<Object<'a>, BadRequest> {
        match self {
            Self::Object(object) => Ok(object),
            other => Err(at.expected("an object", &other)),
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::String(_) => "a string",
            Self::Array(_) | Self::Items(_) | Self::Rows(_) => "an array",
            Self::Object(_) => "an object",
        }
    }
}

impl<'a> Object<'a> {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// With one more member; for writing.
    pub(crate) fn with(mut self, key: &'static str, value: impl Into<Json<'a>>) -> Self {
        self.push(key, value);
        self
    }

    /// With one more member, if there is a value for it.
    pub(crate) fn with_some(
        mut self,
        key: &'static str,
        value: Option<impl Into<Json<'a>>>,
    ) -> Self {
        if let Some(value) = value {
            self.push(key, value);
        }
        self
    }

    pub(crate) fn push(&mut self, key: impl Into<Cow<'a, str>>, value: impl Into<Json<'a>>) {
        if self.0.capacity() == 0 {
            self.0 = Vec::with_capacity(4);
        }
        self.0.push((key.into(), value.into()));
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Json<'a>> {
        self.0.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    pub(crate) fn str(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_str()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Json<'a>)> {
        self.0.iter().map(|(key, value)| (&**key, value))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&str, &mut Json<'a>)> {
        self.0.iter_mut().map(|(key, value)| (&**key, value))
    }

    pub(crate) fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.0.retain(|(key, _)| keep(key));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes a member out; null is as good as absent. What is left in the end is what nobody knew.
    pub(crate) fn take(&mut self, key: &str) -> Option<Json<'a>> {
        // Of a key given twice, the last counts. One pass: members come in any number from outside.
        let mut found = None;
        self.0.retain_mut(|(name, value)| {
            let here = name == key;
            if here {
                found = Some(std::mem::take(value));
            }
            !here
        });
        found.filter(|value| !value.is_null())
    }

    /// The first of these names that is there: Gemini's fields have two spellings.
    pub(crate) fn take_either(&mut self, names: [&str; 2]) -> Option<Json<'a>> {
        names.into_iter().find_map(|name| self.take(name))
    }

    pub(crate) fn text(
        &mut self,
        key: &str,
        at: &At<'_>,
    ) -> Result<Option<Cow<'a, str>>, BadRequest> {
        self.take(key).map(|value| value.into_text(&at.key(key))).transpose()
    }

    pub(crate) fn need_text(&mut self, key: &str, at: &At<'_>) -> Result<Cow<'a, str>, BadRequest> {
        self.text(key, at)?.ok_or_else(|| at.key(key).missing("a string"))
    }

    pub(crate) fn array(
        &mut self,
        key: &str,
        at: &At<'_>,
    ) -> Result<Option<Vec<Json<'a>>>, BadRequest> {
        self.take(key).map(|value| value.into_array(&at.key(key))).transpose()
    }

    pub(crate) fn items(
        &mut self,
        key: &str,
        at: &At<'_>,
    ) -> Result<Option<Items<'a>>, BadRequest> {
        self.take(key).map(|value| value.into_items(&at.key(key))).transpose()
    }

    pub(crate) fn object(
        &mut self,
        key: &str,
        at: &At<'_>,
    ) -> Result<Option<Object<'a>>, BadRequest> {
        self.take(key).map(|value| value.into_object(&at.key(key))).transpose()
    }

    pub(crate) fn bool(&mut self, key: &str, at: &At<'_>) -> Result<Option<bool>, BadRequest> {
        match self.take(key) {
            None => Ok(None),
            Some(Json::Bool(value)) => Ok(Some(value)),
            Some(other) => Err(at.key(key).expected("true or false", &other)),
        }
    }

    pub(crate) fn u64(&mut self, key: &str, at: &At<'_>) -> Result<Option<u64>, BadRequest> {
        let Some(value) = self.take(key) else { return Ok(None) };
        match value.as_u64() {
            Some(number) => Ok(Some(number)),
            None => Err(at.key(key).expected("a whole number, not negative", &value)),
        }
    }

    pub(crate) fn number(&mut self, key: &str, at: &At<'_>) -> Result<Option<Number>, BadRequest> {
        match self.take(key) {
            None => Ok(None),
            Some(Json::Number(number)) => Ok(Some(number)),
            Some(other) => Err(at.key(key).expected("a number", &other)),
        }
    }

    /// All members, nulls too.
    pub(crate) fn into_members(self) -> impl Iterator<Item = (Cow<'a, str>, Json<'a>)> {
        self.0.into_iter()
    }

    /// What nobody has taken, nulls left out.
    pub(crate) fn rest(self) -> impl Iterator<Item = (Cow<'a, str>, Json<'a>)> {
        self.0.into_iter().filter(|(_, value)| !value.is_null())
    }
}

/// Where in a document something stands: `messages[2].content[0].text`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum At<'p> {
    Root,
    Key(&'p At<'p>, &'p str),
    Index(&'p At<'p>, usize),
}

impl<'p> At<'p> {
    pub(crate) fn key(&'p self, key: &'p str) -> Self {
        Self::Key(self, key)
    }

    pub(crate) fn index(&'p self, index: usize) -> Self {
        Self::Index(self, index)
    }

    /// A refusal of what stands here.
    pub(crate) fn bad(&self, why: impl fmt::Display) -> BadRequest {
        let place = self.to_string();
        BadRequest::invalid(format!("`{place}` {why}."))
            .with_param(place)
            .with_code("invalid_value")
    }

    pub(crate) fn expected(&self, what: &str, found: &Json<'_>) -> BadRequest {
        self.bad(format_args!("must be {what}, but it is {}", found.kind()))
    }

    pub(crate) fn missing(&self, what: &str) -> BadRequest {
        self.bad(format_args!("is missing, and must be {what}"))
    }
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Key(Self::Root, key) => f.write_str(key),
            Self::Key(parent, key) => write!(f, "{parent}.{key}"),
            Self::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

impl<'a> From<&'a str> for Json<'a> {
    fn from(text: &'a str) -> Self {
        Self::String(Cow::Borrowed(text))
    }
}

impl<'a> From<Cow<'a, str>> for Json<'a> {
    fn from(text: Cow<'a, str>) -> Self {
        Self::String(text)
    }
}

impl From<String> for Json<'_> {
    fn from(text: String) -> Self {
        Self::String(Cow::Owned(text))
    }
}

impl From<bool> for Json<'_> {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<u64> for Json<'_> {
    fn from(number: u64) -> Self {
        Self::Number(number.into())
    }
}

impl From<u32> for Json<'_> {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<Number> for Json<'_> {
    fn from(number: Number) -> Self {
        Self::Number(number)
    }
}

impl<'a> From<Object<'a>> for Json<'a> {
    fn from(object: Object<'a>) -> Self {
        Self::Object(object)
    }
}

impl<'a, T: Into<Json<'a>>> From<Vec<T>> for Json<'a> {
    fn from(items: Vec<T>) -> Self {
        Self::Array(items.into_iter().map(Into::into).collect())
    }
}

impl<'a, T: Into<Json<'a>>> From<Option<T>> for Json<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_written_again() {
        let text = r#"{"b":[1,-2,2.5,true,null],"a":{"x\n":"é\u0001"},"a2":""}"#;
        let json = Json::read(text.as_bytes()).unwrap();
        assert_eq!(json.to_text(), text);
        assert_eq!(json.clone().into_owned(), json);
    }

    #[test]
    fn a_member_is_taken_once_and_the_last_of_two_counts() {
        let mut object = Json::read(br#"{"a":1,"b":null,"a":2,"c":"x"}"#)
            .unwrap()
            .into_object(&At::Root)
            .unwrap();
        assert_eq!(object.u64("a", &At::Root).unwrap(), Some(2));
        assert_eq!(object.u64("a", &At::Root).unwrap(), None);
        assert!(object.take("b").is_none());
        let error = object.clone().u64("c", &At::Root.index(3)).unwrap_err();
        assert_eq!(
            error.message(),
            "`[3].c` must be a whole number, not negative, but it is a string."
        );
        assert_eq!(object.rest().map(|(key, _)| key).collect::<Vec<_>>(), ["c"]);
    }

    #[test]
    fn a_number_beyond_a_double_is_not_made_another() {
        let error = Json::read(b"[1e400]").unwrap_err();
        assert!(error.to_string().starts_with("number out of range"), "{error}");
        for small in ["[1e-400]", "[0.25E-999]", r#"{"a":[-1.0e-400]}"#] {
            let error = Json::read(small.as_bytes()).unwrap_err();
            assert!(error.to_string().starts_with("number out of range"), "{small}");
        }
        for fine in ["[0e-400]", "[0.0E-400]", r#"["1e-400",1e-300,"\"2e-500"]"#, "[1e-310]"] {
            assert!(Json::read(fine.as_bytes()).is_ok(), "{fine}");
        }
    }

    #[test]
    fn half_a_letter_is_told_as_one_that_is_unknown() {
        let json = Json::read(br#"{"messages":["a\ud83d"],"b":["\ude00 \ud83d\ude00"]}"#).unwrap();
        assert_eq!(json.to_text(), "{\"messages\":[\"a\u{FFFD}\"],\"b\":[\"\u{FFFD} \u{1F600}\"]}");
    }
}
