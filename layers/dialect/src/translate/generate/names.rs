//! Fields that have two spellings: Google reads camel case and snake case alike.

use std::borrow::Cow;

use serde_json::Number;

use crate::{
    BadRequest,
    json::{At, Json, Object},
    translate::{Loss, hub::Request},
};

/// Camel case, snake case.
pub(super) type Names = [&'static str; 2];

/// The end of every object of a request that is read: what nobody took out of it is told. What
/// protobuf takes for absent says nothing.
pub(super) fn left<'a>(request: &mut Request<'a>, object: Object<'a>, path: &str, loss: Loss) {
    for (name, value) in object.rest() {
        let absent = value == Json::Bool(false) || value.as_array().is_some_and(<[_]>::is_empty);
        if !absent {
            request.extra(format!("{path}.{name}"), value, loss);
        }
    }
}

/// The value, and the name that it was found by.
pub(super) fn take<'a>(object: &mut Object<'a>, names: Names) -> Option<(&'static str, Json<'a>)> {
    names.into_iter().find_map(|name| Some((name, object.take(name)?)))
}

pub(super) fn text<'a>(
    object: &mut Object<'a>,
    names: Names,
    at: &At<'_>,
) -> Result<Option<Cow<'a, str>>, BadRequest> {
    take(object, names).map(|(name, value)| value.into_text(&at.key(name))).transpose()
}

pub(super) fn object<'a>(
    object: &mut Object<'a>,
    names: Names,
    at: &At<'_>,
) -> Result<Option<(&'static str, Object<'a>)>, BadRequest> {
    let Some((name, value)) = take(object, names) else { return Ok(None) };
    Ok(Some((name, value.into_object(&at.key(name))?)))
}

/// A list of strings.
pub(super) fn texts<'a>(
    object: &mut Object<'a>,
    names: Names,
    at: &At<'_>,
) -> Result<Vec<Cow<'a, str>>, BadRequest> {
    let Some((name, value)) = take(object, names) else { return Ok(Vec::new()) };
    let at = at.key(name);
    let items = value.into_array(&at)?.into_iter().enumerate();
    items.map(|(index, item)| item.into_text(&at.index(index))).collect()
}

pub(super) fn flag(
    object: &mut Object<'_>,
    names: Names,
    at: &At<'_>,
) -> Result<Option<bool>, BadRequest> {
    match take(object, names) {
        None => Ok(None),
        Some((_, Json::Bool(value))) => Ok(Some(value)),
        Some((name, other)) => Err(at.key(name).expected("true or false", &other)),
    }
}

/// A number; protobuf's JSON lets it stand in quotes.
pub(super) fn number(
    object: &mut Object<'_>,
    names: Names,
    at: &At<'_>,
) -> Result<Option<Number>, BadRequest> {
    let Some((name, value)) = take(object, names) else { return Ok(None) };
    let unquoted = match &value {
        Json::Number(number) => Some(number.clone()),
        Json::String(text) => text.parse().ok(),
        _ => None,
    };
    unquoted.map(Some).ok_or_else(|| at.key(name).expected("a number", &value))
}

/// A number that counts something.
pub(super) fn count(
    object: &mut Object<'_>,
    names: Names,
    at: &At<'_>,
) -> Result<Option<u64>, BadRequest> {
    let Some((name, value)) = take(object, names) else { return Ok(None) };
    let unquoted = value.as_u64().or_else(|| value.as_str()?.parse().ok());
    let expected = || at.key(name).expected("a whole number, not negative", &value);
    unquoted.map(Some).ok_or_else(expected)
}
