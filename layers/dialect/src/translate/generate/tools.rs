//! `tools` and `toolConfig`.

use super::{
    names::{self, Names, left},
    schema::to_json_schema,
};
use crate::{
    BadRequest,
    json::{At, Json, Object},
    translate::{
        Loss,
        hub::{Request, Tool, ToolChoice},
    },
};

const FUNCTIONS: Names = ["functionDeclarations", "function_declarations"];

pub(super) fn read<'a>(
    tools: Json<'a>,
    at: &At<'_>,
    request: &mut Request<'a>,
) -> Result<(), BadRequest> {
    let tools = match tools {
        one @ Json::Object(_) => vec![one],
        tools => tools.into_array(at)?,
    };
    for (index, tool) in tools.into_iter().enumerate() {
        let at = at.index(index);
        let mut tool = tool.into_object(&at)?;
        if let Some((name, functions)) = names::take(&mut tool, FUNCTIONS) {
            let at = at.key(name);
            for (index, function) in functions.into_array(&at)?.into_iter().enumerate() {
                let at = at.index(index);
                let tool = function_declaration(function.into_object(&at)?, &at, request)?;
                request.tools.push(tool);
            }
        }
        // Tools that Google runs by itself.
        left(request, tool, "tools", Loss::Meaning);
    }
    Ok(())
}

fn function_declaration<'a>(
    mut function: Object<'a>,
    at: &At<'_>,
    request: &mut Request<'a>,
) -> Result<Tool<'a>, BadRequest> {
    const JSON_SCHEMA: Names = ["parametersJsonSchema", "parameters_json_schema"];
    let name = function.need_text("name", at)?;
    let description = function.text("description", at)?;
    let schema = match names::take(&mut function, JSON_SCHEMA) {
        Some((_, schema)) => Some(schema),
        None => function.take("parameters").map(to_json_schema),
    };
    left(request, function, "tools.functionDeclarations", Loss::Harmless);
    Ok(Tool { name, description, schema, strict: None, cache_control: None })
}

pub(super) fn read_choice<'a>(
    mut config: Object<'a>,
    at: &At<'_>,
    request: &mut Request<'a>,
) -> Result<(), BadRequest> {
    const CALLING: Names = ["functionCallingConfig", "function_calling_config"];
    const ALLOWED: Names = ["allowedFunctionNames", "allowed_function_names"];
    if let Some((name, mut calling)) = names::object(&mut config, CALLING, at)? {
        let at = at.key(name);
        let mode = calling.text("mode", &at)?;
        let mut names = names::texts(&mut calling, ALLOWED, &at)?;
        let required = match mode.as_deref().unwrap_or("").to_ascii_uppercase().as_str() {
            "" | "MODE_UNSPECIFIED" => {
                if !names.is_empty() {
                    let name = "toolConfig.functionCallingConfig.allowedFunctionNames";
                    request.extra(name, std::mem::take(&mut names).into(), Loss::Harmless);
                }
                None
            }
            "NONE" => {
                names.clear();
                request.tool_choice = Some(ToolChoice::None);
                None
            }
            "ANY" => Some(true),
            "AUTO" | "VALIDATED" => Some(false),
            _ => return Err(at.key("mode").bad("must be AUTO, ANY, NONE or VALIDATED")),
        };
        if let Some(required) = required {
            request.tool_choice = Some(match (required, names.len()) {
                (false, 0) => ToolChoice::Auto,
                (true, 0) => ToolChoice::Required,
                (true, 1) => ToolChoice::Named(names.pop().unwrap_or_default()),
                _ => ToolChoice::Allowed { names, required },
            });
        }
        left(request, calling, "toolConfig.functionCallingConfig", Loss::Harmless);
    }
    left(request, config, "toolConfig", Loss::Harmless);
    Ok(())
}

/// `tools`, but those that are not allowed; a choice among the rest is written then.
pub(super) fn write<'a>(request: &mut Request<'a>) -> Option<Json<'a>> {
    if let Some(ToolChoice::Allowed { names, required: false }) = &mut request.tool_choice {
        let names = std::mem::take(names);
        request.tools.retain(|tool| names.contains(&tool.name));
        request.tool_choice = Some(ToolChoice::Auto);
    }
    let functions = request.tools.drain(..).map(|tool| {
        Object::new()
            .with("name", tool.name)
            .with_some("description", tool.description)
            .with_some("parametersJsonSchema", tool.schema)
    });
    let functions: Vec<_> = functions.collect();
    let some = !functions.is_empty();
    some.then(|| vec![Object::new().with("functionDeclarations", functions)].into())
}

/// `toolConfig`.
pub(super) fn write_choice(choice: ToolChoice<'_>) -> Object<'_> {
    let (mode, names) = match choice {
        ToolChoice::Auto => ("AUTO", Vec::new()),
        ToolChoice::None => ("NONE", Vec::new()),
        ToolChoice::Required => ("ANY", Vec::new()),
        ToolChoice::Named(name) => ("ANY", vec![name]),
        ToolChoice::Allowed { names, required: true } => ("ANY", names),
        ToolChoice::Allowed { names, required: false } => ("VALIDATED", names),
    };
    let names = (!names.is_empty()).then_some(names);
    let calling = Object::new().with("mode", mode).with_some("allowedFunctionNames", names);
    Object::new().with("functionCallingConfig", calling)
}
