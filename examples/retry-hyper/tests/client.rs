//! Drives the client against real sockets, with the clock held still.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::{Request, http::uri::Authority};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    time::Instant,
};
use tollway_core::{ErrorClass, find_error};
use tollway_retry::{Attempts, RetryError};
use tower::ServiceExt;

struct Server {
    address: Authority,
    /// The body of each request that came.
    came: UnboundedReceiver<String>,
}

/// A server that gives these answers (status line and further headers), one for each request.
async fn server(answers: &'static [&'static str]) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string().parse().unwrap();
    let (tell, came) = unbounded_channel();
    tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            let mut body = [0; 5]; // what every test here sends: "hello"
            stream.read_exact(&mut body).await.unwrap();
            tell.send(String::from_utf8(body.into()).unwrap()).unwrap();
            let reply =
                format!("HTTP/1.1 {answer}\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi");
            stream.write_all(reply.as_bytes()).await.unwrap();
        }
    });
    Server { address, came }
}

/// Where nobody listens any more.
async fn nobody() -> Authority {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string().parse().unwrap()
}

fn post(servers: impl IntoIterator<Item = Authority>) -> Request<example_retry_hyper::Body> {
    let mut request = Request::post("/v1/echo").body("hello".into()).unwrap();
    request.extensions_mut().insert(example_retry_hyper::plan(servers));
    request
}

#[tokio::test(start_paused = true)]
async fn fails_over_at_once_and_tells_its_attempts() {
    let nobody = nobody().await;
    let mut busy = server(&["503 Service Unavailable\r\nretry-after: 4"]).await;
    let mut good = server(&["200 OK"]).await;
    let request = post([nobody.clone(), busy.address.clone(), good.address.clone()]);

    let start = Instant::now();
    let response = example_retry_hyper::client().unwrap().oneshot(request).await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO, "a fresh server is tried without a wait");
    let expected = format!("{nobody};network, {};503, {};200", busy.address, good.address);
    assert_eq!(Attempts::header(&response).unwrap(), expected);
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hi");
    for came in [&mut busy.came, &mut good.came] {
        assert_eq!(came.recv().await.unwrap(), "hello", "each was sent the whole body");
    }
}

#[tokio::test(start_paused = true)]
async fn waits_as_long_as_it_is_told_where_no_other_server_is_left() {
    let only = server(&["429 Too Many Requests\r\nretry-after: 4", "200 OK"]).await;
    let start = Instant::now();
    let request = post([only.address.clone()]);
    let response = example_retry_hyper::client().unwrap().oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let attempts = response.extensions().get::<Attempts>().unwrap();
    assert_eq!(attempts[0].class, Some(ErrorClass::RateLimit));
    // Never less than it was told, and a little more at random, so that not all come at once.
    let waited = attempts[1].waited;
    assert!((Duration::from_secs(4)..=Duration::from_millis(4400)).contains(&waited), "{waited:?}");
    assert!(start.elapsed() >= waited);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_request_is_sent_once_and_a_dead_list_is_an_error() {
    let strict = server(&["400 Bad Request"]).await;
    let good = server(&["200 OK"]).await;
    let client = example_retry_hyper::client().unwrap();
    let request = post([&strict, &good].map(|server| server.address.clone()));
    let response = client.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), 400);
    assert_eq!(Attempts::header(&response).unwrap(), format!("{};400", strict.address));

    let error = client.oneshot(post([nobody().await])).await.unwrap_err();
    let attempts = find_error::<RetryError>(&*error).unwrap().attempts();
    assert_eq!(attempts.len(), 4, "all that the settings allow");
    assert!(attempts.iter().all(|attempt| attempt.class == Some(ErrorClass::Network)));
}
