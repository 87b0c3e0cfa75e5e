//! The simulated provider in Anthropic's dialect: Messages, its checks, its errors.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests: a panic is how they fail")]

mod simulate_common;

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use simulate_common::{Reply, plain, request, send, with};
use tollway::simulate::{SimulateConfig, Simulator, input_tokens};
use tollway_core::{SystemClock, WallClock};

const MESSAGES: &str = "/v1/messages";
const VERSION: &str = "2023-06-01";

async fn at(simulator: &Simulator, path: &str, control: &str, body: &Value) -> Reply {
    let headers = [("anthropic-version", VERSION), ("x-simulate", control)];
    send(simulator, request(Method::POST, path, &headers, body.to_string())).await
}

async fn post(simulator: &Simulator, body: &Value) -> Reply {
    at(simulator, MESSAGES, "", body).await
}

async fn controlled(simulator: &Simulator, control: &str, body: &Value) -> Reply {
    at(simulator, MESSAGES, control, body).await
}

async fn get(simulator: &Simulator, path: &str) -> Reply {
    let headers = [("anthropic-version", VERSION)];
    send(simulator, request(Method::GET, path, &headers, "")).await
}

fn ask() -> Value {
    json!({
        "model": "claude-sonnet-4-5", "max_tokens": 1000,
        "messages": [{"role": "user", "content": "Hello there"}],
    })
}

fn streamed(body: &Value) -> Value {
    with(body.clone(), json!({"stream": true}))
}

fn said(messages: Value) -> Value {
    with(ask(), json!({"messages": messages}))
}

fn tools() -> Value {
    json!([
        {"name": "get_time", "input_schema": {"type": "object"}},
        {"name": "get_weather", "description": "Of a city", "input_schema": {
            "type": "object", "required": ["city", "wet"], "properties": {
                "city": {"type": "string"}, "wet": {"type": "boolean"},
            },
        }},
    ])
}

/// The events of a stream: each is one frame, and its name is its type.
fn events(reply: &Reply) -> Vec<Value> {
    assert_eq!(reply.header("content-type"), "text/event-stream; charset=utf-8");
    let frames = reply.frames.iter().map(|frame| std::str::from_utf8(frame).unwrap());
    frames
        .map(|event| {
            let lines = event.strip_prefix("event: ").unwrap().strip_suffix("\n\n").unwrap();
            let (name, data) = lines.split_once("\ndata: ").unwrap();
            let data: Value = serde_json::from_str(data).unwrap();
            assert_eq!(data["type"], name);
            data
        })
        .collect()
}

/// The message that a stream adds up to, as an SDK adds it up.
fn added_up(events: &[Value]) -> Value {
    let mut message = events[0]["message"].clone();
    let mut pieces: Vec<String> = Vec::new();
    for event in events {
        let index = || usize::try_from(event["index"].as_u64().unwrap()).unwrap();
        match event["type"].as_str().unwrap() {
            "content_block_start" => {
                assert_eq!(index(), pieces.len());
                message["content"].as_array_mut().unwrap().push(event["content_block"].clone());
                pieces.push(String::new());
            }
            "content_block_delta" => {
                let (block, delta) = (&mut message["content"][index()], &event["delta"]);
                for key in ["text", "thinking", "signature"] {
                    if let Some(piece) = delta[key].as_str() {
                        let so_far = block[key].as_str().unwrap();
                        block[key] = json!(format!("{so_far}{piece}"));
                    }
                }
                pieces[index()] += delta["partial_json"].as_str().unwrap_or_default();
            }
            "content_block_stop" if !pieces[index()].is_empty() => {
                message["content"][index()]["input"] =
                    serde_json::from_str(&pieces[index()]).unwrap();
            }
            "message_delta" => {
                message["stop_reason"] = event["delta"]["stop_reason"].clone();
                if event.get("usage").is_some() {
                    message["usage"] = event["usage"].clone();
                }
            }
            _ => {}
        }
    }
    message
}

/// The same request whole and streamed, each the first of its simulator, says the same.
async fn both(body: &Value, control: &str) -> Value {
    let whole = controlled(&plain(), control, body).await;
    assert_eq!(whole.status, 200, "{}", whole.text());
    let stream = controlled(&plain(), control, &streamed(body)).await;
    let events = events(&stream);
    assert_eq!(events.last().unwrap()["type"], "message_stop");
    assert_eq!(added_up(&events), whole.json());
    whole.json()
}

#[tokio::test]
async fn a_message() {
    let simulator = plain();
    let reply = post(&simulator, &ask()).await;
    assert_eq!(reply.header("content-type"), "application/json");
    assert!(reply.header("request-id").starts_with("req_01"));
    assert!(!reply.header("anthropic-organization-id").is_empty());
    assert_eq!(reply.header("x-request-id"), "");
    let body = reply.json();
    assert!(body["id"].as_str().unwrap().starts_with("msg_01"));
    assert_eq!((&body["type"], &body["role"]), (&json!("message"), &json!("assistant")));
    assert_eq!(body["model"], "claude-sonnet-4-5");
    let text = body["content"][0]["text"].as_str().unwrap();
    assert!(text.starts_with("Hello there ") && text.split(' ').count() == 16, "{text}");
    assert_eq!(body["stop_reason"], "end_turn");
    let input = input_tokens(["Hello there"]);
    let usage = json!({
        "input_tokens": input, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": 16, "service_tier": "standard",
    });
    assert_eq!(body["usage"], usage);
    assert_eq!(simulator.stats().tokens, input + 16);
    for path in ["/messages", "/anthropic/v1/messages"] {
        assert_eq!(at(&plain(), path, "", &ask()).await.json()["type"], "message", "{path}");
    }
}

#[tokio::test]
async fn a_stream_has_the_events_of_the_real_one() {
    let body = with(streamed(&ask()), json!({"max_tokens": 2}));
    let events = events(&post(&plain(), &body).await);
    let names: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    let expected = [
        "message_start",
        "content_block_start",
        "ping",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ];
    assert_eq!(names, expected);
    assert_eq!(events[0]["message"]["content"], json!([]));
    assert_eq!(events[0]["message"]["stop_reason"], Value::Null);
    assert_eq!(events[0]["message"]["usage"]["output_tokens"], 1);
    assert_eq!(events[1]["content_block"], json!({"type": "text", "text": ""}));
    assert_eq!(events[3]["delta"], json!({"type": "text_delta", "text": "Hello"}));
    assert_eq!(events[6]["delta"], json!({"stop_reason": "max_tokens", "stop_sequence": null}));
    assert_eq!(events[6]["usage"]["output_tokens"], 2);
}

#[tokio::test]
async fn streams_add_up_to_the_whole_reply() {
    both(&ask(), "").await;
    both(&with(ask(), json!({"tools": tools()})), "calls=3").await;
    let thinks =
        json!({"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 2000});
    both(&with(ask(), thinks.clone()), "").await;
    both(&with(with(ask(), thinks), json!({"tools": tools()})), "calls=2").await;
    both(&with(ask(), json!({"max_tokens": 0})), "").await;
    let refused = both(&ask(), "refuse").await;
    assert_eq!((&refused["stop_reason"], &refused["content"]), (&json!("refusal"), &json!([])));
}

#[tokio::test]
async fn tools_are_called() {
    let named = json!({"type": "tool", "name": "get_weather"});
    let body = with(ask(), json!({"tools": tools(), "tool_choice": named}));
    let reply = both(&body, "").await;
    assert_eq!(reply["stop_reason"], "tool_use");
    let call = &reply["content"][0];
    assert!(call["id"].as_str().unwrap().starts_with("toolu_01"));
    assert_eq!(
        (&call["type"], &call["name"], &call["input"]),
        (&json!("tool_use"), &json!("get_weather"), &json!({"city": "Hello there", "wet": true}))
    );
    let events = events(&post(&plain(), &streamed(&body)).await);
    assert_eq!(events[3]["delta"], json!({"type": "input_json_delta", "partial_json": ""}));
    assert!(events.iter().filter(|event| event["type"] == "content_block_delta").count() > 3);

    let several = with(ask(), json!({"tools": tools()}));
    let reply = both(&several, "calls=3").await;
    let names: Vec<&Value> =
        reply["content"].as_array().unwrap().iter().map(|call| &call["name"]).collect();
    assert_eq!(names, ["get_time", "get_weather", "get_time"]);
    assert_ne!(reply["content"][0]["id"], reply["content"][2]["id"]);
    for choice in ["auto", "any"] {
        let one = json!({"type": choice, "disable_parallel_tool_use": true});
        let one = both(&with(several.clone(), json!({"tool_choice": one})), "calls=3").await;
        assert_eq!(one["content"].as_array().unwrap().len(), 1);
    }
    let none = both(&with(several, json!({"tool_choice": {"type": "none"}})), "").await;
    assert_eq!(none["content"][0]["type"], "text");
}

fn called(results: Value) -> Value {
    let call = |id: &str| json!({"type": "tool_use", "id": id, "name": "get_time", "input": {}});
    let messages = json!([
        {"role": "user", "content": "What time is it"},
        {"role": "assistant", "content": [{"type": "text", "text": "I look."}, call("a"), call("b")]},
        {"role": "user", "content": results},
    ]);
    with(said(messages), json!({"tools": tools()}))
}

fn result(id: &str) -> Value {
    json!({"type": "tool_result", "tool_use_id": id, "content": "noon"})
}

#[tokio::test]
async fn results_answer_their_calls() {
    let after = json!({"type": "text", "text": "Well?"});
    for results in [json!([result("b"), result("a")]), json!([result("a"), result("b"), after])] {
        let reply = both(&called(results), "").await;
        assert_eq!(reply["content"][0]["type"], "text");
    }
    for (results, text) in [
        (
            json!([result("a")]),
            "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: b.",
        ),
        (json!("noon"), "`tool_result` blocks immediately after: a, b."),
        (json!([after, result("a"), result("b")]), "immediately after: a, b."),
        (
            json!([result("a"), result("b"), result("c")]),
            "unexpected `tool_use_id` found in `tool_result` blocks: c.",
        ),
        (
            json!([result("a"), result("b"), result("b")]),
            "each tool_use must have a single result.",
        ),
    ] {
        let refusal = post(&plain(), &called(results.clone())).await.refusal();
        assert!(refusal.contains(text), "{results}: {refusal}");
    }
    let mut early = called(json!([result("a"), result("b")]));
    early["messages"].as_array_mut().unwrap().truncate(2);
    assert!(post(&plain(), &early).await.refusal().contains("immediately after: a, b."));
    // Messages of the same role are one.
    let mut split = called(json!([result("a")]));
    let more = json!({"role": "user", "content": [result("b")]});
    split["messages"].as_array_mut().unwrap().push(more);
    assert_eq!(post(&plain(), &split).await.status, 200);
}

#[tokio::test]
async fn thoughts_come_back_unchanged_or_not_at_all() {
    let thinking =
        json!({"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 2000});
    let body = with(with(ask(), thinking.clone()), json!({"tools": tools()}));
    let reply = both(&body, "").await;
    let thought = &reply["content"][0];
    assert_eq!(thought["type"], "thinking");
    assert!(thought["thinking"].as_str().unwrap().starts_with("Let me think:"));
    assert_eq!(reply["usage"]["output_tokens_details"]["thinking_tokens"], 8);
    let id = reply["content"][1]["id"].as_str().unwrap().to_owned();
    let again = |content: Value| {
        let messages = json!([
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": content},
            {"role": "user", "content": [result(&id)]},
        ]);
        with(body.clone(), json!({"messages": messages}))
    };
    assert_eq!(post(&plain(), &again(reply["content"].clone())).await.status, 200);
    let other = Simulator::new(SimulateConfig { seed: 1, ..SimulateConfig::default() });
    let refusal = post(&other, &again(reply["content"].clone())).await.refusal();
    assert_eq!(refusal, "messages.1.content.0: Invalid `signature` in `thinking` block");
    let mut changed = reply["content"].clone();
    changed[0]["thinking"] = json!("Something else");
    assert!(post(&plain(), &again(changed)).await.refusal().contains("Invalid `signature`"));
    let without = json!([reply["content"][1]]);
    assert!(post(&plain(), &again(without)).await.refusal().contains("Expected `thinking`"));

    let newer =
        json!({"model": "claude-opus-4-7", "thinking": {"type": "adaptive", "display": "omitted"}});
    let silent = both(&with(ask(), newer), "").await;
    assert_eq!(silent["content"][0]["thinking"], "");
    assert!(!silent["content"][0]["signature"].as_str().unwrap().is_empty());
    assert_eq!(silent["content"][1]["type"], "text");
}

#[tokio::test]
async fn structured_output_follows_its_schema() {
    let schema = json!({
        "type": "object", "required": ["name", "age"], "additionalProperties": false,
        "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    });
    let format = |schema: &Value| {
        let format = json!({"type": "json_schema", "schema": schema});
        with(ask(), json!({"output_config": {"format": format}}))
    };
    let reply = both(&format(&schema), "").await;
    let text: Value = serde_json::from_str(reply["content"][0]["text"].as_str().unwrap()).unwrap();
    assert!(jsonschema::is_valid(&schema, &text), "{text}");
    let mut open = schema.clone();
    open.as_object_mut().unwrap().remove("additionalProperties");
    let text = "output_config.format.schema: For 'object' type, 'additionalProperties' must be \
                explicitly set to false";
    assert_eq!(post(&plain(), &format(&open)).await.refusal(), text);
    let mut bounded = schema;
    bounded["properties"]["age"]["minimum"] = json!(1);
    assert!(
        post(&plain(), &format(&bounded)).await.refusal().contains("'minimum' is not supported")
    );
}

#[tokio::test]
async fn images_and_documents_are_counted() {
    let image =
        json!({"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}});
    let data = json!({"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="});
    let pdf = json!({"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="});
    let content = json!([
        image, {"type": "image", "source": data}, {"type": "document", "source": pdf},
        {"type": "text", "text": "What is it"},
    ]);
    let body =
        with(said(json!([{"role": "user", "content": content}])), json!({"system": "Be brief"}));
    let reply = both(&body, "").await;
    let input = input_tokens(["What is it", "Be brief"]) + 3 * 258;
    assert_eq!(reply["usage"]["input_tokens"], input);
    let mut counted = body;
    counted.as_object_mut().unwrap().remove("max_tokens");
    let reply = at(&plain(), "/v1/messages/count_tokens", "", &counted).await;
    assert_eq!(reply.json(), json!({"input_tokens": input}));
}

#[tokio::test(start_paused = true)]
async fn a_cached_prefix_is_written_and_then_read() {
    let simulator = plain();
    let system =
        json!([{"type": "text", "text": "x".repeat(4000), "cache_control": {"type": "ephemeral"}}]);
    let body = with(ask(), json!({"system": system}));
    let usage = |reply: Reply| reply.json()["usage"].clone();
    let first = usage(post(&simulator, &body).await);
    assert_eq!(
        (&first["input_tokens"], &first["cache_creation_input_tokens"]),
        (&json!(7), &json!(1004))
    );
    assert_eq!(first["cache_creation"]["ephemeral_5m_input_tokens"], 1004);
    let second = usage(post(&simulator, &body).await);
    assert_eq!(
        (&second["input_tokens"], &second["cache_read_input_tokens"]),
        (&json!(7), &json!(1004))
    );
    assert_eq!(second["cache_creation_input_tokens"], 0);
    tokio::time::advance(Duration::from_secs(301)).await;
    assert_eq!(usage(post(&simulator, &body).await)["cache_creation_input_tokens"], 1004);
    let five = json!([1, 2, 3, 4, 5].map(|_| system[0].clone()));
    let refusal = post(&simulator, &with(ask(), json!({"system": five}))).await.refusal();
    assert_eq!(refusal, "A maximum of 4 blocks with cache_control may be provided. Found 5.");
}

#[tokio::test]
async fn what_the_real_one_refuses() {
    let user = |content: Value| json!({"messages": [{"role": "user", "content": content}]});
    let assistant = |content: Value| json!([{"role": "user", "content": "x"}, {"role": "assistant", "content": content}]);
    for (fields, text) in [
        (json!({"n": 2}), "n: Extra inputs are not permitted"),
        (json!({"thread": {"type": "create"}}), "thread: Extra inputs are not permitted"),
        (json!({"temperature": 1.5}), "temperature: Input should be less than or equal to 1"),
        (
            json!({"temperature": 1, "top_p": 0.5}),
            "`temperature` and `top_p` cannot both be specified",
        ),
        (json!({"max_tokens": "x"}), "max_tokens: Input should be a valid integer"),
        (json!({"messages": []}), "messages: at least one message is required"),
        (
            json!({"messages": [{"role": "system", "content": "x"}]}),
            "messages: Unexpected role \"system\".",
        ),
        (
            json!({"messages": [{"role": "tool", "content": "x"}]}),
            "messages.0.role: Input should be 'user' or 'assistant'",
        ),
        (
            json!({"messages": [{"role": "user", "content": "x", "name": "y"}]}),
            "messages.0.name: Extra inputs are not permitted",
        ),
        (user(json!("")), "messages.0: all messages must have non-empty content"),
        (
            user(json!([{"type": "text", "text": ""}])),
            "messages: text content blocks must be non-empty",
        ),
        (
            user(json!([{"type": "image_url"}])),
            "messages.0.content.0: Input tag 'image_url' found using 'type'",
        ),
        (
            user(json!([{"type": "text", "text": "x", "id": 1}])),
            "messages.0.content.0.text.id: Extra inputs are not permitted",
        ),
        (
            user(
                json!([{"type": "image", "source": {"type": "base64", "media_type": "image/tiff", "data": "AAAA"}}]),
            ),
            "media_type: Input should be 'image/jpeg', 'image/png', 'image/gif' or 'image/webp'",
        ),
        (
            json!({"messages": assistant(json!("x "))}),
            "final assistant content cannot end with trailing whitespace",
        ),
        (
            json!({"messages": assistant(json!("x")), "model": "claude-opus-4-6"}),
            "does not support assistant message prefill",
        ),
        (
            json!({"messages": assistant(json!([{"type": "tool_use", "id": "a.b", "name": "f", "input": {}}]))}),
            "tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'",
        ),
        (
            json!({"messages": assistant(json!([{"type": "tool_use", "id": "a", "name": "f", "input": "{}"}]))}),
            "tool_use.input: Input should be a valid dictionary",
        ),
        (
            json!({"system": [{"type": "text", "text": ""}]}),
            "system: text content blocks must be non-empty",
        ),
        (json!({"stop_sequences": [" "]}), "each stop sequence must contain non-whitespace"),
        (
            json!({"tool_choice": {"type": "auto"}}),
            "tool_choice may only be specified while providing tools.",
        ),
        (
            json!({"tools": [{"name": "f", "parameters": {}}]}),
            "tools.0.custom.parameters: Extra inputs are not permitted",
        ),
        (json!({"tools": [{"name": "f"}]}), "tools.0.custom.input_schema: Field required"),
        (
            json!({"tools": tools(), "tool_choice": "auto"}),
            "tool_choice: Input should be a valid dictionary",
        ),
        (
            json!({"tools": tools(), "tool_choice": {"type": "tool", "name": "nobody"}}),
            "Tool 'nobody' not found in provided tools",
        ),
        (
            json!({"thinking": {"type": "enabled", "budget_tokens": 100}}),
            "greater than or equal to 1024",
        ),
        (
            json!({"thinking": {"type": "enabled", "budget_tokens": 1024}}),
            "`max_tokens` must be greater than",
        ),
        (
            json!({"thinking": {"type": "adaptive"}}),
            "adaptive thinking is not supported on this model",
        ),
        (
            json!({"thinking": {"type": "enabled", "budget_tokens": 1024}, "model": "claude-opus-4-7", "max_tokens": 2000}),
            "is not supported for this model",
        ),
        (
            json!({"temperature": 0.5, "model": "claude-opus-4-7"}),
            "`temperature` is deprecated for this model.",
        ),
        (json!({"metadata": {"trace": "x"}}), "metadata.trace: Extra inputs are not permitted"),
    ] {
        let reply = post(&plain(), &with(ask(), fields.clone())).await;
        let refusal = reply.refusal();
        assert!(refusal.contains(text), "{fields}: {refusal}");
        assert_eq!(reply.json()["error"]["type"], "invalid_request_error");
        assert_eq!(reply.json()["request_id"], reply.header("request-id"));
    }
    let mut unbounded = ask();
    unbounded.as_object_mut().unwrap().remove("max_tokens");
    assert_eq!(post(&plain(), &unbounded).await.refusal(), "max_tokens: Field required");
}

#[tokio::test]
async fn versions_and_paths() {
    let send_with = |version: &'static str, body: Value| async move {
        let headers = [("anthropic-version", version)];
        send(&plain(), request(Method::POST, MESSAGES, &headers, body.to_string())).await
    };
    assert_eq!(send_with("", ask()).await.refusal(), "anthropic-version: header is required");
    assert!(send_with("2020-01-01", ask()).await.refusal().contains("is not a valid version"));
    let cool = with(ask(), json!({"temperature": 1}));
    assert_eq!(send_with("2023-06-01", cool.clone()).await.status, 200);
    let refusal = send_with("2026-10-21", cool).await.refusal();
    assert_eq!(refusal, "temperature: Extra inputs are not permitted");
    assert_eq!(get(&plain(), MESSAGES).await.error(405)["message"], "Method Not Allowed");
    assert_eq!(
        at(&plain(), "/v1/messages/batches", "", &ask()).await.error(404)["type"],
        "not_found_error"
    );
    let models = get(&plain(), "/v1/models").await.json();
    assert_eq!((&models["has_more"], &models["data"][0]["type"]), (&json!(false), &json!("model")));
    assert_eq!(models["first_id"], models["data"][0]["id"]);
    let model = get(&plain(), "/v1/models/claude-opus-5-5").await.json();
    assert_eq!((&model["id"], &model["type"]), (&json!("claude-opus-5-5"), &json!("model")));
    let openai = send(&plain(), request(Method::GET, "/v1/models", &[], "")).await.json();
    assert_eq!(openai["object"], "list");
}

/// Every error as the samples have it.
#[tokio::test]
async fn errors_by_header() {
    for (control, status, kind, message) in [
        ("status=401", 401, "authentication_error", "invalid x-api-key"),
        (
            "status=402",
            402,
            "billing_error",
            "There is an issue with your billing or payment information.",
        ),
        ("status=403", 403, "permission_error", "permission"),
        ("status=413", 413, "request_too_large", "Request exceeds the maximum size"),
        (
            "status=429",
            429,
            "rate_limit_error",
            "This request would exceed your organization's rate limit",
        ),
        ("status=500", 500, "api_error", "Internal server error"),
        ("status=504", 504, "timeout_error", "timed out"),
        (
            "status=529; retry_after=3; hint=3s",
            529,
            "overloaded_error",
            "Overloaded Please try again in 3s.",
        ),
        ("speed=9", 400, "invalid_request_error", "late_error"),
    ] {
        let reply = controlled(&plain(), control, &ask()).await;
        let error = reply.error(status);
        assert_eq!(error["type"], kind, "{control}");
        assert!(error["message"].as_str().unwrap().contains(message), "{error}");
        assert_eq!(reply.json()["type"], "error");
        assert_eq!(reply.json()["request_id"], reply.header("request-id"));
        let retry = if matches!(status, 429 | 529) { "true" } else { "" };
        assert_eq!(reply.header("x-should-retry"), retry);
        assert_eq!(reply.header("retry-after"), if status == 529 { "3" } else { "" });
    }
    let quota = controlled(&plain(), "quota", &ask()).await;
    let expected = json!({
        "type": "rate_limit_error",
        "message": "Your organization has reached the monthly spend cap of its usage tier.",
        "details": {"error_code": "enforced_spend_limit_reached"},
    });
    assert_eq!(quota.error(429), expected);
    assert_eq!((quota.header("retry-after"), quota.header("x-should-retry")), ("", ""));
    let page = controlled(&plain(), "status=502; body=garbage", &ask()).await;
    assert_eq!((page.status.as_u16(), page.header("content-type")), (502, "text/html"));
}

#[tokio::test(start_paused = true)]
async fn faults_in_streams() {
    let body = streamed(&ask());
    let late = controlled(&plain(), "late_error=first", &body).await;
    let error = events(&late);
    assert_eq!(error.len(), 1);
    assert_eq!(error[0]["error"], json!({"type": "overloaded_error", "message": "Overloaded"}));
    assert_eq!(error[0]["request_id"], late.header("request-id"));
    let midway = events(&controlled(&plain(), "late_error=after:2", &body).await);
    assert_eq!(midway.len(), 3 + 2 + 1);
    assert_eq!(midway[5]["type"], "error");
    let cut = controlled(&plain(), "truncate=after:3", &body).await;
    assert!(!cut.broken && cut.frames.len() == 7 && !cut.text().ends_with('\n'));
    assert!(controlled(&plain(), "reset=after:1", &body).await.broken);
    let malformed = controlled(&plain(), "malformed=after:1", &body).await;
    assert!(malformed.frames[4].starts_with(b"event: content_block_delta\ndata: {"));
    assert!(std::str::from_utf8(&malformed.frames[4]).is_err());
    assert!(
        malformed.text().ends_with("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n")
    );
    let uncounted = events(&controlled(&plain(), "no_usage", &body).await);
    assert!(uncounted.iter().all(|event| event.get("usage").is_none()));
    assert!(uncounted[0]["message"].get("usage").is_none());
    let whole = controlled(&plain(), "late_error=first", &ask()).await;
    assert_eq!((whole.status.as_u16(), &whole.json()["type"]), (200, &json!("error")));
    // With thoughts before the text, a fault after all content is after both.
    let thinks =
        json!({"thinking": {"type": "adaptive"}, "model": "claude-opus-5-5", "max_tokens": 12});
    let reply = controlled(&plain(), "late_error=after:99", &with(body, thinks)).await;
    let deltas = events(&reply);
    let deltas = deltas.iter().filter(|event| event["delta"]["type"] == "text_delta").count();
    assert_eq!(deltas, 4);
}

#[tokio::test(start_paused = true)]
async fn limits_are_told_in_dates() {
    let config = SimulateConfig {
        requests_per_minute: Some(1),
        tokens_per_minute: Some(100),
        ..SimulateConfig::default()
    };
    let simulator = Simulator::new(config);
    let before = jiff::Timestamp::try_from(SystemClock.now()).unwrap();
    let reply = post(&simulator, &ask()).await;
    assert_eq!(reply.header("anthropic-ratelimit-requests-limit"), "1");
    assert_eq!(reply.header("anthropic-ratelimit-requests-remaining"), "0");
    assert_eq!(reply.header("anthropic-ratelimit-tokens-limit"), "100");
    assert_eq!(reply.header("anthropic-ratelimit-tokens-remaining"), (100 - 23).to_string());
    let reset: jiff::Timestamp =
        reply.header("anthropic-ratelimit-requests-reset").parse().unwrap();
    let left = reset.duration_since(before).as_secs();
    assert!((60..=90).contains(&left), "{left}");
    assert_eq!(reply.header("x-ratelimit-limit-requests"), "");
    let full = post(&simulator, &ask()).await;
    let error = full.error(429);
    assert_eq!(error["type"], "rate_limit_error");
    let text = "This request would exceed your organization's rate limit of 1 requests per minute.";
    assert_eq!(error["message"], text);
    assert_eq!((full.header("retry-after"), full.header("x-should-retry")), ("60", "true"));
    assert_eq!(full.header("anthropic-ratelimit-requests-remaining"), "0");
    // The windows are the same for every dialect.
    let chat = json!({"model": "m", "messages": [{"role": "user", "content": "x"}]}).to_string();
    let other = send(&simulator, request(Method::POST, "/v1/chat/completions", &[], chat)).await;
    assert_eq!(other.status, 429);
}
