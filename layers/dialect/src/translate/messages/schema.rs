//! JSON Schemas as Anthropic wants them.

use crate::json::{Json, Object};

/// Forbids members that are not named, in every object that a schema speaks of: what Anthropic
/// demands of `output_config.format` and of strict tools.
pub(super) fn close(schema: &mut Json<'_>) {
    let Json::Object(object) = schema else { return };
    for (key, value) in object.iter_mut() {
        match (key, value) {
            (
                "properties" | "$defs" | "definitions" | "patternProperties" | "dependentSchemas",
                Json::Object(named),
            ) => named.iter_mut().for_each(|(_, schema)| close(schema)),
            ("items" | "anyOf" | "allOf" | "oneOf" | "prefixItems", Json::Array(schemas)) => {
                schemas.iter_mut().for_each(close);
            }
            ("items" | "contains" | "not" | "if" | "then" | "else", schema) => close(schema),
            _ => {}
        }
    }
    if is_of_objects(object) {
        object.retain(|key| key != "additionalProperties");
        object.push("additionalProperties", false);
    }
}

fn is_of_objects(schema: &Object<'_>) -> bool {
    match schema.get("type") {
        Some(Json::String(kind)) => kind == "object",
        Some(Json::Array(kinds)) => kinds.iter().any(|kind| kind.as_str() == Some("object")),
        _ => schema.get("properties").is_some(),
    }
}

/// A tool's `input_schema`: always an object's, and always says so.
pub(super) fn of_input(schema: Option<Json<'_>>) -> Json<'_> {
    match schema {
        Some(Json::Object(schema)) if schema.get("type").is_some() => schema.into(),
        Some(Json::Object(mut schema)) if !schema.is_empty() => {
            schema.push("type", "object");
            schema.into()
        }
        _ => Object::new().with("type", "object").with("properties", Object::new()).into(),
    }
}
