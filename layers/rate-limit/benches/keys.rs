//! What many keys cost: bytes each, the longest that a new one takes, and a decision among a million:
//! `cargo bench -p tollway-rate-limit --bench keys`.

#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    pin::pin,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Waker},
    time::Duration,
};

use bytes::Bytes;
use divan::{Bencher, black_box};
use http::{Request, Response};
use http_body_util::Full;
use tollway_rate_limit::{Key, Limit, Period, Quota, RateLimitLayer, Rule, Unit};
use tower::{Layer, Service};

const KEYS: u64 = 1_000_000;

#[derive(Clone, Copy)]
struct Bare;

impl Service<Request<()>> for Bare {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        ready(Ok(Response::new(Full::new(Bytes::from_static(b"hi")))))
    }
}

#[derive(Clone)]
struct User(Arc<str>);

fn quota(kind: &str) -> Quota {
    let (much, hour) = (u64::MAX / 4, Duration::from_secs(3600));
    match kind {
        "bucket" => Quota::TokenBucket { amount: 1, per: hour, burst: much },
        "window" => Quota::SlidingWindow { amount: much, window: hour },
        _ => Quota::Calendar { amount: much, period: Period::Month },
    }
}

fn layer(kind: &str, rules: usize) -> RateLimitLayer {
    let limit = |nth| Limit::new(format!("{kind}{nth}"), quota(kind)).unwrap();
    let rule = |nth| {
        Rule::new(limit(nth), Unit::Requests)
            .key(|request| Some(Key::from(&request.extensions.get::<User>()?.0)))
    };
    let rules: Vec<_> = (0..rules).map(rule).collect();
    RateLimitLayer::builder(rules, ()).max_keys(2 * KEYS as usize).build().unwrap()
}

/// Names as long as those that people use.
fn user(nth: u64) -> User {
    User(format!("user-{nth:07}").into())
}

fn ask<S: Service<Request<()>>>(service: &mut S, user: User) {
    let request = Request::builder().extension(user).body(()).unwrap();
    let mut cx = Context::from_waker(Waker::noop());
    // The reply is dropped in here: limits are taken and settled.
    black_box(pin!(service.call(request)).poll(&mut cx).is_ready());
}

/// Memory of this process, in bytes.
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    pages.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0_u64) * 4096
}

/// The longest that a key takes that was never seen, in nanoseconds. Of each key's times the least
/// counts, as noise only adds.
fn longest(kind: &str) -> u128 {
    let mut least = vec![u128::MAX; KEYS as usize];
    for _ in 0..3 {
        let mut service = layer(kind, 1).layer(Bare);
        for (nth, least) in (0..).zip(&mut least) {
            let (user, start) = (user(nth), tokio::time::Instant::now());
            ask(&mut service, user);
            *least = start.elapsed().as_nanos().min(*least);
        }
    }
    least.into_iter().max().unwrap_or_default()
}

fn main() {
    for kind in ["bucket", "window", "calendar"] {
        let before = resident();
        let mut service = layer(kind, 1).layer(Bare);
        (0..KEYS).for_each(|nth| ask(&mut service, user(nth)));
        println!("{kind}: {} bytes a key", (resident() - before) / KEYS);
    }
    println!("the longest of a million new keys: {} µs", longest("bucket") / 1_000);
    divan::main();
}

static MILLION: LazyLock<RateLimitLayer> = LazyLock::new(|| {
    let layer = layer("bucket", 1);
    (0..KEYS).for_each(|nth| ask(&mut layer.layer(Bare), user(nth)));
    layer
});

/// Another one of a million each time.
#[divan::bench(threads = [1, 2], sample_size = 1000)]
fn one_of_a_million(bencher: Bencher<'_, '_>) {
    let next = AtomicU64::new(1);
    let among = || {
        let nth = next.fetch_add(1, Ordering::Relaxed);
        user(nth.wrapping_mul(6_364_136_223_846_793_005) % KEYS)
    };
    let inputs = || (MILLION.layer(Bare), among());
    bencher.with_inputs(inputs).bench_refs(|(service, user)| ask(service, user.clone()));
}

/// One key of five limits, by all threads at once.
#[divan::bench(threads = [1, 2], sample_size = 1000)]
fn five_limits(bencher: Bencher<'_, '_>) {
    let layer = layer("bucket", 5);
    let inputs = || (layer.layer(Bare), user(1));
    bencher.with_inputs(inputs).bench_refs(|(service, user)| ask(service, user.clone()));
}

/// What of it is the request and the reply.
#[divan::bench(threads = [1, 2], sample_size = 1000)]
fn bare(bencher: Bencher<'_, '_>) {
    let inputs = || (Bare, user(1));
    bencher.with_inputs(inputs).bench_refs(|(service, user)| ask(service, user.clone()));
}
