//! What a ledger costs a request (`row`: a push under a lock), and the thread that writes it.

#![allow(clippy::unwrap_used, reason = "a benchmark: a panic is how it fails")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::sync::Arc;

use divan::{AllocProfiler, Bencher, counter::ItemsCount};
use tollway_store::ledger::{Ledger, MemoryLedger, Row, Writer, WriterConfig};

#[global_allocator]
static ALLOC: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

/// Shared parts, as requests have them: only the row itself is made.
#[divan::bench(threads = [1, 2])]
fn row(bencher: Bencher<'_, '_>) {
    let writer = Writer::start(Arc::new(MemoryLedger::new(1)), WriterConfig::default()).unwrap();
    let row = common::row(1);
    bencher.bench(|| writer.row(row.clone()));
}

#[divan::bench]
fn refused(bencher: Bencher<'_, '_>) {
    let ledger = Arc::new(MemoryLedger::default());
    let writer = Writer::start(ledger, WriterConfig::default()).unwrap();
    let limit = common::name("user");
    bencher.bench(|| writer.refused(&limit, "mallory", (1, 0), common::DAY));
}

/// In a large batch.
const ROWS: u64 = 2_000;

/// One after the other in time, as they come.
#[cfg_attr(
    not(any(feature = "sqlite", feature = "redis")),
    allow(dead_code, reason = "nothing to write to")
)]
fn batches(bencher: Bencher<'_, '_>, ledger: &dyn Ledger, rows: u64, row: fn(u64) -> Row) {
    let id = std::cell::Cell::new(0_u64);
    bencher
        .counter(ItemsCount::new(rows))
        .with_inputs(|| {
            id.set(id.get() + 1);
            common::batch(id.get().into(), (0..rows).map(|n| row(id.get() * rows + n)).collect())
        })
        .bench_local_refs(|batch| ledger.append(batch).unwrap());
}

#[divan::bench(sample_count = 20, sample_size = 1)]
fn roll_up(bencher: Bencher<'_, '_>) {
    bencher
        .counter(ItemsCount::new(ROWS))
        .with_inputs(|| (0..ROWS).map(common::row).collect::<Vec<_>>())
        .bench_local_values(|rows| common::batch(1, rows));
}

/// Of three callers.
#[cfg(feature = "sqlite")]
#[divan::bench(sample_count = 20, sample_size = 1, args = [5, ROWS])]
fn sqlite(bencher: Bencher<'_, '_>, rows: u64) {
    in_a_file(bencher, rows, common::row);
}

/// Of as many callers as rows in a batch.
#[cfg(feature = "sqlite")]
#[divan::bench(sample_count = 20, sample_size = 1)]
fn sqlite_many_callers(bencher: Bencher<'_, '_>) {
    in_a_file(bencher, ROWS, |number| {
        let mut row = common::row(number);
        row.caller.user = Some(format!("user-{}", number % ROWS).into());
        row
    });
}

#[cfg(feature = "sqlite")]
fn in_a_file(bencher: Bencher<'_, '_>, rows: u64, row: fn(u64) -> Row) {
    use tollway_store::sqlite::{Sqlite, SqliteLedger};
    let folder = tempfile::tempdir().unwrap();
    let file = Sqlite::open(folder.path().join("tollway.db")).unwrap();
    batches(bencher, &SqliteLedger::new(Arc::new(file)), rows, row);
}

#[cfg(feature = "redis")]
#[divan::bench(sample_count = 20, sample_size = 1)]
fn redis(bencher: Bencher<'_, '_>) {
    use tollway_store::redis::{Redis, RedisConfig, RedisLedger};
    let server = tollway_testkit::RedisServer::start();
    let redis = Redis::open(RedisConfig::parse(&server.url()).unwrap()).unwrap();
    while redis.away().is_some() {
        std::thread::yield_now();
    }
    batches(bencher, &RedisLedger::new(redis), ROWS, common::row);
}
