//! What the layer costs over a bare service, in time and allocations:
//! `cargo bench -p tollway-circuit-breaker`. Compare within one run.

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    pin::pin,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use divan::{Bencher, black_box};
use http::{Request, Response, request::Parts};
use http_body::Body;
use http_body_util::Full;
use tollway_circuit_breaker::{CircuitBreakerLayer, Config};
use tollway_core::Target;
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
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        ready(Ok(Response::new(Full::new(Bytes::from_static(b"hi")))))
    }
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

fn target() -> Target {
    Target::new("openai", "main", Some("gpt-4o-mini".into()))
}

fn request() -> Request<()> {
    let mut request = Request::new(());
    request.extensions_mut().insert(target());
    request
}

fn bench<S, B>(bencher: Bencher<'_, '_>, mut service: S)
where
    S: Service<Request<()>, Response = Response<B>>,
    B: Body<Data = Bytes>,
{
    run(&mut service, request());
    bencher.with_inputs(request).bench_local_values(|request| run(&mut service, request));
}

fn layer(config: Config) -> CircuitBreakerLayer<Target, impl Fn(&Parts) -> Option<Target> + Clone> {
    let key = |parts: &Parts| parts.extensions.get::<Target>().cloned();
    CircuitBreakerLayer::new(config, key).expect("a good config")
}

#[divan::bench]
fn bare(bencher: Bencher<'_, '_>) {
    bench(bencher, Bare);
}

#[divan::bench]
fn closed(bencher: Bencher<'_, '_>) {
    bench(bencher, layer(Config::default()).layer(Bare));
}

#[divan::bench]
fn closed_with_ratio(bencher: Bencher<'_, '_>) {
    let config = Config { failure_ratio: Some(500), ..Config::default() };
    bench(bencher, layer(config).layer(Bare));
}

#[divan::bench]
fn refused(bencher: Bencher<'_, '_>) {
    let layer = layer(Config::default());
    layer.handle().force_open(&target());
    bench(bencher, layer.layer(Bare));
}
