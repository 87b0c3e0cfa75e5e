//! Reading and moving circuits from outside, bounds, and carrying state over.

mod support;

use support::*;
use tollway_circuit_breaker::{CircuitBreakerLayer, Config, EventKind, Reason, State};
use tower::Layer;

#[tokio::test(start_paused = true)]
async fn force_open_holds_until_reset_whatever_traffic_says() {
    let mut rig = rig(Config::default());
    let under_way = rig.head(ok()).await.unwrap();
    assert!(rig.handle.force_open(&"a"));
    drop(under_way);
    assert!(!rig.handle.allows(&"a"));
    pass(secs(1_000_000)).await;
    let refused = rig.refusal().await;
    assert_eq!((refused.state(), refused.retry_after()), (State::ForcedOpen, None));
    assert_eq!(refused.to_string(), "the circuit is forced open: opened by an operator");
    assert!(rig.handle.reset(&"a"));
    rig.times(1, ok()).await;
    assert_eq!(rig.told(), [EventKind::ForcedOpen, EventKind::Closed]);
    assert!(!rig.handle.reset(&"never seen"));
}

#[tokio::test(start_paused = true)]
async fn reset_forgets_failures_growth_and_requests_under_way() {
    let mut rig = rig(Config { consecutive_failures: Some(2), ..Config::default() });
    rig.times(2, status(500)).await;
    pass(secs(300)).await;
    rig.times(1, status(500)).await;
    rig.handle.reset(&"a");
    rig.times(1, status(500)).await;
    assert_eq!(rig.state(), State::Closed);
    rig.times(1, status(500)).await;
    assert_eq!(rig.refusal().await.retry_after(), Some(secs(300)));
}

#[tokio::test(start_paused = true)]
async fn allows_takes_nothing() {
    let mut rig = rig(Config { consecutive_failures: Some(1), ..Config::default() });
    assert!(rig.handle.allows(&"never seen"));
    rig.times(1, status(500)).await;
    assert!(!rig.handle.allows(&"a"));
    pass(secs(300)).await;
    for _ in 0..10 {
        assert!(rig.handle.allows(&"a"));
    }
    rig.times(3, ok()).await;
    assert_eq!(rig.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn lists_every_key_with_its_reason_in_words() {
    let mut rig = rig(Config::default());
    rig.times(5, status(500)).await;
    rig.times(2, status(502).of("b")).await;
    rig.times(1, ok().of("c")).await;
    let mut list = rig.handle.list();
    list.sort_by_key(|status| status.key);
    let reasons: Vec<_> = list.iter().map(|s| s.reason.map(|r| r.to_string())).collect();
    assert_eq!(reasons, [Some("5 failures in a row, the last: server".to_owned()), None, None]);
    let now = tokio::time::Instant::now();
    assert_eq!(list[0].state, State::Open { until: now + secs(300) });
    assert_eq!((list[1].key, list[1].failures_in_a_row), ("b", 2));
    assert_eq!(list[1].last_failure, Some((tollway_core::ErrorClass::Server, now)));
    assert_eq!(list[2].last_failure, None);
}

#[tokio::test(start_paused = true)]
async fn keys_are_bounded_and_only_idle_ones_make_room() {
    let mut rig = rig(Config { max_keys: 3, consecutive_failures: Some(2), ..Config::default() });
    let known = |rig: &Rig| {
        let mut keys: Vec<_> = rig.handle.list().iter().map(|status| status.key).collect();
        keys.sort_unstable();
        keys
    };
    rig.times(2, status(500).of("open")).await;
    rig.times(1, status(500).of("failing")).await;
    let busy = rig.head(ok().of("busy")).await.unwrap();
    rig.times(3, status(500).of("no room")).await;
    assert_eq!(known(&rig), ["busy", "failing", "open"]);
    assert!(!rig.handle.force_open(&"no room"));
    drop(busy);
    pass(secs(2)).await;
    rig.times(1, status(500).of("late")).await;
    assert_eq!(known(&rig), ["failing", "late", "open"], "what holds no failure goes first");
    pass(secs(60)).await;
    rig.times(1, ok().of("later")).await;
    assert_eq!(known(&rig), ["later", "open"], "idle for a window, so forgotten");
}

#[tokio::test(start_paused = true)]
async fn circuits_carry_over_to_a_layer_with_another_config() {
    let mut old = rig(Config::default());
    old.times(5, status(500)).await;
    let config = Config { consecutive_failures: Some(1), ..Config::default() };
    let layer = CircuitBreakerLayer::new(config, key as KeyFn)
        .unwrap()
        .with_circuits_of(&old.handle)
        .with_hook(old.events.clone());
    let mut new = Rig {
        handle: layer.handle(),
        service: layer.layer(provider()),
        events: old.events.clone(),
    };
    let reason = Reason::Consecutive { failures: 5, last: tollway_core::ErrorClass::Server };
    assert_eq!(new.refusal().await.reason(), reason);
    new.times(1, status(500).of("b")).await;
    assert_eq!(old.handle.state(&"b").as_str(), "open", "one circuit, whoever looks");
}

#[tokio::test(start_paused = true)]
async fn a_bad_setting_stops_the_layer_from_being_made() {
    let config = Config { trial_requests: 0, ..Config::default() };
    let error = CircuitBreakerLayer::new(config, key as KeyFn).unwrap_err();
    assert_eq!(error.to_string(), "trial_requests must be 1 or more");
}
