//! The command line, the admin listener, and the end of the program.

use std::{path::PathBuf, process::Output};

use http::{Method, Request, Response};
use http_body_util::BodyExt;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tollway::{simulate::SimulateConfig, telemetry::names};

use super::{
    served::{Served, tollway},
    support::*,
};

pub(crate) fn run(arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = tollway(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

pub(crate) fn file(folder: &tempfile::TempDir, text: &str) -> String {
    let path: PathBuf = folder.path().join("policy.yaml");
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn check_points_at_each_mistake() {
    let folder = tempfile::tempdir().unwrap();
    let broken = file(
        &folder,
        "providers:\n  sim: { simulate: {} }\nretyr: { attempts: 3 }\nlimits:\n  - { name: a, per: usr, requests: 5/min }\n",
    );
    for arguments in [&["check", &broken][..], &[&broken], &["serve", &broken]] {
        let (code, stdout, stderr) = run(arguments);
        assert_eq!((code, stdout.as_str()), (2, ""), "{stderr}");
        for part in ["policy.yaml:3:1", "policy.yaml:5:", "retyr", "`retry`", "^", "user"] {
            assert!(stderr.contains(part), "{part} is not in\n{stderr}");
        }
    }
    let (code, _, stderr) = run(&["check", "/nowhere/policy.yaml"]);
    assert_eq!(code, 2);
    assert!(
        stderr.contains("/nowhere/policy.yaml") && stderr.contains("cannot be read"),
        "{stderr}"
    );
    let good = file(&folder, "providers:\n  sim: { simulate: {} }\n");
    let (code, stdout, stderr) = run(&["check", &good]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(stdout.contains("ok (1 providers"), "{stdout}");
    let certificate = file(
        &folder,
        "providers:\n  lab: { base_url: \"https://lab.example/v1\", extra_ca: missing.pem }\n",
    );
    let (code, _, stderr) = run(&["check", &certificate]);
    assert_eq!(code, 2);
    assert!(stderr.contains("missing.pem"), "{stderr}");
}

#[test]
fn schema_keys_and_help_go_to_stdout() {
    let (code, stdout, stderr) = run(&["schema"]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    let schema: Value = serde_json::from_str(&stdout).unwrap();
    assert!(schema["properties"]["providers"].is_object());

    let (code, stdout, stderr) = run(&["keys", "new", "alice"]);
    assert_eq!(code, 0);
    let key = stdout.strip_suffix('\n').unwrap();
    assert!(!key.contains('\n') && key.len() > 32, "one key and nothing else: {stdout:?}");
    let hash: String = Sha256::digest(key).iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(stderr.contains(&hash) && stderr.contains("name: alice"), "{stderr}");
    assert!(!stderr.contains(key));
    assert_ne!(run(&["keys", "new", "alice"]).1, stdout);
    let (_, json, _) = run(&["keys", "new", "alice", "--json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    let hash: String = Sha256::digest(json["key"].as_str().unwrap())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!((&json["name"], &json["sha256"]), (&Value::from("alice"), &Value::from(hash)));

    let (code, stdout, stderr) = run(&["--help"]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    for part in
        ["serve", "check", "schema", "simulate", "keys", "--listen", "--admin-listen", "Exit codes"]
    {
        assert!(stdout.contains(part), "{part} is not in\n{stdout}");
    }
    for wrong in [&["--no-such-flag"][..], &["check"], &["--listen", "here"]] {
        let (code, stdout, stderr) = run(wrong);
        assert_eq!((code, stdout.as_str()), (2, ""), "{wrong:?}");
        assert!(stderr.contains("--help") || stderr.contains("Usage"), "{stderr}");
    }
}

#[test]
fn a_taken_address_is_told_with_what_to_do() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (arguments, flag) in [
        (["--listen", &address, "--admin-listen", "127.0.0.1:0"], "--listen"),
        (["--admin-listen", &address, "--listen", "127.0.0.1:0"], "--admin-listen"),
    ] {
        let (code, stdout, stderr) = run(&arguments);
        assert_eq!((code, stdout.as_str()), (1, ""), "{stderr}");
        assert!(stderr.contains(&address) && stderr.contains(flag), "{stderr}");
    }
    let (code, _, stderr) = run(&["--admin-listen", "0.0.0.0:0", "--listen", "127.0.0.1:0"]);
    assert!(code == 2 && stderr.contains("admin.token"), "{stderr}");
    let (code, _, stderr) = run(&["simulate", "--listen", &address]);
    assert_eq!(code, 1);
    assert!(stderr.contains(&address) && stderr.contains("--listen"), "{stderr}");
}

#[tokio::test]
async fn the_demo_answers_what_it_prints() {
    let served = Served::new(&[]);
    let request = Request::post(format!("http://{}{CHAT}", served.address))
        .header(JSON.0, JSON.1)
        .body(full(r#"{"model":"gpt-4o-mini","messages":[{"role":"user","content":"Hello"}]}"#))
        .unwrap();
    let got = Reply::read(client().request(request).await.unwrap()).await;
    assert_eq!(got.status, 200);
    assert_eq!(got.json()["object"], "chat.completion");
    served.signal("-INT");
    let (code, said) = served.ended().await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("curl http://127.0.0.1:"), "{said}");
}

#[tokio::test]
async fn sighup_reads_the_policy_again() {
    let folder = tempfile::tempdir().unwrap();
    let policy = file(&folder, "providers: { sim: { simulate: {} } }\n");
    let served = Served::new(&[&policy]);
    let reloads = async |result: &str| {
        let metrics = get(&format!("http://{}/metrics", served.admin)).await.text();
        metrics.contains(&format!("tollway_reloads_total{{result=\"{result}\"}} 1"))
    };
    // The file is the same: nobody but the signal has it read.
    served.signal("-HUP");
    within("one reload", async { while !reloads("unchanged").await {} }).await;
    served.signal("-TERM");
    let (code, said) = served.ended().await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("the policy was read again and holds"), "{said}");
}

#[test]
fn diff_says_what_a_policy_changes() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let old = write(
        "old.yaml",
        "providers: { sim: { simulate: {} } }\nlimits: [{ name: a, per: user, requests: 5/min }]\n",
    );
    let new = write(
        "new.yaml",
        "listen: 127.0.0.1:9\nproviders: { sim: { simulate: {} } }\nlimits: [{ name: a, per: user, requests: 9/min }]\n",
    );
    let bad = write("bad.yaml", "providers: {}\nnonsense: 1\n");
    assert_eq!(run(&["diff", &old, &old]), (0, String::new(), String::new()));
    let (code, stdout, stderr) = run(&["diff", &old, &new]);
    assert_eq!((code, stderr.as_str()), (1, ""));
    let lines: Vec<_> = stdout.lines().collect();
    assert_eq!(
        lines,
        [
            "listen: 127.0.0.1:8080 -> 127.0.0.1:9 (needs a restart)",
            "limits.a: 5 requests a minute -> 9 requests a minute; buckets stay as full as they are, by their share",
        ]
    );
    let (code, stdout, _) = run(&["diff", "--json", &old, &new]);
    let json: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &json["changes"][0]["path"]), (1, &"listen".into()));
    assert_eq!(json["changes"][1]["needs_restart"], false);
    let (code, stdout, stderr) = run(&["diff", &old, &bad]);
    assert_eq!((code, stdout.as_str()), (2, ""));
    assert!(stderr.contains("bad.yaml:2:1"), "{stderr}");
}

#[tokio::test]
async fn sigterm_under_load_finishes_every_accepted_request() {
    // The provider waits until the signal was heard: all are under way by then, and none is done.
    let (open_gate, gate) = watch::channel(false);
    let provider = provider(move |request| {
        let mut gate = gate.clone();
        async move {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let (send, stream) = pipe();
            if body == ask(false) {
                let _ = gate.wait_for(|open| *open).await;
                return reply(200, &[JSON], COMPLETION);
            }
            tokio::spawn(async move {
                let _ = send.send(": begun\n\n".into()).await;
                let _ = gate.wait_for(|open| *open).await;
                let event = COMPLETION.replace("\"message\":", "\"delta\":");
                let _ = send.send(format!("data: {event}\n\n").into()).await;
                let _ = send.send("data: [DONE]\n\n".into()).await;
            });
            Response::builder().header("content-type", "text/event-stream").body(stream).unwrap()
        }
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let policy = file(
        &folder,
        &format!(
            "{}limits: [{{ name: all, per: all, requests: 100000/min }}]\nretry: {{ attempts: 2 }}\nlog: {{ level: warn }}\n",
            provider_at(provider)
        ),
    );
    let served = Served::new(&[&policy]);
    let (h1, h2) = (client(), client_h2());
    let requests: Vec<_> = (0..60)
        .map(|n| {
            let client = if n % 3 == 0 { &h2 } else { &h1 };
            let request = Request::builder()
                .method(Method::POST)
                .uri(format!("http://{}{CHAT}", served.address))
                .header(JSON.0, JSON.1)
                .body(full(ask(n % 2 == 0)))
                .unwrap();
            let reply = client.request(request);
            tokio::spawn(async move {
                let got = Reply::read(within("a reply", reply).await.unwrap()).await;
                assert_eq!(got.status, 200, "{got:?}");
                assert!(!got.broken, "{got:?}");
                if n % 2 == 0 {
                    assert!(got.text().ends_with("data: [DONE]\n\n"), "{got:?}");
                } else {
                    assert_eq!(got.json()["object"], "chat.completion");
                }
            })
        })
        .collect();
    within("all are under way", async { while served.in_flight().await < 60.0 {} }).await;
    assert_eq!(get(&format!("http://{}/readyz", served.admin)).await.status, 200);
    served.signal("-TERM");
    let readyz = format!("http://{}/readyz", served.admin);
    within("not ready any more", async { while get(&readyz).await.status == 200 {} }).await;
    let got = get(&readyz).await;
    assert_eq!((got.status.as_u16(), got.text().as_str()), (503, "draining\n"));
    assert_eq!(get(&format!("http://{}/healthz", served.admin)).await.status, 200);
    assert!(requests.iter().all(|request| !request.is_finished()));
    open_gate.send(true).unwrap();
    for request in requests {
        request.await.unwrap();
    }
    let address = served.address;
    let (code, said) = served.ended().await;
    assert_eq!(code, Some(0), "{said}");
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let policy = file(&folder, "providers:\n  sim: { simulate: { latency: 10m } }\n");
    let served = Served::new(&[&policy]);
    let request = Request::post(format!("http://{}{CHAT}", served.address))
        .header(JSON.0, JSON.1)
        .body(full(ask(false)))
        .unwrap();
    let reply = tokio::spawn(client().request(request));
    within("it is under way", async { while served.in_flight().await < 1.0 {} }).await;
    served.signal("-TERM");
    let readyz = format!("http://{}/readyz", served.admin);
    within("not ready any more", async { while get(&readyz).await.status == 200 {} }).await;
    served.signal("-TERM");
    let (code, said) = served.ended().await;
    assert_eq!(code, Some(1), "{said}");
    assert!(reply.await.unwrap().is_err());
}

#[tokio::test]
async fn stop_finishes_what_runs_and_cuts_off_what_takes_too_long() {
    for (latency, drain, cut_off) in [("150ms", "30s", 0), ("10m", "20ms", 3)] {
        let proxy = Running::new(&format!(
            "server: {{ drain: {drain} }}\nproviders:\n  sim: {{ simulate: {{ latency: {latency} }} }}\n"
        ));
        let sim = proxy.sim("sim");
        let replies: Vec<_> = (0..3)
            .map(|_| {
                let request = Request::post(proxy.uri(CHAT)).header(JSON.0, JSON.1);
                tokio::spawn(client().request(request.body(full(ask(false))).unwrap()))
            })
            .collect();
        until("all are under way", || sim.stats().requests == 3).await;
        let proxy = proxy.take();
        let ended = tokio::task::spawn_blocking(move || proxy.stop());
        for reply in replies {
            let reply = within("an end", reply).await.unwrap();
            assert_eq!(reply.is_ok(), cut_off == 0);
            if let Ok(reply) = reply {
                assert!(reply.into_body().collect().await.is_ok());
            }
        }
        assert_eq!(within("the proxy's end", ended).await.unwrap(), cut_off);
    }
}

#[tokio::test]
async fn admin_tells_health_and_only_the_metrics_of_the_table() {
    let proxy = Running::new(
        "providers:\n  main: { simulate: {} }\n  spare: { simulate: {} }\n  empty: { simulate: { quota_requests: 0 } }\n\
         limits:\n  - { name: few, per: all, requests: 40/min, warn_at: 10% }\n  - { name: shadow, per: all, requests: 1/hour, enforce: false }\n\
         circuit_breaker: { open_after: 1 failures, recover_after: 1h }\nretry: { attempts: 2, backoff: { first: 1ms, max: 1ms } }\n\
         routing: { min_samples: 1 }\n\
         routes: [{ match: { model: o3 }, targets: [empty] }, { match: { model: gpt-4o }, strategy: cost, targets: [main] }, { targets: [main, spare] }]\n",
    );
    for (path, status, text) in [("/healthz", 200, "ok\n"), ("/readyz", 200, "ready\n")] {
        let got = proxy.admin(path).await;
        assert_eq!((got.status.as_u16(), got.text().as_str()), (status, text));
    }
    assert_eq!(proxy.admin("/other").await.status, 404);
    assert_eq!(proxy.chat("no_usage").await.status, 200);
    assert_eq!(proxy.post(CHAT, ask(true)).await.status, 200);
    for _ in 0..2 {
        let chosen = ask(false).replace("gpt-4o-mini", "gpt-4o");
        assert_eq!(proxy.post(CHAT, chosen).await.status, 200);
        until("its figures are there", || proxy.is_idle()).await;
    }
    assert_eq!(proxy.post(CHAT, ask(false).replace("gpt-4o-mini", "o3")).await.status, 429);
    let dead = SimulateConfig { error_rate: 1.0, ..SimulateConfig::default() };
    proxy.sim("main").set(dead);
    for _ in 0..2 {
        let got = proxy.send(Method::POST, CHAT, &[JSON], ask(false)).await;
        assert_eq!(got.status, 200, "the spare answers");
    }
    assert!(proxy.chat("status=503").await.status.is_server_error(), "nobody answers");
    for _ in 0..50 {
        proxy.chat("status=400").await;
    }
    let strange = r#"{"model":"a-model-nobody-knows","messages":[]}"#;
    proxy.post(CHAT, strange).await;
    until("no request under way", || proxy.is_idle()).await;
    let text = proxy.admin("/metrics").await.text();
    let mut told: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .filter_map(|line| line.split(' ').next())
        .collect();
    told.sort_unstable();
    let known: Vec<&str> = names::ALL.iter().map(|metric| metric.name).collect();
    for name in &told {
        assert!(known.contains(name), "{name} is not in the table");
    }
    for name in known {
        // Of those that tell of providers' own limits, `pacing.rs` asks; of what instances share,
        // `sharing.rs`.
        let pacing = name.contains("_pace_") || name.starts_with("tollway_provider_");
        let sharing = [names::BREAKER_ADVICE, names::SHARING_FAILING].contains(&name);
        // Nobody waited, no ledger failed; of reloads `reload.rs` asks, of webhooks and cheaper
        // targets `budgets.rs`.
        let rare = [names::LIMIT_WAITS, names::LEDGER_DROPPED, names::RELOADS];
        let budgets = name == names::ALERT_CALLS || name == names::LIMIT_DOWNGRADES;
        // Of a Redis `counted.rs` asks.
        let redis = name == names::LIMIT_ALONE || name.starts_with("tollway_limit_store_");
        let told_elsewhere = pacing || sharing || budgets || redis || rare.contains(&name);
        let counted = told_elsewhere || told.contains(&name);
        assert!(counted, "{name} was never told; there are {told:?}");
    }
    for line in text.lines().filter(|line| line.starts_with("# HELP ")) {
        let (name, help) = line["# HELP ".len()..].split_once(' ').unwrap();
        let metric = names::ALL.iter().find(|metric| metric.name == name).unwrap();
        assert_eq!(help, metric.help);
    }
    assert!(!text.contains("a-model-nobody-knows"), "labels are bounded");
    assert!(text.contains(r#"limit="few""#) && text.contains(r#"limit="shadow""#), "{text}");
}

#[tokio::test]
async fn metrics_ask_for_the_admin_token_where_there_is_one() {
    let proxy = Running::new("admin: { token: let-me-see }\nproviders:\n  sim: { simulate: {} }\n");
    assert_eq!(proxy.admin("/healthz").await.status, 200);
    assert_eq!(proxy.admin("/metrics").await.status, 401);
    let request = Request::get(format!("http://{}/metrics", proxy.admin_address()))
        .header("authorization", "Bearer let-me-see")
        .body(full(""))
        .unwrap();
    assert_eq!(client().request(request).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_proxy_starts_inside_a_runtime() {
    let proxy = tollway::Proxy::start(policy("providers:\n  sim: { simulate: {} }\n")).unwrap();
    let got = get(&format!("http://{}/readyz", proxy.admin_address())).await;
    assert_eq!(got.status, 200);
    proxy.stop_token().cancel();
}
