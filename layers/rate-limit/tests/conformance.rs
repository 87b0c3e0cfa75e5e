//! One suite for limits wherever they are kept: in memory, in a file, in Redis.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

mod support;

use std::{
    future::ready,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use http::Response;
use proptest::{collection::vec, prelude::*, test_runner::TestRunner};
use support::*;
use tollway_core::BoxError;
use tollway_rate_limit::{Key, Period, Quota, RateLimitLayer, Rule, Unit};
use tollway_store::{
    limits::{Kind, RedisLimits, Shape, SharedLimits, Take, Verdict, Want},
    redis::{Redis, RedisConfig},
    sqlite::{Sqlite, SqliteLimits},
};
use tollway_testkit::{Probe, RedisServer, ScriptedBody, Step};
use tower::{Layer, ServiceExt};

type Inner = Probe<(), std::future::Ready<Result<Response<ScriptedBody>, std::io::Error>>>;

/// Never a part of a verdict here.
const TIMEOUT: Duration = Duration::from_secs(30);
const LEASE: Duration = Duration::from_secs(600);

enum Kept {
    Memory,
    File(tempfile::TempDir),
    Redis(RedisServer),
    Cluster(Vec<RedisServer>),
}

/// One process on a store.
struct Instance {
    layer: RateLimitLayer<ByReply>,
    limits: Option<Arc<RedisLimits>>,
}

impl Kept {
    /// Processes with the same rules. Of what a single process keeps there are only views.
    async fn instances(&self, count: usize, rules: impl Fn() -> Vec<Rule>) -> Vec<Instance> {
        self.with_lease(count, rules, LEASE).await
    }

    async fn with_lease(
        &self,
        count: usize,
        rules: impl Fn() -> Vec<Rule>,
        lease: Duration,
    ) -> Vec<Instance> {
        let builder = || RateLimitLayer::builder(rules(), ByReply::default());
        let url = match self {
            Self::Redis(server) => server.url(),
            Self::Cluster(servers) => format!("redis+cluster://{}", servers[0].address()),
            Self::Memory | Self::File(_) => {
                let layer = match self {
                    Self::File(folder) => {
                        let name = format!("{}.db", rand(folder.path()));
                        let file = Sqlite::open(folder.path().join(name)).unwrap();
                        builder().journal(Arc::new(SqliteLimits::new(Arc::new(file)))).unwrap()
                    }
                    _ => builder(),
                };
                let layer = layer.build().unwrap();
                let instance = || Instance { layer: layer.clone(), limits: None };
                return (0..count).map(|_| instance()).collect();
            }
        };
        let mut instances = Vec::new();
        for _ in 0..count {
            let config = RedisConfig::parse(&url).unwrap().timeout(TIMEOUT);
            let redis = Redis::open(config).unwrap();
            while redis.connected().await.is_err() {}
            let limits = Arc::new(RedisLimits::with_lease(redis, lease));
            let layer = builder().shared(limits.clone()).build().unwrap();
            instances.push(Instance { layer, limits: Some(limits) });
        }
        instances
    }

    fn clear(&self) {
        if let Self::Redis(server) = self {
            server.flush();
        }
    }
}

/// A number that no file there has for its name.
fn rand(folder: &std::path::Path) -> usize {
    folder.read_dir().unwrap().count()
}

impl Instance {
    /// A request whose reply is open, and will have used `used`.
    async fn call(&self, user: Option<&str>, wants: u64, used: u64) -> Result<Reply, BoxError> {
        let reply = move |_| ready(Ok(reply(ScriptedBody::new([Step::data("x")]), Some(used))));
        let inner: Inner = Probe::new(reply);
        self.layer.layer(inner).oneshot(request(user, wants)).await
    }

    /// Until what has ended is settled.
    async fn settled(&self) {
        if let Some(limits) = &self.limits {
            limits.written().await;
            assert_eq!(limits.lost(), 0);
        }
    }
}

fn month(amount: u64) -> Quota {
    Quota::Calendar { amount, period: Period::Month }
}

fn hours(hours: u64) -> Duration {
    seconds(hours * 3600)
}

/// Every kind of limit that gives up to `amount` and gives nothing back within a test.
fn quotas(amount: u64) -> [Quota; 4] {
    [
        Quota::TokenBucket { amount: 1, per: hours(1000), burst: amount },
        Quota::SlidingWindow { amount, window: hours(10) },
        month(amount),
        Quota::Concurrent { amount },
    ]
}

async fn suite(store: Kept) {
    takes_and_settles(&store).await;
    store.clear();
    gives_back_what_was_not_used(&store).await;
    store.clear();
    all_or_nothing(&store).await;
    store.clear();
    time_brings_it_back(&store).await;
    store.clear();
    keys_are_apart(&store).await;
    store.clear();
    never_more_than_allowed_at_once(&store).await;
    store.clear();
    any_schedule(&store);
}

async fn takes_and_settles(store: &Kept) {
    for (at, quota) in quotas(100).into_iter().enumerate() {
        let all = store.instances(2, || vec![tokens(limit(&format!("q{at}"), quota))]).await;
        let held = all[0].call(None, 60, 10).await.unwrap();
        let error = exceeded(all[1].call(None, 41, 0).await);
        assert_eq!((error.standing().capacity, error.standing().remaining), (100, 40));
        match quota {
            Quota::Concurrent { .. } => assert_eq!(error.retry_after(), None),
            _ => assert!(error.retry_after().unwrap() > Duration::ZERO),
        }
        assert!(!error.never_fits());
        assert!(exceeded(all[1].call(None, 101, 0).await).never_fits());
        drop(held);
        all[0].settled().await;
        let left = if matches!(quota, Quota::Concurrent { .. }) { 100 } else { 90 };
        let error = exceeded(all[1].call(None, left + 1, 0).await);
        assert_eq!(error.standing().remaining, left);
        drop(all[1].call(None, left, 0).await.unwrap());
        all[1].settled().await;
        // More than it had asked for is a debt.
        drop(all[0].call(None, 1, 150).await.unwrap());
        all[0].settled().await;
        let refused = all[1].call(None, 1, 0).await.is_err();
        assert_eq!(refused, !matches!(quota, Quota::Concurrent { .. }));
    }
}

async fn gives_back_what_was_not_used(store: &Kept) {
    let requests = || Rule::new(limit("requests", month(3)), Unit::Requests);
    let all = store.instances(2, || vec![tokens(limit("tokens", month(100))), requests()]).await;
    let fails = || -> Inner { Probe::new(|_| ready(Err(std::io::Error::other("no")))) };
    assert!(all[0].layer.layer(fails()).oneshot(request(None, 60)).await.is_err());
    all[0].settled().await;
    let stalls: Probe<(), std::future::Pending<Result<Response<ScriptedBody>, std::io::Error>>> =
        Probe::new(|_| std::future::pending());
    // Dropped while the inner service works.
    let call = all[1].layer.layer(stalls.clone()).oneshot(request(None, 60));
    tokio::select! {
        _ = call => panic!("it never ends"),
        () = async { while stalls.counts().calls.load(Ordering::Relaxed) == 0 { tokio::task::yield_now().await } } => {}
    }
    all[0].settled().await;
    all[1].settled().await;
    drop(all[0].call(None, 100, 100).await.unwrap());
    let error = exceeded(all[1].call(None, 0, 0).await);
    assert_eq!(&**error.limit(), "requests", "each counts as one request");
}

async fn all_or_nothing(store: &Kept) {
    let places = || Rule::new(limit("places", Quota::Concurrent { amount: 1 }), Unit::Custom(0));
    let all = store.instances(2, || vec![tokens(limit("tokens", month(100))), places()]).await;
    let held = all[0].call(None, 10, 10).await.unwrap();
    for instance in &all {
        assert_eq!(&**exceeded(instance.call(None, 10, 10).await).limit(), "places");
        // Of two that are full the one that lasts longest is told.
        assert_eq!(&**exceeded(instance.call(None, 91, 10).await).limit(), "places");
        assert_eq!(&**exceeded(instance.call(None, 101, 10).await).limit(), "tokens");
    }
    drop(held);
    all[0].settled().await;
    drop(all[1].call(None, 90, 90).await.unwrap());
}

/// Refused until the promised moment, admitted soon after.
async fn time_brings_it_back(store: &Kept) {
    let time = Duration::from_millis(200);
    for quota in [
        Quota::TokenBucket { amount: 10, per: time, burst: 10 },
        Quota::SlidingWindow { amount: 10, window: time },
    ] {
        let name = format!("soon{}", matches!(quota, Quota::TokenBucket { .. }));
        let all = store.instances(2, || vec![tokens(waits(&name, quota, 600))]).await;
        for round in 0..4 {
            drop(all[round % 2].call(None, 10, 10).await.unwrap());
        }
    }
}

async fn keys_are_apart(store: &Kept) {
    let all = store.instances(2, || vec![tokens(limit("user", month(10)))]).await;
    for user in [None, Some("ann"), Some("ann "), Some("n3:ann"), Some("*")] {
        drop(all[0].call(user, 10, 10).await.unwrap());
        assert!(all[1].call(user, 1, 1).await.is_err());
    }
}

/// Many at the same time.
async fn never_more_than_allowed_at_once(store: &Kept) {
    for (at, quota) in quotas(60).into_iter().enumerate() {
        let all = store.instances(3, || vec![tokens(limit(&format!("r{at}"), quota))]).await;
        let all = Arc::new(all);
        let call = |at: usize| {
            let all = all.clone();
            async move { all[at % 3].call(None, 1, 1).await.ok() }
        };
        let tasks: Vec<_> = (0..150).map(|at| tokio::spawn(call(at))).collect();
        let mut held = Vec::new();
        for task in tasks {
            held.extend(task.await.unwrap());
        }
        assert_eq!(held.len(), 60);
        drop(held);
        for instance in all.iter() {
            instance.settled().await;
        }
        let free = all[0].call(None, 60, 0).await.is_ok();
        assert_eq!(free, matches!(quota, Quota::Concurrent { .. }));
    }
}

#[derive(Clone, Debug)]
enum Move {
    Arrive {
        instance: usize,
        user: u8,
        wants: u64,
        used: u64,
    },
    End {
        which: usize,
    },
    /// The reply is never heard of again, nor is the instance.
    Crash {
        instance: usize,
    },
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let arrive = (0..3usize, 0..2u8, 0..40u64, 0..45u64)
        .prop_map(|(instance, user, wants, used)| Move::Arrive { instance, user, wants, used });
    let one = prop_oneof![
        6 => arrive,
        4 => (0..8usize).prop_map(|which| Move::End { which }),
        1 => (0..3usize).prop_map(|instance| Move::Crash { instance }),
    ];
    vec(one, 1..40)
}

/// Of any schedule never more is let in than is allowed, and in the end what is used is what was
/// settled, or reserved by who died.
fn any_schedule(store: &Kept) {
    let alone = matches!(store, Kept::Memory | Kept::File(_));
    let runner = std::thread::scope(|scope| {
        let run = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.unwrap();
            let mut runner = TestRunner::new(ProptestConfig {
                cases: 24,
                failure_persistence: None,
                ..ProptestConfig::default()
            });
            runner.run(&(moves(), 0..3usize), |(moves, quota)| {
                runtime.block_on(schedule(store, quotas(100)[quota], moves, alone));
                store.clear();
                Ok(())
            })
        };
        scope.spawn(run).join().unwrap()
    });
    runner.unwrap();
}

async fn schedule(store: &Kept, quota: Quota, moves: Vec<Move>, alone: bool) {
    const USERS: [Option<&str>; 2] = [None, Some("ann")];
    let mut all = store.instances(3, || vec![tokens(limit("any", quota))]).await;
    let (mut counted, mut open) = ([0u64; 2], Vec::new());
    for one in moves {
        match one {
            Move::Arrive { instance, user, wants, used } => {
                let who = USERS[usize::from(user)];
                let answer = all[instance].call(who, wants, used).await;
                let fits = counted[usize::from(user)] + wants <= 100;
                assert_eq!(answer.is_ok(), fits, "{counted:?} {wants}");
                if let Ok(reply) = answer {
                    counted[usize::from(user)] += wants;
                    open.push((instance, user, wants, used, reply));
                }
            }
            Move::End { which } if which < open.len() => {
                let (instance, user, wants, used, reply) = open.swap_remove(which);
                drop(reply);
                counted[usize::from(user)] += used;
                counted[usize::from(user)] -= wants;
                all[instance].settled().await;
            }
            Move::Crash { instance } if !alone => {
                let (gone, left): (Vec<_>, _) = open.into_iter().partition(|o| o.0 == instance);
                std::mem::forget(gone);
                open = left;
                let mut new = store.instances(1, || vec![tokens(limit("any", quota))]).await;
                all[instance] = new.remove(0);
            }
            _ => {}
        }
    }
    for (instance, user, wants, used, reply) in open {
        drop(reply);
        counted[usize::from(user)] += used;
        counted[usize::from(user)] -= wants;
        all[instance].settled().await;
    }
    for (who, counted) in USERS.into_iter().zip(counted) {
        let left = 100u64.saturating_sub(counted);
        let error = exceeded(all[0].call(who, left + 1, 0).await);
        assert!(error.never_fits() || error.standing().remaining == left);
        if counted <= 100 {
            drop(all[0].call(who, left, 0).await.unwrap());
            all[0].settled().await;
        }
    }
}

#[tokio::test]
async fn in_memory() {
    suite(Kept::Memory).await;
}

#[tokio::test]
async fn in_a_file() {
    suite(Kept::File(tempfile::tempdir().unwrap())).await;
}

#[tokio::test]
async fn in_redis() {
    suite(Kept::Redis(RedisServer::start())).await;
}

/// Without the schedules: a cluster is not emptied in between.
#[tokio::test]
async fn in_a_redis_cluster() {
    let store = Kept::Cluster(RedisServer::cluster());
    takes_and_settles(&store).await;
    keys_are_apart(&store).await;
    never_more_than_allowed_at_once(&store).await;
}

#[tokio::test]
async fn the_places_of_a_dead_instance_are_free_again() {
    let store = Kept::Redis(RedisServer::start());
    let rules = || vec![tokens(limit("places", Quota::Concurrent { amount: 10 }))];
    let lease = Duration::from_millis(600);
    let alive = store.with_lease(1, rules, lease).await.remove(0);
    let Kept::Redis(server) = &store else { unreachable!() };
    let redis = Redis::open(RedisConfig::parse(&server.url()).unwrap().timeout(TIMEOUT)).unwrap();
    while redis.connected().await.is_err() {}
    let dead = RedisLimits::with_lease(redis, lease);
    let shape = Shape { kind: Kind::Concurrent, capacity: 10, warn: None };
    let want = Want::new("places.places:*", shape, 7);
    let take = Take { id: dead.id(), wants: [want].into(), wall: 0 };
    assert!(matches!(dead.take(take).await.unwrap(), Verdict::Taken(_)));
    let held = alive.call(None, 2, 0).await.unwrap();
    assert_eq!(exceeded(alive.call(None, 2, 0).await).standing().remaining, 1);
    // Nobody renews its lease any more.
    drop(dead);
    let free = loop {
        if let Ok(reply) = alive.call(None, 7, 0).await {
            break reply;
        }
    };
    let error = exceeded(alive.call(None, 2, 0).await);
    assert_eq!(error.standing().remaining, 1, "who lives keeps its places");
    drop((held, free));
    alive.settled().await;
    assert_eq!(alive.layer.handle().standing("places", &Key::All).unwrap().held, 0);
}
