//! Drives the program as a service.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Request},
};
use serde_json::{Value, json};
use std::sync::mpsc::{Receiver, channel};
use tollway_core::{Ending, Operation, Usage};
use tollway_cost::Record;
use tower::ServiceExt;

fn start() -> (Router, Receiver<Record>) {
    let (tell, records) = channel();
    let app = example_dialect_axum::app(move |record: &Record| drop(tell.send(record.clone())));
    (app.unwrap(), records)
}

/// What six tokens in and two out are in this program, and what they cost in USD.
const USED: (u64, u64) = (6, 2);
const COST: &str = "0.0000021";

fn ask() -> Value {
    json!({ "model": "parrot", "messages": [
        { "role": "system", "content": "You are a parrot" },
        { "role": "user", "content": "hello there" },
    ]})
}

async fn send(app: &Router, body: String) -> (u16, HeaderMap, String) {
    let request = Request::post("/v1/chat/completions").header("content-type", "application/json");
    let response = app.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
    let (head, body) = response.into_parts();
    let body = to_bytes(body, 1 << 16).await.unwrap().to_vec();
    (head.status.as_u16(), head.headers, String::from_utf8(body).unwrap())
}

#[tokio::test]
async fn a_reply_is_metered_and_priced() {
    let (app, records) = start();
    let (status, headers, body) = send(&app, ask().to_string()).await;
    assert_eq!((status, &headers["x-tollway-cost-usd"]), (200, &COST.parse().unwrap()));
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["choices"][0]["message"]["content"], "hello there");

    let record = records.try_recv().unwrap();
    assert_eq!(record.ask.operation, Operation::ChatCompletions);
    assert_eq!(record.usage, Some(Usage::new(USED.0, USED.1)), "what the reply reports");
    assert_eq!((record.cost, record.ending), (COST.parse().ok(), Ending::Complete));
}

#[tokio::test]
async fn a_stream_is_metered_whether_or_not_its_caller_asked_for_usage() {
    let (app, records) = start();
    let mut request = ask();
    request["stream"] = json!(true);
    let (_, headers, without) = send(&app, request.to_string()).await;
    assert_eq!(headers["content-type"], "text/event-stream");
    request["stream_options"] = json!({ "include_usage": true });
    let (_, _, with) = send(&app, request.to_string()).await;

    for stream in [&without, &with] {
        assert!(stream.contains(r#""content":"hello ""#) && stream.ends_with("data: [DONE]\n\n"));
        let record = records.try_recv().unwrap();
        assert_eq!(record.usage, Some(Usage::new(USED.0, USED.1)));
        assert_eq!(record.cost, COST.parse().ok());
        assert!(record.first_token.is_some());
    }
    assert!(with.contains(r#""total_tokens":8"#), "{with}");
    assert!(!without.contains("total_tokens"), "the caller did not ask for it: {without}");
}

#[tokio::test]
async fn what_is_wrong_is_told_in_the_callers_terms() {
    let (app, records) = start();
    let (status, _, body) = send(&app, r#"{"model": "parrot", "messages": "#.into()).await;
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &body["error"]["type"]), (400, &json!("invalid_request_error")));
    assert!(records.try_recv().is_err(), "refused before it could cost anything");

    let mut request = ask();
    request["model"] = json!("owl");
    let (status, headers, body) = send(&app, request.to_string()).await;
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &body["error"]["code"]), (404, &json!("model_not_found")));
    assert!(!headers.contains_key("x-tollway-cost-usd"));
    let record = records.try_recv().unwrap();
    assert_eq!((record.usage, record.cost), (None, None), "unknown, which is not zero");
}
