//! JSON Schemas as Anthropic wants them.

use crate::json::{Json, Object};

/// Constraints that Anthropic refuses in a schema by which it forms an answer.
const REFUSED: [&str; 14] = [
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "uniqueItems",
    "minContains",
    "maxContains",
    "minProperties",
    "maxProperties",
];

/// Makes a schema what Anthropic demands of `output_config.format` and of strict tools: members
/// that are not named are forbidden in every object, and constraints that it refuses stand in the
/// description, where the model reads them (its own SDKs do the same). Those are told to `moved`.
pub(super) fn close(schema: &mut Json<'_>, moved: &mut Vec<&'static str>) {
    let Json::Object(object) = schema else { return };
    describe(object, moved);
    for (key, value) in object.iter_mut() {
        match (key, value) {
            (
                "properties" | "$defs" | "definitions" | "patternProperties" | "dependentSchemas",
                Json::Object(named),
            ) => named.iter_mut().for_each(|(_, schema)| close(schema, moved)),
            ("items" | "anyOf" | "allOf" | "oneOf" | "prefixItems", Json::Array(schemas)) => {
                schemas.iter_mut().for_each(|schema| close(schema, moved));
            }
            ("items" | "contains" | "not" | "if" | "then" | "else", schema) => close(schema, moved),
            _ => {}
        }
    }
    if is_of_objects(object) {
        object.retain(|key| key != "additionalProperties");
        object.push("additionalProperties", false);
    }
}

fn describe(schema: &mut Object<'_>, moved: &mut Vec<&'static str>) {
    let mut told = Vec::new();
    for name in REFUSED {
        let refused = match schema.get(name) {
            None => false,
            Some(least) if name == "minItems" => !matches!(least.as_u64(), Some(0 | 1)),
            Some(_) => true,
        };
        if let Some(value) = refused.then(|| schema.take(name)).flatten() {
            told.push(format!("{name}: {}", value.to_text()));
            if !moved.contains(&name) {
                moved.push(name);
            }
        }
    }
    if told.is_empty() {
        return;
    }
    let told = format!("{{{}}}", told.join(", "));
    let description = match schema.take("description") {
        Some(Json::String(before)) => format!("{before}\n\n{told}"),
        _ => told,
    };
    schema.push("description", description);
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
