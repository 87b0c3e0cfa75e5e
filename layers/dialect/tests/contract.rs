//! Tower's contract: readiness, clones, drops, wakes.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    future::{Future, pending, poll_fn, ready},
    sync::atomic::Ordering,
    task::{Context, Poll, Waker},
};

use http::{Request, Response};
use http_body_util::BodyExt;
use tollway_core::BoxError;
use tollway_dialect::{AttemptLayer, InspectLayer, RequestBody};
use tollway_testkit::{Probe, ScriptedBody, Step};
use tower::{Layer, Service, ServiceExt};

fn chat(steps: Vec<Step>) -> Request<ScriptedBody> {
    Request::post("/v1/chat/completions").body(ScriptedBody::new(steps)).unwrap()
}

fn body() -> Vec<Step> {
    vec![Step::Yield, Step::data(r#"{"model":"m","stream":true}"#)]
}

#[tokio::test]
async fn the_instance_polled_ready_is_the_one_called() {
    let probe = Probe::new(|_: Request<RequestBody<ScriptedBody>>| {
        ready(Ok::<_, BoxError>(Response::new(ScriptedBody::new([]))))
    });
    let counts = probe.counts();
    let mut service = InspectLayer::new().layer(AttemptLayer::new().layer(probe));
    for _ in 0..3 {
        poll_fn(|cx| service.poll_ready(cx)).await.unwrap();
        // The probe panics if a clone is called in place of the instance that was ready.
        service.call(chat(body())).await.unwrap();
    }
    assert_eq!(counts.calls.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn dropped_while_the_body_comes_nobody_is_called() {
    let probe = Probe::new(|_: Request<RequestBody<ScriptedBody>>| {
        ready(Ok::<_, BoxError>(Response::new(())))
    });
    let counts = probe.counts();
    let mut future = Box::pin(InspectLayer::new().layer(probe).oneshot(chat(vec![Step::Stall])));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(future.as_mut().poll(&mut cx).is_pending());
    drop(future);
    assert_eq!(counts.calls.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_drop_reaches_the_inner_call() {
    let probe = Probe::new(|_: Request<RequestBody<ScriptedBody>>| {
        pending::<Result<Response<ScriptedBody>, BoxError>>()
    });
    let counts = probe.counts();
    let service = InspectLayer::new().layer(AttemptLayer::new().layer(probe));
    let mut future = Box::pin(service.oneshot(chat(vec![Step::data(r#"{"model":"m"}"#)])));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(future.as_mut().poll(&mut cx).is_pending());
    assert_eq!(counts.calls.load(Ordering::SeqCst), 1);
    drop(future);
    assert_eq!(counts.cancelled.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn errors_of_the_inner_service_come_through() {
    let probe = Probe::new(|_: Request<RequestBody<ScriptedBody>>| {
        ready(Err::<Response<ScriptedBody>, BoxError>("no connection".into()))
    });
    let service = InspectLayer::new().layer(AttemptLayer::new().layer(probe));
    let error = service.oneshot(chat(body())).await.unwrap_err();
    assert_eq!(error.to_string(), "no connection");
}

#[tokio::test]
async fn readiness_is_the_inner_services_own() {
    #[derive(Clone)]
    struct Never;
    impl Service<Request<RequestBody<ScriptedBody>>> for Never {
        type Response = Response<ScriptedBody>;
        type Error = BoxError;
        type Future = std::future::Ready<Result<Self::Response, BoxError>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
            Poll::Pending
        }

        fn call(&mut self, _: Request<RequestBody<ScriptedBody>>) -> Self::Future {
            unreachable!("never ready")
        }
    }
    let mut service = InspectLayer::new().layer(AttemptLayer::new().layer(Never));
    let mut cx = Context::from_waker(Waker::noop());
    let ready = Service::<Request<ScriptedBody>>::poll_ready(&mut service, &mut cx);
    assert!(ready.is_pending());
}

#[tokio::test]
async fn a_slow_stream_wakes_its_reader() {
    let events = ["data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n", "data: [DONE]\n\n"];
    let probe = Probe::new(move |_: Request<RequestBody<ScriptedBody>>| {
        let steps =
            [Step::Yield, Step::Yield, Step::data(events[0]), Step::Yield, Step::data(events[1])];
        let response = Response::builder().header("content-type", "text/event-stream");
        ready(Ok::<_, BoxError>(response.body(ScriptedBody::new(steps)).unwrap()))
    });
    let service = InspectLayer::new().layer(AttemptLayer::new().layer(probe));
    let response = service.oneshot(chat(body())).await.unwrap();
    let all = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(all, events.concat());
}
