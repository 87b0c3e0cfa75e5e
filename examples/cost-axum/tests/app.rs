//! Drives the program over a real socket.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc::unbounded_channel,
};
use tollway_core::{Ending, Usage};
use tollway_cost::Record;

/// One request on a connection of its own: the reply's head and its JSON.
async fn send(to: SocketAddr, head: &str, body: &str) -> (String, Value) {
    let mut socket = TcpStream::connect(to).await.unwrap();
    let length = body.len();
    let request = format!(
        "{head} HTTP/1.1\r\nhost: example\r\nconnection: close\r\nx-user: ann\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut reply = String::new();
    socket.read_to_string(&mut reply).await.unwrap();
    let (head, body) = reply.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), serde_json::from_str(body).unwrap())
}

#[tokio::test]
async fn a_reply_is_priced_told_and_summed() {
    let (tell, mut records) = unbounded_channel();
    let app = example_cost_axum::app(move |record: &Record| drop(tell.send(record.clone())));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(axum::serve(listener, app.unwrap()).into_future());

    let ask = json!({ "model": "parrot", "messages": [
        { "role": "system", "content": "You are a parrot" },
        { "role": "user", "content": "hello there" },
    ]});
    let (head, reply) = send(address, "POST /v1/chat/completions", &ask.to_string()).await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    // 6 tokens at 0.15 and 2 at 0.6 USD a million.
    assert!(head.contains("x-tollway-cost-usd: 0.0000021"), "{head}");
    assert_eq!(reply["choices"][0]["message"]["content"], "hello there");

    let record = records.recv().await.unwrap();
    assert_eq!((record.ending, record.usage), (Ending::Complete, Some(Usage::new(6, 2))));
    assert_eq!(record.caller.user.as_deref(), Some("ann"));
    let (_, spent) = send(address, "GET /spent", "").await;
    assert_eq!(spent[0]["user"], "ann");
    assert_eq!((&spent[0]["usd"], &spent[0]["tokens"]), (&json!("0.0000021"), &json!(8)));

    let unknown = json!({ "model": "owl", "messages": [] }).to_string();
    let (head, _) = send(address, "POST /v1/chat/completions", &unknown).await;
    assert!(!head.contains("x-tollway-cost-usd"), "no price, no figure: {head}");
    assert_eq!(records.recv().await.unwrap().cost, None);
    server.abort();
}
