//! A 200 that is no reply, and a stream that begins with what nobody can read, fail over.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{
    call::{Out, Sent, answering, call, metered, read, request, streaming, streaming_with_usage},
    sample,
};
use http::{Response, StatusCode, header};
use serde_json::Value;
use tollway_core::{BoxError, ErrorClass, Failure, Metered, Operation};
use tollway_dialect::{AttemptConfig, AttemptLayer, Commit};
use tollway_testkit::{Probe, ScriptedBody, Step};
use tower::{Layer, ServiceExt};

const HTML: &str = "<html><body>502 Bad Gateway</body></html>";
const ONLY_JSON: [Operation; 5] = [
    Operation::ChatCompletions,
    Operation::Completions,
    Operation::Responses,
    Operation::Embeddings,
    Operation::Moderations,
];

fn plain(operation: Operation) -> Sent {
    request(operation, r#"{"model":"m"}"#)
}

async fn refused(response: Out, class: ErrorClass) -> String {
    let failure = response.extensions().get::<Failure>().unwrap();
    assert_eq!(failure.class(), class);
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
    assert!(response.extensions().get::<Metered>().is_none());
    let body: Value = serde_json::from_slice(&read(response.into_body()).await.bytes).unwrap();
    assert_eq!(body["error"]["type"], "server_error");
    body["error"]["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_page_is_no_reply() {
    for kind in ["text/html; charset=utf-8", "text/plain", "application/octet-stream", ""] {
        let html = || vec![Step::data(&HTML[..3]), Step::Yield, Step::data(&HTML[3..])];
        for operation in ONLY_JSON {
            let response = call(plain(operation), 200, kind, html()).await;
            let message = refused(response, ErrorClass::Server).await;
            assert!(message.contains("valid JSON") && message.contains(kind), "{message}");
        }
        refused(call(streaming(), 200, kind, html()).await, ErrorClass::Server).await;
        let mut head = AttemptConfig::default();
        head.commit = Commit::Head;
        let (service, _) = answering(head, 200, kind, html());
        refused(service.oneshot(streaming()).await.unwrap(), ErrorClass::Server).await;
        // What these answer may be anything.
        for operation in [Operation::Images, Operation::Audio, Operation::Files] {
            let response = call(plain(operation), 200, kind, html()).await;
            assert_eq!(response.status(), 200);
            assert_eq!(read(response.into_body()).await.bytes, HTML.as_bytes());
        }
    }
    // A type that says what it is not, whatever is in it.
    for kind in ["text/html", "application/x-ndjson", "image/png"] {
        let steps = vec![Step::data("{}")];
        let response = call(plain(Operation::ChatCompletions), 200, kind, steps).await;
        refused(response, ErrorClass::Server).await;
    }
}

#[tokio::test]
async fn without_a_type_the_first_bytes_tell() {
    let json = sample("openai/chat_basic.res.json");
    let sse = sample("openai/chat_stream_usage.sse");
    for kind in ["", "text/plain; charset=utf-8", "application/octet-stream"] {
        for size in [1, 3, 1 << 20] {
            let cut = |before: &str, bytes: &[u8]| -> (Vec<u8>, Vec<Step>) {
                let bytes = [before.as_bytes(), bytes].concat();
                let steps = bytes.chunks(size).map(|chunk| Step::data(chunk.to_vec())).collect();
                (bytes, steps)
            };
            for before in ["", "\n \n"] {
                let (bytes, steps) = cut(before, &json);
                let response = call(plain(Operation::ChatCompletions), 200, kind, steps).await;
                assert!(metered(&response).usage().is_some(), "{kind}: {size}");
                assert_eq!(read(response.into_body()).await.bytes, bytes);
            }
            for before in
                ["", "\u{feff}", "\n", ": hello\n\n", "event: x\n", "retry: 1\n", "id:2\n"]
            {
                let (bytes, steps) = cut(before, &sse);
                for commit in [Commit::FirstToken, Commit::Head] {
                    let mut config = AttemptConfig::default();
                    config.commit = commit;
                    let (service, _) = answering(config, 200, kind, steps.clone());
                    let response = service.oneshot(streaming_with_usage()).await.unwrap();
                    let metered = metered(&response);
                    assert_eq!(read(response.into_body()).await.bytes, bytes, "{before:?}");
                    assert!(metered.usage().is_some() && metered.failure().is_none());
                }
                // Nobody asked for a stream.
                let response = call(plain(Operation::ChatCompletions), 200, kind, steps).await;
                refused(response, ErrorClass::Server).await;
            }
        }
    }
}

#[tokio::test]
async fn an_empty_200_is_no_reply() {
    for kind in ["", "text/plain", "application/json", "text/event-stream"] {
        for steps in [vec![], vec![Step::data("\n")]] {
            let response = call(streaming(), 200, kind, steps.clone()).await;
            refused(response, ErrorClass::Server).await;
        }
    }
    for begun in ["", "\n", "dat", "da:"] {
        let steps = vec![Step::data(begun)];
        let steps = steps.into_iter().filter(|_| !begun.is_empty());
        let response = call(streaming(), 200, "", steps.collect()).await;
        refused(response, ErrorClass::Server).await;
    }
    let steps = vec![Step::data("\n"), Step::Error("reset")];
    refused(call(streaming(), 200, "", steps).await, ErrorClass::Network).await;
    let blank = vec![Step::data("\n".repeat(1000)); 5];
    let blank = blank.into_iter().chain([Step::Stall]).collect();
    refused(call(streaming(), 200, "", blank).await, ErrorClass::Server).await;
}

#[tokio::test]
async fn what_is_compressed_all_the_same_passes_unread() {
    let probe = Probe::new(|_: Sent| {
        let response = Response::builder()
            .header("content-type", "text/plain")
            .header("content-encoding", "br");
        let body = ScriptedBody::new([Step::data(HTML)]);
        std::future::ready(Ok::<_, BoxError>(response.body(body).unwrap()))
    });
    let response = AttemptLayer::new().layer(probe).oneshot(streaming()).await.unwrap();
    assert_eq!((response.status().as_u16(), metered(&response).usage()), (200, None));
    assert_eq!(read(response.into_body()).await.bytes, HTML.as_bytes());
}

#[tokio::test]
async fn a_start_that_nobody_can_read_is_a_dead_one() {
    const CONTENT: &[u8] = b"data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
    const ROLE: &[u8] =
        b"data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n";
    for bad in [
        &b"data: {\"id\":\"chatcmpl-\xFF\xFE, oops\n\n"[..],
        b"data: {\"choices\":\n\n",
        b"data: <html>\n\n",
        b"data: {\"choices\":[{\"delta\":{},\"x\":\"\xFF\"}]}\n\n",
    ] {
        for before in [&b""[..], ROLE, b": ping\n\n"] {
            let bytes = [before, bad, CONTENT, b"data: [DONE]\n\n"].concat();
            for size in [1, bytes.len()] {
                let steps: Vec<_> =
                    bytes.chunks(size).map(|chunk| Step::data(chunk.to_vec())).collect();
                let response = call(streaming(), 200, "text/event-stream", steps.clone()).await;
                let message = refused(response, ErrorClass::Server).await;
                assert!(message.contains("not valid JSON"), "{message}");
                // A head that is out can't be taken back.
                let mut config = AttemptConfig::default();
                config.commit = Commit::Head;
                let (service, _) = answering(config, 200, "text/event-stream", steps);
                let response = service.oneshot(streaming()).await.unwrap();
                let metered = metered(&response);
                assert_eq!(read(response.into_body()).await.bytes, bytes);
                assert_eq!(metered.failure().unwrap().class(), ErrorClass::Server);
            }
        }
        let bytes = [CONTENT, bad, b"data: [DONE]\n\n"].concat();
        let response =
            call(streaming(), 200, "text/event-stream", vec![Step::data(bytes.clone())]).await;
        let metered = metered(&response);
        assert_eq!(read(response.into_body()).await.bytes, bytes);
        assert!(metered.failure().is_none());
    }
    // Empty data, and JSON that says nothing known, break nobody.
    for odd in ["data:\n\n", "data: \n\n", "data: 7\n\n", "data: {\"choices\":7}\n\n"] {
        let bytes = [odd.as_bytes(), CONTENT, b"data: [DONE]\n\n"].concat();
        let steps = vec![Step::data(bytes.clone())];
        let response = call(streaming(), 200, "text/event-stream", steps).await;
        assert_eq!(read(response.into_body()).await.bytes, bytes, "{odd}");
    }
}
