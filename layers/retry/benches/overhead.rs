//! What the layer costs where nothing fails: `cargo bench -p tollway-retry`.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    hint::black_box,
    pin::pin,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use divan::{AllocProfiler, Bencher};
use http::{Request, Response};
use http_body_util::Full;
use tollway_core::{Candidate, Plan, Target};
use tollway_retry::{Config, RetryLayer, Settings};
use tower::{Layer, Service};

#[global_allocator]
static ALLOC: AllocProfiler = AllocProfiler::system();

type Body = Full<Bytes>;

#[derive(Clone)]
struct Bare;

impl Service<Request<Body>> for Bare {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        ready(Ok(Response::new(request.into_body())))
    }
}

fn plain() -> Request<Body> {
    Request::new(Body::from("{}"))
}

fn with_headers() -> Request<Body> {
    let mut request = plain();
    for name in ["host", "content-type", "authorization", "user-agent", "accept"] {
        request.headers_mut().insert(name, http::HeaderValue::from_static("application/json"));
    }
    request
}

fn with_plan() -> Request<Body> {
    thread_local! {
        static PLAN: Plan = Plan::new(
            "r",
            "failover",
            ["a", "b"].map(|name| Candidate::new(Target::new(name, "k", None), "")),
        );
    }
    let mut request = with_headers();
    request.extensions_mut().insert(PLAN.with(Plan::clone));
    request
}

fn run<S: Service<Request<Body>>>(
    bencher: Bencher<'_, '_>,
    mut service: S,
    make: fn() -> Request<Body>,
) {
    let mut cx = Context::from_waker(Waker::noop());
    bencher.with_inputs(make).bench_local_values(|request| {
        assert!(service.poll_ready(&mut cx).is_ready());
        let mut call = pin!(service.call(request));
        match call.as_mut().poll(&mut cx) {
            Poll::Ready(Ok(response)) => black_box(response),
            _ => unreachable!("the bare service answers at once"),
        }
    });
}

const KINDS: [&str; 3] = ["plain", "headers", "plan"];

fn request(kind: &str) -> fn() -> Request<Body> {
    match kind {
        "headers" => with_headers,
        "plan" => with_plan,
        _ => plain,
    }
}

#[divan::bench(args = KINDS)]
fn bare(bencher: Bencher<'_, '_>, kind: &str) {
    run(bencher, Bare, request(kind));
}

#[divan::bench(args = KINDS)]
fn retry(bencher: Bencher<'_, '_>, kind: &str) {
    run(bencher, RetryLayer::default().layer(Bare), request(kind));
}

#[divan::bench(args = KINDS)]
fn single_attempt(bencher: Bencher<'_, '_>, kind: &str) {
    let settings = Settings { attempts: 1, ..Settings::default() };
    let config = Config::new(settings).expect("one attempt is allowed");
    run(bencher, RetryLayer::new(config).layer(Bare), request(kind));
}

/// What the copy of the request costs by itself, which no layer that retries can avoid.
#[divan::bench(args = KINDS)]
fn copy(bencher: Bencher<'_, '_>, kind: &str) {
    bencher.with_inputs(request(kind)).bench_local_refs(|request| black_box(request.clone()));
}

fn main() {
    divan::main();
}
