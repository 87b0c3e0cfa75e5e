//! Another policy takes over while requests are under way.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
};

use http::{Method, Request, Response};
use hyper_util::{
    client::legacy::Client, client::legacy::connect::HttpConnector, rt::TokioExecutor,
};
use tokio::{io::AsyncWriteExt, net::TcpStream, sync::watch};
use tollway::{
    Proxy,
    policy::PolicyFile,
    rate_limit::{Key, Standing},
};

use super::{served::Served, support::*};

/// The client's keep-alive connections stay open, unlike [`client`]'s.
fn keeping() -> Http {
    Client::builder(TokioExecutor::new()).build(HttpConnector::new())
}

fn standing(proxy: &Proxy, limit: &str) -> Standing {
    proxy.stack().request_limits().standing(limit, &Key::All).unwrap()
}

fn used(proxy: &Proxy, limit: &str) -> u64 {
    let standing = standing(proxy, limit);
    standing.capacity - standing.remaining
}

/// A provider whose replies are streams that begin at once and end when the gate opens.
async fn gated() -> (watch::Sender<bool>, std::net::SocketAddr) {
    let (open, gate) = watch::channel(false);
    let address = provider(move |_| {
        let mut gate = gate.clone();
        async move {
            let (send, stream) = pipe();
            tokio::spawn(async move {
                let event = COMPLETION.replace("\"message\":", "\"delta\":");
                let _ = send.send(format!("data: {event}\n\n").into()).await;
                let _ = gate.wait_for(|open| *open).await;
                let _ = send.send("data: [DONE]\n\n".into()).await;
            });
            Response::builder().header("content-type", "text/event-stream").body(stream).unwrap()
        }
    })
    .await;
    (open, address)
}

fn chat(proxy: &Proxy, model: &str, stream: bool) -> Request<Body> {
    Request::post(format!("http://{}{CHAT}", proxy.address()))
        .header(JSON.0, JSON.1)
        .body(full(ask(stream).replace("gpt-4o-mini", model)))
        .unwrap()
}

/// The policy of the storm: what must not be reset stays, all else is another one each time.
fn nth(nth: usize, gated: std::net::SocketAddr, other: std::net::SocketAddr) -> String {
    let more = match nth % 3 {
        0 => "",
        1 => "retry: { attempts: 2 }\ncircuit_breaker: { open_after: 7 }\n",
        _ => {
            "circuit_breaker: { open_after: 9 }\npacing: { wait: 1s }\nstreams: { commit: head }\n"
        }
    };
    let spare = if nth.is_multiple_of(2) { "  spare: { simulate: {} }\n" } else { "" };
    format!(
        "server: {{ workers: 2, body_timeout: {}s }}
providers:
  sim: {{ simulate: {{ latency: {}ms, output_tokens: 20, tokens_per_second: 4000 }} }}
  gated: {{ base_url: \"http://{gated}/v1\", auth: none }}
  other: {{ base_url: \"http://{other}/v1\", auth: none }}
{spare}routes:
  - {{ name: gated, match: {{ model: gated }}, targets: [gated] }}
  - {{ name: other, match: {{ model: other }}, targets: [other, sim] }}
  - {{ name: all, targets: [sim] }}
limits:
  - {{ name: bucket, per: all, requests: 1/day, burst: 100000, shape: bucket }}
  - {{ name: month, per: all, requests: {}/month, shape: calendar }}
  - {{ name: places, per: all, concurrent: {} }}
{more}",
        60 + nth,
        nth % 4,
        1_000_000 + nth,
        500 + nth % 7,
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_reloads_under_load_lose_no_request_and_reset_nothing() {
    let (open, gated) = gated().await;
    let elsewhere = Arc::new(AtomicU64::new(0));
    let count = elsewhere.clone();
    let other = provider(move |_| {
        count.fetch_add(1, SeqCst);
        async { reply(200, &[JSON], COMPLETION) }
    })
    .await;
    let proxy = Arc::new(Running::new(&nth(0, gated, other)));
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let (h1, h2) = (keeping(), client_h2());
    let long: Vec<_> = [&h1, &h2, &h1, &h2]
        .map(|client| tokio::spawn(client.request(chat(&proxy, "gated", true))))
        .into();
    let load: Vec<_> = (0..8_usize)
        .map(|worker| {
            let client = if worker % 2 == 0 { h1.clone() } else { h2.clone() };
            let (proxy, stop, done) = (proxy.clone(), stop.clone(), done.clone());
            tokio::spawn(async move {
                let mut turn = worker;
                while !stop.load(SeqCst) {
                    turn += 1;
                    let stream = turn % 4 == 0;
                    let model = if turn % 3 == 0 && !stream { "other" } else { "gpt-4o-mini" };
                    let reply = within("a reply", client.request(chat(&proxy, model, stream)));
                    let got = Reply::read(reply.await.unwrap()).await;
                    assert_eq!(got.status, 200, "{got:?}");
                    assert!(
                        !got.broken && (!stream || got.text().ends_with("[DONE]\n\n")),
                        "{got:?}"
                    );
                    done.fetch_add(1, SeqCst);
                }
            })
        })
        .collect();
    let mut streams = Vec::new();
    for stream in long {
        streams.push(within("a stream's head", stream).await.unwrap().unwrap());
    }
    let mut stacks = Vec::new();
    for turn in 1..=50 {
        stacks.push(Arc::downgrade(&proxy.stack()));
        let before = done.load(SeqCst);
        let changes = proxy.reloader().apply(policy(&nth(turn, gated, other))).await.unwrap();
        assert!(changes.iter().all(|change| !change.needs_restart), "{changes:?}");
        assert_eq!(standing(&proxy, "month").capacity, 1_000_000 + turn as u64);
        assert!(used(&proxy, "bucket") >= before, "a bucket was reset");
        // Some requests by each policy.
        until("more requests", || done.load(SeqCst) >= before + 4).await;
    }
    stop.store(true, SeqCst);
    for each in load {
        within("the load's end", each).await.unwrap();
    }
    assert_eq!(standing(&proxy, "places").held, 4, "the long streams still run");
    open.send(true).unwrap();
    for stream in streams {
        let got = Reply::read(stream).await;
        assert!(got.status == 200 && got.text().ends_with("data: [DONE]\n\n"), "{got:?}");
    }
    until("all has settled", || proxy.is_idle()).await;
    let all = done.load(SeqCst) + 4;
    assert!(all >= 204, "{all} requests");
    let served = proxy.sim("sim").stats().accepted + elsewhere.load(SeqCst) + 4;
    assert_eq!(served, all, "the simulated provider goes on");
    assert_eq!((used(&proxy, "bucket"), used(&proxy, "month")), (all, all), "of {all} requests");
    assert_eq!((used(&proxy, "places"), standing(&proxy, "places").held), (0, 0));
    let totals = proxy.stack().totals().snapshot();
    let counted = totals.iter().filter(|row| row.dimension == tollway::cost::Dimension::Key);
    let days: u64 =
        counted.filter(|row| !row.period.is_month()).map(|row| row.total.requests).sum();
    assert_eq!(days, all, "totals go on");
    until("the old policies are gone", || proxy.metric("tollway_policies_in_use") == Some(1.0))
        .await;
    assert!(stacks.iter().all(|stack| stack.upgrade().is_none()), "and their stacks");
    let told = proxy.telemetry().render();
    assert!(told.contains("tollway_reloads_total{result=\"applied\"} 50"), "{told}");
}

#[tokio::test]
async fn a_provider_that_is_removed_ends_its_streams() {
    let (open, gated) = gated().await;
    let places = "limits: [{ name: places, per: all, concurrent: 5 }]\n";
    let proxy = Running::new(&format!("{}{places}", provider_at(gated)));
    let stream = client().request(chat(&proxy, "gpt-4o-mini", true)).await.unwrap();
    let changes = proxy
        .reloader()
        .apply(policy(&format!("providers: {{ sim: {{ simulate: {{}} }} }}\n{places}")))
        .await
        .unwrap();
    let told: Vec<_> = changes.iter().map(|change| change.path.as_str()).collect();
    assert_eq!(told, ["providers.sim", "providers.up"]);
    assert_eq!(standing(&proxy, "places").held, 1);
    assert_eq!(proxy.chat("").await.status, 200);
    assert_eq!(proxy.sim("sim").stats().accepted, 1);
    open.send(true).unwrap();
    let got = Reply::read(stream).await;
    assert!(!got.broken && got.text().ends_with("data: [DONE]\n\n"), "{got:?}");
    until("settled", || standing(&proxy, "places").held == 0).await;
    until("one policy is left", || proxy.metric("tollway_policies_in_use") == Some(1.0)).await;
}

#[tokio::test]
async fn who_waits_goes_by_the_limit_as_it_is_now() {
    let (open, gated) = gated().await;
    let with = |places: u32| {
        let limit = format!(
            "{{ name: places, per: all, concurrent: {places}, when_full: {{ wait: 60s }} }}"
        );
        format!("{}limits:\n  - {limit}\n", provider_at(gated))
    };
    let proxy = Running::new(&with(1));
    let first = client().request(chat(&proxy, "m", true)).await.unwrap();
    let second = tokio::spawn(client().request(chat(&proxy, "m", true)));
    until("the second waits", || standing(&proxy, "places").waiting == 1).await;
    proxy.reloader().apply(policy(&with(2))).await.unwrap();
    let second = within("the second's turn", second).await.unwrap().unwrap();
    assert_eq!((second.status().as_u16(), standing(&proxy, "places").held), (200, 2));
    open.send(true).unwrap();
    for reply in [first, second] {
        assert!(Reply::read(reply).await.text().ends_with("data: [DONE]\n\n"));
    }
}

/// Open connections go by the new policy from the next request on.
#[tokio::test]
async fn open_connections_change_over() {
    let sim = "providers: { sim: { simulate: {} } }\n";
    let hash = "0".repeat(64);
    let closed = format!("{sim}callers:\n  keys: [{{ name: a, sha256: \"{hash}\" }}]\n");
    let proxy = Running::new(sim);
    let mut h1 = TcpStream::connect(proxy.address()).await.unwrap();
    let h2 = client_h2();
    let models = b"GET /v1/models HTTP/1.1\r\nhost: a\r\n\r\n";
    let over_h2 = async || {
        let request = Request::get(proxy.uri("/v1/models")).body(full("")).unwrap();
        Reply::read(h2.request(request).await.unwrap()).await.status
    };
    h1.write_all(models).await.unwrap();
    assert!(read_request(&mut h1).await.starts_with("HTTP/1.1 200"));
    assert_eq!(over_h2().await, 200);
    proxy.reloader().apply(policy(&closed)).await.unwrap();
    h1.write_all(models).await.unwrap();
    assert!(read_request(&mut h1).await.starts_with("HTTP/1.1 401"));
    assert_eq!(over_h2().await, 401);
}

#[tokio::test]
async fn connections_to_a_provider_that_is_the_same_are_kept() {
    let connections = Arc::new(AtomicUsize::new(0));
    let count = connections.clone();
    let address = raw_provider(move |stream| {
        count.fetch_add(1, SeqCst);
        serve(stream, |_| async { reply(200, &[JSON], COMPLETION) })
    })
    .await;
    let with = |more: &str| {
        format!(
            "server: {{ workers: 1 }}\nproviders: {{ up: {{ base_url: \"http://{address}/v1\", auth: none{more} }} }}\n"
        )
    };
    let proxy = Running::new(&with(""));
    assert_eq!(proxy.chat("").await.status, 200);
    proxy
        .reloader()
        .apply(policy(&format!("{}retry: {{ attempts: 3 }}\n", with(""))))
        .await
        .unwrap();
    assert_eq!((proxy.chat("").await.status.as_u16(), connections.load(SeqCst)), (200, 1));
    let timeouts = ", timeouts: { first_byte: 7s }";
    proxy.reloader().apply(policy(&with(timeouts))).await.unwrap();
    assert_eq!((proxy.chat("").await.status.as_u16(), connections.load(SeqCst)), (200, 2));
}

#[tokio::test]
async fn turns_go_on() {
    let up = Recording::new(|_| reply(200, &[JSON], COMPLETION)).await;
    let with = |burst: u32| {
        format!(
            "providers: {{ up: {{ base_url: \"http://{}/v1\", keys: {{ a: aaaa, b: bbbb, c: cccc }} }} }}
limits: [{{ name: all, per: all, requests: 60/min, burst: {burst} }}]
routes: [{{ name: all, strategy: round_robin, targets: [up/one, up/two] }}]
",
            up.address
        )
    };
    let proxy = Running::new(&with(50));
    for burst in 51..57 {
        assert_eq!(proxy.chat("").await.status, 200);
        proxy.reloader().apply(policy(&with(burst))).await.unwrap();
    }
    let all = up.all();
    let model = |seen: &Seen| seen.body.windows(5).any(|text| text == b"\"one\"");
    let turns: Vec<_> = all.iter().map(model).collect();
    assert_eq!(turns, [true, false, true, false, true, false]);
    let keys: std::collections::BTreeSet<_> =
        all.iter().map(|seen| seen.header("authorization")).collect();
    assert_eq!(keys.len(), 3, "those of keys, too");
}

#[tokio::test]
async fn a_reload_feeds_no_storm_of_retries() {
    let up = Recording::new(|_| reply(503, &[JSON], "{}")).await;
    let with = |deadline: u32| {
        format!(
            "providers: {{ up: {{ base_url: \"http://{}/v1\", auth: none }} }}
server: {{ request_deadline: {deadline}s }}
retry:
  attempts: 2
  backoff: {{ first: 1ms, max: 1ms }}
  budget: {{ ratio: 1%, min_per_second: 1 }}
",
            up.address
        )
    };
    let proxy = Running::new(&with(100));
    for deadline in 101..121 {
        assert_eq!(proxy.chat("").await.status, 503);
        proxy.reloader().apply(policy(&with(deadline))).await.unwrap();
    }
    // Ten in ten seconds; a slow machine may see a second or two of the next.
    let repeats = up.count() - 20;
    assert!((10..=14).contains(&repeats), "{repeats}");
}

#[tokio::test]
async fn what_is_ill_stays_known_until_it_is_another_one() {
    let down = provider(|_| async { reply(500, &[JSON], "{}") }).await;
    let refuses =
        provider(|_| async { reply(401, &[JSON], r#"{"error":{"message":"no"}}"#) }).await;
    let with = |key: &str, open_after: u32, path: &str| {
        format!(
            "providers:
  down: {{ base_url: \"http://{down}/{path}\", auth: none }}
  refuses: {{ base_url: \"http://{refuses}/v1\", api_key: {key} }}
routes:
  - {{ name: down, match: {{ model: down }}, targets: [down] }}
  - {{ name: all, targets: [refuses] }}
circuit_breaker: {{ open_after: {open_after} }}
"
        )
    };
    let proxy = Running::new(&with("sk-old-and-refused", 2, "v1"));
    for model in ["down", "down", "m"] {
        let request = chat(&proxy, model, false);
        Reply::read(client().request(request).await.unwrap()).await;
    }
    let out = || {
        let stack = proxy.stack();
        let open = |state| matches!(state, tollway::circuit_breaker::State::Open { .. });
        let benched = |state| matches!(state, tollway::circuit_breaker::State::Benched { .. });
        let breakers = stack.breakers().list().iter().filter(|one| open(one.state)).count();
        (breakers, stack.benches().list().iter().filter(|one| benched(one.state)).count())
    };
    assert_eq!(out(), (1, 1));
    proxy.reloader().apply(policy(&with("sk-old-and-refused", 9, "v1"))).await.unwrap();
    assert_eq!(out(), (1, 1), "by other thresholds");
    let told = proxy.telemetry().render();
    let benched = r#"tollway_provider_key_benched{gen_ai_provider_name="refuses",key="default",reason="auth"}"#;
    assert!(told.contains(&format!("{benched} 1")), "{told}");
    let changes = proxy.reloader().apply(policy(&with("sk-new", 9, "v2"))).await.unwrap();
    assert_eq!(out(), (0, 0), "another secret and another address");
    assert!(proxy.telemetry().render().contains(&format!("{benched} 0")));
    let words = format!("{changes:?}");
    assert!(words.contains("another secret") && !words.contains("sk-"), "{words}");
}

#[tokio::test]
async fn what_needs_a_restart_is_told_and_stays() {
    let proxy = Running::new("providers: { sim: { simulate: {} } }\n");
    let address = proxy.address();
    let mut other = policy(
        "providers: { sim: { simulate: {} } }\nserver: { workers: 3, max_body: 1KiB, max_headers: 10 }\n",
    );
    other.listen.set_port(9);
    for _ in 0..2 {
        let changes = proxy.reloader().apply(other.clone()).await.unwrap();
        let fixed: Vec<_> = changes.iter().filter(|change| change.needs_restart).collect();
        let paths: Vec<_> = fixed.iter().map(|change| change.path.as_str()).collect();
        assert_eq!(paths, ["listen", "server.workers"], "told until there was a restart");
    }
    assert_eq!(proxy.address(), address);
    let names: Vec<_> = (0..20).map(|nth| format!("x-{nth}")).collect();
    let headers: Vec<_> = names.iter().map(|name| (name.as_str(), "1")).collect();
    let got = proxy.send(Method::GET, "/v1/models", &headers, "").await;
    assert_eq!(got.status, 431, "new connections have the new caps");
    let long = format!(
        r#"{{"model":"m","messages":[{{"role":"user","content":"{}"}}]}}"#,
        "x".repeat(2000)
    );
    assert_eq!(proxy.post(CHAT, long).await.status, 413, "and the rest holds");
}

/// A proxy with a policy file in a folder of its own.
struct Filed {
    proxy: Running,
    path: PathBuf,
    folder: tempfile::TempDir,
}

impl Filed {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.yaml");
        std::fs::write(&path, text).unwrap();
        Self { proxy: Running::of_file(&path), path, folder }
    }

    async fn reload(&self, headers: &[(&str, &str)]) -> Reply {
        let uri = format!("http://{}/admin/v1/reload", self.proxy.admin_address());
        let mut request = Request::builder().method(Method::POST).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Reply::read(client().request(request.body(full("")).unwrap()).await.unwrap()).await
    }

    async fn until_burst(&self, burst: u64) {
        until(format!("a burst of {burst}"), || standing(&self.proxy, "all").capacity == burst)
            .await;
    }
}

fn with_burst(burst: u32) -> String {
    format!(
        "providers: {{ sim: {{ simulate: {{}} }} }}\nlimits:\n  - {{ name: all, per: all, requests: 5/min, burst: {burst} }}\n"
    )
}

#[tokio::test]
async fn a_bad_file_changes_nothing_and_says_so() {
    let filed = Filed::new(&with_burst(5));
    let bad = with_burst(9).replace("requests", "reqests");
    std::fs::write(&filed.path, &bad).unwrap();
    let got = filed.reload(&[]).await;
    assert_eq!((got.status.as_u16(), &got.json()["result"]), (422, &"refused".into()), "{got:?}");
    let error = &got.json()["errors"][0];
    assert_eq!(
        (&error["line"], &error["path"]),
        (&3.into(), &"limits[0].reqests".into()),
        "{error}"
    );
    let shown = error["shown"].as_str().unwrap();
    assert!(
        shown.contains("policy.yaml:3:") && shown.contains("^^^") && shown.contains("`requests`")
    );
    assert_eq!(standing(&filed.proxy, "all").capacity, 5);
    assert_eq!(filed.proxy.chat("").await.status, 200);
    let ready = filed.proxy.admin("/readyz").await;
    assert_eq!(ready.status, 200);
    assert!(ready.text().starts_with("ready") && ready.text().contains("reqests"), "{ready:?}");
    assert!(
        !filed.proxy.telemetry().render().contains("tollway_reloads_total{result=\"refused\"} 0")
    );

    std::fs::write(&filed.path, with_burst(10)).unwrap();
    filed.until_burst(10).await;
    assert_eq!(used(&filed.proxy, "all"), 2, "one of five is two of ten");
    within("readyz", async { while filed.proxy.admin("/readyz").await.text() != "ready\n" {} })
        .await;
    let same = filed.reload(&[]).await;
    assert_eq!((same.status.as_u16(), &same.json()["result"]), (200, &"unchanged".into()));
}

/// What can be read but not built changes nothing, either.
#[tokio::test]
async fn a_policy_that_cannot_be_built_changes_nothing() {
    let proxy = Running::new(&with_burst(5));
    let mut broken = policy(&with_burst(50).replace("simulate: {}", "base_url: \"http://a/v1\""));
    let tollway::policy::Endpoint::Http(http) = &mut broken.providers[0].endpoint else { panic!() };
    http.extra_ca = Some("/nowhere/ca.pem".into());
    let error = proxy.reloader().apply(broken).await.unwrap_err();
    assert!(error.to_string().contains("/nowhere/ca.pem"), "{error}");
    assert_eq!(standing(&proxy, "all").capacity, 5);
    assert_eq!(proxy.chat("").await.status, 200);
}

#[tokio::test]
async fn files_are_followed_however_they_are_written() {
    let filed = Filed::new(&with_burst(5));
    // An editor that puts a new file in the place of the old one.
    let beside = filed.folder.path().join(".policy.yaml.swp");
    std::fs::write(&beside, with_burst(6)).unwrap();
    std::fs::rename(&beside, &filed.path).unwrap();
    filed.until_burst(6).await;
    // One that moves the old one away and writes another.
    std::fs::rename(&filed.path, filed.folder.path().join("policy.yaml~")).unwrap();
    std::fs::write(&filed.path, with_burst(7)).unwrap();
    filed.until_burst(7).await;
    // One that writes where the file is.
    std::fs::write(&filed.path, with_burst(8)).unwrap();
    filed.until_burst(8).await;
}

/// A config map: the file is a link, and what it leads through is replaced at once.
#[cfg(unix)]
#[tokio::test]
async fn a_mounted_config_map_is_followed() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let revision = |name: &str, burst| {
        std::fs::create_dir(at(name)).unwrap();
        std::fs::write(at(name).join("policy.yaml"), with_burst(burst)).unwrap();
    };
    revision("..1", 5);
    symlink("..1", at("..data")).unwrap();
    symlink("..data/policy.yaml", at("policy.yaml")).unwrap();
    let proxy = Running::of_file(&at("policy.yaml"));
    revision("..2", 6);
    symlink("..2", at("..data_tmp")).unwrap();
    std::fs::rename(at("..data_tmp"), at("..data")).unwrap();
    std::fs::remove_dir_all(at("..1")).unwrap();
    until("the second revision", || standing(&proxy, "all").capacity == 6).await;
}

#[tokio::test]
async fn secrets_in_files_are_read_again() {
    let seen = Recording::new(|_| reply(200, &[JSON], COMPLETION)).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("key"), "sk-first").unwrap();
    let path = folder.path().join("policy.yaml");
    let text = format!(
        "providers: {{ up: {{ base_url: \"http://{}/v1\", api_key: \"file:key\" }} }}\n",
        seen.address
    );
    std::fs::write(&path, text).unwrap();
    let proxy = Running::of_file(&path);
    proxy.chat("").await;
    assert_eq!(seen.last().header("authorization"), "Bearer sk-first");
    std::fs::write(folder.path().join("key"), "sk-second").unwrap();
    within("the second key", async {
        while seen.last().header("authorization") != "Bearer sk-second" {
            assert_eq!(proxy.chat("").await.status, 200);
        }
    })
    .await;
}

#[tokio::test]
async fn who_may_have_it_read_again() {
    let token = "admin: { token: let-me-in-please }\n";
    let filed = Filed::new(&format!("{}{token}", with_burst(5)));
    assert_eq!(filed.reload(&[]).await.status, 401);
    assert_eq!(filed.reload(&[("authorization", "Bearer wrong")]).await.status, 401);
    assert_eq!(filed.proxy.admin("/admin/v1/reload").await.status, 401, "before anything else");
    std::fs::write(&filed.path, format!("{}nonsense: 1\n{token}", with_burst(5))).unwrap();
    let right = [("authorization", "Bearer let-me-in-please")];
    assert_eq!(filed.reload(&right).await.status, 422);
    let ready = filed.proxy.admin("/readyz").await.text();
    assert!(ready.contains("refused") && !ready.contains("nonsense"), "{ready}");
    std::fs::write(&filed.path, with_burst(6)).unwrap();
    filed.until_burst(6).await;
    // The limits change over a moment before the rest does.
    within("no token, by the new policy", async { while filed.reload(&[]).await.status != 200 {} })
        .await;

    let given = Running::new(&with_burst(5));
    let uri = format!("http://{}/admin/v1/reload", given.admin_address());
    let request = Request::post(uri).body(full("")).unwrap();
    let got = Reply::read(client().request(request).await.unwrap()).await;
    assert_eq!((got.status.as_u16(), &got.json()["result"]), (409, &"refused".into()));
}

impl Running {
    fn of_file(path: &std::path::Path) -> Self {
        let any = Some(([127, 0, 0, 1], 0).into());
        let file = PolicyFile::file(path).listening(any, any);
        let policy = file.load().unwrap();
        let start = move || Proxy::start_from(policy, file);
        Self::started(std::thread::spawn(start).join().unwrap().unwrap())
    }
}

#[tokio::test]
async fn a_second_quota_forgets_nothing_of_the_first() {
    let limits = |quotas: &str| {
        policy(&format!(
            "providers: {{ sim: {{ simulate: {{}} }} }}\nlimits: [{{ name: l, per: all, {quotas} }}]\n"
        ))
    };
    let proxy = Running::started(Proxy::start(limits("tokens: 100k/month")).unwrap());
    let sent = keeping().request(chat(&proxy, "gpt-4o-mini", false)).await.unwrap();
    assert_eq!(Reply::read(sent).await.status, 200);
    until("its end", || proxy.is_idle()).await;
    let before = used(&proxy, "l");
    assert!(before > 0);
    proxy.reloader().apply(limits("tokens: 100k/month, requests: 60/day")).await.unwrap();
    assert_eq!((used(&proxy, "l.tokens"), used(&proxy, "l.requests")), (before, 0));
    proxy.reloader().apply(limits("tokens: 100k/month")).await.unwrap();
    assert_eq!(used(&proxy, "l"), before);
}

#[tokio::test]
async fn a_state_that_no_restart_could_open_is_refused() {
    let with = |state: &str| {
        policy(&format!("providers: {{ sim: {{ simulate: {{}} }} }}\nstate: {state}\n"))
    };
    let proxy = Running::started(Proxy::start(with("memory")).unwrap());
    let refused = proxy.reloader().apply(with("{ sqlite: /nowhere/at/all/t.db }")).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("no folder /nowhere/at/all"), "{refused}");
    assert!(proxy.reloader().apply(with("memory")).await.unwrap().is_empty());
}

/// A policy of two hundred routes takes a multiple of what each reload may leave behind here.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn memory_is_flat_over_reloads() {
    let folder = tempfile::tempdir().unwrap();
    let policy = |nth: usize| {
        let route = |at| {
            format!(
                "  - {{ name: r{at}, match: {{ model: \"m{at}-*\" }}, strategy: weighted, targets: [sim: {}, other: 1] }}\n",
                1 + nth % 2 + at
            )
        };
        let routes: String = (0..200).map(route).collect();
        format!(
            "server: {{ workers: 2 }}\nlog: {{ level: warn }}\nproviders: {{ sim: {{ simulate: {{}} }}, other: {{ simulate: {{}} }} }}\nroutes:\n{routes}  - {{ name: rest, targets: [sim] }}\n"
        )
    };
    let served = Served::with(&folder, &policy(0));
    let client = keeping();
    let resident = || {
        let pages = std::fs::read_to_string(format!("/proc/{}/statm", served.id())).unwrap();
        pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4
    };
    let reload = async |nth| {
        std::fs::write(folder.path().join("policy.yaml"), policy(nth)).unwrap();
        let uri = format!("http://{}/admin/v1/reload", served.admin);
        let request = Request::post(uri).body(full("")).unwrap();
        let got = Reply::read(client.request(request).await.unwrap()).await;
        assert_eq!(got.status, 200, "{got:?}");
        for _ in 0..4 {
            assert_eq!(served.chat(&client, &format!("m{nth}-a"), &[]).await.status, 200);
        }
    };
    for nth in 0..20 {
        reload(nth).await;
    }
    let before = resident();
    for nth in 20..70 {
        reload(nth).await;
    }
    let after = resident();
    println!("{before} kB after 20 reloads, {after} kB after 70");
    assert!(after < before + 50 * 100, "{before} kB, then {after} kB");
}
