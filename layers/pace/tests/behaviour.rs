//! What the layer promises, under a clock that stands still unless told.

mod support;

use std::time::Duration;

use support::*;
use tokio::time::{Instant, advance, sleep};
use tollway_core::{BoxError, ErrorClass, Failure, find_error};
use tollway_pace::{Config, EventKind, Paced, Reading, Told, Unit, Weights};
use tollway_testkit::Recorder;
use tower::Layer;

fn nothing() -> Script {
    Script::new(Reading::default())
}

fn blocked(seconds: u64) -> Script {
    Script::new(Reading::default().with_block(secs(seconds)))
}

#[tokio::test(start_paused = true)]
async fn nothing_is_held_back_that_the_provider_says_nothing_of() {
    let rig = rig();
    for _ in 0..1000 {
        rig.ok(nothing()).await;
    }
    rig.ok(Script::new(told(60, 59, 1))).await;
    for _ in 0..59 {
        rig.ok(nothing()).await;
    }
    assert_eq!(rig.handle.status(&"a").unwrap().refused, 0);
}

#[tokio::test(start_paused = true)]
async fn what_was_told_to_be_left_is_let_through_and_not_one_more() {
    let rig = rig();
    rig.ok(Script::new(told(60, 3, 57))).await;
    for _ in 0..3 {
        rig.ok(nothing()).await;
    }
    let refused = rig.refusal(nothing()).await;
    assert_eq!(refused.unit(), Some(Unit::Requests));
    let off = refused.retry_after().abs_diff(secs(1));
    assert!(off < Duration::from_millis(1), "a sixtieth of a minute: {:?}", refused.retry_after());
    assert!(refused.to_string().ends_with("(requests), try again in 1 s"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_tells_failure_and_wait_to_who_knows_only_failures() {
    let rig = rig();
    rig.ok(Script::new(told(60, 0, 60))).await;
    let error: BoxError = rig.refusal(nothing()).await.into();
    let failure = find_error::<Failure>(&*error).unwrap();
    assert_eq!(failure.class(), ErrorClass::RateLimit);
    assert_eq!(failure.retry_after(), Some(find_error::<Paced>(&*error).unwrap().retry_after()));
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_when_told_is_let_through_and_not_before() {
    let rig = rig();
    rig.ok(Script::new(told(60, 0, 60))).await;
    let wait = rig.refusal(nothing()).await.retry_after();
    advance(wait - Duration::from_millis(1)).await;
    rig.refusal(nothing()).await;
    advance(Duration::from_millis(1)).await;
    rig.ok(nothing()).await;
    rig.refusal(nothing()).await;
}

/// The trap: `reset` says when the bucket is full, not when the next request fits.
#[tokio::test(start_paused = true)]
async fn a_far_reset_holds_nobody_back_longer_than_one_takes_to_come_back() {
    let rig = rig();
    // Ten thousand a day, all used.
    rig.ok(Script::new(told(10_000, 0, 86_400))).await;
    assert_eq!(rig.refusal(nothing()).await.retry_after().as_millis(), 8640);
}

#[tokio::test(start_paused = true)]
async fn after_the_reset_all_of_the_limit_is_there_again() {
    let rig = rig();
    rig.ok(Script::new(told(5, 0, 50))).await;
    rig.refusal(nothing()).await;
    advance(secs(50)).await;
    for _ in 0..5 {
        // Told nothing of requests, but of something else: the gauge is forgotten.
        rig.ok(nothing().slow(0)).await;
    }
    assert!(rig.handle.status(&"a").unwrap().gauges.is_empty(), "not told of any more");
    for _ in 0..100 {
        rig.ok(nothing()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn requests_under_way_count() {
    let rig = rig();
    rig.ok(Script::new(told(60, 2, 58))).await;
    let one = rig.spawn(Script::new(told(60, 0, 60)).slow(10));
    let two = rig.spawn(Script::new(told(60, 0, 60)).slow(10));
    settle().await;
    rig.refusal(nothing()).await;
    assert!(one.await.unwrap().0 && two.await.unwrap().0);
}

/// Replies come in any order and speak of the past: what was sent meanwhile is subtracted.
#[tokio::test(start_paused = true)]
async fn a_reply_that_speaks_of_the_past_does_not_widen_the_present() {
    let rig = rig();
    rig.ok(Script::new(told(10, 9, 6))).await;
    // Sent first, answered last, with what was left when it was sent.
    let late = rig.spawn(Script::new(told(10, 8, 12)).slow(3));
    settle().await;
    for left in (0..8).rev() {
        rig.ok(Script::new(told(10, left, (10 - left) * 6))).await;
    }
    rig.refusal(nothing()).await;
    assert!(late.await.unwrap().0);
    rig.refusal(nothing()).await;
}

#[tokio::test(start_paused = true)]
async fn a_burst_before_the_first_word_is_counted_against_it() {
    let rig = rig();
    let first: Vec<_> =
        (0..10).map(|n| rig.spawn(Script::new(told(12, 11 - n, 60)).slow(10 - n))).collect();
    settle().await;
    for task in first {
        assert!(task.await.unwrap().0);
    }
    // Two are left of twelve, and half a minute's worth has not come back in ten seconds.
    let mut through = 0;
    while rig.send(nothing()).await.is_ok() {
        through += 1;
    }
    assert!((2..=4).contains(&through), "{through}");
}

/// Requests overtake each other on their way.
#[tokio::test(start_paused = true)]
async fn what_may_not_have_arrived_yet_is_counted_against_a_word_too() {
    let rig = rig();
    let still_on_their_way: Vec<_> = (0..9).map(|_| rig.spawn(nothing().slow(10))).collect();
    settle().await;
    // Sent last, there first.
    rig.ok(Script::new(told(12, 11, 5))).await;
    rig.ok(nothing()).await;
    rig.ok(nothing()).await;
    rig.refusal(nothing()).await;
    for task in still_on_their_way {
        assert!(task.await.unwrap().0);
    }
}

#[tokio::test(start_paused = true)]
async fn somebody_elses_use_of_the_key_is_seen() {
    let rig = rig();
    rig.ok(Script::new(told(60, 50, 10))).await;
    rig.ok(Script::new(told(60, 1, 59))).await;
    rig.ok(nothing()).await;
    rig.refusal(nothing()).await;
}

#[tokio::test(start_paused = true)]
async fn tokens_are_held_back_by_what_a_request_weighs() {
    let rig = rig();
    let left = Told::new(60_000, 1000, secs(59));
    let reading = Reading::default().with(Unit::Tokens, left);
    rig.ok(Script::new(reading).tokens(500)).await;
    let refused = rig.refusal(nothing().tokens(1500)).await;
    assert_eq!(refused.unit(), Some(Unit::Tokens));
    assert_eq!(refused.retry_after().as_millis(), 500, "a thousand a second");
    rig.ok(nothing().tokens(900)).await;
    // No tokens, no wait for them.
    rig.ok(nothing()).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_larger_than_the_limit_waits_for_a_full_one_only() {
    let rig = rig();
    let reading = Reading::default().with(Unit::Tokens, Told::new(1000, 0, secs(20)));
    rig.ok(Script::new(reading)).await;
    assert_eq!(rig.refusal(nothing().tokens(1_000_000)).await.retry_after(), secs(20));
    advance(secs(20)).await;
    rig.ok(nothing().tokens(u64::MAX)).await;
}

#[tokio::test(start_paused = true)]
async fn a_limit_told_without_a_reset_has_the_usual_window() {
    let rig = rig();
    let told = |limit| Told { limit: Some(limit), remaining: Some(0), reset: None };
    let reading = Reading::default().with(Unit::Requests, told(8));
    rig.ok(Script::new(reading)).await;
    assert_eq!(rig.refusal(nothing()).await.retry_after(), Duration::from_millis(125));
    let reading = Reading::default().with(Unit::Tokens, told(60_000));
    rig.ok(Script::new(reading).key("b")).await;
    let refused = rig.refusal(nothing().key("b").tokens(1000)).await;
    assert_eq!(refused.retry_after(), secs(1));
}

#[tokio::test(start_paused = true)]
async fn only_what_is_told_counts() {
    let rig = rig();
    // A limit of nothing is no limit; a limit alone says nothing of what is left.
    for told in [
        Told { limit: Some(0), remaining: Some(0), reset: Some(secs(9)) },
        Told { limit: Some(1000), remaining: None, reset: Some(secs(9)) },
        Told { limit: None, remaining: None, reset: Some(secs(9)) },
    ] {
        rig.ok(Script::new(Reading::default().with(Unit::Requests, told))).await;
        rig.ok(nothing()).await;
    }
    // What is left without a limit is the most that is known.
    let told = Told { limit: None, remaining: Some(1), reset: Some(secs(9)) };
    rig.ok(Script::new(Reading::default().with(Unit::Requests, told)).key("b")).await;
    rig.ok(nothing().key("b")).await;
    rig.refusal(nothing().key("b")).await;
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_the_providers_holds_the_key_back_as_long_as_it_asked() {
    let rig = rig();
    rig.ok(blocked(7)).await;
    let refused = rig.refusal(nothing()).await;
    assert_eq!((refused.unit(), refused.retry_after()), (None, secs(7)));
    // A shorter wait does not shorten a longer one that others were told of.
    rig.ok(nothing().key("b")).await;
    advance(secs(7)).await;
    rig.ok(nothing()).await;
}

#[tokio::test(start_paused = true)]
async fn no_word_holds_longer_than_the_longest_wait_and_then_one_goes() {
    let rig = rig();
    rig.ok(blocked(365 * 86_400)).await;
    assert_eq!(rig.refusal(nothing()).await.retry_after(), secs(60));
    advance(secs(60)).await;
    rig.ok(nothing()).await;

    // A gauge that fills in a year: one goes each minute, and no more.
    let reading = Reading::default().with(Unit::Tokens, Told::new(1000, 0, secs(300 * 86_400)));
    let probe = || Script::new(reading).tokens(500).key("b");
    rig.ok(probe()).await;
    for _ in 0..3 {
        assert_eq!(rig.refusal(probe()).await.retry_after(), secs(60));
        advance(secs(60)).await;
        rig.ok(probe()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn waiters_go_in_order_each_in_its_time() {
    let rig = rig();
    rig.ok(Script::new(told(60, 0, 60))).await;
    let mut tasks = Vec::new();
    for _ in 0..3 {
        // The reply tells just what is expected.
        tasks.push(rig.spawn(Script::new(told(60, 0, 60)).patient(5)));
        settle().await;
    }
    assert_eq!(rig.handle.status(&"a").unwrap().waiting, 3);
    for (at, task) in (1..).zip(tasks) {
        let (ok, took) = task.await.unwrap();
        assert!(ok);
        assert!(took.abs_diff(secs(at)) < Duration::from_millis(10), "{at}: {took:?}");
    }
    let status = rig.handle.status(&"a").unwrap();
    assert_eq!((status.waiting, status.waited), (0, 3));
}

#[tokio::test(start_paused = true)]
async fn nobody_overtakes_the_line() {
    let rig = rig();
    let reading = Reading::default().with(Unit::Tokens, Told::new(60_000, 500, secs(60)));
    rig.ok(Script::new(reading)).await;
    let large = rig.spawn(nothing().tokens(3000).patient(9));
    settle().await;
    // Small enough to fit, but it came later.
    let small = rig.spawn(nothing().tokens(10).patient(9));
    settle().await;
    rig.refusal(nothing().tokens(10)).await;
    let (large, small) = (large.await.unwrap(), small.await.unwrap());
    assert!(large.0 && small.0);
    assert!(large.1 <= small.1, "{large:?} {small:?}");
}

#[tokio::test(start_paused = true)]
async fn who_could_not_go_in_time_is_refused_at_once() {
    let rig = rig();
    rig.ok(Script::new(told(60, 0, 60))).await;
    let tasks: Vec<_> = (0..10).map(|_| rig.spawn(nothing().patient(3))).collect();
    let mut refused = Vec::new();
    for task in tasks {
        let (ok, took) = task.await.unwrap();
        if !ok {
            refused.push(took);
        }
    }
    assert_eq!(refused.len(), 7, "{refused:?}");
    assert!(refused.iter().all(|took| took.is_zero()), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn a_waiter_hears_of_worse_news_and_of_better() {
    let rig = rig();
    rig.ok(Script::new(told(60, 1, 60))).await;
    let worse = rig.spawn(Script::new(Reading::default().with_block(secs(30))).slow(1));
    settle().await;
    let waiter = rig.spawn(nothing().patient(5));
    let behind = rig.spawn(nothing().patient(5));
    assert!(worse.await.unwrap().0);
    let (ok, took) = waiter.await.unwrap();
    assert!(!ok && took < secs(2), "{took:?}");
    assert!(!behind.await.unwrap().0);

    // Better: a larger limit than the one it waits for.
    let rig = support::rig();
    rig.ok(Script::new(told(10, 1, 100))).await;
    let better = rig.spawn(Script::new(told(600, 599, 1)).slow(2));
    settle().await;
    let waiter = rig.spawn(nothing().patient(30));
    assert!(better.await.unwrap().0);
    let (ok, took) = waiter.await.unwrap();
    assert!(ok && took < secs(3), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_leaves_takes_nothing_and_makes_room() {
    let rig = rig();
    rig.ok(Script::new(told(60, 0, 60))).await;
    let leaves = rig.spawn(nothing().patient(5));
    settle().await;
    let stays = rig.spawn(nothing().patient(5));
    settle().await;
    leaves.abort();
    settle().await;
    assert_eq!(rig.handle.status(&"a").unwrap().waiting, 1);
    let (ok, took) = stays.await.unwrap();
    assert!(ok && took.abs_diff(secs(1)) < Duration::from_millis(10), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn what_a_failed_call_took_goes_back_and_wakes_who_waits() {
    let rig = rig();
    rig.ok(Script::new(told(1, 1, 0))).await;
    let fails = Script { fails: true, latency: secs(2), ..nothing() };
    let failing = rig.spawn(fails);
    settle().await;
    let waiter = rig.spawn(nothing().patient(60));
    assert!(!failing.await.unwrap().0);
    let (ok, took) = waiter.await.unwrap();
    assert!(ok && took.abs_diff(secs(2)) < Duration::from_millis(10), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn what_a_caller_abandons_stays_counted_until_time_heals_it() {
    let rig = rig();
    rig.ok(Script::new(told(60, 1, 59))).await;
    let abandoned = rig.spawn(nothing().slow(100));
    settle().await;
    abandoned.abort();
    settle().await;
    rig.refusal(nothing()).await;
    sleep(secs(1)).await;
    rig.ok(nothing()).await;
}

#[tokio::test(start_paused = true)]
async fn keys_are_apart_and_a_request_without_one_is_free() {
    let rig = rig();
    rig.ok(Script::new(told(60, 0, 60))).await;
    rig.refusal(nothing()).await;
    rig.ok(nothing().key("b")).await;
    rig.ok(Script { key: None, ..nothing() }).await;
    assert!(!rig.handle.would_admit(&"a", &Weights::default()));
    assert!(rig.handle.would_admit(&"b", &Weights::default()));
    assert!(rig.handle.would_admit(&"c", &Weights::default()));
}

#[tokio::test(start_paused = true)]
async fn memory_is_bounded_and_only_who_knows_nothing_is_forgotten() {
    let rig = rig_with(Config { max_keys: 2, ..Config::default() });
    rig.ok(Script::new(told(60, 0, 60)).key("a")).await;
    rig.ok(nothing().key("b")).await;
    // b says nothing, so c gets its place; then d finds none and is free.
    rig.ok(Script::new(told(60, 0, 60)).key("c")).await;
    rig.ok(Script::new(told(60, 0, 60)).key("d")).await;
    rig.ok(nothing().key("d")).await;
    let mut keys: Vec<_> = rig.handle.snapshot().into_iter().map(|status| status.key).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["a", "c"]);
    // A full bucket is as good as none.
    advance(secs(61)).await;
    rig.ok(Script::new(told(60, 0, 60)).key("d")).await;
    rig.refusal(nothing().key("d")).await;
}

#[tokio::test(start_paused = true)]
async fn events_tell_what_was_found_and_who_was_held_back() {
    let rig = rig();
    rig.ok(Script::new(told(60, 0, 60))).await;
    let found = EventKind::Found { unit: Unit::Requests, limit: 60 };
    let kinds = || rig.events.take().into_iter().map(|event| event.kind).collect::<Vec<_>>();
    assert_eq!(kinds(), [found]);
    let wait = rig.refusal(nothing()).await.retry_after();
    assert_eq!(kinds(), [EventKind::Refused { unit: Some(Unit::Requests), retry_after: wait }]);
    let start = Instant::now();
    rig.ok(Script::new(told(60, 0, 60)).patient(5)).await;
    assert_eq!(kinds(), [EventKind::Waited(start.elapsed())], "60 is what was known");
    advance(secs(2)).await;
    rig.ok(Script::new(told(90, 50, 40).with_block(secs(3)))).await;
    let found = EventKind::Found { unit: Unit::Requests, limit: 90 };
    assert_eq!(kinds(), [found, EventKind::Blocked(secs(3))]);
}

#[tokio::test(start_paused = true)]
async fn the_handle_shows_what_is_known() {
    let rig = rig();
    let reading = told(60, 30, 30).with(Unit::InputTokens, Told::new(1000, 400, secs(6)));
    rig.ok(Script::new(reading.with_block(secs(9)))).await;
    let status = rig.handle.status(&"a").unwrap();
    assert_eq!(status.blocked_for, Some(secs(9)));
    let seen: Vec<_> =
        status.gauges.iter().map(|g| (g.unit, g.limit, g.remaining, g.full_in)).collect();
    let expected = [(Unit::Requests, 60, 30, secs(30)), (Unit::InputTokens, 1000, 400, secs(6))];
    assert_eq!(seen, expected);
    assert_eq!(status.gauges[0].window, Some(secs(60)));
    rig.ok(Script::new(told(60, 59, 1)).key("b")).await;
    assert_eq!(rig.handle.status(&"b").unwrap().gauges[0].window, None, "one of sixty is too few");
    advance(secs(10)).await;
    let status = rig.handle.status(&"a").unwrap();
    assert_eq!((status.blocked_for, status.gauges[0].remaining), (None, 40));
    assert_eq!(status.gauges[0].told_remaining, Some(30));
}

/// A policy is replaced while one request runs and another is in line.
#[tokio::test(start_paused = true)]
async fn another_layer_goes_on_with_what_is_known() {
    let old = rig();
    old.ok(Script::new(told(60, 1, 59))).await;
    let running = old.spawn(nothing().slow(5));
    settle().await;
    let waiting = old.spawn(nothing().patient(30));
    settle().await;
    let layer = layer(Config::default()).with_state_of(&old.handle);
    let new = Rig {
        handle: layer.handle(),
        service: layer.layer(provider()),
        events: Recorder::default(),
    };
    drop(old);
    assert_eq!(new.handle.status(&"a").unwrap().waiting, 1);
    assert!(new.refusal(nothing()).await.retry_after() > secs(1), "behind who waits");
    assert!(running.await.unwrap().0);
    assert!(waiting.await.unwrap().0);
}
