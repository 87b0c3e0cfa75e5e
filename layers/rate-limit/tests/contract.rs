//! Tower's contract: readiness, clones, drops, wakes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

mod support;

use std::{
    future::{Future, poll_fn, ready},
    pin::pin,
    sync::atomic::Ordering::SeqCst,
    task::{Context, Poll, Waker},
};

use http::{Request, Response};
use support::*;
use tollway_core::BoxError;
use tollway_rate_limit::{Key, Quota, RateLimitLayer};
use tollway_testkit::{Probe, ScriptedBody, Step};
use tower::{Layer, Service, ServiceExt};

type Answer = std::future::Ready<Result<Response<ScriptedBody>, BoxError>>;

fn probe() -> Probe<(), Answer> {
    Probe::new(|_| ready(Ok(reply(ScriptedBody::new([Step::data("x")]), None))))
}

#[tokio::test(start_paused = true)]
async fn readiness_takes_nothing() {
    let (layer, _) = layer([tokens(limit("one", bucket(1)))]);
    let mut service = layer.layer(probe());
    for _ in 0..10 {
        service.ready().await.unwrap();
    }
    assert_eq!(layer.handle().standing("one", &Key::All).unwrap().remaining, 1);
    service.call(request(None, 1)).await.unwrap();
}

struct Never;
impl Service<Request<()>> for Never {
    type Response = Response<ScriptedBody>;
    type Error = &'static str;
    type Future = std::future::Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
        Poll::Ready(Err("broken"))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        ready(Err("called though it was not ready"))
    }
}
impl Clone for Never {
    fn clone(&self) -> Self {
        Self
    }
}

#[tokio::test]
async fn readiness_is_the_inner_services() {
    let (layer, _) = layer([tokens(limit("one", bucket(1)))]);
    let mut service = layer.layer(Never);
    assert_eq!(service.ready().await.err().unwrap().to_string(), "broken");
}

#[tokio::test(start_paused = true)]
async fn all_clones_and_layers_share_the_limits() {
    let (layer, _) = layer([tokens(limit("one", bucket(2)))]);
    let (a, b) = (layer.layer(probe()), layer.clone().layer(probe()));
    a.clone().oneshot(request(None, 1)).await.unwrap();
    b.oneshot(request(None, 1)).await.unwrap();
    exceeded(a.oneshot(request(None, 1)).await);
}

/// The probe panics if a clone that was not polled ready is called, also after a wait.
#[tokio::test(start_paused = true)]
async fn the_ready_instance_is_the_one_called() {
    let (layer, _) = layer([tokens(waits("one", bucket(1), 5))]);
    let probe = probe();
    let counts = probe.counts();
    let mut service = layer.layer(probe);
    for _ in 0..3 {
        service.ready().await.unwrap().call(request(None, 1)).await.unwrap();
    }
    assert_eq!(counts.calls.load(SeqCst), 3);
    assert_eq!(counts.clones.load(SeqCst), 2, "a clone only for those that wait");
}

#[tokio::test(start_paused = true)]
async fn a_refused_request_never_reaches_the_service() {
    let (layer, _) = layer([tokens(limit("one", bucket(1)))]);
    let probe = probe();
    let counts = probe.counts();
    let service = layer.layer(probe);
    service.clone().oneshot(request(None, 1)).await.unwrap();
    exceeded(service.oneshot(request(None, 1)).await);
    assert_eq!(counts.calls.load(SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_future_cancels_the_inner_one_and_gives_back() {
    let (layer, _) = layer([tokens(limit("one", bucket(5)))]);
    let probe = Probe::new(|_: Request<()>| {
        std::future::pending::<Result<Response<ScriptedBody>, BoxError>>()
    });
    let counts = probe.counts();
    let future = layer.layer(probe).oneshot(request(None, 5));
    {
        let mut future = pin!(future);
        assert!(poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await.is_pending());
        assert_eq!(layer.handle().standing("one", &Key::All).unwrap().held, 5);
    }
    assert_eq!(counts.cancelled.load(SeqCst), 1);
    let standing = layer.handle().standing("one", &Key::All).unwrap();
    assert_eq!((standing.held, standing.remaining), (0, 5));
}

#[tokio::test(start_paused = true)]
async fn no_rule_that_applies_is_no_limit() {
    let rule = tokens(limit("one", bucket(1))).key(|_| None);
    let (layer, _) = layer([rule]);
    for _ in 0..5 {
        layer.layer(probe()).oneshot(request(None, 100)).await.unwrap();
    }
    assert_eq!(layer.handle().keys("one"), Some(0));
}

/// A waiter that was let go while nobody polled it is not lost, and wakes the latest waker.
#[tokio::test(start_paused = true)]
async fn a_waiter_is_woken_once_when_room_is_made() {
    let (layer, _) = layer([tokens(waits("places", Quota::Concurrent { amount: 1 }, 60))]);
    let first = layer.layer(probe()).oneshot(request(None, 1)).await.unwrap();
    let mut waiter = tokio_test_spawn(layer.layer(probe()).oneshot(request(None, 1)));
    assert!(waiter.poll().is_pending());
    assert_eq!(waiter.woken(), 0);
    drop(first);
    assert_eq!(waiter.woken(), 1, "by the reply's end, not by a timer");
    assert!(matches!(waiter.poll(), Poll::Ready(Ok(_))));
}

struct Task<F> {
    future: std::pin::Pin<Box<F>>,
    wakes: std::sync::Arc<Wakes>,
}
#[derive(Default)]
struct Wakes(std::sync::atomic::AtomicUsize);
impl std::task::Wake for Wakes {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}
fn tokio_test_spawn<F: Future>(future: F) -> Task<F> {
    Task { future: Box::pin(future), wakes: Default::default() }
}
impl<F: Future> Task<F> {
    fn poll(&mut self) -> Poll<F::Output> {
        let waker = Waker::from(self.wakes.clone());
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }
    fn woken(&self) -> usize {
        self.wakes.0.load(SeqCst)
    }
}

/// Only the one whose turn it is wakes.
#[tokio::test(start_paused = true)]
async fn no_thundering_herd() {
    let (layer, _) = layer([tokens(waits("places", Quota::Concurrent { amount: 1 }, 60))]);
    let mut running = Some(layer.layer(probe()).oneshot(request(None, 1)).await.unwrap());
    let mut line: Vec<_> = (0..100)
        .map(|_| tokio_test_spawn(layer.layer(probe()).oneshot(request(None, 1))))
        .collect();
    line.iter_mut().for_each(|waiter| assert!(waiter.poll().is_pending()));
    for next in 0..line.len() {
        drop(running.take());
        let woken: Vec<_> = line.iter().map(Task::woken).collect();
        assert_eq!(woken.iter().sum::<usize>(), next + 1);
        assert_eq!(woken[next], 1, "in the order in which they came");
        let Poll::Ready(Ok(reply)) = line[next].poll() else { panic!("its turn") };
        running = Some(reply);
    }
}

#[test]
fn a_layer_is_checked_when_it_is_built() {
    let rule = || tokens(limit("same", bucket(1)));
    assert!(RateLimitLayer::new([rule(), rule()], ()).is_err());
    assert!(RateLimitLayer::builder([rule()], ()).max_keys(0).build().is_err());
}
