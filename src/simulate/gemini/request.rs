//! The body of `:generateContent`, read as strictly as the real one reads it.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::{
    super::{
        draft::{Function, Plan},
        future::Exchange,
    },
    contents::{self, Conversation},
    proto,
    read::{self, Checked, wrong},
};

const WHAT: &str = "GenerateContentRequest";

/// What matters of a request.
pub(super) struct Ask {
    pub(super) said: Conversation,
    pub(super) plan: Plan<'static>,
    pub(super) shows_thoughts: bool,
    pub(super) candidates: u32,
}

impl Ask {
    pub(super) fn read(x: &Exchange, model: &str) -> Checked<Self> {
        let request = read::body(&x.body, &proto::GENERATE)?;
        let said = contents::read(&request, x.config.seed, model, WHAT)?;
        let none = json!({});
        let config = request.get("generationConfig").unwrap_or(&none);
        sampling(config)?;
        let functions = functions(&request)?;
        let schema = answer_schema(config)?;
        if schema.is_some() && !functions.is_empty() && model.starts_with("gemini-2") {
            return wrong(
                "Function calling with a response mime type: 'application/json' is unsupported",
            );
        }
        let (thinks, shows_thoughts) = thinking(config, model)?;
        let whole = |key| config.get(key).and_then(Value::as_i64);
        let bound = whole("maxOutputTokens");
        if bound.is_some_and(|bound| bound < 1) {
            return wrong("max_output_tokens must be positive.");
        }
        let candidates = whole("candidateCount").unwrap_or(1);
        if !(1..=8).contains(&candidates) {
            return field("generation_config.candidate_count", "must be in the range [1, 8]");
        }
        let functions = if said.ends_in_response { vec![] } else { functions };
        let plan = Plan {
            echo: said.echo.clone().into(),
            thinks,
            bound: bound.and_then(|bound| u32::try_from(bound).ok()),
            schema,
            functions,
            parallel: true,
        };
        let candidates = u32::try_from(candidates).unwrap_or(1);
        Ok(Self { said, plan, shows_thoughts, candidates })
    }
}

fn field<T>(path: &str, text: &str) -> Checked<T> {
    wrong(format!("* {WHAT}.{path}: {text}\n"))
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn sampling(config: &Value) -> Checked<()> {
    for (key, name, least, most) in [
        ("temperature", "temperature", 0.0, 2.0),
        ("topP", "top_p", 0.0, 1.0),
        ("presencePenalty", "presence_penalty", -2.0, 2.0),
        ("frequencyPenalty", "frequency_penalty", -2.0, 2.0),
    ] {
        let number = config.get(key).and_then(Value::as_f64);
        if number.is_some_and(|number| !(least..=most).contains(&number)) {
            let text = format!("{name} must be in the range [{least:.1}, {most:.1}].");
            return field(&format!("generation_config.{name}"), &text);
        }
    }
    let stops = list(config, "stopSequences");
    if stops.len() > 5 {
        let text = "at most 5 stop sequences are allowed";
        return field("generation_config.stop_sequences", text);
    }
    if stops.iter().any(|stop| stop.as_str() == Some("")) {
        return field("generation_config.stop_sequences", "must not be empty");
    }
    if config.get("logprobs").is_some() && config.get("responseLogprobs") != Some(&json!(true)) {
        return wrong("Logprobs is only supported when response_logprobs is true.");
    }
    Ok(())
}

/// The functions that may be called.
fn functions(request: &Value) -> Checked<Vec<Function>> {
    let (mut functions, mut names) = (Vec::new(), HashSet::new());
    for (t, tool) in list(request, "tools").iter().enumerate() {
        for (n, declared) in list(tool, "functionDeclarations").iter().enumerate() {
            let path = format!("tools[{t}].function_declarations[{n}]");
            let function = function(declared, &path)?;
            if !names.insert(function.name.clone()) {
                let text = format!("Duplicate function declaration found: {}", function.name);
                return wrong(text);
            }
            functions.push(function);
        }
    }
    let calling = request.get("toolConfig").and_then(|config| config.get("functionCallingConfig"));
    let Some(calling) = calling else { return Ok(functions) };
    let mode = calling.get("mode").and_then(Value::as_str).unwrap_or("AUTO");
    let allowed = list(calling, "allowedFunctionNames");
    if !allowed.is_empty() && !matches!(mode, "ANY" | "VALIDATED") {
        let path = "tool_config.function_calling_config.allowed_function_names";
        return field(path, "allowed only when the mode is ANY or VALIDATED");
    }
    if functions.is_empty() && matches!(mode, "ANY" | "VALIDATED") {
        return wrong("Function calling config is set without function_declarations.");
    }
    if let Some(odd) = allowed.iter().filter_map(Value::as_str).find(|name| !names.contains(*name))
    {
        return wrong(format!(
            "allowed_function_names contains {odd:?}, which is not in function_declarations."
        ));
    }
    if !allowed.is_empty() {
        functions.retain(|function| allowed.iter().any(|name| *name == function.name));
    }
    if mode == "NONE" {
        functions.clear();
    }
    Ok(functions)
}

fn function(declared: &Value, path: &str) -> Checked<Function> {
    let name = declared.get("name").and_then(Value::as_str).unwrap_or_default();
    let start = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte);
    if !start || name.len() > 64 || !name.bytes().all(letter) {
        let text = "Invalid function name. Must start with a letter or an underscore. Must be \
                    alphanumeric (a-z, A-Z, 0-9), underscores (_), dots (.), colons (:), or dashes (-), \
                    with a maximum length of 64.";
        return field(&format!("{path}.name"), text);
    }
    let (own, standard) = (declared.get("parameters"), declared.get("parametersJsonSchema"));
    let schema = match (own, standard) {
        (Some(_), Some(_)) => {
            let text = "only one of parameters and parameters_json_schema may be set";
            return field(path, text);
        }
        (Some(schema), None) => {
            check_schema(schema, &format!("{path}.parameters"))?;
            lowered(schema)
        }
        (None, Some(schema)) => schema.clone(),
        (None, None) => json!({"type": "object"}),
    };
    Ok(Function { name: name.to_owned(), schema })
}

/// What the OpenAPI form of a schema must hold to beside its types.
fn check_schema(schema: &Value, path: &str) -> Checked<()> {
    let kind = schema.get("type").and_then(Value::as_str);
    let properties = schema.get("properties").and_then(Value::as_object);
    if kind == Some("ARRAY") && schema.get("items").is_none() {
        return field(&format!("{path}.items"), "missing field.");
    }
    if schema.get("enum").is_some() && !matches!(kind, None | Some("STRING")) {
        return field(&format!("{path}.enum"), "only allowed for STRING type");
    }
    for name in list(schema, "required").iter().filter_map(Value::as_str) {
        if !properties.is_some_and(|all| all.contains_key(name)) {
            return field(&format!("{path}.required"), &format!("property is not defined: {name}"));
        }
    }
    for (name, schema) in properties.into_iter().flatten() {
        check_schema(schema, &format!("{path}.properties[{name}]"))?;
    }
    schema.get("items").map_or(Ok(()), |schema| check_schema(schema, &format!("{path}.items")))
}

/// The OpenAPI form of a schema as JSON Schema: the names of types in small letters.
fn lowered(schema: &Value) -> Value {
    let Some(fields) = schema.as_object() else { return schema.clone() };
    let each = |all: &Value| match all {
        Value::Array(all) => Value::Array(all.iter().map(lowered).collect()),
        Value::Object(all) => {
            all.iter().map(|(key, value)| (key.clone(), lowered(value))).collect()
        }
        other => other.clone(),
    };
    let fields = fields.iter().map(|(key, value)| {
        let value = match (key.as_str(), value) {
            ("type", Value::String(name)) => Value::String(name.to_ascii_lowercase()),
            ("properties" | "anyOf", all) => each(all),
            ("items", schema) => lowered(schema),
            _ => value.clone(),
        };
        (key.clone(), value)
    });
    Value::Object(fields.collect())
}

/// The schema that the answer has to follow, if it has to be JSON.
fn answer_schema(config: &Value) -> Checked<Option<Value>> {
    const TYPES: [&str; 5] =
        ["text/plain", "application/json", "application/xml", "application/yaml", "text/x.enum"];
    let mime = config.get("responseMimeType").and_then(Value::as_str).unwrap_or("text/plain");
    if !TYPES.contains(&mime) {
        let text = "allowed mimetypes are `text/plain`, `application/json`, `application/xml`, \
                    `application/yaml` and `text/x.enum`.";
        return field("generation_config.response_mime_type", text);
    }
    let own = config.get("responseSchema");
    let standard = config.get("responseJsonSchema").or_else(|| config.get("_responseJsonSchema"));
    if own.is_some() && standard.is_some() {
        let text = "must be empty when response_schema is set";
        return field("generation_config.response_json_schema", text);
    }
    if (own.is_some() || standard.is_some()) && !matches!(mime, "application/json" | "text/x.enum")
    {
        let text = "a response schema needs a response mime type of `application/json`";
        return field("generation_config.response_schema", text);
    }
    if let Some(schema) = own {
        check_schema(schema, "generation_config.response_schema")?;
        return Ok(Some(lowered(schema)));
    }
    let any = || json!({"type": "object", "required": ["reply"], "properties": {"reply": {"type": "string"}}});
    Ok(standard.cloned().or_else(|| (mime == "application/json").then(any)))
}

/// Whether the model thinks, and whether its thoughts are shown.
fn thinking(config: &Value, model: &str) -> Checked<(bool, bool)> {
    let Some(thinking) = config.get("thinkingConfig") else { return Ok((false, false)) };
    let budget = thinking.get("thinkingBudget").and_then(Value::as_i64);
    let level = thinking.get("thinkingLevel").and_then(Value::as_str);
    if budget.is_some() && level.is_some() {
        return wrong("You can only set only one of thinking budget and thinking level.");
    }
    if level.is_some() && model.starts_with("gemini-2") {
        return wrong("Thinking level is not supported for this model.");
    }
    if budget.is_some_and(|budget| budget < -1) {
        return wrong(format!("The thinking budget {} is invalid.", budget.unwrap_or_default()));
    }
    if budget == Some(0) && model.contains("-pro") {
        return wrong("Budget 0 is invalid. This model only works in thinking mode.");
    }
    let shown = thinking.get("includeThoughts") == Some(&Value::Bool(true));
    if shown && budget == Some(0) {
        return wrong(
            "Unable to submit request because thinking_config.include_thoughts is only enabled when \
             thinking is enabled.",
        );
    }
    Ok((budget != Some(0), shown))
}
