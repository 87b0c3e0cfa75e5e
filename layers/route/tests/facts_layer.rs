//! The layer that fills the figures: every ending, and what Tower expects of any service.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::{
    future::{Future, Ready, pending, ready},
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::atomic::Ordering,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, response::Parts};
use http_body_util::{BodyExt, Full};
use tokio::time::{Instant, sleep, timeout};
use tollway_core::{
    Ask, BoxError, ErrorClass, Failure, Metered, Operation, ProxyCredential, Target, Usage, Usd,
};
use tollway_route::{
    Figures,
    facts::{Config, TrackLayer, Tracker, Verdict},
};
use tollway_testkit::{Probe, ScriptedBody, Step};
use tower::{Layer, Service, ServiceExt};

type Reply = Result<Response<ScriptedBody>, BoxError>;
type Inner = Probe<(), Pin<Box<dyn Future<Output = Reply> + Send>>>;

fn target() -> Target {
    Target::new("groq", "main", Some("llama".into()))
}

fn tracker() -> Tracker {
    Tracker::new(Config { min_samples: 1, ..Config::default() }).unwrap()
}

fn request() -> Request<()> {
    let mut request = Request::new(());
    request.extensions_mut().insert(target());
    request
}

/// A provider that always plays this.
fn provider<R: Future<Output = Reply> + Send + 'static>(
    play: impl Fn() -> R + Send + Sync + 'static,
) -> Inner {
    Probe::new(move |_: Request<()>| Box::pin(play()) as _)
}

fn body(steps: impl IntoIterator<Item = Step>) -> Response<ScriptedBody> {
    Response::new(ScriptedBody::new(steps))
}

fn two_frames() -> [Step; 3] {
    [Step::data("one"), Step::Sleep(Duration::from_secs(2)), Step::data("two")]
}

fn figures(tracker: &Tracker) -> Figures {
    tracker.slot(&target()).figures(Instant::now())
}

fn errors(tracker: &Tracker) -> Vec<ErrorClass> {
    let facts = tracker.slot(&target()).facts(Instant::now());
    facts.errors.iter().map(|error| error.class).collect()
}

/// Sends one request and reads its reply to the end.
async fn send(tracker: &Tracker, inner: Inner) -> Result<Bytes, BoxError> {
    let service = TrackLayer::new(tracker.clone()).layer(inner);
    Ok(service.oneshot(request()).await?.into_body().collect().await?.to_bytes())
}

#[tokio::test(start_paused = true)]
async fn a_reply_counts_when_its_body_has_ended() {
    let tracker = tracker();
    let inner = provider(async || {
        sleep(Duration::from_secs(1)).await;
        Ok(body(two_frames()))
    });
    let service = TrackLayer::new(tracker.clone()).layer(inner);
    let call = tokio::spawn(service.oneshot(request()));
    tokio::task::yield_now().await;
    assert_eq!(figures(&tracker).in_flight, 1, "before the head");
    let reply = call.await.unwrap().unwrap();
    assert_eq!((figures(&tracker).in_flight, figures(&tracker).samples), (1, 0), "with the head");
    assert_eq!(reply.into_body().collect().await.unwrap().to_bytes(), "onetwo");
    let figures = figures(&tracker);
    assert_eq!((figures.in_flight, figures.samples, figures.success), (0, 1, 1.0));
    let whole = figures.whole.unwrap().p50.as_secs_f32();
    assert!((2.85..3.15).contains(&whole), "{whole} s");
    assert_eq!(figures.first_token, None);
}

#[tokio::test(start_paused = true)]
async fn the_meter_tells_first_token_usage_and_cost() {
    let tracker = tracker();
    let meter = Metered::default();
    let inner = provider({
        let meter = meter.clone();
        move || {
            let mut reply = body(two_frames());
            reply.extensions_mut().insert(meter.clone());
            ready(Ok(reply))
        }
    });
    let price = |target: &Target, usage: &Usage| {
        (&**target.provider() == "groq").then(|| Usd::from_nanos(usage.input + 3 * usage.output))
    };
    let service = TrackLayer::new(tracker.clone()).with_cost(price).layer(inner);
    let reply = service.oneshot(request()).await.unwrap();
    meter.saw_first_token(Instant::now());
    meter.report(Usage::new(100, 41));
    reply.into_body().collect().await.unwrap();
    let figures = figures(&tracker);
    assert!(figures.first_token.is_some());
    assert_eq!(figures.tokens_per_second, Some(20.0));
    assert_eq!(figures.output_tokens, Some(41.0));
    assert_eq!(figures.cost, Some(Usd::from_nanos(223)));
}

#[tokio::test(start_paused = true)]
async fn usage_that_nobody_reported_is_estimated_by_what_was_asked() {
    let tracker = tracker();
    let inner = provider(async || {
        let (mut reply, meter) = (body([Step::data("hi")]), Metered::default());
        meter.saw_output(40);
        reply.extensions_mut().insert(meter);
        Ok(reply)
    });
    let price = |_: &Target, usage: &Usage| Some(Usd::from_nanos(usage.input));
    let service = TrackLayer::new(tracker.clone()).with_cost(price).layer(inner);
    let (mut request, mut ask) = (request(), Ask::new(Operation::ChatCompletions));
    ask.input_tokens = 7;
    request.extensions_mut().insert(ask);
    service.oneshot(request).await.unwrap().into_body().collect().await.unwrap();
    assert_eq!(figures(&tracker).output_tokens, Some(10.0));
    assert_eq!(figures(&tracker).cost, Some(Usd::from_nanos(7)));
}

#[tokio::test(start_paused = true)]
async fn every_failure_ends_the_trip_and_is_told_once() {
    let fail = |class| Failure::new(class, "scripted");
    let status = |status: u16| {
        let mut reply = body([Step::data("no")]);
        *reply.status_mut() = status.try_into().unwrap();
        reply
    };
    let event = move || {
        let (mut reply, meter) = (body(two_frames()), Metered::default());
        meter.fail(fail(ErrorClass::Overloaded));
        reply.extensions_mut().insert(meter);
        reply
    };
    let told = move || {
        let mut reply = status(400);
        reply.extensions_mut().insert(fail(ErrorClass::Quota));
        reply.extensions_mut().insert(ProxyCredential::default());
        reply
    };
    let cases: [(ErrorClass, Inner); 6] = [
        (ErrorClass::Server, provider(move || ready(Ok(status(500))))),
        (ErrorClass::Quota, provider(move || ready(Ok(told())))),
        (ErrorClass::Overloaded, provider(move || ready(Ok(event())))),
        (ErrorClass::Network, provider(|| ready(Err("refused".into())))),
        (ErrorClass::Network, provider(|| ready(Ok(body([Step::Error("reset")]))))),
        (ErrorClass::Timeout, provider(move || ready(Err(fail(ErrorClass::Timeout).into())))),
    ];
    for (class, inner) in cases {
        let tracker = tracker();
        let _ = send(&tracker, inner).await;
        assert_eq!(errors(&tracker), [class]);
        let figures = figures(&tracker);
        assert_eq!((figures.in_flight, figures.success), (0, 0.5), "{class}");
        assert_eq!(figures.samples, u32::from(class == ErrorClass::Timeout), "{class}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_the_callers_own_counts_for_nothing() {
    let denied = || {
        let mut reply = body([Step::data("who?")]);
        *reply.status_mut() = http::StatusCode::UNAUTHORIZED;
        reply
    };
    let event = || {
        let (mut reply, meter) = (body(two_frames()), Metered::default());
        meter.fail(Failure::new(ErrorClass::Quota, "your account is empty"));
        reply.extensions_mut().insert(meter);
        reply
    };
    let tracker = tracker();
    send(&tracker, provider(move || ready(Ok(denied())))).await.unwrap();
    send(&tracker, provider(move || ready(Ok(event())))).await.unwrap();
    assert_eq!(figures(&tracker), Figures::default());
    assert!(errors(&tracker).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_takes_its_trip_along() {
    let tracker = tracker();
    let layer = TrackLayer::new(tracker.clone());
    // Before the head.
    let service = layer.layer(provider(pending));
    assert!(timeout(Duration::from_secs(1), service.oneshot(request())).await.is_err());
    assert_eq!(figures(&tracker), Figures::default());
    // In the middle of the body.
    let service = layer.layer(provider(async || Ok(body(two_frames()))));
    let mut reply = service.oneshot(request()).await.unwrap();
    reply.body_mut().frame().await.unwrap().unwrap();
    assert_eq!(figures(&tracker).in_flight, 1);
    drop(reply);
    assert_eq!(figures(&tracker), Figures::default());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_on_seeing_a_failure_does_not_hide_it() {
    let (tracker, meter) = (tracker(), Metered::default());
    let inner = provider({
        let meter = meter.clone();
        move || {
            let mut reply = body(two_frames());
            reply.extensions_mut().insert(meter.clone());
            ready(Ok(reply))
        }
    });
    let service = TrackLayer::new(tracker.clone()).layer(inner);
    let reply = service.oneshot(request()).await.unwrap();
    meter.fail(Failure::new(ErrorClass::Server, "broke off"));
    drop(reply);
    assert_eq!((errors(&tracker), figures(&tracker).in_flight), (vec![ErrorClass::Server], 0));
}

#[tokio::test(start_paused = true)]
async fn another_judge_may_decide() {
    let tracker = tracker();
    let judge = |reply: Result<&Parts, &BoxError>| match reply {
        Ok(head) if head.status == 418 => Verdict::Success,
        Ok(_) => Verdict::Failure(ErrorClass::Server),
        Err(_) => Verdict::Ignore,
    };
    let layer = TrackLayer::new(tracker.clone()).with_classifier(judge);
    let teapot = || {
        let mut reply = body([]);
        *reply.status_mut() = http::StatusCode::IM_A_TEAPOT;
        reply
    };
    let run = |inner| layer.layer(inner).oneshot(request());
    run(provider(|| ready(Err("refused by a breaker".into())))).await.unwrap_err();
    assert_eq!(figures(&tracker), Figures::default());
    drop(run(provider(|| ready(Ok(body([]))))).await.unwrap());
    assert_eq!(errors(&tracker), [ErrorClass::Server]);
    let reply = run(provider(move || ready(Ok(teapot())))).await.unwrap();
    reply.into_body().collect().await.unwrap();
    assert_eq!(figures(&tracker).samples, 1);
}

#[tokio::test(start_paused = true)]
async fn without_a_target_or_room_it_passes_untouched() {
    let tracker = Tracker::new(Config { max_targets: 1, ..Config::default() }).unwrap();
    let held = tracker.slot(&Target::new("azure", "main", None));
    let layer = TrackLayer::new(tracker.clone());
    for request in [Request::new(()), request()] {
        let service = layer.layer(provider(async || Ok(body(two_frames()))));
        let body = service.oneshot(request).await.unwrap().into_body();
        assert_eq!(body.collect().await.unwrap().to_bytes(), "onetwo");
    }
    assert_eq!(tracker.snapshot(Instant::now(), |_| true).targets.len(), 1);
    assert_eq!(held.figures(Instant::now()), Figures::default());
}

#[tokio::test(start_paused = true)]
async fn calls_the_instance_that_was_polled_ready_and_never_clones_it() {
    let probe = provider(async || Ok(body([])));
    let counts = probe.counts();
    let mut service = TrackLayer::new(tracker()).layer(probe);
    for _ in 0..3 {
        service.ready().await.unwrap().call(request()).await.unwrap();
    }
    assert_eq!(counts.calls.load(Ordering::SeqCst), 3);
    assert_eq!(counts.clones.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn dropping_the_future_drops_the_inner_one() {
    let probe = provider(pending);
    let (counts, tracker) = (probe.counts(), tracker());
    let mut service = TrackLayer::new(tracker.clone()).layer(probe);
    let mut call = Box::pin(service.ready().await.unwrap().call(request()));
    assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!(figures(&tracker).in_flight, 1);
    drop(call);
    assert_eq!(counts.cancelled.load(Ordering::SeqCst), 1);
    assert_eq!(figures(&tracker).in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn wakes_and_passes_frames_trailers_and_hints_through() {
    let mut trailers = http::HeaderMap::new();
    trailers.insert("x-end", "1".parse().unwrap());
    let script = [
        Step::Yield,
        Step::data("one"),
        Step::Sleep(Duration::from_secs(3)),
        Step::data("two"),
        Step::Trailers(trailers.clone()),
    ];
    let inner = provider(move || {
        let script = script.clone();
        async move {
            sleep(Duration::from_secs(2)).await;
            Ok(body(script))
        }
    });
    let reply = TrackLayer::new(tracker()).layer(inner).oneshot(request()).await.unwrap();
    let collected = reply.into_body().collect().await.unwrap();
    assert_eq!(collected.trailers(), Some(&trailers));
    assert_eq!(collected.to_bytes(), "onetwo");

    let reply = TrackLayer::new(tracker()).layer(Hello).oneshot(request()).await.unwrap();
    assert_eq!(http_body::Body::size_hint(reply.body()).exact(), Some(2));
}

#[derive(Clone)]
struct Hello;

impl Service<Request<()>> for Hello {
    type Response = Response<Full<Bytes>>;
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
    type Response = Response<Full<Bytes>>;
    type Error = BoxError;
    type Future = Ready<Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Err("not ready".into()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        panic!("scripted")
    }
}

#[tokio::test]
async fn readiness_is_the_inner_services_and_touches_nothing() {
    let tracker = tracker();
    let mut service = TrackLayer::new(tracker.clone()).layer(Broken);
    let error = service.ready().await.map(drop).unwrap_err();
    assert_eq!(error.to_string(), "not ready");
    assert!(tracker.snapshot(Instant::now(), |_| true).targets.is_empty());
}

#[tokio::test]
async fn a_panic_inside_ends_the_trip() {
    let tracker = tracker();
    let mut service = TrackLayer::new(tracker.clone()).layer(Broken);
    let call = AssertUnwindSafe(move || drop(service.call(request())));
    std::panic::catch_unwind(call).unwrap_err();
    assert_eq!(figures(&tracker), Figures::default());
}

#[tokio::test]
async fn clones_and_services_of_one_layer_share_their_tracker() {
    let layer = TrackLayer::new(tracker());
    let service = layer.layer(Hello);
    for service in [service.clone(), service, layer.clone().layer(Hello)] {
        service.oneshot(request()).await.unwrap().into_body().collect().await.unwrap();
    }
    assert_eq!(figures(layer.tracker()).samples, 3);
}

#[test]
fn is_send_and_its_layer_sync() {
    fn send<T: Send + 'static>(_: &T) {}
    fn sync<T: Send + Sync>(_: &T) {}
    let layer = TrackLayer::new(tracker());
    let mut service = layer.layer(Hello);
    send(&service);
    send(&service.call(request()));
    sync(&layer);
    sync(layer.tracker());
}
