//! Who speaks in a conversation, and that every call has its result.

use super::{error::Error, request::Item};

const ROLES: [&str; 6] = ["system", "assistant", "user", "function", "tool", "developer"];

fn wrong<T>(text: String, param: String, code: Option<&'static str>) -> Result<T, Box<Error>> {
    let mut error = Error::invalid(text).param(param);
    error.code = code;
    Err(Box::new(error))
}

/// The messages of a chat.
pub(super) fn check_chat(messages: &[Item<'_>]) -> Result<(), Box<Error>> {
    let mut open: Vec<&str> = Vec::new();
    for (n, message) in messages.iter().enumerate() {
        let Some(role) = message.role.as_deref() else {
            let param = format!("messages[{n}].role");
            let text = format!("Missing required parameter: '{param}'.");
            return wrong(text, param, Some("missing_required_parameter"));
        };
        if !ROLES.contains(&role) {
            let text = format!(
                "Invalid value: '{role}'. Supported values are: 'system', 'assistant', 'user', \
                 'function', 'tool', and 'developer'."
            );
            return wrong(text, format!("messages[{n}].role"), Some("invalid_value"));
        }
        if role == "tool" {
            let Some(id) = message.answers.as_deref() else {
                let param = format!("messages[{n}].tool_call_id");
                let text = format!("Missing required parameter: '{param}'.");
                return wrong(text, param, Some("missing_required_parameter"));
            };
            let Some(at) = open.iter().position(|call| *call == id) else {
                let text = "Invalid parameter: messages with role 'tool' must be a response to a \
                            preceeding message with 'tool_calls'.";
                return wrong(text.to_owned(), format!("messages.[{n}].role"), None);
            };
            open.swap_remove(at);
        } else {
            all_answered(&open, n)?;
            open = message.calls.iter().map(|id| &**id).collect();
        }
    }
    all_answered(&open, messages.len())
}

fn all_answered(open: &[&str], n: usize) -> Result<(), Box<Error>> {
    if open.is_empty() {
        return Ok(());
    }
    let text = format!(
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each \
         'tool_call_id'. The following tool_call_ids did not have response messages: {}",
        open.join(", ")
    );
    wrong(text, format!("messages.[{n}].role"), None)
}

/// The items of a request to the Responses API; what they answer may be `kept` at the provider.
pub(super) fn check_input(items: &[Item<'_>], kept: bool) -> Result<(), Box<Error>> {
    let mut open: Vec<&str> = Vec::new();
    for (n, item) in items.iter().enumerate() {
        if let Some(role) = item.role.as_deref().filter(|role| !ROLES.contains(role)) {
            let text = format!(
                "Invalid value: '{role}'. Supported values are: 'assistant', 'system', 'developer', \
                 and 'user'."
            );
            return wrong(text, format!("input[{n}].role"), Some("invalid_value"));
        }
        open.extend(item.calls.iter().map(|id| &**id));
        let Some(id) = item.answers.as_deref() else { continue };
        match open.iter().position(|call| *call == id) {
            Some(at) => {
                open.swap_remove(at);
            }
            None if kept => {}
            None => {
                let text =
                    format!("No tool call found for function call output with call_id {id}.");
                return wrong(text, "input".to_owned(), None);
            }
        }
    }
    match open.first() {
        Some(id) => {
            let text = format!("No tool output found for function call {id}.");
            wrong(text, "input".to_owned(), None)
        }
        None => Ok(()),
    }
}
