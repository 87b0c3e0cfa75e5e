//! The proxy's own credential, repeated by a provider in an error that is about something else.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::call::{Out, Sent, read, request, request_in, streaming};
use http::{Response, header};
use tollway_core::{BoxError, Dialect, Failure, Operation, ProxyCredential};
use tollway_dialect::{AttemptConfig, AttemptLayer, Commit};
use tollway_testkit::{Probe, ScriptedBody, Step};
use tower::{Layer, ServiceExt};

const SECRET: &str = "SECRETSTREAMKEY";
const STARS: &str = "***************";

/// What a client gets of `text` in pieces of `size`.
async fn through(sent: Sent, kind: (&'static str, &'static str), text: &str, size: usize) -> Out {
    through_with(AttemptConfig::default(), sent, kind, text, size).await
}

async fn through_with(
    mut config: AttemptConfig,
    sent: Sent,
    kind: (&'static str, &'static str),
    text: &str,
    size: usize,
) -> Out {
    let steps: Vec<Step> =
        text.as_bytes().chunks(size).map(|piece| Step::data(piece.to_vec())).collect();
    let probe = Probe::new(move |_: Sent| {
        let reply = Response::builder().header(kind.0, kind.1);
        let reply = reply.extension(ProxyCredential::new([SECRET]));
        let reply = reply.body(ScriptedBody::new(steps.clone())).unwrap();
        std::future::ready(Ok::<_, BoxError>(reply))
    });
    config.commit = Commit::Head;
    let service = AttemptLayer::with_config(config).unwrap().layer(probe);
    service.oneshot(sent).await.unwrap()
}

const EVENTS: (&str, &str) = ("content-type", "text/event-stream");
const JSON: (&str, &str) = ("content-type", "application/json");
const OVERLOADED: &str = r#"{"type":"error","error":{"type":"overloaded_error","message":"No room for SECRETSTREAMKEY, nor SECRETSTREAMKEY"}}"#;

async fn clean(what: &str, reply: Out, expected: &str) {
    let got = read(reply.into_body()).await;
    assert!(!got.broken, "{what}");
    assert_eq!(String::from_utf8(got.bytes.to_vec()).unwrap(), expected, "{what}");
}

#[tokio::test]
async fn an_error_in_a_stream_loses_the_secret_and_nothing_else() {
    let chat =
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"SECRETSTREAMKEY\"}}]}\n\n";
    let message = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{}}\n\n";
    let failed = r#"{"type":"response.failed","response":{"error":{"code":"server_error","message":"at SECRETSTREAMKEY"}}}"#;
    let responses = r#"{"model":"m","input":"x","stream":true}"#;
    for size in [1, 7, 100, 4096] {
        for first in ["", chat] {
            // The last one's blank line never comes.
            for end in ["\n\n", "\r\n\r\n", "\n"] {
                let text = format!("{first}data: {OVERLOADED}{end}");
                let whole = text.replace(OVERLOADED, &OVERLOADED.replace(SECRET, STARS));
                let whole = format!("{whole}{}", if end == "\n" { "\n\n" } else { "" });
                let reply = through(streaming(), EVENTS, &text, size).await;
                clean(&format!("{size} {end:?} {first}"), reply, &whole).await;
            }
        }
        let text = format!("{message}event: error\ndata: {OVERLOADED}\n\n");
        let reply = through(request_in(Dialect::Anthropic, true), EVENTS, &text, size).await;
        clean("messages", reply, &text.replace(SECRET, STARS)).await;

        let text = format!("event: response.failed\ndata: {failed}\n\n");
        let reply = through(request(Operation::Responses, responses), EVENTS, &text, size).await;
        clean("responses", reply, &text.replace(SECRET, STARS)).await;

        let image = r#"{"model":"m","prompt":"x","stream":true}"#;
        let text = format!("data: {OVERLOADED}\n\n");
        let reply = through(request(Operation::Images, image), EVENTS, &text, size).await;
        clean("images", reply, &text.replace(SECRET, STARS)).await;

        let text = "[{\"candidates\":[]}\n,\n{\"error\":{\"code\":503,\"message\":\"SECRETSTREAMKEY is SECRETSTREAM\"}}\n]";
        let reply = through(request_in(Dialect::Gemini, true), JSON, text, size).await;
        clean("an array", reply, &text.replace(SECRET, STARS)).await;
    }
}

/// Whatever is no answer may be an error.
#[tokio::test]
async fn what_no_one_takes_for_an_error_loses_the_secret_too() {
    let answer = r#"data: {"choices":[{"index":0,"delta":{"content":"SECRETSTREAMKEY"}}]}"#;
    for odd in [
        "event: error\ndata: {\"message\":\"at SECRETSTREAMKEY\"}",
        "event: error\ndata: at SECRETSTREAMKEY",
        "data: {\"error\":{\"message\":\"SECRETSTREAMKEY\"}}\ndata: {\"y\":1}",
        ": SECRETSTREAMKEY",
        "event: SECRETSTREAMKEY",
        "{\"error\":{\"message\":\"SECRETSTREAMKEY\"}}",
        "data: {\"object\":\"SECRETSTREAMKEY\"}",
    ] {
        for end in ["\n\n", "\r\n\r\n"] {
            let text = format!("{answer}{end}{odd}{end}{answer}{end}data: [DONE]{end}");
            let clean_odd = odd.replace(SECRET, STARS);
            let whole = text.replace(odd, &clean_odd);
            for size in [1, 7, 4096] {
                let reply = through(streaming(), EVENTS, &text, size).await;
                clean(&format!("{size} {odd}"), reply, &whole).await;
            }
        }
    }
    // Around an answer that has the same words.
    let text = format!("event: {SECRET}\n{answer}\nid: {SECRET}\n\ndata: [DONE]\n\n");
    let whole = format!("event: {STARS}\n{answer}\nid: {STARS}\n\ndata: [DONE]\n\n");
    clean("around", through(streaming(), EVENTS, &text, 7).await, &whole).await;
    // What decodes to it.
    let text =
        "data: {\"error\":{\"message\":\"SECRET\\u0053TREAMKEY\",\"type\":\"server_error\"}}\n\n";
    let whole = text.replace("SECRET\\u0053TREAMKEY", &"*".repeat(20));
    clean("escaped", through(streaming(), EVENTS, text, 7).await, &whole).await;
}

#[tokio::test]
async fn an_error_about_the_credential_is_replaced_without_its_blank_line_too() {
    let text = r#"data: {"error":{"message":"Incorrect API key provided: SECR***KEY","code":"invalid_api_key"}}"#;
    for size in [1, 7, 4096] {
        let reply = through(streaming(), EVENTS, text, size).await;
        let told = String::from_utf8(read(reply.into_body()).await.bytes.to_vec()).unwrap();
        assert!(told.contains("refused the credential") && !told.contains("SECR"), "{told}");
    }
}

#[tokio::test]
async fn an_error_inside_a_success_loses_the_secret() {
    let chat = || request(Operation::ChatCompletions, r#"{"model":"m"}"#);
    for size in [7, 4096] {
        let reply = through(chat(), JSON, OVERLOADED, size).await;
        let failure = reply.extensions().get::<Failure>().unwrap();
        assert_eq!(failure.message(), format!("No room for {STARS}, nor {STARS}"));
        clean("whole", reply, &OVERLOADED.replace(SECRET, STARS)).await;
    }
    let answer = r#"{"choices":[{"message":{"content":"SECRETSTREAMKEY"}}]}"#;
    clean("an answer", through(chat(), JSON, answer, 7).await, answer).await;
}

/// What nobody can look into may hold anything.
#[tokio::test]
async fn a_packed_error_is_told_in_other_words() {
    // Only where we asked for a reply that is not packed.
    for (operation, known, told) in [
        (Operation::ChatCompletions, true, true),
        (Operation::ChatCompletions, false, false),
        (Operation::Files, true, false),
    ] {
        let probe = Probe::new(move |_: Sent| {
            let ours = if known { ProxyCredential::new([SECRET]) } else { Default::default() };
            let reply = Response::builder().status(404).header(header::CONTENT_ENCODING, "gzip");
            let reply = reply.extension(ours);
            let body = ScriptedBody::new([Step::data(&b"\x1f\x8b\x08\x00"[..])]);
            std::future::ready(Ok::<_, BoxError>(reply.body(body).unwrap()))
        });
        let sent = request(operation, r#"{"model":"m"}"#);
        let reply = AttemptLayer::new().layer(probe).oneshot(sent).await.unwrap();
        assert_eq!(reply.status(), 404);
        assert_eq!(reply.headers().contains_key(header::CONTENT_ENCODING), !told);
        let body = read(reply.into_body()).await.bytes;
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&body).is_ok(), told);
    }
}

/// Gemini says that the request is bad, and means the key.
#[tokio::test]
async fn a_bad_key_of_ours_is_told_as_one_in_every_form() {
    let body = r#"{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID","domain":"googleapis.com"}]}}"#;
    for (ours, status) in [(true, 401), (false, 400)] {
        let probe = Probe::new(move |_: Sent| {
            let mut reply = Response::builder().status(400).header("etag", "\"1\"");
            if ours {
                reply = reply.extension(ProxyCredential::new([SECRET]));
            }
            let reply = reply.header("content-type", "application/json");
            let reply = reply.body(ScriptedBody::new([Step::data(body)])).unwrap();
            std::future::ready(Ok::<_, BoxError>(reply))
        });
        let sent = request_in(Dialect::Gemini, false);
        let reply = AttemptLayer::new().layer(probe).oneshot(sent).await.unwrap();
        assert_eq!(reply.status(), status);
        // It was of the body that is gone.
        assert_eq!(reply.headers().contains_key("etag"), !ours);
        let told = read(reply.into_body()).await.bytes;
        let told: serde_json::Value = serde_json::from_slice(&told).unwrap();
        let word = if ours { "UNAUTHENTICATED" } else { "INVALID_ARGUMENT" };
        assert_eq!(
            (&told["error"]["code"], &told["error"]["status"]),
            (&status.into(), &word.into())
        );
    }
}

/// What is too large to be looked into may be one.
#[tokio::test]
async fn an_error_too_large_to_be_read_loses_the_secret_and_nothing_else() {
    let answer = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"}}]}\n\n";
    let comment = format!(": {SECRET}\n\n");
    let mut config = AttemptConfig::default();
    config.max_event = 100;
    for key in [SECRET, r"SECRET\u0053TREAMKEY", r"SECRET\\u0053TREAMKEY"] {
        let error = format!(
            "data: {{\"error\":{{\"message\":\"{key}{} {key}, SECRET {key}\"}}}}",
            " ".repeat(90)
        );
        for (before, after) in [
            (answer, "\n\ndata: [DONE]\n\n"),
            ("", "\r\n\r\n: \r\n\r\ndata: [DONE]\r\n\r\n"),
            (&*comment, "\n\ndata: [DONE]\n\n"),
        ] {
            let text = format!("{before}{error}{after}");
            let whole = text.replace(key, &"*".repeat(key.len())).replace(SECRET, STARS);
            for size in [1, 7, 64, 150, 4096] {
                let reply = through_with(config, streaming(), EVENTS, &text, size).await;
                clean(&format!("{size} {key} {before:?}"), reply, &whole).await;
            }
        }
        // The end of one that never ends is its own.
        let torn = format!("{answer}{error} SECRETSTREAM");
        for size in [1, 7, 64, 150, 4096] {
            let reply = through_with(config, streaming(), EVENTS, &torn, size).await;
            let told = String::from_utf8(read(reply.into_body()).await.bytes.to_vec()).unwrap();
            let whole = torn.replace(key, &"*".repeat(key.len()));
            assert!(told.starts_with(&whole) && told.len() > whole.len(), "{size} {told}");
        }
    }
}
