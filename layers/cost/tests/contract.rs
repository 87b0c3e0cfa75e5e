//! Tower's contract: readiness, clones, drops, wake-ups, one shared state.

use std::{
    convert::Infallible,
    future::{Ready, pending, ready},
    sync::atomic::Ordering::SeqCst,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tollway_cost::{CostLayer, Dimension, PriceBook, Record};
use tollway_testkit::{Probe, Recorder, ScriptedBody, Step};
use tower::{Layer, Service, ServiceExt};

type Answer = Ready<Result<Response<Full<Bytes>>, Infallible>>;

fn answer(_: Request<()>) -> Answer {
    ready(Ok(Response::new(Full::from("hi"))))
}

fn layer() -> (CostLayer<PriceBook, Recorder<Record>>, Recorder<Record>) {
    let records = Recorder::default();
    (CostLayer::new(PriceBook::default()).with_ledger(records.clone()), records)
}

#[tokio::test]
async fn calls_the_instance_that_was_polled_ready() {
    let probe = Probe::new(answer);
    let counts = probe.counts();
    let mut service = layer().0.layer(probe);
    for _ in 0..3 {
        service.ready().await.unwrap().call(Request::new(())).await.unwrap();
    }
    assert_eq!((counts.calls.load(SeqCst), counts.clones.load(SeqCst)), (3, 0));
}

#[tokio::test]
async fn clones_and_services_share_ledger_and_totals() {
    let (layer, records) = layer();
    let one = layer.layer(Probe::new(answer));
    let other = layer.clone().layer(Probe::new(answer));
    one.clone().oneshot(Request::new(())).await.unwrap();
    one.oneshot(Request::new(())).await.unwrap();
    other.oneshot(Request::new(())).await.unwrap();
    assert_eq!(records.take().len(), 3);
    let rows = layer.totals().snapshot();
    let users = rows.iter().find(|row| row.dimension == Dimension::User).unwrap();
    assert_eq!(users.total.requests, 3);
}

/// Ready at the second poll, and never without a wake-up in between.
struct Slow(bool);

impl Service<Request<()>> for Slow {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Ready(Ok(()));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn call(&mut self, request: Request<()>) -> Answer {
        assert!(self.0, "called before it was ready");
        answer(request)
    }
}

#[tokio::test]
async fn readiness_is_the_inner_services() {
    let (layer, records) = layer();
    let mut service = layer.layer(Slow(false));
    {
        let mut ready = wakes_once(service.ready());
        assert!(ready(), "pending first, then woken");
    }
    assert!(records.take().is_empty(), "being ready costs nothing");
    service.call(Request::new(())).await.unwrap();
    assert_eq!(records.take().len(), 1);
}

/// Polls twice; says whether it was pending, was woken, and then was ready.
fn wakes_once<F: Future>(future: F) -> impl FnMut() -> bool {
    let mut future = Box::pin(future);
    move || {
        struct Woken(std::sync::atomic::AtomicBool);
        impl std::task::Wake for Woken {
            fn wake(self: std::sync::Arc<Self>) {
                self.0.store(true, SeqCst);
            }
        }
        let woken = std::sync::Arc::new(Woken(false.into()));
        let waker = woken.clone().into();
        let mut cx = Context::from_waker(&waker);
        future.as_mut().poll(&mut cx).is_pending()
            && woken.0.load(SeqCst)
            && future.as_mut().poll(&mut cx).is_ready()
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_future_cancels_the_inner_one_and_is_recorded_once() {
    let probe = Probe::new(|_: Request<()>| pending::<Result<Response<Full<Bytes>>, Infallible>>());
    let counts = probe.counts();
    let (layer, records) = layer();
    let call = layer.layer(probe).oneshot(Request::new(()));
    assert!(tokio::time::timeout(Duration::from_secs(1), call).await.is_err());
    assert_eq!(counts.cancelled.load(SeqCst), 1);
    assert_eq!(records.take().len(), 1);
}

#[tokio::test]
async fn body_frames_trailers_and_hints_pass_untouched() {
    let probe = Probe::new(|_: Request<()>| {
        let mut trailers = http::HeaderMap::new();
        trailers.insert("x-sum", 1.into());
        let steps = [Step::data("a"), Step::Yield, Step::data("b"), Step::Trailers(trailers)];
        ready(Ok::<_, Infallible>(Response::new(ScriptedBody::new(steps))))
    });
    let response = layer().0.layer(probe).oneshot(Request::new(())).await.unwrap();
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.trailers().unwrap()["x-sum"], "1");
    assert_eq!(body.to_bytes(), "ab");
    let whole = layer().0.layer(Probe::new(answer)).oneshot(Request::new(())).await.unwrap();
    assert_eq!(http_body::Body::size_hint(whole.body()).exact(), Some(2));
}

#[tokio::test]
async fn the_inner_error_passes_with_its_type() {
    let probe = Probe::new(|_: Request<()>| {
        ready(Err::<Response<Full<Bytes>>, _>(tollway_core::Failure::new(
            tollway_core::ErrorClass::Timeout,
            "no first byte",
        )))
    });
    let error = layer().0.layer(probe).oneshot(Request::new(())).await.unwrap_err();
    assert_eq!(error.class(), tollway_core::ErrorClass::Timeout);
}
