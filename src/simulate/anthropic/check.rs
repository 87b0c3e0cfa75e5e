//! The checks that every part of a request shares, in the words of the real one.

use serde_json::{Map, Value};

use super::error::Error;

pub(super) type Checked<T> = Result<T, Box<Error>>;
pub(super) type Object = Map<String, Value>;

/// `path: text`
pub(super) fn wrong<T>(path: impl AsRef<str>, text: impl AsRef<str>) -> Checked<T> {
    Err(plain(format!("{}: {}", path.as_ref(), text.as_ref())))
}

pub(super) fn plain(text: impl Into<String>) -> Box<Error> {
    Box::new(Error::invalid(text))
}

pub(super) fn at(path: &str, key: impl std::fmt::Display) -> String {
    if path.is_empty() { key.to_string() } else { format!("{path}.{key}") }
}

/// Only these fields are there.
pub(super) fn only(object: &Object, path: &str, allowed: &[&str]) -> Checked<()> {
    match object.keys().find(|key| !allowed.contains(&key.as_str())) {
        Some(key) => wrong(at(path, key), "Extra inputs are not permitted"),
        None => Ok(()),
    }
}

pub(super) fn object<'a>(value: &'a Value, path: &str) -> Checked<&'a Object> {
    value.as_object().map_or_else(|| wrong(path, "Input should be a valid dictionary"), Ok)
}

pub(super) fn list<'a>(value: &'a Value, path: &str) -> Checked<&'a [Value]> {
    let list = value.as_array().map(Vec::as_slice);
    list.map_or_else(|| wrong(path, "Input should be a valid list"), Ok)
}

pub(super) fn string<'a>(value: &'a Value, path: &str) -> Checked<&'a str> {
    value.as_str().map_or_else(|| wrong(path, "Input should be a valid string"), Ok)
}

/// A field that is there and not null.
pub(super) fn given<'a>(object: &'a Object, key: &str) -> Option<&'a Value> {
    object.get(key).filter(|value| !value.is_null())
}

pub(super) fn required<'a>(object: &'a Object, path: &str, key: &str) -> Checked<&'a Value> {
    object.get(key).map_or_else(|| wrong(at(path, key), "Field required"), Ok)
}

pub(super) fn required_string<'a>(object: &'a Object, path: &str, key: &str) -> Checked<&'a str> {
    string(required(object, path, key)?, &at(path, key))
}

pub(super) fn optional_bool(object: &Object, path: &str, key: &str) -> Checked<bool> {
    match given(object, key) {
        None => Ok(false),
        Some(Value::Bool(value)) => Ok(*value),
        Some(_) => wrong(at(path, key), "Input should be a valid boolean"),
    }
}

/// A whole number of at least `least`.
pub(super) fn whole(value: &Value, path: &str, least: u64) -> Checked<u64> {
    match value.as_u64() {
        Some(number) if number >= least => Ok(number),
        _ if value.is_i64() || value.is_u64() => {
            wrong(path, format!("Input should be greater than or equal to {least}"))
        }
        _ => wrong(path, "Input should be a valid integer"),
    }
}

/// A number from 0 to 1.
pub(super) fn share(object: &Object, key: &str) -> Checked<Option<f64>> {
    let Some(value) = given(object, key) else { return Ok(None) };
    match value.as_f64() {
        Some(number) if number < 0.0 => wrong(key, "Input should be greater than or equal to 0"),
        Some(number) if number > 1.0 => wrong(key, "Input should be less than or equal to 1"),
        Some(number) => Ok(Some(number)),
        None => wrong(key, "Input should be a valid number"),
    }
}

/// One of these words.
pub(super) fn one_of<'a>(value: &'a Value, path: &str, words: &[&str]) -> Checked<&'a str> {
    let found = value.as_str().filter(|word| words.contains(word));
    found.map_or_else(|| wrong(path, format!("Input should be {}", either(words))), Ok)
}

/// `'a', 'b' or 'c'`
fn either(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

/// The `type` of a tagged object, which must be one of `tags`.
pub(super) fn tag<'a>(object: &'a Object, path: &str, tags: &[&str]) -> Checked<&'a str> {
    let tag = required_string(object, path, "type")?;
    if tags.contains(&tag) {
        return Ok(tag);
    }
    let tags: Vec<String> = tags.iter().map(|tag| format!("'{tag}'")).collect();
    let tags = tags.join(", ");
    let text = format!(
        "Input tag '{tag}' found using 'type' does not match any of the expected tags: {tags}"
    );
    wrong(path, text)
}

/// Letters, digits, `_` and `-`, of at most `most`.
pub(super) fn name(text: &str, path: &str, most: usize) -> Checked<()> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if !text.is_empty() && text.len() <= most && text.bytes().all(fits) {
        return Ok(());
    }
    let count = if most == usize::MAX { "+".to_owned() } else { format!("{{1,{most}}}") };
    wrong(path, format!("String should match pattern '^[a-zA-Z0-9_-]{count}$'"))
}

/// A JSON Schema that the output can be held to.
pub(super) fn strict_schema(schema: &Value, path: &str) -> Checked<()> {
    /// Unsupported there, by what they belong to.
    const BOUNDS: [(&str, &[&str]); 4] = [
        ("integer", &["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"]),
        ("number", &["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"]),
        ("string", &["minLength", "maxLength"]),
        ("array", &["maxItems", "uniqueItems"]),
    ];
    let Some(fields) = schema.as_object() else { return Ok(()) };
    let kind = schema.get("type").and_then(Value::as_str).unwrap_or_default();
    if kind == "object" && fields.get("additionalProperties") != Some(&Value::Bool(false)) {
        let text = "For 'object' type, 'additionalProperties' must be explicitly set to false";
        return wrong(path, text);
    }
    let bounds = BOUNDS.iter().find(|(of, _)| *of == kind).map_or(&[][..], |(_, names)| names);
    if let Some(bound) = bounds.iter().find(|name| fields.contains_key(**name)) {
        return wrong(path, format!("For '{kind}' type, property '{bound}' is not supported"));
    }
    let named = ["properties", "$defs", "definitions"];
    let inner = named.iter().filter_map(|key| fields.get(*key)?.as_object());
    let mut inner: Vec<&Value> = inner.flat_map(|all| all.values()).collect();
    inner.extend(fields.get("items"));
    let several = ["anyOf", "allOf", "oneOf"].iter().filter_map(|key| fields.get(*key)?.as_array());
    inner.extend(several.flatten());
    inner.into_iter().try_for_each(|schema| strict_schema(schema, path))
}
