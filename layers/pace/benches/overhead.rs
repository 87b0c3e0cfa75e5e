//! What the layer costs over a bare service, in time and allocations:
//! `cargo bench -p tollway-pace`. Compare within one run.

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use divan::{Bencher, black_box};
use http::{Request, Response};
use tollway_core::Target;
use tollway_pace::{Config, PaceLayer, Reading, Told, Unit};
use tower_layer::Layer;
use tower_service::Service;

#[global_allocator]
static ALLOC: divan::AllocProfiler = divan::AllocProfiler::system();

fn main() {
    divan::main();
}

#[derive(Clone)]
struct Bare;

impl Service<Request<()>> for Bare {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        ready(Ok(Response::new(())))
    }
}

/// One whole call: ready, call, head.
fn run<S>(service: &mut S, request: Request<()>)
where
    S: Service<Request<()>, Response = Response<()>>,
{
    let mut cx = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut cx).is_ready());
    if let Poll::Ready(reply) = pin!(service.call(request)).poll(&mut cx) {
        black_box(reply.is_ok());
    }
}

fn request() -> Request<()> {
    let mut request = Request::new(());
    request.extensions_mut().insert(Target::new("openai", "main", Some("gpt-4o-mini".into())));
    request
}

fn bench<S>(bencher: Bencher<'_, '_>, mut service: S)
where
    S: Service<Request<()>, Response = Response<()>>,
{
    run(&mut service, request());
    bencher.with_inputs(request).bench_local_values(|request| run(&mut service, request));
}

fn layer(reading: Reading) -> PaceLayer<Target> {
    let key = |parts: &http::request::Parts| parts.extensions.get::<Target>().cloned();
    PaceLayer::new(Config::default(), key, move |_| reading).expect("a good config")
}

#[divan::bench]
fn bare(bencher: Bencher<'_, '_>) {
    bench(bencher, Bare);
}

#[divan::bench]
fn told_nothing(bencher: Bencher<'_, '_>) {
    bench(bencher, layer(Reading::default()).layer(Bare));
}

#[divan::bench]
fn told_of_two_limits(bencher: Bencher<'_, '_>) {
    let told = Told::new(1_000_000, 900_000, Duration::from_secs(6));
    let reading = Reading::default().with(Unit::Requests, told).with(Unit::Tokens, told);
    bench(bencher, layer(reading).layer(Bare));
}

#[divan::bench]
fn refused(bencher: Bencher<'_, '_>) {
    let reading = Reading::default().with_block(Duration::from_secs(3600));
    bench(bencher, layer(reading).layer(Bare));
}
