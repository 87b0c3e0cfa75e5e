//! What one instance finds spares the others, over a real Redis; each goes on alone without it.

use std::sync::{
    Arc,
    atomic::{AtomicU16, Ordering::SeqCst},
};

use http::Method;
use serde_json::Value;
use tollway::{
    circuit_breaker::State,
    stack::{Circuit, Credential},
};
use tollway_core::Target;
use tollway_testkit::RedisServer;

use super::{served::Served, support::*};

/// A provider whose every answer has the same status, and two instances in front of it.
struct Fleet {
    up: Recording,
    status: Arc<AtomicU16>,
    redis: RedisServer,
    one: Running,
    two: Running,
}

impl Fleet {
    async fn new(breaker: &str) -> Self {
        let status = Arc::new(AtomicU16::new(200));
        let answers = status.clone();
        let up = Recording::new(move |_| match answers.load(SeqCst) {
            200 => reply(200, &[JSON], COMPLETION),
            status => reply(status, &[JSON], "{}"),
        });
        let (up, redis) = (up.await, RedisServer::start());
        let policy = format!(
            "
state: {{ redis: '{}', ledger: memory, limits: memory, budgets: memory }}
providers:
  up: {{ base_url: 'http://{}/v1', api_key: secret-number-one }}
  sim: {{ simulate: {{}} }}
circuit_breaker: {breaker}
routes:
  - {{ name: sim, match: {{ model: sim-* }}, targets: [sim/gpt-4o-mini] }}
  - {{ name: all, targets: [up/gpt-4o-mini] }}
",
            redis.url(),
            up.address
        );
        let (one, two) = (Running::new(&policy), Running::new(&policy));
        Self { up, status, redis, one, two }
    }

    fn answer(&self, status: u16) {
        self.status.store(status, SeqCst);
    }

    /// The first instance finds out that the provider is ill.
    async fn finds_out(&self) {
        self.answer(500);
        for _ in 0..3 {
            assert_eq!(self.one.chat("").await.status, 500);
        }
        until("its circuit", || state(&self.one) == "open").await;
    }

    async fn is_heard(&self) {
        until("the other's", || state(&self.two) == "advised").await;
    }
}

const SLOW: &str = "{ open_after: 3 failures, recover_after: 300s, trial_requests: 1 }";

fn circuit() -> Circuit {
    Circuit::of(&Target::new("up", "default", Some("gpt-4o-mini".into())))
}

fn state(proxy: &Running) -> &'static str {
    proxy.stack().breakers().state(&circuit()).as_str()
}

fn advice(proxy: &Running, direction: &str, of: &str) -> Option<f64> {
    let labels = format!("{{direction=\"{direction}\",of=\"{of}\"}}");
    proxy.metric(&format!("tollway_circuit_breaker_advice_total{labels}"))
}

fn failing(proxy: &Running) -> Option<f64> {
    proxy.metric("tollway_circuit_breaker_sharing_failing")
}

async fn shown(proxy: &Running) -> Value {
    serde_json::from_slice(&proxy.admin("/admin/v1/breakers").await.body).unwrap()
}

async fn tell(proxy: &Running, what: &str) -> u16 {
    let uri = format!("http://{}/admin/v1/breakers/{what}", proxy.admin_address());
    let body = full(r#"{"provider":"up","model":"gpt-4o-mini"}"#);
    let request = http::Request::builder().method(Method::POST).uri(uri).header(JSON.0, JSON.1);
    let reply = within("an answer", client().request(request.body(body).unwrap())).await.unwrap();
    reply.status().as_u16()
}

#[tokio::test]
async fn a_circuit_that_one_opens_spares_the_other_and_no_redis_is_needed_for_that() {
    let mut fleet = Fleet::new(SLOW).await;
    fleet.finds_out().await;
    fleet.is_heard().await;
    let refused = fleet.two.chat("").await;
    assert_eq!((refused.status.as_u16(), refused.header("retry-after").is_empty()), (503, false));
    assert_eq!(fleet.up.count(), 3, "no request reaches it from the other");
    assert_eq!(advice(&fleet.one, "told", "circuit"), Some(1.0));
    assert_eq!(advice(&fleet.two, "heard", "circuit"), Some(1.0));
    assert_eq!(advice(&fleet.two, "told", "circuit"), None, "nothing that was heard is told on");
    let (one, two) = (shown(&fleet.one).await, shown(&fleet.two).await);
    let said = &two["breakers"][0]["advice"][0];
    assert_eq!(said["from"], one["sharing"]["instance"]);
    assert_eq!(said["reason"], "3 failures in a row, the last: server");
    assert_eq!(one["breakers"][0]["advice"], Value::Array(Vec::new()));

    fleet.redis.kill();
    until("both see it", || {
        [&fleet.one, &fleet.two].iter().all(|proxy| failing(proxy) == Some(1.0))
    })
    .await;
    assert_eq!((state(&fleet.one), state(&fleet.two)), ("open", "advised"), "nothing else changes");
    let elsewhere = ask(false).replace("gpt-4o-mini", "sim-1");
    assert_eq!(fleet.two.post(CHAT, elsewhere).await.status, 200);
    assert!(!shown(&fleet.two).await["sharing"]["away"].is_null());

    fleet.answer(200);
    assert_eq!(tell(&fleet.one, "reset").await, 200);
    assert_eq!(fleet.one.chat("").await.status, 200);
    assert_eq!(state(&fleet.two), "advised", "nobody could tell it yet");
    fleet.redis.restart();
    // Redis is empty, as if nobody had ever found anything.
    until("it is shared again", || {
        [&fleet.one, &fleet.two].iter().all(|proxy| failing(proxy) == Some(0.0))
    })
    .await;
    until("it is freed", || state(&fleet.two) == "closed").await;
    assert_eq!(fleet.two.chat("").await.status, 200);
}

#[tokio::test]
async fn when_it_is_over_each_finds_out_for_itself() {
    let fleet =
        Fleet::new("{ open_after: 3 failures, recover_after: 2s, trial_requests: 1 }").await;
    fleet.finds_out().await;
    fleet.is_heard().await;
    until("the end of it", || state(&fleet.two) == "half_open").await;
    assert_eq!(fleet.two.chat("").await.status, 500, "one trial");
    until("its own finding", || state(&fleet.two) == "open").await;
    until("it is told", || advice(&fleet.two, "told", "circuit").is_some()).await;
    fleet.answer(200);
    until("its trial", || state(&fleet.two) == "half_open").await;
    assert_eq!(fleet.two.chat("").await.status, 200);
    until("it is well", || state(&fleet.two) == "closed").await;
    until("the first tries", || state(&fleet.one) == "half_open").await;
    assert_eq!(fleet.one.chat("").await.status, 200);
    until("both are well", || (state(&fleet.one), state(&fleet.two)) == ("closed", "closed")).await;
}

#[tokio::test]
async fn a_key_that_is_revoked_is_set_aside_everywhere() {
    let fleet = Fleet::new(SLOW).await;
    fleet.answer(401);
    assert!(!fleet.one.chat("").await.status.is_success());
    let key = Credential::new("up", "default");
    let stands = |proxy: &Running| proxy.stack().benches().state(&key);
    assert!(matches!(stands(&fleet.one), State::Benched { .. }));
    until("it is heard", || matches!(stands(&fleet.two), State::Advised { .. })).await;
    let refused = fleet.two.chat("").await;
    assert_eq!(
        (refused.status.as_u16(), fleet.up.count()),
        (fleet.one.chat("").await.status.as_u16(), 1)
    );
    assert_eq!(advice(&fleet.two, "heard", "key"), Some(1.0));
    let providers = fleet.two.admin("/providers").await;
    let providers: Value = serde_json::from_slice(&providers.body).unwrap();
    let shown = &providers["providers"][0]["keys"][0];
    assert_eq!(
        (&shown["state"], &shown["reason"]),
        (&"benched".into(), &"refused by the provider".into())
    );
    assert!(!fleet.redis.command("HVALS {tollway:board}:breakers").contains("secret"));
}

#[tokio::test]
async fn what_probes_of_one_find_down_is_down_for_the_other() {
    let (up, redis) = (Arc::new(AtomicU16::new(503)), RedisServer::start());
    let answers = up.clone();
    let provider = Recording::new(move |_| reply(answers.load(SeqCst), &[JSON], COMPLETION)).await;
    let policy = |every: &str| {
        format!(
            "
state: {{ redis: '{}', ledger: memory, limits: memory, budgets: memory }}
providers: {{ up: {{ base_url: 'http://{}/v1', api_key: secret-number-one }} }}
health: {{ recover_after: 300s, probe: {{ interval: {every}, jitter: 0% }} }}
",
            redis.url(),
            provider.address
        )
    };
    let (one, two) = (Running::new(&policy("1s")), Running::new(&policy("1h")));
    let target = Target::new("up", "default", Some("gpt-4o-mini".into()));
    let health = |proxy: &Running| {
        let now = tokio::time::Instant::now();
        proxy.stack().facts().slot(&target).figures(now).health.as_str()
    };
    until("the first's probes", || health(&one) == "down").await;
    until("the other hears", || health(&two) == "down").await;
    assert_eq!(advice(&two, "heard", "health"), Some(1.0));
    assert_eq!(advice(&two, "told", "health"), None);
    up.store(200, SeqCst);
    assert_eq!(two.chat("").await.status, 200, "the only one there is");
    until("it is seen to be well", || health(&two) == "healthy").await;
    assert_eq!(health(&one), "down");
}

#[tokio::test]
async fn what_an_operator_opens_is_open_everywhere_until_it_is_reset() {
    let fleet = Fleet::new(SLOW).await;
    assert_eq!(fleet.two.chat("").await.status, 200);
    assert_eq!(tell(&fleet.one, "open").await, 200);
    fleet.is_heard().await;
    assert_eq!(fleet.two.chat("").await.status, 503);
    assert_eq!(tell(&fleet.one, "reset").await, 200);
    until("it is freed", || state(&fleet.two) == "closed").await;
    assert_eq!(fleet.two.chat("").await.status, 200);
    assert_eq!(advice(&fleet.two, "taken_back", "circuit"), Some(1.0));

    // An operator of the other may free it there alone.
    assert_eq!(tell(&fleet.one, "open").await, 200);
    fleet.is_heard().await;
    assert_eq!(tell(&fleet.two, "reset").await, 200);
    assert_eq!(fleet.two.chat("").await.status, 200);
    assert_eq!((state(&fleet.one), state(&fleet.two)), ("forced_open", "closed"));
}

/// Processes of their own on one Redis, in front of a provider that fails and one whose key is no good.
struct Processes {
    ill: Recording,
    locked: Recording,
    status: Arc<AtomicU16>,
    policy: String,
    folder: tempfile::TempDir,
    _redis: RedisServer,
}

impl Processes {
    async fn new(recover_after: &str) -> Self {
        let status = Arc::new(AtomicU16::new(500));
        let answers = status.clone();
        let ill = Recording::new(move |_| match answers.load(SeqCst) {
            200 => reply(200, &[JSON], COMPLETION),
            status => reply(status, &[JSON], "{}"),
        });
        let locked = Recording::new(|_| reply(401, &[JSON], "{}"));
        let (ill, locked, redis) = (ill.await, locked.await, RedisServer::start());
        let policy = format!(
            "
state: {{ redis: '{}', ledger: memory, limits: memory, budgets: memory }}
server: {{ workers: 1 }}
providers:
  ill: {{ base_url: 'http://{}/v1', api_key: secret-number-one }}
  locked: {{ base_url: 'http://{}/v1', api_key: secret-number-two }}
circuit_breaker: {{ open_after: 3 failures, recover_after: {recover_after}, trial_requests: 1 }}
routes:
  - {{ name: locked, match: {{ model: locked-* }}, targets: [locked/gpt-4o-mini] }}
  - {{ name: all, targets: [ill/gpt-4o-mini] }}
",
            redis.url(),
            ill.address,
            locked.address
        );
        let folder = tempfile::tempdir().unwrap();
        Self { ill, locked, status, policy, folder, _redis: redis }
    }

    fn start(&self) -> Served {
        Served::with(&self.folder, &self.policy)
    }

    async fn ask(&self, proxy: &Served, model: &str) -> u16 {
        proxy.chat(&client(), model, &[]).await.status.as_u16()
    }

    /// It opens a circuit; and a key, where that is asked for too.
    async fn finds_out(&self, proxy: &Served) {
        for _ in 0..3 {
            assert_eq!(self.ask(proxy, "gpt-4o-mini").await, 500);
        }
        told(proxy, "told", "circuit").await;
    }
}

/// Until a process has told or heard of one.
async fn told(proxy: &Served, direction: &str, of: &str) {
    let labels = format!("{{direction=\"{direction}\",of=\"{of}\"}}");
    let name = format!("tollway_circuit_breaker_advice_total{labels}");
    within((direction, of), async { while proxy.metric(&name).await != Some(1.0) {} }).await;
}

/// Until its circuit is in this state.
async fn stands(proxy: &Served, state: &str) {
    within(state, async {
        loop {
            let shown = proxy.admin("/admin/v1/breakers").await.json();
            let circuits = shown["breakers"].as_array().unwrap().iter();
            let mut ill = circuits.filter(|circuit| circuit["provider"] == "ill");
            if ill.any(|circuit| circuit["state"] == state) {
                return;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn what_a_process_found_outlives_it_and_is_known_to_one_that_comes_late() {
    let all = Processes::new("300s").await;
    let (one, two, three) = (all.start(), all.start(), all.start());
    all.finds_out(&one).await;
    assert_eq!(all.ask(&one, "locked-1").await, 401);
    told(&one, "told", "key").await;
    for other in [&two, &three] {
        told(other, "heard", "circuit").await;
        told(other, "heard", "key").await;
        assert_eq!(all.ask(other, "gpt-4o-mini").await, 503);
        assert_eq!(all.ask(other, "locked-1").await, 503);
    }
    one.kill();
    let late = all.start();
    told(&late, "heard", "circuit").await;
    told(&late, "heard", "key").await;
    for other in [&two, &three, &late] {
        stands(other, "advised").await;
        assert_eq!(all.ask(other, "gpt-4o-mini").await, 503);
        assert_eq!(all.ask(other, "locked-1").await, 503);
    }
    assert_eq!(
        (all.ill.count(), all.locked.count()),
        (3, 1),
        "nobody but the first has asked them"
    );
}

#[tokio::test]
async fn what_a_dead_process_found_ends_by_itself() {
    let all = Processes::new("6s").await;
    let (one, two, three) = (all.start(), all.start(), all.start());
    all.finds_out(&one).await;
    for other in [&two, &three] {
        told(other, "heard", "circuit").await;
    }
    one.kill();
    all.status.store(200, SeqCst);
    for other in [&two, &three] {
        stands(other, "half_open").await;
        assert_eq!(all.ask(other, "gpt-4o-mini").await, 200);
        stands(other, "closed").await;
    }
    assert_eq!(all.ill.count(), 5);
}

#[tokio::test]
async fn a_redis_behind_tls_is_trusted_where_the_policy_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let file = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let certificate = file("cert.pem", signed.cert.pem());
    let key = file("key.pem", signed.signing_key.serialize_pem());
    let server = RedisServer::with(&[
        "--tls-port",
        "{port}",
        "--tls-cert-file",
        &certificate,
        "--tls-key-file",
        &key,
        "--tls-auth-clients",
        "no",
    ]);
    let policy = |ca: &str| {
        let url = format!("rediss://localhost:{}", server.port());
        format!(
            "
state: {{ redis: {{ url: '{url}', timeout: 10s{ca} }} }}
providers: {{ sim: {{ simulate: {{}} }} }}
limits: [{{ name: few, per: all, requests: 2/day, when_store_is_away: closed }}]
"
        )
    };
    let trusting = policy(&format!(", extra_ca: '{certificate}'"));
    let (one, two) = (Running::new(&trusting), Running::new(&trusting));
    for proxy in [&one, &two] {
        within("it is there", async { while proxy.chat("").await.status == 503 {} }).await;
    }
    assert_eq!(one.chat("").await.status, 429, "they share it");
    let wary = Running::new(&policy(""));
    assert_eq!(wary.chat("").await.status, 503);
    let ready = wary.admin("/readyz").await.text();
    assert!(ready.contains("certificate") || ready.contains("UnknownIssuer"), "{ready}");

    let nothing = file("nothing.pem", "-----BEGIN CERTIFICATE-----\nno\n".to_owned());
    let nothing =
        tollway::Proxy::start(super::support::policy(&policy(&format!(", extra_ca: '{nothing}'"))));
    let told = nothing.unwrap_err().to_string();
    assert!(told.contains("extra_ca") && told.contains("nothing.pem"), "{told}");
}
