//! Five processes on one Redis are one limit and one budget, however fast they are asked.
//!
//! What they may let in is reckoned from the Redis server's own clock: it tells, of each decision, when
//! it was made (`MONITOR`), so that a slow machine changes nothing but how much there is to judge.

use std::{
    collections::HashSet,
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioExecutor};
use tokio::time::Instant;
use tollway::core::Usd;
use tollway_testkit::RedisServer;

use super::{
    served::{Served, Simulated},
    support::*,
};

const PROXIES: usize = 5;
/// Requests a second that are allowed: the first of which this machine can offer four times as many.
const RATES: [u64; 5] = [500, 250, 120, 60, 30];
/// Tokens of one of these requests, about.
const TOKENS: u64 = 24;

struct Fleet {
    server: RedisServer,
    proxies: Vec<Arc<Served>>,
    _provider: Simulated,
    _folder: tempfile::TempDir,
}

impl Fleet {
    fn new(rest: &str) -> Self {
        let (server, provider) = (RedisServer::start(), Simulated::new(&[]));
        let folder = tempfile::tempdir().unwrap();
        let policy = format!(
            "state: {{ redis: {{ url: '{}', timeout: 30s }} }}
server: {{ workers: 1 }}
providers: {{ up: {{ base_url: 'http://{}/v1', auth: none }} }}
log: {{ level: warn }}
{rest}",
            server.url(),
            provider.address
        );
        let proxies = (0..PROXIES).map(|_| Arc::new(Served::with(&folder, &policy))).collect();
        Self { server, proxies, _provider: provider, _folder: folder }
    }

    /// Each process has its connection to Redis.
    async fn connected(&self) {
        let client = keeping();
        for proxy in &self.proxies {
            // The limit is closed while there is no Redis.
            while proxy.chat(&client, "connect", &[]).await.status == 503 {}
        }
    }
}

fn keeping() -> Http {
    hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(HttpConnector::new())
}

/// A question whose reply may be so long, which is what a limit of tokens takes for it.
fn bounded(model: &str, tokens: u64) -> String {
    let model = format!("{model}\",\"max_tokens\":{tokens}");
    ask(false).replace("gpt-4o-mini\"", &model)
}

/// What came of one load.
#[derive(Default)]
struct Load {
    offered: AtomicU64,
    admitted: AtomicU64,
    tokens: AtomicU64,
}

/// `callers` at each process ask as fast as they are answered, until so many were let in or asked.
async fn load(fleet: &Fleet, model: &str, callers: usize, admit: u64, most: u64) -> Arc<Load> {
    let load = Arc::new(Load::default());
    let mut tasks = Vec::new();
    for proxy in &fleet.proxies {
        for _ in 0..callers {
            let (proxy, load, model) = (proxy.clone(), load.clone(), model.to_owned());
            tasks.push(tokio::spawn(async move {
                let client = keeping();
                while load.admitted.load(SeqCst) < admit && load.offered.load(SeqCst) < most {
                    load.offered.fetch_add(1, SeqCst);
                    let got = proxy.post(&client, bounded(&model, 16), &[]).await;
                    if got.status == 429 {
                        continue;
                    }
                    assert!(got.status == 200 && !got.broken, "{got:?}");
                    load.admitted.fetch_add(1, SeqCst);
                    load.tokens
                        .fetch_add(got.json()["usage"]["total_tokens"].as_u64().unwrap(), SeqCst);
                }
            }));
        }
    }
    for task in tasks {
        task.await.unwrap();
    }
    load
}

/// Watches what a Redis does: when each decision over a limit was made, by its clock, in microseconds.
struct Monitor {
    lines: BufReader<TcpStream>,
}

impl Monitor {
    fn new(server: &RedisServer) -> Self {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        write!(stream, "MONITOR\r\n").unwrap();
        let mut lines = BufReader::new(stream);
        let mut first = String::new();
        lines.read_line(&mut first).unwrap();
        assert_eq!(first, "+OK\r\n");
        Self { lines }
    }

    /// Reads in a thread of its own until the server is asked to echo `over`.
    fn follow(self, limit: &str) -> std::thread::JoinHandle<Vec<u64>> {
        let key = format!("\"{{tollway}}:limit:{limit}/all:*\"");
        std::thread::spawn(move || {
            let mut seen = Vec::new();
            for line in self.lines.lines() {
                let line = line.unwrap();
                if line.contains("\"over\"") {
                    break;
                }
                // A decision says for how long it is remembered; what scripts do is not of interest.
                if line.contains("\"3600000\"") && line.contains(&key) && !line.contains(" lua]") {
                    let (seconds, rest) = line[1..].split_once('.').unwrap();
                    let micros: u64 = rest[..6].parse().unwrap();
                    seen.push(seconds.parse::<u64>().unwrap() * 1_000_000 + micros);
                }
            }
            seen
        })
    }
}

/// Of requests at these moments the number that a bucket of `capacity`, filled by `rate` a second, has
/// to let in, where each takes `amount`.
fn ideal(times: &[u64], rate: u64, capacity: u64, amount: u64) -> u64 {
    let full = capacity * 1_000_000;
    let (mut level, mut at, mut admitted) = (full, times[0], 0);
    for time in times {
        level = full.min(level + time.saturating_sub(at) * rate);
        at = at.max(*time);
        if level >= amount * 1_000_000 {
            level -= amount * 1_000_000;
            admitted += 1;
        }
    }
    admitted
}

#[test]
fn what_a_bucket_has_to_let_in() {
    let each_tenth: Vec<_> = (0..=50).map(|nth| nth * 100_000).collect();
    assert_eq!(ideal(&each_tenth, 2, 1, 1), 11, "one, and two a second");
    assert_eq!(ideal(&each_tenth, 1, 4, 2), 4, "two at once, then one in two seconds");
}

/// Offers four times of what is allowed, until four seconds' worth was let in.
async fn holds(unit: &str, amount: u64) {
    let limits: String = RATES
        .iter()
        .map(|rate| {
            let name = format!("r{rate}");
            let rate = rate * amount;
            let burst = if unit == "tokens" { "burst_tokens" } else { "burst" };
            format!("  - {{ name: {name}, per: all, match: {{ model: {name} }}, {unit}: {rate}/s, {burst}: {rate}, when_full: reject }}\n")
        })
        .collect();
    let fleet = Fleet::new(&format!(
        "limits:\n{limits}  - {{ name: connect, per: all, match: {{ model: connect }}, requests: 1000000/day, when_store_is_away: closed }}\n"
    ));
    fleet.connected().await;
    let began = Instant::now();
    let free = load(&fleet, "free", 8, u64::MAX, 400).await;
    let speed = free.offered.load(SeqCst) as f64 / began.elapsed().as_secs_f64();
    let fits = RATES.into_iter().find(|rate| (4 * rate) as f64 <= speed);
    let rate = fits.unwrap_or(RATES[RATES.len() - 1]);

    let model = format!("r{rate}");
    let watched = Monitor::new(&fleet.server).follow(&format!("{model}.{unit}.bucket"));
    let load = load(&fleet, &model, 8, 4 * rate, u64::MAX).await;
    fleet.server.command("ECHO over");
    let times = watched.join().unwrap();
    let (offered, admitted) = (load.offered.load(SeqCst), load.admitted.load(SeqCst));
    assert_eq!(times.len() as u64, offered, "each is one decision, there and nowhere else");
    // All are alike.
    let each = load.tokens.load(SeqCst) / admitted;
    let (each, burst) = if unit == "requests" { (1, rate) } else { (each, rate * amount) };
    let entitled = ideal(&times, burst, burst, each);
    let seconds = (times[times.len() - 1] - times[0]) as f64 / 1e6;
    println!(
        "{PROXIES} processes, {unit}: {:.0}/s offered, {}/s allowed; {} let in of {} that had to be, in {seconds:.2} s",
        (offered * each) as f64 / seconds,
        burst,
        admitted * each,
        entitled * each,
    );
    assert!(offered > admitted, "the limit was never felt");
    assert!(
        admitted.abs_diff(entitled) <= entitled / 100 + 1,
        "{admitted} let in, {entitled} had to be"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_processes_let_in_what_one_would() {
    holds("requests", 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_processes_let_in_the_tokens_that_one_would() {
    holds("tokens", TOKENS).await;
}

/// What the budget has counted, in nano-dollars.
fn counted(server: &RedisServer) -> u64 {
    let script = "local s = redis.call('GET', KEYS[1]) return s and string.format('%.0f', cmsgpack.unpack(s)[2]) or '0'";
    let answer =
        server.command(&format!("EVAL \"{script}\" 1 {{tollway}}:limit:spend.usd.calendar/all:*"));
    answer.lines().last().unwrap().parse().unwrap()
}

/// How long each reply is: any length up to a hundred tokens, in an order without rule.
fn length(nth: u64) -> u64 {
    nth.wrapping_mul(6_364_136_223_846_793_005).rotate_left(17) % 100 + 1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_months_budget_under_two_hundred_callers_is_spent_and_not_overspent() {
    spends_ten("reject", bounded("dear", 100)).await;
}

/// Nobody says how long replies may get: the model does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_is_it_by_replies_without_a_bound() {
    spends_ten("reject, reserve: most", ask(false).replace("gpt-4o-mini", "dear")).await;
}

/// 200 callers ask for `body` until ten dollars are spent.
async fn spends_ten(when_full: &str, body: String) {
    // A hundred tokens are four cents, and the question next to nothing.
    let fleet = Fleet::new(&format!(
        "models: [{{ id: dear, provider: up, price: {{ input: 0.01, output: 400 }}, max_output_tokens: 100 }}]
limits:
  - {{ name: spend, per: all, match: {{ model: dear }}, usd: 10/month, when_full: {when_full} }}
  - {{ name: connect, per: all, match: {{ model: connect }}, requests: 1000000/day, when_store_is_away: closed }}
"
    ));
    fleet.connected().await;
    let (turns, bills) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(Vec::new())));
    let pay = |proxy: Arc<Served>| {
        let (turns, bills, client) = (turns.clone(), bills.clone(), keeping());
        let body = body.clone();
        async move {
            // Until it is told that there is no money left.
            loop {
                let tokens = format!("output_tokens={}", length(turns.fetch_add(1, SeqCst)));
                let headers = [("x-simulate", &*tokens)];
                let got = proxy.post(&client, body.clone(), &headers).await;
                if got.status == 429 {
                    return;
                }
                assert_eq!(got.status, 200, "{got:?}");
                let cost: Usd = got.header("x-tollway-cost-usd").parse().unwrap();
                bills.lock().unwrap().push(cost.nanos());
            }
        }
    };
    let callers: Vec<_> =
        (0..200).map(|nth| tokio::spawn(pay(fleet.proxies[nth % PROXIES].clone()))).collect();
    for caller in callers {
        caller.await.unwrap();
    }
    let spent = || bills.lock().unwrap().iter().sum::<u64>();
    // What was reserved and not used is there again; one after the other takes it.
    loop {
        let before = spent();
        until("all is settled", || counted(&fleet.server) == before).await;
        pay(fleet.proxies[0].clone()).await;
        if spent() == before {
            break;
        }
    }
    let (ten, spent) = (10_000_000_000, spent());
    let largest = 100 * 400 * 1_000 + 10_000;
    let many = bills.lock().unwrap().len();
    println!("200 callers: {} of 10 USD spent in {many} requests", Usd::from_nanos(spent));
    assert!(spent <= ten + largest, "{spent} spent");
    assert!(spent >= ten - largest, "only {spent} spent");

    // Whichever instance is asked, the ledger of all has the same sum.
    let told = HashSet::from([Usd::from_nanos(spent).to_string()]);
    for proxy in &fleet.proxies {
        within("the ledger's sum", async {
            loop {
                let costs = proxy.admin("/admin/v1/costs?by=all").await.json();
                if told.contains(costs["total"]["cost_usd"].as_str().unwrap()) {
                    break;
                }
            }
        })
        .await;
    }
}
