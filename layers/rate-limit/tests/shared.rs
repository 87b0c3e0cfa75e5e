//! Instances on one Redis, and what they do while it is away.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

mod support;

use std::{future::ready, sync::Arc, time::Duration};

use http::Response;
use support::*;
use tokio::time::Instant;
use tollway_core::{BoxError, Failure, find_error};
use tollway_rate_limit::{
    Downgraded, EventKind, Key, Limit, LimitExceeded, Period, Quota, RateLimitLayer, Rule,
    StoreAway, Unit, WhenFull, WhenStoreIsAway,
};
use tollway_store::{
    limits::{RedisLimits, SharedLimits},
    redis::{Redis, RedisConfig},
};
use tollway_testkit::{Probe, RedisServer, ScriptedBody, Step};
use tower::{Layer, ServiceExt};

type Inner = Probe<(), std::future::Ready<Result<Response<ScriptedBody>, std::io::Error>>>;

/// What a busy machine may need; where the clock stands still it is the least of what passes.
const TIMEOUT: Duration = Duration::from_secs(10);

struct Instance {
    layer: RateLimitLayer<ByReply>,
    events: tollway_testkit::Recorder<tollway_rate_limit::Event>,
    limits: Arc<RedisLimits>,
}

async fn instance(server: &RedisServer, timeout: Duration, rules: Vec<Rule>) -> Instance {
    let config = RedisConfig::parse(&server.url()).unwrap().timeout(timeout);
    let redis = Redis::open(config).unwrap();
    while redis.connected().await.is_err() {}
    let limits = Arc::new(RedisLimits::with_lease(redis, Duration::from_secs(60)));
    let events = tollway_testkit::Recorder::default();
    let layer = RateLimitLayer::builder(rules, ByReply::default())
        .hook(events.clone())
        .shared(limits.clone())
        .build()
        .unwrap();
    Instance { layer, events, limits }
}

impl Instance {
    /// A request that wants so much; its reply is open, and will have used `used`.
    async fn call(&self, wants: u64, used: u64) -> Result<Reply, BoxError> {
        let reply = move |_| ready(Ok(reply(ScriptedBody::new([Step::data("x")]), Some(used))));
        let inner: Inner = Probe::new(reply);
        self.layer.layer(inner).oneshot(request(None, wants)).await
    }

    async fn spend(&self, amount: u64) -> Result<(), BoxError> {
        self.call(amount, amount).await.map(drop)
    }

    /// Exactly so much is left for everybody.
    async fn has(&self, left: u64) {
        self.limits.written().await;
        assert_eq!(exceeded(self.spend(left + 1).await).standing().remaining, left);
        drop(self.call(left, 0).await.unwrap());
        self.limits.written().await;
    }
}

fn month(amount: u64) -> Quota {
    Quota::Calendar { amount, period: Period::Month }
}

#[tokio::test]
async fn one_quota_for_all_instances() {
    let server = RedisServer::start();
    let limit = || Limit::builder("all", month(100)).warn_at(80).build().unwrap();
    let rules = || vec![tokens(limit())];
    let one = instance(&server, TIMEOUT, rules()).await;
    let two = instance(&server, TIMEOUT, rules()).await;
    let held = one.call(60, 10).await.unwrap();
    let error = exceeded(two.call(50, 0).await);
    assert_eq!((error.standing().capacity, error.standing().remaining), (100, 40));
    assert!(error.retry_after().unwrap() <= Duration::from_secs(31 * 86_400));
    assert_eq!((kinds(&one.events).len(), kinds(&two.events).len()), (0, 1), "its own refusal");
    drop(held);
    one.has(90).await;
    two.spend(70).await.unwrap();
    let warned = ("all".into(), EventKind::Warned { used: 80, capacity: 100 });
    assert_eq!(kinds(&two.events), [warned]);
    assert!(exceeded(one.spend(101).await).never_fits());
}

/// A busy instance lets in by what it borrowed; nothing of that is lost, and each request is counted
/// by the instance that let it in.
#[tokio::test]
async fn a_busy_instance_asks_now_and_then() {
    let server = RedisServer::start();
    let limit = || Limit::builder("all", month(1_000)).borrow(100).build().unwrap();
    let rules = || vec![tokens(limit())];
    let one = instance(&server, TIMEOUT, rules()).await;
    let two = instance(&server, TIMEOUT, rules()).await;
    let mut open = Vec::new();
    for _ in 0..60 {
        open.push(one.call(5, 3).await.unwrap());
    }
    let figures = one.limits.figures();
    assert_eq!(figures.asked + figures.borrowed, 60);
    assert!(figures.borrowed > 30, "{figures:?}");
    two.spend(20).await.unwrap();
    drop(open);
    one.limits.flush().await;
    two.has(1_000 - 60 * 3 - 20).await;
    let admitted = |instance: &Instance| instance.layer.handle().admitted()[0].1;
    assert_eq!((admitted(&one), admitted(&two)), (60, 2), "what `has` took is one of them");
    let too_much = Limit::builder("all", month(1_000)).borrow(101).build();
    assert!(too_much.is_err());
    assert!(Limit::builder("all", Quota::Concurrent { amount: 100 }).borrow(1).build().is_err());
}

/// A reply used more than was reserved for it: whoever sent the request is told, and nobody else.
#[tokio::test]
async fn the_instance_that_crossed_a_mark_is_told() {
    let server = RedisServer::start();
    let limit = || Limit::builder("all", month(100)).warn_at(80).build().unwrap();
    let rules = || vec![tokens(limit())];
    let one = instance(&server, TIMEOUT, rules()).await;
    let two = instance(&server, TIMEOUT, rules()).await;
    two.spend(10).await.unwrap();
    two.limits.written().await;
    drop(one.call(40, 70).await.unwrap());
    one.limits.written().await;
    let debt = |reserved, spent| ("all".into(), EventKind::Debt { reserved, spent });
    let warned = ("all".into(), EventKind::Warned { used: 80, capacity: 100 });
    assert_eq!(kinds(&one.events), [debt(40, 70), warned]);
    let held = one.call(19, 19).await.unwrap();
    drop(two.call(1, 2).await.unwrap());
    two.limits.written().await;
    assert_eq!(kinds(&two.events), [debt(1, 2)], "what is reserved may come back");
    drop(held);
    one.limits.written().await;
    let filled = ("all".into(), EventKind::Filled { used: 101, capacity: 100 });
    assert_eq!(kinds(&one.events), [filled]);
    assert_eq!(kinds(&two.events).len(), 0, "it was told");
}

/// All or nothing over both, also where only one of them is full.
#[tokio::test]
async fn a_refused_request_costs_nothing_anywhere() {
    let server = RedisServer::start();
    let places = || Rule::new(limit("places", Quota::Concurrent { amount: 1 }), Unit::Custom(0));
    let rules = || vec![tokens(limit("tokens", month(100))), places()];
    let one = instance(&server, TIMEOUT, rules()).await;
    let two = instance(&server, TIMEOUT, rules()).await;
    let held = one.call(10, 10).await.unwrap();
    assert_eq!(&**exceeded(two.call(10, 10).await).limit(), "places");
    drop(held);
    one.limits.written().await;
    two.has(90).await;
}

/// Each instance is told; what is used of it is one sum.
#[tokio::test]
async fn one_key_has_a_quota_of_its_own_at_all_instances() {
    let server = RedisServer::start();
    let slow = |amount| Quota::TokenBucket { amount: 1, per: seconds(1 << 20), burst: amount };
    let rules = || {
        let limit = Limit::builder("all", slow(100)).warn_at(80).build().unwrap();
        vec![tokens(limit).bounded()]
    };
    let one = instance(&server, TIMEOUT, rules()).await;
    let two = instance(&server, TIMEOUT, rules()).await;
    one.spend(50).await.unwrap();
    one.limits.written().await;
    let handles = [one.layer.handle(), two.layer.handle()];
    handles.iter().for_each(|h| h.set_quota("all", &Key::All, slow(1000), None).unwrap());
    let error = exceeded(two.spend(501).await);
    assert_eq!((error.standing().capacity, error.standing().remaining), (1000, 500));
    assert_eq!(error.standing().quota, slow(1000));
    two.spend(300).await.unwrap();
    two.limits.written().await;
    one.spend(100).await.unwrap();
    one.limits.written().await;
    let warned = EventKind::Warned { used: 900, capacity: 1000 };
    assert!(kinds(&one.events).contains(&("all".into(), warned)));
    handles.iter().for_each(|handle| assert!(handle.remove_quota("all", &Key::All)));
    let error = exceeded(two.spend(11).await);
    assert_eq!((error.standing().capacity, error.standing().remaining), (100, 10));
    // What is larger than all of it asks for all of it, here as in memory.
    handles.iter().for_each(|h| h.set_quota("all", &Key::All, slow(10), None).unwrap());
    assert!(!exceeded(one.spend(11).await).never_fits());
    one.spend(1).await.unwrap();
}

/// A budget of this process beside limits of all: all or nothing over both.
#[tokio::test]
async fn some_limits_may_stay_here() {
    let server = RedisServer::start();
    let rules = || vec![tokens(limit("all", month(100))), tokens(limit("own", month(60))).here()];
    let one = instance(&server, TIMEOUT, rules()).await;
    let two = instance(&server, TIMEOUT, rules()).await;
    one.spend(50).await.unwrap();
    assert_eq!(&**exceeded(one.spend(20).await).limit(), "own");
    one.limits.written().await;
    two.spend(50).await.unwrap();
    assert_eq!(&**exceeded(two.spend(1).await).limit(), "all", "what the first gave back is there");
    let used = |instance: &Instance| {
        let standing = instance.layer.handle().standing("own", &Key::All).unwrap();
        (standing.capacity, standing.remaining)
    };
    assert_eq!((used(&one), used(&two)), ((60, 10), (60, 10)));
}

#[tokio::test]
async fn a_shadow_refuses_nobody() {
    let server = RedisServer::start();
    let shadow = Limit::builder("shadow", month(5)).enforce(false).build().unwrap();
    let one = instance(&server, TIMEOUT, vec![tokens(shadow)]).await;
    one.spend(4).await.unwrap();
    one.spend(4).await.unwrap();
    let kinds: Vec<_> = kinds(&one.events).into_iter().map(|(_, kind)| kind).collect();
    assert_eq!(kinds, [EventKind::WouldHaveRefused]);
}

#[tokio::test]
async fn who_waits_goes_in_order_when_there_is_room() {
    let server = RedisServer::start();
    let rules =
        || vec![Rule::new(waits("places", Quota::Concurrent { amount: 1 }, 60), Unit::Requests)];
    let one = instance(&server, TIMEOUT, rules()).await;
    let two = instance(&server, TIMEOUT, rules()).await;
    let held = two.call(1, 1).await.unwrap();
    let order = std::sync::Mutex::new(Vec::new());
    let wait = async |name: u8| {
        let reply = one.call(1, 1).await.unwrap();
        order.lock().unwrap().push(name);
        drop(reply);
    };
    let in_line = async |count| {
        while one.layer.handle().standing("places", &Key::All).unwrap().waiting < count {
            tokio::task::yield_now().await;
        }
    };
    let second = async {
        in_line(1).await;
        wait(2).await;
    };
    let third = async {
        in_line(2).await;
        wait(3).await;
    };
    let release = async {
        in_line(3).await;
        drop(held);
    };
    tokio::join!(wait(1), second, third, release);
    assert_eq!(*order.lock().unwrap(), [1, 2, 3]);
    let waited =
        kinds(&one.events).into_iter().filter(|(_, kind)| matches!(kind, EventKind::Waited(_)));
    assert_eq!(waited.count(), 3);
}

#[tokio::test]
async fn who_cannot_be_in_time_is_refused_at_once() {
    let server = RedisServer::start();
    let one = instance(&server, TIMEOUT, vec![tokens(waits("all", month(5), 60))]).await;
    one.spend(5).await.unwrap();
    // Unless a month ends within this minute.
    let error = exceeded(one.spend(1).await);
    assert!(error.retry_after().unwrap() > Duration::from_secs(60));
}

fn when(name: &str, when: WhenStoreIsAway) -> Limit {
    Limit::builder(name, month(100)).when_store_is_away(when).build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn away_each_limit_does_as_it_was_told() {
    let mut server = RedisServer::start();
    let timeout = Duration::from_millis(20);
    let of =
        async |when_away| instance(&server, timeout, vec![tokens(when("all", when_away))]).await;
    let (local, open) = (of(WhenStoreIsAway::Local).await, of(WhenStoreIsAway::Open).await);
    let closed = of(WhenStoreIsAway::Closed).await;
    server.kill();
    // Three instances: a third each, once they have told each other.
    let share = local.layer.handle().standing("all", &Key::All).unwrap().capacity;
    local.spend(share).await.unwrap();
    let start = Instant::now();
    let error = exceeded(local.spend(1).await);
    assert!(!error.never_fits());
    open.spend(1000).await.unwrap();
    let error = closed.spend(1).await.unwrap_err();
    assert_eq!(&**find_error::<StoreAway>(&*error).unwrap().limit(), "all");
    assert!(find_error::<Failure>(&*error).unwrap().retry_after().is_some());
    assert!(start.elapsed() <= 3 * (timeout + Duration::from_millis(5)));
}

/// The clock stands still but for timers: what passes is what the code waited.
#[tokio::test(start_paused = true)]
async fn a_paused_redis_holds_nobody_up_beyond_the_timeout() {
    let server = RedisServer::start();
    let timeout = Duration::from_millis(20);
    let one = instance(&server, timeout, vec![tokens(limit("all", month(1000)))]).await;
    server.pause();
    for _ in 0..10 {
        let start = Instant::now();
        one.spend(1).await.unwrap();
        assert!(start.elapsed() <= timeout + Duration::from_millis(5), "{:?}", start.elapsed());
    }
    server.resume();
}

/// Whatever is done to Redis: nobody waits longer than the timeout, nobody fails for it, and in the
/// end it is asked again. The clock stands still but for timers.
#[tokio::test(start_paused = true)]
async fn nothing_that_is_done_to_redis_is_felt_for_long() {
    let mut server = RedisServer::start();
    let timeout = Duration::from_millis(20);
    let places = Rule::new(limit("places", Quota::Concurrent { amount: 1000 }), Unit::Requests);
    let rules = vec![tokens(limit("all", month(1_000_000))), places];
    let one = instance(&server, timeout, rules).await;
    let calls = async |count: usize| {
        let mut held = Vec::new();
        for _ in 0..count {
            let start = Instant::now();
            held.push(one.call(2, 1).await.unwrap());
            let took = start.elapsed();
            assert!(took <= timeout + Duration::from_millis(5), "{took:?}");
        }
    };
    for round in 0..3 {
        calls(5).await;
        server.flush();
        server.command("SCRIPT FLUSH");
        calls(5).await;
        server.pause();
        calls(5).await;
        server.resume();
        calls(5).await;
        match round {
            0 => server.kill(),
            _ => server.restart(),
        }
        calls(5).await;
        server.restart();
        calls(5).await;
    }
    // Asked again, and not alone any more.
    loop {
        kinds(&one.events);
        calls(1).await;
        if kinds(&one.events).is_empty() {
            break;
        }
    }
    one.limits.written().await;
    assert_eq!(tollway_store::limits::SharedLimits::lost(&*one.limits), 0);
    assert_eq!(one.layer.handle().standing("places", &Key::All).unwrap().held, 0);
}

#[tokio::test]
async fn what_was_used_alone_is_charged_once_on_return() {
    let mut server = RedisServer::start();
    let rules = || vec![tokens(when("all", WhenStoreIsAway::Local))];
    let one = instance(&server, TIMEOUT, rules()).await;
    one.spend(5).await.unwrap();
    one.limits.written().await;
    server.kill();
    while tollway_store::limits::SharedLimits::is_away(&*one.limits).then_some(()).is_none() {
        let _ = one.call(0, 0).await;
    }
    one.spend(20).await.unwrap();
    let held = one.call(10, 3).await.unwrap();
    server.restart();
    while tollway_store::limits::SharedLimits::is_away(&*one.limits) {
        tokio::task::yield_now().await;
    }
    one.spend(0).await.unwrap();
    // The first 5 went with the server; 20 were charged, and 3 when the reply ends.
    one.has(80).await;
    drop(held);
    one.has(77).await;
    one.has(77).await;
    let error = exceeded(one.spend(78).await);
    assert!(find_error::<LimitExceeded>(&error).is_some());
}

/// Nobody comes to the instance that was alone, and others hear of what it let in all the same.
#[tokio::test]
async fn what_was_used_alone_is_charged_without_another_request() {
    let mut server = RedisServer::start();
    let rules = || vec![tokens(when("all", WhenStoreIsAway::Local))];
    let one = instance(&server, TIMEOUT, rules()).await;
    let two = instance(&server, TIMEOUT, rules()).await;
    server.kill();
    one.spend(20).await.unwrap();
    server.restart();
    let handle = two.layer.handle();
    let used = async || Some(handle.standing_shared("all", &Key::All).await.ok()??.used);
    while used().await != Some(20) {}
}

/// What was left where the request was over its budget, or `no`; it uses six.
async fn over(instance: &Instance, wants: u64) -> String {
    let inner = Probe::new(|request: http::Request<()>| {
        let over = request.extensions().get::<Downgraded>();
        let left = over.map(|over| over.limits()[0].standing().remaining);
        let text = left.map_or("no".into(), |left| left.to_string());
        let mut reply = reply(ScriptedBody::new([Step::data("x")]), Some(6));
        reply.headers_mut().insert("over", text.parse().unwrap());
        ready(Ok::<_, std::io::Error>(reply))
    });
    let reply = instance.layer.layer(inner).oneshot(request(None, wants)).await.unwrap();
    let over = reply.headers()["over"].to_str().unwrap().to_owned();
    drop(reply);
    instance.limits.written().await;
    over
}

/// Nothing is reserved for it, and what it used is owed by all.
#[tokio::test]
async fn who_is_over_a_budget_of_all_is_downgraded_and_owes_what_it_used() {
    let mut server = RedisServer::start();
    let rules = || {
        let spend = Limit::builder("spend", month(10)).when_full(WhenFull::Downgrade);
        vec![tokens(spend.build().unwrap()), tokens(limit("hard", month(30)))]
    };
    let one = instance(&server, TIMEOUT, rules()).await;
    let two = instance(&server, TIMEOUT, rules()).await;
    assert_eq!(over(&one, 6).await, "no");
    assert_eq!(over(&two, 6).await, "4");
    assert_eq!(over(&one, 6).await, "0", "two has told what it used");
    for (instance, times) in [(&one, 1), (&two, 1)] {
        let kinds = kinds(&instance.events);
        let downgraded = ("spend".into(), EventKind::Downgraded);
        assert_eq!(kinds.iter().filter(|kind| **kind == downgraded).count(), times, "{kinds:?}");
    }
    // Eighteen of thirty are used: another limit refuses as ever.
    assert_eq!(&**exceeded(two.call(13, 0).await).limit(), "hard");
    server.kill();
    assert!(two.call(6, 6).await.is_ok(), "alone it goes by what is known here");
}

/// Limits of callers and of providers are layers apart, and the latter decide each attempt.
#[tokio::test(start_paused = true)]
async fn a_request_waits_once_however_often_it_has_to_ask() {
    let server = RedisServer::start();
    let timeout = Duration::from_millis(20);
    let layer =
        async |name| instance(&server, timeout, vec![tokens(limit(name, month(1000)))]).await;
    let (callers, first, second) = (layer("c").await, layer("p").await, layer("q").await);
    server.pause();
    let reply = |_| ready(Ok(reply(ScriptedBody::new([Step::data("x")]), Some(1))));
    let inner: Inner = Probe::new(reply);
    let stack = callers.layer.layer(first.layer.layer(second.layer.layer(inner)));
    let start = Instant::now();
    stack.oneshot(request(None, 1)).await.unwrap();
    let took = start.elapsed();
    assert!(took >= timeout, "{took:?}: nobody was asked");
    assert!(took <= timeout + Duration::from_millis(5), "{took:?}");
    server.resume();
}

/// A reset holds at once at all instances, forgives what is reserved, and gives nothing back twice.
#[tokio::test]
async fn a_reset_is_that_of_all_instances() {
    let server = RedisServer::start();
    let slow = Quota::TokenBucket { amount: 1, per: seconds(1 << 20), burst: 100 };
    let sliding = Quota::SlidingWindow { amount: 100, window: seconds(1 << 20) };
    for (at, quota) in [slow, sliding, month(100)].into_iter().enumerate() {
        let name = format!("all[{at}]");
        let rules = || vec![tokens(limit(&name, quota))];
        let one = instance(&server, TIMEOUT, rules()).await;
        let two = instance(&server, TIMEOUT, rules()).await;
        let handle = two.layer.handle();
        assert!(!handle.reset_shared(&name, &Key::All).await.unwrap(), "nothing was used");
        let (early, late) = (one.call(60, 10).await.unwrap(), one.call(30, 45).await.unwrap());
        assert!(two.spend(11).await.is_err());
        assert!(handle.reset_shared(&name, &Key::All).await.unwrap());
        two.spend(80).await.unwrap();
        two.limits.written().await;
        drop(early);
        one.has(20).await;
        // What it used beyond what was forgiven.
        drop(late);
        one.has(5).await;
        let held = two.call(5, 1).await.unwrap();
        drop(held);
        two.has(4).await;
        let all = handle.reset_all_shared(&name, |key| *key == Key::All).await.unwrap();
        assert_eq!(all, [Key::All], "{quota:?}");
        one.has(100).await;
        let none = handle.reset_all_shared(&name, |_| false).await.unwrap();
        assert_eq!(none, []);
    }
}

#[tokio::test]
async fn all_keys_of_one_limit_are_reset_and_no_others() {
    let server = RedisServer::start();
    let rules = || {
        vec![tokens(limit("one", month(10))), Rule::new(limit("one*", month(5000)), Unit::Requests)]
    };
    let one = instance(&server, TIMEOUT, rules()).await;
    for user in 0..1_500 {
        let user = format!("user {user}");
        let inner: Inner =
            Probe::new(|_| ready(Ok(reply(ScriptedBody::new([Step::data("x")]), Some(4)))));
        drop(one.layer.layer(inner).oneshot(request(Some(&user), 4)).await.unwrap());
    }
    one.limits.written().await;
    let handle = one.layer.handle();
    let mut reset = handle.reset_all_shared("one", |_| true).await.unwrap();
    reset.sort_by_key(ToString::to_string);
    reset.dedup();
    assert_eq!(reset.len(), 1_500);
    assert!(handle.entries("one").unwrap().iter().all(|(_, told)| told.remaining == 10));
    assert_eq!(handle.standing("one*", &Key::All).unwrap().remaining, 3_500);
    assert_eq!(handle.reset_all_shared("one*", |_| true).await.unwrap(), [Key::All]);
    assert!(!handle.reset_shared("two", &Key::All).await.unwrap());
}
