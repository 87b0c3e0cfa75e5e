//! Drives the program, with the clock held still.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Request, StatusCode},
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::advance,
};
use tollway_rate_limit::{Event, EventKind, Key};
use tower::ServiceExt;

async fn get(app: &Router, path: &str, user: &str) -> (StatusCode, HeaderMap, Vec<u8>) {
    let request = Request::get(path).header("x-user", user).body(Body::empty()).unwrap();
    let (head, body) = app.clone().oneshot(request).await.unwrap().into_parts();
    (head.status, head.headers, to_bytes(body, 4096).await.unwrap().into())
}

#[tokio::test(start_paused = true)]
async fn the_third_request_in_a_second_is_refused() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = told.clone();
    let app = example_rate_limit_axum::app(move |event: &Event| {
        tell.lock().unwrap().push(event.clone());
    })
    .unwrap();

    assert_eq!(get(&app, "/", "ann").await.0, 200);
    advance(Duration::from_millis(400)).await;
    assert_eq!(get(&app, "/", "ann").await.0, 200);
    let (status, headers, body) = get(&app, "/", "ann").await;
    assert_eq!(status, 429);
    assert_eq!(headers["retry-after"], "1");
    assert_eq!(headers["ratelimit-policy"], "\"per-user\";q=2;w=1");
    assert_eq!(headers["ratelimit"], "\"per-user\";r=0;t=1");
    assert_eq!(headers["x-ratelimit-limit-requests"], "2");
    assert_eq!(headers["x-ratelimit-remaining-requests"], "0");
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["error"]["limit"], "per-user");
    let message = "limit \"per-user\" is full: 0 of 2 requests left, try again in 1 s";
    assert_eq!(body["error"]["message"], message);

    let refused = told.lock().unwrap().pop().unwrap();
    let retry_after = Some(Duration::from_millis(600));
    assert_eq!((&*refused.limit, refused.key), ("per-user", Key::from("ann")));
    assert_eq!(
        refused.kind,
        EventKind::Refused { never_fits: false, asked: 1, available: 0, retry_after }
    );

    assert_eq!(get(&app, "/", "bob").await.0, 200, "another user's quota is another");
    let (status, headers, _) = get(&app, "/limits", "bob").await;
    assert_eq!(
        (status, &headers["ratelimit"]),
        (StatusCode::NO_CONTENT, &"\"per-user\";r=1;t=1".parse().unwrap())
    );

    // Neither before nor after the moment that was told.
    advance(Duration::from_millis(599)).await;
    assert_eq!(get(&app, "/", "ann").await.0, 429);
    advance(Duration::from_millis(1)).await;
    assert_eq!(get(&app, "/", "ann").await.0, 200);
    assert_eq!(get(&app, "/", "ann").await.0, 429, "the second of the two is not a second old");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_reaches_the_wire() {
    let app = example_rate_limit_axum::app(()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(axum::serve(listener, app).into_future());
    let mut statuses = Vec::new();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let told = answer.contains("\r\nretry-after: 1\r\n");
        statuses.push((answer.split(' ').nth(1).unwrap().to_owned(), told));
    }
    let expected = [("200", false), ("200", false), ("429", true)];
    assert_eq!(statuses, expected.map(|(status, told)| (status.to_owned(), told)));
    server.abort();
}
