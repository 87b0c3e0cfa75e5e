//! Where a body would be posted, by its form.

use http::Uri;
use serde_json::Value;

/// The path that takes such a body.
pub(super) fn path(body: &Value) -> Result<Uri, String> {
    let has = |name: &str| body.get(name).is_some();
    let path = if has("contents") {
        gemini(body)?
    } else if has("messages") && is_anthropic(body) {
        "/v1/messages".to_owned()
    } else if has("messages") {
        "/v1/chat/completions".to_owned()
    } else if has("input") {
        "/v1/responses".to_owned()
    } else if has("prompt") {
        "/v1/completions".to_owned()
    } else {
        return Err("no `messages`, `input` or `contents`; say where it goes with --path".into());
    };
    path.parse().map_err(|_| "its model fits into no path; say where it goes with --path".into())
}

/// Gemini's clients name the model in the path; a body that names it besides is taken at its word.
fn gemini(body: &Value) -> Result<String, String> {
    let model = body
        .get("model")
        .and_then(Value::as_str)
        .ok_or("names no model; say it with --path /v1beta/models/MODEL:generateContent")?;
    let model = model.strip_prefix("models/").unwrap_or(model);
    Ok(format!("/v1beta/models/{model}:generateContent"))
}

/// Whether there is something that only Anthropic's messages have.
fn is_anthropic(body: &Value) -> bool {
    let own = ["system", "stop_sequences", "thinking", "top_k", "anthropic_version"];
    let list = |value: &Value, name: &str| -> Vec<Value> {
        value.get(name).and_then(Value::as_array).cloned().unwrap_or_default()
    };
    let kind = |part: &Value| part.get("type").and_then(Value::as_str).map(str::to_owned);
    let blocks = ["image", "document", "tool_use", "tool_result", "thinking", "redacted_thinking"];
    own.iter().any(|name| body.get(name).is_some())
        || list(body, "tools").iter().any(|tool| tool.get("input_schema").is_some())
        || list(body, "messages")
            .iter()
            .flat_map(|message| list(message, "content"))
            .any(|part| kind(&part).is_some_and(|kind| blocks.contains(&kind.as_str())))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_form_has_its_path() {
        let chat =
            json!([{ "role": "system", "content": "s" }, { "role": "user", "content": "u" }]);
        let parts = |kind: &str| json!([{ "role": "user", "content": [{ "type": kind }] }]);
        for (body, expected) in [
            (json!({ "messages": chat }), "/v1/chat/completions"),
            (json!({ "messages": parts("image_url") }), "/v1/chat/completions"),
            (
                json!({ "messages": chat, "tools": [{ "type": "function" }] }),
                "/v1/chat/completions",
            ),
            (json!({ "messages": parts("image") }), "/v1/messages"),
            (json!({ "messages": parts("tool_result") }), "/v1/messages"),
            (json!({ "system": "s", "messages": [] }), "/v1/messages"),
            (json!({ "messages": [], "tools": [{ "input_schema": {} }] }), "/v1/messages"),
            (json!({ "input": "Hello" }), "/v1/responses"),
            (json!({ "prompt": "Hello" }), "/v1/completions"),
            (
                json!({ "contents": [], "model": "models/gemini-2.5-pro" }),
                "/v1beta/models/gemini-2.5-pro:generateContent",
            ),
        ] {
            assert_eq!(path(&body).unwrap(), *expected, "{body}");
        }
        for body in [
            json!({}),
            json!([]),
            json!({ "contents": [] }),
            json!({ "contents": [], "model": " " }),
        ] {
            assert!(path(&body).unwrap_err().contains("--path"), "{body}");
        }
    }
}
