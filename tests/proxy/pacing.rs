//! Providers tell their own limits; nobody has to be refused to find them.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::json;
use tokio::time::Instant;

use super::support::*;

/// Ten times what the first provider allows, over real sockets, with no limit in the policy: the
/// first one gives what it has, the rest goes to the other, and nobody notices.
#[tokio::test]
async fn ten_times_the_load_goes_elsewhere_before_it_is_refused() {
    for (limit, retry) in [
        ("requests_per_minute: 20", ""),
        ("tokens_per_minute: 1200", ""),
        ("requests_per_minute: 20", "retry: { attempts: 2 }"),
    ] {
        let proxy = Arc::new(Running::new(&format!(
            "providers:
  small: {{ simulate: {{ output_tokens: 20, {limit} }} }}
  large: {{ simulate: {{}} }}
routes: [{{ targets: [small, large] }}]
{retry}
"
        )));
        let sent = Arc::new(AtomicU64::new(0));
        let clients = (0..8).map(|_| {
            let (proxy, sent) = (proxy.clone(), sent.clone());
            tokio::spawn(async move {
                while sent.fetch_add(1, Ordering::SeqCst) < 200 {
                    let body = r#"{"model":"gpt-4o-mini","max_tokens":30,"messages":[{"role":"user","content":"Hello"}]}"#;
                    let reply = proxy.post(CHAT, body).await;
                    assert_eq!(reply.status, 200, "{reply:?}");
                }
            })
        });
        for client in clients.collect::<Vec<_>>() {
            client.await.unwrap();
        }
        let (small, large) = (proxy.sim("small").stats(), proxy.sim("large").stats());
        println!("{limit}: {small:?}, {large:?}");
        assert!(small.accepted >= 15, "what it has is used: {small:?}");
        // At most the one that finds out that this provider's window does not fill evenly.
        assert!(small.refused_429 <= 2, "{small:?}");
        assert_eq!(small.accepted + large.accepted, 200);
    }
}

/// The same for minutes, under a clock that stands still: what the provider has is used, and its
/// refusals are few.
#[tokio::test(start_paused = true)]
async fn for_minutes_the_provider_is_kept_busy_and_hardly_ever_refuses() {
    const MINUTES: u64 = 5;
    let policy = policy(
        "providers:
  small: { simulate: { latency: 300ms, jitter: 50%, output_tokens: 20, requests_per_minute: 50 } }
  large: { simulate: { latency: 300ms } }
routes: [{ targets: [small, large] }]
",
    );
    let (stack, send) = in_process(policy).await;
    let start = Instant::now();
    let mut tasks = Vec::new();
    for nth in 0..MINUTES * 500 {
        let request = Request::post(format!("http://tollway{CHAT}"))
            .header(JSON.0, JSON.1)
            .body(full(ask(nth % 2 == 0)))
            .unwrap();
        let reply = send.clone().send_request(request);
        tasks.push(tokio::spawn(async move {
            let reply = reply.await.unwrap();
            assert_eq!(reply.status(), StatusCode::OK);
            reply.into_body().collect().await.unwrap();
        }));
        tokio::time::sleep_until(start + Duration::from_millis(120 * (nth + 1))).await;
    }
    for task in tasks {
        task.await.unwrap();
    }
    let stats = stack.simulator("small").unwrap().stats();
    println!("{stats:?}");
    assert!(stats.accepted >= 50 * MINUTES * 9 / 10, "{stats:?}");
    // Without pacing, nine in ten.
    assert!(stats.refused_429 <= 2 * MINUTES, "{stats:?}");
}

/// A provider with a bucket that fills evenly, as OpenAI's do: so many at once, so many a second.
fn bucket(most: f64, per_second: f64) -> impl Fn(&Seen) -> http::Response<Body> + Send + Sync {
    let state = Mutex::new((most, Instant::now()));
    move |_| {
        let mut state = state.lock().unwrap();
        let now = Instant::now();
        let level = (state.0 + (now - state.1).as_secs_f64() * per_second).min(most);
        let fits = level >= 1.0;
        *state = (if fits { level - 1.0 } else { level }, now);
        let left = state.0;
        let reset = format!("{}ms", ((most - left) / per_second * 1000.0).ceil());
        let headers = [
            JSON,
            ("x-ratelimit-limit-requests", &*most.to_string()),
            ("x-ratelimit-remaining-requests", &*left.floor().to_string()),
            ("x-ratelimit-reset-requests", &*reset),
            ("retry-after-ms", "700"),
        ];
        if fits {
            reply(200, &headers[..4], COMPLETION)
        } else {
            let error = json!({ "error": { "message": "Rate limit reached", "type": "requests", "param": null, "code": "rate_limit_exceeded" } });
            reply(429, &headers, error.to_string())
        }
    }
}

fn at(address: std::net::SocketAddr, more: &str) -> String {
    format!("providers:\n  up: {{ base_url: \"http://{address}/v1\", auth: none }}\n{more}")
}

#[tokio::test]
async fn with_nowhere_else_to_go_a_request_waits_for_its_turn() {
    let up = Recording::new(bucket(1.0, 3.0)).await;
    let proxy = Running::new(&at(up.address, ""));
    for _ in 0..5 {
        let reply = proxy.post(CHAT, ask(false)).await;
        assert_eq!(reply.status, 200, "{reply:?}");
    }
    let pacing = proxy.admin("/pacing").await.json();
    let shown = &pacing["pacing"][0];
    assert!(shown["waited"].as_u64().unwrap() >= 1, "{pacing}");
    assert_eq!(up.count(), 5, "none had to be sent again");
    assert!(proxy.telemetry().render().contains("tollway_pace_waits_total{"));
}

#[tokio::test]
async fn what_would_wait_too_long_is_answered_in_the_callers_form_and_not_sent() {
    let up = Recording::new(|_| {
        let headers = [
            JSON,
            ("x-ratelimit-limit-requests", "3"),
            ("x-ratelimit-remaining-requests", "0"),
            ("x-ratelimit-reset-requests", "1m0s"),
        ];
        reply(200, &headers, COMPLETION)
    })
    .await;
    let proxy = Running::new(&at(up.address, ""));
    assert_eq!(proxy.post(CHAT, ask(false)).await.status, 200);
    let refused = proxy.post(CHAT, ask(false)).await;
    assert_eq!((refused.status.as_u16(), up.count()), (429, 1));
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((15..=20).contains(&wait), "a third of a minute: {wait}");
    let error = refused.error();
    assert_eq!((&*error.kind, error.code.as_deref()), ("requests", Some("rate_limit_exceeded")));
    assert!(error.message.contains("provider's own limit"), "{error:?}");
    // Another model has limits of its own.
    let other = ask(false).replace("gpt-4o-mini", "gpt-4o");
    assert_eq!(proxy.post(CHAT, other).await.status, 200);
    assert!(proxy.telemetry().render().contains("tollway_pace_refusals_total{"));
}

#[tokio::test]
async fn a_refusal_with_a_hint_keeps_everybody_away_as_long_as_it_asked() {
    let up = Recording::new(|_| {
        let error = json!({ "error": { "message": "Slow down", "type": "requests", "param": null, "code": null } });
        reply(429, &[JSON, ("retry-after", "30")], error.to_string())
    })
    .await;
    let proxy = Running::new(&at(up.address, ""));
    for _ in 0..5 {
        let reply = proxy.post(CHAT, ask(false)).await;
        assert_eq!(reply.status, 429);
        assert!((25..=30).contains(&reply.header("retry-after").parse::<u64>().unwrap()));
    }
    assert_eq!(up.count(), 1);
    assert!(proxy.telemetry().render().contains("tollway_provider_refusals_total{"));
}

#[tokio::test]
async fn who_wants_no_pacing_hears_the_provider_itself() {
    let up = Recording::new(bucket(3.0, 0.01)).await;
    let proxy = Running::new(&at(up.address, "pacing: { enabled: false }\n"));
    for status in [200, 200, 200, 429, 429] {
        assert_eq!(proxy.post(CHAT, ask(false)).await.status, status);
    }
    assert_eq!(up.count(), 5);
    assert_eq!(proxy.admin("/pacing").await.json(), json!({ "pacing": [] }));
}

#[tokio::test]
async fn nothing_a_provider_says_widens_the_policy() {
    let up = Recording::new(|_| {
        let headers = [
            JSON,
            ("x-ratelimit-limit-requests", "1000000"),
            ("x-ratelimit-remaining-requests", "999999"),
            ("x-ratelimit-reset-requests", "0s"),
        ];
        reply(200, &headers, COMPLETION)
    })
    .await;
    let limits = "limits: [{ name: own, per: provider, requests: 2/min }]\n";
    let proxy = Running::new(&at(up.address, limits));
    for status in [200, 200, 429, 429] {
        assert_eq!(proxy.post(CHAT, ask(false)).await.status, status);
    }
    assert_eq!(up.count(), 2);
    let pacing = proxy.admin("/pacing").await.json();
    let beside = &pacing["pacing"][0]["limits"][0]["policy"][0];
    assert_eq!((&beside["limit"], &beside["found"]), (&json!("own"), &json!("larger")), "{pacing}");
}

/// And a refusal by pacing takes nothing of the policy's limit.
#[tokio::test]
async fn a_limit_found_smaller_is_shown_beside_the_policys_and_spends_nothing_of_it() {
    let up = Recording::new(bucket(4.0, 0.01)).await;
    let more = "pacing: { wait: 0s }\nlimits: [{ name: own, per: provider, requests: 100/min }]\n";
    let proxy = Running::new(&at(up.address, more));
    for status in [200, 200, 200, 200, 429, 429, 429] {
        assert_eq!(proxy.post(CHAT, ask(false)).await.status, status);
    }
    assert_eq!(up.count(), 4);
    let own = proxy.stack().attempt_limits().standing("own", &"up".into()).unwrap();
    assert!(own.remaining >= 96, "{own:?}");
    let pacing = proxy.admin("/pacing").await.json();
    let found = &pacing["pacing"][0]["limits"][0];
    assert_eq!(found["limit"], 4, "{pacing}");
    assert_eq!(found["policy"][0]["found"], "smaller", "{pacing}");
    assert_eq!(found["policy"][0]["amount"], 100, "{pacing}");
    let metrics = proxy.admin("/metrics").await.text();
    let line = metrics.lines().find(|line| line.starts_with("tollway_provider_limit{")).unwrap();
    assert!(line.ends_with(" 4") && line.contains(r#"unit="requests""#), "{line}");
    assert!(metrics.contains("tollway_provider_remaining{"), "{metrics}");
}

/// Clients that bring credentials of their own have limits of their own.
#[tokio::test]
async fn one_clients_used_up_limit_is_not_anothers() {
    let up = Recording::new(|seen| {
        let left = if seen.header("authorization").ends_with("poor") { "0" } else { "99" };
        let headers = [
            JSON,
            ("x-ratelimit-limit-requests", "100"),
            ("x-ratelimit-remaining-requests", left),
            ("x-ratelimit-reset-requests", "1h40m0s"),
        ];
        reply(200, &headers, COMPLETION)
    })
    .await;
    let proxy = Running::before(up.address);
    let send = async |key: &str| {
        let headers = [JSON, ("authorization", key)];
        proxy.send(Method::POST, CHAT, &headers, ask(false)).await.status.as_u16()
    };
    assert_eq!(send("Bearer sk-poor").await, 200);
    assert_eq!(send("Bearer sk-poor").await, 429);
    for _ in 0..3 {
        assert_eq!(send("Bearer sk-rich").await, 200);
    }
}

/// A hint of a year, or of nothing that can be read, keeps nobody away for long.
#[tokio::test(start_paused = true)]
async fn no_hint_keeps_anybody_away_for_longer_than_a_minute() {
    for odd in ["31536000", "Fri, 31 Dec 9999 23:59:59 GMT", "1e300", "NaN", "-1"] {
        let (_, mut send) = in_process(policy("providers:\n  sim: { simulate: {} }\n")).await;
        let mut status = async |control: String| {
            let request = Request::post(format!("http://x{CHAT}")).header(JSON.0, JSON.1);
            let request = request.header("x-simulate", control).body(full(ask(false)));
            send.send_request(request.unwrap()).await.unwrap().status().as_u16()
        };
        assert_eq!(status(format!("status=429; retry_after={odd}")).await, 429);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(status(String::new()).await, 200, "{odd}");
    }
}
