//! What Tower expects of any service.

mod support;

use std::{
    future::{Ready, ready},
    panic::AssertUnwindSafe,
    sync::atomic::Ordering,
    task::{Context, Poll},
};

use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use support::*;
use tollway_circuit_breaker::{CircuitBreakerLayer, CircuitOpen, Config, State};
use tollway_core::{BoxError, find_error};
use tollway_testkit::Step;
use tower::{Layer, Service, ServiceExt};

fn touchy() -> Config {
    Config {
        consecutive_failures: Some(1),
        trial_requests: 1,
        trial_successes: 1,
        ..Config::default()
    }
}

#[tokio::test(start_paused = true)]
async fn calls_the_instance_that_was_polled_ready_and_never_clones_it() {
    let probe = provider();
    let counts = probe.counts();
    let layer = CircuitBreakerLayer::new(touchy(), key as KeyFn).unwrap();
    let mut service = layer.layer(probe);
    for _ in 0..3 {
        service.ready().await.unwrap().call(Request::new(())).await.unwrap();
    }
    assert_eq!(counts.calls.load(Ordering::SeqCst), 3);
    assert_eq!(counts.clones.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_leaves_the_inner_service_alone() {
    let probe = provider();
    let counts = probe.counts();
    let layer = CircuitBreakerLayer::new(touchy(), key as KeyFn).unwrap();
    layer.handle().force_open(&"a");
    let mut request = Request::new(());
    request.extensions_mut().insert(ok());
    let error = layer.layer(probe).oneshot(request).await.err().unwrap();
    assert!(find_error::<CircuitOpen>(&*error).is_some());
    assert_eq!(counts.calls.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn polling_ready_takes_no_trial() {
    let mut rig = rig(touchy());
    rig.times(1, status(500)).await;
    pass(secs(300)).await;
    for _ in 0..5 {
        rig.service.clone().ready().await.unwrap();
        rig.service.ready().await.unwrap();
    }
    assert!(rig.handle.allows(&"a"));
    rig.times(1, ok()).await;
    assert_eq!(rig.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn clones_and_services_of_one_layer_share_their_circuits() {
    let layer = CircuitBreakerLayer::new(touchy(), key as KeyFn).unwrap();
    let mut one = Rig {
        handle: layer.handle(),
        service: layer.clone().layer(provider()),
        events: tollway_testkit::Recorder::default(),
    };
    one.times(1, status(500)).await;
    let mut two = Rig { service: layer.layer(provider()), ..one };
    assert_eq!(two.refusal().await.state().as_str(), "open");
}

#[tokio::test(start_paused = true)]
async fn dropping_the_future_drops_the_inner_one() {
    let probe = provider();
    let counts = probe.counts();
    let layer = CircuitBreakerLayer::new(touchy(), key as KeyFn).unwrap();
    let mut request = Request::new(());
    request.extensions_mut().insert(ok().after(secs(5)));
    let call = layer.layer(probe).oneshot(request);
    assert!(tokio::time::timeout(secs(1), call).await.is_err());
    assert_eq!(counts.cancelled.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn wakes_and_passes_frames_trailers_and_hints_through() {
    let mut rig = rig(Config::default());
    let mut trailers = http::HeaderMap::new();
    trailers.insert("x-end", "1".parse().unwrap());
    let steps = [
        Step::Yield,
        Step::data("one"),
        Step::Sleep(secs(3)),
        Step::data("two"),
        Step::Trailers(trailers.clone()),
    ];
    let script = Script { delay: secs(2), ..body(steps) };
    let collected = rig.head(script).await.unwrap().into_body().collect().await.unwrap();
    assert_eq!(collected.trailers(), Some(&trailers));
    assert_eq!(collected.to_bytes(), "onetwo");

    let layer = CircuitBreakerLayer::new(Config::default(), |_: &_| Some(())).unwrap();
    let reply = layer.layer(Hello).oneshot(Request::new(())).await.unwrap();
    assert_eq!(http_body::Body::size_hint(reply.body()).exact(), Some(2));
}

#[derive(Clone)]
struct Hello;

impl Service<Request<()>> for Hello {
    type Response = Response<Full<bytes::Bytes>>;
    type Error = BoxError;
    type Future = Ready<Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        ready(Ok(Response::new("hi".into())))
    }
}

/// Never ready, and panics when called.
#[derive(Clone)]
struct Broken;

impl Service<Request<()>> for Broken {
    type Response = Response<Full<bytes::Bytes>>;
    type Error = BoxError;
    type Future = Ready<Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Err("not ready".into()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        unreachable!("scripted")
    }
}

#[tokio::test]
async fn readiness_is_the_inner_services() {
    let layer = CircuitBreakerLayer::new(touchy(), |_: &_| Some(())).unwrap();
    let error = layer.layer(Broken).ready().await.err().unwrap();
    assert_eq!(error.to_string(), "not ready");
    assert!(layer.handle().list().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_panic_inside_frees_the_trial() {
    let layer = CircuitBreakerLayer::new(touchy(), key as KeyFn).unwrap();
    let mut rig = Rig {
        handle: layer.handle(),
        service: layer.layer(provider()),
        events: tollway_testkit::Recorder::default(),
    };
    rig.times(1, status(500)).await;
    pass(secs(300)).await;
    let mut broken = layer.layer(Broken);
    let mut request = Request::new(());
    request.extensions_mut().insert(ok());
    let call = AssertUnwindSafe(move || drop(broken.call(request)));
    std::panic::catch_unwind(call).unwrap_err();
    assert_eq!(rig.state(), State::HalfOpen);
    rig.times(1, ok()).await;
    assert_eq!(rig.state(), State::Closed);
}

#[tokio::test]
async fn a_request_without_a_key_is_not_guarded() {
    let mut rig = rig(touchy());
    rig.times(5, Script { key: None, ..status(500) }).await;
    assert!(rig.handle.list().is_empty());
}

#[test]
fn is_send_and_its_layer_sync() {
    fn send<T: Send + 'static>(_: &T) {}
    fn sync<T: Send + Sync>(_: &T) {}
    let layer = CircuitBreakerLayer::new(touchy(), key as KeyFn).unwrap();
    let mut service = layer.layer(Hello);
    send(&service);
    send(&service.call(Request::new(())));
    sync(&layer);
    sync(&layer.handle());
}
