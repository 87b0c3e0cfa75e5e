//! What is recorded for every way a request can end.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    convert::Infallible,
    future::{Ready, pending, ready},
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    time::{Duration, SystemTime},
};

use http::{Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::BodyExt;
use tokio::time::Instant;
use tollway_core::{
    Ask, BoxError, Caller, Ending, ErrorClass, Failure, Metered, Operation, Target, Usage, Usd,
};
use tollway_cost::{COST_HEADER, CostLayer, Dimension, Price, PriceBook, Record};
use tollway_testkit::{Probe, Recorder, ScriptedBody, Step};
use tower::{Layer, ServiceExt};

const START: SystemTime = SystemTime::UNIX_EPOCH;
const SECOND: Duration = Duration::from_secs(1);

type Layered = CostLayer<PriceBook, Recorder<Record>>;
type Answer = Ready<Result<Response<ScriptedBody>, Infallible>>;

/// One dollar a million tokens in, two out: `Usage::new(i, o)` costs `i + 2 o` micro-dollars.
fn layer() -> (Layered, Recorder<Record>) {
    let mut book = PriceBook::builder();
    let price = Price::flat("1".parse().unwrap(), "2".parse().unwrap());
    book.add("openai", "gpt-dated", ["gpt"], price).unwrap();
    let records = Recorder::default();
    let layer = CostLayer::new(book.build()).with_ledger(records.clone()).with_clock(|| START);
    (layer, records)
}

fn micros(micros: u64) -> Option<Usd> {
    Some(Usd::from_nanos(micros * 1000))
}

fn request(operation: Operation, stream: bool) -> Request<()> {
    let mut ask = Ask::new(operation).with_model("gpt");
    ask.input_tokens = 10;
    ask.stream = stream;
    let mut caller = Caller::default();
    caller.user = Some("ann".into());
    let mut request = Request::new(());
    request.extensions_mut().insert(ask);
    request.extensions_mut().insert(caller);
    request
}

fn chat(stream: bool) -> Request<()> {
    request(Operation::ChatCompletions, stream)
}

fn reply(meter: &Metered, steps: &[Step]) -> Response<ScriptedBody> {
    let mut response = Response::new(ScriptedBody::new(steps.to_vec()));
    response.extensions_mut().insert(meter.clone());
    response.extensions_mut().insert(Target::new("openai", "main", Some("gpt-dated".into())));
    response
}

/// A service that gives each reply once, made by `make`.
fn serve(make: impl Fn() -> Response<ScriptedBody> + Send + Sync + 'static) -> Probe<(), Answer> {
    Probe::new(move |_| ready(Ok(make())))
}

fn only(records: &Recorder<Record>) -> Record {
    let mut records = records.take();
    assert_eq!(records.len(), 1, "one record a request");
    records.remove(0)
}

#[tokio::test(start_paused = true)]
async fn a_whole_reply_is_priced_in_its_header_and_at_its_end() {
    let (layer, records) = layer();
    let meter = Metered::default();
    meter.report(Usage::new(100, 50));
    let inner = serve(move || reply(&meter, &[Step::Sleep(SECOND), Step::data("{}")]));
    let response = layer.layer(inner).oneshot(chat(false)).await.unwrap();
    assert_eq!(response.headers()[COST_HEADER], "0.0002");
    assert!(records.take().is_empty(), "the reply has not ended");
    response.into_body().collect().await.unwrap();

    let record = only(&records);
    assert_eq!(record.ending, Ending::Complete);
    assert_eq!(record.status, Some(StatusCode::OK));
    assert_eq!(record.usage, Some(Usage::new(100, 50)));
    assert_eq!(record.cost, micros(200));
    assert_eq!((record.started, record.elapsed, record.first_token), (START, SECOND, None));
    assert_eq!(record.caller.user.as_deref(), Some("ann"));
    assert_eq!(record.ask.model(), Some("gpt"));
    assert_eq!(record.model().map(|model| &**model), Some("gpt-dated"));
    let rows = layer.totals().snapshot();
    let ann = rows.iter().find(|row| row.dimension == Dimension::User).unwrap();
    assert_eq!((&*ann.key, ann.total.requests, ann.total.cost), ("ann", 1, record.cost.unwrap()));
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_priced_by_the_usage_at_its_end() {
    let (layer, records) = layer();
    let meter = Metered::default();
    let steps = [Step::Sleep(SECOND), Step::data("a"), Step::Sleep(SECOND), Step::data("b")];
    let inner = {
        let meter = meter.clone();
        serve(move || reply(&meter, &steps))
    };
    let response = layer.layer(inner).oneshot(chat(true)).await.unwrap();
    assert!(!response.headers().contains_key(COST_HEADER));
    let mut body = response.into_body();
    body.frame().await.unwrap().unwrap();
    meter.saw_first_token(Instant::now());
    body.frame().await.unwrap().unwrap();
    meter.report(Usage::new(12, 4));
    assert!(body.frame().await.is_none());

    let record = only(&records);
    assert_eq!((record.ending, record.cost), (Ending::Complete, micros(20)));
    assert_eq!((record.first_token, record.elapsed), (Some(SECOND), 2 * SECOND));
    assert!(!record.usage.unwrap().is_estimate());
    drop(body);
    assert!(records.take().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_pays_for_what_it_was_sent() {
    let (layer, records) = layer();
    let meter = Metered::default();
    let inner = {
        let meter = meter.clone();
        serve(move || reply(&meter, &[Step::data("ab"), Step::Stall]))
    };
    let mut body = layer.layer(inner).oneshot(chat(true)).await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    meter.saw_output(20);
    drop(body);
    let record = only(&records);
    assert_eq!(record.ending, Ending::Dropped);
    assert_eq!(record.usage, Some(Usage::new(10, 5).estimated()));
    assert_eq!(record.cost, micros(20));
    assert_eq!(layer.totals().snapshot()[0].total.estimated, 1);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_is_failed_and_charged_for_what_passed() {
    let (layer, records) = layer();
    let meter = Metered::default();
    meter.saw_output(4);
    let inner = serve(move || reply(&meter, &[Step::data("ab"), Step::Error("reset")]));
    let body = layer.layer(inner).oneshot(chat(true)).await.unwrap().into_body();
    assert_eq!(body.collect().await.unwrap_err().to_string(), "reset");
    let record = only(&records);
    assert_eq!((record.ending, record.cost), (Ending::Failed, micros(12)));
}

#[tokio::test(start_paused = true)]
async fn a_request_cancelled_before_a_reply_has_no_usage() {
    let (layer, records) = layer();
    let inner = Probe::new(|_| pending::<Result<Response<ScriptedBody>, Infallible>>());
    let call = layer.layer(inner).oneshot(chat(true));
    assert!(tokio::time::timeout(SECOND, call).await.is_err());
    let record = only(&records);
    assert_eq!((record.ending, record.status), (Ending::Dropped, None));
    assert_eq!((record.usage, record.cost, record.elapsed), (None, None, SECOND));
    assert_eq!(record.ask.model(), Some("gpt"));
}

#[tokio::test(start_paused = true)]
async fn an_error_instead_of_a_reply_is_failed() {
    let (layer, records) = layer();
    let inner = Probe::new(|_| ready(Err::<Response<ScriptedBody>, BoxError>("refused".into())));
    assert!(layer.layer(inner).oneshot(chat(false)).await.is_err());
    let record = only(&records);
    assert_eq!((record.ending, record.status, record.cost), (Ending::Failed, None, None));
}

/// The record of a reply that `make` makes for `request`, read to its end.
async fn ended(request: Request<()>, make: fn() -> Response<ScriptedBody>) -> Record {
    let (layer, records) = layer();
    let response = layer.layer(serve(make)).oneshot(request).await.unwrap();
    response.into_body().collect().await.unwrap();
    only(&records)
}

#[tokio::test(start_paused = true)]
async fn only_a_success_that_uses_tokens_is_estimated() {
    fn silent() -> Response<ScriptedBody> {
        reply(&Metered::default(), &[])
    }
    for operation in [
        Operation::ChatCompletions,
        Operation::Completions,
        Operation::Responses,
        Operation::Embeddings,
    ] {
        let record = ended(request(operation, false), silent).await;
        assert_eq!(record.usage, Some(Usage::new(10, 0).estimated()), "{operation}");
    }
    for operation in [Operation::Models, Operation::Audio, Operation::Files, Operation::Other] {
        let record = ended(request(operation, false), silent).await;
        assert_eq!((record.usage, record.cost), (None, None), "{operation}");
    }
    let refused = ended(chat(false), || {
        let mut response = silent();
        *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
        response
    });
    let refused = refused.await;
    assert_eq!((refused.usage, refused.cost), (None, None));
    assert_eq!(refused.status, Some(StatusCode::TOO_MANY_REQUESTS));
}

#[tokio::test(start_paused = true)]
async fn a_report_counts_whatever_the_status_and_the_operation() {
    let record = ended(request(Operation::Audio, false), || {
        let meter = Metered::default();
        meter.report(Usage::new(3, 1));
        let mut response = reply(&meter, &[]);
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    });
    assert_eq!(record.await.cost, micros(5));
}

#[tokio::test(start_paused = true)]
async fn an_error_inside_a_200_counts_only_behind_content() {
    fn broken(output: u64) -> Response<ScriptedBody> {
        let meter = Metered::default();
        meter.saw_output(output);
        meter.fail(Failure::new(ErrorClass::Overloaded, "overloaded"));
        reply(&meter, &[])
    }
    assert_eq!(ended(chat(true), || broken(0)).await.usage, None);
    assert_eq!(ended(chat(true), || broken(8)).await.cost, micros(14));
}

#[tokio::test(start_paused = true)]
async fn unknown_is_not_zero() {
    let record = ended(chat(false), || {
        let mut response = reply(&Metered::default(), &[]);
        response.extensions_mut().insert(Target::new("lab", "main", Some("home-made".into())));
        response
    });
    let record = record.await;
    assert_eq!((record.usage.is_some(), record.cost), (true, None), "no price");
    let record = ended(Request::new(()), || Response::new(ScriptedBody::default())).await;
    assert_eq!((record.usage, record.cost), (None, None), "nothing known");
}

#[tokio::test(start_paused = true)]
async fn the_model_asked_for_is_priced_where_the_target_names_none() {
    let record = ended(chat(false), || {
        let mut response = reply(&Metered::default(), &[]);
        response.extensions_mut().insert(Target::new("openai", "main", None));
        response
    });
    assert_eq!(record.await.cost, micros(10));
}

#[tokio::test(start_paused = true)]
async fn the_header_is_ours_whole_and_optional() {
    fn early() -> Response<ScriptedBody> {
        let meter = Metered::default();
        meter.report(Usage::new(100, 1));
        let mut response = reply(&meter, &[]);
        response.headers_mut().insert(COST_HEADER, 99.into());
        response
    }
    fn events() -> Response<ScriptedBody> {
        let mut response = early();
        let event_stream = "Text/Event-Stream; charset=utf-8".parse().unwrap();
        response.headers_mut().insert(CONTENT_TYPE, event_stream);
        response
    }
    fn unknown() -> Response<ScriptedBody> {
        let mut response = early();
        response.extensions_mut().remove::<Target>();
        response
    }
    async fn header(layer: Layered, stream: bool, make: fn() -> Response<ScriptedBody>) -> String {
        let response = layer.layer(serve(make)).oneshot(chat(stream)).await.unwrap();
        let value = response.headers().get(COST_HEADER);
        value.map_or("none".into(), |value| value.to_str().unwrap().into())
    }
    assert_eq!(header(layer().0, false, early).await, "0.000102");
    assert_eq!(header(layer().0, true, early).await, "none", "first figures of a stream");
    assert_eq!(header(layer().0, false, events).await, "none", "a stream nobody asked for");
    assert_eq!(header(layer().0, false, unknown).await, "none", "somebody else's cost");
    assert_eq!(header(layer().0.with_header(false), false, early).await, "99", "untouched");
}

#[tokio::test(start_paused = true)]
async fn a_wall_clock_that_jumps_back_changes_no_duration() {
    let (layer, records) = layer();
    let seconds = AtomicU64::new(1_000_000);
    let layer =
        layer.with_clock(move || START + Duration::from_secs(seconds.fetch_sub(400_000, SeqCst)));
    for _ in 0..2 {
        let inner = serve(|| reply(&Metered::default(), &[Step::Sleep(SECOND)]));
        let response = layer.layer(inner).oneshot(chat(false)).await.unwrap();
        response.into_body().collect().await.unwrap();
        assert_eq!(only(&records).elapsed, SECOND);
    }
    let rows = layer.totals().snapshot().into_iter();
    let users = rows.filter(|row| row.dimension == Dimension::User && !row.period.is_month());
    assert_eq!(users.map(|row| row.total.requests).collect::<Vec<_>>(), [1, 1]);
}
