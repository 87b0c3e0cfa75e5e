//! What it costs to keep live figures and to read them: `cargo bench -p tollway-route --bench facts`.
//! Compare within one run.
#![allow(missing_docs)]

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    hint::black_box,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use divan::{AllocProfiler, Bencher};
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use tokio::time::Instant;
use tollway_core::{Ask, Meter, Metered, Operation, Target, Usage, Usd};
use tollway_route::facts::{Config, Outcome, Sketch, Slot, TrackLayer, Tracker};
use tower_layer::Layer;
use tower_service::Service;

#[global_allocator]
static ALLOC: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

fn target() -> Target {
    Target::new("openai", "main", Some("gpt-4o-mini".into()))
}

fn tracker() -> Tracker {
    Tracker::new(Config::default()).expect("a good config")
}

fn outcome() -> Outcome {
    Outcome {
        usage: Some(Usage::new(1_000, 200)),
        cost: Some(Usd::from_nanos(270_000)),
        ..Outcome::success()
    }
}

/// A slot with `samples` replies, the last of them at the returned moment.
fn slot(samples: u64) -> (Arc<Slot>, Instant) {
    let (slot, start) = (tracker().slot(&target()), Instant::now());
    for at in 0..samples {
        trip(&slot, start + Duration::from_millis(at));
    }
    (slot, start + Duration::from_millis(samples))
}

fn trip(slot: &Arc<Slot>, now: Instant) {
    let mut trip = slot.begin(now);
    trip.first_token(now + Duration::from_millis(300));
    trip.end(now + Duration::from_millis(1_500), outcome());
}

/// Few samples in the window, where quantiles are taken at each end; many, where it is ten times a
/// second.
#[divan::bench(args = [75, 300_000])]
fn begin_and_end(bencher: Bencher<'_, '_>, samples: u64) {
    let (slot, start, mut at) = (tracker().slot(&target()), Instant::now(), 0);
    let step = Config::default().window.as_millis() as u64 / samples;
    let mut next = || {
        at += 1;
        trip(&slot, start + Duration::from_millis(at * step));
    };
    (0..200).for_each(|_| next());
    bencher.bench_local(next);
}

#[divan::bench]
fn begin_and_drop(bencher: Bencher<'_, '_>) {
    let (slot, now) = slot(1);
    bencher.bench_local(|| drop(slot.begin(black_box(now))));
}

#[divan::bench]
fn figures(bencher: Bencher<'_, '_>) {
    let (slot, now) = slot(1_000);
    let now = now + Duration::from_secs(3);
    bencher.bench_local(|| slot.figures(black_box(now)));
}

/// What a decision among twenty targets reads.
#[divan::bench]
fn figures_of_20_targets(bencher: Bencher<'_, '_>) {
    let slots: Vec<_> = (0..20).map(|_| slot(1_000)).collect();
    let now = Instant::now() + Duration::from_secs(4);
    bencher.bench_local(|| {
        let figures = slots.iter().map(|(slot, _)| black_box(slot).figures(black_box(now)));
        figures.map(|figures| figures.success).sum::<f32>()
    });
}

#[divan::bench]
fn find_slot(bencher: Bencher<'_, '_>) {
    let (tracker, target) = (tracker(), target());
    bencher.bench_local(|| tracker.slot(black_box(&target)));
}

#[divan::bench]
fn quantiles(bencher: Bencher<'_, '_>) {
    let mut sketch = Sketch::default();
    (1..10_000).for_each(|at| sketch.add(Duration::from_millis(at)));
    bencher.bench_local(|| black_box(&sketch).quantiles());
}

#[divan::bench]
fn snapshot_of_100_targets(bencher: Bencher<'_, '_>) {
    let (tracker, now) = (tracker(), Instant::now());
    for at in 0..100 {
        let model = format!("model-{}", at / 10).into();
        trip(
            &tracker.slot(&Target::new(format!("provider-{}", at % 10), "main", Some(model))),
            now,
        );
    }
    bencher.bench_local(|| tracker.snapshot(black_box(now + Duration::from_secs(2)), |_| true));
}

#[derive(Clone)]
struct Bare(Metered);

impl Service<Request<()>> for Bare {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        let mut response = Response::new(Full::new(Bytes::from_static(b"hi")));
        response.extensions_mut().insert(self.0.clone());
        ready(Ok(response))
    }
}

fn bare() -> Bare {
    let meter = Meter::default();
    meter.report(Usage::new(1_000, 200));
    meter.saw_first_token(Instant::now());
    Bare(Metered(Arc::new(meter)))
}

/// One whole call: ready, call, head, body to its end.
fn run<S, B>(service: &mut S, request: Request<()>)
where
    S: Service<Request<()>, Response = Response<B>>,
    B: Body<Data = Bytes>,
{
    let mut cx = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut cx).is_ready());
    if let Poll::Ready(Ok(reply)) = pin!(service.call(request)).poll(&mut cx) {
        let mut body = pin!(reply.into_body());
        while let Poll::Ready(Some(frame)) = body.as_mut().poll_frame(&mut cx) {
            black_box(frame.is_ok());
        }
    }
}

fn bench<S, B>(bencher: Bencher<'_, '_>, mut service: S, target: Option<Target>)
where
    S: Service<Request<()>, Response = Response<B>>,
    B: Body<Data = Bytes>,
{
    let ask = Ask::new(Operation::ChatCompletions).with_model("gpt-4o-mini");
    let request = || {
        let mut request = Request::new(());
        request.extensions_mut().insert(ask.clone());
        if let Some(target) = target.clone() {
            request.extensions_mut().insert(target);
        }
        request
    };
    (0..200).for_each(|_| run(&mut service, request()));
    bencher.with_inputs(request).bench_local_values(|request| run(&mut service, request));
}

#[divan::bench]
fn service_bare(bencher: Bencher<'_, '_>) {
    bench(bencher, bare(), Some(target()));
}

#[divan::bench]
fn service_tracked(bencher: Bencher<'_, '_>) {
    let price = |_: &Target, usage: &Usage| Some(Usd::from_nanos(usage.total()));
    let layer = TrackLayer::new(tracker()).with_cost(price);
    bench(bencher, layer.layer(bare()), Some(target()));
}

#[divan::bench]
fn service_without_target(bencher: Bencher<'_, '_>) {
    bench(bencher, TrackLayer::new(tracker()).layer(bare()), None);
}
