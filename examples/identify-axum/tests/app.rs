//! Drives the program over a real socket.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tollway_core::Tags;
use tollway_identify::Key;

async fn start(keys: impl IntoIterator<Item = Key>) -> SocketAddr {
    let app = example_identify_axum::app(keys).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await.unwrap() });
    address
}

/// Head and body of the answer to `GET /whoami` with these header lines.
async fn whoami(address: SocketAddr, headers: &str) -> (String, Value) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET /whoami HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_lowercase(), serde_json::from_str(body).unwrap())
}

#[tokio::test]
async fn only_who_shows_a_key_gets_in_and_is_told_who_they_are() {
    let new = Key::generate([7; 32]);
    let tags = Tags::from_iter([("team", "search")]);
    let address = start([Key { tags, ..Key::new("demo", new.digest()) }]).await;

    let (head, body) = whoami(address, "").await;
    assert!(head.starts_with("http/1.1 401 ") && head.contains("www-authenticate: bearer"));
    assert!(body["error"].as_str().unwrap().contains("No API key was sent"));
    let (head, body) = whoami(address, "authorization: Bearer tw_guess\r\n").await;
    assert!(head.starts_with("http/1.1 401 "));
    assert!(!body.to_string().contains("tw_guess"));

    // The peer of this test is 127.0.0.1, the proxy that is believed.
    let key = format!("authorization: Bearer {}\r\n", new.secret());
    let (head, body) = whoami(address, &key).await;
    assert!(head.starts_with("http/1.1 200 "));
    let tags = json!({ "team": "search" });
    let expected = json!({ "user": "demo", "key": "demo", "ip": "127.0.0.1", "tags": tags });
    assert_eq!(body, expected);
    let behind = format!("{key}x-user-id: ann\r\nx-forwarded-for: 6.6.6.6, 203.0.113.7\r\n");
    let (_, body) = whoami(address, &behind).await;
    let expected = json!({ "user": "ann", "key": "demo", "ip": "203.0.113.7", "tags": tags });
    assert_eq!(body, expected);
}
