use std::borrow::Cow;

use crate::{
    BadRequest,
    json::{At, Json, Object},
    translate::{
        Loss,
        hub::{Request, Tool, ToolChoice},
    },
};

/// `tools` and what goes with them, the old `functions` too.
pub(super) fn read<'a>(
    object: &mut Object<'a>,
    request: &mut Request<'a>,
) -> Result<(), BadRequest> {
    // Calls in parallel are what happens anyway.
    request.parallel_tools = object.bool("parallel_tool_calls", &At::Root)?.filter(|many| !many);
    let at = At::Root.key("tools");
    for (n, tool) in object.array("tools", &At::Root)?.into_iter().flatten().enumerate() {
        let at = at.index(n);
        read_tool(tool.into_object(&at)?, request, &at)?;
    }
    let at = At::Root.key("functions");
    for (n, function) in object.array("functions", &At::Root)?.into_iter().flatten().enumerate() {
        let at = at.index(n);
        let tool = read_function(function.into_object(&at)?, request, &at, "functions")?;
        request.tools.push(tool);
    }
    if let Some(choice) = object.take("tool_choice") {
        request.tool_choice = read_choice(choice, request)?;
    } else if let Some(choice) = object.take("function_call") {
        request.tool_choice = read_function_call(choice, request)?;
    }
    Ok(())
}

fn read_tool<'a>(
    mut tool: Object<'a>,
    request: &mut Request<'a>,
    at: &At<'_>,
) -> Result<(), BadRequest> {
    let kind = tool.text("type", at)?.unwrap_or(Cow::Borrowed("function"));
    if kind != "function" {
        request.extra(format!("tools.{kind}"), tool.into(), Loss::Meaning);
        return Ok(());
    }
    let function =
        tool.object("function", at)?.ok_or_else(|| at.key("function").missing("an object"))?;
    let mut read = read_function(function, request, &at.key("function"), "tools.function")?;
    read.cache_control = tool.take("cache_control").or(read.cache_control);
    request.left(tool, "tools");
    request.tools.push(read);
    Ok(())
}

fn read_function<'a>(
    mut function: Object<'a>,
    request: &mut Request<'a>,
    at: &At<'_>,
    path: &str,
) -> Result<Tool<'a>, BadRequest> {
    let tool = Tool {
        name: function.need_text("name", at)?,
        description: function.text("description", at)?,
        schema: function.object("parameters", at)?.map(Json::Object),
        strict: function.bool("strict", at)?,
        cache_control: function.take("cache_control"),
    };
    request.left(function, path);
    Ok(tool)
}

fn read_choice<'a>(
    choice: Json<'a>,
    request: &mut Request<'a>,
) -> Result<Option<ToolChoice<'a>>, BadRequest> {
    let at = At::Root.key("tool_choice");
    let mut choice = match choice {
        Json::String(name) => return by_name(&name, &at).map(Some),
        Json::Object(choice) => choice,
        other => return Err(at.expected("a string or an object", &other)),
    };
    let kind = choice.need_text("type", &at)?;
    match &*kind {
        "function" => {
            let mut function = choice
                .object("function", &at)?
                .ok_or_else(|| at.key("function").missing("an object"))?;
            let name = function.need_text("name", &at.key("function"))?;
            request.left(function, "tool_choice.function");
            request.left(choice, "tool_choice");
            Ok(Some(ToolChoice::Named(name)))
        }
        "allowed_tools" => {
            let allowed = choice
                .object("allowed_tools", &at)?
                .ok_or_else(|| at.key("allowed_tools").missing("an object"))?;
            request.left(choice, "tool_choice");
            read_allowed(allowed, request, &at.key("allowed_tools")).map(Some)
        }
        // A choice without a `type` that means something: the short names, as objects.
        "auto" | "none" | "required" => {
            request.left(choice, "tool_choice");
            by_name(&kind, &at.key("type")).map(Some)
        }
        _ => {
            request.extra("tool_choice", choice.with("type", kind).into(), Loss::Meaning);
            Ok(None)
        }
    }
}

fn by_name<'a>(name: &str, at: &At<'_>) -> Result<ToolChoice<'a>, BadRequest> {
    match name {
        "auto" => Ok(ToolChoice::Auto),
        "none" => Ok(ToolChoice::None),
        // Mistral's word for it.
        "required" | "any" => Ok(ToolChoice::Required),
        _ => Err(at.bad("must be `auto`, `none`, `required` or an object")),
    }
}

fn read_allowed<'a>(
    mut allowed: Object<'a>,
    request: &mut Request<'a>,
    at: &At<'_>,
) -> Result<ToolChoice<'a>, BadRequest> {
    let required = match allowed.text("mode", at)?.as_deref() {
        None | Some("auto") => false,
        Some("required") => true,
        Some(_) => return Err(at.key("mode").bad("must be `auto` or `required`")),
    };
    let mut names = Vec::new();
    let tools = allowed.array("tools", at)?;
    let at = at.key("tools");
    for (n, tool) in tools.into_iter().flatten().enumerate() {
        let at = at.index(n);
        let mut tool = tool.into_object(&at)?;
        match tool.object("function", &at)? {
            Some(mut function) => {
                names.push(function.need_text("name", &at.key("function"))?);
                tool.take("type");
                request.left(function, "tool_choice.allowed_tools.tools.function");
                request.left(tool, "tool_choice.allowed_tools.tools");
            }
            None => {
                request.extra("tool_choice.allowed_tools.tools", tool.into(), Loss::Meaning);
            }
        }
    }
    request.left(allowed, "tool_choice.allowed_tools");
    Ok(ToolChoice::Allowed { names, required })
}

fn read_function_call<'a>(
    choice: Json<'a>,
    request: &mut Request<'a>,
) -> Result<Option<ToolChoice<'a>>, BadRequest> {
    let at = At::Root.key("function_call");
    match choice {
        Json::String(name) if name == "auto" => Ok(Some(ToolChoice::Auto)),
        Json::String(name) if name == "none" => Ok(Some(ToolChoice::None)),
        Json::Object(mut choice) => {
            let name = choice.need_text("name", &at)?;
            request.left(choice, "function_call");
            Ok(Some(ToolChoice::Named(name)))
        }
        _ => Err(at.bad("must be `auto`, `none` or an object with a `name`")),
    }
}
