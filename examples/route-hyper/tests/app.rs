//! Drives the program over a real socket.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tollway_core::Target;
use tollway_route::Availability;

async fn start(state: fn(&Target) -> Availability) -> SocketAddr {
    let router = example_route_hyper::router().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { example_route_hyper::serve(listener, router, state).await.unwrap() });
    address
}

async fn get(address: SocketAddr, path: &str) -> (String, Value) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), serde_json::from_str(body).unwrap())
}

#[tokio::test]
async fn tells_where_a_call_would_go() {
    let address = start(|_| Availability::Ready).await;
    let mut first = Vec::new();
    for _ in 0..4 {
        let (head, plan) = get(address, "/fast").await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert_eq!((&plan["route"], &plan["strategy"]), (&json!("gpt"), &json!("weighted")));
        first.push(plan["candidates"][0][0].as_str().unwrap().to_owned());
    }
    first.sort();
    assert_eq!(
        first.join(" "),
        "azure/gpt-4o-mini openai/gpt-4o-mini openai/gpt-4o-mini openai/gpt-4o-mini"
    );

    let (head, body) = get(address, "/gtp-4o-mini").await;
    assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
    assert_eq!(body["error"]["code"], "model_not_found");
    assert!(body["error"]["message"].as_str().unwrap().contains("Did you mean `gpt-4o-mini`?"));
}

#[tokio::test]
async fn passes_over_a_target_that_is_out() {
    let address = start(|target| match &**target.provider() {
        "anthropic" => Availability::BreakerOpen,
        _ => Availability::Ready,
    })
    .await;
    let (_, plan) = get(address, "/claude-haiku-4-5").await;
    assert_eq!(plan["candidates"], json!([["groq/llama", "first that is ready"]]));
    assert_eq!(plan["rejected"], json!([["anthropic/claude-haiku-4-5", "breaker open"]]));
}
