//! Messages and generateContent through the layers: what is read, what passes, what is told.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{
    call::{BROKE, Out, STOPPED, answering, call, metered, read, request_in, steps},
    check_usage, class_name, cuts, expected_in, sample,
};
use http::{Response, header};
use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};
use tollway_core::{BoxError, Dialect, ErrorClass, Failure, ProxyCredential, Usage};
use tollway_dialect::{AttemptConfig, AttemptLayer, Commit, anthropic, gemini, sse::Parser};
use tollway_testkit::{Probe, ScriptedBody, Step};
use tower::{Layer, ServiceExt};

const BOTH: [Dialect; 2] = [Dialect::Anthropic, Dialect::Gemini];

async fn streamed(dialect: Dialect, steps: Vec<Step>) -> Out {
    call(request_in(dialect, true), 200, "text/event-stream", steps).await
}

/// The event behind a stream that broke, in the caller's form.
fn told(dialect: Dialect, message: &str) -> String {
    match dialect {
        Dialect::Anthropic => format!(
            "event: error\ndata: {{\"type\":\"error\",\"error\":{{\"type\":\"api_error\",\
             \"message\":\"{message}\"}}}}\n\n"
        ),
        _ => format!(
            "data: {{\"error\":{{\"code\":500,\"message\":\"{message}\",\"status\":\"INTERNAL\"}}}}\n\n"
        ),
    }
}

fn is_truncated(name: &str) -> bool {
    name.ends_with("truncated.sse")
}

fn check_failure(name: &str, expected: &Value, failure: Option<&Failure>) {
    let class = failure.map(|failure| class_name(failure.class()));
    assert_eq!(class, expected.pointer("/error/class").and_then(Value::as_str), "{name}");
}

/// Where a stream of Anthropic's stops before it has counted its output, what has passed is
/// counted instead.
fn check_metered(name: &str, expected: &Value, usage: Option<Usage>, output_bytes: u64) {
    match usage.filter(Usage::is_estimate) {
        Some(usage) => {
            assert_eq!(expected["complete"], false, "{name}");
            assert_eq!(usage.input, expected["usage"]["input_total"].as_u64().unwrap(), "{name}");
            assert_eq!(usage.output, output_bytes.div_ceil(4), "{name}");
        }
        None => check_usage(name, expected, usage),
    }
}

#[tokio::test]
async fn every_stream_passes_untouched_whichever_way_it_is_cut() {
    for dialect in BOTH {
        let samples = expected_in(dialect, ".sse");
        assert!(samples.len() >= 6, "{samples:?}");
        for (name, expected) in samples {
            let bytes = sample(&name);
            let mut through = bytes.clone();
            if is_truncated(&name) {
                through.extend_from_slice(told(dialect, STOPPED).as_bytes());
            }
            let first = expected.pointer("/error/after_first_byte") == Some(&json!(false));
            for chunks in cuts(&bytes) {
                let response = streamed(dialect, steps(&chunks)).await;
                if first {
                    assert!(!response.status().is_success(), "{name}");
                    check_failure(&name, &expected, response.extensions().get::<Failure>());
                    continue;
                }
                assert_eq!(response.status(), 200, "{name}");
                let metered = metered(&response);
                let read = read(response.into_body()).await;
                assert!(read.bytes == through, "{name}: cut at {}", chunks[0].len());
                check_metered(&name, &expected, metered.usage(), metered.output_bytes());
                let text = expected["text"].as_str().unwrap();
                assert!(metered.output_bytes() >= text.len() as u64, "{name}");
                assert!(metered.first_token().is_some(), "{name}");
                check_failure(&name, &expected, metered.failure());
            }
        }
    }
}

#[test]
fn the_readers_say_what_is_expected_of_every_sample() {
    for (dialect, streams, replies) in [(Dialect::Anthropic, 6, 5), (Dialect::Gemini, 8, 6)] {
        let samples = expected_in(dialect, ".sse");
        assert_eq!(samples.len(), streams, "{samples:?}");
        for (name, expected) in samples {
            let bytes = sample(&name);
            let (mut parser, mut at) = (Parser::new(), 0);
            let (mut messages, mut chunks) =
                (anthropic::reply::EventReader::new(), gemini::reply::EventReader::new());
            let (mut usage, mut content, mut complete, mut error) = (None, 0, false, false);
            while let Some(event) = parser.next(&bytes, &mut at) {
                let Some(data) = event.data else { continue };
                let reading = match dialect {
                    Dialect::Anthropic => messages.read(event.name, data).unwrap(),
                    _ => chunks.read(data).unwrap(),
                };
                usage = reading.usage.or(usage);
                content += reading.content_bytes;
                // Gemini's streams end with their answer.
                complete |= reading.end || dialect == Dialect::Gemini && reading.finished;
                error |= reading.error;
            }
            check_usage(&name, &expected, usage);
            assert_eq!(complete, expected["complete"], "{name}");
            assert_eq!(error, name.contains("overloaded"), "{name}");
            let tools: u64 = expected["tools"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|tool| {
                    // As the sample writes it: spaces of the input are content as well.
                    tool[1].as_str().unwrap().len() as u64
                })
                .sum();
            let said = ["text", "reasoning_text"]
                .map(|key| expected[key].as_str().unwrap_or_default().len() as u64);
            let least = said.iter().sum::<u64>() + tools;
            assert!(content >= least, "{name}: {content} of {least}");
            assert!(tools > 0 || content == least, "{name}: {content} of {least}");
        }
        let samples = expected_in(dialect, ".res.json");
        assert_eq!(samples.len(), replies, "{samples:?}");
        for (name, expected) in samples {
            let reading = match dialect {
                Dialect::Anthropic => anthropic::reply::read(&sample(&name)).unwrap(),
                _ => gemini::reply::read(&sample(&name)).unwrap(),
            };
            check_usage(&name, &expected, reading.usage);
            assert!(!reading.error && (reading.finished || reading.end), "{name}");
            let text = expected["text"].as_str().unwrap();
            assert!(reading.content_bytes >= text.len() as u64, "{name}");
        }
    }
}

#[tokio::test]
async fn whole_replies_are_read_and_passed_on() {
    for dialect in BOTH {
        for (name, expected) in expected_in(dialect, ".res.json") {
            let bytes = sample(&name);
            for size in [1, 100, bytes.len()] {
                let chunks: Vec<_> = bytes.chunks(size).map(<[u8]>::to_vec).collect();
                let ask = request_in(dialect, false);
                let response =
                    call(ask, 200, "application/json; charset=UTF-8", steps(&chunks)).await;
                check_usage(&name, &expected, metered(&response).usage());
                assert!(response.extensions().get::<Failure>().is_none(), "{name}");
                assert_eq!(read(response.into_body()).await.bytes, bytes, "{name}");
            }
        }
    }
}

/// A stream as Gemini sends it without `alt=sse`.
fn array_of(name: &str, between: &str) -> Vec<u8> {
    let text = String::from_utf8(sample(name)).unwrap();
    let chunks: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    let end = if is_truncated(name) { "" } else { "\n]" };
    format!("[{}{end}", chunks.join(between)).into_bytes()
}

#[tokio::test]
async fn a_stream_that_is_an_array_is_read_object_by_object() {
    for (name, expected) in expected_in(Dialect::Gemini, ".sse") {
        let bytes = array_of(&name, "\n,\r\n");
        for chunks in cuts(&bytes) {
            let ask = request_in(Dialect::Gemini, true);
            let response = call(ask, 200, "application/json; charset=UTF-8", steps(&chunks)).await;
            assert_eq!(response.status(), 200, "{name}");
            let metered = metered(&response);
            assert!(metered.first_token().is_some(), "{name}: the head waits for content");
            assert_eq!(read(response.into_body()).await.bytes, bytes, "{name}");
            check_usage(&name, &expected, metered.usage());
            check_failure(&name, &expected, metered.failure());
        }
    }
}

#[tokio::test]
async fn an_array_passes_as_it_comes() {
    let bytes = array_of("gemini/stream_basic.sse", ",");
    let cut = bytes.iter().position(|byte| *byte == b',').unwrap();
    let end = bytes.windows(3).position(|three| three == b"},{").unwrap();
    for (until, commit) in [(end + 1, Commit::FirstToken), (cut, Commit::Head)] {
        let mut config = AttemptConfig::default();
        config.commit = commit;
        let steps = vec![Step::data(bytes[..until].to_vec()), Step::Stall];
        let (service, _) = answering(config, 200, "application/json", steps);
        let response = service.oneshot(request_in(Dialect::Gemini, true)).await.unwrap();
        assert_eq!(response.status(), 200, "the rest has not even come");
    }
    for (body, status, class) in [
        (
            r#"[{"error":{"code":503,"message":"x","status":"UNAVAILABLE"}}]"#,
            503,
            ErrorClass::Overloaded,
        ),
        (
            r#"{"error":{"code":429,"message":"x","status":"RESOURCE_EXHAUSTED"}}"#,
            429,
            ErrorClass::RateLimit,
        ),
        ("<html>", 502, ErrorClass::Server),
        ("[{\"candidates\":", 502, ErrorClass::Server),
        ("[", 502, ErrorClass::Server),
        ("", 502, ErrorClass::Server),
    ] {
        let ask = request_in(Dialect::Gemini, true);
        let response = call(ask, 200, "application/json", vec![Step::data(body)]).await;
        assert_eq!(response.extensions().get::<Failure>().unwrap().class(), class, "{body}");
        assert_eq!(response.status(), status, "{body}");
    }
}

#[tokio::test]
async fn a_failure_before_content_is_answered_in_the_callers_form() {
    const START: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":3}}}\n\n";
    const PING: &str = "event: ping\ndata: {\"type\":\"ping\"}\n\n";
    let error = |kind: &str| {
        let body = json!({"type": "error", "error": {"type": kind, "message": "m"}});
        Step::data(format!("event: error\ndata: {body}\n\n"))
    };
    for (steps, status, kind, class) in [
        (vec![error("overloaded_error")], 529, "overloaded_error", ErrorClass::Overloaded),
        (
            vec![Step::data(START), Step::data(PING), error("api_error")],
            502,
            "api_error",
            ErrorClass::Server,
        ),
        (vec![error("rate_limit_error")], 429, "rate_limit_error", ErrorClass::RateLimit),
        (vec![error("timeout_error")], 504, "timeout_error", ErrorClass::Timeout),
        (vec![error("request_too_large")], 400, "invalid_request_error", ErrorClass::Invalid),
        (vec![Step::data(START)], 502, "api_error", ErrorClass::Server),
        (vec![Step::data(START), Step::Error("reset")], 502, "api_error", ErrorClass::Network),
        (vec![Step::data("event: x\ndata: {oops\n\n")], 502, "api_error", ErrorClass::Server),
    ] {
        let response = streamed(Dialect::Anthropic, steps).await;
        assert_eq!(response.extensions().get::<Failure>().unwrap().class(), class);
        assert_eq!(response.status(), status, "{kind}");
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
        let body: Value = serde_json::from_slice(&read(response.into_body()).await.bytes).unwrap();
        assert_eq!((&body["type"], &body["error"]["type"]), (&json!("error"), &json!(kind)));
    }
    let chunk = r#"{"error":{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED","details":[{"retryDelay":"3.5s"}]}}"#;
    for event in [format!("data: {chunk}\n\n"), format!("data: [{chunk}]\r\n\r\n")] {
        let response = streamed(Dialect::Gemini, vec![Step::data(event)]).await;
        assert_eq!(
            (response.status().as_u16(), response.headers()["retry-after"].to_str().unwrap()),
            (429, "4")
        );
        let body: Value = serde_json::from_slice(&read(response.into_body()).await.bytes).unwrap();
        assert_eq!(
            (&body["error"]["status"], &body["error"]["code"]),
            (&json!("RESOURCE_EXHAUSTED"), &json!(429))
        );
        assert_eq!(body["error"]["details"][0]["retryDelay"], "3.5s");
    }
}

#[tokio::test]
async fn an_answer_without_content_is_an_answer() {
    let stop = "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"refusal\"},\"usage\":{\"output_tokens\":1}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
    let blocked = format!(
        "data: {}\n\n",
        json!({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 9}})
    );
    for (dialect, text) in [(Dialect::Anthropic, stop), (Dialect::Gemini, &*blocked)] {
        let response = streamed(dialect, vec![Step::data(text.to_owned())]).await;
        let metered = metered(&response);
        assert_eq!(read(response.into_body()).await.bytes, text.as_bytes());
        assert!(metered.failure().is_none() && metered.usage().is_some());
    }
}

#[tokio::test]
async fn a_client_that_leaves_pays_for_what_has_passed() {
    let text = String::from_utf8(sample("anthropic/messages_stream.sse")).unwrap();
    let steps = text.split_inclusive("\n\n").map(|event| Step::data(event.to_owned())).collect();
    let response = streamed(Dialect::Anthropic, steps).await;
    let metered = metered(&response);
    // The head waits for the first delta, which has been seen by then.
    drop(response);
    assert_eq!(metered.usage().unwrap(), Usage::new(25, 2).estimated());
}

/// What a client reads: an event counts once its blank line has come.
fn events(text: &[u8]) -> Vec<Vec<u8>> {
    let (mut parser, mut at, mut events) = (Parser::new(), 0, Vec::new());
    while let Some(event) = parser.next(text, &mut at) {
        events.extend(event.data.map(<[u8]>::to_vec));
    }
    events
}

#[tokio::test]
async fn wherever_it_breaks_every_event_can_be_read_and_the_error_is_last() {
    for (dialect, name) in [
        (Dialect::Anthropic, "anthropic/messages_stream_tools.sse"),
        (Dialect::Gemini, "gemini/stream_basic_crlf.sse"),
    ] {
        let all = sample(name);
        let mut seen = 0;
        for cut in 1..all.len() {
            for broken in [false, true] {
                let mut steps = vec![Step::data(all[..cut].to_vec())];
                steps.extend(broken.then_some(Step::Error("reset")));
                let response = streamed(dialect, steps).await;
                if !response.status().is_success() {
                    continue;
                }
                let metered = metered(&response);
                let read = read(response.into_body()).await;
                assert!(!read.broken);
                let events = events(&read.bytes);
                for event in &events {
                    assert!(serde_json::from_slice::<Value>(event).is_ok(), "{name} {cut}");
                }
                let why = if broken { BROKE } else { STOPPED };
                let ends = read.bytes.ends_with(told(dialect, why).as_bytes());
                assert_eq!(ends, metered.failure().is_some(), "{name} {cut} {broken}");
                seen += usize::from(ends);
            }
        }
        assert!(seen > 100, "{name}: {seen}");
    }
}

#[tokio::test]
async fn what_no_client_can_read_is_told_in_its_own_form() {
    for dialect in BOTH {
        for (status, name) in
            [(502, ["api_error", "UNAVAILABLE"]), (403, ["permission_error", "PERMISSION_DENIED"])]
        {
            let page = vec![Step::data("<html>no</html>")];
            let response = call(request_in(dialect, true), status, "text/html", page).await;
            assert_eq!(response.status(), status, "the provider's own");
            let body: Value =
                serde_json::from_slice(&read(response.into_body()).await.bytes).unwrap();
            match dialect {
                Dialect::Anthropic => assert_eq!(body["error"]["type"], name[0]),
                _ => assert_eq!(
                    (&body["error"]["status"], &body["error"]["code"]),
                    (&json!(name[1]), &json!(status))
                ),
            }
        }
        let probe = Probe::new(|_: common::call::Sent| {
            let body = ScriptedBody::new([Step::data(
                r#"{"type":"error","error":{"type":"authentication_error","message":"sk-ant-secret"}}"#,
            )]);
            let response = Response::builder()
                .status(401)
                .header("content-type", "application/json")
                .header("request-id", "req_1");
            std::future::ready(Ok::<_, BoxError>(
                response.extension(ProxyCredential::default()).body(body).unwrap(),
            ))
        });
        let response =
            AttemptLayer::new().layer(probe).oneshot(request_in(dialect, false)).await.unwrap();
        let body: Value = serde_json::from_slice(&read(response.into_body()).await.bytes).unwrap();
        assert!(!body.to_string().contains("secret"), "{body}");
        match dialect {
            Dialect::Anthropic => assert_eq!(
                (&body["error"]["type"], &body["request_id"]),
                (&json!("authentication_error"), &json!("req_1"))
            ),
            _ => assert_eq!(body["error"]["status"], "UNAUTHENTICATED"),
        }
    }
}

#[test]
fn counts_that_change_on_the_way() {
    let mut reader = anthropic::reply::EventReader::new();
    let mut usage = |usage: &str| {
        let event = format!(r#"{{"type":"message_delta","usage":{usage}}}"#);
        reader.read(None, event.as_bytes()).unwrap().usage
    };
    assert_eq!(usage("null"), None);
    assert_eq!(usage(r#"{"input_tokens":0,"output_tokens":0}"#), None);
    assert_eq!(usage(r#"{"input_tokens":9,"output_tokens":1}"#), Some(Usage::new(9, 1)));
    // What is absent or null stays, what is there replaces, and zeros alone say nothing.
    assert_eq!(usage(r#"{"output_tokens":5}"#), Some(Usage::new(9, 5)));
    assert_eq!(usage(r#"{"input_tokens":null,"output_tokens":6}"#), Some(Usage::new(9, 6)));
    assert_eq!(usage(r#"{"output_tokens":0}"#), Some(Usage::new(9, 6)));
    let cached =
        usage(r#"{"input_tokens":2,"cache_read_input_tokens":7,"output_tokens":8}"#).unwrap();
    assert_eq!((cached.input, cached.cached, cached.output), (9, 7, 8));
    // Counts beyond all reason do not overflow.
    let most = u64::MAX;
    let all = format!(
        r#"{{"input_tokens":{most},"cache_read_input_tokens":{most},"cache_creation_input_tokens":1e300,"cache_creation":{{"ephemeral_1h_input_tokens":{most}}},"output_tokens":{most}}}"#
    );
    assert_eq!(usage(&all).unwrap().total(), most);

    let mut reader = gemini::reply::EventReader::new();
    let mut usage = |usage: &str| {
        reader.read(format!(r#"{{"usageMetadata":{usage}}}"#).as_bytes()).unwrap().usage
    };
    assert_eq!(usage(r#"{"trafficType":"ON_DEMAND"}"#), None);
    assert_eq!(
        usage(r#"{"promptTokenCount":4,"toolUsePromptTokenCount":3,"candidatesTokenCount":1}"#),
        Some(Usage::new(7, 1))
    );
    let thinking = usage(r#"{"thoughtsTokenCount":5,"totalTokenCount":13}"#).unwrap();
    assert_eq!((thinking.input, thinking.output, thinking.reasoning), (7, 6, 5));
    let only_total = gemini::usage::read(br#"{"promptTokenCount":4,"totalTokenCount":9}"#).unwrap();
    assert_eq!(only_total, Some(Usage::new(4, 5)));
}

fn chunked(bytes: &[u8], sizes: &[usize]) -> Vec<Vec<u8>> {
    let (mut chunks, mut rest) = (Vec::new(), bytes);
    for size in sizes.iter().cycle() {
        let (chunk, after) = rest.split_at(rest.len().min(*size));
        chunks.push(chunk.to_vec());
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    chunks
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn however_it_is_cut(
        at in any::<prop::sample::Index>(),
        sizes in vec(1usize..90, 1..12),
        ending in prop::sample::select(vec!["\n", "\r\n", "\r"]),
        array in any::<bool>(),
    ) {
        let all: Vec<_> = BOTH.into_iter().flat_map(|dialect| {
            expected_in(dialect, ".sse").into_iter().map(move |(name, _)| (dialect, name))
        }).collect();
        let (dialect, name) = at.get(&all);
        let array = array && *dialect == Dialect::Gemini;
        let (bytes, kind) = match array {
            true => (array_of(name, ending), "application/json"),
            false => {
                let text = String::from_utf8(sample(name)).unwrap().replace("\r\n", "\n");
                (text.replace('\n', ending).into_bytes(), "text/event-stream")
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let [whole, cut] = [vec![bytes.clone()], chunked(&bytes, &sizes)].map(|chunks| {
            runtime.block_on(async {
                let response = call(request_in(*dialect, true), 200, kind, steps(&chunks)).await;
                let status = response.status();
                let metered = response.extensions().get().cloned().unwrap_or_else(tollway_core::Metered::default);
                let bytes = read(response.into_body()).await.bytes;
                let class = metered.failure().map(Failure::class);
                (status, bytes, metered.usage(), metered.output_bytes(), class)
            })
        });
        prop_assert_eq!(whole, cut);
    }

    #[test]
    fn no_reply_panics(bytes in vec(any::<u8>(), 0..120), text in "[\\[\\]{}\",:a-e0-9 ]{0,60}") {
        for bytes in [bytes, text.into_bytes()] {
            let _ = anthropic::reply::read(&bytes);
            let _ = anthropic::reply::EventReader::new().read(Some(&bytes), &bytes);
            let _ = gemini::reply::read(&bytes);
            let _ = (anthropic::usage::read(&bytes), gemini::usage::read(&bytes));
        }
    }
}
