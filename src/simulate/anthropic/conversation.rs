//! The order of messages: who speaks, and that every call has its result.

use std::collections::HashSet;

use serde_json::Value;

use super::{
    blocks::{Block, Reader, Role},
    check::{Checked, at, list, object, only, plain, required, required_string, wrong},
};

/// What one side says until the other one speaks: messages of the same role are one.
struct Turn<'a> {
    role: Role,
    /// The index of its last message.
    index: usize,
    blocks: Vec<Block<'a>>,
}

/// What matters of the conversation for the reply.
#[derive(Debug, Default)]
pub(super) struct Conversation {
    /// The last text that a user wrote.
    pub(super) echo: String,
    /// The last message holds a tool's result.
    pub(super) ends_in_result: bool,
    /// The last message is the assistant's: the reply goes on from there.
    pub(super) prefilled: bool,
    /// The assistant's last turn, in the midst of tool calls, does not begin with a thought.
    pub(super) thoughtless: Option<usize>,
}

pub(super) fn read(messages: &Value, reader: &mut Reader<'_>) -> Checked<Conversation> {
    let messages = list(messages, "messages")?;
    if messages.is_empty() {
        return Err(plain("messages: at least one message is required"));
    }
    let mut turns: Vec<Turn<'_>> = Vec::new();
    for (index, value) in messages.iter().enumerate() {
        let path = at("messages", index);
        let message = object(value, &path)?;
        only(message, &path, &["role", "content"])?;
        let role = role(required_string(message, &path, "role")?, &path)?;
        reader.meter.begin(if role == Role::User { "user" } else { "assistant" });
        let content = required(message, &path, "content")?;
        let blocks = reader.content(content, &at(&path, "content"), role)?;
        let last = index + 1 == messages.len();
        if blocks.is_empty() && !(last && role == Role::Assistant) {
            let text = "all messages must have non-empty content except for the optional final \
                        assistant message";
            return wrong(path, text);
        }
        match turns.last_mut() {
            Some(turn) if turn.role == role => {
                turn.blocks.extend(blocks);
                turn.index = index;
            }
            _ => turns.push(Turn { role, index, blocks }),
        }
    }
    check_calls(&turns)?;
    conclude(&turns)
}

fn role(role: &str, path: &str) -> Checked<Role> {
    match role {
        "user" => Ok(Role::User),
        "assistant" => Ok(Role::Assistant),
        "system" => Err(plain(
            "messages: Unexpected role \"system\". The Messages API accepts a top-level `system` \
             parameter, not \"system\" as an input message role.",
        )),
        _ => wrong(at(path, "role"), "Input should be 'user' or 'assistant'"),
    }
}

/// Every call has its result at the start of the next turn, and every result its call.
fn check_calls(turns: &[Turn<'_>]) -> Checked<()> {
    let mut ids = HashSet::new();
    let mut open: (usize, Vec<&str>) = (0, Vec::new());
    for turn in turns {
        let results = turn.blocks.iter().map_while(|block| match block {
            Block::ToolResult(id) => Some(*id),
            _ => None,
        });
        let results: Vec<&str> = results.collect();
        unanswered(&open, &results)?;
        let all = turn.blocks.iter().enumerate();
        for (n, block) in all {
            match block {
                Block::ToolResult(id) if !open.1.contains(id) => {
                    return wrong(
                        format!("messages.{}.content.{n}", turn.index),
                        format!(
                            "unexpected `tool_use_id` found in `tool_result` blocks: {id}. Each \
                             `tool_result` block must have a corresponding `tool_use` block in the \
                             previous message."
                        ),
                    );
                }
                Block::ToolUse(id) if !ids.insert(*id) => {
                    return Err(plain("messages: `tool_use` ids must be unique"));
                }
                _ => {}
            }
        }
        if let Some(twice) = results
            .iter()
            .enumerate()
            .find(|(n, id)| results.iter().take(*n).any(|other| other == *id))
        {
            let text = format!(
                "each tool_use must have a single result. Found multiple `tool_result` blocks with \
                 id: {}",
                twice.1
            );
            return wrong(format!("messages.{}.content.{}", turn.index, twice.0), text);
        }
        let calls = turn.blocks.iter().filter_map(|block| match block {
            Block::ToolUse(id) => Some(*id),
            _ => None,
        });
        open = (turn.index, calls.collect());
    }
    unanswered(&open, &[])
}

fn unanswered((index, calls): &(usize, Vec<&str>), results: &[&str]) -> Checked<()> {
    let missing: Vec<&str> = calls.iter().copied().filter(|id| !results.contains(id)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let text = format!(
        "`tool_use` ids were found without `tool_result` blocks immediately after: {}. Each \
         `tool_use` block must have a corresponding `tool_result` block in the next message.",
        missing.join(", ")
    );
    wrong(at("messages", index), text)
}

fn conclude(turns: &[Turn<'_>]) -> Checked<Conversation> {
    let texts = |turn: &Turn<'_>| {
        turn.blocks.iter().rev().find_map(|block| match block {
            Block::Text(text) => Some((*text).to_owned()),
            _ => None,
        })
    };
    let users = turns.iter().rev().filter(|turn| turn.role == Role::User);
    let echo = users.clone().find_map(texts).unwrap_or_default();
    let last = turns.last();
    let ends_in_result = last.is_some_and(|turn| {
        turn.role == Role::User && matches!(turn.blocks.first(), Some(Block::ToolResult(_)))
    });
    let prefilled = last.is_some_and(|turn| turn.role == Role::Assistant);
    if prefilled && last.and_then(texts).is_some_and(|text| text.ends_with(char::is_whitespace)) {
        return Err(plain("messages: final assistant content cannot end with trailing whitespace"));
    }
    let assistant = turns.iter().rev().find(|turn| turn.role == Role::Assistant);
    let thoughtless = assistant
        .filter(|turn| ends_in_result && turn.blocks.first() != Some(&Block::Thinking))
        .map(|turn| turn.index);
    Ok(Conversation { echo, ends_in_result, prefilled, thoughtless })
}
