//! The simulated provider: every path, every control, limits, pacing, and a real socket.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests: a panic is how they fail")]

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tokio::time::Instant;
use tollway::simulate::{SimulateConfig, Simulator, input_tokens};
use tower::ServiceExt;

/// A reply, read to its end.
struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    frames: Vec<Bytes>,
    /// The body ended in an error.
    broken: bool,
}

impl Reply {
    fn bytes(&self) -> Vec<u8> {
        self.frames.concat()
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes()).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    fn error(&self) -> Value {
        self.json()["error"].clone()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The `data:` of every event, each of which must be one frame.
    fn data(&self) -> Vec<String> {
        assert_eq!(self.header("content-type"), "text/event-stream; charset=utf-8");
        let frames = self.frames.iter().map(|frame| std::str::from_utf8(frame).unwrap());
        frames
            .map(|event| {
                assert!(event.ends_with("\n\n") && event.matches("\n\n").count() == 1, "{event:?}");
                event.lines().find_map(|line| line.strip_prefix("data: ")).unwrap().to_owned()
            })
            .collect()
    }

    fn chunks(&self) -> Vec<Value> {
        let data = self.data();
        let chunks = data.iter().filter(|data| *data != "[DONE]");
        chunks.map(|data| serde_json::from_str(data).unwrap()).collect()
    }
}

async fn send(simulator: &Simulator, request: Request<Full<Bytes>>) -> Reply {
    let response = simulator.clone().oneshot(request).await.unwrap();
    let (parts, mut body) = response.into_parts();
    let (mut frames, mut broken) = (Vec::new(), false);
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => frames.push(frame.into_data().unwrap()),
            Err(_) => broken = true,
        }
    }
    Reply { status: parts.status, headers: parts.headers, frames, broken }
}

fn request(method: Method, path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::builder().method(method).uri(path).body(Full::new(body.into())).unwrap()
}

async fn post(simulator: &Simulator, path: &str, body: Value) -> Reply {
    send(simulator, request(Method::POST, path, body.to_string())).await
}

async fn get(simulator: &Simulator, path: &str) -> Reply {
    send(simulator, request(Method::GET, path, "")).await
}

fn ask() -> Value {
    json!({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello there"}]})
}

fn with(mut base: Value, fields: Value) -> Value {
    for (name, value) in fields.as_object().unwrap() {
        base[name] = value.clone();
    }
    base
}

const CHAT: &str = "/v1/chat/completions";

async fn controlled(simulator: &Simulator, control: &str, body: Value) -> Reply {
    let mut request = request(Method::POST, CHAT, body.to_string());
    request.headers_mut().insert("x-simulate", control.parse().unwrap());
    send(simulator, request).await
}

fn plain() -> Simulator {
    Simulator::new(SimulateConfig::default())
}

fn streamed() -> Value {
    with(ask(), json!({"stream": true}))
}

#[tokio::test]
async fn a_chat_reply() {
    let simulator = plain();
    let reply = post(&simulator, CHAT, ask()).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.frames.len(), 1);
    assert_eq!(reply.header("content-type"), "application/json");
    assert!(reply.header("x-request-id").starts_with("req_"));
    assert_eq!(reply.header("openai-version"), "2020-10-01");
    assert_eq!(reply.header("openai-processing-ms"), "0");
    let body = reply.json();
    assert_eq!(body["object"], "chat.completion");
    assert_eq!(body["model"], "gpt-4o-mini");
    let choice = &body["choices"][0];
    let content = choice["message"]["content"].as_str().unwrap();
    assert!(content.starts_with("Hello there "), "{content}");
    assert_eq!(content.split(' ').count(), 16);
    assert_eq!(choice["finish_reason"], "stop");
    let input = input_tokens(["Hello there"]);
    assert_eq!(body["usage"]["prompt_tokens"], input);
    assert_eq!(body["usage"]["completion_tokens"], 16);
    assert_eq!(body["usage"]["total_tokens"], input + 16);
    let stats = simulator.stats();
    assert_eq!((stats.requests, stats.accepted, stats.tokens), (1, 1, input + 16));
    assert_eq!((stats.cancelled, stats.errors), (0, 0));
}

#[tokio::test]
async fn paths_with_and_without_the_prefix() {
    for path in
        ["/chat/completions", "/openai/v1/chat/completions", "/v1beta/openai/chat/completions"]
    {
        assert_eq!(post(&plain(), path, ask()).await.status, 200, "{path}");
    }
    let wrong = get(&plain(), CHAT).await;
    assert_eq!(wrong.status, 405);
    let unknown = post(&plain(), "/v1/brains", json!({})).await;
    assert_eq!(unknown.status, 404);
    let error = json!({
        "message": "Invalid URL (POST /v1/brains)", "type": "invalid_request_error",
        "param": null, "code": null,
    });
    assert_eq!(unknown.error(), error);
}

#[tokio::test]
async fn bounds_and_choices() {
    let body = with(ask(), json!({"max_tokens": 5, "n": 3}));
    let reply = post(&plain(), CHAT, body).await.json();
    assert_eq!(reply["choices"].as_array().unwrap().len(), 3);
    assert_eq!(reply["choices"][2]["index"], 2);
    assert_eq!(reply["choices"][2]["finish_reason"], "length");
    assert_eq!(reply["usage"]["completion_tokens"], 15);
    let newer = with(ask(), json!({"max_completion_tokens": 2, "max_tokens": 9}));
    let reply = post(&plain(), CHAT, newer).await.json();
    assert_eq!(reply["choices"][0]["message"]["content"], "Hello there");
}

#[tokio::test]
async fn a_stream_as_the_wire_reference_has_it() {
    let body = with(
        streamed(),
        json!({"n": 2, "max_tokens": 3, "stream_options": {"include_usage": true}}),
    );
    let simulator = plain();
    let reply = post(&simulator, CHAT, body).await;
    assert_eq!(reply.data().last().unwrap(), "[DONE]");
    let chunks = reply.chunks();
    assert_eq!(chunks.len(), 2 + 6 + 2 + 1);
    for chunk in &chunks {
        assert_eq!(chunk["id"], chunks[0]["id"]);
        assert_eq!(chunk["object"], "chat.completion.chunk");
        assert_eq!(chunk["model"], "gpt-4o-mini");
    }
    let first = json!({"role": "assistant", "content": "", "refusal": null});
    assert_eq!(chunks[0]["choices"][0]["delta"], first);
    assert_eq!(chunks[1]["choices"][0]["index"], 1);
    assert_eq!(chunks[2]["choices"][0]["delta"], json!({"content": "Hello"}));
    assert_eq!(chunks[4]["choices"][0]["delta"], json!({"content": " there"}));
    assert!(
        chunks[..10].iter().all(|chunk| chunk["usage"].is_null() && chunk.get("usage").is_some())
    );
    assert_eq!(chunks[8]["choices"][0]["delta"], json!({}));
    assert_eq!(chunks[9]["choices"][0]["finish_reason"], "length");
    assert_eq!(chunks[10]["choices"], json!([]));
    assert_eq!(chunks[10]["usage"]["completion_tokens"], 6);
    assert_eq!(simulator.stats().open_streams, 0);

    let reply = post(&simulator, CHAT, streamed()).await;
    assert!(reply.chunks().iter().all(|chunk| chunk.get("usage").is_none()));
    assert_eq!(reply.chunks().len(), 1 + 16 + 1);
}

fn tools() -> Value {
    json!([
        {"type": "function", "function": {"name": "get_time"}},
        {"type": "function", "function": {"name": "get_weather", "parameters": {
            "type": "object", "required": ["city", "unit", "days", "wet"], "properties": {
                "city": {"type": "string"}, "unit": {"enum": ["c", "f"]},
                "days": {"type": "integer"}, "wet": {"type": "boolean"},
            },
        }}},
    ])
}

fn weather() -> Value {
    let choice = json!({"type": "function", "function": {"name": "get_weather"}});
    with(ask(), json!({"tools": tools(), "tool_choice": choice}))
}

fn arguments() -> Value {
    json!({"city": "Hello there", "unit": "c", "days": 1, "wet": true})
}

#[tokio::test]
async fn a_tool_call_echoes() {
    let reply = post(&plain(), CHAT, weather()).await.json();
    let choice = &reply["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls");
    assert_eq!(choice["message"]["content"], Value::Null);
    let call = &choice["message"]["tool_calls"][0];
    assert_eq!(
        (&call["type"], &call["function"]["name"]),
        (&json!("function"), &json!("get_weather"))
    );
    let made: Value =
        serde_json::from_str(call["function"]["arguments"].as_str().unwrap()).unwrap();
    assert_eq!(made, arguments());

    let first = post(&plain(), CHAT, with(ask(), json!({"tools": tools()}))).await.json();
    let call = &first["choices"][0]["message"]["tool_calls"][0];
    assert_eq!(call["function"], json!({"name": "get_time", "arguments": "{}"}));
}

#[tokio::test]
async fn a_tool_call_in_a_stream() {
    let reply = post(&plain(), CHAT, with(weather(), json!({"stream": true}))).await;
    let chunks = reply.chunks();
    let call = |n: usize| chunks[n]["choices"][0]["delta"]["tool_calls"][0].clone();
    assert_eq!(chunks[0]["choices"][0]["delta"]["content"], Value::Null);
    let head = call(1);
    assert!(head["id"].as_str().unwrap().starts_with("call_"));
    assert_eq!(head["function"], json!({"name": "get_weather", "arguments": ""}));
    assert_eq!(head["type"], "function");
    let pieces: Vec<Value> = (2..chunks.len() - 1).map(call).collect();
    assert!(pieces.len() > 2);
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert!(pieces.iter().all(|piece| keys(piece) == ["function", "index"]));
    let text: String =
        pieces.iter().map(|piece| piece["function"]["arguments"].as_str().unwrap()).collect();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), arguments());
    assert_eq!(chunks.last().unwrap()["choices"][0]["finish_reason"], "tool_calls");
}

#[tokio::test]
async fn no_tool_call_after_a_result_or_when_told_so() {
    let mut done = weather();
    done["messages"] = json!([
        {"role": "user", "content": [{"type": "text", "text": "Oslo?"}, {"type": "image_url", "image_url": {"url": "data:,"}}]},
        {"role": "assistant", "content": null, "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
    ]);
    for body in [done, with(weather(), json!({"tool_choice": "none"}))] {
        let reply = post(&plain(), CHAT, body).await.json();
        assert!(reply["choices"][0]["message"]["content"].is_string(), "{reply}");
    }
    let unknown = json!({"type": "function", "function": {"name": "nobody"}});
    let reply = post(&plain(), CHAT, with(weather(), json!({"tool_choice": unknown}))).await;
    assert_eq!(
        (reply.status, &reply.error()["param"]),
        (StatusCode::BAD_REQUEST, &json!("tool_choice"))
    );
}

#[tokio::test]
async fn structured_output_follows_its_schema() {
    let schema = json!({
        "type": "object", "required": ["name", "steps"], "additionalProperties": false,
        "$defs": {"step": {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}},
        "properties": {
            "name": {"type": "string"}, "steps": {"type": "array", "items": {"$ref": "#/$defs/step"}},
        },
    });
    let format = json!({"type": "json_schema", "json_schema": {"name": "x", "strict": true, "schema": schema}});
    let reply = post(&plain(), CHAT, with(ask(), json!({"response_format": format}))).await.json();
    let content = reply["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(jsonschema::is_valid(&schema, &serde_json::from_str(content).unwrap()), "{content}");
    let body = with(ask(), json!({"response_format": {"type": "json_object"}}));
    let reply = post(&plain(), CHAT, body).await.json();
    let content = reply["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(serde_json::from_str::<Value>(content).unwrap().is_object());
}

#[tokio::test]
async fn bad_requests_in_openais_shape() {
    for (body, part) in [
        (&b"{\"model\":"[..], "could not parse"),
        (b"\xff\xfe", "could not parse"),
        (b"[1]", "Invalid request body"),
        (b"{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}", "model parameter"),
        (b"{\"model\":7,\"messages\":[]}", "expected a string"),
        (b"{\"model\":\"m\"}", "'messages'"),
        (b"{\"model\":\"m\",\"messages\":[],\"n\":-1}", "Invalid request body"),
    ] {
        let reply = send(&plain(), request(Method::POST, CHAT, body)).await;
        assert_eq!(reply.status, 400);
        let error = reply.error();
        assert!(error["message"].as_str().unwrap().contains(part), "{error}");
        assert_eq!(error["type"], "invalid_request_error");
    }
    let deep = format!("{{\"model\":\"m\",\"messages\":{}", "[".repeat(100_000));
    assert_eq!(send(&plain(), request(Method::POST, CHAT, deep)).await.status, 400);
}

#[tokio::test]
async fn old_completions() {
    let body = json!({"model": "m", "prompt": "one two", "max_tokens": 2, "stream": false});
    let reply = post(&plain(), "/v1/completions", body.clone()).await.json();
    assert_eq!(
        (&reply["object"], &reply["choices"][0]["text"]),
        (&json!("text_completion"), &json!("one two"))
    );
    let reply = post(&plain(), "/v1/completions", with(body, json!({"stream": true}))).await;
    let texts: Vec<_> = reply.chunks().iter().map(|c| c["choices"][0]["text"].clone()).collect();
    assert_eq!(texts, ["one", " two", ""]);
}

#[tokio::test]
async fn embeddings_are_unit_vectors_of_their_text() {
    let body = json!({"model": "text-embedding-3-small", "input": ["alpha", "beta", "alpha"], "dimensions": 8});
    let reply = post(&plain(), "/v1/embeddings", body.clone()).await.json();
    let vector = |n: usize| -> Vec<f32> {
        serde_json::from_value(reply["data"][n]["embedding"].clone()).unwrap()
    };
    assert_eq!((vector(0), vector(0).len()), (vector(2), 8));
    assert_ne!(vector(0), vector(1));
    let length: f32 = vector(1).iter().map(|v| v * v).sum();
    assert!((length - 1.0).abs() < 1e-5);
    assert_eq!(reply["usage"]["prompt_tokens"], input_tokens(["alpha", "beta", "alpha"]));

    let packed = with(body, json!({"encoding_format": "base64"}));
    let reply = post(&plain(), "/v1/embeddings", packed).await.json();
    let text = reply["data"][0]["embedding"].as_str().unwrap();
    assert_eq!(unpack(text), vector(0));
    for (input, vectors) in [(json!("x"), 1), (json!([1, 2, 3]), 1), (json!([[1, 2], [3]]), 2)] {
        let reply =
            post(&plain(), "/embeddings", json!({"model": "m", "input": input})).await.json();
        assert_eq!(reply["data"].as_array().unwrap().len(), vectors);
        assert_eq!(reply["data"][0]["embedding"].as_array().unwrap().len(), 1536);
    }
}

/// Little-endian floats from base64.
fn unpack(text: &str) -> Vec<f32> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let digits: Vec<u32> =
        text.trim_end_matches('=').bytes().map(|b| u32::from(digit(b))).collect();
    let bytes: Vec<u8> = digits
        .chunks(4)
        .flat_map(|group| {
            let bits = (0..4).fold(0, |bits, n| bits << 6 | group.get(n).copied().unwrap_or(0));
            bits.to_be_bytes()[1..group.len()].to_vec()
        })
        .collect();
    bytes.chunks(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect()
}

#[tokio::test]
async fn responses_plain_and_streamed() {
    let body = json!({"model": "gpt-5.4", "instructions": "Be brief.", "input": "one two three", "max_output_tokens": 2});
    let reply = post(&plain(), "/v1/responses", body.clone()).await.json();
    assert_eq!((&reply["object"], &reply["status"]), (&json!("response"), &json!("incomplete")));
    assert_eq!(reply["incomplete_details"]["reason"], "max_output_tokens");
    assert_eq!(reply["output"][0]["content"][0]["text"], "one two");
    assert_eq!(reply["usage"]["input_tokens"], input_tokens(["Be brief.", "one two three"]));
    assert_eq!(reply["usage"]["output_tokens"], 2);

    let whole = with(body, json!({"stream": true, "max_output_tokens": 99}));
    let reply = post(&plain(), "/v1/responses", whole).await;
    let (events, names) = named(&reply);
    let mut order = vec![
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ];
    order.extend(["response.output_text.delta"; 16]);
    order.extend([
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]);
    assert_eq!(names, order);
    for (n, event) in events.iter().enumerate() {
        assert_eq!((&event["type"], &event["sequence_number"]), (&json!(names[n]), &json!(n)));
    }
    let text: String = events[4..20].iter().map(|event| event["delta"].as_str().unwrap()).collect();
    let last = events.last().unwrap();
    assert_eq!(last["response"]["output"][0]["content"][0]["text"], text);
    assert_eq!(last["response"]["usage"]["output_tokens"], 16);
    assert_eq!(events[0]["response"]["usage"], Value::Null);
}

fn named(reply: &Reply) -> (Vec<Value>, Vec<String>) {
    let names = reply.frames.iter().map(|frame| {
        let text = std::str::from_utf8(frame).unwrap();
        text.lines().next().unwrap().strip_prefix("event: ").unwrap().to_owned()
    });
    (reply.chunks(), names.collect())
}

#[tokio::test]
async fn responses_call_tools_and_fail_inside_a_200() {
    let tool = json!({"type": "function", "name": "get_time", "parameters": {
        "type": "object", "required": ["zone"], "properties": {"zone": {"type": "string"}}}});
    let input = json!([{"role": "user", "content": [{"type": "input_text", "text": "now?"}]}]);
    let body = json!({"model": "m", "input": input, "tools": [tool], "stream": true});
    let (events, names) = named(&post(&plain(), "/v1/responses", body.clone()).await);
    assert_eq!(names[3], "response.function_call_arguments.delta");
    let done = names.iter().position(|n| n == "response.function_call_arguments.done").unwrap();
    assert_eq!(events[done]["arguments"], r#"{"zone":"now?"}"#);
    assert_eq!(events[done]["name"], "get_time");
    assert_eq!(events[done + 1]["item"]["status"], "completed");
    assert_eq!(names.last().unwrap(), "response.completed");

    let call = json!({"type": "function_call", "call_id": "call_1", "name": "get_time", "arguments": "{}"});
    let result = json!({"type": "function_call_output", "call_id": "call_1", "output": "noon"});
    let after = with(
        body.clone(),
        json!({"input": [{"role": "user", "content": "now?"}, call, result], "stream": false}),
    );
    let reply = post(&plain(), "/v1/responses", after).await.json();
    assert_eq!(reply["output"][0]["type"], "message");

    let mut request = request(Method::POST, "/v1/responses", body.to_string());
    request.headers_mut().insert("x-simulate", "late_error=after:1".parse().unwrap());
    let (events, names) = named(&send(&plain(), request).await);
    assert_eq!(names.last().unwrap(), "response.failed");
    assert_eq!(events.last().unwrap()["response"]["error"]["code"], "server_error");
    assert_eq!(events.last().unwrap()["sequence_number"], names.len() - 1);
}

#[tokio::test]
async fn several_calls_at_once() {
    let several = with(ask(), json!({"tools": tools()}));
    let whole = controlled(&plain(), "calls=3", several.clone()).await.json();
    let calls = whole["choices"][0]["message"]["tool_calls"].as_array().unwrap().clone();
    let names: Vec<&Value> = calls.iter().map(|call| &call["function"]["name"]).collect();
    assert_eq!(names, ["get_time", "get_weather", "get_time"]);
    assert_ne!(calls[0]["id"], calls[2]["id"]);
    assert_eq!(whole["choices"][0]["finish_reason"], "tool_calls");

    let streamed = with(several.clone(), json!({"stream": true}));
    let chunks = controlled(&plain(), "calls=3", streamed).await.chunks();
    let mut added: Vec<Value> = Vec::new();
    for chunk in &chunks {
        let pieces = chunk["choices"][0]["delta"]["tool_calls"].as_array();
        for piece in pieces.into_iter().flatten() {
            let index = usize::try_from(piece["index"].as_u64().unwrap()).unwrap();
            if index == added.len() {
                let mut call = piece.clone();
                call.as_object_mut().unwrap().remove("index");
                added.push(call);
            } else {
                let so_far = added[index]["function"]["arguments"].as_str().unwrap();
                let piece = piece["function"]["arguments"].as_str().unwrap();
                added[index]["function"]["arguments"] = json!(format!("{so_far}{piece}"));
            }
        }
    }
    assert_eq!(added, calls);
    let one = with(several, json!({"parallel_tool_calls": false}));
    let one = controlled(&plain(), "calls=3", one).await.json();
    assert_eq!(one["choices"][0]["message"]["tool_calls"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn several_calls_in_a_response() {
    let tool = json!({"type": "function", "name": "get_time", "parameters": {
        "type": "object", "required": ["zone"], "properties": {"zone": {"type": "string"}}}});
    let body = json!({"model": "m", "input": "now?", "tools": [tool]});
    let asked = |body: &Value| {
        let mut request = request(Method::POST, "/v1/responses", body.to_string());
        request.headers_mut().insert("x-simulate", "calls=2".parse().unwrap());
        request
    };
    let whole = send(&plain(), asked(&body)).await.json();
    assert_eq!(whole["output"].as_array().unwrap().len(), 2);
    assert_ne!(whole["output"][0]["call_id"], whole["output"][1]["call_id"]);
    let (events, _) = named(&send(&plain(), asked(&with(body, json!({"stream": true})))).await);
    assert_eq!(events.last().unwrap()["response"]["output"], whole["output"]);
    for index in 0..2 {
        let of = |name: &str| {
            let all = events.iter().filter(|event| event["output_index"] == index);
            all.filter(|event| event["type"] == name).cloned().collect::<Vec<_>>()
        };
        let pieces = of("response.function_call_arguments.delta");
        let text: String = pieces.iter().map(|event| event["delta"].as_str().unwrap()).collect();
        assert_eq!(whole["output"][index]["arguments"], text);
        assert_eq!(pieces[0]["item_id"], whole["output"][index]["id"]);
        assert_eq!(of("response.output_item.done")[0]["item"], whole["output"][index]);
    }
}

#[tokio::test]
async fn refused_content() {
    let reply = controlled(&plain(), "refuse", ask()).await.json();
    assert_eq!(reply["choices"][0]["finish_reason"], "content_filter");
    assert_eq!(reply["choices"][0]["message"]["content"], "");
    let chunks = controlled(&plain(), "refuse", streamed()).await.chunks();
    assert_eq!(chunks.last().unwrap()["choices"][0]["finish_reason"], "content_filter");
    assert_eq!(chunks.len(), 2);
}

#[tokio::test]
async fn roles_and_the_order_of_results_are_checked() {
    let user = json!({"role": "user", "content": "x"});
    let call = json!({"role": "assistant", "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}]});
    let result = |id: &str| json!({"role": "tool", "tool_call_id": id, "content": "x"});
    for (messages, param, text) in [
        (json!([{"role": "model", "content": "x"}]), "messages[0].role", "Invalid value: 'model'."),
        (json!([{"content": "x"}]), "messages[0].role", "Missing required parameter"),
        (json!([user, {"role": "tool", "content": "x"}]), "messages[1].tool_call_id", "Missing"),
        (json!([user, result("a")]), "messages.[1].role", "must be a response to a preceeding"),
        (
            json!([user, call, result("b")]),
            "messages.[2].role",
            "must be a response to a preceeding",
        ),
        (json!([user, call, user]), "messages.[2].role", "did not have response messages: a"),
        (json!([user, call]), "messages.[2].role", "did not have response messages: a"),
    ] {
        let reply = post(&plain(), CHAT, with(ask(), json!({"messages": messages}))).await;
        assert_eq!((reply.status.as_u16(), &reply.error()["param"]), (400, &json!(param)));
        let error = reply.error();
        assert!(error["message"].as_str().unwrap().contains(text), "{error}");
    }
    let good = with(ask(), json!({"messages": [user, call, result("a"), user]}));
    assert_eq!(post(&plain(), CHAT, good).await.status, 200);

    let call = json!({"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"});
    let result = json!({"type": "function_call_output", "call_id": "a", "output": "x"});
    for (input, text) in [
        (json!([user, result]), "No tool call found for function call output with call_id a."),
        (json!([user, call]), "No tool output found for function call a."),
        (
            json!([{"role": "tool", "content": "x"}, {"role": "model", "content": "x"}]),
            "Invalid value: 'model'.",
        ),
    ] {
        let reply = post(&plain(), "/v1/responses", json!({"model": "m", "input": input})).await;
        let error = reply.error();
        assert!(error["message"].as_str().unwrap().contains(text), "{error}");
    }
    let kept = json!({"model": "m", "input": [result], "previous_response_id": "resp_1"});
    assert_eq!(post(&plain(), "/v1/responses", kept).await.status, 200);
}

#[tokio::test]
async fn the_other_paths() {
    let simulator = plain();
    let list = get(&simulator, "/v1/models").await.json();
    assert_eq!((&list["object"], &list["data"][0]["object"]), (&json!("list"), &json!("model")));
    let one = get(&simulator, "/v1/models/openai/any-model").await.json();
    assert_eq!(one["id"], "openai/any-model");
    let body = json!({"input": ["a", {"type": "text", "text": "b"}]});
    let reply = post(&simulator, "/v1/moderations", body).await.json();
    assert_eq!(reply["results"].as_array().unwrap().len(), 2);
    assert_eq!(reply["results"][0]["flagged"], false);
    let body = json!({"model": "gpt-image-1", "prompt": "a cat", "n": 2});
    let reply = post(&simulator, "/v1/images/generations", body).await.json();
    assert!(reply["data"][1]["b64_json"].as_str().unwrap().starts_with("iVBOR"));
    let body = json!({"model": "tts-1", "input": "say it", "voice": "alloy"});
    let reply = post(&simulator, "/v1/audio/speech", body).await;
    assert_eq!(reply.header("content-type"), "audio/mpeg");
    assert!(reply.bytes().starts_with(b"ID3") && std::str::from_utf8(&reply.bytes()).is_err());
    let stats: Value = get(&simulator, "/__simulate/stats").await.json();
    assert_eq!(stats["requests"], 5);
    assert_eq!(simulator.stats().requests, 5);
}

fn form(path: &str, fields: &[(&str, &str)], file: &[u8]) -> Request<Full<Bytes>> {
    let mut body = Vec::new();
    for (name, value) in fields {
        body.extend_from_slice(
            format!("--mark\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
                .as_bytes(),
        );
    }
    body.extend_from_slice(
        b"--mark\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f.bin\"\r\n\r\n",
    );
    body.extend_from_slice(file);
    body.extend_from_slice(b"\r\n--mark--\r\n");
    let mut request = request(Method::POST, path, body);
    request
        .headers_mut()
        .insert("content-type", "multipart/form-data; boundary=mark".parse().unwrap());
    request
}

#[tokio::test]
async fn audio_uploads_are_counted() {
    let fields = [("model", "whisper-1"), ("response_format", "json")];
    let path = "/v1/audio/transcriptions";
    let reply = send(&plain(), form(path, &fields, &[7; 3000])).await.json();
    assert_eq!(reply["text"], "Simulated transcript of f.bin (3000 bytes).");
    assert_eq!(reply["usage"]["input_tokens"], 3);
    let text =
        send(&plain(), form(path, &[("model", "m"), ("response_format", "text")], b"x")).await;
    assert_eq!(text.text(), "Simulated transcript of f.bin (1 bytes).\n");
    let huge = send(&plain(), form("/v1/audio/translations", &fields, &vec![0; 3 << 20])).await;
    assert_eq!(huge.status, 200, "{}", huge.text());
    assert_eq!(post(&plain(), path, json!({})).await.status, 400);
}

#[tokio::test]
async fn files_and_batches() {
    let simulator = plain();
    let file = send(&simulator, form("/v1/files", &[("purpose", "batch")], b"{}\n")).await.json();
    assert_eq!((&file["bytes"], &file["filename"]), (&json!(3), &json!("f.bin")));
    let id = file["id"].as_str().unwrap();
    let path = format!("/v1/files/{id}");
    assert_eq!(get(&simulator, &path).await.json(), file);
    assert_eq!(get(&simulator, &format!("{path}/content")).await.bytes(), b"{}\n");
    assert_eq!(get(&simulator, "/v1/files").await.json()["data"], json!([file]));
    let body = json!({"input_file_id": id, "endpoint": "/v1/chat/completions", "completion_window": "24h"});
    let batch = post(&simulator, "/v1/batches", body).await.json();
    assert_eq!(batch["status"], "validating");
    let path_of_batch = format!("/v1/batches/{}", batch["id"].as_str().unwrap());
    let cancelled = post(&simulator, &format!("{path_of_batch}/cancel"), json!({})).await.json();
    assert_eq!(cancelled["status"], "cancelled");
    assert_eq!(get(&simulator, &path_of_batch).await.json()["status"], "cancelled");
    let gone = send(&simulator, request(Method::DELETE, &path, "")).await.json();
    assert_eq!(gone["deleted"], true);
    assert_eq!(get(&simulator, &path).await.status, 404);
}

#[tokio::test(start_paused = true)]
async fn errors_by_header() {
    let simulator = plain();
    let reply =
        controlled(&simulator, "status=503; retry_after=2; retry_after_ms=1500; hint=1.5s", ask())
            .await;
    assert_eq!(reply.status, 503);
    assert_eq!((reply.header("retry-after"), reply.header("retry-after-ms")), ("2", "1500"));
    let error = reply.error();
    assert_eq!(error["code"], "server_is_overloaded");
    assert!(error["message"].as_str().unwrap().ends_with("Please try again in 1.5s."));
    for (status, kind) in [(401, "invalid_request_error"), (429, "requests"), (500, "server_error")]
    {
        let reply = controlled(&simulator, &format!("status={status}"), ask()).await;
        assert_eq!((reply.status.as_u16(), &reply.error()["type"]), (status, &json!(kind)));
    }
    let quota = controlled(&simulator, "quota", ask()).await;
    assert_eq!(
        (quota.status.as_u16(), &quota.error()["code"]),
        (429, &json!("insufficient_quota"))
    );
    let page = controlled(&simulator, "status=502; body=garbage", ask()).await;
    assert_eq!((page.status.as_u16(), page.header("content-type")), (502, "text/html"));
    let page = controlled(&simulator, "body=garbage", ask()).await;
    assert_eq!(page.status, 200);
    assert!(page.text().starts_with("<html>"));
    let odd = controlled(&simulator, "colour=red", ask()).await;
    assert_eq!(odd.status, 400);
    assert!(odd.error()["message"].as_str().unwrap().contains("late_error"));
    let stats = simulator.stats();
    assert_eq!((stats.requests, stats.accepted, stats.refused_429, stats.errors), (8, 1, 2, 5));
}

#[tokio::test(start_paused = true)]
async fn times_by_header() {
    let simulator = plain();
    let start = Instant::now();
    let reply =
        controlled(&simulator, "latency=200ms; ttft=1s; tps=50; output_tokens=11", streamed())
            .await;
    assert_eq!(reply.chunks().len(), 13);
    assert_eq!(start.elapsed(), Duration::from_millis(200 + 1000 + 10 * 20));
    let start = Instant::now();
    controlled(&simulator, "latency=200ms; ttft=1s; tps=50; output_tokens=11", ask()).await;
    assert_eq!(start.elapsed(), Duration::from_millis(200 + 1000 + 10 * 20));
    let reply = controlled(&simulator, "no_usage", ask()).await;
    assert!(reply.json().get("usage").is_none());
    let wanted = with(streamed(), json!({"stream_options": {"include_usage": true}}));
    let reply = controlled(&simulator, "no_usage", wanted).await;
    assert!(reply.chunks().iter().all(|chunk| !chunk["choices"].as_array().unwrap().is_empty()));
}

#[tokio::test(start_paused = true)]
async fn faults_in_streams_by_header() {
    let simulator = plain();
    let reply = controlled(&simulator, "reset=after:3", streamed()).await;
    assert!(reply.broken && reply.frames.len() == 4);
    let reply = controlled(&simulator, "reset=before", streamed()).await;
    assert!(reply.broken && reply.frames.is_empty());
    let reply = controlled(&simulator, "truncate=after:3", streamed()).await;
    assert!(!reply.broken && reply.frames.len() == 5 && !reply.text().ends_with('\n'));
    let reply = controlled(&simulator, "malformed=after:2", streamed()).await;
    assert_eq!(reply.frames.len(), 1 + 16 + 1 + 1);
    assert!(serde_json::from_slice::<Value>(&reply.frames[3][6..]).is_err());
    assert_eq!(&reply.frames[18][..], b"data: [DONE]\n\n");
    let reply = controlled(&simulator, "late_error=first", streamed()).await;
    assert_eq!(reply.chunks().len(), 1);
    assert_eq!(reply.chunks()[0]["error"]["type"], "server_error");
    let reply = controlled(&simulator, "late_error=after:3", streamed()).await;
    assert_eq!(reply.chunks().len(), 5);
    assert!(reply.chunks()[4]["error"].is_object());
    assert_eq!(simulator.stats().open_streams, 0);
}

#[tokio::test(start_paused = true)]
async fn faults_in_plain_replies_by_header() {
    let simulator = plain();
    let length = post(&simulator, CHAT, ask()).await.bytes().len();
    let reply = controlled(&simulator, "truncate=after:1", ask()).await;
    assert!(!reply.broken && (length / 2 - 8..length / 2 + 8).contains(&reply.bytes().len()));
    let reply = controlled(&simulator, "reset=after:1", ask()).await;
    assert!(reply.broken && !reply.frames.is_empty());
    let reply = controlled(&simulator, "malformed=first", ask()).await;
    assert!(serde_json::from_slice::<Value>(&reply.bytes()).is_err());
    let reply = controlled(&simulator, "late_error=first", ask()).await;
    assert_eq!((reply.status.as_u16(), &reply.error()["type"]), (200, &json!("server_error")));
}

#[tokio::test(start_paused = true)]
async fn stalls_last_and_a_hang_up_is_counted() {
    let simulator = plain();
    let day = Duration::from_secs(86_400);
    for (control, frames) in [("stall=first", 0), ("stall=after:2", 3)] {
        let mut request = request(Method::POST, CHAT, streamed().to_string());
        request.headers_mut().insert("x-simulate", control.parse().unwrap());
        let mut body = simulator.clone().oneshot(request).await.unwrap().into_body();
        for _ in 0..frames {
            body.frame().await.unwrap().unwrap();
        }
        assert_eq!(simulator.stats().open_streams, 1);
        assert!(tokio::time::timeout(day, body.frame()).await.is_err(), "{control}");
        drop(body);
        assert_eq!(simulator.stats().open_streams, 0);
    }
    let never = controlled(&simulator, "stall=before", ask());
    assert!(tokio::time::timeout(day, never).await.is_err());
    assert_eq!(simulator.stats().cancelled, 3);
    assert_eq!(simulator.stats().accepted, 3);
}

#[tokio::test(start_paused = true)]
async fn a_full_window_says_when_to_come_back() {
    let config = SimulateConfig {
        requests_per_minute: Some(3),
        tokens_per_minute: Some(90),
        ..SimulateConfig::default()
    };
    let simulator = Simulator::new(config);
    let reply = post(&simulator, CHAT, ask()).await;
    let used = input_tokens(["Hello there"]) + 16;
    assert_eq!(reply.header("x-ratelimit-limit-requests"), "3");
    assert_eq!(reply.header("x-ratelimit-remaining-requests"), "2");
    assert_eq!(reply.header("x-ratelimit-limit-tokens"), "90");
    assert_eq!(reply.header("x-ratelimit-remaining-tokens"), (90 - used).to_string());
    assert_eq!(reply.header("x-ratelimit-reset-tokens"), "1m0s");
    tokio::time::advance(Duration::from_millis(58_854)).await;
    post(&simulator, CHAT, ask()).await;
    post(&simulator, CHAT, with(ask(), json!({"max_tokens": 1}))).await;
    let full = post(&simulator, CHAT, ask()).await;
    assert_eq!(full.status, 429);
    let error = full.error();
    assert_eq!(
        (&error["type"], &error["code"]),
        (&json!("requests"), &json!("rate_limit_exceeded"))
    );
    let text = error["message"].as_str().unwrap();
    assert!(
        text.contains("(RPM): Limit 3, Used 3, Requested 1. Please try again in 1.146s."),
        "{text}"
    );
    assert_eq!((full.header("retry-after"), full.header("retry-after-ms")), ("2", "1146"));
    assert_eq!(full.header("x-ratelimit-remaining-requests"), "0");
    tokio::time::advance(Duration::from_millis(1_145)).await;
    assert_eq!(post(&simulator, CHAT, ask()).await.status, 429);
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(post(&simulator, CHAT, ask()).await.status, 200);
    assert_eq!(simulator.stats().refused_429, 2);
}

#[tokio::test(start_paused = true)]
async fn tokens_run_out_and_some_requests_never_fit() {
    let config = SimulateConfig { tokens_per_minute: Some(40), ..SimulateConfig::default() };
    let simulator = Simulator::new(config);
    assert_eq!(post(&simulator, CHAT, ask()).await.status, 200);
    assert_eq!(post(&simulator, CHAT, ask()).await.status, 429);
    let huge = with(ask(), json!({"messages": [{"role": "user", "content": "x".repeat(400)}]}));
    let reply = post(&simulator, CHAT, huge).await;
    assert_eq!((reply.status.as_u16(), &reply.error()["type"]), (429, &json!("tokens")));
    assert!(
        reply.error()["message"].as_str().unwrap().starts_with("Request too large for gpt-4o-mini")
    );
    assert_eq!(reply.header("retry-after"), "");
}

#[tokio::test]
async fn the_quota_ends_and_a_provider_revives() {
    let broke = SimulateConfig { quota_requests: Some(2), ..SimulateConfig::default() };
    let simulator = Simulator::new(broke);
    for status in [200, 200, 429, 429] {
        assert_eq!(post(&simulator, CHAT, ask()).await.status, status);
    }
    simulator.set(SimulateConfig {
        error_rate: 1.0,
        error_status: 503,
        ..SimulateConfig::default()
    });
    assert_eq!(post(&simulator, CHAT, ask()).await.status, 503);
    simulator.set(SimulateConfig::default());
    assert_eq!(post(&simulator, CHAT, ask()).await.status, 200);
    let stats = simulator.stats();
    assert_eq!((stats.accepted, stats.refused_429, stats.errors), (3, 2, 1));
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_day() {
    let config = SimulateConfig {
        latency: Duration::from_millis(100),
        jitter: 0.5,
        error_rate: 0.2,
        reset_rate: 0.2,
        truncate_rate: 0.2,
        malformed_rate: 0.2,
        late_error_rate: 0.2,
        seed: 7,
        ..SimulateConfig::default()
    };
    let day = |config: SimulateConfig| async move {
        let simulator = Simulator::new(config);
        let start = Instant::now();
        let mut replies = Vec::new();
        for n in 0..60 {
            let body = if n % 2 == 0 { ask() } else { streamed() };
            let reply = post(&simulator, CHAT, body).await;
            replies.push((reply.status, reply.bytes(), reply.broken, start.elapsed()));
        }
        replies
    };
    let (first, second) = (day(config.clone()).await, day(config.clone()).await);
    assert_eq!(first, second);
    assert!(first.iter().any(|reply| reply.0 == 500) && first.iter().any(|reply| reply.2));
    assert_ne!(first, day(SimulateConfig { seed: 8, ..config }).await);
}

#[tokio::test(start_paused = true)]
async fn jitter_stays_within_its_share() {
    let config = SimulateConfig {
        latency: Duration::from_millis(100),
        jitter: 0.2,
        ..SimulateConfig::default()
    };
    let simulator = Simulator::new(config);
    let mut spread = (Duration::MAX, Duration::ZERO);
    for _ in 0..50 {
        let start = Instant::now();
        post(&simulator, CHAT, ask()).await;
        let took = start.elapsed();
        assert!((80..=121).contains(&took.as_millis()), "{took:?}");
        spread = (spread.0.min(took), spread.1.max(took));
    }
    assert!(spread.1 - spread.0 > Duration::from_millis(20));
}

mod socket {
    use hyper_util::{
        client::legacy::Client,
        rt::{TokioExecutor, TokioIo},
    };
    use tokio::net::{TcpListener, TcpStream};
    use tokio_util::sync::CancellationToken;

    use super::*;

    async fn served(
        simulator: &Simulator,
    ) -> (std::net::SocketAddr, CancellationToken, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let shutdown = stop.clone().cancelled_owned();
        let task = tokio::spawn(tollway::simulate::serve(listener, simulator.clone(), shutdown));
        (address, stop, task)
    }

    fn to(address: std::net::SocketAddr, control: &str, body: Value) -> Request<Full<Bytes>> {
        let uri = format!("http://{address}/v1/chat/completions");
        Request::post(uri).header("x-simulate", control).body(Full::from(body.to_string())).unwrap()
    }

    #[tokio::test]
    async fn serves_http1_and_stops() {
        let simulator = plain();
        let (address, stop, task) = served(&simulator).await;
        let client = Client::builder(TokioExecutor::new()).build_http();
        let reply = client.request(to(address, "", ask())).await.unwrap();
        let length: usize = reply.headers()["content-length"].to_str().unwrap().parse().unwrap();
        assert_eq!(reply.into_body().collect().await.unwrap().to_bytes().len(), length);

        let reply = client.request(to(address, "", streamed())).await.unwrap();
        let body = reply.into_body().collect().await.unwrap().to_bytes();
        assert!(body.ends_with(b"data: [DONE]\n\n"));

        assert!(client.request(to(address, "reset=before", ask())).await.is_err());
        let mut body =
            client.request(to(address, "reset=after:2", streamed())).await.unwrap().into_body();
        let mut seen = Vec::new();
        let broken = loop {
            match body.frame().await {
                Some(Ok(frame)) => seen.extend(frame.into_data().unwrap()),
                end => break matches!(end, Some(Err(_))),
            }
        };
        assert!(broken && String::from_utf8(seen).unwrap().matches("\n\n").count() == 3);
        assert_eq!(simulator.stats().cancelled, 0);

        let mut body =
            client.request(to(address, "stall=after:1", streamed())).await.unwrap().into_body();
        body.frame().await.unwrap().unwrap();
        drop((body, client));
        let counted = async {
            while simulator.stats().cancelled == 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), counted)
            .await
            .expect("the hang-up is counted");
        assert_eq!(simulator.stats().open_streams, 0);
        stop.cancel();
        task.await.unwrap();
        assert!(TcpStream::connect(address).await.is_err());
    }

    #[tokio::test]
    async fn serves_http2() {
        let simulator = plain();
        let (address, stop, task) = served(&simulator).await;
        let socket = TcpStream::connect(address).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket))
                .await
                .unwrap();
        let connection = tokio::spawn(connection);
        let reply = sender.send_request(to(address, "", streamed())).await.unwrap();
        assert_eq!(reply.version(), http::Version::HTTP_2);
        assert!(
            reply.into_body().collect().await.unwrap().to_bytes().ends_with(b"data: [DONE]\n\n")
        );
        let reply = sender.send_request(to(address, "reset=after:2", streamed())).await.unwrap();
        assert!(reply.into_body().collect().await.is_err());
        stop.cancel();
        task.await.unwrap();
        let _ = connection.await;
    }
}
