//! What route costs over the bare service: time and allocations.
#![allow(missing_docs)]

use std::{convert::Infallible, future::Ready, hint::black_box, task::Context, task::Poll};

use divan::{AllocProfiler, Bencher};
use http::{HeaderMap, Request, Response};
use tokio::time::Instant;
use tollway_core::{Ask, Operation, Target};
use tollway_route::{
    Availability, Group, Match, Query, Route, RouteLayer, Router, Strategy, TargetState,
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

/// Ten routes; the last takes `gpt-*` and has `targets` targets.
fn router(strategy: Strategy, targets: usize) -> Router {
    let route = |name: String, glob: &str, targets: usize| {
        let target = |at| Target::new(format!("provider-{at}"), "default", None).into();
        let group = Group::new(strategy.clone(), (0..targets).map(target));
        Route::new(name, Match::model(glob.parse().expect("a pattern")), group)
    };
    let others = (0..9).map(|at| route(format!("r{at}"), &format!("other-{at}-*"), 1));
    Router::new(others.chain([route("gpt".into(), "gpt-*", targets)])).expect("valid")
}

fn run<S: Service<Request<()>>>(bencher: Bencher<'_, '_>, mut service: S) {
    let ask = Ask::new(Operation::ChatCompletions).with_model("gpt-4o-mini");
    let request = || {
        let mut request = Request::new(());
        request.extensions_mut().insert(ask.clone());
        request
    };
    bencher.with_inputs(request).bench_local_values(|request| service.call(request));
}

#[divan::bench]
fn bare(bencher: Bencher<'_, '_>) {
    run(bencher, Bare);
}

#[divan::bench(args = [1, 3, 20])]
fn failover(bencher: Bencher<'_, '_>, targets: usize) {
    run(bencher, RouteLayer::new(router(Strategy::Failover, targets)).layer(Bare));
}

fn decide(bencher: Bencher<'_, '_>, strategy: Strategy, targets: usize, state: impl TargetState) {
    let router = router(strategy, targets);
    let headers = HeaderMap::new();
    let ask = Ask::new(Operation::ChatCompletions).with_model("gpt-4o-mini");
    let query = Query::new("/v1/chat/completions", &headers, Instant::now()).with_ask(&ask);
    bencher.bench_local(|| router.decide(black_box(&query), &state));
}

#[divan::bench(args = [3, 20])]
fn decide_failover(bencher: Bencher<'_, '_>, targets: usize) {
    decide(bencher, Strategy::Failover, targets, ());
}

#[divan::bench(args = [3, 20])]
fn decide_round_robin(bencher: Bencher<'_, '_>, targets: usize) {
    decide(bencher, Strategy::RoundRobin, targets, ());
}

#[divan::bench(args = [3, 20])]
fn decide_weighted(bencher: Bencher<'_, '_>, targets: usize) {
    decide(bencher, Strategy::Weighted, targets, ());
}

#[divan::bench(args = [3, 20])]
fn decide_while_one_is_out(bencher: Bencher<'_, '_>, targets: usize) {
    decide(bencher, Strategy::Failover, targets, |target: &Target| {
        match &**target.provider() == "provider-0" {
            true => Availability::BreakerOpen,
            false => Availability::Ready,
        }
    });
}
