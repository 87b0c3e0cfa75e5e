//! What route costs over the bare service: time and allocations.
#![allow(missing_docs)]

use std::{
    convert::Infallible,
    future::Ready,
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use divan::{AllocProfiler, Bencher};
use http::{HeaderMap, Request, Response};
use tokio::time::Instant;
use tollway_core::{Ask, Needs, Operation, Prompt, Target};
use tollway_route::{
    Availability, Between, By, Figures, Group, Live, Match, Of, PriceTier, Quantiles, Query, Route,
    RouteLayer, Router, Rule, Strategy, TargetState, Then, Traits, When,
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
    // With what it takes to give the plan's memory back: thousands of plans that are kept until a sample's
    // end measure page faults.
    bencher.bench_local(|| drop(black_box(router.decide(black_box(&query), &state))));
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

/// Figures that are read as they would be from traffic: number by number.
#[derive(Debug)]
struct Measured([AtomicU64; 8]);

impl Live for Measured {
    fn figures(&self, _: Instant) -> Figures {
        let [p50, p95, p99, in_flight, samples, success, output, peak] =
            self.0.each_ref().map(|number| number.load(Ordering::Relaxed));
        let times = [p50, p95, p99].map(Duration::from_millis);
        let times = Some(Quantiles { p50: times[0], p95: times[1], p99: times[2] });
        Figures {
            samples: samples as u32,
            first_token: times,
            whole: times,
            success: success as f32 / 1000.0,
            output_tokens: Some(output as f32),
            peak_ewma: peak as f32 / 1000.0,
            in_flight: in_flight as u32,
            ..Figures::default()
        }
    }
}

/// One route with 10 rules of which none holds, and 20 targets that are known.
fn measured(strategy: Strategy) -> Router {
    let targets = (0..20).map(|at| Target::new(format!("provider-{at}"), "default", None).into());
    let rules = (0..10_u64).map(|at| Rule {
        name: format!("rule-{at}").into(),
        when: When {
            needs: if at % 2 == 0 { Needs::VISION } else { Needs::NONE },
            input_tokens: Between::from(100_000 + at),
            max_cost: Between::to("0.01".parse().expect("an amount")),
            ..When::default()
        },
        then: Then { strategy: Some(Strategy::Cost), ..Then::default() },
    });
    let route = Route::new("all", Match::default(), Group::new(strategy, targets));
    let number = |target: &Target| target.provider().bytes().map(u64::from).sum::<u64>();
    Router::builder([route.with_rules(rules)])
        .catalog(move |target: &Target| Traits {
            can: Some(Needs::VISION | Needs::TOOLS | Needs::STREAMING),
            window: Some(200_000),
            prices: [PriceTier { from: 0, input: number(target), cached: 10, output: 100 }].into(),
            ..Traits::default()
        })
        .figures(move |target: &Target| {
            let number = number(target);
            let numbers = [number, 2 * number, 3 * number, number % 7, 900, 990, 300, number];
            Arc::new(Measured(numbers.map(AtomicU64::new))) as Arc<dyn Live>
        })
        .build()
        .expect("valid")
}

fn decide_by_figures(bencher: Bencher<'_, '_>, strategy: Strategy, state: impl TargetState) {
    let router = measured(strategy);
    let headers = HeaderMap::new();
    let ask = Ask::new(Operation::ChatCompletions)
        .with_model("gpt-4o-mini")
        .with_prompt(Prompt::new(1_500))
        .with_needs(Needs::TOOLS);
    let query = Query::new("/v1/chat/completions", &headers, Instant::now()).with_ask(&ask);
    // With what it takes to give the plan's memory back: thousands of plans that are kept until a sample's
    // end measure page faults.
    bencher.bench_local(|| drop(black_box(router.decide(black_box(&query), &state))));
}

#[divan::bench(name = "decide: 20 targets, 10 rules, score strategy")]
fn score(bencher: Bencher<'_, '_>) {
    decide_by_figures(bencher, Strategy::Score { latency: 60, cost: 40 }, ());
}

#[divan::bench(name = "decide: 20 targets, 10 rules, latency strategy")]
fn latency(bencher: Bencher<'_, '_>) {
    decide_by_figures(bencher, Strategy::Latency { of: Of::Whole }, ());
}

#[divan::bench(name = "decide: 20 targets, 10 rules, affinity strategy")]
fn affinity(bencher: Bencher<'_, '_>) {
    decide_by_figures(bencher, Strategy::Affinity { by: By::User }, ());
}

#[divan::bench(name = "decide: 20 targets, 10 rules, score strategy, one out")]
fn score_while_one_is_out(bencher: Bencher<'_, '_>) {
    let strategy = Strategy::Score { latency: 60, cost: 40 };
    decide_by_figures(bencher, strategy, |target: &Target| {
        match &**target.provider() == "provider-0" {
            true => Availability::BreakerOpen,
            false => Availability::Ready,
        }
    });
}
