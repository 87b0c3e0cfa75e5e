//! Nothing of a request is dropped in silence: whatever object of it a member stands in that
//! nobody knows, it is passed on or told; and so is all that is known and has no counterpart.

use serde_json::{Value, json};

use super::{Asked, Fit, Form, Strictness, Translated, crossing::cells, request};
use crate::BadRequest;

const LENIENT: Strictness = Strictness { refuse_meaning: false, refuse_harmless: false };
const STRICT: Strictness = Strictness { refuse_meaning: false, refuse_harmless: true };

fn sent(
    (from, to): (Form, Form),
    body: &Value,
    strictness: Strictness,
) -> Result<(String, String), BadRequest> {
    let asked = Asked::new(from, "M", body.to_string());
    let Translated { body, dropped } = request(&asked, "m", &Fit::new(to), strictness)?;
    let dropped = dropped.map_or(String::new(), |names| names.to_str().unwrap().to_owned());
    Ok((String::from_utf8(body.to_vec()).unwrap(), dropped))
}

/// With all kinds of objects that the form's requests have, between them.
fn samples(form: Form) -> Vec<Value> {
    match form {
        Form::Chat => chat(),
        Form::Responses => responses(),
        Form::Messages => messages(),
        Form::Generate => generate(),
    }
}

fn schema() -> Value {
    json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]})
}

fn chat() -> Vec<Value> {
    let function = json!({"name": "f", "description": "d", "parameters": schema()});
    let user = json!({"role": "user", "content": "Hi"});
    vec![
        json!({
            "messages": [
                {"role": "system", "content": [
                    {"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}]},
                {"role": "user", "content": [
                    {"type": "text", "text": "t"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                    {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
                    {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"}}]},
                {"role": "assistant",
                    "content": [{"type": "text", "text": "t"}, {"type": "refusal", "refusal": "r"}],
                    "thinking_blocks": [
                        {"type": "thinking", "thinking": "t", "signature": "tollway:messages:c2ln"},
                        {"type": "redacted_thinking", "data": "tollway:messages:c2ln"}],
                    "annotations": [{"type": "url_citation", "url_citation": {"url": "https://x"}}],
                    "tool_calls": [{"id": "c", "type": "function",
                        "function": {"name": "f", "arguments": "{}"},
                        "extra_content": {"google": {"thought_signature": "c2ln"}}}]},
                {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "t"}]},
                user],
            "tools": [{"type": "function", "function": function, "cache_control": {"type": "ephemeral"}}],
            "tool_choice": {"type": "function", "function": {"name": "f"}},
            "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": schema()}},
            "thinking": {"type": "enabled", "budget_tokens": 2048},
            "stream_options": {"include_usage": true},
            "metadata": {"a": "b"},
            "prediction": {"type": "content", "content": [{"type": "text", "text": "t"}]},
        }),
        json!({
            "messages": [user,
                {"role": "assistant", "content": [{"type": "thinking", "thinking": "t"}, {"type": "text", "text": "t"}]},
                user],
            "tools": [{"type": "function", "function": function}],
            "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto",
                "tools": [{"type": "function", "function": {"name": "f"}}]}},
            "response_format": {"type": "json_object"},
        }),
        json!({
            "messages": [user,
                {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}},
                {"role": "function", "name": "f", "content": "r"}],
            "functions": [function],
            "function_call": {"name": "f"},
            "response_format": {"type": "text"},
        }),
    ]
}

fn responses() -> Vec<Value> {
    let tool = json!({"type": "function", "name": "f", "parameters": schema()});
    vec![
        json!({
            "input": [
                {"role": "user", "content": [
                    {"type": "input_text", "text": "t"},
                    {"type": "input_image", "image_url": "data:image/png;base64,AAAA"},
                    {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"}]},
                {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "s"}],
                    "encrypted_content": "AAAA"},
                {"type": "message", "role": "assistant", "content": [
                    {"type": "output_text", "text": "t", "annotations": [
                        {"type": "url_citation", "url": "https://x", "title": "t", "start_index": 0, "end_index": 1}]},
                    {"type": "refusal", "refusal": "r"}]},
                {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "t"}]}],
            "tools": [tool],
            "tool_choice": {"type": "function", "name": "f"},
            "text": {"format": {"type": "json_schema", "name": "n", "schema": schema()}},
            "reasoning": {"effort": "low"},
            "metadata": {"a": "b"},
            "stream_options": {"include_obfuscation": false},
        }),
        json!({
            "input": [
                {"role": "user", "content": "Hi"},
                {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "s"}]},
                {"role": "assistant", "content": "t"},
                {"role": "user", "content": "Hi"}],
            "tools": [tool],
            "tool_choice": {"type": "allowed_tools", "tools": [{"type": "function", "name": "f"}]},
            "text": {"format": {"type": "text"}},
        }),
    ]
}

fn messages() -> Vec<Value> {
    let cached = json!({"type": "ephemeral"});
    let base64 = |mime| json!({"type": "base64", "media_type": mime, "data": "AAAA"});
    let text = json!({"type": "text", "text": "t"});
    vec![json!({
        "max_tokens": 9000,
        "system": [{"type": "text", "text": "s", "cache_control": cached}],
        "messages": [
            {"role": "user", "content": [
                text,
                {"type": "image", "source": base64("image/png")},
                {"type": "document", "source": base64("application/pdf"), "title": "a.pdf",
                    "citations": {"enabled": false}},
                {"type": "document", "source": {"type": "url", "url": "https://x/a.pdf"}},
                {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "t"}},
                {"type": "document", "source": {"type": "content", "content": [text]}},
                {"type": "search_result", "title": "t", "source": "https://x", "content": [text],
                    "citations": {"enabled": true}}]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "t", "signature": "c2ln"},
                {"type": "redacted_thinking", "data": "c2ln"},
                {"type": "text", "text": "t", "citations": [
                    {"type": "web_search_result_location", "url": "https://x", "cited_text": "t"},
                    {"type": "char_location", "cited_text": "t"}]},
                {"type": "tool_use", "id": "c", "name": "f", "input": {"a": "b"}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "c", "cache_control": cached, "content": [
                    text, {"type": "image", "source": base64("image/png")}]},
                {"type": "compaction", "content": "t"}]}],
        "tools": [{"name": "f", "input_schema": schema(), "cache_control": cached}],
        "tool_choice": {"type": "tool", "name": "f"},
        "thinking": {"type": "enabled", "budget_tokens": 2048},
        "output_config": {"format": {"type": "json_schema", "schema": schema()}},
        "metadata": {"user_id": "u"},
        "context_management": {"edits": [{"type": "clear"}]},
    })]
}

fn generate() -> Vec<Value> {
    let inline = |mime| json!({"inlineData": {"mimeType": mime, "data": "AAAA"}});
    vec![json!({
        "systemInstruction": {"parts": [{"text": "s"}]},
        "contents": [
            {"role": "user", "parts": [
                {"text": "t"},
                inline("image/png"), inline("application/pdf"), inline("audio/wav"), inline("video/mp4"),
                {"fileData": {"mimeType": "image/png", "fileUri": "https://x/a.png"}},
                {"fileData": {"mimeType": "application/pdf", "fileUri": "https://x/a.pdf"}},
                {"fileData": {"fileUri": "gs://x"}}]},
            {"role": "model", "parts": [
                {"text": "t", "thought": true, "thoughtSignature": "c2ln"},
                {"executableCode": {"language": "PYTHON", "code": "1"}},
                {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}},
                {"functionCall": {"id": "c", "name": "f", "args": {"a": "b"}}}]},
            {"role": "user", "parts": [
                {"functionResponse": {"id": "c", "name": "f", "response": {"a": "b"}, "parts": [
                    inline("image/png"), {"fileData": {"fileUri": "gs://x"}}]}}]}],
        "tools": [{"functionDeclarations": [{"name": "f", "parameters": schema()}]},
            {"functionDeclarations": [{"name": "g", "parametersJsonSchema": schema()}]},
            {"googleSearch": {}}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
        "generationConfig": {
            "thinkingConfig": {"thinkingBudget": 2048},
            "responseMimeType": "application/json", "responseSchema": schema()},
        "safetySettings": [{"category": "C", "threshold": "T"}],
    })]
}

/// Every object in a document: the keys and places on the way, and the keys alone.
fn objects(value: &Value, pointer: String, path: String, all: &mut Vec<(String, String)>) {
    match value {
        Value::Object(members) => {
            all.push((pointer.clone(), path.clone()));
            for (key, value) in members {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                objects(value, format!("{pointer}/{key}"), path, all);
            }
        }
        Value::Array(items) => {
            for (place, item) in items.iter().enumerate() {
                objects(item, format!("{pointer}/{place}"), path.clone(), all);
            }
        }
        _ => {}
    }
}

/// Whether the whole of what the object stands in is told as lost.
fn is_lost_whole(path: &str, dropped: &str) -> bool {
    let last = |name: &str| name.rsplit('.').next().map(str::to_owned);
    dropped.split(", ").filter(|told| !told.is_empty()).any(|told| {
        path == told || path.starts_with(&format!("{told}.")) || last(path) == last(told)
    })
}

#[test]
fn a_member_that_nobody_knows_is_told_wherever_it_stands() {
    const UNKNOWN: &str = "zz9";
    let mut silent = Vec::new();
    for cell in cells() {
        for sample in samples(cell.0) {
            let (_, before) = sent(cell, &sample, LENIENT).unwrap();
            let mut all = Vec::new();
            objects(&sample, String::new(), String::new(), &mut all);
            for (pointer, path) in all {
                let mut body = sample.clone();
                body.pointer_mut(&pointer).unwrap()[UNKNOWN] = json!("x");
                let (passed, dropped) = sent(cell, &body, LENIENT).unwrap();
                if passed.contains(UNKNOWN) || is_lost_whole(&path, &before) {
                    continue;
                }
                let told = dropped.contains(UNKNOWN) || is_lost_whole(&path, &dropped);
                if !told || sent(cell, &body, STRICT).is_ok() {
                    silent.push(format!("{} to {}: {pointer}", cell.0, cell.1));
                }
            }
        }
    }
    assert!(silent.is_empty(), "{silent:#?}");
}

/// What is told of it to each of the other forms, in their order; `!` before what is refused.
fn told(from: Form, body: &Value) -> Vec<String> {
    let others = cells().filter(|(client, _)| *client == from);
    let told = others.map(|cell| match sent(cell, body, Strictness::default()) {
        Ok((_, dropped)) => dropped,
        Err(refused) => format!("!{}", refused.param().unwrap_or_default()),
    });
    told.collect()
}

fn asks_chat(more: Value) -> Value {
    let mut body = json!({"messages": [{"role": "user", "content": "Hi"}]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

#[test]
fn the_name_of_a_document_is_told_where_it_has_no_place() {
    let said = |part| json!({"messages": [{"role": "user", "content": [part]}], "max_tokens": 99});
    let file = json!({"filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"});
    let chat = said(json!({"type": "file", "file": file}));
    assert_eq!(told(Form::Chat, &chat), ["", "", "file.filename"]);
    let of = |source: Value| said(json!({"type": "document", "title": "T", "source": source}));
    let data = of(json!({"type": "base64", "media_type": "application/pdf", "data": "AAAA"}));
    assert_eq!(told(Form::Messages, &data), ["", "", "document.title"]);
    let url = of(json!({"type": "url", "url": "https://x/a.pdf"}));
    assert_eq!(told(Form::Messages, &url), ["!document", "document.title", "!document"]);
    let part =
        json!({"inlineData": {"mimeType": "application/pdf", "data": "AAAA", "displayName": "T"}});
    let generate = json!({"contents": [{"parts": [part]}]});
    assert_eq!(told(Form::Generate, &generate), ["", "", ""]);
    // A text has no name, but another text before it.
    let part =
        json!({"inlineData": {"mimeType": "text/plain", "data": "SGk=", "displayName": "T"}});
    let generate = json!({"contents": [{"parts": [part]}]});
    let (sent, _) = sent((Form::Generate, Form::Chat), &generate, LENIENT).unwrap();
    assert!(sent.contains(r#""T\nHi""#), "{sent}");
}

#[test]
fn what_google_says_of_a_part_is_told_or_refused() {
    let with = |kind: &str, name: &str, value: Value| {
        let mut inner = json!({"name": "f", "mimeType": "image/png", "data": "AAAA"});
        inner[name] = value;
        let role = if kind == "functionCall" { "model" } else { "user" };
        json!({"contents": [{"role": role, "parts": [{kind: inner}]}]})
    };
    let strip = |body: Value, known: &[&str]| {
        let mut body = body;
        let part = body["contents"][0]["parts"][0].as_object_mut().unwrap();
        for inner in part.values_mut() {
            inner.as_object_mut().unwrap().retain(|name, _| !known.contains(&&**name));
        }
        body
    };
    let path = "contents.parts";
    for (kind, name, value, expected) in [
        (
            "functionCall",
            "partialArgs",
            json!([{"jsonPath": "$.a"}]),
            "!contents.parts.functionCall.partialArgs",
        ),
        ("functionCall", "willContinue", json!(true), "!contents.parts.functionCall.willContinue"),
        ("functionCall", "willContinue", json!(false), ""),
        ("functionCall", "partialArgs", json!([]), ""),
        (
            "functionResponse",
            "willContinue",
            json!(true),
            "contents.parts.functionResponse.willContinue",
        ),
        (
            "functionResponse",
            "scheduling",
            json!("SILENT"),
            "contents.parts.functionResponse.scheduling",
        ),
        ("inlineData", "displayName", json!("T"), "contents.parts.inlineData.displayName"),
    ] {
        let unused: &[&str] = if kind == "inlineData" { &["name"] } else { &["mimeType", "data"] };
        let body = strip(with(kind, name, value), unused);
        for told in told(Form::Generate, &body) {
            assert_eq!(told, expected, "{kind}.{name} at {path}");
        }
    }
    // Two parts in one.
    let body = json!({"contents": [{"parts": [{"text": "t", "inlineData": {"mimeType": "image/png", "data": "AAAA"}}]}]});
    for told in told(Form::Generate, &body) {
        assert_eq!(told, "!contents.parts.inlineData");
    }
    let body = json!({"contents": [{"parts": [{"functionResponse": {"name": "f", "parts": [{"fileData": {"fileUri": "gs://x"}}]}}]}]});
    for told in told(Form::Generate, &body) {
        assert_eq!(told, "!contents.parts.functionResponse.parts.fileData");
    }
}

#[test]
fn of_two_words_for_one_thing_the_second_is_told() {
    let both = asks_chat(json!({"max_tokens": 5000, "max_completion_tokens": 6000}));
    assert_eq!(told(Form::Chat, &both), ["max_tokens"; 3]);
    let both = asks_chat(
        json!({"reasoning_effort": "low", "thinking": {"type": "enabled", "budget_tokens": 9000}}),
    );
    assert_eq!(told(Form::Chat, &both), ["thinking.budget_tokens"; 3]);
    let thinking = json!({"thinkingConfig": {"thinkingLevel": "LOW", "thinkingBudget": 9000}});
    let both = json!({"contents": [{"parts": [{"text": "t"}]}], "generationConfig": thinking});
    assert_eq!(told(Form::Generate, &both), ["generationConfig.thinkingConfig.thinkingBudget"; 3]);
    let mut fit = Fit::new(Form::Messages);
    fit.reasoning = super::Reasoning::Budget;
    let asked = Asked::new(Form::Generate, "M", both.to_string());
    let by_budget = request(&asked, "m", &fit, LENIENT).unwrap().dropped.unwrap();
    assert_eq!(by_budget, "generationConfig.thinkingConfig.thinkingLevel");
    let detailed = json!({"input": "Hi", "reasoning": {"summary": "detailed"}});
    assert_eq!(told(Form::Responses, &detailed), ["reasoning.summary"; 3]);
    let schemas = json!({"responseJsonSchema": schema(), "responseSchema": schema()});
    let both = json!({"contents": [{"parts": [{"text": "t"}]}], "generationConfig": schemas});
    assert_eq!(told(Form::Generate, &both), ["generationConfig.responseSchema"; 3]);
    let item = json!({"type": "input_image", "image_url": "https://x/a.png", "file_id": "f"});
    let both = json!({"input": [{"role": "user", "content": [item]}]});
    assert_eq!(told(Form::Responses, &both)[..2], ["input.content.file_id"; 2]);
}

#[test]
fn a_schemas_description_goes_into_the_schema() {
    let format = |schema: Value| {
        let format = json!({"name": "n", "description": "d", "schema": schema});
        asks_chat(json!({"response_format": {"type": "json_schema", "json_schema": format}}))
    };
    let plain = format(schema());
    assert_eq!(told(Form::Chat, &plain), ["", "", ""]);
    for to in [Form::Messages, Form::Generate] {
        let (sent, _) = sent((Form::Chat, to), &plain, LENIENT).unwrap();
        assert!(sent.contains(r#""description":"d""#), "{to}: {sent}");
    }
    let own = format(json!({"type": "object", "description": "other"}));
    let lost = "response_format.json_schema.description";
    assert_eq!(told(Form::Chat, &own), ["", lost, lost]);
}

#[test]
fn citations_tiers_and_thoughts_are_told_where_they_have_no_place() {
    let cited = json!({"type": "text", "text": "t", "citations": [{"url": "https://x"}]});
    let ask = json!({"role": "user", "content": "Hi"});
    let body = json!({"max_tokens": 99, "messages": [ask, {"role": "assistant", "content": [cited]}, ask]});
    assert_eq!(told(Form::Messages, &body), ["citations"; 3]);
    let body = json!({"max_tokens": 99, "messages": [ask], "service_tier": "standard_only"});
    assert_eq!(told(Form::Messages, &body), ["", "", "service_tier"]);
    for to in [Form::Chat, Form::Responses] {
        let (sent, _) = sent((Form::Messages, to), &body, LENIENT).unwrap();
        assert!(sent.contains(r#""service_tier":"default""#), "{to}: {sent}");
    }
    let blocks = json!([{"type": "redacted_thinking", "data": "tollway:messages:c2ln"}]);
    let said = json!({"role": "assistant", "content": "t", "reasoning_content": "A", "thinking_blocks": blocks});
    let body = json!({"messages": [ask, said, ask]});
    let (sent_on, _) = sent((Form::Chat, Form::Generate), &body, LENIENT).unwrap();
    assert!(sent_on.contains(r#""text":"A","thought":true"#), "{sent_on}");
    let item = json!({"type": "reasoning", "id": "rs_1", "summary": []});
    let body = json!({"input": [item, {"role": "user", "content": "Hi"}]});
    assert_eq!(told(Form::Responses, &body), ["input.reasoning"; 3]);
}

#[test]
fn what_only_the_other_side_can_have_said_is_refused() {
    let call = json!({"type": "tool_use", "id": "c", "name": "f", "input": {}});
    let result = json!({"type": "tool_result", "tool_use_id": "c", "content": "r"});
    for (role, block) in [("user", call), ("assistant", result)] {
        let body = json!({"max_tokens": 9, "messages": [{"role": role, "content": [block]}]});
        assert_eq!(told(Form::Messages, &body), ["!messages"; 3]);
    }
    let part = json!({"functionCall": {"name": "f"}});
    let body = json!({"contents": [{"role": "user", "parts": [part]}]});
    assert_eq!(told(Form::Generate, &body), ["!contents"; 3]);
}

#[test]
fn googles_order_of_properties_is_the_one_they_stand_in() {
    let ordered = json!({"type": "OBJECT", "properties": {"a": {}, "b": {}, "c": {}},
        "propertyOrdering": ["c", "a"]});
    let config = json!({"responseMimeType": "application/json", "responseSchema": ordered});
    let body = json!({"contents": [{"parts": [{"text": "t"}]}], "generationConfig": config});
    let (sent, told) = sent((Form::Generate, Form::Chat), &body, LENIENT).unwrap();
    assert!(sent.contains(r#""properties":{"c":{},"a":{},"b":{}}"#), "{sent}");
    assert_eq!(told, "");
}
