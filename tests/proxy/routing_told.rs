//! What is told of decisions, what a rehearsal leaves alone, and the way on after a failure.

use std::time::Duration;

use tollway::simulate::SimulateConfig;

use super::{
    hangup::Lines,
    routing::{World, field, says, takes},
    support::*,
};

fn policy_with(header: &str, more: &str) -> String {
    format!(
        "providers:
  a: {{ simulate: {{}} }}
  b: {{ simulate: {{}} }}
routing: {{ min_samples: 1, explore: 0%, decisions: 3, header: {header} }}
{more}
routes:
  - {{ name: static, match: {{ model: s }}, targets: [a, b] }}
  - {{ name: chosen, strategy: cost, targets: [a/gpt-4o, b/gpt-4o-mini] }}
"
    )
}

#[tokio::test(start_paused = true)]
async fn the_header_is_on_chosen_replies_on_all_or_on_none() {
    for (header, on_static, on_chosen) in
        [("chosen", false, true), ("always", true, true), ("never", false, false)]
    {
        let world = World::new(&policy_with(header, "")).await;
        for (model, expected) in [("s", on_static), ("m", on_chosen)] {
            let reply = world.send(&[], &says(model, "Hi")).await;
            let told = reply.headers.contains_key("x-tollway-decision");
            assert_eq!(told, expected, "{header}, {model}");
        }
        let kept = world.stack.telemetry().decisions();
        let expected = if on_static { 2 } else { 1 };
        until("ends are seen", || kept.latest(9).len() == expected).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_static_route_that_went_another_way_is_among_the_decisions() {
    for header in ["chosen", "never"] {
        let breaker = "circuit_breaker: { open_after: 2 failures, recover_after: 1h }";
        let world = World::new(&policy_with(header, breaker)).await;
        let kept = || -> Vec<serde_json::Value> {
            let all = world.stack.telemetry().decisions().latest(9);
            all.iter().map(|one| one.json()).collect()
        };
        // The usual way is nobody's question.
        assert_eq!(world.send(&[], &says("s", "Hi")).await.status, 200);
        world.set("a", failing(Duration::ZERO));
        let reply = world.send(&[], &says("s", "Hi")).await;
        assert_eq!(reply.status, 200);
        assert!(!reply.headers.contains_key("x-tollway-decision"), "its attempts say it");
        until("the end is seen", || kept().len() == 1).await;
        let told = &kept()[0];
        assert_eq!((&told["route"], &told["target"]), (&"static".into(), &"b/s".into()));
        assert_eq!(told["tried"].as_array().unwrap().len(), 2);
        assert_eq!(told["candidates"][0]["target"], "a/s", "as it was planned");
        assert_eq!(told["outcome"]["status"], 200);
        world.send(&[], &says("s", "Hi")).await;
        // By now the breaker is open: nobody is tried in vain.
        world.send(&[], &says("s", "Hi")).await;
        until("the ends are seen", || kept().len() == 3).await;
        let told = &kept()[0];
        assert_eq!(told["tried"], serde_json::Value::Null);
        assert_eq!(told["passed_over"][0]["target"], "a/s");
        // Counted are all decisions of a route, or none.
        let metrics = world.stack.telemetry().render();
        assert!(!metrics.contains("route=\"static\",strategy"), "{metrics}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_latest_decisions_are_kept_with_what_became_of_them() {
    let world = World::new(&policy_with("chosen", "")).await;
    for _ in 0..5 {
        world.goes(&[], &says("m", "Hi")).await;
    }
    let decisions = world.stack.telemetry().decisions();
    until("ends are seen", || {
        world.stack.telemetry().render().contains("tollway_decisions_total{")
    })
    .await;
    let latest = decisions.latest(100);
    assert!(latest.len() <= 3, "as many as the policy says");
    let last = latest[0].json();
    assert_eq!((&last["target"], &last["route"]), (&"b/gpt-4o-mini".into(), &"chosen".into()));
    assert_eq!(last["outcome"]["status"], 200);
    assert_eq!(last["outcome"]["asked_model"], "m");
    assert!(last["outcome"]["at"].as_str().unwrap().ends_with('Z'), "{last:#}");
    assert_eq!(last["tried"], serde_json::Value::Null);
}

/// Whose stream broke off was told so by its last event, and log and decisions say it too.
#[tokio::test(start_paused = true)]
async fn a_stream_that_breaks_off_has_failed_whoever_is_asked() {
    let lines = Lines::default();
    let writer = lines.clone();
    let writer = move || writer.clone();
    let _here = tracing::subscriber::set_default(
        tracing_subscriber::fmt().json().flatten_event(true).with_writer(writer).finish(),
    );
    let world = World::new(&policy_with("chosen", "")).await;
    let mut body = says("m", "Hi");
    body["stream"] = true.into();
    let broken = |rate| SimulateConfig { truncate_rate: rate, ..SimulateConfig::default() };
    let streams = [(1.0, true, "failed"), (0.0, false, "complete")];
    for (seen, (rate, failed, word)) in streams.into_iter().enumerate() {
        world.set("b", broken(rate));
        let reply = world.send(&[], &body).await;
        assert_eq!(reply.status, 200);
        assert_eq!(reply.text().contains("stream_interrupted"), failed, "{}", reply.text());
        let kept = || world.stack.telemetry().decisions().latest(9);
        until("the end is seen", || kept().len() == seen + 1).await;
        let kept = kept();
        let outcome = &kept[0].json()["outcome"];
        assert_eq!((&outcome["status"], &outcome["failed"]), (&200.into(), &failed.into()));
        let text = String::from_utf8(std::mem::take(&mut *lines.0.lock().unwrap())).unwrap();
        let line = text.lines().find(|line| line.contains(r#""message":"request""#)).unwrap();
        assert!(line.contains(&format!(r#""ending":"{word}""#)), "{line}");
        assert_eq!(line.contains(r#""failure":"#), failed, "{line}");
    }
    // How far off estimates were is nobody's to learn from half a reply.
    let metrics = world.stack.telemetry().render();
    let counted = |name: &str| {
        let line = metrics.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.rsplit(' ').next()).map(str::to_owned)
    };
    assert_eq!(counted("tollway_decisions_total{").as_deref(), Some("2"), "{metrics}");
    assert_eq!(counted("tollway_decision_cost_ratio_count").as_deref(), Some("1"), "{metrics}");
}

#[tokio::test(start_paused = true)]
async fn a_rehearsal_takes_nothing_from_limits_totals_and_turns() {
    let limits = "limits: [{ name: one, per: all, requests: 1/hour }]";
    let world = World::new(&policy_with("chosen", limits)).await;
    for _ in 0..5 {
        let would = world.would(&[], &says("m", "Hi")).await;
        assert_eq!(would["target"], "b/gpt-4o-mini");
    }
    assert!(world.stack.totals().snapshot().is_empty(), "nothing was spent");
    assert_eq!(world.send(&[], &says("m", "Hi")).await.status, 200, "the limit is untouched");
    assert_eq!(world.send(&[], &says("m", "Hi")).await.status, 429);
    let would = world.would(&[], &says("m", "Hi")).await;
    assert_eq!(would["target"], "b/gpt-4o-mini", "to ask is free");
    assert_eq!(world.requests("a") + world.requests("b"), 1);
    // A clear no is a request like any other.
    let reply = world.send(&[("x-tollway-dry-run", "false")], &says("m", "Hi")).await;
    assert_eq!(reply.status, 429);
}

#[tokio::test(start_paused = true)]
async fn a_rehearsal_of_what_no_route_takes_is_refused_as_it_would_be() {
    let yaml = "providers: { a: { simulate: {} } }
routes: [{ match: { model: known }, targets: [a] }]
";
    let world = World::new(yaml).await;
    let reply = world.send(&[("x-tollway-dry-run", "1")], &says("knwon", "Hi")).await;
    assert_eq!(reply.status, 404);
    assert_eq!(reply.error().code.as_deref(), Some("model_not_found"));
    let would = world.would(&[], &says("known", "Hi")).await;
    assert_eq!((&would["target"], &would["strategy"]), (&"a/known".into(), &"failover".into()));
}

#[tokio::test]
async fn a_header_of_ours_that_cant_be_understood_is_refused_in_the_clients_dialect() {
    let provider = Recording::new(|_| reply(200, &[JSON], COMPLETION)).await;
    let proxy = Running::before(provider.address);
    let gemini = "/v1beta/models/m:generateContent";
    let body =
        r#"{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"Hi"}],"contents":[]}"#;
    let send = async |path: &str, headers: &[(&str, &str)]| {
        let headers = [&[JSON], headers].concat();
        proxy.send(http::Method::POST, path, &headers, body).await
    };
    let (cost, latency, dry) = ("x-tollway-max-cost", "x-tollway-max-latency", "x-tollway-dry-run");
    let long = "x".repeat(257);
    for (headers, right) in [
        (&[(cost, "abc")][..], "`0.02`"),
        (&[(cost, "")], "`0.02`"),
        (&[(cost, "1"), (cost, "2")], "more than once"),
        (&[(latency, "30")], "`800ms` or `2s`"),
        (&[(latency, "1e3ms")], "`800ms` or `2s`"),
        (&[(latency, "2s"), (dry, "1")], ""),
        (&[(latency, "NaN"), (dry, "1")], "`800ms` or `2s`"),
        (&[(dry, "flase")], "`true` or `false`"),
        (&[("x-tollway-max-price", "0.02")], "Did you mean `x-tollway-max-cost`?"),
        (&[("x-tollway-max-letency", "1s"), (dry, "1")], "Did you mean `x-tollway-max-latency`?"),
        (&[("x-tollway-nonsense", "1")], "are Tollway's own"),
        (&[("x-tollway_max_cost", "0.02")], "Did you mean `x-tollway-max-cost`?"),
        (&[("x_tollway_max_cost", "0.02")], "There is no header"),
        (&[("x-tollway", "1")], "are Tollway's own"),
        (&[("x-tollwaymaxcost", "0.02")], "There is no header"),
        // It is to this proxy that the connection is.
        (&[(cost, "abc"), ("connection", cost)], "`0.02`"),
        (&[("x-tollway_max_cost", "1"), ("connection", "x-tollway_max_cost")], "Did you mean"),
        (&[("x-tollway-task", &long)], "256"),
        (&[("x-tollway-region", &long)], "256"),
    ] {
        let reply = send(CHAT, headers).await;
        if right.is_empty() {
            assert_eq!(reply.status, 200, "{reply:?}");
            continue;
        }
        let error = reply.error();
        assert_eq!((reply.status.as_u16(), error.code.as_deref()), (400, Some("invalid_header")));
        assert_eq!(error.param.as_deref(), Some(headers[0].0));
        assert!(error.message.contains(headers[0].0), "{error:?}");
        assert!(error.message.contains(right), "{error:?}");
    }
    let refused = send("/v1/messages", &[(cost, "-1")]).await;
    assert_eq!(refused.status, 400);
    assert_eq!(refused.json()["error"]["type"], "invalid_request_error", "{refused:?}");
    assert_eq!(refused.json()["type"], "error");
    let refused = send(gemini, &[(cost, "-1")]).await;
    assert_eq!(refused.json()["error"]["status"], "INVALID_ARGUMENT", "{refused:?}");
    assert_eq!(provider.count(), 0, "nobody was asked");
}

#[tokio::test]
async fn what_is_said_to_the_proxy_is_not_said_to_providers() {
    let provider = Recording::new(|_| reply(200, &[JSON], COMPLETION)).await;
    let own = "routes: [{ match: { header: { x-tollway-team: '*', x_tollway_squad: '*' } }, targets: [up] }]";
    let proxy = Running::new(&format!("{}{own}\n", provider_at(provider.address)));
    let headers = [
        JSON,
        // Those of replies, and one that the policy gives a meaning to.
        ("x-tollway-decision", "target=\"a/m\""),
        ("x-tollway-attempts", "a/m;200"),
        ("x-tollway-team", "red"),
        ("x_tollway_squad", "one"),
        ("connection", "x-tollway-team"),
        ("x-tollway-max-cost", "0.1"),
        ("x-tollway-max-latency", "20s"),
        ("x-tollway-task", "code"),
        ("x-tollway-region", "eu"),
        ("x-tollway-dry-run", "no"),
        ("x-other", "kept"),
    ];
    let reply = proxy.send(http::Method::POST, CHAT, &headers, ask(false)).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let seen = provider.last();
    let ours: Vec<_> = seen.headers.keys().filter(|it| it.as_str().contains("tollway")).collect();
    assert!(ours.is_empty(), "{ours:?}");
    assert_eq!(seen.header("x-other"), "kept");
}

/// Who learnt by which header users are told apart could be any of them.
#[tokio::test]
async fn names_of_the_policys_own_are_told_to_nobody() {
    let provider = Recording::new(|_| reply(200, &[JSON], COMPLETION)).await;
    let own = "callers: { identify: [header x-tollway-who] }
routes: [{ match: { header: { x-tollway-team: '*' } }, targets: [up] }, { targets: [up] }]";
    let proxy = Running::new(&format!("{}{own}\n", provider_at(provider.address)));
    for (name, is_known) in [("who", true), ("team", true), ("wh", false), ("teams", false)] {
        let header = format!("x-tollway-{name}");
        let reply = proxy.send(http::Method::POST, CHAT, &[JSON, (&header, "x")], ask(false)).await;
        assert_eq!(reply.status == 200, is_known, "{header}: {reply:?}");
        if !is_known {
            let message = reply.error().message;
            let told =
                ["x-tollway-who`", "x-tollway-team`"].iter().any(|own| message.contains(own));
            assert!(message.contains(&header) && !told, "{message}");
        }
    }
}

/// Three providers, the quicker the earlier in the alphabet; `x-to` gives one figures.
const THREE: &str = "providers:
  a: { simulate: { latency: 10ms } }
  b: { simulate: { latency: 20ms } }
  c: { simulate: { latency: 30ms } }
routing: { min_samples: 1, explore: 0% }
routes:
  - { match: { header: { x-to: a } }, targets: [a/m] }
  - { match: { header: { x-to: b } }, targets: [b/m] }
  - { match: { header: { x-to: c } }, targets: [c/m] }
  - { name: quick, strategy: { latency: whole }, targets: [a/m, b/m, c/m] }
";

/// Where nobody replied, it was whoever was asked last, and nobody who wasn't asked at all.
#[tokio::test]
async fn who_was_asked_last_is_told_where_nobody_replied() {
    let refusal = r#"{"error":{"message":"Wrong key.","type":"t","code":"invalid_api_key"}}"#;
    let provider = Recording::new(move |_| reply(401, &[JSON], refusal)).await;
    let yaml = format!(
        "providers: {{ b: {{ base_url: 'http://{}/v1', keys: {{ one: k1-secret, two: k2-secret }}, forms: [chat] }} }}
routing: {{ header: always }}
routes: [{{ strategy: cost, targets: [b/m1, b/m5] }}]
",
        provider.address
    );
    let proxy = Running::new(&yaml);
    for _ in 0..3 {
        let before = provider.count();
        let reply = proxy.post(CHAT, ask(false)).await;
        let (told, tried) =
            (reply.header("x-tollway-decision"), reply.header("x-tollway-attempts"));
        let last = tried.rsplit(", ").next().unwrap().split(';').next().unwrap();
        assert!(told.starts_with(&format!("target=\"{last}\"")), "{tried}: {told}");
        until("it is kept", || proxy.is_idle()).await;
        let kept = proxy.telemetry().decisions().latest(1);
        assert_eq!(kept[0].chosen().unwrap().target.to_string(), last);
        if provider.count() == before {
            assert_eq!(reply.status, 503, "by our own word");
        }
    }
    let text = proxy.telemetry().render();
    let counted = text.lines().filter(|line| line.starts_with("tollway_decisions_total{"));
    let counted: f64 =
        counted.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum();
    assert_eq!(counted, 1.0, "only the first had a reply of a target");
}

fn failing(after: Duration) -> SimulateConfig {
    SimulateConfig {
        latency: after,
        error_rate: 1.0,
        error_status: 503,
        ..SimulateConfig::default()
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_failure_the_rest_is_ordered_by_what_was_learnt_meanwhile() {
    let world = World::new(THREE).await;
    for to in ["a", "b", "c"] {
        assert_eq!(world.send(&[("x-to", to)], &says("m", "Hi")).await.status, 200);
    }
    let would = world.would(&[], &says("m", "Hi")).await;
    let order: Vec<_> =
        would["candidates"].as_array().unwrap().iter().map(|it| &it["target"]).collect();
    assert_eq!(order, ["a/m", "b/m", "c/m"]);
    // While the first is at it, the second becomes slow.
    world.set("a", failing(Duration::from_secs(5)));
    world.set("b", takes(3_000));
    let body = says("m", "Hi");
    let (reply, _) = tokio::join!(world.send(&[], &body), world.send(&[("x-to", "b")], &body));
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.header("x-tollway-attempts"), "a/m;503, c/m;200");
    assert_eq!(field(&reply.headers, "target"), "\"c/m\"");
    assert_eq!(
        field(&reply.headers, "tried"),
        "(\"a/m\";status=503;failure=overloaded \"c/m\";status=200)"
    );
    let reason = field(&reply.headers, "reason");
    assert!(
        reason.contains("c/m: lowest p95 to the end, ") && reason.contains(" of b/m"),
        "{reason}"
    );
    assert_eq!(world.requests("b"), 2, "once for its figures, once to be slow");
}

#[tokio::test(start_paused = true)]
async fn no_target_is_gone_back_to_once_it_is_used_up() {
    let world = World::new(THREE).await;
    for to in ["a", "b", "c"] {
        world.send(&[("x-to", to)], &says("m", "Hi")).await;
        world.set(to, failing(Duration::ZERO));
    }
    let reply = world.send(&[], &says("m", "Hi")).await;
    assert_eq!(reply.status, 503);
    let tried = reply.header("x-tollway-attempts").to_owned();
    assert_eq!(tried, "a/m;503, b/m;503, c/m;503");
    assert_eq!(["a", "b", "c"].map(|name| world.requests(name)), [2, 2, 2]);
    assert!(!field(&reply.headers, "tried").is_empty(), "{reply:?}");
}

#[tokio::test(start_paused = true)]
async fn who_is_out_by_now_is_not_tried_and_who_is_back_is() {
    // An open breaker is learnt of after the plan was made.
    let yaml = format!("{THREE}circuit_breaker: {{ open_after: 1 failures, recover_after: 1h }}\n");
    let world = World::new(&yaml).await;
    for to in ["a", "b", "c"] {
        world.send(&[("x-to", to)], &says("m", "Hi")).await;
    }
    world.set("a", failing(Duration::from_secs(5)));
    world.set("b", failing(Duration::from_secs(1)));
    let body = says("m", "Hi");
    let (reply, opens) = tokio::join!(world.send(&[], &body), world.send(&[("x-to", "b")], &body));
    assert_eq!(opens.status, 503);
    assert_eq!(
        reply.header("x-tollway-attempts"),
        "a/m;503, c/m;200",
        "not even asked of the breaker"
    );
}

#[tokio::test(start_paused = true)]
async fn the_time_that_is_meant_is_the_clients_wait_or_what_the_policy_expects() {
    for (more, of_stream, of_whole) in [
        ("", "first_token", "whole"),
        (", expect: { latency: whole }", "whole", "whole"),
        (", expect: { latency: first_token }", "first_token", "first_token"),
    ] {
        let yaml = policy_with(&format!("chosen{more}"), "");
        let world = World::new(&yaml).await;
        for (stream, expected) in [(true, of_stream), (false, of_whole)] {
            let mut body = says("m", "Hi");
            body["stream"] = stream.into();
            let would = world.would(&[], &body).await;
            assert_eq!(would["estimate"]["latency_of"], expected, "{more}, stream {stream}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn health_of_every_target_is_a_metric() {
    let world = World::new(THREE).await;
    world.send(&[("x-to", "a")], &says("m", "Hi")).await;
    world.set("b", failing(Duration::ZERO));
    for _ in 0..5 {
        world.send(&[("x-to", "b")], &says("m", "Hi")).await;
    }
    let facts = world.stack.facts().snapshot(tokio::time::Instant::now(), |_| false);
    let health = |provider: &str| {
        let one = facts.targets.iter().find(|one| &**one.target.provider() == provider).unwrap();
        one.figures.health.as_str()
    };
    assert_eq!((health("a"), health("b")), ("healthy", "down"), "five failures in a row");
    // Whoever is down is passed over.
    let would = world.would(&[], &says("m", "Hi")).await;
    assert_eq!(would["passed_over"][0]["target"], "b/m", "{would:#}");
    assert_eq!(would["passed_over"][0]["reason"], "it doesn't answer of late");
}
