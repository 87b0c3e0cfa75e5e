//! One block of content: its fields, what it counts, and what matters of it for the conversation.

use serde_json::Value;

use super::{
    super::draft::signature,
    check::{
        Checked, Object, at, given, list, name, object, one_of, only, optional_bool, plain,
        required, required_string, string, tag, wrong,
    },
    meter::Meter,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    User,
    Assistant,
}

/// What the order of blocks is judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Block<'a> {
    Text(&'a str),
    ToolUse(&'a str),
    ToolResult(&'a str),
    Thinking,
    Other,
}

const TAGS: [&str; 12] = [
    "document",
    "image",
    "redacted_thinking",
    "search_result",
    "server_tool_use",
    "text",
    "thinking",
    "tool_result",
    "tool_use",
    "web_fetch_tool_result",
    "web_search_tool_result",
    "container_upload",
];

/// What reads blocks needs to know of the request.
pub(super) struct Reader<'m> {
    pub(super) seed: u64,
    /// The API version that takes no documents of the assistant and no citations of the user.
    pub(super) newest: bool,
    pub(super) meter: &'m mut Meter,
}

impl Reader<'_> {
    /// The content of a message: a text or blocks.
    pub(super) fn content<'a>(
        &mut self,
        content: &'a Value,
        path: &str,
        role: Role,
    ) -> Checked<Vec<Block<'a>>> {
        if let Some(text) = content.as_str() {
            self.meter.text(text);
            self.meter.block(content, path)?;
            return Ok(if text.is_empty() { vec![] } else { vec![Block::Text(text)] });
        }
        let blocks = list(content, path)?.iter().enumerate();
        blocks.map(|(n, block)| self.block(block, &at(path, n), role)).collect()
    }

    fn block<'a>(&mut self, value: &'a Value, path: &str, role: Role) -> Checked<Block<'a>> {
        let block = object(value, path)?;
        let kind = tag(block, path, &TAGS)?;
        let inside = at(path, kind);
        let users = matches!(kind, "image" | "tool_result" | "search_result" | "container_upload");
        let assistants =
            matches!(kind, "tool_use" | "thinking" | "redacted_thinking" | "server_tool_use");
        let (wrong_role, whose) = match role {
            Role::User => (assistants, "assistant"),
            Role::Assistant => (users || self.newest && kind == "document", "user"),
        };
        if wrong_role {
            return wrong(path, format!("`{kind}` blocks can only be in `{whose}` messages"));
        }
        let read = match kind {
            "text" => self.text(block, &inside, role)?,
            "image" | "document" => self.media(block, &inside, kind)?,
            "tool_use" => tool_use(block, &inside)?,
            "tool_result" => self.tool_result(block, &inside)?,
            "thinking" => self.thinking(block, path, &inside)?,
            "redacted_thinking" => {
                only(block, &inside, &["type", "data"])?;
                required_string(block, &inside, "data")?;
                Block::Thinking
            }
            _ => Block::Other,
        };
        self.meter.block(value, &inside)?;
        Ok(read)
    }

    fn text<'a>(&mut self, block: &'a Object, path: &str, role: Role) -> Checked<Block<'a>> {
        only(block, path, &["type", "text", "cache_control", "citations"])?;
        let text = required_string(block, path, "text")?;
        if text.is_empty() {
            return Err(plain("messages: text content blocks must be non-empty"));
        }
        let cites = given(block, "citations").and_then(Value::as_array);
        if self.newest && role == Role::User && cites.is_some_and(|cites| !cites.is_empty()) {
            return wrong(at(path, "citations"), "Extra inputs are not permitted");
        }
        self.meter.text(text);
        Ok(Block::Text(text))
    }

    /// An image or a document.
    fn media<'a>(&mut self, block: &'a Object, path: &str, kind: &str) -> Checked<Block<'a>> {
        let image = kind == "image";
        let allowed = ["type", "source", "cache_control", "title", "context", "citations"];
        only(block, path, allowed.get(..if image { 3 } else { 6 }).unwrap_or_default())?;
        let path = at(path, "source");
        let source = object(required(block, "", "source")?, &path)?;
        let tags: &[&str] = match image {
            true => &["base64", "url", "file"],
            false => &["base64", "url", "file", "text", "content"],
        };
        let kind = tag(source, &path, tags)?;
        let path = at(&path, kind);
        match kind {
            "url" => {
                only(source, &path, &["type", "url"])?;
                let url = required_string(source, &path, "url")?;
                if !url.starts_with("https://") && !url.starts_with("http://") {
                    return wrong(at(&path, "url"), "Only HTTPS URLs are supported.");
                }
            }
            "file" => {
                only(source, &path, &["type", "file_id"])?;
                required_string(source, &path, "file_id")?;
            }
            "content" => only(source, &path, &["type", "content"])?,
            _ => self.data(source, &path, image, kind == "text")?,
        }
        self.meter.media();
        Ok(Block::Other)
    }

    fn data(&mut self, source: &Object, path: &str, image: bool, text: bool) -> Checked<()> {
        only(source, path, &["type", "media_type", "data"])?;
        let types: &[&str] = match (image, text) {
            (true, _) => &["image/jpeg", "image/png", "image/gif", "image/webp"],
            (false, true) => &["text/plain"],
            (false, false) => &["application/pdf"],
        };
        one_of(required(source, path, "media_type")?, &at(path, "media_type"), types)?;
        let data = required_string(source, path, "data")?;
        if text {
            self.meter.text(data);
            return Ok(());
        }
        if data.is_empty() || data.len() % 4 != 0 || !is_base64(data) {
            return wrong(at(path, "data"), "The provided data is not valid base64");
        }
        Ok(())
    }

    fn tool_result<'a>(&mut self, block: &'a Object, path: &str) -> Checked<Block<'a>> {
        let allowed = ["type", "tool_use_id", "content", "is_error", "cache_control"];
        only(block, path, &allowed)?;
        let id = required_string(block, path, "tool_use_id")?;
        name(id, &at(path, "tool_use_id"), usize::MAX)?;
        optional_bool(block, path, "is_error")?;
        let content_path = at(path, "content");
        match given(block, "content") {
            Some(Value::String(text)) => self.meter.text(text),
            Some(content) => {
                for (n, value) in list(content, &content_path)?.iter().enumerate() {
                    let path = at(&content_path, n);
                    let block = object(value, &path)?;
                    let kind = tag(block, &path, &["text", "image", "document", "search_result"])?;
                    match kind {
                        "text" => self.text(block, &at(&path, kind), Role::User)?,
                        "search_result" => Block::Other,
                        _ => self.media(block, &at(&path, kind), kind)?,
                    };
                }
            }
            None => {}
        }
        Ok(Block::ToolResult(id))
    }

    /// A thought that comes back must be one of this provider's, unchanged.
    fn thinking<'a>(&mut self, block: &'a Object, path: &str, inside: &str) -> Checked<Block<'a>> {
        only(block, inside, &["type", "thinking", "signature"])?;
        let thought = required_string(block, inside, "thinking")?;
        let signed = required_string(block, inside, "signature")?;
        if signed != signature(self.seed, thought) {
            return wrong(path, "Invalid `signature` in `thinking` block");
        }
        Ok(Block::Thinking)
    }

    /// `system`: a text or text blocks.
    pub(super) fn system(&mut self, system: &Value) -> Checked<()> {
        self.meter.begin("system");
        if let Some(text) = system.as_str() {
            self.meter.text(text);
            return self.meter.block(system, "system");
        }
        for (n, value) in list(system, "system")?.iter().enumerate() {
            let path = at("system", n);
            let block = object(value, &path)?;
            only(block, &path, &["type", "text", "cache_control", "citations"])?;
            one_of(required(block, &path, "type")?, &at(&path, "type"), &["text"])?;
            let text = required_string(block, &path, "text")?;
            if text.is_empty() {
                return Err(plain("system: text content blocks must be non-empty"));
            }
            self.meter.text(text);
            self.meter.block(value, &path)?;
        }
        Ok(())
    }
}

fn tool_use<'a>(block: &'a Object, path: &str) -> Checked<Block<'a>> {
    only(block, path, &["type", "id", "name", "input", "cache_control", "caller"])?;
    let id = required_string(block, path, "id")?;
    name(id, &at(path, "id"), usize::MAX)?;
    let called = string(required(block, path, "name")?, &at(path, "name"))?;
    name(called, &at(path, "name"), 200)?;
    object(required(block, path, "input")?, &at(path, "input"))?;
    Ok(Block::ToolUse(id))
}

/// The letters of RFC 4648, section 4, padding at the end.
fn is_base64(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    text.len() - body.len() <= 2 && body.bytes().all(letter)
}
