//! Drives the proxy over real sockets, with the clock held still.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::advance,
};

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A server that answers with whatever status it is told to.
#[derive(Clone, Default)]
struct Upstream {
    status: Arc<AtomicU32>,
    calls: Arc<AtomicUsize>,
}

impl Upstream {
    async fn run(self, listener: TcpListener) {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            self.calls.fetch_add(1, SeqCst);
            let status = self.status.load(SeqCst);
            let reply =
                format!("HTTP/1.1 {status} x\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi");
            stream.write_all(reply.as_bytes()).await.unwrap();
        }
    }
}

/// Status and text of the answer to `GET /`.
async fn get(address: SocketAddr) -> (String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    (answer.split(' ').nth(1).unwrap().to_owned(), answer)
}

#[tokio::test(start_paused = true)]
async fn opens_refuses_tries_and_closes() {
    let upstream = Upstream::default();
    let (listener, there) = listen().await;
    tokio::spawn(upstream.clone().run(listener));
    let (listener, address) = listen().await;
    let breaker = example_circuit_breaker_hyper::breaker(()).unwrap();
    let authority = there.to_string().parse().unwrap();
    tokio::spawn(async move {
        example_circuit_breaker_hyper::serve(listener, authority, breaker).await.unwrap();
    });
    let status = |status| upstream.status.store(status, SeqCst);
    let calls = || upstream.calls.load(SeqCst);

    status(500);
    for _ in 0..3 {
        assert_eq!(get(address).await.0, "500");
    }
    let (code, answer) = get(address).await;
    assert_eq!((&*code, calls()), ("503", 3), "refused, and the server was left alone");
    assert!(answer.contains("\r\nretry-after: 10\r\n"), "{answer}");
    let reason = "the circuit is open: 3 failures in a row, the last: server\n";
    assert!(answer.ends_with(reason), "{answer}");

    // The trial fails: open again, for twice as long.
    advance(Duration::from_secs(10)).await;
    assert_eq!((&*get(address).await.0, calls()), ("500", 4));
    let (code, answer) = get(address).await;
    assert!(code == "503" && answer.contains("\r\nretry-after: 20\r\n"), "{answer}");

    // The next one succeeds, and that closes it.
    status(200);
    advance(Duration::from_secs(19)).await;
    assert_eq!((&*get(address).await.0, calls()), ("503", 4));
    advance(Duration::from_secs(1)).await;
    for _ in 0..3 {
        assert_eq!(get(address).await.0, "200");
    }
    assert_eq!(calls(), 7);
}

#[tokio::test(start_paused = true)]
async fn nobody_there_counts_and_an_operator_can_close_it() {
    let (listener, there) = listen().await;
    drop(listener);
    let (listener, address) = listen().await;
    let breaker = example_circuit_breaker_hyper::breaker(()).unwrap();
    let circuits = breaker.handle();
    let authority: hyper::http::uri::Authority = there.to_string().parse().unwrap();
    let upstream = authority.clone();
    tokio::spawn(async move {
        example_circuit_breaker_hyper::serve(listener, upstream, breaker).await.unwrap();
    });
    for _ in 0..3 {
        assert_eq!(get(address).await.0, "502");
    }
    assert_eq!(get(address).await.0, "503");
    assert_eq!(circuits.state(&authority).as_str(), "open");
    assert!(circuits.reset(&authority));
    assert_eq!(get(address).await.0, "502", "asked again");
    assert_eq!(circuits.status(&authority).unwrap().failures_in_a_row, 1);
}
