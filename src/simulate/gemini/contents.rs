//! The conversation: who speaks, what it counts, and that every call has its response.

use serde_json::Value;

use super::{
    super::{
        draft::signature,
        text::{MEDIA_TOKENS, message_tokens},
        write::base64,
    },
    proto::PART_DATA,
    read::{Checked, wrong},
};

/// Taken in the place of a signature, as the documentation says.
const PLACEHOLDERS: [&str; 2] =
    ["skip_thought_signature_validator", "context_engineering_is_the_way_to_go"];

/// What matters of the conversation for the reply.
#[derive(Debug, Default)]
pub(super) struct Conversation {
    /// The last text that a user wrote.
    pub(super) echo: String,
    /// The last content is a function's response.
    pub(super) ends_in_response: bool,
    /// Tokens of all text.
    pub(super) text_tokens: u64,
    /// Tokens of images and documents.
    pub(super) media_tokens: u64,
}

/// The signature of a call of this function.
pub(super) fn call_signature(seed: u64, function: &str) -> String {
    signature(seed, function)
}

/// Whether a model signs its calls and wants the signatures back.
pub(super) fn signs(model: &str) -> bool {
    model.starts_with("gemini-3")
}

fn parts(content: &Value) -> &[Value] {
    content.get("parts").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str)
}

pub(super) fn read(request: &Value, seed: u64, model: &str, what: &str) -> Checked<Conversation> {
    let contents = request.get("contents").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if contents.is_empty() {
        return wrong(format!("* {what}.contents: contents is not specified\n"));
    }
    let mut said = Conversation::default();
    if let Some(system) = request.get("systemInstruction") {
        said.count(system, &format!("{what}.system_instruction"))?;
    }
    for (n, content) in contents.iter().enumerate() {
        let role = text(content, "role").unwrap_or("user");
        if !matches!(role, "user" | "model") {
            return wrong("Please use a valid role: user, model.");
        }
        let path = format!("{what}.contents[{n}]");
        if parts(content).is_empty() {
            return wrong(format!("* {path}.parts: contents.parts must not be empty.\n"));
        }
        said.count(content, &path)?;
        let texts = parts(content).iter().rev().find_map(|part| text(part, "text"));
        if let Some(last) = texts.filter(|_| role == "user") {
            last.clone_into(&mut said.echo);
        }
    }
    check_calls(contents)?;
    if signs(model) {
        check_signatures(contents, seed)?;
    }
    let last = contents.last().map(parts).unwrap_or_default();
    said.ends_in_response = last.iter().any(|part| part.get("functionResponse").is_some());
    Ok(said)
}

impl Conversation {
    fn count(&mut self, content: &Value, path: &str) -> Checked<()> {
        let mut bytes = 0usize;
        for (n, part) in parts(content).iter().enumerate() {
            let given: Vec<&str> =
                PART_DATA.into_iter().filter(|name| part.get(name).is_some()).collect();
            match given.as_slice() {
                [] if part.get("thoughtSignature").is_some() => {}
                [] => {
                    return wrong(format!(
                        "* {path}.parts[{n}].data: required oneof field 'data' must have one \
                         initialized field\n"
                    ));
                }
                [first, second, ..] => {
                    return wrong(format!(
                        "Invalid value at '{path}.parts[{n}]' (oneof), oneof field 'data' is already \
                         set. Cannot set '{second}' beside '{first}'"
                    ));
                }
                [_] => {}
            }
            if part.get("thought") == Some(&Value::Bool(true)) {
                continue;
            }
            bytes = bytes.saturating_add(text(part, "text").map_or(0, str::len));
            if let Some(blob) = part.get("inlineData").or_else(|| part.get("fileData")) {
                if text(blob, "mimeType").is_none_or(str::is_empty)
                    && part.get("fileData").is_none()
                {
                    return wrong(format!(
                        "* {path}.parts[{n}].inline_data.mime_type: must not be empty\n"
                    ));
                }
                self.media_tokens = self.media_tokens.saturating_add(MEDIA_TOKENS);
            }
            if let Some(response) = part.get("functionResponse") {
                check_response(response, &format!("{path}.parts[{n}]"))?;
                let text = response.get("response").map(Value::to_string);
                bytes = bytes.saturating_add(text.map_or(0, |text| text.len()));
            }
            if let Some(call) = part.get("functionCall") {
                named(call, &format!("{path}.parts[{n}].function_call"))?;
            }
        }
        self.text_tokens = self.text_tokens.saturating_add(message_tokens(bytes));
        Ok(())
    }
}

fn named(value: &Value, path: &str) -> Checked<()> {
    match text(value, "name") {
        Some(name) if !name.is_empty() => Ok(()),
        _ => wrong(format!("* {path}.name: Name cannot be empty.\n")),
    }
}

fn check_response(response: &Value, path: &str) -> Checked<()> {
    let path = format!("{path}.function_response");
    named(response, &path)?;
    match response.get("response") {
        Some(_) => Ok(()),
        None => wrong(format!("* {path}.response: must not be empty\n")),
    }
}

/// Calls or responses in a content: their names and ids.
fn of<'a>(content: &'a Value, key: &str) -> Vec<(&'a str, Option<&'a str>)> {
    let all = parts(content).iter().filter_map(|part| part.get(key));
    all.map(|one| (text(one, "name").unwrap_or_default(), text(one, "id"))).collect()
}

fn check_calls(contents: &[Value]) -> Checked<()> {
    let mut open = Vec::new();
    let mut after_model = true;
    for content in contents {
        let calls = of(content, "functionCall");
        let responses = of(content, "functionResponse");
        let model = text(content, "role") == Some("model");
        if !calls.is_empty() && (after_model || !model) {
            return wrong(
                "Please ensure that function call turn comes immediately after a user turn or after a \
                 function response turn.",
            );
        }
        if !responses.is_empty() && (open.is_empty() || model) {
            return wrong(
                "Please ensure that function response turn comes immediately after a function call \
                 turn.",
            );
        }
        answered(&open, &responses)?;
        open = calls;
        after_model = model;
    }
    // A last call that nobody has answered yet is no question.
    answered(&open, &[])
}

fn answered(calls: &[(&str, Option<&str>)], responses: &[(&str, Option<&str>)]) -> Checked<()> {
    if calls.len() != responses.len() {
        return wrong(
            "Please ensure that the number of function response parts is equal to the number of \
             function call parts of the function call turn.",
        );
    }
    let names = |all: &[(&str, Option<&str>)]| {
        let mut names: Vec<String> = all.iter().map(|(name, _)| (*name).to_owned()).collect();
        names.sort_unstable();
        names
    };
    if names(calls) != names(responses) {
        return wrong(
            "Please ensure that the names of function response parts match those of the function call \
             parts of the function call turn.",
        );
    }
    let known = |id: &str| calls.iter().any(|(_, call)| call.is_none_or(|call| call == id));
    match responses.iter().find_map(|(_, id)| id.filter(|id| !known(id))) {
        Some(id) => wrong(format!("Function response id {id:?} matches no function call.")),
        None => Ok(()),
    }
}

/// The first call of each step since the user last spoke has this provider's signature.
fn check_signatures(contents: &[Value], seed: u64) -> Checked<()> {
    let spoke = |content: &Value| {
        text(content, "role") != Some("model") && of(content, "functionResponse").is_empty()
    };
    let start = contents.iter().rposition(spoke).unwrap_or(0);
    for content in contents.iter().skip(start) {
        let mut calls = parts(content).iter().filter(|part| part.get("functionCall").is_some());
        let Some(first) = calls.next() else { continue };
        let Some(signed) = text(first, "thoughtSignature") else {
            return wrong(
                "Function call is missing a thought_signature in functionCall parts. This is required \
                 for tools to work correctly.",
            );
        };
        let name =
            first.get("functionCall").and_then(|call| text(call, "name")).unwrap_or_default();
        let own = call_signature(seed, name);
        let encoded = PLACEHOLDERS.iter().map(|text| base64(text.as_bytes()));
        let mut known = encoded.chain(PLACEHOLDERS.map(str::to_owned)).chain([own]);
        if !known.any(|known| same_bytes(&known, signed)) {
            return wrong("Corrupted thought signature.");
        }
    }
    Ok(())
}

/// Whether two texts are the same in base64: some clients write it URL-safe, some without padding.
fn same_bytes(one: &str, other: &str) -> bool {
    let standard = |text: &str| text.trim_end_matches('=').replace('-', "+").replace('_', "/");
    standard(one) == standard(other)
}
