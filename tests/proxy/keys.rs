//! Several keys with one provider: each in its turn, and one that is of no use set aside alone.

use std::{
    collections::HashSet,
    io::Write,
    sync::{Arc, Mutex},
};

use http::{Method, Request, StatusCode};
use serde_json::Value;
use tollway::circuit_breaker::State;

use super::support::*;

/// A provider that answers keys in `dead` with `refusal`.
struct Account {
    recording: Recording,
    dead: Arc<Mutex<HashSet<&'static str>>>,
}

type Refusal = (u16, &'static str);

const NO_MONEY: Refusal = (
    429,
    r#"{"error":{"message":"You exceeded your current quota.","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#,
);
const REVOKED: Refusal = (
    401,
    r#"{"error":{"message":"Incorrect API key provided: one-of-the-secrets","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}"#,
);
const FORBIDDEN: Refusal = (
    403,
    r#"{"error":{"message":"You have no access to this model.","type":"invalid_request_error","param":null,"code":null}}"#,
);
const SUSPENDED: Refusal = (
    403,
    r#"{"error":{"message":"Your account is not active.","type":"billing_not_active","param":null,"code":"billing_not_active"}}"#,
);

impl Account {
    async fn new((status, body): Refusal) -> Self {
        let dead: Arc<Mutex<HashSet<&'static str>>> = Arc::default();
        let is_dead = dead.clone();
        let recording = Recording::new(move |seen| {
            match is_dead.lock().unwrap().contains(seen.header("authorization")) {
                true => reply(status, &[JSON], body),
                false if seen.body.windows(13).any(|text| text == b"\"stream\":true") => {
                    reply(200, &[("content-type", "text/event-stream")], STREAM)
                }
                false => reply(200, &[JSON], COMPLETION),
            }
        });
        Self { recording: recording.await, dead }
    }

    fn kill(&self, key: &'static str) {
        self.dead.lock().unwrap().insert(key);
    }

    fn revive(&self, key: &str) {
        self.dead.lock().unwrap().remove(key);
    }

    fn asked(&self, key: &str) -> usize {
        self.recording.all().iter().filter(|seen| seen.header("authorization") == key).count()
    }
}

const STREAM: &str = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"gpt-4o-mini\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";

const ONE: &str = "Bearer secret-number-one";
const TWO: &str = "Bearer secret-number-two";

fn pool(at: &Account, more: &str) -> String {
    let address = at.recording.address;
    format!(
        "providers:\n  up:\n    base_url: \"http://{address}/v1\"\n    keys: {{ one: {{ api_key: secret-number-one, weight: 3 }}, two: secret-number-two }}\n{more}"
    )
}

async fn chat(proxy: &Running, model: &str, stream: bool) -> Reply {
    proxy.post(CHAT, ask(stream).replace("gpt-4o-mini", model)).await
}

async fn keys_shown(proxy: &Running) -> Vec<Value> {
    let shown = proxy.admin("/providers").await;
    assert_eq!(shown.status, 200);
    assert_eq!(shown.headers["content-type"], "application/json");
    assert!(!shown.text().contains("secret"), "{}", shown.text());
    let shown: Value = serde_json::from_slice(&shown.body).unwrap();
    shown["providers"][0]["keys"].as_array().unwrap().clone()
}

fn benched(proxy: &Running, key: &str, reason: &str) -> Option<f64> {
    let labels = format!("{{gen_ai_provider_name=\"up\",key=\"{key}\",reason=\"{reason}\"}}");
    proxy.metric(&format!("tollway_provider_key_benched{labels}"))
}

#[tokio::test]
async fn each_key_is_used_by_its_weight() {
    let account = Account::new(NO_MONEY).await;
    let proxy = Running::new(&pool(&account, ""));
    for at in 0..8 {
        assert_eq!(chat(&proxy, "gpt-4o-mini", at % 2 == 0).await.status, 200);
    }
    assert_eq!((account.asked(ONE), account.asked(TWO)), (6, 2));
    let keys = keys_shown(&proxy).await;
    assert_eq!(keys[0].to_string(), r#"{"name":"one","state":"active","weight":3}"#);
    assert_eq!(keys[1].to_string(), r#"{"name":"two","state":"active","weight":1}"#);
    assert_eq!(benched(&proxy, "one", "quota"), Some(0.0));
}

#[tokio::test]
async fn a_key_goes_in_the_header_that_its_provider_takes() {
    let up = Recording::new(|_| reply(200, &[JSON], COMPLETION)).await;
    let proxy = Running::new(&format!(
        "providers:\n  up: {{ base_url: \"http://{}/v1\", auth: header x-api-key, keys: {{ a: aaaa, b: bbbb }} }}",
        up.address
    ));
    for _ in 0..2 {
        let theirs = [JSON, ("authorization", "Bearer theirs"), ("x-api-key", "theirs")];
        proxy.send(Method::POST, CHAT, &theirs, ask(false)).await;
    }
    let sent: Vec<_> = up.all().iter().map(|seen| seen.header("x-api-key").to_owned()).collect();
    assert_eq!(sent, ["aaaa", "bbbb"]);
    assert!(up.all().iter().all(|seen| seen.header("authorization").is_empty()));
}

/// No breaker, no retry in the policy: a pool alone is enough.
async fn set_aside(refusal: Refusal, reason: &str, in_words: &str) {
    let account = Account::new(refusal).await;
    account.kill(ONE);
    let proxy = Running::new(&pool(&account, ""));
    for at in 0..10 {
        let reply = chat(&proxy, &format!("model-{at}"), at % 2 == 0).await;
        assert_eq!(reply.status, 200, "{reply:?}");
    }
    assert_eq!(account.asked(ONE), 1, "not again, by whatever model");
    assert_eq!(account.asked(TWO), 10);
    assert_eq!(benched(&proxy, "one", reason), Some(1.0));
    assert_eq!(benched(&proxy, "two", reason), Some(0.0));
    let keys = keys_shown(&proxy).await;
    assert_eq!((&keys[0]["state"], &keys[0]["reason"]), (&"benched".into(), &in_words.into()));
    for date in ["since", "until"] {
        let date = keys[0][date].as_str().unwrap();
        assert!(date.parse::<jiff::Timestamp>().is_ok(), "{date}");
    }
    assert_eq!(keys[1]["state"], "active");
    let figures = proxy.telemetry().render();
    let passed = r#"tollway_route_passed_over_total{gen_ai_provider_name="up",gen_ai_response_model="other",route="up",reason="key benched"} 9"#;
    assert!(figures.contains(passed), "{figures}");
    assert!(!figures.contains("secret"), "{figures}");
    assert!(!format!("{:?}", proxy.stack()).contains("secret"));
}

#[tokio::test]
async fn a_key_out_of_money_is_set_aside_alone() {
    set_aside(NO_MONEY, "quota", "out of money").await;
}

#[tokio::test]
async fn a_revoked_key_is_set_aside_alone() {
    set_aside(REVOKED, "auth", "refused by the provider").await;
}

#[tokio::test]
async fn a_403_that_says_the_account_is_out_counts_too() {
    set_aside(SUSPENDED, "quota", "out of money").await;
}

#[tokio::test]
async fn any_other_403_sets_no_key_aside() {
    let account = Account::new(FORBIDDEN).await;
    account.kill(ONE);
    let proxy = Running::new(&pool(&account, ""));
    for _ in 0..8 {
        assert_eq!(chat(&proxy, "gpt-4o-mini", false).await.status, 200, "the other key may");
    }
    assert_eq!(account.asked(ONE), 6, "it may be about this model alone");
    assert_eq!(keys_shown(&proxy).await[0]["state"], "active");
}

#[tokio::test]
async fn a_key_that_was_paid_for_comes_back() {
    let account = Account::new(NO_MONEY).await;
    account.kill(ONE);
    let more = "circuit_breaker: { bench: { quota: 100ms } }";
    let proxy = Running::new(&pool(&account, more));
    assert_eq!(chat(&proxy, "gpt-4o-mini", false).await.status, 200);
    assert_eq!(benched(&proxy, "one", "quota"), Some(1.0));
    within("trials that fail", async {
        while account.asked(ONE) < 3 {
            assert_eq!(chat(&proxy, "gpt-4o-mini", false).await.status, 200);
        }
    })
    .await;
    assert_eq!(benched(&proxy, "one", "quota"), Some(1.0));
    account.revive(ONE);
    within("a trial that succeeds", async {
        while benched(&proxy, "one", "quota") != Some(0.0) {
            assert_eq!(chat(&proxy, "gpt-4o-mini", false).await.status, 200);
        }
    })
    .await;
    assert_eq!(keys_shown(&proxy).await[0]["state"], "active");
    let before = account.asked(ONE);
    for _ in 0..8 {
        assert_eq!(chat(&proxy, "gpt-4o-mini", false).await.status, 200);
    }
    assert_eq!(account.asked(ONE) - before, 6, "its whole share, at once");
    let counted = r#"tollway_provider_key_benched_total{gen_ai_provider_name="up",key="one",reason="quota"} "#;
    assert!(proxy.telemetry().render().contains(counted));
}

/// The money runs out, and comes back, while many ask at once.
#[tokio::test]
async fn under_load_no_client_sees_it() {
    let account = Arc::new(Account::new(NO_MONEY).await);
    let more = "circuit_breaker: { bench: { quota: 100ms } }";
    let proxy = Arc::new(Running::new(&pool(&account, more)));
    let clients = (0..8).map(|client| {
        let (proxy, account) = (proxy.clone(), account.clone());
        tokio::spawn(async move {
            for at in 0..60 {
                match (client, at) {
                    (0, 20) => account.kill(ONE),
                    (0, 40) => account.revive(ONE),
                    _ => {}
                }
                let reply = chat(&proxy, &format!("model-{}", at % 5), at % 2 == 0).await;
                assert_eq!(reply.status, 200, "client {client}, request {at}: {reply:?}");
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
    let counted = r#"tollway_provider_key_benched_total{gen_ai_provider_name="up",key="one",reason="quota"} "#;
    assert!(proxy.telemetry().render().contains(counted), "it was set aside");
}

#[tokio::test]
async fn the_next_key_is_tried_whatever_the_policy_retries_on() {
    let account = Account::new(REVOKED).await;
    account.kill(ONE);
    let proxy = Running::new(&pool(&account, "retry: { on: [timeout] }"));
    for _ in 0..4 {
        assert_eq!(chat(&proxy, "gpt-4o-mini", false).await.status, 200);
    }
    assert_eq!(account.asked(ONE), 1);
}

#[tokio::test]
async fn all_keys_come_before_the_next_target() {
    let account = Account::new(NO_MONEY).await;
    let spare = Recording::new(|_| reply(200, &[JSON], COMPLETION)).await;
    let more = format!(
        "  spare: {{ base_url: \"http://{}/v1\", api_key: sparely }}\nroutes: [{{ targets: [up, spare] }}]",
        spare.address
    );
    let proxy = Running::new(&pool(&account, &more));
    account.kill(ONE);
    assert_eq!(chat(&proxy, "gpt-4o-mini", false).await.status, 200);
    assert_eq!((account.asked(TWO), spare.count()), (1, 0));
    account.kill(TWO);
    for _ in 0..3 {
        assert_eq!(chat(&proxy, "gpt-4o-mini", false).await.status, 200);
    }
    assert_eq!((account.asked(ONE), account.asked(TWO), spare.count()), (1, 2, 3));
    // A provider with one key goes on as it does without a breaker.
    assert!(proxy.stack().benches().list().iter().all(|one| &*one.key.provider == "up"));
}

/// Whatever the error is about, and whoever reads it.
#[tokio::test]
async fn no_reply_repeats_a_key() {
    const ERROR: &str = r#"{"type":"error","error":{"type":"authentication_error","message":"No money: secret-number-one / Bearer secret-number-one"}}"#;
    let up = Recording::new(|seen| {
        let status = seen.header("x-status").parse().unwrap();
        let body = if status == 200 { COMPLETION } else { ERROR };
        let echo = ("x-echo", "<secret-number-one>");
        reply(status, &[JSON, echo], body)
    })
    .await;
    let yaml = provider_at(up.address).replace("auth: passthrough", "api_key: secret-number-one");
    let proxy = Running::new(&yaml);
    for path in [CHAT, "/v1/messages", "/v1/batches"] {
        for status in ["200", "302", "400", "402", "404", "418", "429", "500", "503"] {
            let headers = [JSON, ("x-status", status), ("accept-encoding", "gzip")];
            let body = match path {
                "/v1/messages" => {
                    r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"x"}]}"#
                        .to_owned()
                }
                _ => ask(false),
            };
            let got = proxy.send(Method::POST, path, &headers, body).await;
            let at = format!("{path} {status}: {got:?}");
            assert!(!got.text().contains("secret"), "{at}");
            let headers = got.headers.values().map(|value| value.to_str().unwrap());
            assert!(headers.into_iter().all(|value| !value.contains("secret")), "{at}");
            // Where the reply is read; elsewhere what the client takes is its own business.
            let packed = if path == "/v1/batches" { "gzip" } else { "identity" };
            assert_eq!(up.last().header("accept-encoding"), packed);
        }
    }
    // The rest of an error is as it was.
    let got = proxy.send(Method::POST, CHAT, &[JSON, ("x-status", "402")], ask(false)).await;
    let stars = "*".repeat("secret-number-one".len());
    assert_eq!(got.text(), ERROR.replace("secret-number-one", &stars));
    assert_eq!(got.header("x-echo"), format!("<{stars}>"));
}

#[tokio::test]
async fn a_clients_own_key_is_its_own_business() {
    let up =
        Recording::new(|_| reply(429, &[JSON, ("x-echo", "secret-number-one")], REVOKED.1)).await;
    let proxy = Running::before(up.address);
    let headers = [JSON, ("authorization", "Bearer one-of-the-secrets")];
    let got = proxy.send(Method::POST, CHAT, &headers, ask(false)).await;
    assert_eq!((got.text().as_str(), got.header("x-echo")), (REVOKED.1, "secret-number-one"));
}

#[tokio::test]
async fn with_every_key_dead_the_client_is_told_and_learns_no_secret() {
    let account = Account::new(REVOKED).await;
    account.kill(ONE);
    account.kill(TWO);
    let proxy = Running::new(&pool(&account, ""));
    let reply = chat(&proxy, "gpt-4o-mini", false).await;
    assert!(reply.status == 401 && !reply.text().contains("secret"), "{reply:?}");
    reply.error();
    // From here on nobody is asked. It is no overload that an SDK should wait for.
    for (path, kind) in [
        (CHAT, "server_error"),
        ("/v1/messages", "api_error"),
        ("/v1beta/models/m:generateContent", "UNAVAILABLE"),
    ] {
        let body = match path {
            CHAT => ask(false),
            "/v1/messages" => {
                r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"x"}]}"#
                    .to_owned()
            }
            _ => r#"{"contents":[{"role":"user","parts":[{"text":"x"}]}]}"#.to_owned(),
        };
        let reply = proxy.post(path, body).await;
        assert_eq!(reply.status, 503, "{reply:?}");
        assert_eq!(reply.header("x-should-retry"), "false");
        assert!(!reply.headers.contains_key("retry-after"), "{reply:?}");
        let error = &reply.json()["error"];
        assert!(error["type"] == kind || error["status"] == kind, "{error}");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("set aside, the last one because it is refused"), "{message}");
        assert!(path != CHAT || reply.error().code.as_deref() == Some("provider_unavailable"));
    }
    assert_eq!((account.asked(ONE), account.asked(TWO)), (1, 1), "dead keys are left alone");
}

#[tokio::test]
async fn limits_count_each_key_by_itself() {
    let account = Account::new(NO_MONEY).await;
    let limit = "limits: [{ name: account, per: [provider_key, model], requests: 4/day }]";
    let proxy = Running::new(&pool(&account, limit));
    for at in 0..8 {
        let reply = chat(&proxy, "gpt-4o-mini", false).await;
        assert_eq!(reply.status, 200, "request {at}: {reply:?}");
    }
    assert_eq!((account.asked(ONE), account.asked(TWO)), (4, 4), "a full key is passed over");
    assert_eq!(chat(&proxy, "gpt-4o-mini", false).await.status, 429);
    assert_eq!(chat(&proxy, "gpt-4o", false).await.status, 200, "another model, another bucket");
}

#[tokio::test]
async fn a_limit_by_provider_counts_all_its_keys_together() {
    let account = Account::new(NO_MONEY).await;
    let limit = "limits: [{ name: all, per: provider, requests: 4/day }]";
    let proxy = Running::new(&pool(&account, limit));
    for _ in 0..4 {
        assert_eq!(chat(&proxy, "gpt-4o-mini", false).await.status, 200);
    }
    assert_eq!(chat(&proxy, "gpt-4o-mini", false).await.status, 429);
    assert_eq!(account.recording.count(), 4);
}

#[tokio::test]
async fn clients_with_keys_of_their_own_are_accounts_of_their_own() {
    let account = Account::new(REVOKED).await;
    let limit =
        "limits: [{ name: account, per: provider_key, requests: 2/day }]\ncircuit_breaker: {}";
    let proxy = Running::new(&format!("{}{limit}", provider_at(account.recording.address)));
    let send = async |key: &str| {
        let headers = [JSON, ("authorization", key)];
        proxy.send(Method::POST, CHAT, &headers, ask(false)).await.status
    };
    for _ in 0..2 {
        assert_eq!((send(ONE).await, send(TWO).await), (StatusCode::OK, StatusCode::OK));
    }
    assert_eq!(send(ONE).await, 429);
    // One client's bad key, or one without any, shuts out nobody else.
    account.kill("Bearer bad-key-of-a-client");
    account.kill("");
    assert_eq!(send("Bearer bad-key-of-a-client").await, 401);
    assert_eq!(proxy.post(CHAT, ask(false)).await.status, 401);
    assert_eq!(proxy.post(CHAT, ask(false)).await.status, 401, "asked again: nobody to set aside");
    assert_eq!(send("Bearer bad-key-of-a-client").await, 503, "set aside for this client");
    assert_eq!(send("Bearer third-key-of-a-client").await, 200);
    assert!(benched(&proxy, "caller's own", "auth").is_none());
}

#[tokio::test]
async fn the_admin_token_guards_the_names_too() {
    let account = Account::new(NO_MONEY).await;
    let more = "admin: { token: admin-password }";
    let proxy = Running::new(&pool(&account, more));
    let refused = proxy.admin("/providers").await;
    assert_eq!(refused.status, 401);
    assert!(!refused.text().contains("one"), "{}", refused.text());
    let request = Request::get(format!("http://{}/providers", proxy.admin_address()))
        .header("authorization", "Bearer admin-password")
        .body(full(""))
        .unwrap();
    let shown = Reply::read(client().request(request).await.unwrap()).await;
    assert!(shown.status == 200 && shown.text().contains(r#""name":"one""#), "{}", shown.text());
}

/// Log lines of this thread.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn holding(&self, text: &str) -> Vec<String> {
        let all = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        all.lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
    }
}

/// A pool rehearsed: each simulated key has its own quota, and time passes at once.
#[tokio::test(start_paused = true)]
async fn a_pool_can_be_rehearsed_and_tells_what_happens() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_writer(move || writer.clone())
        .finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    let (stack, mut send) = in_process(policy(
        "providers: { sim: { keys: { a: { weight: 2 }, b: }, simulate: { quota_requests: 4 } } }",
    ))
    .await;
    let mut chat = async || {
        let request = Request::post("http://sim/v1/chat/completions").header(JSON.0, JSON.1);
        let reply = send.send_request(request.body(full(ask(false))).unwrap()).await.unwrap();
        Reply::read(reply).await.status
    };
    for at in 0..8 {
        assert_eq!(chat().await, 200, "request {at}");
    }
    assert_eq!(chat().await, 429, "both quotas are used up");
    assert_eq!(chat().await, 503);
    assert_eq!(stack.simulator("sim").unwrap().stats().accepted, 8);
    let warned = lines.holding("set aside");
    assert_eq!(warned.len(), 2, "one line a key: {warned:?}");
    let line: Value = serde_json::from_str(&warned[0]).unwrap();
    for (field, value) in
        [("level", "WARN"), ("provider", "sim"), ("key", "a"), ("reason", "out of money")]
    {
        assert_eq!(line[field], value, "{line}");
    }
    assert!(line["until"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{line}");
    let states = || stack.benches().list().into_iter().map(|one| one.state).collect::<Vec<_>>();
    assert!(states().iter().all(|state| matches!(state, State::Benched { .. })), "{:?}", states());
    // Somebody pays.
    stack.simulator("sim").unwrap().set(tollway::simulate::SimulateConfig::default());
    tokio::time::sleep(std::time::Duration::from_secs(15 * 60 - 1)).await;
    assert_eq!(chat().await, 503);
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    for _ in 0..2 {
        assert_eq!(chat().await, 200);
    }
    assert!(states().iter().all(|state| *state == State::Closed), "{:?}", states());
    assert_eq!(lines.holding("works again").len(), 2);
}
