//! Slices on a real Redis: instances take, settle, cancel and die at random.

use std::{cell::Cell, sync::Arc, time::Duration};

use proptest::{collection::vec, prelude::*, test_runner::TestRunner};
use tollway_testkit::RedisServer;

use super::RedisLimits;
use crate::{
    limits::{
        Crossing, Kind, Period, Settlement, Shape, SharedLimits, Take, Tell, Verdict, Want, Zone,
        slices_tests::{INSTANCES, SECOND, Step, Used, any_shape, holds, step},
    },
    redis::{Redis, RedisConfig},
};

const CLOCK: &str = "local function clock() return tonumber(redis.call('GET', 'now')) end\n";
/// In microseconds.
const START: u64 = 1_700_000_000_000_123;

async fn redis(server: &RedisServer) -> Redis {
    let config = RedisConfig::parse(&server.url()).unwrap().timeout(Duration::from_secs(30));
    let redis = Redis::open(config).unwrap();
    while redis.connected().await.is_err() {}
    redis
}

async fn instance(server: &RedisServer, clock: &str) -> RedisLimits {
    RedisLimits::with_clock(redis(server).await, Duration::from_secs(600), clock)
}

fn take(limits: &RedisLimits, want: Want, wall: u64) -> Take {
    Take { id: limits.id(), wants: [want].into(), wall }
}

fn settlement(take: Take, spent: u64) -> Settlement {
    let Take { id, wants, wall } = take;
    Settlement { id, wants, spent: vec![spent], wall }
}

fn month(capacity: u64, warn: Option<u64>) -> Shape {
    Shape { kind: Kind::Calendar(Period::Month.of(Zone::UTC)), capacity, warn }
}

/// What all have used of a limit without slices out.
async fn used(limits: &RedisLimits, key: &Arc<str>, shape: Shape, wall: u64) -> u64 {
    let want = Want::new(key.clone(), shape, shape.capacity + 1);
    match limits.take(take(limits, want, wall)).await.unwrap() {
        Verdict::Refused(lacks) => lacks[0].used,
        other => panic!("{other:?}"),
    }
}

struct World<'a> {
    instances: &'a [RedisLimits; INSTANCES],
    key: Arc<str>,
    shape: Shape,
    borrow: u64,
    now: u64,
    open: Vec<(usize, Take, usize)>,
    log: Vec<Used>,
}

impl World<'_> {
    async fn step(&mut self, step: &Step) {
        match *step {
            Step::Pass(millis) => {
                self.now += millis * 1_000;
                let set = ::redis::cmd("SET").arg("now").arg(self.now).clone();
                self.instances[0].redis.query::<()>(&set).await.unwrap();
            }
            Step::Tick(at) => {
                self.instances[at].inner.slices().tick();
                self.written(at).await;
            }
            Step::Take(at, amount) => {
                let limits = &self.instances[at];
                let want = Want::new(self.key.clone(), self.shape, amount);
                let want = Want { borrow: self.borrow, ..want };
                let take = take(limits, want, self.now * 1_000);
                if let Verdict::Taken(_) = limits.take(take.clone()).await.unwrap() {
                    self.open.push((at, take, self.log.len()));
                    self.log.push(Used { at: self.now * 1_000, amount });
                }
            }
            Step::Settle(which, share) if which < self.open.len() => {
                let bucket = matches!(self.shape.kind, Kind::Bucket { .. });
                self.settle(which, if bucket { 100 } else { share }).await;
            }
            Step::Settle(..) => {}
            Step::Crash(at) => {
                self.instances[at].inner.slices().crash();
                self.open.retain(|(instance, ..)| *instance != at);
            }
        }
    }

    async fn settle(&mut self, which: usize, share: u64) {
        let (at, take, log) = self.open.swap_remove(which);
        let spent = take.wants[0].amount * share / 100;
        self.log[log].amount = spent;
        self.instances[at].settle(settlement(take, spent));
        self.instances[at].written().await;
    }

    async fn written(&self, at: usize) {
        let limits = &self.instances[at];
        assert!(limits.inner.give_back(&limits.queue));
        limits.written().await;
    }
}

#[test]
fn no_more_is_used_than_the_limit_and_slices() {
    let server = RedisServer::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    server.command(&format!("SET now {START}"));
    let instances: [RedisLimits; INSTANCES] =
        std::array::from_fn(|_| runtime.block_on(instance(&server, CLOCK)));
    let case = Cell::new(0);
    let mut runner = TestRunner::new(ProptestConfig { cases: 64, ..ProptestConfig::default() });
    let run = |((shape, borrow), steps): ((Shape, u64), Vec<Step>)| {
        case.set(case.get() + 1);
        let key = Arc::from(format!("key:{}", case.get()));
        let (open, log) = (Vec::new(), Vec::new());
        let mut world = World { instances: &instances, key, shape, borrow, now: START, open, log };
        let crashed = steps.iter().any(|step| matches!(step, Step::Crash(_)));
        let used = runtime.block_on(async {
            world.step(&Step::Pass(0)).await;
            for step in &steps {
                world.step(step).await;
            }
            while !world.open.is_empty() {
                world.settle(0, 100).await;
            }
            for limits in &instances {
                limits.flush().await;
            }
            used(&instances[0], &world.key, shape, world.now * 1_000).await
        });
        let spent: u64 = world.log.iter().map(|used| used.amount).sum();
        let calendar = matches!(shape.kind, Kind::Calendar(_));
        holds(&shape, &world.log, if calendar { 0 } else { borrow * INSTANCES as u64 });
        if calendar {
            prop_assert!(used >= spent && (crashed || used == spent), "{} of {}", used, spent);
        }
        Ok(())
    };
    runner.run(&(any_shape(), vec(step(), 1..120)), run).unwrap();
}

/// What is printed here is told in docs/operations.md.
#[tokio::test]
async fn round_trips_of_a_busy_instance() {
    let server = RedisServer::start();
    let mut trips = Vec::new();
    for borrow in [0, 1_000] {
        let limits = instance(&server, super::CLOCK).await;
        let key: Arc<str> = format!("busy:{borrow}").into();
        for _ in 0..1_000 {
            let want = Want { borrow, ..Want::new(key.clone(), month(100_000, None), 1) };
            let take = take(&limits, want, START * 1_000);
            assert!(matches!(limits.take(take.clone()).await.unwrap(), Verdict::Taken(_)));
            limits.settle(settlement(take, 1));
        }
        limits.flush().await;
        let figures = limits.figures();
        assert_eq!(
            (figures.asked + figures.borrowed, figures.lost, figures.waiting),
            (1_000, 0, 0)
        );
        trips.push(figures.asked);
        assert_eq!(used(&limits, &key, month(100_000, None), START * 1_000).await, 1_000);
    }
    println!("round trips of 1,000 requests: {} without slices, {} with them", trips[0], trips[1]);
    assert_eq!(trips[0], 1_000);
    // One a second and some at the start; the machine may be a slow one.
    assert!(trips[1] < 250, "{trips:?}");
}

/// With a place to ask for there is a round trip for each; what slices had is given back when the
/// store refuses.
#[tokio::test]
async fn all_or_nothing_is_true_of_slices_and_store() {
    let server = RedisServer::start();
    let limits = instance(&server, super::CLOCK).await;
    let shape = month(1_000, None);
    let wall = START * 1_000;
    let both = |amount| {
        let quota = Want { borrow: 100, ..Want::new("quota", shape, amount) };
        let places = Shape { kind: Kind::Concurrent, capacity: 8, warn: None };
        let place = Want::new("places", places, 1);
        Take { id: limits.id(), wants: [quota, place].into(), wall }
    };
    let mut open = Vec::new();
    for _ in 0..8 {
        let take = both(2);
        assert!(matches!(limits.take(take.clone()).await.unwrap(), Verdict::Taken(_)));
        open.push(take);
    }
    for _ in 0..20 {
        let Verdict::Refused(lacks) = limits.take(both(2)).await.unwrap() else { panic!() };
        assert_eq!((lacks.len(), lacks[0].want), (1, 1));
        // Nobody waits for the answer: the same.
        let mut dropped = limits.take(both(2));
        let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(dropped.as_mut().poll(cx)));
        drop(polled.await);
        drop(dropped);
    }
    for take in open {
        let Take { id, wants, wall } = take;
        limits.settle(Settlement { id, wants, spent: vec![1, 1], wall });
    }
    limits.flush().await;
    assert_eq!(used(&limits, &"quota".into(), shape, wall).await, 8);
    assert!(matches!(limits.take(both(1)).await.unwrap(), Verdict::Taken(_)), "places are free");
}

/// Nobody waits for the answer any more when the question arrives: what was taken, and what was
/// borrowed with it, is given back.
#[tokio::test]
async fn a_take_that_is_late_takes_nothing() {
    let server = RedisServer::start();
    let (limits, other) =
        (instance(&server, super::CLOCK).await, instance(&server, super::CLOCK).await);
    let (key, shape, wall): (Arc<str>, _, _) = ("key".into(), month(1_000, None), START * 1_000);
    let want = |amount| Want { borrow: 100, ..Want::new(key.clone(), shape, amount) };
    // Two of them come out of a slice, which is spent then.
    for _ in 0..6 {
        let take = take(&limits, want(50), wall);
        assert!(matches!(limits.take(take.clone()).await.unwrap(), Verdict::Taken(_)));
        limits.settle(settlement(take, 50));
    }
    server.pause();
    let mut asked = limits.take(take(&limits, want(50), wall));
    let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(asked.as_mut().poll(cx)));
    assert!(polled.await.is_pending());
    drop(asked);
    server.resume();
    limits.flush().await;
    assert_eq!(used(&other, &key, shape, wall).await, 300);
    let figures = limits.figures();
    assert_eq!((figures.lost, figures.waiting), (0, 0));
}

/// Another policy came while requests were under way: what they reserved is as large a share of the
/// bucket as it was, and all of it goes back.
#[tokio::test]
async fn a_changed_rate_keeps_reservations_in_proportion() {
    let server = RedisServer::start();
    server.command(&format!("SET now {START}"));
    let limits = instance(&server, CLOCK).await;
    let bucket = |capacity| Shape {
        kind: Kind::Bucket { rate: capacity, per: 3_600 * SECOND },
        capacity,
        warn: None,
    };
    let (old, new, wall) = (bucket(100), bucket(1_000), START * 1_000);
    let took = async |amount| {
        let take = take(&limits, Want::new("key", old, amount), wall);
        assert!(matches!(limits.take(take.clone()).await.unwrap(), Verdict::Taken(_)));
        take
    };
    let (one, two) = (took(10).await, took(20).await);
    assert_eq!(used(&limits, &"key".into(), new, wall).await, 300);
    let fresh = take(&limits, Want::new("key", new, 100), wall);
    assert!(matches!(limits.take(fresh.clone()).await.unwrap(), Verdict::Taken(_)));
    limits.settle(settlement(one, 0));
    limits.settle(settlement(two, 5));
    limits.written().await;
    assert_eq!(used(&limits, &"key".into(), new, wall).await, 150);
    limits.settle(settlement(fresh, 0));
    limits.written().await;
    assert_eq!(used(&limits, &"key".into(), new, wall).await, 50);
}

/// Whoever drops the limits gives back what was borrowed.
#[tokio::test]
async fn slices_go_back_with_the_last_who_has_the_limits() {
    let server = RedisServer::start();
    let (limits, other) =
        (instance(&server, super::CLOCK).await, instance(&server, super::CLOCK).await);
    let (key, shape, wall): (Arc<str>, _, _) = ("key".into(), month(1_000, None), START * 1_000);
    for _ in 0..6 {
        let want = Want { borrow: 100, ..Want::new(key.clone(), shape, 5) };
        let take = take(&limits, want, wall);
        assert!(matches!(limits.take(take.clone()).await.unwrap(), Verdict::Taken(_)));
        limits.settle(settlement(take, 5));
    }
    assert!(used(&other, &key, shape, wall).await > 30, "a slice is out");
    drop(limits);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while used(&other, &key, shape, wall).await != 30 {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Marks are told once, to whom crossed them: by a take, a settlement, or a charge.
#[tokio::test]
async fn who_crosses_a_mark_is_told() {
    let server = RedisServer::start();
    let (one, two) = (instance(&server, super::CLOCK).await, instance(&server, super::CLOCK).await);
    let (shape, wall) = (month(100, Some(80)), START * 1_000);
    let (tell, told) = std::sync::mpsc::channel();
    let want = |name: &'static str, amount| {
        let tell = tell.clone();
        let tell = Tell::new(move |crossing| tell.send((name, crossing)).unwrap());
        Want { tell: Some(tell), ..Want::new("key", shape, amount) }
    };
    let took = async |limits: &RedisLimits, want| {
        let take = take(limits, want, wall);
        let Verdict::Taken(had) = limits.take(take.clone()).await.unwrap() else { panic!() };
        (take, had[0].climbed)
    };
    let (first, climbed) = took(&one, want("one", 60)).await;
    assert!(!climbed);
    let (second, climbed) = took(&two, want("two", 30)).await;
    assert!(climbed);
    two.settle(settlement(second, 10));
    two.written().await;
    one.settle(settlement(first, 75));
    one.written().await;
    assert_eq!(told.try_iter().collect::<Vec<_>>(), [("one", Crossing::Warned { used: 85 })]);
    let (third, _) = took(&two, want("two", 15)).await;
    assert_eq!(told.try_iter().count(), 0, "it may come back");
    two.settle(settlement(third.clone(), 15));
    two.settle(settlement(third, 15));
    two.written().await;
    one.charge(take(&one, want("one", 7), wall));
    one.written().await;
    assert_eq!(told.try_iter().collect::<Vec<_>>(), [("two", Crossing::Filled { used: 100 })]);
}

/// What others have reserved may come back: that nothing is left is told when it was used.
#[tokio::test]
async fn what_is_reserved_is_not_used_up() {
    let server = RedisServer::start();
    let (one, two) = (instance(&server, super::CLOCK).await, instance(&server, super::CLOCK).await);
    let (tell, told) = std::sync::mpsc::channel();
    for (name, kind) in [
        ("calendar", month(100, None).kind),
        ("window", Kind::Window { window: 86_400_000_000_000 }),
        ("bucket", Kind::Bucket { rate: 1, per: 86_400_000_000_000 }),
    ] {
        let shape = Shape { kind, capacity: 100, warn: Some(80) };
        let wall = START * 1_000;
        let want = |amount| {
            let tell = tell.clone();
            let tell = Tell::new(move |crossing| {
                if let Crossing::Filled { used } = crossing {
                    tell.send(used).unwrap();
                }
            });
            Want { tell: Some(tell), ..Want::new(name, shape, amount) }
        };
        let took = async |limits: &RedisLimits, amount| {
            let take = take(limits, want(amount), wall);
            let verdict = limits.take(take.clone()).await.unwrap();
            assert!(matches!(verdict, Verdict::Taken(_)), "{name}: {verdict:?}");
            take
        };
        let settled = async |limits: &RedisLimits, take, spent| {
            limits.settle(settlement(take, spent));
            limits.written().await;
            told.try_iter().collect::<Vec<_>>()
        };
        let (first, second) = (took(&one, 60).await, took(&two, 40).await);
        assert_eq!(settled(&one, first, 60).await, [0; 0], "{name}: the rest is reserved");
        assert_eq!(settled(&two, second, 10).await, [0; 0], "{name}: and came back");
        let (first, second) = (took(&one, 10).await, took(&two, 20).await);
        assert_eq!(settled(&two, second, 25).await, [0; 0], "{name}: more than was there");
        assert_eq!(settled(&one, first, 10).await, [105], "{name}: used up");
        two.charge(take(&two, want(5), wall));
        two.written().await;
        assert_eq!(told.try_iter().count(), 0, "{name}: told already");
    }
}

/// A window became longer while a request of the old policy was under way.
#[tokio::test]
async fn who_settles_by_an_older_policy_forgets_nothing() {
    let server = RedisServer::start();
    server.command(&format!("SET now {START}"));
    let limits = instance(&server, CLOCK).await;
    let window = |seconds| Shape {
        kind: Kind::Window { window: seconds * SECOND },
        capacity: 100,
        warn: None,
    };
    let (short, long, wall) = (window(1), window(3_600), START * 1_000);
    let old = take(&limits, Want::new("key", short, 10), wall);
    assert!(matches!(limits.take(old.clone()).await.unwrap(), Verdict::Taken(_)));
    let new = take(&limits, Want::new("key", long, 20), wall);
    assert!(matches!(limits.take(new.clone()).await.unwrap(), Verdict::Taken(_)));
    server.command(&format!("SET now {}", START + 10_000_000));
    limits.settle(settlement(old, 4));
    limits.written().await;
    assert_eq!(used(&limits, &"key".into(), long, wall).await, 24);
    server.command(&format!("SET now {}", START + 3_600_000_001));
    assert_eq!(used(&limits, &"key".into(), long, wall).await, 0);
}

/// Who starts knows the others from the first word on, and those know of it as soon as they ask.
#[tokio::test]
async fn instances_know_of_each_other_at_once() {
    let server = RedisServer::start();
    let open = async || RedisLimits::with_lease(redis(&server).await, Duration::from_secs(600));
    let patience = Duration::from_secs(20);
    let one = open().await;
    assert!(one.wait_known(patience));
    let two = open().await;
    assert!(two.wait_known(patience));
    assert_eq!(two.instances(), 2);
    used(&one, &"key".into(), month(9, None), START * 1_000).await;
    assert_eq!(one.instances(), 2);
    // Without a word nobody waits for ever.
    let nobody = Redis::open(RedisConfig::parse("redis://127.0.0.1:1").unwrap()).unwrap();
    assert!(!RedisLimits::new(nobody).wait_known(Duration::from_millis(1)));
}

/// A server that answers, and takes no writes, can't be asked: that is told, and when it can.
#[tokio::test]
async fn a_redis_of_no_use_is_told() {
    let server = RedisServer::start();
    let limits = instance(&server, super::CLOCK).await;
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    limits.on_trouble(move |why| {
        let _ = tell.send(why.map(str::to_owned));
    });
    assert_eq!(limits.trouble(), None);
    server.command("CONFIG SET maxmemory 1");
    let why = told.recv().await.unwrap().unwrap();
    assert!(why.contains("maxmemory"), "{why}");
    assert_eq!(limits.trouble(), Some(why));
    server.command("CONFIG SET maxmemory 0");
    assert_eq!(told.recv().await, Some(None));
    assert_eq!(limits.trouble(), None);
}
