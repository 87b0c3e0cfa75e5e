//! A router that decides by what a tracker has learnt.
#![allow(clippy::unwrap_used, missing_docs)]

use std::time::Duration;

use http::HeaderMap;
use tokio::time::Instant;
use tollway_core::{Ask, ErrorClass, Operation, Target};
use tollway_route::{
    Group, Match, Of, Query, Route, Router, Strategy,
    facts::{Config, Outcome, Tracker},
};

#[test]
fn goes_where_it_is_quick_and_not_where_nobody_answers() {
    let tracker = Tracker::new(Config::default()).unwrap();
    let targets =
        ["slow", "quick", "steady"].map(|name| Target::new(name, "main", Some("llama".into())));
    let group = Group::new(Strategy::Latency { of: Of::Whole }, targets.clone().map(Into::into));
    let router = Router::builder([Route::new("all", Match::default(), group)])
        .figures(tracker.clone())
        .build()
        .unwrap();
    let ask = Ask::new(Operation::ChatCompletions).with_model("llama");
    let headers = HeaderMap::new();
    let first = |now: Instant| {
        let query = Query::new("/v1/chat/completions", &headers, now).with_ask(&ask);
        router.decide(&query, &()).unwrap().candidates[0].target.provider().to_string()
    };
    let now = Instant::now();
    for (target, millis) in targets.iter().zip([2_000, 100, 400]) {
        let slot = tracker.slot(target);
        for _ in 0..20 {
            slot.begin(now).end(now + Duration::from_millis(millis), Outcome::success());
        }
    }
    let now = now + Duration::from_secs(2);
    let counts = (0..100).filter(|_| first(now) == "quick").count();
    assert_eq!(counts, 100);
    let quick = tracker.slot(&targets[1]);
    for _ in 0..5 {
        quick.begin(now).end(now, Outcome::failure(ErrorClass::Network));
    }
    assert_eq!(first(now), "steady");
    let later = now + Duration::from_secs(90);
    assert_eq!(first(later), "quick");
    let _trial = quick.begin(later);
    assert_eq!(first(later), "steady");
}
