//! Drives the proxy over real sockets, with the clock held still.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use hyper::http::uri::Authority;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{Instant, advance},
};

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A server that allows 60 requests a minute and has so many left; it refuses where it has none.
#[derive(Clone, Default)]
struct Upstream {
    left: Arc<AtomicU64>,
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
            let refused = self.left.load(SeqCst) == 0;
            let left = self.left.load(SeqCst).saturating_sub(1);
            self.left.store(left, SeqCst);
            let status = if refused { "429 x\r\nretry-after: 30" } else { "200 x" };
            let reply = format!(
                "HTTP/1.1 {status}\r\nx-ratelimit-limit: 60\r\nx-ratelimit-remaining: {left}\r\n\
                 x-ratelimit-reset: {}\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi",
                60 - left
            );
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
async fn waits_for_its_turn_and_refuses_what_would_wait_too_long() {
    let upstream = Upstream::default();
    upstream.left.store(2, SeqCst);
    let (listener, there) = listen().await;
    tokio::spawn(upstream.clone().run(listener));
    let (listener, address) = listen().await;
    let pace = example_pace_hyper::pace(()).unwrap();
    let known = pace.handle();
    let authority: Authority = there.to_string().parse().unwrap();
    let server = authority.clone();
    tokio::spawn(async move {
        example_pace_hyper::serve(listener, server, pace).await.unwrap();
    });
    let calls = || upstream.calls.load(SeqCst);

    assert_eq!(get(address).await.0, "200");
    assert_eq!(get(address).await.0, "200");
    assert_eq!(known.status(&authority).unwrap().gauges[0].remaining, 0);

    // One a second comes back: the next waits for it, with the server left alone until then.
    upstream.left.store(1, SeqCst);
    let start = Instant::now();
    let (code, answer) = get(address).await;
    assert_eq!((&*code, calls()), ("200", 3), "{answer}");
    assert!(start.elapsed() >= Duration::from_millis(990), "{:?}", start.elapsed());

    // Refused all the same (somebody else was quicker): nobody asks again for as long as it said.
    advance(Duration::from_secs(1)).await;
    assert_eq!((&*get(address).await.0, calls()), ("429", 4));
    let (code, answer) = get(address).await;
    assert_eq!((&*code, calls()), ("429", 4), "{answer}");
    assert!(answer.contains("\r\nretry-after: "), "{answer}");
    assert!(answer.contains("the provider's own limit is used up for now"), "{answer}");

    upstream.left.store(60, SeqCst);
    advance(Duration::from_secs(30)).await;
    assert_eq!((&*get(address).await.0, calls()), ("200", 5));
}
