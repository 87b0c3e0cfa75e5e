//! Tower's contract: readiness, clone, drop, wake.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    convert::Infallible,
    future::{self, Future},
    sync::atomic::Ordering,
    task::{Context, Poll, Waker},
};

use http::{Request, Response};
use tollway_core::{Plan, Target, find_error};
use tollway_route::{Group, Match, NoRoute, Route, RouteLayer, Router, Strategy};
use tollway_testkit::Probe;
use tower::{Layer, Service, ServiceExt};

type Reply = Result<Response<Option<Plan>>, Infallible>;

fn layer(when: Match) -> RouteLayer {
    let target = |name: &str| Target::new(name, "default", None).into();
    let turns = Group::new(Strategy::RoundRobin, [target("a"), target("b")]);
    let route = Route::new("all", when, turns);
    RouteLayer::new(Router::new([route]).unwrap())
}

fn echo() -> Probe<(), future::Ready<Reply>> {
    Probe::new(|request: Request<()>| {
        future::ready(Reply::Ok(Response::new(request.extensions().get().cloned())))
    })
}

#[tokio::test]
async fn calls_the_instance_that_was_polled_ready() {
    let probe = echo();
    let counts = probe.counts();
    let mut service = layer(Match::default()).layer(probe);
    for _ in 0..3 {
        // The probe panics if a fresh clone were called instead.
        let reply = service.ready().await.unwrap().call(Request::new(())).await.unwrap();
        assert!(reply.into_body().is_some());
    }
    assert_eq!(counts.calls.load(Ordering::SeqCst), 3);
    assert_eq!(counts.clones.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_refusal_never_reaches_the_inner_service() {
    let probe = echo();
    let counts = probe.counts();
    let none = Match::model("gpt-4o".parse().unwrap());
    let error = layer(none).layer(probe).oneshot(Request::new(())).await.unwrap_err();
    assert_eq!(find_error::<NoRoute>(&*error).unwrap().model(), None);
    assert_eq!(counts.calls.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn dropping_the_future_drops_the_inner_one() {
    let probe = Probe::new(|_: Request<()>| future::pending::<Reply>());
    let counts = probe.counts();
    let mut service = layer(Match::default()).layer(probe);
    let mut call = Box::pin(service.ready().await.unwrap().call(Request::new(())));
    assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!(counts.cancelled.load(Ordering::SeqCst), 0);
    drop(call);
    assert_eq!(counts.cancelled.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn the_inner_service_wakes_the_caller() {
    let (send, receive) = tokio::sync::oneshot::channel::<()>();
    let receive = std::sync::Mutex::new(Some(receive));
    let probe = Probe::new(move |_: Request<()>| {
        let receive = receive.lock().unwrap().take().unwrap();
        async move {
            receive.await.unwrap();
            Reply::Ok(Response::new(None))
        }
    });
    let call = tokio::spawn(layer(Match::default()).layer(probe).oneshot(Request::new(())));
    tokio::task::yield_now().await;
    send.send(()).unwrap();
    call.await.unwrap().unwrap();
}

#[derive(Debug)]
struct Broken;

impl Service<Request<()>> for Broken {
    type Response = Response<()>;
    type Error = std::io::Error;
    type Future = future::Ready<Result<Response<()>, std::io::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), std::io::Error>> {
        Poll::Ready(Err(std::io::Error::other("never ready")))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        unreachable!("not ready")
    }
}

#[tokio::test]
async fn readiness_is_the_inner_services() {
    let mut service = layer(Match::default()).layer(Broken);
    let error = service.ready().await.map(drop).unwrap_err();
    assert_eq!(error.to_string(), "never ready");
}

#[tokio::test]
async fn all_services_of_a_layer_and_their_clones_share_one_turn() {
    let layer = layer(Match::default());
    let (one, other) = (layer.layer(echo()), layer.clone().layer(echo()));
    let mut first = Vec::new();
    for service in [one.clone(), other.clone(), one, other] {
        let plan = service.oneshot(Request::new(())).await.unwrap().into_body().unwrap();
        first.push(plan.candidates[0].target.provider().to_string());
    }
    assert_eq!(first, ["a", "b", "a", "b"]);
}

fn assert_send_sync<T: Send + Sync>(_: &T) {}

#[test]
fn layer_and_service_are_send_and_sync() {
    assert_send_sync(&layer(Match::default()));
    assert_send_sync(&layer(Match::default()).layer(()));
}
