//! The JSON object of a request, read strictly: what nobody knows is refused by name, as in a query.

use std::fmt;

use axum::{body::Bytes, extract::rejection::BytesRejection};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::Value;

use super::{ApiError, LARGEST, Query};
use crate::admin::query::unknown;

/// What came of a request's body.
pub(super) type Sent = Result<Bytes, BytesRejection>;

/// The fields of an object.
#[derive(Debug)]
pub(super) struct Fields(Vec<(String, Value)>);

impl Fields {
    /// Of these names only, each at most once.
    pub(super) fn parse(sent: Sent, known: &[&str]) -> Result<Self, ApiError> {
        let text = sent.map_err(|_| ApiError::too_large(LARGEST))?;
        if text.trim_ascii().is_empty() {
            let names = known.join(", ");
            return Err(ApiError::body(format!("is empty; send a JSON object of {names}")));
        }
        let read: Result<Self, _> = serde_json::from_slice(&text);
        let Self(fields) = read.map_err(|error| {
            ApiError::body(if error.is_data() {
                "can't be read: it is no JSON object".into()
            } else {
                format!("can't be read as a JSON object: {error}")
            })
        })?;
        for (at, (name, _)) in fields.iter().enumerate() {
            if !known.contains(&&**name) {
                return Err(unknown(name, known));
            }
            if fields.iter().take(at).any(|(other, _)| other == name) {
                return Err(ApiError::bad(name, format!("{name} is given twice")));
            }
        }
        Ok(Self(fields))
    }

    /// Where nothing can be said: an empty body, or an empty object.
    pub(super) fn none(sent: Sent) -> Result<(), ApiError> {
        match &sent {
            Ok(text) if text.trim_ascii().is_empty() => Ok(()),
            _ => Self::parse(sent, &[]).map(drop),
        }
    }

    fn get<'a, T>(
        &'a self,
        name: &str,
        expected: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, ApiError> {
        let Some((_, value)) = self.0.iter().find(|(other, _)| other == name) else {
            return Ok(None);
        };
        let wrong = || format!("{name}: expected {expected}, not {}", shown(value));
        read(value).map(Some).ok_or_else(|| ApiError::bad(name, wrong()))
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, ApiError> {
        self.get(name, "a text", Value::as_str)
    }

    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, ApiError> {
        self.get(name, "a whole number", Value::as_u64)
    }

    /// False where nothing is said.
    pub(super) fn flag(&self, name: &str) -> Result<bool, ApiError> {
        Ok(self.get(name, "true or false", Value::as_bool)?.unwrap_or(false))
    }

    pub(super) fn texts(&self, name: &str) -> Result<Option<Vec<&str>>, ApiError> {
        self.get(name, "a list of texts", |value| {
            value.as_array()?.iter().map(Value::as_str).collect()
        })
    }

    /// Names and texts, by name.
    pub(super) fn pairs(&self, name: &str) -> Result<Vec<(&str, &str)>, ApiError> {
        let pairs = self.get(name, "an object of texts", |value| {
            let pairs = value.as_object()?.iter();
            pairs.map(|(name, value)| Some((&**name, value.as_str()?))).collect()
        });
        Ok(pairs?.unwrap_or_default())
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "null (leave it out)".into(),
        Value::Bool(_) | Value::Number(_) => format!("{value}"),
        Value::String(text) => format!("the text `{}`", text.chars().take(80).collect::<String>()),
        Value::Array(_) => "such a list".into(),
        Value::Object(_) => "such an object".into(),
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        /// A map would forget the first of two fields of one name.
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }

        from.deserialize_map(InOrder)
    }
}

/// What names somebody, from whichever part of a request holds it.
pub(super) trait Texts {
    fn text_of(&self, name: &str) -> Result<Option<&str>, ApiError>;
}

impl Texts for Fields {
    fn text_of(&self, name: &str) -> Result<Option<&str>, ApiError> {
        self.text(name)
    }
}

impl Texts for Query {
    fn text_of(&self, name: &str) -> Result<Option<&str>, ApiError> {
        Ok(self.get(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 5] = ["name", "count", "all", "list", "tags"];

    fn read(text: &'static str) -> Result<Fields, ApiError> {
        Fields::parse(Ok(Bytes::from_static(text.as_bytes())), &KNOWN)
    }

    #[test]
    fn fields_are_read() {
        let text = r#"{"name": "ann", "count": 7, "all": true, "list": ["a"], "tags": {"b": "c"}}"#;
        let fields = read(text).unwrap();
        assert_eq!(fields.text("name").unwrap(), Some("ann"));
        assert_eq!(fields.number("count").unwrap(), Some(7));
        assert!(fields.flag("all").unwrap());
        assert_eq!(fields.texts("list").unwrap(), Some(vec!["a"]));
        assert_eq!(fields.pairs("tags").unwrap(), [("b", "c")]);
        let none = read(" {} ").unwrap();
        assert_eq!((none.text("name").unwrap(), none.number("count").unwrap()), (None, None));
        assert!(!none.flag("all").unwrap() && none.texts("list").unwrap().is_none());
        assert!(none.pairs("tags").unwrap().is_empty());
    }

    #[test]
    fn what_is_wrong_is_told_in_words_of_json() {
        for (text, said) in [
            ("", "is empty; send a JSON object of name, count"),
            (" \n", "is empty"),
            ("null", "no JSON object"),
            ("[]", "no JSON object"),
            ("7", "no JSON object"),
            ("\"x\"", "no JSON object"),
            ("{", "read as a JSON object: EOF"),
            ("{} {}", "trailing characters"),
            ("name=ann", "line 1 column 2"),
            ("{\"nmae\": 1}", "did you mean `name`?"),
            ("{\"colour\": 1}", "may be asked: name, count"),
            ("{\"name\": \"a\", \"name\": \"b\"}", "name is given twice"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.message().contains(said), "{text}: {}", error.message());
        }
        let utf8 = Fields::parse(Ok(Bytes::from_static(b"{\"name\": \"\xff\"}")), &KNOWN);
        assert!(utf8.unwrap_err().message().contains("unicode"));
        let wrong =
            read(r#"{"name": null, "count": -1, "all": "yes", "list": [1], "tags": {"a": null}}"#);
        let wrong = wrong.unwrap();
        let messages = [
            wrong.text("name").map(drop),
            wrong.number("count").map(drop),
            wrong.flag("all").map(drop),
            wrong.texts("list").map(drop),
            wrong.pairs("tags").map(drop),
        ];
        let said = [
            "name: expected a text, not null (leave it out)",
            "count: expected a whole number, not -1",
            "all: expected true or false, not the text `yes`",
            "list: expected a list of texts, not such a list",
            "tags: expected an object of texts, not such an object",
        ];
        for (message, said) in messages.into_iter().zip(said) {
            assert_eq!(message.unwrap_err().message(), said);
        }
        let nothing = |text: &'static str| Fields::none(Ok(Bytes::from_static(text.as_bytes())));
        assert!(nothing("").is_ok() && nothing("{}").is_ok());
        assert!(nothing("null").is_err());
        assert!(nothing("{\"a\": 1}").unwrap_err().message().contains("nothing can be asked"));
    }
}
