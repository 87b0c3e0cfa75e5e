//! HTTP/2 clients that leave their replies unread.

use std::{convert::Infallible, future::ready, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::{
    body::Incoming,
    client::conn::http2::{Builder, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tollway::server::{RequestBody, serve_connection};
use tollway_core::{Ending, GuardedBody};
use tollway_testkit::{Recorder, ScriptedBody, Step};

use super::support::{Body, full, policy};

/// One frame of HTTP/2.
const FRAME: usize = 16 * 1024;
/// `body_timeout`.
const TIMEOUT: Duration = Duration::from_secs(30);

struct Server {
    client: SendRequest<Body>,
    endings: Recorder<Ending>,
}

impl Server {
    /// Plays `steps` to whoever asks for `/long`, and one word to others. A stream's window is
    /// `window` bytes; the connection's is never full.
    async fn new(window: u32, steps: Vec<Step>) -> Self {
        let endings = Recorder::default();
        let guard: Recorder<Ending> = endings.clone();
        let stack = tower::service_fn(move |request: Request<RequestBody>| {
            let steps = match request.uri().path() {
                "/long" => steps.clone(),
                _ => vec![Step::data("short")],
            };
            let body = GuardedBody::new(ScriptedBody::new(steps), guard.clone());
            ready(Ok::<_, Infallible>(Response::new(body)))
        });
        let (near, far) = tokio::io::duplex(1 << 20);
        let mut server = policy("providers:\n  sim: { simulate: {} }\n").server;
        server.body_timeout = TIMEOUT;
        tokio::spawn(async move {
            let peer = ([127, 0, 0, 1], 1).into();
            serve_connection(far, peer, stack, &server, CancellationToken::new()).await;
        });
        let (client, connection) = Builder::new(TokioExecutor::new())
            .initial_stream_window_size(window)
            .initial_connection_window_size(1 << 24)
            .handshake(TokioIo::new(near))
            .await
            .unwrap();
        tokio::spawn(connection);
        Self { client, endings }
    }

    async fn get(&mut self, path: &str) -> Response<Incoming> {
        let request = Request::get(format!("http://test{path}")).body(full("")).unwrap();
        self.client.send_request(request).await.unwrap()
    }
}

fn chunks(number: usize) -> Vec<Step> {
    (0..number).map(|_| Step::Data(Bytes::from(vec![b'x'; FRAME]))).collect()
}

#[tokio::test(start_paused = true)]
async fn a_reply_nobody_reads_is_given_up_and_its_neighbour_is_not() {
    for window in [0, 1000, FRAME as u32] {
        let mut server = Server::new(window, chunks(100)).await;
        let mut unread = server.get("/long").await;
        sleep(TIMEOUT - Duration::from_secs(1)).await;
        assert_eq!(server.endings.take(), [], "not yet");
        sleep(Duration::from_secs(2)).await;
        assert_eq!(server.endings.take(), [Ending::Dropped], "window of {window}");

        let error = loop {
            match unread.frame().await.unwrap() {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert!(format!("{error:?}").contains("CANCEL"), "{error:?}");
        if window > 0 {
            let reply = server.get("/short").await;
            assert_eq!(reply.collect().await.unwrap().to_bytes(), "short");
            assert_eq!(server.endings.take(), [Ending::Complete]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn while_one_stream_waits_another_gets_its_whole_reply() {
    let mut server = Server::new(FRAME as u32, chunks(8)).await;
    let _unread = server.get("/long").await;
    let read = server.get("/long").await;
    sleep(TIMEOUT / 2).await;
    assert_eq!(read.collect().await.unwrap().to_bytes().len(), 8 * FRAME);
    assert_eq!(server.endings.take(), [Ending::Complete]);
    sleep(TIMEOUT).await;
    assert_eq!(server.endings.take(), [Ending::Dropped]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_gets_everything() {
    // What a provider sends at once, a client may take bit by bit.
    let at_once = vec![Step::Data(Bytes::from(vec![b'x'; 4 * FRAME])); 2];
    for steps in [chunks(8), at_once] {
        let mut server = Server::new(FRAME as u32, steps).await;
        let mut reply = server.get("/long").await;
        let (start, mut length) = (Instant::now(), 0);
        while let Some(frame) = reply.frame().await {
            length += frame.unwrap().into_data().unwrap().len();
            sleep(TIMEOUT - Duration::from_secs(1)).await;
        }
        assert_eq!(length, 8 * FRAME);
        assert!(start.elapsed() > 6 * TIMEOUT, "{:?}", start.elapsed());
        assert_eq!(server.endings.take(), [Ending::Complete]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_provider_is_not_taken_for_a_slow_client() {
    let mut steps = Vec::new();
    for _ in 0..3 {
        steps.extend([Step::data("x"), Step::Sleep(10 * TIMEOUT)]);
    }
    let mut server = Server::new(FRAME as u32, steps).await;
    // Not read until its end, either: what was sent fits into the window.
    let reply = server.get("/long").await;
    sleep(40 * TIMEOUT).await;
    assert_eq!(server.endings.take(), [Ending::Complete]);
    assert_eq!(reply.collect().await.unwrap().to_bytes(), "xxx");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_again_in_time_has_its_whole_patience_back() {
    let mut steps = chunks(2);
    steps.push(Step::Sleep(TIMEOUT));
    steps.extend(chunks(2));
    let mut server = Server::new(FRAME as u32, steps).await;
    let mut reply = server.get("/long").await;
    sleep(TIMEOUT - Duration::from_secs(1)).await;
    // Both chunks; then it's the provider's turn.
    for _ in 0..2 {
        reply.frame().await.unwrap().unwrap();
    }
    sleep(2 * TIMEOUT - Duration::from_secs(2)).await;
    assert_eq!(server.endings.take(), []);
    assert_eq!(reply.collect().await.unwrap().to_bytes().len(), 2 * FRAME);
    assert_eq!(server.endings.take(), [Ending::Complete]);
}
