//! A layer that goes on where another was, while requests are under way.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

mod support;

use std::future::ready;

use http::Response;
use support::*;
use tokio::time::{Instant, advance};
use tollway_rate_limit::{EventKind, Key, Quota, RateLimitLayer, Rule, Unit};
use tollway_testkit::{Probe, ScriptedBody, Step};
use tower::{Layer, ServiceExt};

type Inner = Probe<(), std::future::Ready<Result<Response<ScriptedBody>, std::io::Error>>>;

fn uses(used: u64) -> Inner {
    Probe::new(move |_| ready(Ok(reply(ScriptedBody::new([Step::data("x")]), Some(used)))))
}

fn next(old: &RateLimitLayer<ByReply>, rules: Vec<Rule>) -> RateLimitLayer<ByReply> {
    RateLimitLayer::builder(rules, ByReply::default()).resume(old).build().unwrap()
}

fn remaining(layer: &RateLimitLayer<ByReply>, limit: &str) -> u64 {
    layer.handle().standing(limit, &Key::All).unwrap().remaining
}

#[tokio::test(start_paused = true)]
async fn replies_of_the_old_rules_settle_under_the_new() {
    let places = || Rule::new(limit("places", Quota::Concurrent { amount: 2 }), Unit::Custom(0));
    let (old, _) = layer([tokens(limit("tokens", bucket(100))), places()]);
    let held = old.layer(uses(10)).oneshot(request(None, 60)).await.unwrap();
    let new = next(&old, vec![places(), tokens(limit("tokens", bucket(100)))]);
    drop(old);
    assert_eq!((remaining(&new, "tokens"), remaining(&new, "places")), (40, 1));
    let larger = next(&new, vec![tokens(limit("tokens", bucket(1000))), places()]);
    assert_eq!(remaining(&larger, "tokens"), 940, "what is reserved stays an amount");
    drop(held);
    assert_eq!((remaining(&larger, "tokens"), remaining(&larger, "places")), (990, 2));
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_served_by_the_new_rules() {
    let (old, _) = layer([tokens(waits("tokens", bucket(10), 600))]);
    let service = old.layer(uses(10));
    service.clone().oneshot(request(None, 10)).await.unwrap();
    let start = Instant::now();
    let waiting = tokio::spawn(service.oneshot(request(None, 10)));
    tokio::task::yield_now().await;
    let slower = Quota::TokenBucket { amount: 10, per: seconds(20), burst: 10 };
    next(&old, vec![tokens(waits("tokens", slower, 600))]).take_over();
    waiting.await.unwrap().unwrap();
    assert_eq!(start.elapsed(), seconds(20));
}

#[tokio::test(start_paused = true)]
async fn rules_that_are_not_used_change_nothing() {
    let (old, _) = layer([tokens(limit("tokens", bucket(10)))]);
    drop(next(&old, vec![]));
    old.layer(uses(10)).oneshot(request(None, 10)).await.unwrap();
    assert_eq!(&**exceeded(old.layer(uses(1)).oneshot(request(None, 1)).await).limit(), "tokens");
}

/// A limit that gets a second quota calls its first one otherwise.
#[tokio::test(start_paused = true)]
async fn what_is_known_as_the_same_goes_on_under_another_name() {
    let named = |name| vec![tokens(limit(name, bucket(100))).known_as("user.tokens")];
    let (old, _) = layer(named("user"));
    old.layer(uses(60)).oneshot(request(None, 60)).await.unwrap();
    let new = next(&old, named("user.tokens"));
    assert_eq!(remaining(&new, "user.tokens"), 40);
    assert_eq!(&*new.handle().admitted()[0].0, "user.tokens");
    assert_eq!(remaining(&next(&new, named("user")), "user"), 40);
    let other = vec![tokens(limit("user", bucket(100)))];
    assert_eq!(remaining(&next(&old, other), "user"), 100);
}

/// A worker may still hold the old rules for a moment: what fits by them is not too large for ever.
#[tokio::test(start_paused = true)]
async fn the_old_rules_go_by_limits_that_have_shrunk() {
    let (old, events) = layer([tokens(limit("tokens", bucket(100)))]);
    let new = next(&old, vec![tokens(limit("tokens", bucket(10)))]);
    new.take_over();
    old.layer(uses(0)).oneshot(request(None, 80)).await.unwrap();
    assert_eq!(remaining(&new, "tokens"), 10);
    assert!(exceeded(old.layer(uses(0)).oneshot(request(None, 101)).await).never_fits());
    assert!(matches!(kinds(&events)[..], [(_, EventKind::Refused { never_fits: true, .. })]));
}

/// A month's budget, taken over by rules that were without a calendar until then.
#[tokio::test(start_paused = true)]
async fn rules_without_a_date_reset_no_calendar() {
    let budget = || {
        let quota = Quota::Calendar { amount: 10, period: tollway_rate_limit::Period::Day };
        tokens(limit("budget", quota))
    };
    let line = || tokens(waits("line", Quota::Concurrent { amount: 30 }, 600));
    let (undated, _) = layer([line()]);
    let held = undated.layer(uses(0)).oneshot(request(None, 30)).await.unwrap();
    let dated = next(&undated, vec![budget(), line()]);
    dated.layer(uses(7)).oneshot(request(Some("ann"), 7)).await.unwrap();
    let service = dated.layer(uses(2));
    let waiting = tokio::spawn(service.oneshot(request(None, 2)));
    tokio::task::yield_now().await;
    advance(seconds(1)).await;
    // Its end lets the other one go, and looks at the budget for it.
    drop(held);
    waiting.await.unwrap().unwrap();
    let left = dated.handle().standing("budget", &Key::from("ann")).unwrap().remaining;
    assert_eq!((left, remaining(&dated, "budget")), (3, 8));
}
