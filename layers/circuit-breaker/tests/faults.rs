//! Whose fault a failure is, and what counts for nothing.
#![allow(clippy::unwrap_used, reason = "test code outside test functions")]

mod support;

use http::{Request, Response, response::Parts};
use http_body_util::BodyExt;
use support::*;
use tollway_circuit_breaker::{
    CircuitBreakerLayer, CircuitOpen, Config, FindKey, Reason, State, Verdict,
};
use tollway_core::{BoxError, ErrorClass, Failure, Metered, find_error};
use tollway_testkit::{ScriptedBody, Step};
use tower::{Layer, ServiceExt, service_fn};

/// One failure opens it, so a state other than closed says that something counted.
fn touchy() -> Config {
    Config {
        consecutive_failures: Some(1),
        trial_requests: 1,
        trial_successes: 1,
        ..Config::default()
    }
}

async fn class_counted(script: Script) -> Option<ErrorClass> {
    let mut rig = rig(touchy());
    rig.times(1, script).await;
    let status = rig.handle.status(&"a").unwrap();
    assert_eq!(status.last_failure.is_some(), status.state != State::Closed);
    status.last_failure.map(|(class, _)| class)
}

/// Neither success nor failure: an open circuit's trial decides nothing, a streak goes on.
async fn counts_for_nothing(script: Script) {
    assert_eq!(class_counted(script.clone()).await, None);
    let mut trial = rig(touchy());
    trial.times(1, status(500)).await;
    pass(secs(300)).await;
    trial.times(3, script.clone()).await;
    assert_eq!(trial.state(), State::HalfOpen, "decided by {script:?}");
    let mut streak = rig(Config { consecutive_failures: Some(2), ..touchy() });
    streak.times(1, status(500)).await;
    streak.times(1, script).await;
    streak.times(1, status(500)).await;
    assert_eq!(streak.name(), "open");
}

#[tokio::test(start_paused = true)]
async fn statuses() {
    let cases = [
        (500, ErrorClass::Server),
        (502, ErrorClass::Server),
        (503, ErrorClass::Overloaded),
        (504, ErrorClass::Timeout),
        (529, ErrorClass::Overloaded),
        (408, ErrorClass::Timeout),
        (401, ErrorClass::Auth),
        (403, ErrorClass::Auth),
        (402, ErrorClass::Quota),
    ];
    for (code, class) in cases {
        assert_eq!(class_counted(status(code)).await, Some(class), "{code}");
    }
    for code in [400, 404, 409, 413, 422, 429] {
        counts_for_nothing(status(code)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_in_the_extensions_knows_better_than_the_status() {
    let quota = Script { failure: Some(ErrorClass::Quota), ..status(429) };
    let mut rig = rig(touchy());
    rig.times(1, quota).await;
    assert_eq!(rig.name(), "benched");
    assert_eq!(rig.refusal().await.reason(), Reason::Benched(ErrorClass::Quota));
    counts_for_nothing(Script { failure: Some(ErrorClass::ContentFilter), ..status(403) }).await;
}

#[tokio::test(start_paused = true)]
async fn errors_by_the_failure_inside_or_as_network_failures() {
    assert_eq!(class_counted(error(ErrorClass::Timeout)).await, Some(ErrorClass::Timeout));
    counts_for_nothing(error(ErrorClass::RateLimit)).await;
    counts_for_nothing(error(ErrorClass::Cancelled)).await;

    let layer = CircuitBreakerLayer::new(touchy(), |_: &http::request::Parts| Some(())).unwrap();
    let plain = service_fn(|_: Request<()>| async {
        Err::<Response<ScriptedBody>, _>(BoxError::from("connection reset"))
    });
    layer.layer(plain).oneshot(Request::new(())).await.unwrap_err();
    let (class, _) = layer.handle().status(&()).unwrap().last_failure.unwrap();
    assert_eq!(class, ErrorClass::Network);
}

#[tokio::test(start_paused = true)]
async fn another_breakers_refusal_counts_for_nothing() {
    let key = |_: &http::request::Parts| Some(());
    let inner = CircuitBreakerLayer::new(touchy(), key).unwrap();
    let outer = CircuitBreakerLayer::new(touchy(), key).unwrap();
    inner.handle().force_open(&());
    let service = outer.layer(inner.layer(service_fn(|_: Request<()>| async {
        Ok::<_, BoxError>(Response::new(ScriptedBody::default()))
    })));
    service.oneshot(Request::new(())).await.unwrap_err();
    assert_eq!(outer.handle().state(&()), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_breaks_half_way_counts_and_a_clients_hang_up_does_not() {
    let broken = body([Step::data("half"), Step::Error("reset")]);
    assert_eq!(class_counted(broken).await, Some(ErrorClass::Network));

    let mut rig = rig(Config { consecutive_failures: Some(2), ..touchy() });
    rig.times(1, status(500)).await;
    let mut reply = rig.head(body([Step::data("one"), Step::Stall])).await.unwrap();
    reply.body_mut().frame().await.unwrap().unwrap();
    drop(reply);
    let status_ = rig.handle.status(&"a").unwrap();
    assert_eq!((status_.state, status_.failures_in_a_row), (State::Closed, 1));
    rig.times(1, status(500)).await;
    assert_eq!(rig.name(), "open", "the hang-up was no success either");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_decided_before_the_end() {
    let mut rig = rig(touchy());
    let mut reply = rig.head(body([Step::data("one"), Step::Error("reset")])).await.unwrap();
    reply.body_mut().frame().await.unwrap().unwrap();
    assert_eq!(rig.state(), State::Closed);
    reply.body_mut().frame().await.unwrap().unwrap_err();
    assert_eq!(rig.name(), "open");
}

#[tokio::test(start_paused = true)]
async fn a_failure_noted_in_a_200_counts_even_if_the_client_left_on_seeing_it() {
    let noted = |class| {
        let meter = Metered::default();
        meter.fail(Failure::new(class, "event: error"));
        Script { meter: Some(meter), ..ok() }
    };
    assert_eq!(class_counted(noted(ErrorClass::Server)).await, Some(ErrorClass::Server));
    assert_eq!(class_counted(noted(ErrorClass::Quota)).await, Some(ErrorClass::Quota));
    counts_for_nothing(noted(ErrorClass::ContentFilter)).await;

    let mut rig = rig(touchy());
    drop(rig.head(noted(ErrorClass::Overloaded)).await.unwrap());
    assert_eq!(rig.name(), "open");
    assert_eq!(class_counted(Script { meter: Some(Metered::default()), ..ok() }).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_bad_key_benches_that_key() {
    let mut rig = rig(Config::default());
    rig.times(1, status(401)).await;
    assert!(!rig.handle.allows(&"a"));
    assert!(rig.handle.allows(&"b"));
    rig.times(1, ok().of("b")).await;
}

/// The part of a key before the slash, of keys that begin with `k`.
#[derive(Clone, Debug)]
struct Credential;

impl FindKey<String> for Credential {
    fn find_key(&self, request: &http::request::Parts) -> Option<String> {
        let found = key(request)?.split('/').next()?.to_owned();
        found.starts_with('k').then_some(found)
    }
}

#[tokio::test(start_paused = true)]
async fn a_layer_in_front_by_credential_reaches_keys_that_nobody_has_seen() {
    let targets = CircuitBreakerLayer::new(Config::default(), key as KeyFn).unwrap();
    let none = |_: &http::request::Parts| None::<String>;
    let credentials =
        CircuitBreakerLayer::new(Config::default(), none).unwrap().with_key(Credential);
    let circuits = credentials.handle();
    let service = credentials.layer(targets.layer(provider()));
    let send = async |script: Script| {
        let mut request = Request::new(());
        request.extensions_mut().insert(script);
        let sent = service.clone().oneshot(request).await;
        sent.err().is_none_or(|error| find_error::<CircuitOpen>(&*error).is_none())
    };
    assert!(send(status(401).of("k1/x")).await);
    assert!(!send(ok().of("k1/never-seen")).await);
    assert!(send(ok().of("k2/x")).await);
    assert!(send(status(401).of("other/x")).await && send(ok().of("other/y")).await);
    let states: Vec<_> = circuits.list().into_iter().map(|one| one.key).collect();
    assert!(states.len() == 2 && !circuits.allows(&"k1".to_owned()), "{states:?}");
}

#[tokio::test(start_paused = true)]
async fn keys_that_share_a_credential_are_benched_together() {
    let layer = CircuitBreakerLayer::new(Config::default(), key as KeyFn)
        .unwrap()
        .with_bench_together(|a, b| a[..2] == b[..2]);
    let events = tollway_testkit::Recorder::default();
    let layer = layer.with_hook(events.clone());
    let mut rig = Rig { handle: layer.handle(), service: layer.layer(provider()), events };
    for key in ["k1/x", "k1/y", "k1/forced", "k2/x"] {
        rig.times(1, ok().of(key)).await;
    }
    rig.handle.force_open(&"k1/forced");
    rig.times(1, status(401).of("k1/x")).await;
    let states = ["k1/x", "k1/y", "k1/forced", "k2/x"].map(|key| rig.handle.state(&key).as_str());
    assert_eq!(states, ["benched", "benched", "forced_open", "closed"]);
    let mut told: Vec<_> = rig.events.take().into_iter().map(|event| event.key).collect();
    told.sort_unstable();
    assert_eq!(told, ["k1/forced", "k1/x", "k1/y"], "forced open, then two benches");
}

#[tokio::test(start_paused = true)]
async fn a_closure_judges_heads_and_the_body_can_still_fail() {
    let teapot = |reply: Result<&Parts, &BoxError>| match reply {
        Ok(head) if head.status == 418 => {
            Verdict::Bench { class: ErrorClass::Auth, bench_for: Some(secs(7)) }
        }
        Ok(_) => Verdict::Success,
        Err(_) => Verdict::Ignore,
    };
    let layer = CircuitBreakerLayer::new(touchy(), key as KeyFn).unwrap().with_classifier(teapot);
    let handle = layer.handle();
    let send = async |script: Script| {
        let mut request = Request::new(());
        request.extensions_mut().insert(script);
        let reply = layer.layer(provider()).oneshot(request).await;
        let _ = reply.map(|reply| reply.into_body().collect()).unwrap().await;
    };
    send(status(500)).await;
    assert_eq!(handle.state(&"a"), State::Closed);
    send(body([Step::Error("reset")])).await;
    assert_eq!(handle.state(&"a").as_str(), "open");
    send(status(418).of("b")).await;
    let until = tokio::time::Instant::now() + secs(7);
    assert_eq!(handle.state(&"b"), State::Benched { until });
}
