//! What identify costs over the bare service: time and allocations.
#![allow(missing_docs)]

use std::{convert::Infallible, future::Ready, hint::black_box, task::Context, task::Poll};

use divan::{AllocProfiler, Bencher};
use http::{HeaderMap, Request, Response};
use tollway_core::PeerAddr;
use tollway_identify::{
    Config, Identifier, IdentifyLayer, Key, KeySet,
    forwarded::{ProxyHeader, client_ip},
};
use tower::{Layer, Service};

#[global_allocator]
static ALLOC: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

#[derive(Clone)]
struct Bare;

impl Service<Request<()>> for Bare {
    type Response = Response<Request<()>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        std::future::ready(Ok(Response::new(request)))
    }
}

fn keyed(count: u8) -> Config {
    let keys = (0..count).map(|seed| Key {
        user: Some("ada".into()),
        ..Key::new(format!("{seed}"), Key::generate([seed; 32]).digest())
    });
    Config { keys: KeySet::new(keys).expect("distinct"), ..Config::default() }
}

fn request(headers: &[(&'static str, &str)]) -> Request<()> {
    let mut request = Request::new(());
    request.extensions_mut().insert(PeerAddr(([203, 0, 113, 7], 4711).into()));
    for (name, value) in headers {
        request.headers_mut().append(*name, value.parse().expect("a header value"));
    }
    request
}

fn run<S: Service<Request<()>> + Clone>(
    bencher: Bencher<'_, '_>,
    service: S,
    headers: &[(&'static str, &str)],
) {
    let mut service = service;
    bencher.with_inputs(|| request(headers)).bench_local_values(|request| service.call(request));
}

#[divan::bench]
fn bare(bencher: Bencher<'_, '_>) {
    run(bencher, Bare, &[]);
}

#[divan::bench]
fn by_ip(bencher: Bencher<'_, '_>) {
    run(bencher, IdentifyLayer::new(Config::default()).expect("valid").layer(Bare), &[]);
}

#[divan::bench]
fn by_key_of_100(bencher: Bencher<'_, '_>) {
    let bearer = format!("Bearer {}", Key::generate([7; 32]).secret());
    let service = IdentifyLayer::new(keyed(100)).expect("valid").layer(Bare);
    run(bencher, service, &[("authorization", &bearer)]);
}

#[divan::bench]
fn by_provider_key(bencher: Bencher<'_, '_>) {
    let service = IdentifyLayer::new(Config::default()).expect("valid").layer(Bare);
    run(bencher, service, &[("authorization", "Bearer sk-proj-0123456789abcdef0123456789")]);
}

/// The decision alone, without the request's extensions.
#[divan::bench]
fn decide_by_ip(bencher: Bencher<'_, '_>) {
    let identifier = Identifier::new(Config::default()).expect("valid");
    let (peer, headers) = ([203, 0, 113, 7].into(), HeaderMap::new());
    bencher.bench_local(|| identifier.identify(Some(black_box(peer)), black_box(&headers)));
}

#[divan::bench]
fn client_ip_behind_two_proxies(bencher: Bencher<'_, '_>) {
    let trusted = ["10.0.0.0/8".parse().expect("a network")];
    let headers = request(&[("x-forwarded-for", "203.0.113.7, 10.0.0.2")]).headers().clone();
    let peer = [10, 0, 0, 1].into();
    bencher.bench_local(|| {
        client_ip(black_box(peer), black_box(&headers), &trusted, ProxyHeader::Either)
    });
}
