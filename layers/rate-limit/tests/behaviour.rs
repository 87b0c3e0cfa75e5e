//! What callers see: refusals, endings, waits.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

mod support;

use std::{
    future::ready,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use http::{HeaderMap, Response};
use http_body_util::BodyExt;
use support::*;
use tokio::time::{Instant, advance, timeout};
use tollway_core::Ending;
use tollway_rate_limit::{
    Downgraded, EventKind, Key, Limit, Period, Quota, RateLimitLayer, Rule, Unit, WhenFull,
};
use tollway_testkit::{Probe, ScriptedBody, Step};
use tower::{Layer, ServiceExt};

type Inner = Probe<(), std::future::Ready<Result<Response<ScriptedBody>, std::io::Error>>>;

fn uses(used: Option<u64>) -> Inner {
    Probe::new(move |_| ready(Ok(reply(ScriptedBody::new([Step::data("x")]), used))))
}

fn fails() -> Inner {
    Probe::new(|_| ready(Err(std::io::Error::other("no connection"))))
}

fn remaining(layer: &RateLimitLayer<ByReply>, limit: &str) -> u64 {
    layer.handle().standing(limit, &Key::All).unwrap().remaining
}

#[tokio::test(start_paused = true)]
async fn the_promised_moment_is_kept() {
    let (layer, events) = layer([tokens(limit("one", bucket(10)))]);
    let service = layer.layer(uses(None));
    service.clone().oneshot(request(None, 10)).await.unwrap();
    advance(Duration::from_millis(250)).await;
    let error = exceeded(service.clone().oneshot(request(None, 5)).await);
    assert_eq!(error.retry_after(), Some(Duration::from_millis(250)));
    assert_eq!((error.standing().capacity, error.standing().remaining), (10, 2));
    assert_eq!(&**error.limit(), "one");
    let (never_fits, asked, available) = (false, 5, 2);
    let retry_after = error.retry_after();
    let refused = EventKind::Refused { never_fits, asked, available, retry_after };
    assert_eq!(kinds(&events), [("one".into(), refused)]);

    advance(Duration::from_nanos(249_999_999)).await;
    exceeded(service.clone().oneshot(request(None, 5)).await);
    advance(Duration::from_nanos(1)).await;
    service.oneshot(request(None, 5)).await.unwrap();
    assert_eq!(layer.handle().admitted(), [("one".into(), 2)]);
}

#[tokio::test(start_paused = true)]
async fn a_refused_request_costs_nothing_anywhere() {
    let (layer, _) = layer([
        tokens(limit("a", bucket(100))),
        Rule::new(limit("b", bucket(3)), Unit::Requests),
        tokens(limit("c", bucket(5))),
        Rule::new(limit("places", Quota::Concurrent { amount: 2 }), Unit::Custom(0)),
    ]);
    let service = layer.layer(uses(None));
    let held = service.clone().oneshot(request(None, 4)).await.unwrap();
    let before: Vec<_> = ["a", "b", "c", "places"].map(|name| remaining(&layer, name)).into();
    assert_eq!(before, [96, 2, 1, 1]);
    assert_eq!(&**exceeded(service.clone().oneshot(request(None, 4)).await).limit(), "c");
    let after: Vec<_> = ["a", "b", "c", "places"].map(|name| remaining(&layer, name)).into();
    assert_eq!(after, before);
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn a_request_larger_than_the_limit_never_fits() {
    for quota in [bucket(10), Quota::SlidingWindow { amount: 10, window: seconds(1) }] {
        let (layer, _) = layer([tokens(waits("small", quota, 60))]);
        let error = exceeded(layer.layer(uses(None)).oneshot(request(None, 11)).await);
        assert!(error.never_fits());
        assert_eq!(error.retry_after(), None);
        let mut headers = HeaderMap::new();
        error.write_headers(&mut headers);
        assert!(!headers.contains_key("retry-after"));
    }
}

#[tokio::test(start_paused = true)]
async fn every_ending_settles_to_what_was_used() {
    let minute = seconds(60);
    for (ending, used, left) in [
        (Some(Ending::Complete), Some(30), 70),
        (Some(Ending::Complete), None, 50),
        (Some(Ending::Failed), Some(20), 80),
        (Some(Ending::Dropped), Some(10), 90),
        (None, Some(10), 100),
    ] {
        let (layer, _) = layer([
            tokens(limit("window", Quota::SlidingWindow { amount: 100, window: minute })),
            tokens(limit("bucket", Quota::TokenBucket { amount: 1, per: minute, burst: 100 })),
            tokens(limit("day", Quota::Calendar { amount: 100, period: Period::Day })),
            tokens(limit("places", Quota::Concurrent { amount: 100 })),
            Rule::new(
                limit("requests", Quota::SlidingWindow { amount: 10, window: minute }),
                Unit::Requests,
            ),
        ]);
        let step =
            if ending == Some(Ending::Failed) { Step::Error("cut") } else { Step::data("x") };
        let inner: Inner = match ending {
            None => fails(),
            Some(_) => {
                Probe::new(move |_| ready(Ok(reply(ScriptedBody::new([step.clone()]), used))))
            }
        };
        let reply = layer.layer(inner).oneshot(request(None, 50)).await;
        let held = layer.handle().standing("bucket", &Key::All).unwrap().held;
        match (ending, reply) {
            (Some(Ending::Complete), Ok(reply)) => drop(reply.into_body().collect().await.unwrap()),
            (Some(Ending::Failed), Ok(reply)) => {
                assert!(reply.into_body().collect().await.is_err())
            }
            (Some(Ending::Dropped), Ok(reply)) => {
                assert_eq!(held, 50);
                drop(reply);
            }
            (None, Err(_)) => {}
            other => panic!("{:?}", other.0),
        }
        for limit in ["window", "bucket", "day"] {
            assert_eq!(remaining(&layer, limit), left, "{limit} after {ending:?}");
            assert_eq!(layer.handle().standing(limit, &Key::All).unwrap().held, 0);
        }
        assert_eq!(remaining(&layer, "places"), 100);
        assert_eq!(remaining(&layer, "requests"), 9, "a request counts however it ended");
    }
}

#[tokio::test(start_paused = true)]
async fn a_debt_delays_the_next_request() {
    let (layer, events) = layer([tokens(limit("one", bucket(10)))]);
    let service = layer.layer(uses(Some(35)));
    drop(service.clone().oneshot(request(None, 5)).await.unwrap());
    assert_eq!(kinds(&events), [("one".into(), EventKind::Debt { reserved: 5, spent: 35 })]);
    let error = exceeded(service.clone().oneshot(request(None, 1)).await);
    assert_eq!(error.retry_after(), Some(Duration::from_millis(2_600)));
    assert_eq!(error.standing().remaining, 0);
    exceeded(service.oneshot(request(None, 0)).await);
}

#[tokio::test(start_paused = true)]
async fn a_shadow_only_tells() {
    let shadow = Limit::builder("shadow", bucket(1)).enforce(false).build().unwrap();
    let (layer, events) = layer([tokens(shadow)]);
    let service = layer.layer(uses(None));
    drop(service.clone().oneshot(request(None, 1)).await.unwrap());
    assert!(events.take().is_empty());
    drop(service.clone().oneshot(request(None, 1)).await.unwrap());
    assert_eq!(kinds(&events), [("shadow".into(), EventKind::WouldHaveRefused)]);
    advance(seconds(1)).await;
    drop(service.oneshot(request(None, 1)).await.unwrap());
    assert!(events.take().is_empty(), "what it would have refused was not counted");
}

#[tokio::test(start_paused = true)]
async fn a_warning_is_told_once_a_climb() {
    let warns = Limit::builder("warns", bucket(10)).warn_at(80).build().unwrap();
    let (layer, events) = layer([tokens(warns)]);
    let service = layer.layer(uses(None));
    for (wants, told) in [(7, 0), (1, 1), (1, 0)] {
        drop(service.clone().oneshot(request(None, wants)).await.unwrap());
        assert_eq!(events.take().len(), told, "after {wants}");
    }
    advance(seconds(1)).await;
    drop(service.clone().oneshot(request(None, 1)).await.unwrap());
    drop(service.oneshot(request(None, 8)).await.unwrap());
    assert_eq!(kinds(&events), [("warns".into(), EventKind::Warned { used: 9, capacity: 10 })]);
}

#[tokio::test(start_paused = true)]
async fn keys_are_apart_and_headroom_is_kept() {
    let ninety = Limit::builder("user", bucket(10)).headroom(10).build().unwrap();
    let (layer, _) = layer([tokens(ninety)]);
    let service = layer.layer(uses(None));
    for user in ["ann", "bob"] {
        drop(service.clone().oneshot(request(Some(user), 9)).await.unwrap());
        exceeded(service.clone().oneshot(request(Some(user), 1)).await);
    }
    assert_eq!(layer.handle().keys("user"), Some(2));
}

#[tokio::test(start_paused = true)]
async fn the_handle_sees_without_taking() {
    let (layer, _) = layer([tokens(limit("user", bucket(10)))]);
    let (handle, service) = (layer.handle(), layer.layer(uses(None)));
    let parts = |wants| request(Some("ann"), wants).into_parts().0;
    assert!(handle.would_admit(&parts(10)) && !handle.would_admit(&parts(11)));
    assert_eq!(handle.keys("user"), Some(0), "looking makes no key");
    drop(service.oneshot(request(Some("ann"), 4)).await.unwrap());
    let ann = Key::from("ann");
    assert!(handle.would_admit_key("user", &ann, 6) && !handle.would_admit_key("user", &ann, 7));
    assert!(handle.would_admit_key("no such limit", &ann, 7));
    let standing = handle.standing("user", &ann).unwrap();
    assert_eq!((standing.remaining, standing.reset), (6, Some(Duration::from_millis(400))));
}

#[tokio::test(start_paused = true)]
async fn a_budget_goes_by_the_injected_date() {
    let day = seconds(86_400);
    let date = Arc::new(Mutex::new(SystemTime::UNIX_EPOCH + day * 20_000 + seconds(3600)));
    let clock = date.clone();
    let limit = Limit::new("spend", Quota::Calendar { amount: 20, period: Period::Day }).unwrap();
    let rule = Rule::new(limit, Unit::NanoUsd).estimate(|_| 15);
    let layer = RateLimitLayer::builder([rule], ())
        .wall_clock(move || *clock.lock().unwrap())
        .build()
        .unwrap();
    let service = layer.layer(uses(None));
    drop(service.clone().oneshot(request(None, 0)).await.unwrap());
    let error = exceeded(service.clone().oneshot(request(None, 0)).await);
    assert_eq!(error.retry_after(), Some(seconds(23 * 3600)));
    *date.lock().unwrap() -= seconds(1800);
    exceeded(service.clone().oneshot(request(None, 0)).await);
    *date.lock().unwrap() -= day * 30_000;
    exceeded(service.clone().oneshot(request(None, 0)).await);
    *date.lock().unwrap() += day * 30_001;
    drop(service.oneshot(request(None, 0)).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn headers_tell_the_numbers() {
    let quota = Quota::SlidingWindow { amount: 100, window: seconds(60) };
    for (unit, word) in [(Unit::Requests, "requests"), (Unit::Tokens, "tokens")] {
        let rule = Rule::new(limit("user minute", quota), unit).estimate(|_| 75);
        let layer = RateLimitLayer::new([rule], ()).unwrap();
        let service = layer.layer(uses(None));
        drop(service.clone().oneshot(request(None, 0)).await.unwrap());
        advance(Duration::from_millis(500)).await;
        let error = exceeded(service.oneshot(request(None, 0)).await);
        let mut headers = HeaderMap::new();
        error.write_headers(&mut headers);
        let header = |name: &str| headers[name].to_str().unwrap();
        assert_eq!(header("retry-after"), "60");
        assert_eq!(header("ratelimit-policy"), "\"user minute\";q=100;w=60");
        assert_eq!(header("ratelimit"), "\"user minute\";r=25;t=60");
        assert_eq!(header(&format!("x-ratelimit-limit-{word}")), "100");
        assert_eq!(header(&format!("x-ratelimit-remaining-{word}")), "25");
        assert_eq!(header(&format!("x-ratelimit-reset-{word}")), "59.5s");
        assert_eq!(headers.len(), 6);
        assert!(error.to_string().contains("try again in 60 s"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn waits_as_long_as_needed_in_the_order_of_arrival() {
    let (layer, events) = layer([tokens(waits("one", bucket(10), 5))]);
    let service = layer.layer(uses(None));
    drop(service.clone().oneshot(request(None, 10)).await.unwrap());
    let start = Instant::now();
    let done = Arc::new(Mutex::new(Vec::new()));
    let tasks: Vec<_> = [5, 10, 1]
        .into_iter()
        .map(|wants| {
            let (service, done) = (service.clone(), done.clone());
            tokio::spawn(async move {
                drop(service.oneshot(request(None, wants)).await.unwrap());
                done.lock().unwrap().push((wants, start.elapsed().as_millis()));
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(*done.lock().unwrap(), [(5, 500), (10, 1500), (1, 1600)]);
    let waited = |millis| ("one".into(), EventKind::Waited(Duration::from_millis(millis)));
    assert_eq!(kinds(&events), [waited(500), waited(1500), waited(1600)]);
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_can_not_succeed_is_refused_at_once() {
    let (layer, _) = layer([tokens(waits("one", bucket(10), 2))]);
    let service = layer.layer(uses(None));
    drop(service.clone().oneshot(request(None, 10)).await.unwrap());
    let wait = || tokio::spawn(service.clone().oneshot(request(None, 10)));
    let line = [wait(), wait()];
    tokio::task::yield_now().await;
    // Those in front go after 1 and 2 s, so this one could go after 2.1 s.
    let start = Instant::now();
    let error = exceeded(service.clone().oneshot(request(None, 1)).await);
    assert_eq!(Instant::now(), start);
    assert_eq!(error.retry_after(), Some(Duration::from_millis(2_100)));
    assert_eq!(error.standing().waiting, 2);
    for waiter in line {
        drop(waiter.await.unwrap().unwrap());
    }
    assert_eq!(start.elapsed(), seconds(2));
}

#[tokio::test(start_paused = true)]
async fn a_wait_is_bounded() {
    let (layer, _) = layer([tokens(waits("places", Quota::Concurrent { amount: 1 }, 3))]);
    let service = layer.layer(uses(None));
    let held = service.clone().oneshot(request(None, 1)).await.unwrap();
    let start = Instant::now();
    let error = exceeded(service.clone().oneshot(request(None, 1)).await);
    assert_eq!((start.elapsed(), error.retry_after()), (seconds(3), None));
    assert_eq!(layer.handle().standing("places", &Key::All).unwrap().waiting, 0);
    drop(held);
    service.oneshot(request(None, 1)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn tokens_that_come_back_early_let_the_waiter_go_early() {
    let (layer, _) = layer([tokens(waits("one", bucket(10), 5))]);
    let service = layer.layer(uses(Some(1)));
    let running = service.clone().oneshot(request(None, 10)).await.unwrap();
    let start = Instant::now();
    let waiter = tokio::spawn(service.oneshot(request(None, 9)));
    tokio::task::yield_now().await;
    advance(Duration::from_millis(100)).await;
    drop(running);
    drop(waiter.await.unwrap().unwrap());
    assert_eq!(start.elapsed(), Duration::from_millis(100));
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_leaves_passes_its_turn_on() {
    let (layer, _) = layer([tokens(waits("one", bucket(10), 60))]);
    let service = layer.layer(uses(None));
    drop(service.clone().oneshot(request(None, 10)).await.unwrap());
    let start = Instant::now();
    let leaves = timeout(Duration::from_millis(200), service.clone().oneshot(request(None, 10)));
    let leaves = tokio::spawn(leaves);
    tokio::task::yield_now().await;
    let next = tokio::spawn(service.clone().oneshot(request(None, 3)));
    assert!(leaves.await.unwrap().is_err());
    drop(next.await.unwrap().unwrap());
    assert_eq!(start.elapsed(), Duration::from_millis(300));
    assert_eq!(remaining(&layer, "one"), 0);
}

/// Ten times the load that a provider allows: it is given no more in any window, and nearly all.
#[tokio::test(start_paused = true)]
async fn a_providers_window_is_kept_and_used() {
    let window = Quota::SlidingWindow { amount: 50, window: seconds(60) };
    let (layer, _) = layer([tokens(waits("provider", window, 3600))]);
    let (service, start) = (layer.layer(uses(None)), Instant::now());
    let came = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for _ in 0..500 {
        let (service, came) = (service.clone(), came.clone());
        tasks.push(tokio::spawn(async move {
            drop(service.oneshot(request(None, 1)).await.unwrap());
            came.lock().unwrap().push(start.elapsed());
        }));
        tokio::time::sleep(Duration::from_millis(120)).await;
    }
    for task in tasks {
        task.await.unwrap();
    }
    let came = came.lock().unwrap();
    for from in came.iter() {
        let inside = came.iter().filter(|at| (*from..*from + seconds(60)).contains(at));
        assert!(inside.count() <= 50);
    }
    // 500 at 50 a minute, of which the first 50 need no minute.
    assert!(*came.last().unwrap() <= seconds(9 * 60 * 105 / 100), "{:?}", came.last());
}

/// A slow user in line does not hold up the others at the limit that all share.
#[tokio::test(start_paused = true)]
async fn only_the_same_key_waits_behind() {
    let all = waits("all", bucket(100), 60);
    let (layer, _) =
        layer([tokens(waits("user", bucket(1), 60)), tokens(all).key(|_| Some(Key::All))]);
    let service = layer.layer(uses(None));
    drop(service.clone().oneshot(request(Some("ann"), 1)).await.unwrap());
    let ann = tokio::spawn(service.clone().oneshot(request(Some("ann"), 1)));
    tokio::task::yield_now().await;
    let start = Instant::now();
    drop(service.clone().oneshot(request(Some("bob"), 1)).await.unwrap());
    assert_eq!(Instant::now(), start);
    drop(ann.await.unwrap().unwrap());
}

/// A waiter takes nothing while it waits, and is refused if a limit that rejects fills meanwhile.
#[tokio::test(start_paused = true)]
async fn a_limit_that_rejects_still_rejects_after_a_wait() {
    let window = Quota::SlidingWindow { amount: 2, window: seconds(60) };
    let (layer, _) = layer([
        tokens(waits("user", bucket(1), 60)),
        tokens(limit("window", window)).key(|_| Some(Key::All)),
    ]);
    let service = layer.layer(uses(None));
    drop(service.clone().oneshot(request(Some("ann"), 1)).await.unwrap());
    let waiter = tokio::spawn(service.clone().oneshot(request(Some("ann"), 1)));
    tokio::task::yield_now().await;
    assert_eq!(remaining(&layer, "window"), 1);
    drop(service.clone().oneshot(request(Some("bob"), 1)).await.unwrap());
    assert_eq!(&**exceeded(waiter.await.unwrap()).limit(), "window");
}

#[tokio::test(start_paused = true)]
async fn what_was_granted_to_a_waiter_that_left_goes_back() {
    let (layer, _) = layer([tokens(waits("places", Quota::Concurrent { amount: 1 }, 60))]);
    let service = layer.layer(uses(None));
    let held = service.clone().oneshot(request(None, 1)).await.unwrap();
    let mut waiter = Box::pin(service.clone().oneshot(request(None, 1)));
    assert!(futures_poll(&mut waiter).is_pending());
    drop(held);
    assert_eq!(remaining(&layer, "places"), 0, "granted, though not polled yet");
    drop(waiter);
    assert_eq!(remaining(&layer, "places"), 1);
}

fn futures_poll<F: Future + Unpin>(future: &mut F) -> std::task::Poll<F::Output> {
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    std::pin::Pin::new(future).poll(&mut cx)
}

#[test]
fn bad_settings_are_refused() {
    let ok = bucket(1);
    assert!(Limit::new("", ok).is_err());
    assert!(Limit::new("quo\"te", ok).is_err());
    assert!(Limit::new("a".repeat(65), ok).is_err());
    assert!(Limit::new("zero", bucket(0)).is_err());
    for quota in [
        Quota::TokenBucket { amount: 1, per: Duration::ZERO, burst: 1 },
        Quota::TokenBucket { amount: 1, per: seconds(1), burst: 0 },
        Quota::SlidingWindow { amount: 1, window: Duration::MAX },
        Quota::Concurrent { amount: 0 },
    ] {
        assert!(Limit::new("limit", quota).is_err(), "{quota:?}");
    }
    assert!(Limit::builder("limit", ok).headroom(100).build().is_err());
    assert!(Limit::builder("limit", ok).warn_at(0).build().is_err());
    assert!(Limit::builder("limit", ok).warn_at(101).build().is_err());
    let wait = Limit::builder("limit", ok).when_full(WhenFull::Wait(Duration::ZERO));
    assert!(wait.build().is_err());
}

#[tokio::test(start_paused = true)]
async fn what_is_used_up_is_told_and_what_is_only_reserved_is_not() {
    let warned = Limit::builder("one", bucket(10)).warn_at(80).build().unwrap();
    let (layer, events) = layer([tokens(warned)]);
    drop(layer.layer(uses(Some(5))).oneshot(request(None, 10)).await.unwrap());
    let warned = EventKind::Warned { used: 10, capacity: 10 };
    assert_eq!(kinds(&events), [("one".into(), warned)]);
    drop(layer.layer(uses(Some(6))).oneshot(request(None, 1)).await.unwrap());
    let told: Vec<_> = kinds(&events).into_iter().map(|(_, kind)| kind).collect();
    assert!(told.contains(&EventKind::Filled { used: 11, capacity: 10 }), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn who_is_downgraded_goes_on_and_owes_what_it_used() {
    let day = Quota::Calendar { amount: 10, period: Period::Day };
    let spend = Limit::builder("spend", day).when_full(WhenFull::Downgrade).build().unwrap();
    let (layer, events) = layer([tokens(spend), tokens(waits("places", bucket(8), 60))]);
    let seen = Arc::new(Mutex::new(Vec::<Vec<String>>::new()));
    let see = seen.clone();
    let service = layer.layer(Probe::new(move |request: http::Request<()>| {
        let over = request.extensions().get::<Downgraded>();
        let over =
            over.map(|over| over.limits().iter().map(|one| one.limit().to_string()).collect());
        see.lock().unwrap().push(over.unwrap_or_default());
        ready(Ok::<_, std::io::Error>(reply(ScriptedBody::new([Step::data("x")]), Some(6))))
    }));
    for _ in 0..3 {
        // The third also waits, for the other limit.
        drop(service.clone().oneshot(request(None, 8)).await.unwrap());
    }
    let spend = || vec!["spend".to_string()];
    assert_eq!(*seen.lock().unwrap(), [vec![], spend(), spend()]);
    let downgraded = kinds(&events).into_iter().filter(|(_, kind)| *kind == EventKind::Downgraded);
    assert_eq!(downgraded.count(), 2);
    let standing = layer.handle().standing("spend", &Key::All).unwrap();
    assert_eq!((standing.remaining, standing.held), (0, 0));
    assert!(layer.handle().would_admit_key("spend", &Key::All, 0));
    // Eighteen are used: a refusal by another limit takes nothing of it.
    let error = exceeded(service.oneshot(request(None, 9)).await);
    assert_eq!(&**error.limit(), "places");
}
