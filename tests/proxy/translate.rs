//! Clients of one API, providers of another: over real sockets, with failover between them.

use http::Method;
use serde_json::{Value, json};

use super::support::*;

const MESSAGES: &str = "/v1/messages";
const GENERATE: &str = "/v1beta/models/m:generateContent";
const ANTHROPIC: (&str, &str) = ("anthropic-version", "2023-06-01");

fn messages(stream: bool) -> String {
    let user = json!([{"role": "user", "content": "Hello there"}]);
    json!({"model": "m", "max_tokens": 200, "messages": user, "stream": stream}).to_string()
}

fn contents() -> String {
    json!({"contents": [{"role": "user", "parts": [{"text": "Hello there"}]}]}).to_string()
}

/// A provider of each API, reached by the name of the model.
const EACH: &str = "
providers:
  chat: { simulate: {}, forms: [chat] }
  responses: { simulate: {}, forms: [responses] }
  messages: { simulate: {}, forms: [messages] }
  generate: { simulate: {}, forms: [generate] }
routes:
  - { match: { model: chat }, targets: [chat] }
  - { match: { model: responses }, targets: [responses] }
  - { match: { model: messages }, targets: [messages] }
  - { match: { model: generate }, targets: [generate] }
";

/// The text of a whole reply, by the path that was asked.
fn text(path: &str, reply: &Value) -> String {
    let found = match path {
        CHAT => &reply["choices"][0]["message"]["content"],
        MESSAGES => &reply["content"][0]["text"],
        "/v1/responses" => &reply["output"][0]["content"][0]["text"],
        _ => &reply["candidates"][0]["content"]["parts"][0]["text"],
    };
    found.as_str().unwrap_or_else(|| panic!("{path}: {reply}")).to_owned()
}

#[tokio::test]
async fn every_client_is_answered_by_every_provider() {
    let proxy = Running::new(EACH);
    for provider in ["chat", "responses", "messages", "generate"] {
        let mut texts = Vec::new();
        for path in [CHAT, "/v1/responses", MESSAGES, GENERATE] {
            let path = path.replace("/m:", &format!("/{provider}:"));
            let body = match &*path {
                CHAT => {
                    json!({"model": provider, "messages": [{"role": "user", "content": "Hello there"}], "max_completion_tokens": 200})
                }
                "/v1/responses" => {
                    json!({"model": provider, "input": "Hello there", "max_output_tokens": 200})
                }
                MESSAGES => {
                    json!({"model": provider, "max_tokens": 200, "messages": [{"role": "user", "content": "Hello there"}]})
                }
                _ => {
                    json!({"contents": [{"role": "user", "parts": [{"text": "Hello there"}]}], "generationConfig": {"maxOutputTokens": 200}})
                }
            };
            let headers: &[(&str, &str)] = &[JSON, ANTHROPIC];
            let reply = proxy.send(Method::POST, &path, headers, body.to_string()).await;
            assert_eq!(reply.status, 200, "{path} to {provider}: {}", reply.text());
            texts.push(text(&path, &reply.json()));
        }
        assert!(texts.iter().all(|text| text.starts_with("Hello there")), "{provider}: {texts:?}");
    }
    until("nothing in flight", || proxy.is_idle()).await;
}

/// Anthropic is out; the client never learns of it, and pays what the other one cost.
async fn failed_over(anthropic: &str, stream: bool) {
    let proxy = Running::new(&format!(
        "
providers:
  anthropic: {{ {anthropic}, forms: [messages] }}
  openai: {{ simulate: {{ output_tokens: 20 }}, forms: [chat] }}
retry: {{ attempts: 3, backoff: {{ first: 1ms }} }}
routes: [{{ targets: [anthropic/claude-sonnet-5-5, openai/gpt-5.6-luna] }}]
"
    ));
    let reply = proxy.send(Method::POST, MESSAGES, &[JSON, ANTHROPIC], messages(stream)).await;
    assert_eq!(reply.status, 200, "{anthropic}: {}", reply.text());
    assert!(reply.header("x-tollway-attempts").contains("openai"), "{reply:?}");
    if stream {
        let text = reply.text();
        let names: Vec<&str> =
            text.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
        assert_eq!(names.first(), Some(&"message_start"), "{text}");
        assert_eq!(names.last(), Some(&"message_stop"), "{text}");
        assert!(!names.contains(&"error") && names.contains(&"content_block_delta"), "{text}");
    } else {
        let reply = reply.json();
        assert_eq!((&reply["type"], &reply["role"]), (&json!("message"), &json!("assistant")));
        assert_eq!(reply["usage"]["output_tokens"], 20);
    }
    until("nothing in flight", || proxy.is_idle()).await;
    let stats = proxy.sim("openai").stats();
    assert_eq!(stats.accepted, 1);
    let totals = proxy.stack().totals().snapshot();
    let row = totals.iter().find(|row| &*row.key == "gpt-5.6-luna").expect("work by the model");
    assert_eq!((row.total.usage.output, row.total.estimated), (20, 0), "{row:?}");
    assert!(row.total.cost > tollway::core::Usd::ZERO, "{row:?}");
}

#[tokio::test]
async fn an_overloaded_provider_of_another_dialect_is_stood_in_for() {
    for stream in [false, true] {
        failed_over("simulate: { error_rate: 100%, error_status: 529 }", stream).await;
    }
    // 200, and then `overloaded_error` in the place of the first content.
    let recording = Recording::new(|_| {
        let stream = include_str!(
            "../../layers/dialect/tests/samples/anthropic/messages_stream_overloaded_first.sse"
        );
        reply(200, &[("content-type", "text/event-stream")], stream)
    })
    .await;
    let real = format!("base_url: \"http://{}/v1\", api_key: k", recording.address);
    failed_over(&real, true).await;
    assert_eq!(recording.last().uri.path(), "/v1/messages");
}

#[tokio::test]
async fn what_has_no_counterpart_is_refused_or_told() {
    let proxy = Running::new(EACH);
    let ask = |more: &str| {
        format!(r#"{{"model":"messages","messages":[{{"role":"user","content":"Hi"}}]{more}}}"#)
    };
    let refused = proxy.send(Method::POST, CHAT, &[JSON], ask(r#","n":3"#)).await;
    let error = refused.error();
    assert_eq!((refused.status.as_u16(), error.param.as_deref()), (400, Some("n")), "{error:?}");
    assert!(error.message.contains("messages"), "{error:?}");
    let told = proxy
        .send(Method::POST, CHAT, &[JSON], ask(r#","seed":3,"logit_bias":{"1":2},"odd":1"#))
        .await;
    assert_eq!(told.status, 200, "{}", told.text());
    let dropped = told.header("x-tollway-dropped");
    for name in ["seed", "logit_bias", "odd"] {
        assert!(dropped.contains(name), "{dropped}");
    }
    let lenient = Running::new(&format!("{EACH}\ntranslation: {{ meaning: drop }}"));
    let told = lenient.send(Method::POST, CHAT, &[JSON], ask(r#","n":3"#)).await;
    assert_eq!((told.status.as_u16(), told.header("x-tollway-dropped")), (200, "n"));
    let strict = Running::new(&format!("{EACH}\ntranslation: {{ harmless: refuse }}"));
    let refused = strict.send(Method::POST, CHAT, &[JSON], ask(r#","seed":3"#)).await;
    assert_eq!((refused.status.as_u16(), refused.error().param.as_deref()), (400, Some("seed")));
}

#[tokio::test]
async fn what_one_target_has_no_place_for_goes_to_one_that_has() {
    let proxy = Running::new(
        "
providers:
  first: { simulate: {}, forms: [messages] }
  second: { simulate: {}, forms: [chat] }
circuit_breaker: { open_after: 1 failures }
routes: [{ targets: [first, second] }]
",
    );
    let body = r#"{"model":"m","messages":[{"role":"user","content":"Hi"}],"n":2}"#;
    for _ in 0..3 {
        let reply = proxy.send(Method::POST, CHAT, &[JSON], body).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(reply.json()["choices"].as_array().map(Vec::len), Some(2));
    }
    // It was not asked, so nothing is held against it.
    let reply = proxy.send(Method::POST, MESSAGES, &[JSON, ANTHROPIC], messages(false)).await;
    assert_eq!(reply.status, 200);
    assert_eq!(proxy.sim("first").stats().accepted, 1);
}

#[tokio::test]
async fn errors_before_any_provider_are_in_the_clients_dialect() {
    let proxy = Running::new(
        "
callers: { keys: [{ name: k, sha256: 12486e48f3b1952b18cbeb4a41c794862fbb948c94b0e9bc30b27a0973738a07 }] }
providers: { sim: { simulate: {} } }
",
    );
    let reply = proxy.send(Method::POST, MESSAGES, &[JSON, ANTHROPIC], messages(false)).await;
    assert_eq!(reply.status, 401);
    assert_eq!(reply.json()["error"]["type"], "authentication_error");
    let reply = proxy.send(Method::POST, GENERATE, &[JSON], contents()).await;
    assert_eq!(reply.status, 401);
    assert_eq!(reply.json()["error"]["status"], "UNAUTHENTICATED");
    let reply = proxy.send(Method::POST, CHAT, &[JSON], "{}").await;
    assert_eq!(reply.error().code.as_deref(), Some("invalid_api_key"));
}

#[tokio::test]
async fn a_key_in_the_query_is_a_key_and_goes_no_further() {
    let recording = Recording::new(|_| reply(200, &[JSON], r#"{"candidates":[]}"#)).await;
    let proxy = Running::new(&format!(
        "
callers: {{ identify: [provider_key] }}
providers: {{ gemini: {{ base_url: \"http://{}\", api_key: own-key }} }}
",
        recording.address
    ));
    for name in ["key", "%6bey"] {
        let path = format!("{GENERATE}?{name}=clients-secret&x=1");
        let reply = proxy.send(Method::POST, &path, &[JSON], contents()).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let seen = recording.last();
        assert_eq!(seen.uri.to_string(), "/v1beta/models/m:generateContent?x=1");
        assert_eq!(seen.header("x-goog-api-key"), "own-key");
    }
}

#[tokio::test]
async fn a_clients_key_in_the_query_is_carried_to_another_api() {
    let recording = Recording::new(|_| reply(200, &[JSON], COMPLETION)).await;
    let proxy = Running::new(&format!(
        "providers: {{ lab: {{ base_url: \"http://{}/v1\", forms: [chat] }} }}",
        recording.address
    ));
    for name in ["key", "%6bey"] {
        let path = format!("{GENERATE}?{name}=clients-secret");
        let reply = proxy.send(Method::POST, &path, &[JSON], contents()).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let seen = recording.last();
        assert_eq!(seen.uri.to_string(), CHAT);
        assert_eq!(seen.header("authorization"), "Bearer clients-secret");
    }
}

#[tokio::test]
async fn model_lists_are_in_the_clients_dialect() {
    let proxy = Running::new(EACH);
    let list = proxy.send(Method::GET, "/v1/models", &[], "").await.json();
    assert_eq!(list["data"][0]["object"], "model");
    let list = proxy.send(Method::GET, "/v1/models", &[ANTHROPIC], "").await.json();
    assert_eq!((&list["data"][0]["type"], &list["has_more"]), (&json!("model"), &json!(false)));
    let list = proxy.send(Method::GET, "/v1beta/models", &[], "").await.json();
    assert!(list["models"][0]["name"].as_str().unwrap().starts_with("models/"), "{list}");
}

#[tokio::test]
async fn a_bad_key_is_told_as_one_however_gemini_says_it() {
    const BAD: &str = r#"{"error":{"code":400,"message":"API key not valid.","status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID"}]}}"#;
    let recording = Recording::new(|_| reply(400, &[JSON], BAD)).await;
    let proxy = Running::new(&format!(
        "providers: {{ gemini: {{ base_url: \"http://{}\", api_key: k }} }}",
        recording.address
    ));
    let reply = proxy.chat("").await;
    assert_eq!(
        (reply.status.as_u16(), reply.error().code.as_deref()),
        (401, Some("invalid_api_key"))
    );
}
