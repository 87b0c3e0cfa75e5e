//! Tools: their definitions, and which are called.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::{
    super::draft::Function,
    check::{
        Checked, Object, at, given, list, name, object, only, optional_bool, plain, required,
        required_string, strict_schema, string, tag, wrong,
    },
    meter::Meter,
};

/// What may be called.
#[derive(Debug, Default)]
pub(super) struct Tools {
    pub(super) functions: Vec<Function>,
    pub(super) parallel: bool,
    /// A call is asked for, not only allowed.
    pub(super) forced: bool,
}

pub(super) fn read(body: &Object, meter: &mut Meter) -> Checked<Tools> {
    let mut functions = Vec::new();
    let mut names = HashSet::new();
    let tools = given(body, "tools").map_or(Ok(&[][..]), |tools| list(tools, "tools"))?;
    for (n, value) in tools.iter().enumerate() {
        let path = at("tools", n);
        let tool = object(value, &path)?;
        let kind =
            given(tool, "type").map_or(Ok("custom"), |kind| string(kind, &at(&path, "type")))?;
        let named = if kind == "custom" {
            let function = custom(tool, &at(&path, "custom"))?;
            let named = function.name.clone();
            functions.push(function);
            named
        } else {
            // A tool that the provider runs itself: there, but never called here.
            required_string(tool, &path, "name")?.to_owned()
        };
        if !names.insert(named) {
            return Err(plain("tools: Tool names must be unique."));
        }
        meter.block(value, &path)?;
    }
    choose(body, functions, !tools.is_empty())
}

fn custom(tool: &Object, path: &str) -> Checked<Function> {
    const ALLOWED: [&str; 11] = [
        "type",
        "name",
        "description",
        "input_schema",
        "cache_control",
        "strict",
        "input_examples",
        "defer_loading",
        "allowed_callers",
        "eager_input_streaming",
        "display_name",
    ];
    only(tool, path, &ALLOWED)?;
    let called = required_string(tool, path, "name")?;
    name(called, &at(path, "name"), 128)?;
    if let Some(text) = given(tool, "description") {
        string(text, &at(path, "description"))?;
    }
    let schema = required(tool, path, "input_schema")?;
    let schema_path = at(path, "input_schema");
    let fields = object(schema, &schema_path)?;
    if required_string(fields, &schema_path, "type")? != "object" {
        return wrong(at(&schema_path, "type"), "Input should be 'object'");
    }
    if optional_bool(tool, path, "strict")? {
        strict_schema(schema, &schema_path)?;
    }
    Ok(Function { name: called.to_owned(), schema: schema.clone() })
}

fn choose(body: &Object, functions: Vec<Function>, some: bool) -> Checked<Tools> {
    let automatic = json!({"type": "auto"});
    let choice = given(body, "tool_choice");
    if choice.is_some() && !some {
        return Err(plain("tool_choice may only be specified while providing tools."));
    }
    let path = "tool_choice";
    let choice = object(choice.unwrap_or(&automatic), path)?;
    let kind = tag(choice, path, &["auto", "any", "tool", "none"])?;
    let inside = at(path, kind);
    let allowed: &[&str] = match kind {
        "none" => &["type"],
        "tool" => &["type", "name", "disable_parallel_tool_use"],
        _ => &["type", "disable_parallel_tool_use"],
    };
    only(choice, &inside, allowed)?;
    let parallel = !optional_bool(choice, &inside, "disable_parallel_tool_use")?;
    let mut functions = functions;
    match kind {
        "none" => functions.clear(),
        "tool" => {
            let named = required_string(choice, &inside, "name")?;
            functions.retain(|function| function.name == named);
            if functions.is_empty() {
                let text = format!("Tool '{named}' not found in provided tools");
                return wrong(path, text);
            }
        }
        _ => {}
    }
    Ok(Tools { functions, parallel, forced: matches!(kind, "any" | "tool") })
}

/// The schema that `output_config.format` asks for.
pub(super) fn format(config: &Object) -> Checked<Option<Value>> {
    let Some(format) = given(config, "format") else { return Ok(None) };
    let path = "output_config.format";
    let format = object(format, path)?;
    tag(format, path, &["json_schema"])?;
    only(format, path, &["type", "schema"])?;
    let schema = required(format, path, "schema")?;
    let path = at(path, "schema");
    object(schema, &path)?;
    strict_schema(schema, &path)?;
    Ok(Some(schema.clone()))
}
