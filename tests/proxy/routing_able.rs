//! Who can't serve a request never gets it, whatever becomes of those who can; where nobody can, it is
//! refused in words; and where all who can are out, it is told why.

use std::time::SystemTime;

use http::HeaderMap;
use serde_json::{Value, json};
use tollway::simulate::SimulateConfig;
use tollway_core::ErrorClass;
use tollway_dialect::openai::error::classify;

use super::{
    routing::{World, field, says},
    support::*,
};

const MESSAGES: &str = "/v1/messages";
const GENERATE: &str = "/v1beta/models/none:generateContent";

/// `nov` is the cheapest and sees nothing.
const POLICY: &str = "providers:
  a: { simulate: {} }
  c: { simulate: {} }
circuit_breaker: { open_after: 1 failures, recover_after: 1h }
models:
  - { id: nov, provider: c, capabilities: [streaming], price: { input: 1, output: 1 }, context_window: 10k }
  - { id: old, provider: c, capabilities: [streaming], price: { input: 9, output: 9 }, context_window: 9k }
  - { id: vis, provider: a, capabilities: [streaming, vision], price: { input: 2, output: 2 }, context_window: 50k }
routes:
  - { name: mixed, match: { model: mixed }, strategy: cost, targets: [c/nov, a/vis] }
  - { name: none, match: { model: none }, strategy: cost, targets: [c/nov, c/old] }
  - { name: alone, match: { model: alone }, targets: [c/nov] }
  - { name: order, match: { model: order }, targets: [c/nov, a/vis] }
";

fn image(model: &str) -> Value {
    json!({ "model": model, "messages": [{ "role": "user", "content": [
        { "type": "image_url", "image_url": { "url": "data:image/png;base64,AAAA" } }] }] })
}

fn failing() -> SimulateConfig {
    SimulateConfig { error_rate: 1.0, error_status: 503, ..SimulateConfig::default() }
}

fn targets(list: &Value) -> Vec<(&str, &str)> {
    let each = list.as_array().unwrap().iter();
    each.map(|one| (one["target"].as_str().unwrap(), one["reason"].as_str().unwrap())).collect()
}

#[tokio::test(start_paused = true)]
async fn who_cannot_serve_a_request_does_not_get_it_when_another_fails() {
    let world = World::new(POLICY).await;
    world.set("a", failing());
    for opens in [true, false] {
        let would = world.would(&[], &image("mixed")).await;
        assert_eq!(would["target"], "a/vis", "{would:#}");
        assert_eq!(targets(&would["candidates"]).len(), 1, "{would:#}");
        let passed = targets(&would["passed_over"]);
        assert!(passed.contains(&("c/nov", "it can't see images")), "{would:#}");
        assert_eq!(passed.contains(&("a/vis", "breaker open")), !opens, "{would:#}");
        let reply = world.send(&[], &image("mixed")).await;
        assert_eq!(reply.status, 503, "{reply:?}");
        assert_eq!((world.requests("a"), world.requests("c")), (1, 0));
    }
    // Where nothing but the order written decides, it is no other.
    let static_too = World::new(POLICY).await;
    assert_eq!(static_too.send(&[], &image("order")).await.status, 200);
    static_too.set("a", failing());
    assert_eq!(static_too.send(&[], &image("order")).await.status, 503);
    assert_eq!((static_too.requests("a"), static_too.requests("c")), (2, 0));
    let reply = world.send(&[], &says("mixed", "Hello")).await;
    assert_eq!(field(&reply.headers, "target"), "\"c/nov\"", "what it can is its own");
}

#[tokio::test(start_paused = true)]
async fn where_nobody_can_the_refusal_says_so_in_the_clients_own_form() {
    let world = World::new(POLICY).await;
    let said = "No target of route `none` can see images: c/nov, c/old. Whoever operates this proxy can \
                correct what is known of a model, under `models:` in its policy.";
    let reply = world.send(&[], &image("none")).await;
    assert_eq!(reply.status, 400, "{reply:?}");
    let error = reply.error();
    assert_eq!((&*error.message, &*error.kind), (said, "invalid_request_error"));
    assert_eq!(error.code.as_deref(), Some("no_capable_target"));
    let reason =
        "\"no target can serve it: c/nov (it can't see images), c/old (it can't see images)\"";
    assert_eq!(field(&reply.headers, "reason"), reason);
    let dry = world.send(&[("x-tollway-dry-run", "true")], &image("none")).await;
    assert_eq!((dry.status, dry.error()), (reply.status, error), "as it would be");
    assert!(!dry.headers.contains_key("x-tollway-decision"), "and it is no decision");

    let source = json!({ "type": "base64", "media_type": "image/png", "data": "AAAA" });
    let body = json!({ "model": "none", "max_tokens": 9, "messages": [
        { "role": "user", "content": [{ "type": "image", "source": source }] }] });
    let reply = world.post(MESSAGES, &[], &body).await;
    assert_eq!(reply.status, 400, "{reply:?}");
    assert_eq!(reply.json()["error"], json!({ "type": "invalid_request_error", "message": said }));

    let data = json!({ "mimeType": "image/png", "data": "AAAA" });
    let body = json!({ "contents": [{ "parts": [{ "inlineData": data }] }] });
    let reply = world.post(GENERATE, &[], &body).await;
    assert_eq!(reply.status, 400, "{reply:?}");
    assert_eq!(reply.json()["error"]["status"], "INVALID_ARGUMENT");
    assert_eq!(reply.json()["error"]["message"], said);
    assert_eq!(world.requests("c"), 0);

    let kept = world.stack.telemetry().decisions();
    until("ends are seen", || kept.latest(9).len() == 3).await;
    let latest = kept.latest(1).remove(0).json();
    assert_eq!((&latest["route"], &latest["target"]), (&"none".into(), &Value::Null));
    assert_eq!(latest["outcome"]["status"], 400);
    assert_eq!(
        targets(&latest["passed_over"]),
        [("c/nov", "it can't see images"), ("c/old", "it can't see images"),]
    );
    let counted = world.stack.telemetry().render();
    let line = counted.lines().find(|line| line.starts_with("tollway_route_passed_over_total{"));
    assert!(line.is_some_and(|line| line.ends_with(" 3")), "{line:?}");
}

/// Where there is no choice, the provider has the last word.
#[tokio::test(start_paused = true)]
async fn a_target_alone_gets_whatever_is_asked_of_it() {
    let world = World::new(POLICY).await;
    assert_eq!(world.send(&[], &image("alone")).await.status, 200);
    let long = says("alone", &"lorem ".repeat(40_000));
    assert_eq!(world.send(&[], &long).await.status, 200);
    assert_eq!(world.requests("c"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_prompt_that_is_surely_too_long_is_refused_as_clients_know_it() {
    let world = World::new(POLICY).await;
    let text = "lorem ".repeat(40_000);
    let user = json!([{ "role": "user", "content": text }]);
    let chat = json!({ "model": "none", "messages": user });
    let messages = json!({ "model": "none", "max_tokens": 9, "messages": user });
    let generate = json!({ "contents": [{ "parts": [{ "text": text }] }] });
    for (path, body) in [(CHAT, chat), (MESSAGES, messages), (GENERATE, generate)] {
        let reply = world.post(path, &[], &body).await;
        assert_eq!(reply.status, 400, "{path}: {reply:?}");
        let now = SystemTime::UNIX_EPOCH;
        let known = classify(reply.status, &HeaderMap::new(), &reply.body, now);
        assert_eq!(known.class(), ErrorClass::ContextLength, "{path}: {}", reply.text());
        if path == CHAT {
            assert_eq!(reply.error().code.as_deref(), Some("context_length_exceeded"));
        }
    }
    // Above its window by less than the estimate may be wrong: its provider knows.
    let reply = world.send(&[], &says("none", &"lorem ".repeat(10_000))).await;
    assert!(!reply.header("x-tollway-decision").contains("no target can"), "{reply:?}");
    assert_eq!(world.requests("c"), 1);
    // Of a static route the same holds.
    let long = says("order", &"lorem ".repeat(40_000));
    assert_eq!(world.send(&[], &long).await.status, 200);
    world.set("a", failing());
    assert_eq!(world.send(&[], &long).await.status, 503);
    assert_eq!((world.requests("a"), world.requests("c")), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn the_last_resort_tells_who_is_out_and_why() {
    let world = World::new(POLICY).await;
    for provider in ["a", "c"] {
        world.set(provider, failing());
    }
    assert_eq!(world.send(&[], &says("mixed", "Hello")).await.status, 503);
    for model in ["mixed", "order"] {
        let would = world.would(&[], &says(model, "Hello")).await;
        let reason = would["reason"].as_str().unwrap();
        assert!(reason.starts_with("c/nov: last resort: every target is out"), "{reason}");
        let out = [("c/nov", "breaker open"), ("a/vis", "breaker open")];
        assert_eq!(targets(&would["passed_over"]), out, "{would:#}");
    }
}

/// A limit of a provider that is for some of its models alone.
#[tokio::test(start_paused = true)]
async fn a_limit_of_one_model_is_seen_by_the_plan_and_told_with_the_targets() {
    let yaml = "providers:
  a: { simulate: { latency: 10s, requests_per_minute: 50 } }
  b: { simulate: {} }
limits:
  - { name: narrow, per: provider, concurrent: 1, when_full: reject, match: { model: m } }
  - { name: told, per: [provider, model], requests: 90/hour, enforce: false }
routes:
  - { match: { model: other }, targets: [a/other, b/other] }
  - { targets: [a/m, b/m] }
";
    let world = World::new(yaml).await;
    let (body, other) = (says("m", "Hello"), says("other", "Hello"));
    let asked = async {
        until("it is under way", || world.requests("a") == 1).await;
        (world.would(&[], &body).await, world.would(&[], &other).await, shown(&world, "a"))
    };
    let (reply, (would, unlimited, at_work)) = tokio::join!(world.send(&[], &body), asked);
    assert_eq!(reply.status, 200);
    assert_eq!(would["target"], "b/m", "{would:#}");
    assert_eq!(targets(&would["passed_over"]), [("a/m", "limit full")]);
    assert_eq!(unlimited["target"], "a/other", "{unlimited:#}");
    assert_eq!(at_work["out"], "limit full");
    let room = |target: &Value| {
        let each = target["limits"].as_array().unwrap().iter();
        each.map(|it| (it["limit"].clone(), it["remaining"].clone(), it["enforced"].clone()))
            .collect::<Vec<_>>()
    };
    let rooms = |narrow: u64, told: u64| {
        vec![
            ("narrow".into(), narrow.into(), true.into()),
            ("told".into(), told.into(), false.into()),
        ]
    };
    assert_eq!(room(&at_work), rooms(0, 89));
    until("it is settled", || room(&shown(&world, "a")) == rooms(1, 89)).await;
    // What the provider told of its own limits.
    assert_eq!(shown(&world, "a")["pacing"]["limits"][0]["limit"], 50);
}

/// What is shown of a provider's `m`.
fn shown(world: &World, provider: &str) -> Value {
    let all: Value = serde_json::from_str(&world.stack.show_targets()).unwrap();
    let each = all["targets"].as_array().unwrap().iter();
    each.into_iter()
        .find(|it| it["provider"] == provider && it["model"] == "m")
        .cloned()
        .unwrap_or_else(|| panic!("{provider} isn't among {all:#}"))
}

/// A provider gives more to those who ask for it by a header, as the policy says.
#[tokio::test(start_paused = true)]
async fn a_header_may_widen_a_window() {
    let policy = "providers: { a: { simulate: {} }, c: { simulate: {} } }
models:
  - { id: small, provider: a, context_window: 1k, windows: [{ header: anthropic-beta, value: 'context-1m-*', tokens: 1M }] }
  - { id: large, provider: c, context_window: 100k }
routes: [{ targets: [a/small, c/large] }]
";
    let world = World::new(policy).await;
    let long = says("m", &"word ".repeat(4_000));
    assert_eq!(world.would(&[], &long).await["target"], "c/large");
    let asks = ("anthropic-beta", "files-api-2025-04-14, context-1m-2025-08-07");
    assert_eq!(world.would(&[asks], &long).await["target"], "a/small");
}

/// What a translation leaves out, or the policy writes itself, asks for nothing.
#[tokio::test(start_paused = true)]
async fn a_header_that_does_not_arrive_widens_no_window() {
    let policy = "providers:
  a: { simulate: {}, forms: [messages] }
  b: { base_url: 'http://127.0.0.1:9/v1', auth: none, headers: { x-beta: 'long, other' } }
  c: { simulate: {} }
models:
  - { id: small, provider: a, context_window: 1k, windows: [
      { header: anthropic-beta, value: 'context-1m-*', tokens: 1M }, { header: x-long, value: 'yes', tokens: 1M }] }
  - { id: set, provider: b, context_window: 1k, windows: [{ header: x-beta, value: long, tokens: 1M }] }
  - { id: unset, provider: b, context_window: 1k, windows: [{ header: x-beta, value: longer, tokens: 1M }] }
  - { id: large, provider: c, context_window: 100k }
routes:
  - { match: { model: set }, targets: [b/set, c/large] }
  - { match: { model: unset }, targets: [b/unset, c/large] }
  - { targets: [a/small, c/large] }
";
    let world = World::new(policy).await;
    let goes = async |to: &str, header: (&str, &str), model: &str| {
        let mut body = says(model, &"word ".repeat(4_000));
        body["max_tokens"] = 9.into();
        let reply = world.post(to, &[header, ("x-tollway-dry-run", "true")], &body).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json()["target"].as_str().unwrap().to_owned()
    };
    let beta = ("anthropic-beta", "context-1m-2025-08-07");
    assert_eq!(goes(MESSAGES, beta, "m").await, "a/small");
    assert_eq!(goes(CHAT, beta, "m").await, "c/large", "it is no header of this API");
    assert_eq!(goes(CHAT, ("x-long", "yes"), "m").await, "a/small", "any other goes along");
    assert_eq!(goes(CHAT, ("x-none", "1"), "set").await, "b/set", "the policy asks for it");
    assert_eq!(goes(CHAT, ("x-beta", "longer"), "unset").await, "c/large", "the policy's is sent");
}

/// Which header that would be is for the operator to tell.
#[tokio::test(start_paused = true)]
async fn a_refusal_tells_the_window_and_not_how_to_widen_it() {
    let policy = "providers: { a: { simulate: {} } }
models:
  - { id: one, provider: a, context_window: 1k, windows: [{ header: x-house-beta, value: 'long-*', tokens: 3k }] }
  - { id: two, provider: a, context_window: 2k }
routes: [{ targets: [a/one, a/two] }]
";
    let world = World::new(policy).await;
    let long = says("m", &"word ".repeat(20_000));
    for (header, window) in [(("x-none", "1"), "2000"), (("x-house-beta", "long-1"), "3000")] {
        let reply = world.send(&[header], &long).await;
        let message = reply.error().message;
        assert!(message.contains(&format!("is {window} tokens")), "{message}");
        assert!(!message.contains("x-house") && !message.contains("long-"), "{message}");
    }
}
