//! Broken requests: each gets OpenAI's error shape, the right status, and words to act on.

use http::{Method, Request};
use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::support::*;

const SIM: &str = "providers:\n  sim: { simulate: {} }\n";

/// Body, status, part of the message, param, code.
type Case<'a> = (&'a [u8], u16, &'a str, Option<&'a str>, Option<&'a str>);

#[tokio::test]
async fn wrong_json_is_told_what_is_wrong() {
    let proxy = Running::new(SIM);
    let cases: &[Case<'_>] = &[
        (b"", 400, "JSON", None, None),
        (b"{\"model\": \"m\",", 400, "JSON", None, None),
        (b"not json", 400, "JSON", None, None),
        (b"[]", 400, "object", None, None),
        (b"{\"messages\":[]}", 400, "model", Some("model"), None),
        (b"{\"model\":\"\",\"messages\":[]}", 400, "empty", Some("model"), None),
        (b"{\"model\":7,\"messages\":[]}", 400, "string", Some("model"), None),
        (b"{\"model\":\"m\",\"stream\":\"yes\"}", 400, "true or false", Some("stream"), None),
        (b"{\"model\":\"m\",\"max_tokens\":-1}", 400, "whole number", Some("max_tokens"), None),
        (b"{\"model\":\"m\",\"max_tokens\":1e99}", 400, "whole number", Some("max_tokens"), None),
        (b"{\"model\":\"m\",\"n\":0}", 400, "at least 1", Some("n"), None),
        (b"{\"model\":\"m\",\"stream_options\":3}", 400, "object", Some("stream_options"), None),
        (
            b"{\"model\":\"a\",\"model\":\"b\"}",
            400,
            "twice",
            Some("model"),
            Some("duplicate_field"),
        ),
        (b"{\"model\":\"\xff\xfe\",\"messages\":[]}", 400, "UTF-8", None, None),
        (b"\xff\xfe{\x00", 400, "", None, None),
        (
            b"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"\xc3\x28\"}]}",
            400,
            "UTF-8",
            None,
            None,
        ),
    ];
    let mut wrong = Vec::new();
    for (body, status, part, param, code) in cases {
        let reply = proxy.post(CHAT, body.to_vec()).await;
        let error = reply.error();
        let fits = reply.status == *status
            && error.kind == "invalid_request_error"
            && error.message.contains(part)
            && error.param.as_deref() == *param
            && code.is_none_or(|code| error.code.as_deref() == Some(code));
        if !fits {
            wrong.push(format!("{}\n  {} {error:?}", String::from_utf8_lossy(body), reply.status));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(proxy.sim("sim").stats().requests, 0, "nothing of it reached the provider");
}

#[tokio::test]
async fn deep_nesting_neither_crashes_nor_passes_unread() {
    let proxy = Running::new(SIM);
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        for depth in [100, 127, 128, 100_000] {
            let inside = if close == "}" { "1" } else { "" };
            let deep = format!("{}{inside}{}", open.repeat(depth), close.repeat(depth));
            let body = format!("{{\"model\":\"m\",\"messages\":{deep}}}");
            let reply = proxy.post(CHAT, body).await;
            if reply.status != 200 {
                assert_eq!(reply.status, 400, "{depth} x {open}: {}", reply.text());
                reply.error();
            }
        }
    }
    assert_eq!(proxy.chat("").await.status, 200, "the proxy lives");
}

#[tokio::test]
async fn an_unknown_model_is_told_its_neighbours() {
    let proxy = Running::new(
        "providers:\n  sim: { simulate: {} }\n\
         routes:\n  - { match: { model: [gpt-4o-mini, gpt-4o] }, targets: [sim] }\n",
    );
    let body = r#"{"model":"gpt-4o-mimi","messages":[]}"#;
    let reply = proxy.post(CHAT, body).await;
    let error = reply.error();
    assert_eq!(reply.status, 404);
    assert_eq!(error.code.as_deref(), Some("model_not_found"));
    assert_eq!(error.param.as_deref(), Some("model"));
    assert!(error.message.contains("`gpt-4o-mimi`"), "{error:?}");
    assert!(error.message.contains("Did you mean `gpt-4o-mini`"), "{error:?}");
    // A name of a megabyte is not sent back.
    let long = format!(r#"{{"model":"{}","messages":[]}}"#, "x".repeat(1 << 20));
    let reply = proxy.post(CHAT, long).await;
    assert_eq!(reply.status, 400, "no model has such a name");
    assert!(reply.body.len() < 1000, "{}", reply.body.len());
}

#[tokio::test]
async fn a_giant_body_is_refused_before_it_is_read() {
    let proxy = Running::new(&format!("server: {{ max_body: 64KiB }}\n{SIM}"));
    // By its announced length: the answer comes although nothing of the body has been sent.
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
                content-type: application/json\r\ncontent-length: 100000000\r\n\r\n";
    let reply = raw(proxy.address(), head.as_bytes()).await.unwrap();
    assert_eq!(reply.status, 413, "{reply:?}");
    assert!(
        reply.error().message.contains("64 KiB") || reply.error().message.contains("65536"),
        "{reply:?}"
    );
    // Chunked, with no length: as soon as it is too much.
    let mut chunked = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
        content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
        .to_vec();
    for _ in 0..5 {
        chunked.extend_from_slice(b"4000\r\n");
        chunked.extend_from_slice(&[b' '; 0x4000]);
        chunked.extend_from_slice(b"\r\n");
    }
    let reply = raw(proxy.address(), &chunked).await.unwrap();
    assert_eq!(reply.status, 413, "{reply:?}");
    reply.error();
    assert_eq!(proxy.sim("sim").stats().requests, 0);
    assert_eq!(proxy.chat("").await.status, 200);
}

#[tokio::test]
async fn header_bombs_are_refused() {
    let proxy =
        Running::new(&format!("server: {{ max_header_bytes: 16KiB, max_headers: 50 }}\n{SIM}"));
    let many =
        "GET /v1/models HTTP/1.1\r\nhost: x\r\n".to_owned() + &"a: b\r\n".repeat(100) + "\r\n";
    let large = format!("GET /v1/models HTTP/1.1\r\nhost: x\r\na: {}\r\n\r\n", "b".repeat(200_000));
    let endless = "GET /v1/models HTTP/1.1\r\na: ".to_owned() + &"b".repeat(1 << 20);
    for bomb in [many, large, endless] {
        let reply = raw(proxy.address(), bomb.as_bytes()).await.unwrap();
        assert_eq!(reply.status, 431, "{}", &bomb[..40]);
        assert_eq!(reply.refusal(), "headers_too_large");
        assert!(reply.error().message.contains("`server.max_headers`"), "{reply:?}");
    }
    let long_uri = format!("GET /v1/{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(70_000));
    let reply = raw(proxy.address(), long_uri.as_bytes()).await.unwrap();
    assert_eq!((reply.status, reply.refusal().as_str()), (431, "headers_too_large"));
    let wide = Running::new(&format!("server: {{ max_header_bytes: 256KiB }}\n{SIM}"));
    let reply = raw(wide.address(), long_uri.as_bytes()).await.unwrap();
    assert_eq!((reply.status, reply.refusal().as_str()), (414, "uri_too_long"));
    assert_eq!(proxy.chat("").await.status, 200, "the proxy lives");
}

#[tokio::test]
async fn conflicting_lengths_are_no_request() {
    let proxy = Running::new(SIM);
    let body = ask(false);
    let head = |lengths: &str| {
        format!(
            "POST {CHAT} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
             content-type: application/json\r\n{lengths}\r\n{body}"
        )
    };
    for lengths in [
        "content-length: 10\r\ncontent-length: 11\r\n",
        "content-length: -1\r\n",
        "content-length: 1x\r\n",
        "content-length: 99999999999999999999999\r\n",
        "transfer-encoding: gzip\r\n",
        "transfer-encoding: chunked, gzip\r\n",
    ] {
        let reply = raw(proxy.address(), head(lengths).as_bytes()).await.unwrap();
        assert_eq!(reply.status, 400, "{lengths}");
        assert_eq!(reply.refusal(), "invalid_http");
    }
    // Both: RFC 9112, 6.3: chunked decides and the length is dropped; nothing after it may be
    // taken for a second request.
    let smuggled = "GET /v1/smuggled HTTP/1.1\r\nhost: x\r\n\r\n";
    let both = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n{smuggled}",
        body.len()
    );
    let reply = raw(proxy.address(), both.as_bytes()).await.unwrap();
    assert!(matches!(reply.status, 200 | 400), "{reply:?}");
    assert!(!reply.body.contains("HTTP/1.1"), "a request was smuggled in: {reply:?}");
    let most = if reply.status == 200 { 1 } else { 0 };
    assert_eq!(proxy.sim("sim").stats().requests, most);
}

#[tokio::test]
async fn bad_framing_inside_a_body_is_an_incomplete_body() {
    let proxy = Running::new(SIM);
    for chunk in
        ["zz\r\nabc\r\n", "5\r\nabcdefgh\r\n0\r\n\r\n", "-1\r\n\r\n", "ffffffffffffffffff\r\na"]
    {
        let text = format!(
            "POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
             transfer-encoding: chunked\r\n\r\n{chunk}"
        );
        let reply = raw(proxy.address(), text.as_bytes()).await.unwrap();
        assert_eq!(reply.status, 400, "{chunk:?}");
        reply.error();
    }
}

#[tokio::test]
async fn a_slow_body_is_408_and_a_broken_one_leaves_nothing() {
    let proxy = Running::new(&format!("server: {{ body_timeout: 50ms }}\n{SIM}"));
    let half = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: 500\r\n\r\n{{\"model\":"
    );
    let reply = raw(proxy.address(), half.as_bytes()).await.unwrap();
    assert_eq!(reply.status, 408, "{reply:?}");
    assert!(reply.error().message.contains("body"), "{reply:?}");

    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    stream.write_all(half.as_bytes()).await.unwrap();
    drop(stream);
    until("no request under way", || proxy.is_idle()).await;
    assert_eq!(proxy.sim("sim").stats().requests, 0);
}

#[tokio::test]
async fn a_head_that_never_ends_is_given_up() {
    let proxy = Running::new(&format!(
        "server: {{ header_timeout: 50ms, idle_timeout: 50ms, body_timeout: 50ms }}\n{SIM}"
    ));
    for start in ["", "P", "GET", "GET /v1/models HTTP/1.1\r\nhost:", "PRI * HTTP/2.0\r\n"] {
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        stream.write_all(start.as_bytes()).await.unwrap();
        // Closed, with a 408 or without a word.
        let said = rest(&mut stream).await;
        if let Some(reply) = Raw::parse(&said) {
            assert_eq!(reply.status, 408, "{start:?}");
        }
    }
}

#[tokio::test]
async fn what_is_no_http_is_refused() {
    let proxy = Running::new(SIM);
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS client hello\r\n\r\n"[..],
        b"HELLO\r\n\r\n",
        b"GET /v1/models HTTP/9.9\r\n\r\n",
        b"GET /v1/mod els HTTP/1.1\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nbad header name: x\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nhost: x\r\nx: a\x00b\r\n\r\n",
    ] {
        let reply = raw(proxy.address(), garbage).await.unwrap();
        assert_eq!(reply.status, 400, "{:?}", String::from_utf8_lossy(garbage));
        assert_eq!(reply.refusal(), "invalid_http");
    }
    assert_eq!(proxy.chat("").await.status, 200, "the proxy lives");
}

#[tokio::test]
async fn the_wrong_content_type_is_told_the_right_one() {
    let proxy = Running::new(SIM);
    for kind in
        ["text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded"]
    {
        let reply = proxy.send(Method::POST, CHAT, &[("content-type", kind)], ask(false)).await;
        assert_eq!(reply.status, 415, "{kind}");
        assert!(reply.error().message.contains("application/json"));
    }
    let gzip = [JSON, ("content-encoding", "gzip")];
    let reply = proxy.send(Method::POST, CHAT, &gzip, ask(false)).await;
    assert_eq!(reply.status, 415, "an unread body would slip past every limit in tokens");
    assert!(
        reply.error().message.contains("content-encoding")
            || reply.error().message.contains("ncompressed")
    );
}

#[tokio::test]
async fn no_key_where_keys_are_asked_is_401() {
    let proxy = Running::new(
        "callers:\n  identify: [key]\n  keys:\n    - name: a\n      \
         sha256: 12486e48f3b1952b18cbeb4a41c794862fbb948c94b0e9bc30b27a0973738a07\n\
         providers:\n  sim: { simulate: {} }\n",
    );
    let reply = proxy.post(CHAT, ask(false)).await;
    assert_eq!(reply.status, 401);
    assert_eq!(reply.header("www-authenticate"), "Bearer");
    assert_eq!(reply.error().code.as_deref(), Some("invalid_api_key"));
    let key = ("authorization", "Bearer tollway-demo-key-1");
    let wrong = ("authorization", "Bearer tollway-demo-key-9");
    let reply = proxy.send(Method::POST, CHAT, &[JSON, wrong], ask(false)).await;
    assert_eq!(reply.status, 401);
    assert!(!reply.text().contains("tollway-demo-key-9"), "what was sent is not sent back");
    let reply = proxy.send(Method::POST, CHAT, &[JSON, key], ask(false)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}

#[tokio::test]
async fn http2_is_held_to_the_same_bounds() {
    let proxy =
        Running::new(&format!("server: {{ max_body: 64KiB, max_header_bytes: 16KiB }}\n{SIM}"));
    let client = client_h2();
    let request = || Request::post(proxy.uri(CHAT)).header(JSON.0, JSON.1);
    let large = request().body(full(vec![b' '; 200_000])).unwrap();
    let reply = Reply::read(within("a reply", client.request(large)).await.unwrap()).await;
    assert_eq!(reply.status, 413);
    reply.error();
    for (size, number) in [(17_000, 1), (60_000, 1), (1, 100)] {
        let mut bomb = request();
        for n in 0..number {
            bomb = bomb.header(format!("x-bomb-{n}"), "b".repeat(size));
        }
        let bomb = bomb.body(full(ask(false))).unwrap();
        let reply = Reply::read(within("a reply", client.request(bomb)).await.unwrap()).await;
        assert_eq!(reply.status, 431);
        assert_eq!(reply.error().code.as_deref(), Some("headers_too_large"));
    }
    // So large that its end is never read: 431 and no body, or the stream is reset.
    let bomb = request().header("x-bomb", "b".repeat(90_000)).body(full(ask(false))).unwrap();
    if let Ok(reply) = within("an end", client.request(bomb)).await {
        assert_eq!(reply.status(), 431);
    }
    let fits = request().header("x-fits", "b".repeat(15_000)).body(full(ask(false))).unwrap();
    assert_eq!(within("a reply", client.request(fits)).await.unwrap().status(), 200);
    let good = request().body(full(ask(false))).unwrap();
    assert_eq!(within("a reply", client.request(good)).await.unwrap().status(), 200);
    assert_eq!(proxy.sim("sim").stats().requests, 2);
}

#[tokio::test]
async fn a_client_that_asks_before_it_sends_is_told_to_go_on() {
    let proxy = Running::new(SIM);
    let body = ask(false);
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    let head = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n\
         expect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(read_head(&mut stream).await, "HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(body.as_bytes()).await.unwrap();
    let reply = Raw::parse(&rest(&mut stream).await).unwrap();
    assert_eq!(reply.status, 200, "{reply:?}");
}

#[tokio::test]
async fn requests_sent_in_one_breath_are_answered_in_their_order() {
    let proxy = Running::new(SIM);
    let one = |n: usize, end: &str| {
        let body = ask(false).replace("Hello", &format!("number-{n}"));
        let length = body.len();
        format!(
            "POST {CHAT} HTTP/1.1\r\nhost: x\r\n{end}content-type: application/json\r\n\
             content-length: {length}\r\n\r\n{body}"
        )
    };
    let all: String =
        (0..5).map(|n| one(n, if n == 4 { "connection: close\r\n" } else { "" })).collect();
    let reply = raw(proxy.address(), all.as_bytes()).await.unwrap();
    let places: Vec<_> = (0..5).map(|n| reply.body.find(&format!("number-{n}"))).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?}");
}
