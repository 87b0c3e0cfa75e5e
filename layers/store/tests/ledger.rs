//! What every ledger must do, run against each.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests: a panic is how they fail")]

mod common;

use std::sync::Arc;

use common::{DAY, bare, batch, name, row};
use tollway_core::Usage;
use tollway_store::ledger::{
    Batch, By, Ledger, LimitDay, NO_KEY, Old, Period, Refusal, RefusalsOf, RowsOf, TotalsOf,
};

/// One that is empty.
type Make = fn() -> Made;

/// A ledger, and what must outlive it.
struct Made(Arc<dyn Ledger>, #[allow(dead_code, reason = "held")] Option<Box<dyn std::any::Any>>);

fn memory() -> Made {
    Made(Arc::new(tollway_store::ledger::MemoryLedger::default()), None)
}

#[cfg(feature = "sqlite")]
fn sqlite() -> Made {
    use tollway_store::sqlite::{Sqlite, SqliteLedger};
    let folder = tempfile::tempdir().unwrap();
    let file = Sqlite::open(folder.path().join("tollway.db")).unwrap();
    Made(Arc::new(SqliteLedger::new(Arc::new(file))), Some(Box::new(folder)))
}

#[cfg(feature = "redis")]
fn redis() -> Made {
    use tollway_store::redis::{Redis, RedisConfig, RedisLedger};
    let server = tollway_testkit::RedisServer::start();
    let config = RedisConfig::parse(&server.url()).unwrap();
    let redis = Redis::open(config.timeout(std::time::Duration::from_secs(5))).unwrap();
    while redis.away().is_some() {
        std::thread::yield_now();
    }
    Made(Arc::new(RedisLedger::new(redis)), Some(Box::new(server)))
}

/// Each test for each store.
macro_rules! conformance {
    ($($test:ident),* $(,)?) => {
        mod in_memory { $(#[test] fn $test() { super::$test(super::memory); })* }
        #[cfg(feature = "sqlite")]
        mod in_sqlite { $(#[test] fn $test() { super::$test(super::sqlite); })* }
        #[cfg(feature = "redis")]
        mod in_redis { $(#[test] fn $test() { super::$test(super::redis); })* }
    };
}

conformance! {
    rows_come_back_as_they_went_in,
    rows_are_found_by_time_user_and_key,
    totals_are_the_sums_of_rows,
    totals_by_day_and_month_and_name,
    figures_never_overflow,
    refusals_are_rolled_up,
    limits_are_counted_by_day,
    what_is_old_goes_and_the_rest_stays,
    nothing_is_there_at_first,
}

fn day(text: &str) -> Period {
    text.parse().unwrap()
}

fn today() -> Period {
    day("2026-11-22")
}

fn of(by: By, from: &str, to: &str) -> TotalsOf {
    TotalsOf { by, from: day(from), to: day(to), name: None }
}

fn rows_come_back_as_they_went_in(make: Make) {
    let Made(ledger, _held) = make();
    let mut odd = row(7);
    odd.caller.user = Some(name("o'; DROP TABLE request; -- \u{0} \u{1F600}\n=,"));
    odd.caller.ip = Some("2001:db8::1".parse().unwrap());
    odd.caller.tags = [("a=b", "c,d\n\""), ("e", "")].into_iter().collect();
    let rows = vec![row(1), bare(2), row(5), odd];
    ledger.append(&batch(1, rows.clone())).unwrap();
    let mut found = ledger.rows(&RowsOf::default()).unwrap();
    found.reverse();
    assert_eq!(found, rows);
}

fn rows_are_found_by_time_user_and_key(make: Make) {
    let Made(ledger, _held) = make();
    ledger.append(&batch(1, (0..6).map(row).collect())).unwrap();
    ledger.append(&batch(2, (6..12).map(row).collect())).unwrap();
    let seconds = |asked: RowsOf| {
        let rows = ledger.rows(&asked).unwrap();
        rows.iter().map(|row| (row.at - DAY) / 1000).collect::<Vec<_>>()
    };
    assert_eq!(seconds(RowsOf { most: 3, ..RowsOf::default() }), [11, 10, 9]);
    let between = RowsOf { from: DAY + 3000, to: DAY + 5000, ..RowsOf::default() };
    assert_eq!(seconds(between), [4, 3]);
    let user = RowsOf { user: Some(name("user-1")), ..RowsOf::default() };
    assert_eq!(seconds(user.clone()), [10, 7, 4, 1]);
    assert_eq!(seconds(RowsOf { key: Some(name("key-0")), ..user.clone() }), [10, 4]);
    assert_eq!(seconds(RowsOf { most: 1, to: DAY + 10_000, ..user }), [7]);
    assert!(seconds(RowsOf { user: Some(name("nobody")), ..RowsOf::default() }).is_empty());
}

fn totals_are_the_sums_of_rows(make: Make) {
    let Made(ledger, _held) = make();
    let rows: Vec<_> = (0..50).map(row).chain((0..5).map(bare)).collect();
    for (id, some) in rows.chunks(7).enumerate() {
        ledger.append(&batch(id as u128 + 1, some.to_vec())).unwrap();
    }
    let mut unpriced = row(50);
    unpriced.cost = None;
    ledger.append(&batch(100, vec![unpriced])).unwrap();

    let all = &ledger.totals(&of(By::All, "2026-11", "2026-11")).unwrap()[0];
    assert_eq!((&*all.name, all.total.requests), ("", 56));
    assert_eq!((all.total.estimated, all.total.unpriced), (11, 1));
    assert_eq!(all.total.cost.nanos(), (0..50).map(|n| 1_000 + n).sum::<u64>());
    let mut usage = Usage::new((0..51).map(|n| 100 + n).sum(), 51 * 20);
    (usage.cached, usage.cache_write, usage.cache_write_1h) = (51 * 4, 51 * 3, 51 * 2);
    (usage.input_audio, usage.reasoning, usage.output_audio) = (51, 51 * 7, 51 * 5);
    assert_eq!(all.total.usage, usage);
    // However it is cut, it is the same money; but for tags, of which there are two each.
    for by in By::ALL {
        let totals = ledger.totals(&of(by, "2026-11-22", "2026-11-22")).unwrap();
        let cost: u64 = totals.iter().map(|sum| sum.total.cost.nanos()).sum();
        let times = if by == By::Tag { 2 } else { 1 };
        assert_eq!(cost, all.total.cost.nanos() * times, "{by:?}");
    }
}

fn totals_by_day_and_month_and_name(make: Make) {
    let Made(ledger, _held) = make();
    const A_DAY: u64 = 86_400_000;
    let on = |days: u64, number: u64| {
        let mut row = row(number);
        row.at = DAY + days * A_DAY;
        row
    };
    let rows = vec![on(0, 1), on(0, 2), on(1, 1), on(9, 1), on(9, 4)];
    ledger.append(&batch(1, rows)).unwrap();
    ledger.append(&batch(2, vec![bare(0)])).unwrap();
    let told = |asked: TotalsOf| {
        let sums = ledger.totals(&asked).unwrap().into_iter();
        sums.map(|sum| format!("{} {} {}", sum.period, sum.name, sum.total.requests))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        told(of(By::User, "2026-11-22", "2026-11-23")),
        [
            format!("2026-11-22 {NO_KEY} 1"),
            "2026-11-22 user-1 1".into(),
            "2026-11-22 user-2 1".into(),
            "2026-11-23 user-1 1".into()
        ]
    );
    assert_eq!(
        told(of(By::Tag, "2026-11", "2026-12")),
        [
            "2026-11 env=prod 1",
            "2026-11 env=test 2",
            "2026-11 team=search 3",
            "2026-12 env=prod 1",
            "2026-12 env=test 1",
            "2026-12 team=search 2"
        ]
    );
    let one = TotalsOf { name: Some(name("user-1")), ..of(By::User, "2026-11-01", "2026-12") };
    assert_eq!(told(one), ["2026-11 user-1 2", "2026-12 user-1 2"]);
    assert_eq!(told(of(By::All, "2026-12-01", "2026-12-31")), ["2026-12-01  2"]);
    assert_eq!(
        told(of(By::Model, "2026-11", "2026-11")),
        [format!("2026-11 {NO_KEY} 1"), "2026-11 gpt-4o-2024-08-06 3".into()]
    );
    assert_eq!(told(of(By::All, "2026-12", "2026-11")), [""; 0]);
}

fn figures_never_overflow(make: Make) {
    let Made(ledger, _held) = make();
    let mut huge = row(1);
    huge.usage = Some(Usage::new(u64::MAX, u64::MAX));
    huge.cost = Some(tollway_core::Usd::from_nanos(u64::MAX));
    for id in 1..4 {
        ledger.append(&batch(id, vec![huge.clone(), row(1)])).unwrap();
    }
    let all = &ledger.totals(&of(By::All, "2026-11", "2026-11")).unwrap()[0].total;
    assert_eq!(all.requests, 6);
    // The largest figure of a store, and not a small one.
    assert!(all.cost.nanos() >= 1 << 52 && all.usage.input >= 1 << 52, "{all:?}");
    assert_eq!(all.usage.cached, 12);
}

fn refusal(limit: &str, key: &str, count: u64, at: u64) -> Refusal {
    let (limit, key, last) = (name(limit), name(key), DAY + at);
    Refusal { day: today(), limit, key, count, asked: at + 1, available: at, last }
}

fn refusals_are_rolled_up(make: Make) {
    let Made(ledger, _held) = make();
    let append = |id, refusals| {
        ledger.append(&Batch { id, refusals, ..Batch::default() }).unwrap();
    };
    append(1, vec![refusal("user", "amira", 3, 10), refusal("user", "berk", 1, 20)]);
    append(2, vec![refusal("user", "amira", 2, 30), refusal("team", "amira", 1, 40)]);
    let yesterday = Refusal { day: day("2026-11-21"), ..refusal("user", "amira", 9, 5) };
    append(3, vec![yesterday.clone()]);
    let told = |asked| ledger.refusals(&asked).unwrap();
    let all = RefusalsOf { from: day("2026-11-01"), key: None, most: 100 };
    let amira = Refusal { count: 5, ..refusal("user", "amira", 0, 30) };
    let expected = vec![
        refusal("team", "amira", 1, 40),
        amira.clone(),
        refusal("user", "berk", 1, 20),
        yesterday,
    ];
    assert_eq!(told(all.clone()), expected);
    assert_eq!(told(RefusalsOf { most: 1, ..all.clone() }), expected[..1]);
    let mine = RefusalsOf { from: today(), key: Some(name("amira")), ..all };
    assert_eq!(told(mine), [expected[0].clone(), amira]);
}

fn limits_are_counted_by_day(make: Make) {
    let Made(ledger, _held) = make();
    let limit = |on: &str, limit: &str, allowed, refused| LimitDay {
        day: day(on),
        limit: name(limit),
        allowed,
        refused,
    };
    let append = |id, limits| {
        ledger.append(&Batch { id, limits, ..Batch::default() }).unwrap();
    };
    append(1, vec![limit("2026-11-22", "user", 5, 0), limit("2026-11-22", "team", 0, 1)]);
    append(2, vec![limit("2026-11-22", "user", 2, 4), limit("2026-11-23", "user", 1, 0)]);
    assert_eq!(
        ledger.limits(day("2026-11-22"), day("2026-11-23")).unwrap(),
        [
            limit("2026-11-22", "team", 0, 1),
            limit("2026-11-22", "user", 7, 4),
            limit("2026-11-23", "user", 1, 0)
        ]
    );
    assert_eq!(ledger.limits(day("2026-11-23"), day("2026-11-23")).unwrap().len(), 1);
}

fn what_is_old_goes_and_the_rest_stays(make: Make) {
    let Made(ledger, _held) = make();
    ledger.append(&batch(1, (0..10).map(row).collect())).unwrap();
    let mut later = row(3);
    later.at = DAY + 20 * 86_400_000;
    let refusals = vec![refusal("user", "amira", 3, 10)];
    let limits = vec![LimitDay { day: today(), limit: name("user"), allowed: 1, refused: 1 }];
    ledger.append(&Batch { refusals, limits, ..batch(2, vec![later]) }).unwrap();
    let clean = |old: &Old| while ledger.clean(old).unwrap() {};
    let rows = || ledger.rows(&RowsOf::default()).unwrap().len();
    let sums = |to| ledger.totals(&of(By::All, "1970-01-01", to)).unwrap().len();
    let counted = || {
        let all = RefusalsOf { from: day("1970-01-01"), key: None, most: 9 };
        let refused = ledger.refusals(&all).unwrap().len();
        refused + ledger.limits(day("1970-01-01"), day("2027-01-01")).unwrap().len()
    };

    let (days, months) = (today(), today().whole_month());
    let mut old = Old { rows: DAY + 4_000, most_rows: 1_000, days, months };
    clean(&old);
    assert_eq!((rows(), sums("2027-01-01"), sums("2027-01"), counted()), (7, 2, 2, 2));
    old.most_rows = 2;
    clean(&old);
    assert_eq!((rows(), sums("2027-01-01"), sums("2027-01"), counted()), (2, 2, 2, 2));
    old.days = day("2026-11-23");
    clean(&old);
    assert_eq!((rows(), sums("2027-01-01"), sums("2027-01"), counted()), (2, 1, 2, 0));
    old.months = day("2026-12");
    old.rows = u64::MAX;
    clean(&old);
    assert_eq!((rows(), sums("2027-01-01"), sums("2027-01")), (0, 1, 1));
    // It goes on as before.
    ledger.append(&batch(3, vec![row(1)])).unwrap();
    assert_eq!((rows(), sums("2027-01-01")), (1, 2));
}

fn nothing_is_there_at_first(make: Make) {
    let Made(ledger, _held) = make();
    assert_eq!(ledger.rows(&RowsOf::default()).unwrap(), []);
    assert_eq!(ledger.totals(&of(By::User, "1970-01-01", "2030-01-01")).unwrap(), []);
    ledger.append(&Batch::default()).unwrap();
    assert_eq!(ledger.limits(today(), today()).unwrap(), []);
}

/// Where the answer was lost nobody knows whether a batch is there: it is sent again.
#[cfg(feature = "redis")]
#[test]
fn a_batch_that_is_sent_twice_to_redis_is_there_once() {
    let Made(ledger, _held) = redis();
    let twice = batch(0xfeed_face_cafe_beef_0000_0001, (0..20).map(row).collect());
    ledger.append(&twice).unwrap();
    ledger.append(&twice).unwrap();
    ledger.append(&Batch { id: twice.id + 1, ..twice }).unwrap();
    assert_eq!(ledger.rows(&RowsOf::default()).unwrap().len(), 40);
    assert_eq!(ledger.totals(&of(By::All, "2026-11", "2026-11")).unwrap()[0].total.requests, 40);
}

/// More than is read at once, and an odd number.
#[cfg(feature = "redis")]
#[test]
fn redis_is_read_page_by_page() {
    let Made(ledger, _held) = redis();
    ledger.append(&batch(1, (0..1_234).map(row).collect())).unwrap();
    let all = ledger.rows(&RowsOf { most: 5_000, ..RowsOf::default() }).unwrap();
    assert_eq!(all.len(), 1_234);
    assert!(all.windows(2).all(|pair| pair[0].at > pair[1].at));
    let one = RowsOf { from: DAY + 600_000, to: DAY + 601_000, ..RowsOf::default() };
    assert_eq!(ledger.rows(&one).unwrap(), [row(600)]);
}
