//! A Redis that is killed, stopped, slowed, emptied and started again under a running proxy.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
};

use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioExecutor};
use tollway_testkit::RedisServer;

use super::{
    served::{Served, Simulated},
    support::*,
};

const KINDS: [&str; 3] = ["local", "open", "closed"];
const OPEN: usize = 1;
const CLOSED: usize = 2;
/// What the local limit lets in, in a month.
const LOCAL: u64 = 200;

/// What became of the requests of one kind of limit, at one process.
#[derive(Default)]
struct Fates {
    served: AtomicU64,
    refused: AtomicU64,
    unavailable: AtomicU64,
}

/// Callers at each process.
const CALLERS: u64 = 2;

struct Load {
    proxies: Vec<Served>,
    fates: Vec<[Fates; 3]>,
    stop: AtomicBool,
}

impl Load {
    fn new(proxies: Vec<Served>) -> Arc<Self> {
        let fates = proxies.iter().map(|_| Default::default()).collect();
        Arc::new(Self { proxies, fates, stop: AtomicBool::new(false) })
    }

    async fn one(&self, client: &Http, at: usize, kind: usize) {
        let (name, fates) = (KINDS[kind], &self.fates[at][kind]);
        let got = self.proxies[at].chat(client, name, &[]).await;
        let fate = match (got.status.as_u16(), name) {
            (200, _) if !got.broken => &fates.served,
            (429, "local") => &fates.refused,
            (503, "closed") => {
                assert_eq!(got.header("retry-after"), "1", "{got:?}");
                &fates.unavailable
            }
            _ => panic!("{name}: {got:?}"),
        };
        fate.fetch_add(1, SeqCst);
    }

    fn start(self: &Arc<Self>) -> Vec<tokio::task::JoinHandle<()>> {
        self.stop.store(false, SeqCst);
        let callers = (0..self.proxies.len()).flat_map(|at| (0..CALLERS).map(move |_| at));
        let run = |at| {
            let load = self.clone();
            tokio::spawn(async move {
                let client = keeping();
                while !load.stop.load(SeqCst) {
                    for kind in 0..KINDS.len() {
                        load.one(&client, at, kind).await;
                    }
                }
            })
        };
        callers.map(run).collect()
    }

    async fn end(&self, callers: Vec<tokio::task::JoinHandle<()>>) {
        self.stop.store(true, SeqCst);
        for caller in callers {
            caller.await.unwrap();
        }
    }

    fn served(&self, kind: usize) -> u64 {
        self.fates.iter().map(|fates| fates[kind].served.load(SeqCst)).sum()
    }

    /// Waits until it has happened so many times more at each process.
    async fn more(&self, more: u64, count: impl Fn(&[Fates; 3]) -> &AtomicU64) {
        let before: Vec<_> = self.fates.iter().map(|fates| count(fates).load(SeqCst)).collect();
        let all = || self.fates.iter().zip(&before);
        until((more, "more"), || {
            all().all(|(fates, before)| count(fates).load(SeqCst) >= before + more)
        })
        .await;
    }
}

fn keeping() -> Http {
    hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(HttpConnector::new())
}

/// What Redis has counted for a limit.
fn counted(server: &RedisServer, limit: &str) -> u64 {
    let script = "local s = redis.call('GET', KEYS[1]) return s and string.format('%.0f', cmsgpack.unpack(s)[2]) or '0'";
    let answer = server
        .command(&format!("EVAL \"{script}\" 1 {{tollway}}:limit:{limit}.requests.calendar/all:*"));
    answer.lines().last().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_limit_does_as_it_was_told_and_nothing_is_counted_twice() {
    let (mut server, provider) = (RedisServer::start(), Simulated::new(&[]));
    let folder = tempfile::tempdir().unwrap();
    let limits: String = KINDS
        .iter()
        .map(|kind| {
            let most = if *kind == "local" { LOCAL } else { 1_000_000 };
            format!("  - {{ name: {kind}, per: all, match: {{ model: {kind} }}, requests: {most}/month, when_full: reject, when_store_is_away: {kind} }}\n")
        })
        .collect();
    let policy = format!(
        "state: {{ redis: {{ url: '{}', timeout: 20ms }}, ledger: memory }}
server: {{ workers: 1 }}
providers: {{ up: {{ base_url: 'http://{}/v1', auth: none }} }}
limits:\n{limits}",
        server.url(),
        provider.address
    );
    let load = Load::new((0..2).map(|_| Served::with(&folder, &policy)).collect());
    let client = keeping();
    // They know of each other: alone, each has the half.
    for (at, proxy) in load.proxies.iter().enumerate() {
        within("its share", async {
            loop {
                load.one(&client, at, OPEN).await;
                if proxy.metric("tollway_limit_store_instances").await == Some(2.0) {
                    break;
                }
            }
        })
        .await;
    }

    let callers = load.start();
    load.more(5, |fates| &fates[CLOSED].served).await;
    server.pause();
    let alone: Vec<_> = load.fates.iter().map(|fates| fates[0].served.load(SeqCst)).collect();
    load.more(20, |fates| &fates[CLOSED].unavailable).await;
    load.more(5, |fates| &fates[0].refused).await;
    load.more(20, |fates| &fates[OPEN].served).await;
    for (fates, before) in load.fates.iter().zip(alone) {
        let served = fates[0].served.load(SeqCst);
        assert!(
            served <= (before + CALLERS).max(LOCAL / 2),
            "{served} of its share, {before} before"
        );
    }
    server.resume();
    load.more(20, |fates| &fates[CLOSED].served).await;
    load.end(callers).await;
    // Whoever decided, and whether Redis did what it was told to before it stood still or not until
    // nobody waited for it any more: each request is there once.
    for _ in 0..2 {
        for (kind, name) in KINDS.iter().enumerate() {
            until(("counted once", name), || counted(&server, name) == load.served(kind)).await;
            load.one(&client, 0, kind).await;
        }
    }

    let callers = load.start();
    server.command("CLIENT PAUSE 300 ALL");
    load.more(20, |fates| &fates[OPEN].served).await;
    load.more(5, |fates| &fates[CLOSED].served).await;
    server.flush();
    server.command("SCRIPT FLUSH");
    load.more(20, |fates| &fates[CLOSED].served).await;
    server.kill();
    load.more(20, |fates| &fates[CLOSED].unavailable).await;
    load.more(20, |fates| &fates[OPEN].served).await;
    server.restart();
    load.more(20, |fates| &fates[CLOSED].served).await;
    load.end(callers).await;
    for (kind, name) in KINDS.iter().enumerate() {
        assert!(counted(&server, name) <= load.served(kind), "{name}");
    }
}
