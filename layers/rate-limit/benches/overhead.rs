//! What limits cost over a bare service, in time and allocations: `cargo bench -p tollway-rate-limit`.

#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use divan::{AllocProfiler, Bencher, black_box};
use http::{Request, Response};
use http_body_util::Full;
use tollway_rate_limit::{Key, Limit, Period, Quota, RateLimitLayer, Rule, Unit};
use tower::{Layer, Service};

#[global_allocator]
static ALLOC: AllocProfiler = AllocProfiler::system();

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

#[derive(Clone)]
struct User(Arc<str>);

/// Requests, tokens, money and places: by user and for all.
fn rules(count: usize) -> Vec<Rule> {
    let minute = Duration::from_secs(60);
    let much = u64::MAX / 4;
    let bucket = Quota::TokenBucket { amount: much, per: minute, burst: much };
    let quotas = [
        ("requests", bucket, Unit::Requests),
        ("tokens", bucket, Unit::Tokens),
        ("all", bucket, Unit::Requests),
        ("spend", Quota::Calendar { amount: much, period: Period::Day }, Unit::NanoUsd),
        ("places", Quota::Concurrent { amount: much }, Unit::Custom(0)),
    ];
    let rule = |(name, quota, unit)| {
        let rule = Rule::new(Limit::new(name, quota).unwrap(), unit);
        if name == "all" {
            return rule;
        }
        rule.key(|request| Some(Key::from(&request.extensions.get::<User>()?.0)))
    };
    quotas.into_iter().take(count).map(rule).collect()
}

fn run<S>(bencher: Bencher<'_, '_>, mut service: S)
where
    S: Service<Request<()>>,
{
    let user = User("ann".into());
    bencher
        .with_inputs(|| Request::builder().extension(user.clone()).body(()).unwrap())
        .bench_local_values(|request| {
            let mut cx = Context::from_waker(Waker::noop());
            let _ = black_box(service.poll_ready(&mut cx).is_ready());
            let future = pin!(service.call(request));
            // The reply is dropped in here: limits are taken and settled.
            black_box(future.poll(&mut cx).is_ready())
        });
}

#[divan::bench(sample_size = 1000)]
fn bare(bencher: Bencher<'_, '_>) {
    run(bencher, Bare);
}

#[divan::bench(args = [0, 1, 5], sample_size = 1000)]
fn limits(bencher: Bencher<'_, '_>, count: usize) {
    run(bencher, RateLimitLayer::new(rules(count), ()).unwrap().layer(Bare));
}
