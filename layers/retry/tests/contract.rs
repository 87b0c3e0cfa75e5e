//! Tower's contract: readiness, clones, drops.

#![allow(clippy::unwrap_used)]

use std::{
    future::{Ready, pending, ready},
    pin::pin,
    sync::{Arc, Mutex, atomic::Ordering},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tollway_core::BoxError;
use tollway_retry::{Backoff, Config, Jitter, RetryLayer, Settings};
use tollway_testkit::Probe;
use tower::{Layer, Service, ServiceExt};

type Body = Full<Bytes>;

fn layer() -> RetryLayer {
    let backoff =
        Backoff::new(Duration::from_secs(1), 2.0, Duration::from_secs(30), Jitter::None).unwrap();
    RetryLayer::new(Config::new(Settings { backoff, ..Settings::default() }).unwrap())
}

fn request() -> Request<Body> {
    Request::new(Body::from("hello"))
}

fn status(code: u16) -> Ready<Result<Response<()>, BoxError>> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    ready(Ok(response))
}

#[tokio::test(start_paused = true)]
async fn every_attempt_is_made_on_a_ready_service() {
    // The probe panics when it is called without having been polled ready.
    let probe = Probe::new(|_: Request<Body>| status(503));
    let counts = probe.counts();
    let mut service = layer().layer(probe);
    for calls in [3, 6] {
        let response = service.ready().await.unwrap().call(request()).await.unwrap();
        assert_eq!(response.status(), 503);
        assert_eq!(counts.calls.load(Ordering::SeqCst), calls);
    }
}

#[tokio::test(start_paused = true)]
async fn poll_ready_calls_nothing_and_a_clone_works() {
    let probe = Probe::new(|_: Request<Body>| status(200));
    let counts = probe.counts();
    let mut service = layer().layer(probe);
    for _ in 0..5 {
        service.ready().await.unwrap();
    }
    assert_eq!(counts.calls.load(Ordering::SeqCst), 0);
    let response = service.clone().oneshot(request()).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(counts.calls.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_future_drops_the_running_attempt() {
    let probe = Probe::new(|_: Request<Body>| pending::<Result<Response<()>, BoxError>>());
    let counts = probe.counts();
    let mut service = layer().layer(probe);
    let mut call = Box::pin(service.ready().await.unwrap().call(request()));
    assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!(counts.cancelled.load(Ordering::SeqCst), 0);
    drop(call);
    assert_eq!(counts.cancelled.load(Ordering::SeqCst), 1);
    assert_eq!(counts.calls.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_future_during_a_wait_ends_it() {
    let probe = Probe::new(|_: Request<Body>| status(503));
    let counts = probe.counts();
    let mut service = layer().layer(probe);
    let call = service.ready().await.unwrap().call(request());
    assert!(tokio::time::timeout(Duration::from_millis(500), call).await.is_err());
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(counts.calls.load(Ordering::SeqCst), 1);
}

/// A body that tells when it is dropped.
struct Held(Arc<Mutex<usize>>);

impl Drop for Held {
    fn drop(&mut self) {
        *self.0.lock().unwrap() -= 1;
    }
}

#[tokio::test(start_paused = true)]
async fn a_discarded_response_is_dropped_before_the_wait() {
    let held = Arc::new(Mutex::new(0));
    let probe = {
        let held = held.clone();
        Probe::new(move |_: Request<Body>| {
            *held.lock().unwrap() += 1;
            let response = Response::builder().status(503).body(Held(held.clone()));
            ready(response.map_err(BoxError::from))
        })
    };
    let mut service = layer().layer(probe);
    let mut call = pin!(service.ready().await.unwrap().call(request()));
    assert!(tokio::time::timeout(Duration::from_millis(500), call.as_mut()).await.is_err());
    assert_eq!(*held.lock().unwrap(), 0, "held during the wait");
    let last = call.await.unwrap();
    assert_eq!(*held.lock().unwrap(), 1, "only the one that was handed on is left");
    drop(last);
}

/// Not ready for a second after each call; errors once when told to.
#[derive(Clone)]
struct Slow {
    until: Option<tokio::time::Instant>,
    fails: bool,
}

impl Service<Request<Body>> for Slow {
    type Response = Response<()>;
    type Error = BoxError;
    type Future = Ready<Result<Response<()>, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        if self.fails {
            return Poll::Ready(Err("broken".into()));
        }
        let Some(until) = self.until else { return Poll::Ready(Ok(())) };
        let (waker, left) = (cx.waker().clone(), until - tokio::time::Instant::now());
        if left.is_zero() {
            self.until = None;
            return Poll::Ready(Ok(()));
        }
        tokio::spawn(async move {
            tokio::time::sleep(left).await;
            waker.wake();
        });
        Poll::Pending
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        assert!(self.until.is_none());
        status(503)
    }
}

#[tokio::test(start_paused = true)]
async fn waits_for_readiness_but_not_past_the_deadline() {
    let start = tokio::time::Instant::now();
    // The clone that later attempts use is not ready for an hour.
    let hour = start + Duration::from_secs(3600);
    let mut request = request();
    request.extensions_mut().insert(tollway_retry::Deadline(start + Duration::from_secs(5)));
    let mut busy = layer().layer(Late { inner: Slow { until: None, fails: false }, until: hour });
    let failure = busy.ready().await.unwrap().call(request).await.unwrap_err();
    assert_eq!(start.elapsed(), Duration::from_secs(5));
    let class = tollway_core::find_error::<tollway_core::Failure>(&*failure).unwrap().class();
    assert_eq!(class, tollway_core::ErrorClass::Overloaded);
}

/// Its clones are not ready until a moment.
struct Late {
    inner: Slow,
    until: tokio::time::Instant,
}

impl Clone for Late {
    fn clone(&self) -> Self {
        Self { inner: Slow { until: Some(self.until), fails: false }, until: self.until }
    }
}

impl Service<Request<Body>> for Late {
    type Response = Response<()>;
    type Error = BoxError;
    type Future = Ready<Result<Response<()>, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.inner.call(request)
    }
}

#[tokio::test(start_paused = true)]
async fn waits_for_readiness_before_each_attempt() {
    let start = tokio::time::Instant::now();
    let until = start + Duration::from_secs(10);
    let mut service = layer().layer(Late { inner: Slow { until: None, fails: false }, until });
    let response = service.ready().await.unwrap().call(request()).await.unwrap();
    assert_eq!(response.status(), 503);
    // 1 s of backoff end before the clone is ready at 10 s; 2 s of backoff follow.
    assert_eq!(start.elapsed(), Duration::from_secs(12));
}

#[tokio::test(start_paused = true)]
async fn an_error_of_poll_ready_is_handed_on() {
    let mut service = layer().layer(Slow { until: None, fails: true });
    assert_eq!(service.ready().await.err().unwrap().to_string(), "broken");
}

/// Its clones are broken.
#[derive(Debug)]
struct Breaks(bool);

impl Clone for Breaks {
    fn clone(&self) -> Self {
        Self(true)
    }
}

impl Service<Request<Body>> for Breaks {
    type Response = Response<()>;
    type Error = BoxError;
    type Future = Ready<Result<Response<()>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(if self.0 { Err("broken".into()) } else { Ok(()) })
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        status(503)
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_breaks_between_attempts_counts_as_failed_attempts() {
    let error = layer().layer(Breaks(false)).oneshot(request()).await.unwrap_err();
    let history = tollway_core::find_error::<tollway_retry::RetryError>(&*error).unwrap();
    assert_eq!(history.attempts().to_string(), "-;503, -;server, -;server");
    assert_eq!(error.to_string(), "broken");
}
