//! Three processes on one Redis that borrow of one limit: what they let in, and how often they ask.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::SeqCst},
};

use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioExecutor};
use tollway_testkit::RedisServer;

use super::{
    served::{Served, Simulated},
    support::*,
};

const PROXIES: u64 = 3;
const CALLERS: u64 = 4;
/// What the limit lets in, in a month. An instance borrows a twentieth of it at the most.
const LIMIT: u64 = 3_000;

/// Scripts that limits ran there: decisions, settlements, slices and signs of life.
fn scripts(server: &RedisServer) -> u64 {
    let told = server.command("INFO commandstats");
    let line = told.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
    line.and_then(|line| line.split(',').next()).map_or(0, |calls| calls.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_that_borrow_let_in_what_the_limit_says_and_seldom_ask() {
    let (server, provider) = (RedisServer::start(), Simulated::new(&[]));
    let folder = tempfile::tempdir().unwrap();
    let policy = format!(
        "state: {{ redis: {{ url: '{}', timeout: 30s }}, ledger: memory, breakers: memory }}
server: {{ workers: 1 }}
log: {{ level: warn }}
providers: {{ up: {{ base_url: 'http://{}/v1', auth: none }} }}
limits:
  - {{ name: shared, per: all, match: {{ model: shared }}, requests: {LIMIT}/month, borrow: 5%, when_full: reject, when_store_is_away: closed }}
",
        server.url(),
        provider.address
    );
    let proxies: Vec<_> = (0..PROXIES).map(|_| Arc::new(Served::with(&folder, &policy))).collect();
    let (asked, admitted) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    // Until there is nothing left for it.
    let call = |proxy: &Arc<Served>| {
        let (proxy, asked, admitted) = (proxy.clone(), asked.clone(), admitted.clone());
        async move {
            let client: Http = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
                .build(HttpConnector::new());
            loop {
                let got = proxy.chat(&client, "shared", &[]).await;
                asked.fetch_add(1, SeqCst);
                match got.status.as_u16() {
                    200 if !got.broken => _ = admitted.fetch_add(1, SeqCst),
                    429 => return,
                    _ => panic!("{got:?}"),
                }
            }
        }
    };
    // Each has its connection to Redis; till then the limit is closed.
    let client = client();
    for proxy in &proxies {
        while proxy.chat(&client, "shared", &[]).await.status == 503 {}
        asked.fetch_add(1, SeqCst);
        admitted.fetch_add(1, SeqCst);
    }
    let before = scripts(&server);
    let callers = (0..CALLERS).flat_map(|_| proxies.iter());
    let callers: Vec<_> = callers.map(|proxy| tokio::spawn(call(proxy))).collect();
    for caller in callers {
        caller.await.unwrap();
    }
    let (in_one_go, ran) = (admitted.load(SeqCst), scripts(&server) - before);
    assert!(in_one_go <= LIMIT, "{in_one_go} of {LIMIT}");
    let share = LIMIT / 20 * PROXIES;
    assert!(in_one_go + share >= LIMIT, "only slices may seem missing: {in_one_go} of {LIMIT}");
    let (mut there, mut borrowed) = (0.0, 0.0);
    for proxy in &proxies {
        there += proxy.metric("tollway_limit_store_asked_total").await.unwrap();
        borrowed += proxy.metric("tollway_limit_store_borrowed_total").await.unwrap();
    }
    println!(
        "{PROXIES} processes, 5 % borrowed: {in_one_go} of {LIMIT} let in; {there} decisions there, {borrowed} here; {ran} scripts"
    );
    assert_eq!(there + borrowed, asked.load(SeqCst) as f64, "each is decided once");
    assert!(there * 2.0 < borrowed, "{there} decided there, {borrowed} here");
    assert!(ran < LIMIT, "{ran} scripts; without slices each request is two");
    // What was left of slices comes back within a second, and then all of it was let in, and no more.
    within("the last of it", async {
        while admitted.load(SeqCst) < LIMIT {
            call(&proxies[0]).await;
        }
    })
    .await;
    for proxy in &proxies {
        call(proxy).await;
    }
    assert_eq!(admitted.load(SeqCst), LIMIT);
}
