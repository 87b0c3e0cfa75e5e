//! Tools, the choice among them, and the tool that stands for a schema.

use std::{borrow::Cow, collections::HashSet};

use super::{
    super::{
        Field, Loss, Losses,
        hub::{Format, Request, Tool, ToolChoice},
    },
    JSON_TOOL, schema,
};
use crate::{BadRequest, json::Object};

/// Makes an answer after a schema a call of [`JSON_TOOL`], for models without structured output.
pub(super) fn stand_in<'a>(request: &mut Request<'a>) {
    let Some(Format::Schema { .. }) = request.format else { return };
    let Some(Format::Schema { description, schema, .. }) = request.format.take() else { return };
    let choice = match &request.tool_choice {
        // The answer is to be a call of the client's own tools: it has no text to be formed.
        Some(
            ToolChoice::Required
            | ToolChoice::Named(_)
            | ToolChoice::Allowed { required: true, .. },
        ) => return,
        Some(ToolChoice::Auto) | None if !request.tools.is_empty() => ToolChoice::Required,
        Some(ToolChoice::Allowed { names, .. }) => {
            let names = names.iter().cloned().chain([Cow::Borrowed(JSON_TOOL)]).collect();
            ToolChoice::Allowed { names, required: true }
        }
        _ => {
            request.parallel_tools = Some(false);
            ToolChoice::Named(JSON_TOOL.into())
        }
    };
    request.tool_choice = Some(choice);
    request.tools.push(Tool {
        name: JSON_TOOL.into(),
        description: Some(description.unwrap_or("Gives the answer to the user.".into())),
        schema: Some(schema),
        ..Tool::default()
    });
}

/// Whether the model has no choice but to call a tool.
pub(super) fn forced(choice: Option<&ToolChoice<'_>>) -> bool {
    matches!(
        choice,
        Some(
            ToolChoice::Required
                | ToolChoice::Named(_)
                | ToolChoice::Allowed { required: true, .. }
        )
    )
}

/// `tools` and `tool_choice`.
pub(super) fn write<'a>(
    request: &mut Request<'a>,
    losses: &mut Losses,
) -> Result<(Vec<Object<'a>>, Option<Object<'a>>), BadRequest> {
    let mut tools = std::mem::take(&mut request.tools);
    let mut choice = request.tool_choice.take();
    if let Some(ToolChoice::Allowed { names, required }) = choice {
        let names: HashSet<_> = names.into_iter().collect();
        tools.retain(|tool| names.contains(&tool.name));
        choice = Some(if required { ToolChoice::Required } else { ToolChoice::Auto });
    }
    if tools.is_empty() {
        // A choice among nothing is refused.
        if forced(choice.as_ref()) {
            losses.lose(Field::ForcedTool)?;
        }
        return Ok((Vec::new(), None));
    }
    let one_call = request.parallel_tools == Some(false) && choice != Some(ToolChoice::None);
    let kind = match choice {
        Some(ToolChoice::Auto) => Some(("auto", None)),
        Some(ToolChoice::None) => Some(("none", None)),
        Some(ToolChoice::Required) => Some(("any", None)),
        Some(ToolChoice::Named(name)) => Some(("tool", Some(name))),
        Some(ToolChoice::Allowed { .. }) | None => one_call.then_some(("auto", None)),
    };
    let choice = kind.map(|(kind, name)| {
        Object::new()
            .with("type", kind)
            .with_some("name", name)
            .with_some("disable_parallel_tool_use", one_call.then_some(true))
    });
    let mut moved = Vec::new();
    let tools = tools.into_iter().map(|one| tool(one, &mut moved)).collect();
    lose(Field::Tools, &moved, losses)?;
    Ok((tools, choice))
}

/// Constraints that only bind the model by word.
fn lose(field: Field, moved: &[&'static str], losses: &mut Losses) -> Result<(), BadRequest> {
    let field = field.name(losses.client()).unwrap_or("schema");
    moved.iter().try_for_each(|constraint| {
        losses.lose_named(format!("{field}.{constraint}").into(), Loss::Harmless)
    })
}

fn tool<'a>(tool: Tool<'a>, moved: &mut Vec<&'static str>) -> Object<'a> {
    let mut input = schema::of_input(tool.schema);
    let strict = tool.strict == Some(true);
    if strict {
        schema::close(&mut input, moved);
    }
    Object::new()
        .with("name", tool.name)
        .with_some("description", tool.description)
        .with("input_schema", input)
        .with_some("strict", strict.then_some(true))
        .with_some("cache_control", tool.cache_control)
}

/// `output_config.format`.
pub(super) fn format<'a>(
    request: &mut Request<'a>,
    losses: &mut Losses,
) -> Result<Option<Object<'a>>, BadRequest> {
    let Some(Format::Schema { mut schema, .. }) = request.format.take() else {
        return Ok(None);
    };
    let mut moved = Vec::new();
    schema::close(&mut schema, &mut moved);
    lose(Field::JsonSchema, &moved, losses)?;
    Ok(Some(Object::new().with("type", "json_schema").with("schema", schema)))
}
