//! Budgets: who is told of them, and where requests go when they are spent.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use hmac::{Hmac, KeyInit, Mac};
use http::Method;
use serde_json::Value;
use sha2::Sha256;
use tollway::{
    alerts::Alerts,
    core::BoxError,
    rate_limit::{Key, Limit, Period, Quota, RateLimitLayer, Rule, Unit},
    telemetry::Telemetry,
};
use tower::{Layer, ServiceExt};

use super::support::*;

/// A reply of the simulated provider costs a bit more than 0.00001 USD.
fn spending(limit: &str, more: &str) -> String {
    format!(
        "providers:\n  sim: {{ simulate: {{}} }}\n  lab: {{ free: true, simulate: {{}} }}\n\
         limits:\n  - {{ name: spend, per: user, {limit} }}\n\
         callers: {{ identify: [header x-user] }}\n{more}"
    )
}

fn calling(webhook: &Recording, more: &str) -> String {
    let url = format!("http://{}/hook", webhook.address);
    format!("alerts: {{ webhook: {{ url: \"{url}\", secret: a-secret, {more} }} }}\n")
}

/// What a request would meet that isn't sent.
async fn would(proxy: &Running, user: &str) -> Reply {
    let headers = [JSON, ("x-user", user), ("x-tollway-dry-run", "true")];
    proxy.send(Method::POST, CHAT, &headers, ask(false)).await
}

async fn chat(proxy: &Running, user: &str) -> Reply {
    let reply = proxy.send(Method::POST, CHAT, &[JSON, ("x-user", user)], ask(false)).await;
    // What it cost is settled behind its end.
    until("it is settled", || proxy.is_idle()).await;
    reply
}

fn counted(telemetry: &Telemetry, series: &str) -> Option<String> {
    let text = telemetry.render();
    text.lines().find_map(|line| line.strip_prefix(&format!("{series} ")).map(Into::into))
}

/// Spends until a request is refused.
async fn spend(proxy: &Running, user: &str) {
    for _ in 0..10 {
        if chat(proxy, user).await.status == 429 {
            return;
        }
    }
    panic!("the budget has no end");
}

#[tokio::test]
async fn a_webhook_is_told_once_signed_and_again_until_it_listens() {
    let calls = Arc::new(AtomicUsize::new(0));
    let answers = calls.clone();
    let webhook = Recording::new(move |_| {
        let first = answers.fetch_add(1, Ordering::Relaxed) == 0;
        reply(if first { 500 } else { 200 }, &[], "")
    })
    .await;
    let more = calling(&webhook, "timeout: 20s, retries: 3");
    let proxy = Running::new(&spending("usd: 0.00003/day", &more));
    for user in ["ann", "bob"] {
        spend(&proxy, user).await;
    }
    assert_eq!(chat(&proxy, "ann").await.status, 429);
    assert_eq!(chat(&proxy, "ann").await.status, 429);
    until("all calls", || webhook.count() >= 5).await;
    until("all are counted", || {
        let calls = "tollway_alert_calls_total{outcome=\"delivered\"}";
        counted(proxy.telemetry(), calls).is_some_and(|count| count == "4")
    })
    .await;
    let mut told = Vec::new();
    for call in webhook.all() {
        assert_eq!((call.method, call.uri.path()), (Method::POST, "/hook"));
        let (time, signature) = call.headers["x-tollway-signature"]
            .to_str()
            .unwrap()
            .strip_prefix("t=")
            .unwrap()
            .split_once(",v1=")
            .unwrap();
        let mut mac = Hmac::<Sha256>::new_from_slice(b"a-secret").unwrap();
        mac.update(format!("{time}.").as_bytes());
        mac.update(&call.body);
        let expected: String =
            mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(signature, expected);
        let body: Value = serde_json::from_slice(&call.body).unwrap();
        assert_eq!(body["id"], call.headers["x-tollway-alert"].to_str().unwrap());
        assert_eq!((&body["limit"], &body["unit"]), (&"spend".into(), &"usd".into()));
        assert!(body["period"]["end"].as_str().unwrap().ends_with("T00:00:00Z"), "{body}");
        told.push((body["key"].to_string(), body["level"].to_string(), body["id"].to_string()));
    }
    told.sort();
    told.dedup();
    let told: Vec<_> = told.iter().map(|(key, level, _)| [key.as_str(), level.as_str()]).collect();
    let expected =
        ["\"ann\"", "\"bob\""].map(|who| [[who, "\"critical\""], [who, "\"warning\""]]).concat();
    assert_eq!(told, expected);
    assert_eq!(webhook.count(), 5, "one of the four had to be told again");
    for level in ["warning", "critical"] {
        let series = format!("tollway_alerts_total{{level=\"{level}\",limit=\"spend\"}}");
        assert_eq!(counted(proxy.telemetry(), &series).as_deref(), Some("2"));
    }
}

#[tokio::test]
async fn a_webhook_that_hangs_or_refuses_is_given_up_and_holds_nobody_up() {
    let hanging = raw_provider(|stream| async move {
        let _held = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let refusing = Recording::new(|_| reply(401, &[], "")).await;
    for (address, timeout) in [(hanging, "20ms"), (refusing.address, "20s")] {
        let proxy = Running::new(&spending(
            "usd: 0.00003/day",
            &format!(
                "alerts: {{ webhook: {{ url: \"http://{address}/\", secret: s, timeout: {timeout}, retries: 0 }} }}\n"
            ),
        ));
        spend(&proxy, "ann").await;
        until("both are given up", || {
            let calls = "tollway_alert_calls_total{outcome=\"given_up\"}";
            counted(proxy.telemetry(), calls).is_some_and(|count| count == "2")
        })
        .await;
    }
    assert_eq!(refusing.count(), 2, "what is refused for good is not tried again");
}

#[tokio::test]
async fn a_new_period_is_told_and_a_flood_is_bounded() {
    let webhook = Recording::new(|_| reply(204, &[], "")).await;
    let policy = policy(&format!(
        "{}time_zone: Asia/Tokyo\n",
        spending("usd: 10/day", &calling(&webhook, "timeout: 20s"))
    ));
    // Half an hour before midnight in Tokyo.
    let date = Arc::new(Mutex::new(UNIX_EPOCH + Duration::from_secs(1_795_357_800)));
    let clock = || {
        let date = date.clone();
        move || -> SystemTime { *date.lock().unwrap() }
    };
    let telemetry = Telemetry::new(|_| true, 1);
    let alerts =
        Alerts::new(&policy, |limit, _| limit.name.clone(), telemetry.clone(), clock()).unwrap();
    let zone = tollway::rate_limit::Zone::new(policy.time_zone.clone());
    let day = Quota::Calendar { amount: 10_000_000_000, period: Period::Day };
    let limit = Limit::builder("spend", day).warn_at(80).zone(zone).build().unwrap();
    let rule = Rule::new(limit, Unit::NanoUsd).estimate(|_| 8_500_000_000);
    let hears = alerts.clone();
    let layer = RateLimitLayer::builder([rule], ())
        .wall_clock(clock())
        .hook(move |event: &tollway::rate_limit::Event| hears.hear(event))
        .build()
        .unwrap();
    let service = layer.layer(tower::service_fn(|_: http::Request<()>| {
        std::future::ready(Ok::<_, BoxError>(http::Response::new(full(""))))
    }));
    let running = tokio::spawn(alerts.run());
    drop(service.clone().oneshot(http::Request::new(())).await.unwrap());
    for _ in 0..1000 {
        assert!(service.clone().oneshot(http::Request::new(())).await.is_err());
    }
    until("both are told", || webhook.count() == 2).await;
    *date.lock().unwrap() += Duration::from_secs(1800);
    until("the new day is told", || webhook.count() == 3).await;
    let last: Value = serde_json::from_slice(&webhook.last().body).unwrap();
    assert_eq!(
        (&last["level"], &last["period"]["end"]),
        (&"info".into(), &"2026-11-22T15:00:00Z".into())
    );
    drop(service.clone().oneshot(http::Request::new(())).await.unwrap());
    until("and its own warning", || webhook.count() == 4).await;
    running.abort();
}

#[tokio::test]
async fn another_policy_tells_nothing_twice_and_calls_its_own_webhook() {
    let (old, new) = (
        Recording::new(|_| reply(204, &[], "")).await,
        Recording::new(|_| reply(204, &[], "")).await,
    );
    let with = |webhook: &Recording, more: &str| {
        let limit = format!("usd: 0.00003/day{more}");
        policy(&spending(&limit, &calling(webhook, "timeout: 20s")))
    };
    let proxy = Running::new(&spending("usd: 0.00003/day", &calling(&old, "timeout: 20s")));
    spend(&proxy, "ann").await;
    until("ann's are told", || old.count() == 2).await;
    proxy.reloader().apply(with(&new, ", warn_at: 70%")).await.unwrap();
    assert_eq!(chat(&proxy, "ann").await.status, 429);
    spend(&proxy, "bob").await;
    until("bob's are told", || new.count() == 2).await;
    let told = |webhook: &Recording| -> Vec<String> {
        let body = |call: Seen| serde_json::from_slice::<Value>(&call.body).unwrap();
        webhook.all().into_iter().map(|call| body(call)["key"].to_string()).collect()
    };
    assert_eq!(
        (told(&old).concat(), told(&new).concat()),
        ("\"ann\"\"ann\"".into(), "\"bob\"\"bob\"".into())
    );
}

/// Nobody runs these alerts, as if the webhook hung for good.
#[tokio::test]
async fn a_flood_of_alerts_fills_the_queue_and_no_more() {
    let webhook = Recording::new(|_| reply(204, &[], "")).await;
    let policy = policy(&spending("usd: 10/day", &calling(&webhook, "")));
    let telemetry = Telemetry::new(|_| true, 1);
    let clock = || UNIX_EPOCH + Duration::from_secs(1_795_357_800);
    let alerts =
        Alerts::new(&policy, |limit, _| limit.name.clone(), telemetry.clone(), clock).unwrap();
    let day = Quota::Calendar { amount: 10, period: Period::Day };
    let limit = Limit::builder("spend", day).warn_at(80).build().unwrap();
    let rule = Rule::new(limit, Unit::NanoUsd)
        .key(|request| Some(Key::from(request.uri.path())))
        .estimate(|_| 9);
    let layer = RateLimitLayer::builder([rule], ())
        .wall_clock(clock)
        .hook(move |event: &tollway::rate_limit::Event| alerts.hear(event))
        .build()
        .unwrap();
    let service = layer.layer(tower::service_fn(|_: http::Request<()>| {
        std::future::ready(Ok::<_, BoxError>(http::Response::new(full(""))))
    }));
    for user in 0..1500 {
        let request = http::Request::get(format!("/{user}")).body(()).unwrap();
        assert!(service.clone().oneshot(request).await.is_ok());
    }
    let count = |series: &str| counted(&telemetry, series);
    let told = "tollway_alerts_total{level=\"warning\",limit=\"spend\"}";
    assert_eq!(count(told).as_deref(), Some("1500"));
    let dropped = "tollway_alert_calls_total{outcome=\"dropped\"}";
    assert_eq!(count(dropped).as_deref(), Some("476"), "1,024 wait");
}

#[tokio::test]
async fn who_has_spent_the_budget_goes_to_cheaper_targets() {
    let downgrade = "usd: 0.00003/day, when_full: { downgrade: [lab/gpt-4o, free] }";
    let routes =
        "routes:\n  - { match: { model: gpt-4o-mini }, targets: [sim] }\n  - { targets: [sim] }\n";
    let proxy = Running::new(&spending(downgrade, routes));
    let mut last = chat(&proxy, "ann").await;
    assert_eq!(last.header("x-tollway-decision"), "", "at first it goes where the route says");
    for _ in 0..5 {
        last = chat(&proxy, "ann").await;
        assert_eq!(last.status, 200);
    }
    let told = last.header("x-tollway-decision");
    assert!(told.starts_with("target=\"lab/gpt-4o\""), "{told}");
    assert!(told.contains("rule=\"budget spend: only cheaper targets\""), "{told}");
    assert_eq!(chat(&proxy, "bob").await.header("x-tollway-decision"), "", "his own is whole");
    let series = "tollway_limit_downgrades_total{limit=\"spend\",unit=\"nano-USD\"}";
    let count: u32 = counted(proxy.telemetry(), series).unwrap().parse().unwrap();
    assert!((2..=4).contains(&count), "{count}");
    let spent = proxy.stack().request_limits();
    let standing = spent.standing("spend", &Key::from("ann")).unwrap();
    assert_eq!((standing.remaining, standing.held), (0, 0), "what is used goes on counting");
    // A rehearsal knows, and takes nothing.
    let told = would(&proxy, "ann").await.json();
    assert_eq!(
        (&told["target"], &told["rule"]),
        (&"lab/gpt-4o".into(), &"budget spend: only cheaper targets".into()),
        "{told:#}"
    );
    assert_eq!(would(&proxy, "bob").await.json()["target"], "sim/gpt-4o-mini");
    assert_eq!(spent.standing("spend", &Key::from("ann")).unwrap().remaining, 0);
}

#[tokio::test]
async fn where_no_target_is_cheaper_the_budget_refuses() {
    let downgrade = "usd: 0.00003/day, when_full: { downgrade: free }";
    let routes =
        "routes:\n  - { match: { model: o3 }, targets: [sim, lab] }\n  - { targets: [sim] }\n";
    let proxy = Running::new(&spending(downgrade, routes));
    spend(&proxy, "ann").await;
    let refused = chat(&proxy, "ann").await;
    let error = refused.error();
    assert_eq!(error.code.as_deref(), Some("insufficient_quota"));
    assert!(error.message.contains("spend"), "{error:?}");
    let would = would(&proxy, "ann").await;
    assert_eq!((would.status.as_u16(), would.error().code), (429, error.code));
    // Another route has a target that costs nothing.
    let o3 = ask(false).replace("gpt-4o-mini", "o3");
    let free = proxy.send(Method::POST, CHAT, &[JSON, ("x-user", "ann")], o3).await;
    assert_eq!(free.status, 200);
    assert!(free.header("x-tollway-decision").starts_with("target=\"lab/"), "{free:?}");
}

/// A target that fails under a spent budget fails over to another cheap one, never to a dear one.
#[tokio::test]
async fn a_failure_does_not_lead_out_of_the_cheaper_targets() {
    let downgrade = "usd: 0.00003/day, when_full: { downgrade: [lab/gpt-4o, lab/gpt-4o-mini] }";
    let more = "retry: { attempts: 4, backoff: { first: 1ms, max: 1ms } }\n\
                routes:\n  - { targets: [sim] }\n";
    let proxy = Running::new(&spending(downgrade, more));
    for _ in 0..5 {
        assert_eq!(chat(&proxy, "ann").await.status, 200);
    }
    let headers = [JSON, ("x-user", "ann"), ("x-simulate", "status=503")];
    let failed = proxy.send(Method::POST, CHAT, &headers, ask(false)).await;
    assert!(failed.status.is_server_error(), "{failed:?}");
    let tried = failed.header("x-tollway-attempts");
    assert!(tried.contains("lab") && !tried.contains("sim"), "{tried}");
}

/// A provider of models that cost 1000 and 10 USD a million output tokens, and limits of `usd` and `more`.
/// It never answers who says `x-hold`; the others get 50 tokens.
async fn pricing(limit: &str, routes: &str) -> (Running, Arc<AtomicUsize>) {
    let held = Arc::new(AtomicUsize::new(0));
    let count = held.clone();
    let address = provider(move |request| {
        let count = count.clone();
        async move {
            if request.headers().contains_key("x-hold") {
                count.fetch_add(1, Ordering::Relaxed);
                std::future::pending::<()>().await;
            }
            reply(
                200,
                &[JSON],
                r#"{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":50}}"#,
            )
        }
    })
    .await;
    let proxy = Running::new(&format!(
        "providers: {{ up: {{ base_url: \"http://{address}/v1\", auth: none }} }}
models:
  - {{ id: dear, provider: up, price: {{ input: 0, output: 1000 }}, max_output_tokens: 100 }}
  - {{ id: cheap, provider: up, price: {{ input: 0, output: 10 }}, max_output_tokens: 400 }}
limits: [{{ name: spend, per: all, {limit} }}]
{routes}"
    ));
    (proxy, held)
}

/// How many requests for this model are under way at once when the next is refused; `most` at the most.
async fn fit(proxy: &Running, held: &AtomicUsize, body: &str, most: usize) -> usize {
    let client = client();
    let before = held.load(Ordering::Relaxed);
    for fits in 0..most {
        let request = http::Request::post(proxy.uri(CHAT))
            .header("content-type", "application/json")
            .header("x-hold", "1")
            .body(full(body.to_owned()))
            .unwrap();
        let reply = tokio::spawn(client.request(request));
        let all = || held.load(Ordering::Relaxed) > before + fits;
        until("it is held or refused", || all() || reply.is_finished()).await;
        if !all() {
            assert_eq!(reply.await.unwrap().unwrap().status(), 429);
            return fits;
        }
    }
    most
}

fn about(model: &str, more: &str) -> String {
    format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"Hi"}}]{more}}}"#)
}

#[tokio::test]
async fn a_routes_own_name_is_reserved_at_the_price_of_its_targets() {
    let targets = "targets: [up/dear, up/cheap]";
    let routes = format!("routes: [{{ match: {{ model: best }}, {targets} }}]");
    let (proxy, held) = pricing("usd: 1/day", &routes).await;
    // 256 tokens, before anything is known.
    assert_eq!(fit(&proxy, &held, &about("best", ""), 9).await, 3);
    let (proxy, held) = pricing("usd: 1/day", &routes).await;
    assert_eq!(fit(&proxy, &held, &about("best", r#","n":3"#), 9).await, 1, "for each of three");

    // Which of them it goes to, and what that costs, is learnt.
    let routes = format!("routes: [{{ match: {{ model: best }}, {targets}, strategy: cost }}]");
    let (proxy, held) = pricing("usd: 0.3/day", &routes).await;
    assert_eq!(fit(&proxy, &held, &about("best", ""), 9).await, 1, "the first that is named");
    let (proxy, held) = pricing("usd: 0.3/day", &routes).await;
    assert_eq!(proxy.post(CHAT, about("best", "")).await.status, 200);
    until("it is settled", || proxy.is_idle()).await;
    assert_eq!(fit(&proxy, &held, &about("best", ""), 9).await, 9);
}

#[tokio::test]
async fn most_is_what_the_longest_reply_may_cost() {
    let (proxy, held) = pricing("usd: 1/day, reserve: most", "").await;
    assert_eq!(fit(&proxy, &held, &about("dear", ""), 19).await, 10, "100 tokens each");
    let (proxy, held) = pricing("usd: 1/day, reserve: most", "").await;
    let two = r#","n":2,"max_tokens":80"#;
    assert_eq!(fit(&proxy, &held, &about("dear", two), 19).await, 6, "twice 80 tokens");
    let (proxy, held) = pricing("usd: 1/day, reserve: most", "").await;
    assert_eq!(proxy.post(CHAT, about("dear", "")).await.status, 200);
    until("it is settled", || proxy.is_idle()).await;
    assert_eq!(fit(&proxy, &held, &about("dear", ""), 19).await, 9, "however short others were");

    for (limit, body) in [
        ("usd: 1/day", about("dear", r#","n":11"#)),
        ("tokens: 50/day", about("cheap", "")),
        ("usd: 0.05/day", about("dear", r#","max_tokens":0"#)),
    ] {
        let (proxy, held) = pricing(&format!("{limit}, reserve: most"), "").await;
        assert_eq!(fit(&proxy, &held, &body, 2).await, 0, "{limit}: one could cost more than all");
    }

    let routes = "routes: [{ match: { model: best }, targets: [up/cheap, up/dear] }]";
    let (proxy, held) = pricing("tokens: 3200/day, reserve: most", routes).await;
    // Those of the question count as well.
    assert_eq!(fit(&proxy, &held, &about("best", ""), 19).await, 7, "400 tokens each");
    let (proxy, held) = pricing("usd: 1/day, reserve: most", routes).await;
    assert_eq!(fit(&proxy, &held, &about("best", ""), 19).await, 10, "the dearest");
}
