//! The ledger of a running proxy: every request a row, also when it was refused; what was spent is
//! known to the next process; and no request waits for it, or fails with it.

use std::{path::Path, time::Duration};

use http::Method;
use tollway::{
    core::{Ending, Usd},
    cost::{Dimension, Period},
    store::ledger::{By, LimitDay, RefusalsOf, Row, RowsOf, Total, TotalsOf},
};
use tollway_testkit::RedisServer;

use super::support::*;

fn durable(state: &str) -> String {
    format!(
        "
state: {state}
callers: {{ identify: header x-user }}
providers: {{ openai: {{ simulate: {{ output_tokens: 20 }} }} }}
limits: [{{ name: user, per: user, requests: 2/day }}]
routes: [{{ name: all, rules: [{{ name: cheap, when: {{ size: [tiny, small] }}, prefer: openai/gpt-4o-mini }}], targets: [openai/gpt-4o-mini] }}]
"
    )
}

fn in_file(path: &Path) -> String {
    // Limits of two a day would outlive the process, too.
    durable(&format!("{{ sqlite: '{}', limits: memory, budgets: memory }}", path.display()))
}

async fn ask_as(proxy: &Running, user: &str) -> u16 {
    let reply = proxy.send(Method::POST, CHAT, &[JSON, ("x-user", user)], ask(false)).await;
    until("its end", || proxy.is_idle()).await;
    reply.status.as_u16()
}

/// A Redis that is slow once is asked again.
fn flush(proxy: &Running) {
    let began = tokio::time::Instant::now();
    while !proxy.stack().ledger_writer().unwrap().flush(PATIENCE) {
        assert!(began.elapsed() < PATIENCE, "nothing is written");
    }
}

fn rows(proxy: &Running) -> Vec<Row> {
    flush(proxy);
    let mut rows = proxy.stack().ledger().unwrap().rows(&RowsOf::default()).unwrap();
    rows.reverse();
    rows
}

fn spent(proxy: &Running, user: &str) -> Total {
    let to =
        rows(proxy).last().map(|row| Period::day_in(row.at, &jiff::tz::TimeZone::UTC)).unwrap();
    let asked = TotalsOf {
        by: By::User,
        from: to.days_before(2),
        to: to.whole_month(),
        name: Some(user.into()),
    };
    let sums = proxy.stack().ledger().unwrap().totals(&asked).unwrap();
    let mut total = Total::default();
    sums.iter().for_each(|sum| total.merge(&sum.total));
    total
}

async fn every_request_is_a_row(state: &str) {
    let proxy = Running::new(&durable(state));
    assert_eq!(ask_as(&proxy, "amira").await, 200);
    assert_eq!(ask_as(&proxy, "amira").await, 200);
    assert_eq!(ask_as(&proxy, "amira").await, 429);
    assert_eq!(ask_as(&proxy, "amira").await, 429);
    assert_eq!(ask_as(&proxy, "berk").await, 200);
    let broken = proxy.send(Method::POST, CHAT, &[JSON, ("x-user", "berk")], "{").await;
    assert_eq!(broken.status, 400);

    let rows = rows(&proxy);
    let told: Vec<_> =
        rows.iter().map(|row| (row.caller.user.as_deref(), row.status, row.attempts)).collect();
    let of = |user, status, attempts| (Some(user), Some(status), attempts);
    assert_eq!(
        told,
        [
            of("amira", 200, 1),
            of("amira", 200, 1),
            of("amira", 429, 0),
            of("amira", 429, 0),
            of("berk", 200, 1),
            of("berk", 400, 0)
        ]
    );
    let first = &rows[0];
    assert_eq!((&*first.operation, first.asked_model.as_deref()), ("chat", Some("gpt-4o-mini")));
    assert_eq!(first.target.as_ref().unwrap().to_string(), "openai/gpt-4o-mini");
    assert_eq!(first.usage.unwrap().output, 20);
    assert!(first.cost.unwrap() > Usd::ZERO && first.whole >= first.upstream);
    assert_eq!(first.ending, Ending::Complete);
    let decided = first.decision.as_ref().unwrap();
    assert_eq!((&*decided.route, decided.rule.as_deref()), ("all", Some("cheap")));
    assert_eq!((rows[2].usage, rows[2].cost, &rows[2].target), (None, None, &None));

    // Their sums are the same money.
    let total = spent(&proxy, "amira");
    let cost: Usd = rows[..4].iter().filter_map(|row| row.cost).sum();
    assert_eq!((total.requests, total.cost), (4, cost));

    let stack = proxy.stack();
    let ledger = stack.ledger().unwrap();
    let today = Period::day_in(first.at, &jiff::tz::TimeZone::UTC);
    let refused = ledger.refusals(&RefusalsOf { from: today, key: None, most: 9 }).unwrap();
    let [one] = &refused[..] else { panic!("{refused:?}") };
    assert_eq!((&*one.limit, one.count, one.asked, one.available), ("user", 2, 1, 0));
    assert!(one.key.contains("amira"), "{one:?}");
    let days = ledger.limits(today, today).unwrap();
    let day = LimitDay { day: today, limit: "user".into(), allowed: 3, refused: 2 };
    assert_eq!(days, [day]);
}

#[tokio::test]
async fn every_request_is_a_row_in_memory() {
    every_request_is_a_row("memory").await;
}

#[tokio::test]
async fn a_stream_that_broke_off_is_a_row_that_failed() {
    let proxy = Running::new(&durable("memory"));
    for (faults, expected) in
        [("truncate=after:2", Ending::Failed), ("output_tokens=20", Ending::Complete)]
    {
        let headers = [JSON, ("x-user", "amira"), ("x-simulate", faults)];
        let reply = proxy.send(Method::POST, CHAT, &headers, ask(true)).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        assert_eq!(reply.text().contains("stream_interrupted"), expected == Ending::Failed);
        until("its end", || proxy.is_idle()).await;
        assert_eq!(rows(&proxy).last().unwrap().ending, expected);
    }
}

#[tokio::test]
async fn every_request_is_a_row_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tollway.db");
    every_request_is_a_row(&format!("{{ sqlite: '{}' }}", path.display())).await;
}

#[tokio::test]
async fn every_request_is_a_row_in_redis() {
    let server = RedisServer::start();
    every_request_is_a_row(&format!("{{ ledger: {{ redis: '{}' }} }}", server.url())).await;
}

#[tokio::test]
async fn a_proxy_goes_on_from_what_the_one_before_it_had_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tollway.db");
    let proxy = Running::new(&in_file(&path));
    assert_eq!(ask_as(&proxy, "amira").await, 200);
    let before = spent(&proxy, "amira");
    // What is not written yet is written on the way out.
    assert_eq!(ask_as(&proxy, "amira").await, 200);
    let proxy = proxy.take();
    tokio::task::spawn_blocking(|| proxy.stop()).await.unwrap();

    let proxy = Running::new(&in_file(&path));
    assert_eq!(rows(&proxy).len(), 2);
    let totals = |proxy: &Running| {
        let all = proxy.stack().totals().snapshot();
        let mine =
            all.iter().filter(|row| row.dimension == Dimension::User && row.period.is_month());
        let mine: Vec<_> = mine.filter(|row| &*row.key == "amira").collect();
        mine.iter().map(|row| (row.total.requests, row.total.cost)).next().unwrap()
    };
    let twice = before.cost + before.cost;
    assert_eq!(totals(&proxy), (2, twice));
    assert_eq!(ask_as(&proxy, "amira").await, 200);
    assert_eq!(totals(&proxy), (3, twice + before.cost));
    assert_eq!(spent(&proxy, "amira").requests, 3);
}

#[tokio::test]
async fn a_redis_that_is_away_costs_no_request_and_gets_its_rows_when_it_is_back() {
    let mut server = RedisServer::start();
    let proxy = Running::new(&durable(&format!("{{ ledger: {{ redis: '{}' }} }}", server.url())));
    assert_eq!(ask_as(&proxy, "amira").await, 200);
    assert_eq!(rows(&proxy).len(), 1);
    server.kill();
    let began = tokio::time::Instant::now();
    assert_eq!(ask_as(&proxy, "amira").await, 200);
    assert_eq!(ask_as(&proxy, "berk").await, 200);
    assert!(began.elapsed() < PATIENCE);
    until("word of it", || proxy.metric("tollway_ledger_failing") == Some(1.0)).await;
    assert_eq!(ask_as(&proxy, "berk").await, 200);
    server.restart();
    until("its return", || proxy.stack().ledger_writer().unwrap().flush(Duration::from_millis(50)))
        .await;
    assert_eq!(proxy.metric("tollway_ledger_failing"), Some(0.0));
    let stats = proxy.stack().ledger_writer().unwrap().stats();
    assert_eq!((stats.written, stats.dropped), (4, 0));
    // It came back empty, as it keeps nothing on its disk.
    assert_eq!(rows(&proxy).len(), 3);
}

#[test]
fn a_store_that_can_not_be_used_is_told_before_anybody_connects() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("nowhere/tollway.db");
    let started = tollway::Proxy::start(policy(&in_file(&nowhere)));
    let why = started.err().unwrap().to_string();
    assert!(why.contains("state.ledger") && why.contains("its folder must be there"), "{why}");
}
