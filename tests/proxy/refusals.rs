//! Heads that never become requests: refused in OpenAI's shape, and no other reply is touched.

use std::{convert::Infallible, future::ready, time::Duration};

use http::{Request, Response};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    net::TcpStream,
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tollway::server::{RequestBody, serve_connection};
use tollway_testkit::{ScriptedBody, Step};

use super::support::*;

const SIM: &str = "providers:\n  sim: { simulate: {} }\n";
const GOOD: &str = "GET /good HTTP/1.1\r\nhost: x\r\n\r\n";
const BAD: &str = "GET /bad HTTP/1.1\r\nbad header name: x\r\n\r\n";
/// What hyper writes by itself.
const BARE: &str = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\
                    date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n";

/// A connection through whose other end `buffer` bytes fit at once, to a stack that answers with
/// [`BARE`] as its body, twice, a second apart, or five minutes.
fn connect(buffer: usize) -> DuplexStream {
    let stack = tower::service_fn(|request: Request<RequestBody>| {
        let pause = if request.uri().path() == "/slow" { 300 } else { 1 };
        let steps = [Step::data(BARE), Step::Sleep(Duration::from_secs(pause)), Step::data(BARE)];
        let mut reply = Response::new(ScriptedBody::new(steps));
        if request.uri().path() != "/endless" {
            reply.headers_mut().insert("content-length", (2 * BARE.len()).into());
        }
        ready(Ok::<_, Infallible>(reply))
    });
    let (near, far) = duplex(buffer);
    let server = policy(SIM).server;
    tokio::spawn(async move {
        let peer = ([127, 0, 0, 1], 1).into();
        serve_connection(far, peer, stack, &server, CancellationToken::new()).await;
    });
    near
}

/// Sends `request` in `pieces` and reads until the end.
async fn talk(connection: DuplexStream, pieces: impl IntoIterator<Item = &[u8]>) -> String {
    let (mut from, mut to) = tokio::io::split(connection);
    let send = async {
        for piece in pieces {
            to.write_all(piece).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let mut text = String::new();
    let (_, read) =
        within("the end", async { tokio::join!(send, from.read_to_string(&mut text)) }).await;
    read.unwrap();
    text
}

/// Takes one good reply off the front.
fn after_good(text: &str) -> &str {
    let (head, rest) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{text}");
    rest.strip_prefix(BARE).and_then(|rest| rest.strip_prefix(BARE)).unwrap_or_else(|| {
        panic!("not as the stack gave it: {text}");
    })
}

fn refused(text: &str) {
    let reply = Raw::parse(text.as_bytes()).unwrap();
    assert_eq!((reply.status, reply.refusal().as_str()), (400, "invalid_http"));
}

#[tokio::test(start_paused = true)]
async fn whole_and_byte_by_byte_through_any_buffer() {
    for buffer in [1, 7, 64, 1 << 16] {
        refused(&talk(connect(buffer), [BAD.as_bytes()]).await);
        refused(&talk(connect(buffer), BAD.as_bytes().chunks(1)).await);
    }
}

#[tokio::test(start_paused = true)]
async fn after_good_requests_pipelined_or_kept_alive() {
    for buffer in [1, 7, 64, 1 << 16] {
        let pipelined = format!("{GOOD}{GOOD}{BAD}");
        let text = talk(connect(buffer), [pipelined.as_bytes()]).await;
        refused(after_good(after_good(&text)));
        let text = talk(connect(buffer), pipelined.as_bytes().chunks(1)).await;
        refused(after_good(after_good(&text)));

        let mut connection = connect(buffer);
        connection.write_all(GOOD.as_bytes()).await.unwrap();
        // Until the good reply is out and the connection idle.
        let mut text = String::new();
        while text.matches(BARE).count() < 2 {
            text.push(within("more", connection.read_u8()).await.unwrap().into());
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(after_good(&text), "");
        refused(&talk(connection, [BAD.as_bytes()]).await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_looks_like_a_refusal_is_not_touched() {
    let close = "GET /good HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    // HTTP/1.0 and no length: the body is written as it is until the connection ends.
    let endless = "GET /endless HTTP/1.0\r\n\r\n";
    for buffer in [1, 7, 64, 1 << 16] {
        for request in [close, endless] {
            let text = talk(connect(buffer), [request.as_bytes()]).await;
            let (_, body) = text.split_once("\r\n\r\n").unwrap();
            assert_eq!(body, [BARE, BARE].concat(), "{request}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_head_request_gets_no_body() {
    let endless = "HEAD / HTTP/1.1\r\na: ".to_owned() + &"b".repeat(1 << 17);
    let two_lengths = "HEAD / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n";
    for (request, status) in [(endless.as_str(), 431), (two_lengths, 400)] {
        for size in [1000, request.len()] {
            let text = talk(connect(1 << 18), request.as_bytes().chunks(size)).await;
            let reply = Raw::parse(text.as_bytes()).unwrap();
            assert_eq!((reply.status, reply.body.as_str()), (status, ""), "{text}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_is_too_large_in_one_piece_too() {
    let with = |size: usize| {
        let close = "GET /good HTTP/1.1\r\nhost: x\r\nconnection: close\r\na: ";
        format!("{close}{}\r\n\r\n", "b".repeat(size))
    };
    for (size, status) in [(60_000, 200), (66_000, 431), (90_000, 431)] {
        for piece in [8 << 10, 1 << 20] {
            let text = talk(connect(1 << 18), with(size).as_bytes().chunks(piece)).await;
            let reply = Raw::parse(text.as_bytes()).unwrap();
            assert_eq!(reply.status, status, "{size} {piece}");
            if status == 431 {
                assert_eq!(reply.refusal(), "headers_too_large");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_rest_of_a_refused_request_is_read_for_a_while() {
    // Closed with bytes unread, a socket is reset, and the refusal may never be seen.
    let mut connection = connect(1 << 16);
    connection.write_all(BAD.as_bytes()).await.unwrap();
    let mut text = String::new();
    within("the end", connection.read_to_string(&mut text)).await.unwrap();
    refused(&text);
    for _ in 0..4 {
        connection.write_all(&[b'x'; 1 << 16]).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(connection.write_all(b"x").await.is_err(), "not for ever");

    let mut connection = connect(1 << 16);
    let mut flood = BAD.as_bytes().to_vec();
    flood.resize(2 << 20, b'x');
    assert!(connection.write_all(&flood).await.is_err(), "nor without end");
}

/// Reads two replies' worth of [`BARE`], or until the end.
async fn read_good(connection: &mut DuplexStream) {
    let mut text = String::new();
    while text.matches(BARE).count() < 2 {
        text.push(connection.read_u8().await.unwrap().into());
    }
    assert_eq!(after_good(&text), "");
}

async fn rest_after(connection: &mut DuplexStream) -> (String, u64) {
    let (start, mut text) = (Instant::now(), String::new());
    connection.read_to_string(&mut text).await.unwrap();
    (text, start.elapsed().as_secs())
}

async fn secs(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn a_head_has_ten_seconds_from_its_first_byte() {
    for (head, has_body) in [(GOOD, true), (&GOOD.replace("GET", "HEAD"), false)] {
        for idle in [0, 119] {
            let mut connection = connect(1 << 16);
            for _ in 0..2 {
                secs(idle).await;
                connection.write_all(GOOD.as_bytes()).await.unwrap();
                read_good(&mut connection).await;
            }
            secs(idle).await;
            // Byte by byte, none of them late by itself.
            for byte in head.as_bytes().iter().take(5) {
                connection.write_all(&[*byte]).await.unwrap();
                secs(1).await;
            }
            let (text, after) = rest_after(&mut connection).await;
            assert_eq!(after, 5, "{text}");
            let reply = Raw::parse(text.as_bytes()).unwrap();
            assert_eq!(reply.status, 408);
            assert!(text.contains("connection: close"), "{text}");
            if has_body {
                assert_eq!(reply.refusal(), "request_timeout");
            } else {
                assert_eq!(reply.body, "");
            }
        }
    }
    // Of a client of HTTP/2 nothing is asked in HTTP/1.1.
    let mut connection = connect(1 << 16);
    connection.write_all(b"PRI * HTTP/2.0\r\n").await.unwrap();
    assert_eq!(rest_after(&mut connection).await, (String::new(), 10));
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_may_stay_for_two_minutes() {
    let mut connection = connect(1 << 16);
    assert_eq!(rest_after(&mut connection).await, (String::new(), 120), "never used");
    for buffer in [1, 1 << 16] {
        let mut connection = connect(buffer);
        for _ in 0..3 {
            connection.write_all(GOOD.as_bytes()).await.unwrap();
            read_good(&mut connection).await;
            secs(60).await;
            // Blank lines are no head, nor do they keep a connection open.
            connection.write_all(b"\r\n").await.unwrap();
            secs(59).await;
        }
        connection.write_all(GOOD.as_bytes()).await.unwrap();
        read_good(&mut connection).await;
        assert_eq!(rest_after(&mut connection).await, (String::new(), 120));
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_under_way_is_no_wait_for_a_head() {
    for more in ["", "GET", GOOD] {
        let mut connection = connect(1 << 16);
        let slow = GOOD.replace("/good", "/slow");
        connection.write_all(slow.as_bytes()).await.unwrap();
        secs(1).await;
        connection.write_all(more.as_bytes()).await.unwrap();
        read_good(&mut connection).await;
        if more == GOOD {
            read_good(&mut connection).await;
        }
        let (_, after) = rest_after(&mut connection).await;
        assert!(after <= 120, "{after}");
    }
}

#[tokio::test]
async fn over_real_sockets() {
    let proxy = Running::new(SIM);
    let models = "GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n";
    let bytes = format!("{models}{models}{BAD}");
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let text = String::from_utf8(rest(&mut stream).await).unwrap();
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 2, "{text}");
    refused(&text[text.find("HTTP/1.1 400").unwrap()..]);

    // Kept alive: one reply first, then a bad head by itself.
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    stream.write_all(models.as_bytes()).await.unwrap();
    let head = read_head(&mut stream).await.to_ascii_lowercase();
    let length = head.split_once("content-length: ").unwrap().1;
    let length = length.split_once("\r\n").unwrap().0.parse().unwrap();
    let mut body = vec![0; length];
    within("a body", stream.read_exact(&mut body)).await.unwrap();
    stream.write_all(BAD.as_bytes()).await.unwrap();
    refused(&String::from_utf8(rest(&mut stream).await).unwrap());

    // One byte first, so that the protocol can't be told yet.
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for byte in BAD.as_bytes().chunks(1) {
        stream.write_all(byte).await.unwrap();
        tokio::task::yield_now().await;
    }
    refused(&String::from_utf8(rest(&mut stream).await).unwrap());
    assert_eq!(proxy.chat("").await.status, 200, "the proxy lives");
}
