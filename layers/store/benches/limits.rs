//! Decisions of limits in Redis: how many a second one instance gets, and how long each takes:
//! `cargo bench -p tollway-store --bench limits`. Needs `redis-server`.

#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark: a panic is how it fails")]

use std::sync::Arc;

use tokio::time::{Duration, Instant};
use tollway_store::{
    limits::{Kind, RedisLimits, Settlement, Shape, SharedLimits, Take, Verdict, Want},
    redis::{Redis, RedisConfig},
};

/// Each of five limits, as a busy policy has. `borrow`: what an instance takes of each beforehand.
fn wants(limits: usize, borrow: u64) -> Arc<[Want]> {
    let shape = Shape {
        kind: Kind::Bucket { rate: 1_000_000, per: 1_000_000_000 },
        capacity: 1_000_000_000,
        warn: None,
    };
    let want = |nth| Want { borrow, ..Want::new(format!("limit{nth}.{borrow}:n3:ann"), shape, 1) };
    (0..limits).map(want).collect()
}

async fn one(limits: &RedisLimits, wants: &Arc<[Want]>) -> Duration {
    let began = Instant::now();
    let take = Take { id: limits.id(), wants: wants.clone(), wall: 0 };
    let id = take.id;
    assert!(matches!(limits.take(take).await.unwrap(), Verdict::Taken(_)));
    let took = began.elapsed();
    let spent = vec![1; wants.len()];
    limits.settle(Settlement { id, wants: wants.clone(), spent, wall: 0 });
    took
}

/// So many at the same time, for some seconds.
async fn measure(limits: &Arc<RedisLimits>, count: usize, at_once: usize, borrow: u64) {
    let (wants, began) = (wants(count, borrow), Instant::now());
    let end = began + Duration::from_secs(3);
    let callers: Vec<_> = (0..at_once)
        .map(|_| {
            let (limits, wants) = (limits.clone(), wants.clone());
            tokio::spawn(async move {
                let mut times = Vec::new();
                while Instant::now() < end {
                    times.push(one(&limits, &wants).await);
                }
                times
            })
        })
        .collect();
    let mut times = Vec::new();
    for caller in callers {
        times.extend(caller.await.unwrap());
    }
    let seconds = began.elapsed().as_secs_f64();
    times.sort_unstable();
    let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)].as_micros();
    let rate = times.len() as f64 / seconds;
    let borrowed = if borrow > 0 { "1 %" } else { "" };
    println!("| {count} | {borrowed} | {at_once} | {rate:.0} | {} | {} |", at(50), at(99));
}

fn main() {
    let server = tollway_testkit::RedisServer::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let config = RedisConfig::parse(&server.url()).unwrap().timeout(Duration::from_secs(5));
        let redis = Redis::open(config).unwrap();
        while redis.connected().await.is_err() {}
        let limits = Arc::new(RedisLimits::new(redis));
        println!("| limits | borrowed | at once | decisions/s | p50 µs | p99 µs |");
        println!("|--:|--:|--:|--:|--:|--:|");
        for (count, borrow) in [(1, 0), (5, 0), (1, 10_000_000), (5, 10_000_000)] {
            for at_once in [1, 64] {
                measure(&limits, count, at_once, borrow).await;
            }
        }
    });
}
