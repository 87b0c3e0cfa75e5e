//! Error replies that a client could not read, or must not.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::call::{Out, Sent, call, read, request};
use http::{Response, header};
use serde_json::Value;
use tollway_core::{BoxError, ErrorClass, Failure, Operation, ProxyCredential};
use tollway_dialect::{AttemptConfig, AttemptLayer};
use tollway_testkit::{Probe, ScriptedBody, Step};
use tower::{Layer, ServiceExt};

const HTML: &str = "<html><body>Bad Gateway</body></html>";
const KEY: &str = r#"{"error":{"message":"Incorrect API key provided: sk-opera***tor1.","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}"#;

fn ask(operation: Operation) -> Sent {
    request(operation, r#"{"model":"m"}"#)
}

async fn replaced(response: Out, status: u16) -> Value {
    assert_eq!(response.status(), status, "the provider's own");
    let headers = response.headers().clone();
    assert_eq!(headers[header::CONTENT_TYPE], "application/json");
    assert!(!headers.contains_key(header::CONTENT_ENCODING));
    let failure = response.extensions().get::<Failure>().unwrap().message().to_owned();
    let bytes = read(response.into_body()).await.bytes;
    assert_eq!(headers[header::CONTENT_LENGTH], bytes.len().to_string());
    let body: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(body["error"]["message"], failure);
    assert!(body["error"]["type"].is_string());
    body
}

#[tokio::test]
async fn an_error_that_is_no_json_is_told_in_the_right_shape() {
    for operation in [
        Operation::ChatCompletions,
        Operation::Completions,
        Operation::Responses,
        Operation::Embeddings,
        Operation::Moderations,
    ] {
        for (status, class) in [
            (400, ErrorClass::Invalid),
            (401, ErrorClass::Auth),
            (429, ErrorClass::RateLimit),
            (500, ErrorClass::Server),
            (502, ErrorClass::Server),
            (503, ErrorClass::Overloaded),
        ] {
            let steps = vec![Step::data(&HTML.as_bytes()[..9]), Step::data(&HTML.as_bytes()[9..])];
            let response = call(ask(operation), status, "text/html", steps).await;
            assert_eq!(response.extensions().get::<Failure>().unwrap().class(), class);
            assert_eq!(response.headers()["x-request-id"], "r1");
            replaced(response, status).await;
        }
    }
    let broken = [
        vec![],
        vec![Step::data("upstream connect error")],
        vec![Step::data("null")],
        vec![Step::data(r#""no""#)],
        vec![Step::data(r#"{"error":{"mess"#)],
        vec![Step::data(r#"{"error":"#), Step::Error("reset")],
        vec![Step::data(&b"{\"error\":\"\xFF\"}"[..])],
        // A page over the bound is not read to its end.
        vec![Step::data("<".repeat(100_000)), Step::Stall],
    ];
    for steps in broken {
        let response = call(ask(Operation::ChatCompletions), 500, "application/json", steps).await;
        replaced(response, 500).await;
    }
}

#[tokio::test]
async fn a_packed_error_is_told_unpacked() {
    let probe = Probe::new(|_: Sent| {
        let body = ScriptedBody::new([Step::data(&b"\x1f\x8b\x08\x00"[..])]);
        let response = Response::builder().status(500).header("content-encoding", "gzip");
        std::future::ready(Ok::<_, BoxError>(response.body(body).unwrap()))
    });
    let service = AttemptLayer::new().layer(probe);
    replaced(service.oneshot(ask(Operation::ChatCompletions)).await.unwrap(), 500).await;
}

#[tokio::test]
async fn errors_that_can_be_read_pass_untouched() {
    let html = vec![Step::data(HTML)];
    for operation in [Operation::Audio, Operation::Images, Operation::Files, Operation::Other] {
        let response = call(ask(operation), 500, "text/html", html.clone()).await;
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/html");
        assert_eq!(read(response.into_body()).await.bytes, HTML.as_bytes());
    }
    let array = r#" [ {"error":{"code":503,"status":"UNAVAILABLE"}}]"#;
    for body in [KEY, array, r#" {"detail":"x"} "#, r#"{"zz":1e400}"#, "{}"] {
        let response =
            call(ask(Operation::ChatCompletions), 401, "text/plain", vec![Step::data(body)]).await;
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/plain");
        assert_eq!(read(response.into_body()).await.bytes, body.as_bytes());
    }
}

async fn with_our_key(operation: Operation, status: u16, body: String) -> Out {
    let probe = Probe::new(move |_: Sent| {
        let body = ScriptedBody::new([Step::data(body.clone())]);
        let response =
            Response::builder().status(status).header("content-type", "application/json");
        let response = response.extension(ProxyCredential::default()).body(body).unwrap();
        std::future::ready(Ok::<_, BoxError>(response))
    });
    let mut config = AttemptConfig::default();
    config.max_error = 4096;
    let service = AttemptLayer::with_config(config).unwrap().layer(probe);
    service.oneshot(ask(operation)).await.unwrap()
}

#[tokio::test]
async fn what_is_said_of_the_proxys_own_key_stays_here() {
    let long = KEY.replace("tor1", &"x".repeat(5000));
    for (operation, status, body) in [
        (Operation::ChatCompletions, 401, KEY),
        (Operation::ChatCompletions, 403, KEY),
        (Operation::ChatCompletions, 400, KEY),
        (Operation::ChatCompletions, 200, KEY),
        (Operation::ChatCompletions, 401, &long),
        (Operation::Audio, 401, KEY),
        (Operation::Models, 401, KEY),
        (Operation::Other, 401, "sk-opera***tor1 is wrong"),
    ] {
        // Google says 400 of a bad key.
        let told = if status == 400 { 401 } else { status };
        let body = replaced(with_our_key(operation, status, body.to_owned()).await, told).await;
        assert!(!body.to_string().contains("sk-"), "{body}");
        assert_eq!(body["error"]["code"], "invalid_api_key");
    }
    // Of anything else it may speak.
    let quota = r#"{"error":{"message":"sk-","code":"insufficient_quota"}}"#;
    let response = with_our_key(Operation::ChatCompletions, 429, quota.to_owned()).await;
    assert_eq!(read(response.into_body()).await.bytes, quota.as_bytes());
}

/// In a stream whose head is out already.
#[tokio::test]
async fn nor_does_it_go_out_in_a_stream() {
    for first in ["", "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"}}]}\n\n"] {
        let text = format!("{first}data: {KEY}\n\n");
        for size in [1, 7, 4096] {
            let steps: Vec<Step> =
                text.as_bytes().chunks(size).map(|chunk| Step::data(chunk.to_vec())).collect();
            let probe = Probe::new(move |_: Sent| {
                let reply = Response::builder().header("content-type", "text/event-stream");
                let reply = reply.extension(ProxyCredential::default());
                let reply = reply.body(ScriptedBody::new(steps.clone())).unwrap();
                std::future::ready(Ok::<_, BoxError>(reply))
            });
            let mut config = AttemptConfig::default();
            config.commit = tollway_dialect::Commit::Head;
            let service = AttemptLayer::with_config(config).unwrap().layer(probe);
            let reply = service.oneshot(ask(Operation::ChatCompletions)).await.unwrap();
            let told = read(reply.into_body()).await.bytes;
            let told = String::from_utf8(told.to_vec()).unwrap();
            assert!(told.starts_with(first) && !told.contains("tor1"), "{size}: {told}");
            assert!(told.contains("refused the credential"), "{size}: {told}");
        }
    }
}
