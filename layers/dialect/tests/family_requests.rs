//! Requests of Messages and generateContent: what they ask for, and what is changed in them.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use common::sample;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use proptest::prelude::*;
use serde_json::{Value, json};
use tollway_core::{Ask, BoxError, Dialect, Operation, Target, find_error};
use tollway_dialect::{
    AttemptLayer, BadRequest, ErrorReply, InspectLayer, RequestBody, anthropic,
    gemini::{self, Call},
};
use tollway_testkit::{Probe, ScriptedBody, Step};
use tower::{Layer, ServiceExt};

type Sent = Request<RequestBody<ScriptedBody>>;

/// What the upstream gets of a call, through both layers.
async fn sent(path: &str, body: &[u8], target: Option<&str>) -> Result<(Sent, Bytes), BoxError> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let probe = Probe::new(move |request: Sent| {
        log.lock().unwrap().push(request);
        std::future::ready(Ok::<_, BoxError>(Response::new(ScriptedBody::new([]))))
    });
    let service = InspectLayer::new().layer(AttemptLayer::new().layer(probe));
    let chunks = body.chunks(50).map(|chunk| Step::data(chunk.to_vec()));
    let mut request = Request::post(path).header("content-type", "application/json");
    if let Some(model) = target {
        request = request.extension(Target::new("p", "k", Some(model.into())));
    }
    service.oneshot(request.body(ScriptedBody::new(chunks))?).await?;
    let (parts, body) = seen.lock().unwrap().pop().unwrap().into_parts();
    let bytes = body.collect().await?.to_bytes();
    Ok((Request::from_parts(parts, RequestBody::buffered(bytes.clone())), bytes))
}

async fn refused(
    path: &str,
    body: &str,
) -> (StatusCode, Option<&'static str>, Option<String>, String) {
    let error = sent(path, body.as_bytes(), None).await.unwrap_err();
    let refused = find_error::<BadRequest>(&*error).unwrap();
    let param = refused.param().map(str::to_owned);
    (refused.status(), refused.code(), param, refused.message().to_owned())
}

#[tokio::test]
async fn a_messages_call_is_read_and_only_its_model_changed() {
    for (name, model, bound) in [
        ("messages_basic", "claude-sonnet-4-5-20250929", 256),
        ("messages_tools", "claude-haiku-4-5", 1024),
        ("messages_tool_results", "claude-haiku-4-5", 1024),
    ] {
        let body = sample(&format!("anthropic/{name}.req.json"));
        let (same, bytes) = sent("/v1/messages?beta=true", &body, None).await.unwrap();
        assert_eq!(bytes, body, "{name}");
        let ask = same.extensions().get::<Ask>().unwrap();
        assert_eq!((ask.dialect, ask.operation), (Dialect::Anthropic, Operation::Messages));
        assert_eq!((ask.model(), ask.max_output_tokens), (Some(model), Some(bound)), "{name}");
        assert_eq!((ask.choices, ask.stream, ask.wants_usage), (1, false, false));
        assert!((9..120).contains(&ask.input_tokens), "{name}: {}", ask.input_tokens);
        assert_eq!(same.headers()["accept-encoding"], "identity");

        let (other, bytes) = sent("/v1/messages", &body, Some("other")).await.unwrap();
        let text = String::from_utf8(body).unwrap();
        let expected = text.replacen(&format!("{model:?}"), "\"other\"", 1);
        assert_eq!(bytes, expected);
        assert_eq!(other.headers()["content-length"], expected.len().to_string());
        assert_eq!(other.uri(), "/v1/messages");
    }
    // A stream is not asked for usage: it always tells.
    let body = br#"{"stream":true,"model":"m","max_tokens":1}"#;
    let (stream, bytes) = sent("/v1/messages", body, None).await.unwrap();
    assert!(stream.extensions().get::<Ask>().unwrap().stream);
    assert_eq!(bytes, &body[..]);
    let body = br#"{"model":"m","messages":[]}"#;
    let (count, bytes) = sent("/v1/messages/count_tokens", body, Some("n")).await.unwrap();
    let ask = count.extensions().get::<Ask>().unwrap();
    assert_eq!((ask.operation, ask.model()), (Operation::CountTokens, Some("m")));
    assert_eq!(bytes, r#"{"model":"n","messages":[]}"#);
}

#[tokio::test]
async fn a_call_to_gemini_is_read_and_only_its_path_changed() {
    const STREAM: &str = "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse";
    for (name, bound) in [
        ("generate_basic", Some(256)),
        ("generate_tools", None),
        ("generate_tool_results", None),
        ("generate_vision", None),
    ] {
        let body = sample(&format!("gemini/{name}.req.json"));
        for target in [None, Some("gemini-2.5-pro")] {
            let (request, bytes) = sent(STREAM, &body, target).await.unwrap();
            assert_eq!(bytes, body, "{name}");
            let ask = request.extensions().get::<Ask>().unwrap();
            assert_eq!((ask.dialect, ask.operation), (Dialect::Gemini, Operation::GenerateContent));
            assert_eq!((ask.model(), ask.stream), (Some("gemini-2.5-flash"), true), "{name}");
            assert_eq!((ask.max_output_tokens, ask.choices), (bound, 1), "{name}");
            let path =
                target.map_or(STREAM.to_owned(), |model| STREAM.replace("gemini-2.5-flash", model));
            assert_eq!(request.uri(), &*path);
        }
    }
    let tokens = |body: Value| {
        let call = Call::of("/v1/models/m:generateContent").unwrap();
        gemini::request::read(&call, body.to_string().as_bytes()).unwrap().input_tokens
    };
    let vision = serde_json::from_slice(&sample("gemini/generate_vision.req.json")).unwrap();
    assert!((258..310).contains(&tokens(vision)), "a small image is one tile");
}

#[test]
fn tokens_are_estimated_as_for_chat() {
    let text = "x".repeat(400);
    let messages = |messages: Value| {
        let body = json!({"model": "m", "max_tokens": 1, "messages": messages}).to_string();
        anthropic::request::read(Operation::Messages, body.as_bytes()).unwrap().0.input_tokens
    };
    let plain = json!([{"role": "user", "content": text}]);
    assert_eq!(messages(plain), 103);
    let source = |kind: &str| {
        json!([{"role": "user", "content": [{"type": kind,
        "source": {"type": "base64", "media_type": "image/png", "data": text.repeat(100)}}]}])
    };
    assert_eq!((messages(source("image")), messages(source("document"))), (768, 768));
    // What a tool is called with is counted whole, whatever its keys are called.
    let call = json!([{"role": "assistant", "content": [{"type": "tool_use", "id": "t",
        "name": "f", "input": {"file": text, "id": text}}]}]);
    assert_eq!(messages(call), 3 + (801u64 + 6).div_ceil(4));
    let thinking = json!([{"role": "assistant", "content": [
        {"type": "thinking", "thinking": text, "signature": text}]}]);
    assert_eq!(messages(thinking), 103);

    let read = |path: &str, body: Value| {
        gemini::request::read(&Call::of(path).unwrap(), body.to_string().as_bytes()).unwrap()
    };
    let contents = json!([{"role": "user", "parts": [{"text": text, "thoughtSignature": text}]}]);
    for body in [
        json!({"contents": contents}),
        json!({"systemInstruction": contents[0]}),
        json!({"system_instruction": contents[0]}),
        json!({"generateContentRequest": {"contents": contents}}),
    ] {
        assert_eq!(read("/v1/models/m:countTokens", body).input_tokens, 103);
    }
    let parts = json!([{"inlineData": {"mimeType": "image/png", "data": text}}, {"fileData": {"fileUri": "u"}}]);
    assert_eq!(
        read("/v1/models/m:generateContent", json!({"contents": [{"parts": parts}]})).input_tokens,
        1530
    );
    let batch = json!({"requests": [{"content": {"parts": [{"text": text}]}}, {"content": {"parts": [{"text": text}]}}]});
    let ask = read("/v1/models/m:batchEmbedContents", batch);
    assert_eq!((ask.operation, ask.input_tokens), (Operation::Embeddings, 200));
    let schema = json!({"generationConfig": {"responseSchema": {"type": text}}});
    assert_eq!(read("/v1/models/m:generateContent", schema).input_tokens, 101);
}

#[test]
fn bounds_and_candidates() {
    let read = |config: &str| {
        let call = Call::of("/v1/models/m:generateContent").unwrap();
        let ask = gemini::request::read(&call, format!(r#"{{"contents":[],{config}}}"#).as_bytes())
            .unwrap();
        (ask.max_output_tokens, ask.choices)
    };
    for (config, expected) in [
        (r#""generationConfig":{"maxOutputTokens":5,"candidateCount":3}"#, (Some(15), 3)),
        (r#""generation_config":{"max_output_tokens":"5","candidate_count":"2"}"#, (Some(10), 2)),
        (r#""generationConfig":{"maxOutputTokens":5.0,"candidateCount":0}"#, (Some(5), 1)),
        (r#""generationConfig":{"maxOutputTokens":null,"candidateCount":null}"#, (None, 1)),
        (r#""generationConfig":null"#, (None, 1)),
        (r#""x":1"#, (None, 1)),
    ] {
        assert_eq!(read(config), expected, "{config}");
    }
}

#[tokio::test]
async fn refusals_say_what_to_do() {
    let bad = StatusCode::BAD_REQUEST;
    for (body, code, param, words) in [
        ("", "invalid_json", None, "it is empty"),
        ("[1]", "invalid_json", None, "an array"),
        ("{\"model\":\"m\",\n \"x\": tru}", "invalid_json", None, "line 2, column"),
        (
            r#"{"max_tokens":5}"#,
            "missing_required_parameter",
            Some("model"),
            "\"model\": \"claude-haiku-4-5\"",
        ),
        (
            r#"{"model":7}"#,
            "invalid_type",
            Some("model"),
            "such as \"claude-haiku-4-5\", but it is the number 7 (line 1, column 10)",
        ),
        (r#"{"model":"m","stream":"yes"}"#, "invalid_type", Some("stream"), "true or false"),
        (r#"{"model":"m","max_tokens":-1}"#, "invalid_type", Some("max_tokens"), "whole number"),
        (r#"{"model":"m","model":"n"}"#, "duplicate_field", Some("model"), "given twice"),
        (
            r#"{"model":"m","messages":[],"messages":[]}"#,
            "duplicate_field",
            Some("messages"),
            "given twice",
        ),
        ("{\"model\":\"a\\nb\"}", "invalid_model", Some("model"), "control characters"),
    ] {
        let (status, found, field, message) = refused("/v1/messages", body).await;
        assert_eq!((status, found, field.as_deref()), (bad, Some(code), param), "{body}");
        assert!(message.contains(words), "{message}");
    }
    const GEMINI: &str = "/v1beta/models/m:generateContent";
    for (path, body, code, param, words) in [
        (GEMINI, "{", "invalid_json", None, "cut off"),
        (
            GEMINI,
            r#"{"generationConfig":[]}"#,
            "invalid_type",
            Some("generationConfig"),
            "an object",
        ),
        (
            GEMINI,
            "{\n\"generationConfig\":{\"maxOutputTokens\":\"many\"}}",
            "invalid_type",
            Some("generationConfig.maxOutputTokens"),
            "line 2, column",
        ),
        (
            GEMINI,
            r#"{"generation_config":{"candidate_count":-1}}"#,
            "invalid_type",
            Some("generation_config.candidate_count"),
            "at least 1",
        ),
        (
            GEMINI,
            r#"{"generationConfig":{},"generation_config":{}}"#,
            "duplicate_field",
            Some("generation_config"),
            "given twice",
        ),
        (
            GEMINI,
            r#"{"generationConfig":{"maxOutputTokens":1,"max_output_tokens":2}}"#,
            "duplicate_field",
            Some("generation_config.max_output_tokens"),
            "given twice",
        ),
        (
            "/v1beta/models/a%0Ab:generateContent",
            "{}",
            "invalid_model",
            Some("model"),
            "control characters",
        ),
        ("/v1beta/models/a/../b:generateContent", "{}", "invalid_path", None, "Invalid path"),
    ] {
        let (status, found, field, message) = refused(path, body).await;
        assert_eq!((status, found, field.as_deref()), (bad, Some(code), param), "{body}");
        assert!(message.contains(words), "{message}");
    }
    let deep = format!(r#"{{"model":"m","metadata":{}{}}}"#, "[".repeat(200), "]".repeat(200));
    assert_eq!(refused("/v1/messages", &deep).await.1, Some("nested_too_deep"));
    let deep = format!(r#"{{"generationConfig":{{"x":{}{}}}}}"#, "[".repeat(200), "]".repeat(200));
    assert_eq!(refused(GEMINI, &deep).await.1, Some("nested_too_deep"));
    for path in ["/v1/messages", GEMINI] {
        let form = Request::post(path).header("content-type", "text/plain");
        let probe = Probe::new(|_: Sent| std::future::ready(Ok::<_, BoxError>(Response::new(()))));
        let error = InspectLayer::new()
            .layer(probe)
            .oneshot(form.body(ScriptedBody::new([])).unwrap())
            .await;
        let error = error.unwrap_err();
        let refused = find_error::<BadRequest>(&*error).unwrap();
        assert_eq!(refused.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    // Numbers beyond a double are no reason to refuse.
    assert!(sent("/v1/messages", br#"{"model":"m","x":1e400}"#, None).await.is_ok());
}

#[tokio::test]
async fn other_calls_stream_through_with_their_dialect() {
    for (path, dialect, operation) in [
        ("/v1/messages/batches", Dialect::Anthropic, Operation::Batches),
        ("/v1/messages/later", Dialect::Anthropic, Operation::Other),
        ("/v1beta/models/m:predict", Dialect::Gemini, Operation::Other),
        ("/v1beta/cachedContents", Dialect::Gemini, Operation::Other),
    ] {
        let (request, bytes) = sent(path, b"no JSON", Some("other")).await.unwrap();
        let ask = request.extensions().get::<Ask>().unwrap();
        assert_eq!((ask.dialect, ask.operation), (dialect, operation), "{path}");
        assert_eq!((&bytes[..], request.uri().path()), (&b"no JSON"[..], path));
    }
}

#[test]
fn an_error_is_written_in_every_form() {
    for (status, anthropic, in_anthropic, gemini) in [
        (400, 400, "invalid_request_error", "INVALID_ARGUMENT"),
        (401, 401, "authentication_error", "UNAUTHENTICATED"),
        (402, 402, "billing_error", "RESOURCE_EXHAUSTED"),
        (403, 403, "permission_error", "PERMISSION_DENIED"),
        (404, 404, "not_found_error", "NOT_FOUND"),
        (405, 405, "invalid_request_error", "INVALID_ARGUMENT"),
        (408, 408, "timeout_error", "DEADLINE_EXCEEDED"),
        (409, 409, "conflict_error", "ABORTED"),
        (413, 413, "request_too_large", "INVALID_ARGUMENT"),
        (429, 429, "rate_limit_error", "RESOURCE_EXHAUSTED"),
        (500, 500, "api_error", "INTERNAL"),
        (502, 502, "api_error", "UNAVAILABLE"),
        (503, 529, "overloaded_error", "UNAVAILABLE"),
        (504, 504, "timeout_error", "DEADLINE_EXCEEDED"),
    ] {
        let mut error = ErrorReply::new(StatusCode::from_u16(status).unwrap(), "a \"b\"\n");
        error.request_id = Some("r\"1");
        error.param = Some("n");
        error.code = Some("c");
        let body = |dialect| -> Value { serde_json::from_slice(&error.body_in(dialect)).unwrap() };
        assert_eq!(error.status_in(Dialect::Anthropic), anthropic);
        assert_eq!(
            (error.status_in(Dialect::OpenAi), error.status_in(Dialect::Gemini)),
            (error.status, error.status)
        );
        let inner = json!({"type": in_anthropic, "message": "a \"b\"\n"});
        assert_eq!(
            body(Dialect::Anthropic),
            json!({"type": "error", "error": inner, "request_id": "r\"1"})
        );
        let inner = json!({"code": status, "message": "a \"b\"\n", "status": gemini});
        assert_eq!(body(Dialect::Gemini), json!({"error": inner}));
        let inner = json!({"message": "a \"b\"\n", "type": error.kind, "param": "n", "code": "c"});
        assert_eq!(body(Dialect::OpenAi), json!({"error": inner}));
    }
}

#[tokio::test]
async fn a_refusal_is_written_in_every_form() {
    let error = sent("/v1/messages", b"{}", None).await.unwrap_err();
    let refused = find_error::<BadRequest>(&*error).unwrap();
    let reply = ErrorReply::of_request(refused);
    assert_eq!(reply.body_in(Dialect::OpenAi), refused.to_body());
    let body: Value = serde_json::from_slice(&reply.body_in(Dialect::Gemini)).unwrap();
    assert_eq!(body["error"]["message"], refused.message());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_splice_changes_the_model_and_nothing_else(
        before in "[a-z]{1,5}", model in ".{1,20}", to in ".{1,20}", text in ".{0,20}",
    ) {
        prop_assume!(!model.chars().any(char::is_control) && before != "model");
        let write = |model: &str| format!(
            r#"{{"x{before}" :  {}, "model":{} ,"messages":[{{"model":"{before}"}}]}}"#,
            json!(text), json!(model),
        );
        let body = Bytes::from(write(&model));
        let (ask, edits) = anthropic::request::read(Operation::Messages, &body).unwrap();
        prop_assert_eq!(ask.model(), Some(&*model));
        prop_assert_eq!(edits.apply(&body, Some(&to), true), write(&to));
        prop_assert_eq!(edits.apply(&body, None, true).as_ptr(), body.as_ptr());
    }

    #[test]
    fn reading_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..80), text in "[\\[\\]{}\":,a-z0-9]{0,60}") {
        let call = Call::of("/v1/models/m:generateContent").unwrap();
        let nested = format!(r#"{{"model":"m","generationConfig":{text}}}"#).into_bytes();
        for bytes in [bytes, text.into_bytes(), nested] {
            let _ = anthropic::request::read(Operation::Messages, &bytes);
            let _ = gemini::request::read(&call, &bytes);
        }
    }
}
