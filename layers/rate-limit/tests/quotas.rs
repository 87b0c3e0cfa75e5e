//! Keys that have a quota of their own for a time.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

mod support;

use std::{
    future::ready,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::{HeaderMap, Response};
use support::*;
use tokio::time::{Instant, advance};
use tollway_rate_limit::{EventKind, Key, Limit, Period, Quota, RateLimitLayer, Rule, Unit};
use tollway_store::sqlite::{Sqlite, SqliteLimits};
use tollway_testkit::{Probe, ScriptedBody, Step};
use tower::{Layer, ServiceExt};

type Inner = Probe<(), std::future::Ready<Result<Response<ScriptedBody>, std::io::Error>>>;

fn answers() -> Inner {
    Probe::new(|_| ready(Ok(reply(ScriptedBody::new([Step::data("x")]), None))))
}

fn slow(amount: u64) -> Quota {
    Quota::TokenBucket { amount, per: seconds(86_400), burst: amount }
}

fn month(amount: u64) -> Quota {
    Quota::Calendar { amount, period: Period::Month }
}

fn ann() -> Key {
    Key::from("ann")
}

async fn takes(layer: &RateLimitLayer<ByReply>, user: &str, wants: u64) -> bool {
    layer.layer(answers()).oneshot(request(Some(user), wants)).await.is_ok()
}

fn left(layer: &RateLimitLayer<ByReply>, user: &str) -> (u64, u64) {
    let standing = layer.handle().standing("one", &Key::from(user)).unwrap();
    (standing.remaining, standing.capacity)
}

/// A date that tests move.
#[derive(Clone, Default)]
struct Date(Arc<AtomicU64>);

impl Date {
    fn at(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.0.load(Ordering::Relaxed))
    }

    async fn pass(&self, time: Duration) {
        self.0.fetch_add(time.as_secs(), Ordering::Relaxed);
        advance(time).await;
    }
}

impl tollway_core::WallClock for Date {
    fn now(&self) -> SystemTime {
        self.at()
    }
}

fn dated(rule: Rule) -> (RateLimitLayer<ByReply>, Date) {
    let date = Date::default();
    let layer = RateLimitLayer::builder([rule], ByReply::default()).wall_clock(date.clone());
    (layer.build().unwrap(), date)
}

#[tokio::test(start_paused = true)]
async fn one_key_is_let_in_more_or_less_and_then_as_before() {
    let sliding: fn(u64) -> Quota =
        |amount| Quota::SlidingWindow { amount, window: seconds(86_400) };
    let places: fn(u64) -> Quota = |amount| Quota::Concurrent { amount };
    type Case = (fn(u64) -> Quota, [u64; 2]);
    let kinds: [Case; 4] = [
        // A bucket keeps its share, all else what was used.
        (slow, [60, 3]),
        (sliding, [96, 1]),
        (month, [96, 1]),
        (places, [100, 5]),
    ];
    for (quota, [more, less]) in kinds {
        let (layer, _) = layer([tokens(limit("one", quota(10)))]);
        let handle = layer.handle();
        assert!(takes(&layer, "ann", 4).await && takes(&layer, "ben", 4).await);
        let before = (left(&layer, "ann"), left(&layer, "ben"));
        handle.set_quota("one", &ann(), quota(100), None).unwrap();
        assert_eq!(left(&layer, "ann"), (more, 100), "{:?}", quota(1));
        assert!(takes(&layer, "ann", 0).await && !takes(&layer, "ann", more + 1).await);
        assert_eq!((left(&layer, "ben"), handle.quotas("one").unwrap().len()), (before.1, 1));
        handle.set_quota("one", &ann(), quota(5), None).unwrap();
        assert_eq!(left(&layer, "ann"), (less, 5), "{:?}", quota(1));
        assert!(!takes(&layer, "ann", less + 1).await);
        assert!(handle.remove_quota("one", &ann()) && !handle.remove_quota("one", &ann()));
        assert_eq!((left(&layer, "ann"), left(&layer, "ben")), before, "{:?}", quota(1));
    }
}

#[tokio::test(start_paused = true)]
async fn it_ends_by_the_date_without_any_request() {
    let (layer, date) = dated(tokens(limit("one", slow(10))));
    let until = date.at() + seconds(3600);
    layer.handle().set_quota("one", &ann(), slow(100), Some(until)).unwrap();
    assert!(takes(&layer, "ann", 100).await);
    date.pass(seconds(3599)).await;
    assert_eq!(left(&layer, "ann").1, 100);
    assert_eq!(layer.handle().quotas("one").unwrap()[0].1.until, Some(until));
    date.pass(seconds(1)).await;
    assert_eq!((left(&layer, "ann").1, layer.handle().quotas("one").unwrap().len()), (10, 0));
    assert!(!takes(&layer, "ann", 10).await, "a share of it came back, not all");
    // One that was over before it came changes nothing.
    layer.handle().set_quota("one", &ann(), slow(100), Some(date.at())).unwrap();
    assert_eq!(left(&layer, "ann").1, 10);
    // The date was put forward: that is noticed within a minute.
    layer.handle().set_quota("one", &ann(), slow(100), Some(date.at() + seconds(7200))).unwrap();
    date.0.fetch_add(7200, Ordering::Relaxed);
    advance(seconds(60)).await;
    assert_eq!(left(&layer, "ann").1, 10);
}

#[tokio::test(start_paused = true)]
async fn who_waits_in_line_goes_by_it() {
    let (layer, date) = dated(tokens(waits("one", slow(10), 1_000_000)));
    let handle = layer.handle();
    assert!(takes(&layer, "ann", 10).await);
    let service = layer.layer(answers());
    let began = Instant::now();
    let waiting = tokio::spawn(service.clone().oneshot(request(Some("ann"), 10)));
    tokio::task::yield_now().await;
    let quota = Quota::TokenBucket { amount: 10, per: seconds(10), burst: 10 };
    handle.set_quota("one", &ann(), quota, None).unwrap();
    waiting.await.unwrap().unwrap();
    assert_eq!(began.elapsed(), seconds(10));
    // And by the limit's own when it ends.
    let until = date.at() + seconds(60);
    handle.set_quota("one", &ann(), slow(10), Some(until)).unwrap();
    let waiting = tokio::spawn(service.oneshot(request(Some("ann"), 10)));
    tokio::task::yield_now().await;
    assert_eq!(handle.standing("one", &ann()).unwrap().waiting, 1);
    date.pass(seconds(60)).await;
    assert_eq!(handle.standing("one", &ann()).unwrap().quota, slow(10));
    waiting.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_can_not_be_changes_nothing() {
    let (layer, _) = layer([tokens(limit("one", month(10)))]);
    let handle = layer.handle();
    let day = Quota::Calendar { amount: 10, period: Period::Day };
    for wrong in [slow(10), day, month(0)] {
        assert!(handle.set_quota("one", &ann(), wrong, None).is_err(), "{wrong:?}");
    }
    assert!(handle.set_quota("two", &ann(), month(10), None).is_err());
    assert!(!handle.remove_quota("two", &ann()) && handle.quotas("two").is_none());
    assert_eq!(handle.quotas("one").unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn a_bounded_request_is_never_larger_than_what_its_key_has() {
    let (bound, _) = layer([tokens(limit("one", month(10))).bounded()]);
    let (free, _) = layer([tokens(limit("one", month(10)))]);
    for layer in [&bound, &free] {
        layer.handle().set_quota("one", &ann(), month(4), None).unwrap();
        layer.handle().set_quota("one", &Key::from("ben"), month(100), None).unwrap();
    }
    let service = |layer: &RateLimitLayer<ByReply>| layer.layer(answers());
    let error = exceeded(service(&free).oneshot(request(Some("ann"), 7)).await);
    assert!(error.never_fits());
    let held = service(&bound).oneshot(request(Some("ann"), 7)).await.unwrap();
    assert_eq!(left(&bound, "ann"), (0, 4));
    drop(held);
    let held = service(&bound).oneshot(request(Some("ben"), 70)).await.unwrap();
    assert_eq!(left(&bound, "ben"), (30, 100), "the whole of it, and no debt later");
    drop(held);
    let parts = request(Some("kim"), 70).into_parts().0;
    assert!(bound.handle().would_admit(&parts) && !free.handle().would_admit(&parts));
}

#[tokio::test(start_paused = true)]
async fn other_rules_keep_it_as_far_as_it_fits() {
    let of = |quota| {
        let limit = Limit::builder("one", quota).headroom(50).build().unwrap();
        vec![tokens(limit)]
    };
    let (old, _) = layer([tokens(limit("one", slow(10)))]);
    old.handle().set_quota("one", &ann(), slow(100), None).unwrap();
    assert!(takes(&old, "ann", 40).await);
    let next = |old: &_, rules: Vec<Rule>| {
        RateLimitLayer::builder(rules, ByReply::default()).resume(old).build().unwrap()
    };
    let half = next(&old, of(slow(20)));
    assert_eq!((left(&half, "ann"), left(&half, "ben")), ((30, 50), (10, 10)));
    let other = next(&half, of(month(20)));
    assert_eq!((left(&other, "ann"), other.handle().quotas("one").unwrap().len()), ((10, 10), 0));
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_keys_leaves_it_its_place() {
    let builder = RateLimitLayer::builder([tokens(limit("one", month(10)))], ByReply::default());
    let layer = builder.max_keys(1).build().unwrap();
    assert!(takes(&layer, "first", 10).await && takes(&layer, "others", 10).await);
    layer.handle().set_quota("one", &ann(), month(5), None).unwrap();
    assert!(takes(&layer, "ann", 5).await && !takes(&layer, "ann", 1).await);
    assert_eq!((left(&layer, "ann"), left(&layer, "kim")), ((0, 5), (0, 10)));
}

#[tokio::test(start_paused = true)]
async fn headers_and_warnings_tell_it() {
    let warns = Limit::builder("one", slow(10)).warn_at(50).build().unwrap();
    let (layer, events) = layer([tokens(warns)]);
    let day = seconds(86_400);
    let quota = Quota::TokenBucket { amount: 100, per: day, burst: 200 };
    layer.handle().set_quota("one", &ann(), quota, None).unwrap();
    assert!(takes(&layer, "ann", 99).await);
    assert_eq!(kinds(&events), []);
    assert!(takes(&layer, "ann", 1).await);
    let warned = EventKind::Warned { used: 100, capacity: 200 };
    assert_eq!(kinds(&events), [("one".into(), warned)]);
    let error = exceeded(layer.layer(answers()).oneshot(request(Some("ann"), 101)).await);
    let mut headers = HeaderMap::new();
    error.write_headers(&mut headers);
    assert_eq!(headers["x-ratelimit-limit-tokens"], "200");
    assert_eq!(headers["ratelimit-policy"], "\"one\";q=200;w=172800");
    let own = error.standing().own.unwrap();
    assert_eq!((own.quota, own.until), (quota, None));
}

#[tokio::test]
async fn what_was_used_of_it_outlives_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let start = || {
        let file = Sqlite::open(folder.path().join("limits.db")).unwrap();
        let builder = RateLimitLayer::builder(
            [tokens(limit("one", slow(10))), Rule::new(limit("all", month(9)), Unit::Requests)],
            ByReply::default(),
        );
        let builder = builder.journal(Arc::new(SqliteLimits::new(Arc::new(file)))).unwrap();
        let layer = builder.build().unwrap();
        layer.handle().set_quota("one", &ann(), slow(1000), None).unwrap();
        layer
    };
    let layer = start();
    assert!(takes(&layer, "ann", 700).await);
    layer.save().unwrap();
    drop(layer);
    let layer = start();
    let (left, capacity) = left(&layer, "ann");
    assert!((300..=301).contains(&left) && capacity == 1000, "{left} of {capacity}");
    assert!(!takes(&layer, "ann", 302).await && takes(&layer, "ann", 300).await);
}
