//! The attempt layer: what goes upstream, what comes back, what is noted.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::{
    call::{
        STOPPED, Sent, answering, call, metered, read, request, steps, stream, streaming,
        streaming_with_usage, told, untold,
    },
    check_usage, class_name, cuts, expected, sample,
};
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body::Body;
use http_body_util::BodyExt;
use serde_json::Value;
use tollway_core::{BoxError, ErrorClass, Failure, Metered, Operation, Target, Usage};
use tollway_dialect::{AttemptConfig, AttemptLayer, Commit, RequestBody};
use tollway_testkit::{Probe, ScriptedBody, Step};
use tower::{Layer, ServiceExt};

#[tokio::test]
async fn every_stream_sample_passes_untouched_whichever_way_it_is_cut() {
    for (name, expected) in expected(".sse") {
        let bytes = sample(&name);
        let mut through = bytes.clone();
        if name.ends_with("truncated.sse") {
            let whole = bytes.windows(2).rposition(|pair| pair == b"\n\n").unwrap() + 2;
            through.truncate(whole);
            through.extend_from_slice(told(STOPPED).as_bytes());
        }
        let responses = name.contains("responses");
        let before_content = expected.pointer("/error/after_first_byte")
            != Some(&Value::Bool(true))
            && expected.get("error").is_some();
        for chunks in cuts(&bytes) {
            let request = match responses {
                true => request(Operation::Responses, r#"{"model":"m","stream":true}"#),
                false => streaming_with_usage(),
            };
            let response = stream(request, &chunks).await;
            if before_content {
                let failure = response.extensions().get::<Failure>().unwrap();
                assert_eq!(class_name(failure.class()), expected["error"]["class"], "{name}");
                assert!(!response.status().is_success(), "{name}");
                continue;
            }
            assert_eq!(response.status(), 200, "{name}");
            let metered = metered(&response);
            let read = read(response.into_body()).await;
            assert!(read.bytes == through, "{name}: cut at {}", chunks[0].len());
            check_usage(&name, &expected, metered.usage());
            assert!(metered.first_token().is_some(), "{name}");
            match expected.get("error") {
                None => assert!(metered.failure().is_none(), "{name}"),
                Some(error) => {
                    let class = metered.failure().unwrap().class();
                    assert_eq!(class_name(class), error["class"], "{name}");
                }
            }
        }
    }
}

#[tokio::test]
async fn failures_before_content_become_answers() {
    let role = Step::data(
        r#"data: {"choices":[{"delta":{"role":"assistant","content":""}}]}"#.to_owned() + "\n\n",
    );
    let ping = Step::data(": keep-alive\n\n");
    let error = |body: &'static str| Step::data(format!("data: {body}\n\n"));
    for (steps, status, class) in [
        (vec![], 502, ErrorClass::Server),
        (vec![ping.clone(), Step::Error("reset")], 502, ErrorClass::Network),
        (vec![role.clone(), ping.clone()], 502, ErrorClass::Server),
        (vec![role.clone(), Step::data("data: {\"choi")], 502, ErrorClass::Server),
        (vec![role.clone(), Step::data(vec![0xFF, 0, b'\n', b'\n'])], 502, ErrorClass::Server),
        (
            vec![role.clone(), error(r#"{"error":{"type":"overloaded_error","message":"x"}}"#)],
            503,
            ErrorClass::Overloaded,
        ),
        (
            vec![
                ping,
                error(
                    r#"{"error":{"code":"rate_limit_exceeded","message":"Please try again in 1.2s."}}"#,
                ),
            ],
            429,
            ErrorClass::RateLimit,
        ),
        (
            vec![error(r#"{"error":{"code":429,"message":"x","status":"RESOURCE_EXHAUSTED"}}"#)],
            429,
            ErrorClass::RateLimit,
        ),
        (
            vec![error(r#"{"type":"error","message":"x","code":"server_error"}"#)],
            502,
            ErrorClass::Server,
        ),
        (
            vec![error(r#"{"choices":[],"x_groq":{"id":"r","error":"over capacity"}}"#)],
            502,
            ErrorClass::Server,
        ),
    ] {
        let response = call(streaming(), 200, "text/event-stream", steps).await;
        let failure = response.extensions().get::<Failure>().unwrap();
        assert_eq!(failure.class(), class, "{failure}");
        assert_eq!(response.status(), status, "{failure}");
        assert!(response.extensions().get::<Metered>().is_none());
        assert_eq!(response.headers()["x-request-id"], "r1");
        assert_eq!(response.headers()["content-type"], "application/json");
        if failure.retry_after().is_some() {
            assert_eq!(response.headers()["retry-after"], "2");
        }
        let length = response.headers()["content-length"].clone();
        let body = read(response.into_body()).await.bytes;
        assert_eq!(length, body.len().to_string());
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert!(body["error"]["message"].is_string() && body["error"]["type"].is_string());
    }
}

#[tokio::test]
async fn the_head_waits_for_content_and_keeps_the_order() {
    let chunks = sample("deepseek/chat_stream_keepalive.sse");
    let chunks: Vec<_> = chunks.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
    let mut steps: Vec<_> = chunks.iter().map(|chunk| Step::data(chunk.clone())).collect();
    // Four lines of keep-alive, a role chunk and its empty line: then nothing.
    steps.insert(6, Step::Stall);
    let (service, _) = answering(AttemptConfig::default(), 200, "text/event-stream", steps.clone());
    let mut waiting = tokio_test_task(service.oneshot(streaming()));
    assert!(waiting.poll_once().is_none(), "no content yet");
    let mut head = AttemptConfig::default();
    head.commit = Commit::Head;
    let (service, _) = answering(head, 200, "text/event-stream", steps.clone());
    let response = service.oneshot(streaming()).await.unwrap();
    assert_eq!(response.status(), 200);
    steps.remove(6);
    let response = call(streaming(), 200, "text/event-stream", steps).await;
    assert_eq!(read(response.into_body()).await.bytes, chunks.concat());
}

/// Polls a future by hand.
struct Task<F>(std::pin::Pin<Box<F>>);

fn tokio_test_task<F: Future>(future: F) -> Task<F> {
    Task(Box::pin(future))
}

impl<F: Future> Task<F> {
    fn poll_once(&mut self) -> Option<F::Output> {
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        match self.0.as_mut().poll(&mut cx) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        }
    }
}

#[tokio::test]
async fn what_is_held_back_is_bounded() {
    let mut config = AttemptConfig::default();
    config.max_held = 100;
    let steps = vec![Step::data(": keep-alive\n\n".repeat(10)), Step::Stall];
    let (service, _) = answering(config, 200, "text/event-stream", steps);
    assert_eq!(service.oneshot(streaming()).await.unwrap().status(), 200);
    let mut config = AttemptConfig::default();
    config.max_held_events = 3;
    let steps = vec![Step::data("data: {}\n\n".repeat(3)), Step::Stall];
    let (service, _) = answering(config, 200, "text/event-stream", steps);
    assert_eq!(service.oneshot(streaming()).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_giant_event_passes_unread() {
    let mut config = AttemptConfig::default();
    config.max_event = 64;
    let giant = format!(
        "data: {{\"choices\":[],\"usage\":{{\"prompt_tokens\":1}},\"x\":\"{}\"}}\n\n",
        "y".repeat(500)
    );
    let text = format!(
        "{giant}data: {{\"choices\":[{{\"delta\":{{\"content\":\"a\"}}}}]}}\n\ndata: [DONE]\n\n"
    );
    for size in [1, 7, 100, text.len()] {
        let steps = text.as_bytes().chunks(size).map(|chunk| Step::data(chunk.to_vec())).collect();
        let (service, _) = answering(config, 200, "text/event-stream", steps);
        let response = service.oneshot(streaming()).await.unwrap();
        let metered = metered(&response);
        assert_eq!(read(response.into_body()).await.bytes, text.as_bytes());
        assert_eq!((metered.usage(), metered.output_bytes()), (None, 1));
    }
}

#[tokio::test]
async fn trailers_pass_and_the_meter_is_final_before_the_end() {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-late", "1".parse().unwrap());
    let bytes = sample("openai/chat_stream_usage.sse");
    let steps = vec![Step::data(bytes), Step::Trailers(trailers.clone())];
    let response = call(streaming(), 200, "text/event-stream", steps.clone()).await;
    assert_eq!(read(response.into_body()).await.trailers, Some(trailers.clone()));
    let audio = request(Operation::Audio, r#"{"model":"m"}"#);
    let response = call(audio, 200, "application/octet-stream", steps).await;
    assert_eq!(read(response.into_body()).await.trailers, Some(trailers));
}

#[tokio::test]
async fn a_body_that_knows_its_end_settles_with_its_last_frame() {
    let bytes = sample("openai/chat_stream_truncated.sse");
    let probe = Probe::new(move |_: Sent| {
        let body = http_body_util::Full::new(Bytes::from(bytes.clone()));
        let response = Response::builder().header("content-type", "text/event-stream");
        std::future::ready(Ok::<_, BoxError>(response.body(body).unwrap()))
    });
    let response = AttemptLayer::new().layer(probe).oneshot(streaming()).await.unwrap();
    let metered = response.extensions().get::<Metered>().unwrap().clone();
    let mut body = response.into_body();
    while !body.is_end_stream() {
        body.frame().await.unwrap().unwrap();
    }
    assert_eq!(metered.failure().unwrap().class(), ErrorClass::Server);
}

#[tokio::test]
async fn a_client_that_leaves_keeps_what_was_seen() {
    let text = String::from_utf8(sample("openai/chat_stream_usage.sse")).unwrap();
    let steps = text.split_inclusive("\n\n").map(|event| Step::data(event.to_owned())).collect();
    let response = call(streaming(), 200, "text/event-stream", steps).await;
    let metered = metered(&response);
    let mut body = response.into_body();
    for _ in 0..3 {
        body.frame().await.unwrap().unwrap();
    }
    drop(body);
    assert_eq!(metered.output_bytes(), "Hello there".len() as u64);
    assert!(metered.failure().is_none());
    assert_eq!(metered.usage_or_estimate(7), Usage::new(7, 3).estimated());
}

#[tokio::test]
async fn json_replies_are_read_and_passed_on() {
    for (name, expected) in expected(".res.json") {
        let operation = match name.contains("responses") {
            true => Operation::Responses,
            false => Operation::ChatCompletions,
        };
        let bytes = sample(&name);
        for size in [1, 100, bytes.len()] {
            let steps = bytes.chunks(size).map(|chunk| Step::data(chunk.to_vec())).collect();
            let response =
                call(request(operation, r#"{"model":"m"}"#), 200, "application/json", steps).await;
            check_usage(&name, &expected, metered(&response).usage());
            assert!(response.extensions().get::<Failure>().is_none(), "{name}");
            assert_eq!(response.body().size_hint().exact(), Some(bytes.len() as u64));
            assert_eq!(read(response.into_body()).await.bytes, bytes);
        }
    }
}

#[tokio::test]
async fn a_json_answer_to_a_stream_request_is_read_too() {
    let body = r#"{"error":{"message":"x","type":"overloaded_error"}}"#;
    let response = call(streaming(), 200, "application/json", vec![Step::data(body)]).await;
    let failure = response.extensions().get::<Failure>().unwrap();
    assert_eq!(failure.class(), ErrorClass::Overloaded);
    assert_eq!(read(response.into_body()).await.bytes, body.as_bytes());
}

#[tokio::test]
async fn broken_json_replies_become_failures() {
    let ask = || request(Operation::ChatCompletions, r#"{"model":"m"}"#);
    let half = Step::data(&b"{\"choices\":["[..]);
    for (steps, class) in [
        (vec![half.clone()], ErrorClass::Server),
        (vec![], ErrorClass::Server),
        (vec![Step::data("<html>")], ErrorClass::Server),
        (vec![half, Step::Error("reset")], ErrorClass::Network),
    ] {
        let response = call(ask(), 200, "application/json", steps).await;
        assert_eq!(response.extensions().get::<Failure>().unwrap().class(), class);
        assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    }
    // JSON of a shape that is not known is the caller's business.
    let steps = vec![Step::data(r#"{"choices":7}"#)];
    let response = call(ask(), 200, "application/json", steps).await;
    assert_eq!((response.status(), metered(&response).usage()), (StatusCode::OK, None));
}

#[tokio::test]
async fn a_reply_over_the_bound_streams_on() {
    let mut config = AttemptConfig::default();
    config.max_reply = 10;
    config.max_error = 10;
    for status in [200, 500] {
        let steps = (0..8).map(|_| Step::data("{\"1234\"")).collect();
        let (service, _) = answering(config, status, "application/json", steps);
        let response = service.oneshot(request(Operation::Embeddings, r#"{"model":"m"}"#)).await;
        let response = response.unwrap();
        assert_eq!(response.extensions().get::<Failure>().is_some(), status == 500);
        assert_eq!(read(response.into_body()).await.bytes, "{\"1234\"".repeat(8).as_bytes());
    }
}

#[tokio::test]
async fn error_replies_pass_unchanged_with_their_meaning() {
    for (name, expected) in expected(".http") {
        let reply = common::http(&name);
        let (body, status) = (reply.body.clone(), reply.status);
        let probe = Probe::new(move |_: Sent| {
            let steps = [Step::data(reply.body.clone())];
            let mut response = Response::new(ScriptedBody::new(steps));
            *response.status_mut() = reply.status;
            *response.headers_mut() = reply.headers.clone();
            std::future::ready(Ok::<_, BoxError>(response))
        });
        let response = AttemptLayer::new().layer(probe).oneshot(streaming()).await.unwrap();
        assert_eq!(response.status(), status, "{name}");
        let failure = response.extensions().get::<Failure>();
        match expected.get("error") {
            None => assert!(failure.is_none(), "{name}"),
            Some(error) => assert_eq!(class_name(failure.unwrap().class()), error["class"]),
        }
        let out = read(response.into_body()).await.bytes;
        match name.contains("html") {
            true => assert!(serde_json::from_slice::<Value>(&out).is_ok(), "{name}"),
            false => assert_eq!(out, body, "{name}"),
        }
    }
}

#[tokio::test]
async fn the_request_is_fitted_to_its_target() {
    let target = |model: &str| Target::new("p", "k", Some(model.into()));
    let (service, seen) = answering(AttemptConfig::default(), 200, "text/plain", vec![]);
    let mut one = streaming();
    one.extensions_mut().insert(target("gpt-x"));
    one.headers_mut().insert(header::ACCEPT_ENCODING, "gzip, br".parse().unwrap());
    one.headers_mut().insert(header::TRANSFER_ENCODING, "chunked".parse().unwrap());
    service.clone().oneshot(one).await.unwrap();
    let sent = seen.lock().unwrap().pop().unwrap();
    let body = r#"{"stream_options":{"include_usage":true},"model":"gpt-x","stream":true}"#;
    assert_eq!(sent.body().as_bytes().unwrap(), body);
    assert_eq!(sent.headers()[header::CONTENT_LENGTH], body.len().to_string());
    assert_eq!(sent.headers()[header::ACCEPT_ENCODING], "identity");
    assert!(!sent.headers().contains_key(header::TRANSFER_ENCODING));

    // The same model, usage asked for already: the very same bytes.
    let mut one = streaming_with_usage();
    let before = one.body().as_bytes().unwrap().as_ptr();
    one.extensions_mut().insert(target("m"));
    service.clone().oneshot(one).await.unwrap();
    let sent = seen.lock().unwrap().pop().unwrap();
    assert_eq!(sent.body().as_bytes().unwrap().as_ptr(), before);

    // Held, but from elsewhere: where it could be edited is not known, and no usage is left out.
    let mut one = streaming();
    *one.body_mut() = RequestBody::buffered(r#"{"stream":true,"model":"m"}"#);
    one.extensions_mut().insert(target("gpt-x"));
    assert_eq!(one.body().try_clone().unwrap().edits(), Default::default());
    service.clone().oneshot(one).await.unwrap();
    let sent = seen.lock().unwrap().pop().unwrap();
    assert_eq!(sent.body().as_bytes().unwrap(), r#"{"stream":true,"model":"m"}"#);

    // A copy for the next attempt can be edited as the first.
    let copy = streaming().into_body().try_clone().unwrap();
    let mut one = streaming().map(|_| copy);
    one.extensions_mut().insert(target("a\"b"));
    service.clone().oneshot(one).await.unwrap();
    let sent = seen.lock().unwrap().pop().unwrap();
    let body = r#"{"stream_options":{"include_usage":true},"model":"a\"b","stream":true}"#;
    assert_eq!(sent.body().as_bytes().unwrap(), body);

    // Nothing is known of it: nothing is touched.
    let mut one = Request::post("/x").body(RequestBody::streaming(ScriptedBody::new([]))).unwrap();
    one.headers_mut().insert(header::ACCEPT_ENCODING, "gzip".parse().unwrap());
    service.oneshot(one).await.unwrap();
    let sent = seen.lock().unwrap().pop().unwrap();
    assert_eq!(sent.headers()[header::ACCEPT_ENCODING], "gzip");
}

#[tokio::test]
async fn usage_is_not_asked_for_against_the_policy() {
    let mut config = AttemptConfig::default();
    config.ask_for_usage = false;
    let bytes = sample("openai/chat_stream_usage.sse");
    let (service, seen) =
        answering(config, 200, "text/event-stream", vec![Step::data(bytes.clone())]);
    let response = service.oneshot(streaming()).await.unwrap();
    assert_eq!(read(response.into_body()).await.bytes, bytes);
    let sent = seen.lock().unwrap().pop().unwrap();
    assert_eq!(sent.body().as_bytes().unwrap(), r#"{"model":"m","stream":true}"#);
}

#[test]
fn a_bound_of_zero_is_refused() {
    let mut config = AttemptConfig::default();
    config.max_event = 0;
    let error = AttemptLayer::with_config(config).unwrap_err();
    assert_eq!(error.to_string(), "`max_event` must be at least 1");
}

#[tokio::test(start_paused = true)]
async fn chunks_leave_at_once() {
    let event = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
    let steps =
        (0..5).flat_map(|_| [Step::data(event), Step::Sleep(Duration::from_secs(1))]).collect();
    let start = tokio::time::Instant::now();
    let response = call(streaming(), 200, "text/event-stream", steps).await;
    let mut body = response.into_body();
    for second in 0..5 {
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), event);
        assert_eq!(start.elapsed(), Duration::from_secs(second));
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    #[test]
    fn garbage_passes_untouched_and_chunking_changes_nothing(
        parts in proptest::collection::vec(proptest::sample::select(vec![
            "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":1}}",
            "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}",
            "data: ", ": c", "\n", "\n\n", "\r\n\r\n", "\r", "[DONE]", "é", "{}", "event: x",
        ]), 0..24),
        size in 1usize..40,
    ) {
        let text = format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"x\"}}}}]}}\n\n{}", parts.concat());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let cut: Vec<_> = text.as_bytes().chunks(size).map(<[u8]>::to_vec).collect();
            let (asked, not) = (streaming_with_usage(), streaming());
            let response = untold(asked, steps(&cut)).await;
            let first = metered(&response);
            assert_eq!(read(response.into_body()).await.bytes, text.as_bytes());
            let whole = untold(not, vec![Step::data(text.clone())]).await;
            let pieces = untold(streaming(), steps(&cut)).await;
            for other in [metered(&whole), metered(&pieces)].into_iter().zip([whole, pieces]) {
                let (meter, response) = other;
                let bytes = read(response.into_body()).await.bytes;
                assert_eq!(meter.usage(), first.usage());
                assert_eq!(meter.output_bytes(), first.output_bytes());
                assert_eq!(meter.failure().map(Failure::class), first.failure().map(Failure::class));
                assert!(bytes.len() <= text.len());
            }
            let whole = read(untold(streaming(), vec![Step::data(text.clone())]).await.into_body()).await;
            let pieces = read(untold(streaming(), steps(&cut)).await.into_body()).await;
            assert_eq!(whole.bytes, pieces.bytes);
        });
    }
}
