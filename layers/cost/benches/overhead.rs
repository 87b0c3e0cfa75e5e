//! What the layer costs over a bare service, in time and allocations.
//!
//! Each round calls the service and drops the reply with its body; compare with `bare`.

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    hint::black_box,
    pin::pin,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use divan::{AllocProfiler, Bencher};
use http::{Request, Response};
use http_body_util::Full;
use tollway_core::{Ask, Caller, Metered, Operation, Target, Usage};
use tollway_cost::{CostLayer, Price, PriceBook};
use tower::{Layer, Service};

#[global_allocator]
static ALLOC: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

/// Answers with what the request carries, so that making it is not measured.
#[derive(Clone)]
struct Bare;

impl Service<Request<Response<Full<Bytes>>>> for Bare {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Response<Full<Bytes>>>) -> Self::Future {
        ready(Ok(request.into_body()))
    }
}

fn request(stream: bool) -> Request<Response<Full<Bytes>>> {
    let meter = Metered::default();
    meter.report(Usage::new(1000, 500));
    let mut response = Response::new(Full::from("{}"));
    response.headers_mut().insert("content-type", "application/json".parse().expect("static"));
    response.extensions_mut().insert(meter);
    response.extensions_mut().insert(Target::new("openai", "main", Some("gpt-4o-mini".into())));
    let mut request = Request::new(response);
    let mut ask = Ask::new(Operation::ChatCompletions).with_model("gpt-4o-mini");
    ask.stream = stream;
    request.extensions_mut().insert(ask);
    let mut caller = Caller::default();
    caller.user = Some("ann".into());
    caller.key = Some("ann-laptop".into());
    request.extensions_mut().insert(caller);
    request
}

fn run<S>(bencher: Bencher<'_, '_>, mut service: S, stream: bool)
where
    S: Service<Request<Response<Full<Bytes>>>>,
{
    let mut cx = Context::from_waker(Waker::noop());
    bencher.with_inputs(|| request(stream)).bench_local_values(|request| {
        let _ = black_box(service.poll_ready(&mut cx).is_ready());
        let future = pin!(service.call(request));
        // The reply is dropped here: the record is made within the measured time.
        black_box(future.poll(&mut cx).is_ready())
    });
}

fn layer() -> CostLayer<PriceBook> {
    let mut book = PriceBook::builder();
    let price = Price::flat("0.15".parse().expect("a rate"), "0.6".parse().expect("a rate"));
    book.add("openai", "gpt-4o-mini", [], price).expect("one price");
    CostLayer::new(book.build())
}

#[divan::bench(sample_count = 200, sample_size = 100)]
fn bare(bencher: Bencher<'_, '_>) {
    run(bencher, Bare, false);
}

#[divan::bench(sample_count = 200, sample_size = 100)]
fn cost_streamed(bencher: Bencher<'_, '_>) {
    run(bencher, layer().layer(Bare), true);
}

#[divan::bench(sample_count = 200, sample_size = 100)]
fn cost_with_header(bencher: Bencher<'_, '_>) {
    run(bencher, layer().layer(Bare), false);
}
