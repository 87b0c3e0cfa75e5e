use serde_json::{Map, Value, json};

/// How deep an instance may nest; a schema that refers to itself has no smaller one here.
const DEPTH: usize = 12;

/// The smallest plain instance of a JSON Schema: required properties only, the first of an enum or of
/// alternatives, `fill` where any text may stand.
pub(super) fn instance(schema: &Value, fill: &str) -> Value {
    Maker { root: schema, fill }.make(schema, 0)
}

struct Maker<'a> {
    root: &'a Value,
    fill: &'a str,
}

impl Maker<'_> {
    fn make(&self, schema: &Value, depth: usize) -> Value {
        if depth > DEPTH {
            return Value::Null;
        }
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            let path = reference.strip_prefix('#').unwrap_or_default();
            return self.root.pointer(path).map_or(Value::Null, |s| self.make(s, depth + 1));
        }
        if let Some(fixed) = schema.get("const") {
            return fixed.clone();
        }
        if let Some(first) = schema.get("enum").and_then(Value::as_array).and_then(|e| e.first()) {
            return first.clone();
        }
        for key in ["anyOf", "oneOf", "allOf"] {
            if let Some(all) = schema.get(key).and_then(Value::as_array) {
                return self.combined(key, all, depth);
            }
        }
        match type_of(schema) {
            "object" => self.object(schema, depth),
            "array" => self.array(schema, depth),
            "integer" | "number" => number(schema),
            "boolean" => Value::Bool(true),
            "null" => Value::Null,
            _ => Value::String(self.string(schema)),
        }
    }

    fn combined(&self, key: &str, all: &[Value], depth: usize) -> Value {
        if key != "allOf" {
            return all.first().map_or(Value::Null, |s| self.make(s, depth + 1));
        }
        let mut merged = Map::new();
        for part in all {
            match self.make(part, depth + 1) {
                Value::Object(fields) => merged.extend(fields),
                plain => return plain,
            }
        }
        Value::Object(merged)
    }

    fn object(&self, schema: &Value, depth: usize) -> Value {
        let required = schema.get("required").and_then(Value::as_array);
        let names = required.into_iter().flatten().filter_map(Value::as_str);
        let property = |name| schema.get("properties").and_then(|all| all.get(name));
        let any = Value::Bool(true);
        names
            .map(|name| (name.to_owned(), self.make(property(name).unwrap_or(&any), depth + 1)))
            .collect::<Map<_, _>>()
            .into()
    }

    fn array(&self, schema: &Value, depth: usize) -> Value {
        let least = schema.get("minItems").and_then(Value::as_u64).unwrap_or(1).min(16);
        let any = Value::Bool(true);
        let item = self.make(schema.get("items").unwrap_or(&any), depth + 1);
        // A schema of lists of itself ends in an empty list.
        if item.is_null() && depth + 1 > DEPTH / 2 {
            return json!([]);
        }
        vec![item; usize::try_from(least).unwrap_or(1)].into()
    }

    fn string(&self, schema: &Value) -> String {
        let fixed = match schema.get("format").and_then(Value::as_str) {
            Some("date-time") => "2026-01-01T00:00:00Z",
            Some("date") => "2026-01-01",
            Some("time") => "00:00:00Z",
            Some("duration") => "PT1S",
            Some("email") => "user@example.com",
            Some("hostname") => "example.com",
            Some("ipv4") => "192.0.2.1",
            Some("ipv6") => "2001:db8::1",
            Some("uri" | "url") => "https://example.com/",
            Some("uuid") => "00000000-0000-4000-8000-000000000000",
            _ => {
                let bound = |key| schema.get(key).and_then(Value::as_u64);
                let least = bound("minLength").unwrap_or(0).min(4096);
                let most = bound("maxLength").unwrap_or(u64::MAX).min(64);
                let most = usize::try_from(most.max(least)).unwrap_or(64);
                let mut text: String = self.fill.chars().take(most).collect();
                while (text.chars().count() as u64) < least {
                    text.push('x');
                }
                return text;
            }
        };
        fixed.to_owned()
    }
}

fn type_of(schema: &Value) -> &str {
    match schema.get("type") {
        Some(Value::String(one)) => one,
        Some(Value::Array(several)) => several.first().and_then(Value::as_str).unwrap_or("string"),
        _ if schema.get("properties").is_some() => "object",
        _ if schema.get("items").is_some() => "array",
        _ => "string",
    }
}

fn number(schema: &Value) -> Value {
    let least = schema.get("minimum").or_else(|| schema.get("exclusiveMinimum"));
    match (least.and_then(Value::as_f64), schema.get("maximum")) {
        (Some(least), _) => {
            let whole = least.ceil();
            let above = schema.get("exclusiveMinimum").is_some() && whole <= least;
            json!(if above { whole as i64 + 1 } else { whole as i64 })
        }
        (None, Some(most)) if most.as_f64().is_some_and(|most| most < 1.0) => most.clone(),
        _ => json!(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_are_valid() {
        let schemas = [
            json!({"type": "object"}),
            json!({"type": "object", "required": ["city", "unit", "days", "wet", "when"], "properties": {
                "city": {"type": "string", "minLength": 3},
                "unit": {"enum": ["c", "f"]},
                "days": {"type": "integer", "minimum": 3},
                "wet": {"type": "boolean"},
                "when": {"type": "string", "format": "date-time"},
                "unused": {"type": "string"},
            }, "additionalProperties": false}),
            json!({"type": "array", "minItems": 2, "items": {"type": ["string", "null"], "maxLength": 2}}),
            json!({"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"const": 7}, {"type": "null"}]}}}),
            json!({"allOf": [
                {"type": "object", "required": ["a"], "properties": {"a": {"type": "number", "exclusiveMinimum": 2}}},
                {"type": "object", "required": ["b"], "properties": {"b": {"type": "null"}}},
            ]}),
            json!({"type": "number", "maximum": -2.5}),
        ];
        for schema in schemas {
            let value = instance(&schema, "Oslo today");
            assert!(jsonschema::is_valid(&schema, &value), "{schema}: {value}");
        }
    }

    #[test]
    fn a_schema_of_itself_ends() {
        let schema =
            json!({"type": "object", "required": ["next"], "properties": {"next": {"$ref": "#"}}});
        assert!(instance(&schema, "x").to_string().len() < 1000);
    }
}
