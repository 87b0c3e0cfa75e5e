//! Providers that send garbage, fall silent or close, in every phase.

use std::{future::Future, ops::RangeInclusive, pin::Pin, time::Duration};

use http::Request;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};

use super::support::*;

/// Answers each request with exactly these bytes, then closes.
async fn says(bytes: impl Into<Vec<u8>>) -> std::net::SocketAddr {
    let bytes = bytes.into();
    raw_provider(move |mut stream| {
        let bytes = bytes.clone();
        async move {
            read_request(&mut stream).await;
            let _ = stream.write_all(&bytes).await;
        }
    })
    .await
}

async fn failed(provider: std::net::SocketAddr, statuses: &[u16]) -> (Reply, ApiError) {
    let proxy = Running::before(provider);
    let reply = proxy.post(CHAT, ask(false)).await;
    assert!(statuses.contains(&reply.status.as_u16()), "{reply:?}");
    let error = reply.error();
    until("no request under way", || proxy.is_idle()).await;
    (reply, error)
}

#[tokio::test]
async fn closing_before_a_head_is_502() {
    // At once, after half a head, or with something else than HTTP.
    for bytes in [
        &b""[..],
        b"HTTP/1.1 200 O",
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-len",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 banana\r\n\r\n",
        b"HTTP/1.1 99999 OK\r\n\r\n",
        b"\x00\x01\x02\x03\x04\x05\x06\x07\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\ncontent-length: -4\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nbad name: x\r\n\r\n",
    ] {
        let (_, error) = failed(says(bytes).await, &[502]).await;
        assert_eq!(error.kind, "server_error", "{}", String::from_utf8_lossy(bytes));
        assert!(error.message.contains("provider"), "{error:?}");
    }
}

#[tokio::test]
async fn headers_without_end_are_502() {
    let provider = raw_provider(|mut stream| async move {
        read_request(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n").await;
        while stream.write_all(b"x-more: and more and more and more\r\n").await.is_ok() {}
    })
    .await;
    failed(provider, &[502]).await;
}

#[tokio::test]
async fn nobody_there_is_502() {
    // A port that was free a moment ago.
    let address = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let (_, error) = failed(address, &[502]).await;
    assert_eq!(error.code.as_deref(), Some("upstream_unreachable"));
}

/// A reply whose head is fine and whose body is not: the client learns of it, either by an error in
/// the reply's place or by a body that breaks off; never by a whole body that isn't.
async fn breaks(head: &str, body: &[u8]) {
    let mut bytes =
        format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{head}\r\n").into_bytes();
    bytes.extend_from_slice(body);
    let proxy = Running::before(says(bytes).await);
    let reply = proxy.post(CHAT, ask(false)).await;
    if reply.status == 200 {
        assert!(reply.broken, "{head:?}: {reply:?}");
    } else {
        assert!(reply.status.is_server_error(), "{reply:?}");
        reply.error();
    }
    until("no request under way", || proxy.is_idle()).await;
}

#[tokio::test]
async fn a_body_that_breaks_off_is_never_taken_for_whole() {
    breaks("content-length: 5000\r\n", COMPLETION.as_bytes()).await;
    breaks("transfer-encoding: chunked\r\n", b"10\r\n{\"id\":\"chatcmpl-").await;
    breaks("transfer-encoding: chunked\r\n", b"zz\r\nnot a chunk\r\n").await;
    breaks("transfer-encoding: chunked\r\n", b"5\r\n{\"id\"\r\nffffffffffffffffffff\r\n").await;
}

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    [&[0, 0, length, kind, flags, 0, 0, 0, stream], payload].concat()
}

/// RFC 9113, 8.1: a reset without an error is none of a reply that is over, and of no other.
#[tokio::test]
async fn a_reset_before_the_end_of_a_stream_is_no_end_of_a_reply() {
    const HEADERS: u8 = 1;
    const END_STREAM: u8 = 1;
    for (end, whole) in [(0, false), (END_STREAM, true)] {
        let provider = raw_provider(move |mut stream| async move {
            let mut preface = [0; 24];
            stream.read_exact(&mut preface).await.unwrap();
            let settings = frame(4, 0, 0, &[]);
            stream.write_all(&settings).await.unwrap();
            loop {
                let mut head = [0; 9];
                stream.read_exact(&mut head).await.unwrap();
                let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
                stream.read_exact(&mut vec![0; length as usize]).await.unwrap();
                if head[3] == HEADERS {
                    break;
                }
            }
            // `:status: 200`, a body, and a reset with NO_ERROR.
            let head = frame(HEADERS, 4, 1, &[0x88]);
            let reply = [head, frame(0, end, 1, b"abc"), frame(3, 0, 1, &[0; 4])].concat();
            stream.write_all(&reply).await.unwrap();
            rest(&mut stream).await;
        })
        .await;
        let proxy = Running::new(&format!(
            "providers:\n  up: {{ base_url: \"http://{provider}/v1\", auth: passthrough, http2: only }}\n"
        ));
        let request = Request::get(proxy.uri("/v1/files/f/content")).body(full("")).unwrap();
        let told = match within("an end", client().request(request)).await {
            Ok(reply) => Some(Reply::read(reply).await).filter(|reply| !reply.broken),
            // It broke off so early that the head had not left yet.
            Err(_) => None,
        };
        assert_eq!(told.map(|reply| reply.text()), whole.then(|| "abc".to_owned()));
    }
}

#[tokio::test]
async fn bytes_after_a_body_are_not_the_next_reply() {
    let text = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{COMPLETION}\
         HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged",
        COMPLETION.len()
    );
    let proxy = Running::before(says(text).await);
    for _ in 0..3 {
        let reply = proxy.post(CHAT, ask(false)).await;
        assert_eq!((reply.status.as_u16(), reply.text().as_str()), (200, COMPLETION));
    }
}

/// The head of the reply to `path` by a provider that answers with `line` as its status line.
async fn head_of(path: &str, line: &'static str) -> String {
    let address = raw_provider(move |mut stream| async move {
        read_request(&mut stream).await;
        let body = r#"{"error":{"message":"no","type":"server_error","param":null,"code":null}}"#;
        let json = "content-type: application/json";
        let text = format!("{line}\r\n{json}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let _ = stream.write_all(text.as_bytes()).await;
        rest(&mut stream).await;
    })
    .await;
    let yaml = provider_at(address)
        .replace("auth: passthrough", "api_key: secret-number-one, forms: [chat]");
    let proxy = Running::new(&yaml);
    let body = r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"x"}]}"#;
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    raw(proxy.address(), request.as_bytes()).await.unwrap().head
}

#[tokio::test]
async fn a_status_line_is_this_proxys_but_for_its_status_and_an_honest_phrase() {
    for (path, line, expected) in [
        (CHAT, "HTTP/1.1 418 Short And Stout", "http/1.1 418 short and stout\r\n"),
        (CHAT, "HTTP/1.1 500 Bad key secret-number-one", "http/1.1 500 internal server error\r\n"),
        (CHAT, "HTTP/1.0 400 Bad Request", "http/1.1 400 bad request\r\n"),
        ("/v1/messages", "HTTP/1.1 500 Oops", "http/1.1 502 bad gateway\r\n"),
        ("/v1/messages", "HTTP/1.1 500 secret-number-one", "http/1.1 502 bad gateway\r\n"),
    ] {
        let head = head_of(path, line).await;
        assert!(head.starts_with(expected), "{path} {line}: {head}");
    }
}

#[tokio::test]
async fn an_html_page_is_an_error_in_the_right_shape() {
    let page = "<html><body>502 Bad Gateway</body></html>";
    for status in [500, 502, 503, 504, 520, 529] {
        let text = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: text/html\r\ncontent-length: {}\r\n\r\n{page}",
            page.len()
        );
        let (reply, error) = failed(says(text).await, &[500, 502, 503, 504, 520, 529]).await;
        assert!(reply.status.is_server_error());
        assert!(!error.message.contains("<html>"), "{error:?}");
    }
}

#[tokio::test]
async fn garbage_inside_a_200_is_an_error_or_passes_untouched() {
    let proxy = Running::new("providers:\n  sim: { simulate: {} }\n");
    let reply = proxy.chat("body=garbage").await;
    if !reply.status.is_success() {
        reply.error();
    }
}

const SLOW: &str = "between_chunks: 80ms";
const SILENT: &str = "first_byte: 80ms";

type Script = Pin<Box<dyn Future<Output = ()> + Send>>;

async fn impatient(
    timeouts: &str,
    script: impl Fn(TcpStream) -> Script + Send + 'static,
) -> Running {
    let address = raw_provider(script).await;
    Running::new(&format!(
        "providers:\n  up:\n    base_url: \"http://{address}/v1\"\n    auth: none\n    timeouts: {{ {timeouts} }}\n"
    ))
}

#[tokio::test]
async fn silence_before_the_head_is_504() {
    let proxy = impatient(SILENT, |mut stream| {
        Box::pin(async move {
            read_request(&mut stream).await;
            rest(&mut stream).await;
        })
    })
    .await;
    let reply = proxy.post(CHAT, ask(true)).await;
    assert_eq!(reply.status, 504, "{reply:?}");
    assert_eq!(reply.error().code.as_deref(), Some("upstream_timeout"));
}

#[tokio::test]
async fn a_stream_that_never_starts_ends_in_an_error_event_or_504() {
    for retry in ["", "retry: { attempts: 2, backoff: { first: 1ms, max: 1ms } }\n"] {
        let address = raw_provider(|mut stream| async move {
            read_request(&mut stream).await;
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
            let _ = stream.write_all(head.as_bytes()).await;
            rest(&mut stream).await;
        })
        .await;
        let proxy = Running::new(&format!(
            "providers:\n  up:\n    base_url: \"http://{address}/v1\"\n    auth: none\n    timeouts: {{ {SLOW} }}\n{retry}"
        ));
        let reply = proxy.post(CHAT, ask(true)).await;
        if reply.status == 200 {
            stream_error(&reply);
        } else {
            assert_eq!(reply.status, 504, "{reply:?}");
            reply.error();
        }
        if !retry.is_empty() {
            assert_eq!(reply.status, 504, "nothing was sent yet: a status can still tell it");
        }
        until("no request under way", || proxy.is_idle()).await;
    }
}

/// What a stream that went wrong after its head ends in.
fn stream_error(reply: &Reply) -> Option<ApiError> {
    let text = reply.text();
    assert!(!text.contains("[DONE]"), "a broken stream is not done: {text}");
    let last = text.trim_end().lines().last().unwrap_or_default();
    let event: Option<Value> =
        last.strip_prefix("data: ").and_then(|data| serde_json::from_str(data).ok());
    let error =
        event.filter(|event| event.get("error").is_some()).map(|event| ApiError::of(&event));
    assert!(error.is_some() || reply.broken, "neither an error event nor a broken body: {text:?}");
    error
}

const CHUNK: &str = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"},\"finish_reason\":null}]}\n\n";

#[tokio::test]
async fn a_stream_that_dies_in_the_middle_does_not_end_well() {
    // What comes after the first content event, and how the connection ends.
    for (tail, hold) in [
        ("", false),
        ("data: {\"id\":\"c\",\"obj", false),
        ("data: \u{fffd}garbage\n\n", false),
        ("", true),
    ] {
        let text = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{CHUNK}{tail}\r\n",
            CHUNK.len() + tail.len()
        );
        let proxy = impatient(SLOW, move |mut stream| {
            let text = text.clone();
            Box::pin(async move {
                read_request(&mut stream).await;
                let _ = stream.write_all(text.as_bytes()).await;
                if hold {
                    rest(&mut stream).await;
                }
            })
        })
        .await;
        let reply = proxy.post(CHAT, ask(true)).await;
        assert_eq!(reply.status, 200);
        assert!(reply.text().starts_with(CHUNK), "what came before passes: {}", reply.text());
        stream_error(&reply);
        until("no request under way", || proxy.is_idle()).await;
    }
}

#[tokio::test]
async fn every_fault_of_the_simulated_provider_is_told() {
    let proxy = Running::new("providers:\n  sim: { simulate: {} }\nstreams: { commit: head }\n");
    for fault in [
        "reset=first",
        "reset=after:3",
        "truncate=after:3",
        "truncate=first",
        "late_error=after:3",
        "reset=before",
    ] {
        for stream in [false, true] {
            let headers = [JSON, ("x-simulate", fault)];
            let reply = proxy.send(http::Method::POST, CHAT, &headers, ask(stream)).await;
            if !reply.status.is_success() {
                assert!(reply.status.is_server_error(), "{fault}: {reply:?}");
                reply.error();
            } else if stream {
                stream_error(&reply);
            } else {
                let whole = serde_json::from_slice::<Value>(&reply.body)
                    .is_ok_and(|v| v.get("choices").is_some());
                assert!(!whole, "{fault}: {reply:?}");
            }
        }
    }
    until("no request under way", || proxy.is_idle()).await;
}

#[tokio::test]
async fn odd_retry_afters_neither_hang_nor_crash() {
    let proxy = Running::new(
        "providers:\n  sim: { simulate: {} }\npacing: { enabled: false }\n\
         retry: { attempts: 2, backoff: { first: 1ms, max: 2ms }, retry_after: { obey_up_to: 10ms } }\n",
    );
    for odd in [
        "31536000",
        "-1",
        "99999999999999999999999999",
        "NaN",
        "1e300",
        "",
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "Sun, 99 Foo 2026 99:99:99 GMT",
    ] {
        for status in [429, 503] {
            let started = tokio::time::Instant::now();
            let control = format!("status={status}; retry_after={odd}; retry_after_ms={odd}");
            let reply = proxy.chat(&control).await;
            assert_eq!(reply.status, status, "{odd}");
            reply.error();
            assert!(started.elapsed() < PATIENCE / 2, "{odd}: obeyed for {:?}", started.elapsed());
            assert_eq!(reply.header("retry-after"), odd, "the provider's words pass as they are");
        }
    }
}

/// What a request gets under a deadline of 10 s, and after how long; time is paused.
async fn under_a_deadline(policy_rest: &str, control: &str, body: Body) -> (Reply, Duration) {
    let yaml = format!(
        "server: {{ request_deadline: 10s }}\nproviders:\n  sim: {{ simulate: {{}} }}\n{policy_rest}"
    );
    let (stack, mut send) = in_process(policy(&yaml)).await;
    if !policy_rest.is_empty() {
        let first = Request::post(format!("http://x{CHAT}")).header(JSON.0, JSON.1);
        let first = send.send_request(first.body(full(ask(false))).unwrap()).await.unwrap();
        assert_eq!(first.status(), 200, "uses the limit up");
    }
    let start = Instant::now();
    let request = Request::post(format!("http://x{CHAT}"))
        .header(JSON.0, JSON.1)
        .header("x-simulate", control)
        .body(body)
        .unwrap();
    let hour = Duration::from_secs(3600);
    let reply = tokio::time::timeout(hour, send.send_request(request)).await;
    let reply = Reply::read(reply.expect("an answer within an hour").unwrap()).await;
    drop(stack);
    (reply, start.elapsed())
}

const DEADLINE: RangeInclusive<Duration> = Duration::from_secs(10)..=Duration::from_millis(10_500);

#[tokio::test(start_paused = true)]
async fn a_deadline_bounds_the_wait_for_a_provider() {
    let (reply, took) = under_a_deadline("", "stall=before", full(ask(false))).await;
    assert_eq!(reply.status, 504, "{reply:?}");
    reply.error();
    assert!(DEADLINE.contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_deadline_bounds_a_limits_line() {
    let limit = "limits: [{ name: one, per: all, requests: 1/hour, when_full: { wait: 2h } }]\n";
    let (reply, took) = under_a_deadline(limit, "", full(ask(false))).await;
    assert!(matches!(reply.status.as_u16(), 429 | 504), "{reply:?}");
    reply.error();
    // A limit that knows of the deadline says no at once.
    assert!(took <= *DEADLINE.end(), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_deadline_bounds_a_body_that_trickles_in() {
    let (send, body) = pipe();
    tokio::spawn(async move {
        while send.send(" ".into()).await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    let (reply, took) = under_a_deadline("", "", body).await;
    assert!(matches!(reply.status.as_u16(), 408 | 504), "{reply:?}");
    reply.error();
    assert!(DEADLINE.contains(&took), "{took:?}");
}

#[tokio::test]
async fn a_deadline_bounds_the_wait_for_a_provider_over_the_network() {
    let silent = raw_provider(|mut stream| async move {
        rest(&mut stream).await;
    })
    .await;
    let proxy =
        Running::new(&format!("server: {{ request_deadline: 60ms }}\n{}", provider_at(silent)));
    let reply = proxy.post(CHAT, ask(false)).await;
    assert_eq!(reply.status, 504);
    reply.error();
}

#[tokio::test]
async fn a_prompt_too_long_goes_to_a_larger_window_alone() {
    const TOO_LONG: &str = r#"{"error":{"message":"This model's maximum context length is 128000 tokens.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#;
    let small = Recording::new(|_| reply(400, &[JSON], TOO_LONG)).await;
    let large = Recording::new(|_| reply(200, &[JSON], COMPLETION)).await;
    let proxy = Running::new(&format!(
        "
providers:
  first: {{ like: openai, base_url: \"http://{0}/v1\", api_key: k }}
  second: {{ like: openai, base_url: \"http://{1}/v1\", api_key: k }}
routes: [{{ targets: [first/gpt-4o, second/gpt-4, second/gpt-5.6-luna] }}]
",
        small.address, large.address
    ));
    let reply = proxy.chat("").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("x-tollway-attempts"), "first/gpt-4o;400, second/gpt-5.6-luna;200");
    assert_eq!((small.count(), large.count()), (1, 1));
}

#[tokio::test]
async fn a_withheld_answer_goes_elsewhere_if_the_policy_says_so() {
    const WITHHELD: &str = r#"{"promptFeedback":{"blockReason":"SAFETY"},"usageMetadata":{"promptTokenCount":5,"totalTokenCount":5}}"#;
    let gemini = Recording::new(|_| reply(200, &[JSON], WITHHELD)).await;
    let policy = |on: &str| {
        format!(
            "
providers:
  gemini: {{ base_url: \"http://{}\", api_key: k }}
  other: {{ simulate: {{}}, forms: [chat] }}
retry: {{ attempts: 2, on: [{on}] }}
routes: [{{ targets: [gemini/gemini-2.5-flash, other] }}]
",
            gemini.address
        )
    };
    let stays = Running::new(&policy("server")).chat("").await;
    assert_eq!(stays.json()["choices"][0]["finish_reason"], "content_filter", "{stays:?}");
    let goes = Running::new(&policy("content_filter")).chat("").await;
    assert_eq!(goes.json()["choices"][0]["finish_reason"], "stop", "{goes:?}");
    assert!(goes.header("x-tollway-attempts").contains("other"), "{goes:?}");
    // With nowhere else to go the client gets what the provider said.
    let alone = policy("content_filter").replace(", other]", "]");
    let alone = Running::new(&alone).chat("").await;
    assert_eq!(alone.status, 200);
    assert_eq!(alone.json()["choices"][0]["finish_reason"], "content_filter", "{alone:?}");
}
