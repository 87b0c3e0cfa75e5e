//! Reads a body by the messages of [`proto`](super::proto), as Google's JSON does: names in camel case
//! or snake case, null for what is not there, and an error for what is not known.

use serde_json::{Map, Number, Value, json};

use super::{
    error::Error,
    proto::{Field, Message, Type},
};

pub(super) type Checked<T> = Result<T, Box<Error>>;

pub(super) fn wrong<T>(text: impl Into<String>) -> Checked<T> {
    Err(Box::new(Error::invalid(text)))
}

/// The body, with every name in camel case.
pub(super) fn body(bytes: &[u8], message: &Message) -> Checked<Value> {
    match serde_json::from_slice(bytes) {
        Ok(value) => of(value, message, ""),
        Err(error) => wrong(format!("Invalid JSON payload received. {error}")),
    }
}

fn of(value: Value, message: &Message, path: &str) -> Checked<Value> {
    let Value::Object(fields) = value else {
        return wrong(format!(
            "Invalid JSON payload received. Unknown name \"\"{}: Root element must be a message.",
            at(path)
        ));
    };
    let mut read = Map::new();
    for (name, value) in fields {
        let Some((known, kind)) = field(message, &name) else {
            let at = at(path);
            return wrong(format!(
                "Invalid JSON payload received. Unknown name \"{name}\"{at}: Cannot find field."
            ));
        };
        if !value.is_null() {
            let inside =
                if path.is_empty() { snake(known) } else { format!("{path}.{}", snake(known)) };
            read.insert((*known).to_owned(), typed(value, *kind, &inside, path, known)?);
        }
    }
    Ok(Value::Object(read))
}

fn at(path: &str) -> String {
    if path.is_empty() { String::new() } else { format!(" at '{path}'") }
}

fn field(message: &Message, name: &str) -> Option<&'static Field> {
    message.0.iter().find(|(known, _)| *known == name || snake(known) == name)
}

/// `maxOutputTokens` as `max_output_tokens`.
fn snake(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 4);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            text.push('_');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}

fn typed(value: Value, kind: Type, path: &str, outer: &str, name: &str) -> Checked<Value> {
    let unfit =
        |what: &str, value: &Value| wrong(format!("Invalid value at '{path}' ({what}), {value}"));
    match (kind, value) {
        (Type::List(kind), Value::Array(values)) => {
            let values = values.into_iter().enumerate();
            let read =
                values.map(|(n, value)| typed(value, *kind, &format!("{path}[{n}]"), outer, name));
            Ok(Value::Array(read.collect::<Checked<_>>()?))
        }
        // A single one is taken for a list of one.
        (Type::List(kind), value @ Value::Object(_)) => {
            Ok(json!([typed(value, *kind, &format!("{path}[0]"), outer, name)?]))
        }
        (Type::Any, value) => Ok(value),
        (_, Value::Array(_)) => wrong(format!(
            "Invalid JSON payload received. Unknown name \"{name}\"{}: Proto field is not repeating, \
             cannot start list.",
            at(outer)
        )),
        (Type::Struct, value @ Value::Object(_)) => Ok(value),
        (Type::Struct, value) => unfit("type.googleapis.com/google.protobuf.Struct", &value),
        (Type::Of(message), value @ Value::Object(_)) => of(value, message, path),
        (Type::Map(kind), Value::Object(values)) => {
            let read = values.into_iter().enumerate().map(|(n, (key, value))| {
                let value = typed(value, *kind, &format!("{path}[{n}].value"), outer, name)?;
                Ok((key, value))
            });
            Ok(Value::Object(read.collect::<Checked<_>>()?))
        }
        (Type::Text, value @ Value::String(_)) | (Type::Flag, value @ Value::Bool(_)) => Ok(value),
        (Type::Text, value) => unfit("TYPE_STRING", &value),
        (Type::Flag, value) => unfit("TYPE_BOOL", &value),
        (Type::Bytes, Value::String(text)) => match is_base64(&text) {
            true => Ok(Value::String(text)),
            false => {
                unfit("TYPE_BYTES", &json!(format!("Base64 decoding failed for \"{text:.40}\"")))
            }
        },
        (Type::Bytes, value) => unfit("TYPE_BYTES", &value),
        (Type::Number, value) => number(&value).map_or_else(|| unfit("TYPE_DOUBLE", &value), Ok),
        (Type::Whole, value) => whole(&value).map_or_else(|| unfit("TYPE_INT32", &value), Ok),
        (Type::Enum(names), value) => {
            let word = value.as_str().map(str::to_ascii_uppercase);
            match word.filter(|word| names.contains(&word.as_str())) {
                Some(word) => Ok(Value::String(word)),
                None => unfit("TYPE_ENUM", &value),
            }
        }
        (Type::Of(_) | Type::Map(_) | Type::List(_), value) => unfit("TYPE_MESSAGE", &value),
    }
}

/// A number, which may be written as a string.
fn number(value: &Value) -> Option<Value> {
    match value {
        Value::Number(_) => Some(value.clone()),
        Value::String(text) => Number::from_f64(text.parse().ok()?).map(Value::Number),
        _ => None,
    }
}

fn whole(value: &Value) -> Option<Value> {
    let number = match value {
        Value::String(text) => text.parse().ok()?,
        value => value.as_i64().or_else(|| {
            let float = value.as_f64().filter(|number| number.fract() == 0.0)?;
            (float.abs() < 9e15).then_some(float as i64)
        })?,
    };
    i32::try_from(number).ok().map(|number| json!(number))
}

/// Standard or URL-safe letters (RFC 4648), with or without padding.
fn is_base64(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    let letter =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_');
    text.len() - body.len() <= 2 && body.len() % 4 != 1 && body.bytes().all(letter)
}
