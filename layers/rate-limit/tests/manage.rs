//! What an operator asks of limits while traffic flows.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

mod support;

use std::future::ready;

use http::Response;
use support::*;
use tokio::time::advance;
use tollway_rate_limit::{Key, Period, Quota};
use tollway_testkit::{Probe, ScriptedBody, Step};
use tower::{Layer, ServiceExt};

type Inner = Probe<(), std::future::Ready<Result<Response<ScriptedBody>, std::io::Error>>>;

fn answers() -> Inner {
    Probe::new(|_| ready(Ok(reply(ScriptedBody::new([Step::data("x")]), None))))
}

fn slow(amount: u64) -> Quota {
    Quota::TokenBucket { amount, per: seconds(86_400), burst: amount }
}

#[tokio::test(start_paused = true)]
async fn a_reset_gives_back_all_but_what_is_held() {
    let sliding = Quota::SlidingWindow { amount: 10, window: seconds(86_400) };
    let month = Quota::Calendar { amount: 10, period: Period::Month };
    for (quota, before, after) in [
        (slow(10), 3, 7),
        (sliding, 3, 7),
        (month, 3, 7),
        (Quota::Concurrent { amount: 10 }, 7, 10),
    ] {
        let (layer, _) = layer([tokens(limit("one", quota))]);
        let (service, handle) = (layer.layer(answers()), layer.handle());
        let left = |user: &str| handle.standing("one", &Key::from(user)).unwrap().remaining;
        drop(service.clone().oneshot(request(Some("ann"), 4)).await.unwrap());
        drop(service.clone().oneshot(request(Some("ben"), 1)).await.unwrap());
        let others = left("ben");
        let held = service.oneshot(request(Some("ann"), 3)).await.unwrap();
        assert_eq!(left("ann"), before, "{quota:?}");
        assert!(handle.reset("one", &Key::from("ann")));
        assert_eq!((left("ann"), left("ben")), (7, others), "{quota:?}");
        drop(held);
        assert_eq!(left("ann"), after, "{quota:?}");
        assert!(!handle.reset("one", &Key::from("nobody")) && !handle.reset("two", &Key::All));
    }
}

#[tokio::test(start_paused = true)]
async fn a_reset_lets_those_in_line_go() {
    let (layer, _) = layer([tokens(waits("one", slow(10), 100_000))]);
    let service = layer.layer(answers());
    drop(service.clone().oneshot(request(None, 10)).await.unwrap());
    let waiting = tokio::spawn(service.oneshot(request(None, 10)));
    tokio::task::yield_now().await;
    assert_eq!(layer.handle().standing("one", &Key::All).unwrap().waiting, 1);
    let began = tokio::time::Instant::now();
    assert!(layer.handle().reset("one", &Key::All));
    waiting.await.unwrap().unwrap();
    assert_eq!(began.elapsed(), seconds(0));
}

#[tokio::test(start_paused = true)]
async fn all_keys_are_told_and_forgotten_once_they_are_like_new() {
    const USERS: usize = 600;
    let (layer, _) = layer([tokens(limit("one", bucket(10)))]);
    let (service, handle) = (layer.layer(answers()), layer.handle());
    for user in 0..USERS {
        let user = format!("user {user}");
        drop(service.clone().oneshot(request(Some(&user), 4)).await.unwrap());
    }
    let mut entries = handle.entries("one").unwrap();
    assert!(entries.iter().all(|(_, standing)| standing.remaining == 6));
    entries.sort_by_key(|(key, _)| key.to_string());
    entries.dedup_by_key(|(key, _)| key.to_string());
    assert_eq!((entries.len(), handle.sweep("one")), (USERS, Some(0)));
    let held = service.oneshot(request(Some("user 7"), 1)).await.unwrap();
    advance(seconds(1)).await;
    assert_eq!((handle.sweep("one"), handle.keys("one")), (Some(USERS - 1), Some(1)));
    drop(held);
    assert_eq!((handle.sweep("two"), handle.entries("two").is_none()), (None, true));
}
