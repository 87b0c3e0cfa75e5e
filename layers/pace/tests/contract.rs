//! What Tower expects of any service.

mod support;

use std::{
    sync::atomic::Ordering,
    task::{Context, Poll},
};

use http::{Request, Response};
use support::*;
use tollway_core::BoxError;
use tollway_pace::{Config, ConfigError, PaceLayer, Reading, Waited};
use tollway_testkit::Probe;
use tower::{Layer, Service, ServiceExt};

#[tokio::test(start_paused = true)]
async fn calls_the_instance_that_was_polled_ready_and_never_clones_it() {
    let probe = provider();
    let counts = probe.counts();
    let mut service = layer(Config::default()).layer(probe);
    for left in [3, 2, 1] {
        let request = Script::new(told(10, left, 60)).request();
        service.ready().await.unwrap().call(request).await.unwrap();
    }
    assert_eq!(counts.calls.load(Ordering::SeqCst), 3);
    assert_eq!(counts.clones.load(Ordering::SeqCst), 0);
}

/// The probe panics if an instance is called that was not polled ready.
#[tokio::test(start_paused = true)]
async fn after_a_wait_too() {
    let probe = provider();
    let counts = probe.counts();
    let mut service = layer(Config::default()).layer(probe);
    for _ in 0..3 {
        let request = Script::new(told(60, 0, 60)).patient(5).request();
        service.ready().await.unwrap().call(request).await.unwrap();
    }
    assert_eq!(counts.calls.load(Ordering::SeqCst), 3);
    assert_eq!(counts.clones.load(Ordering::SeqCst), 2, "one for each that waited");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_waited_says_so() {
    let probe = Probe::new(|request: Request<()>| {
        let waited = request.extensions().get::<Waited>().is_some();
        let mut reply = Response::new(waited);
        reply.extensions_mut().insert(told(60, 0, 60));
        std::future::ready(Ok::<_, BoxError>(reply))
    });
    let mut service = layer(Config::default()).layer(probe);
    for waited in [false, true] {
        let request = Script::new(told(60, 0, 60)).patient(5).request();
        let reply = service.ready().await.unwrap().call(request).await.unwrap();
        assert_eq!(reply.into_body(), waited);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_leaves_the_inner_service_alone() {
    let probe = provider();
    let counts = probe.counts();
    let mut service = layer(Config::default()).layer(probe);
    let mut send = async || {
        let request = Script::new(told(60, 0, 60)).request();
        service.ready().await.unwrap().call(request).await
    };
    send().await.unwrap();
    send().await.unwrap_err();
    assert_eq!(counts.calls.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn polling_ready_takes_nothing() {
    let mut rig = rig();
    rig.ok(Script::new(told(60, 1, 60))).await;
    for _ in 0..5 {
        rig.service.ready().await.unwrap();
        rig.service.clone().ready().await.unwrap();
    }
    assert_eq!(rig.handle.status(&"a").unwrap().gauges[0].remaining, 1);
    rig.ok(Script::new(Reading::default())).await;
}

#[derive(Clone)]
struct Never;

impl Service<Request<()>> for Never {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = std::future::Pending<Outcome>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Pending
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        std::future::pending()
    }
}

#[tokio::test]
async fn readiness_is_the_inner_services() {
    let mut service = layer(Config::default()).layer(Never);
    let mut cx = Context::from_waker(std::task::Waker::noop());
    assert!(Service::<Request<()>>::poll_ready(&mut service, &mut cx).is_pending());
}

#[tokio::test(start_paused = true)]
async fn clones_and_services_of_one_layer_share_what_is_known() {
    let layer = layer(Config::default());
    let (one, two) = (layer.clone().layer(provider()), layer.layer(provider()));
    one.oneshot(Script::new(told(60, 0, 60)).request()).await.unwrap();
    two.oneshot(Script::new(told(60, 0, 60)).request()).await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_closure_or_below_holds_nothing() {
    let panics = |_: Request<()>| -> Answer { Box::pin(async { panic!("below") }) };
    let layer = layer(Config::default());
    let handle = layer.handle();
    layer.layer(provider()).oneshot(Script::new(told(60, 5, 60)).request()).await.unwrap();
    let service = layer.layer(Probe::new(panics));
    let task = tokio::spawn(service.oneshot(Script::new(Reading::default()).request()));
    assert!(task.await.unwrap_err().is_panic());
    // Still there, still locked by nobody.
    assert_eq!(handle.status(&"a").unwrap().gauges[0].remaining, 4);
}

#[test]
fn wrong_settings_are_errors_when_built() {
    let wrong = |config: Config| -> ConfigError {
        PaceLayer::<u8>::new(config, |_| None, |_| Reading::default()).unwrap_err()
    };
    let zero = std::time::Duration::ZERO;
    wrong(Config { max_wait: zero, ..Config::default() });
    wrong(Config { request_window: zero, ..Config::default() });
    wrong(Config { token_window: zero, ..Config::default() });
    wrong(Config { max_keys: 0, ..Config::default() });
    wrong(Config { patience: std::time::Duration::MAX, ..Config::default() });
}

#[test]
fn futures_are_send_and_small() {
    fn send<T: Send>(value: T) -> T {
        value
    }
    let mut service = layer(Config::default()).layer(Never);
    let future = send(service.call(Script::new(Reading::default()).request()));
    assert!(std::mem::size_of_val(&future) < 400, "{}", std::mem::size_of_val(&future));
}
