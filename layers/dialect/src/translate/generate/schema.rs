//! Google's `Schema`, a piece of OpenAPI 3.0's, as JSON Schema.

use std::{borrow::Cow, collections::HashMap};

use crate::json::{Json, Object};

/// No deeper than the document it stands in.
pub(super) fn to_json_schema(schema: Json<'_>) -> Json<'_> {
    let Json::Object(members) = schema else { return schema };
    let nullable = members.get("nullable") == Some(&Json::Bool(true));
    let mut out = Object::new();
    let mut typed = false;
    let mut order = Json::Null;
    for (key, value) in members.rest() {
        match keyword(&key) {
            "nullable" => {}
            "propertyOrdering" => order = value,
            "type" => {
                if let Some(kind) = kind(value, nullable) {
                    typed = true;
                    out.push("type", kind);
                }
            }
            known @ ("properties" | "$defs") => out.push(known, each(value)),
            known @ ("items" | "additionalProperties") => out.push(known, to_json_schema(value)),
            "anyOf" => {
                let mut choices = all(value);
                if let (true, Json::Array(choices)) = (nullable && !typed, &mut choices) {
                    choices.push(Object::new().with("type", "null").into());
                }
                out.push("anyOf", choices);
            }
            known @ ("allOf" | "oneOf" | "prefixItems") => out.push(known, all(value)),
            known @ ("minItems" | "maxItems" | "minLength" | "maxLength" | "minProperties"
            | "maxProperties") => out.push(known, unquoted(value)),
            "example" => out.push("examples", Json::Array(vec![value])),
            // Says no more than that there is an `enum`.
            "format" if value.as_str() == Some("enum") => {}
            "enum" => {
                let mut value = value;
                if let (true, Json::Array(values)) = (nullable, &mut value) {
                    values.push(Json::Null);
                }
                out.push("enum", value);
            }
            _ => out.push(key, value),
        }
    }
    if let Json::Array(order) = order {
        for (_, value) in out.iter_mut().filter(|(key, _)| *key == "properties") {
            if let Json::Object(properties) = value {
                sort(properties, &order);
            }
        }
    }
    out.into()
}

/// Elsewhere the order in which they stand is the one that the model follows.
fn sort<'a>(properties: &mut Object<'a>, order: &[Json<'a>]) {
    let order = order.iter().enumerate().filter_map(|(n, name)| Some((name.as_str()?, n)));
    let order: HashMap<&str, usize> = order.collect();
    let mut members: Vec<_> = std::mem::take(properties).into_members().collect();
    members.sort_by_key(|(name, _)| order.get(&**name).copied().unwrap_or(usize::MAX));
    for (name, schema) in members {
        properties.push(name, schema);
    }
}

/// The keywords that are not taken as they are, by their names in both spellings.
fn keyword(key: &str) -> &'static str {
    const KEYWORDS: [[&str; 2]; 20] = [
        ["nullable", ""],
        ["type", ""],
        ["format", ""],
        ["enum", ""],
        ["example", ""],
        ["properties", ""],
        ["items", ""],
        ["allOf", ""],
        ["oneOf", ""],
        ["$defs", "defs"],
        ["anyOf", "any_of"],
        ["prefixItems", "prefix_items"],
        ["additionalProperties", "additional_properties"],
        ["propertyOrdering", "property_ordering"],
        ["minItems", "min_items"],
        ["maxItems", "max_items"],
        ["minLength", "min_length"],
        ["maxLength", "max_length"],
        ["minProperties", "min_properties"],
        ["maxProperties", "max_properties"],
    ];
    let known = KEYWORDS.iter().find(|names| !key.is_empty() && names.contains(&key));
    known.map_or("", |[name, _]| name)
}

fn kind(value: Json<'_>, nullable: bool) -> Option<Json<'_>> {
    let kind = match value {
        Json::String(name) if name.eq_ignore_ascii_case("TYPE_UNSPECIFIED") => return None,
        Json::String(name) if name.bytes().any(|letter| letter.is_ascii_uppercase()) => {
            Cow::Owned(name.to_ascii_lowercase())
        }
        Json::String(name) => name,
        other => return Some(other),
    };
    Some(if nullable && kind != "null" {
        Json::Array(vec![kind.into(), "null".into()])
    } else {
        kind.into()
    })
}

fn each(value: Json<'_>) -> Json<'_> {
    let Json::Object(members) = value else { return value };
    let mut out = Object::new();
    for (name, schema) in members.rest() {
        out.push(name, to_json_schema(schema));
    }
    out.into()
}

fn all(value: Json<'_>) -> Json<'_> {
    match value {
        Json::Array(items) => Json::Array(items.into_iter().map(to_json_schema).collect()),
        other => other,
    }
}

/// Protobuf's JSON writes 64 bits in quotes.
fn unquoted(value: Json<'_>) -> Json<'_> {
    match value.as_str().and_then(|text| text.parse::<u64>().ok()) {
        Some(number) => number.into(),
        None => value,
    }
}
