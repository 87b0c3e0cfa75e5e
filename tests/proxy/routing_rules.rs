//! Each kind of condition, each ready-made set, and what a rule changes.

use serde_json::{Value, json};

use super::routing::{World, field, says};

/// One rule, behind which everything goes to `usual`.
async fn with_rule(when: &str) -> World {
    let yaml = format!(
        "callers:
  identify: [header x-user]
providers:
  usual: {{ simulate: {{}} }}
  special: {{ simulate: {{}} }}
routing: {{ header: always }}
routes:
  - rules: [{{ name: it, when: {when}, prefer: [special/gpt-4o] }}]
    targets: [usual/gpt-4o]
"
    );
    World::new(&yaml).await
}

fn tool() -> Value {
    let mut body = says("m", "Hi");
    body["tools"] = json!([{ "type": "function", "function": { "name": "f", "parameters": {} } }]);
    body
}

fn with(name: &str, value: Value) -> Value {
    let mut body = says("m", "Hi");
    body[name] = value;
    body
}

const PROOF: &str = "Prove that every Cauchy sequence of real numbers converges, step by step.";

#[tokio::test(start_paused = true)]
async fn each_condition_holds_for_what_it_says() {
    let long = says("m", &"word ".repeat(2_000));
    let image = json!({ "model": "m", "messages": [{ "role": "user", "content": [
        { "type": "image_url", "image_url": { "url": "data:image/png;base64,AAAA" } }] }] });
    let hi = || says("m", "Hi");
    let none: &[(&str, &str)] = &[];
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], Value, &'a [(&'a str, &'a str)], Value);
    let cases: [Case<'_>; 13] = [
        ("{ needs: vision }", none, image, none, hi()),
        ("{ needs: tools }", none, tool(), none, hi()),
        (
            "{ needs: json }",
            none,
            with("response_format", json!({ "type": "json_object" })),
            none,
            hi(),
        ),
        ("{ needs: streaming }", none, with("stream", json!(true)), none, hi()),
        ("{ input_tokens: \">1k\" }", none, long.clone(), none, hi()),
        ("{ size: [medium, large] }", none, long, none, hi()),
        (
            "{ max_cost: \"<0.01\" }",
            &[("x-tollway-max-cost", "0.005")],
            hi(),
            &[("x-tollway-max-cost", "1")],
            hi(),
        ),
        ("{ max_latency: \"<2s\" }", &[("x-tollway-max-latency", "800ms")], hi(), none, hi()),
        ("{ complexity: complex }", none, says("m", PROOF), none, hi()),
        ("{ reasoning: true }", none, says("m", PROOF), none, hi()),
        (
            "{ task: \"cod*\" }",
            &[("x-tollway-task", "coding")],
            hi(),
            &[("x-tollway-task", "chat")],
            hi(),
        ),
        ("{ caller: \"batch-*\" }", &[("x-user", "batch-7")], hi(), &[("x-user", "ann")], hi()),
        ("{ time: \"mon-sun\" }", none, hi(), none, Value::Null),
    ];
    for (when, yes_headers, yes, no_headers, no) in cases {
        let world = with_rule(when).await;
        let reply = world.send(yes_headers, &yes).await;
        assert_eq!(field(&reply.headers, "target"), "\"special/gpt-4o\"", "{when}: {reply:?}");
        assert_eq!(field(&reply.headers, "rule"), "\"it\"", "{when}");
        if !no.is_null() {
            let reply = world.send(no_headers, &no).await;
            assert_eq!(field(&reply.headers, "target"), "\"usual/gpt-4o\"", "{when}: {reply:?}");
            assert_eq!(field(&reply.headers, "rule"), "", "{when}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_rule_asks_for_the_tags_of_a_key() {
    let yaml = "callers:
  keys: [{ name: app, sha256: 12486e48f3b1952b18cbeb4a41c794862fbb948c94b0e9bc30b27a0973738a07, tags: { team: search } }]
providers:
  usual: { simulate: {} }
  special: { simulate: {} }
routing: { header: always }
routes:
  - rules:
      - { name: other, when: { tag: { team: other } }, prefer: [usual/gpt-4o] }
      - { name: mine, when: { tag: { team: search } }, prefer: [special/gpt-4o] }
    targets: [usual/gpt-4o]
";
    let world = World::new(yaml).await;
    let key = ("authorization", "Bearer tollway-demo-key-1");
    let reply = world.send(&[key], &says("m", "Hi")).await;
    assert_eq!(field(&reply.headers, "rule"), "\"mine\"");
    // Who is not let in gets nothing, a dry run neither.
    let reply = world.send(&[("x-tollway-dry-run", "true")], &says("m", "Hi")).await;
    assert_eq!(reply.status, 401);
    assert!(!reply.text().contains("special"), "{reply:?}");
}

/// Four sizes of model at one simulated provider.
async fn sizes(route: &str) -> World {
    let yaml = format!(
        "providers:
  sim: {{ simulate: {{}} }}
routes:
  - {route}
    targets: [sim/gpt-4o, sim/o3, sim/gpt-4o-mini, sim/gpt-4.1-nano]
"
    );
    World::new(&yaml).await
}

#[tokio::test(start_paused = true)]
async fn ready_made_sets_do_what_their_names_say() {
    let hi = says("m", "Hi");
    let image = json!({ "model": "m", "messages": [{ "role": "user", "content": [
        { "type": "image_url", "image_url": { "url": "data:image/png;base64,AAAA" } }] }] });
    for (set, body, expected, rule) in [
        ("budget", &hi, "sim/gpt-4.1-nano", "budget"),
        ("quality", &hi, "sim/o3", "quality"),
        ("vision", &image, "sim/gpt-4o", "vision"),
        ("fast", &hi, "", "fast"),
    ] {
        let world = sizes(&format!("use: {set}")).await;
        let reply = world.send(&[], body).await;
        assert_eq!(field(&reply.headers, "rule"), format!("\"{rule}\""), "{reply:?}");
        let target = field(&reply.headers, "target");
        assert!(expected.is_empty() || target == format!("\"{expected}\""), "{set}: {target}");
    }
}

#[tokio::test(start_paused = true)]
async fn auto_sends_what_is_easy_to_small_models_and_what_is_hard_to_large_ones() {
    let world = sizes("match: { model: auto }\n    use: auto").await;
    let cheap = [("x-tollway-max-cost", "0.001")];
    let none: &[(&str, &str)] = &[];
    let mut thinking = says("auto", "Hi");
    thinking["reasoning_effort"] = json!("high");
    for (headers, body, expected, rule) in [
        (none, says("auto", "What's the capital of Mongolia?"), "sim/gpt-4.1-nano", "auto: simple"),
        (none, says("auto", PROOF), "sim/o3", "auto: reasoning"),
        (none, thinking, "sim/o3", "auto: thinking"),
        (&cheap[..], says("auto", PROOF), "sim/gpt-4.1-nano", "auto: cheap"),
    ] {
        let would = world.would(headers, &body).await;
        assert_eq!(
            (&would["target"], &would["rule"]),
            (&expected.into(), &rule.into()),
            "{would:#}"
        );
        let reply = world.send(headers, &body).await;
        assert_eq!(field(&reply.headers, "target"), format!("\"{expected}\""));
        assert_eq!(field(&reply.headers, "rule"), format!("\"{rule}\""));
    }
    let would = world.would(&[], &says("auto", PROOF)).await;
    assert_eq!(would["complexity"], "complex");
    assert!(would["judgement"].as_str().unwrap().contains("proof"), "{would:#}");
}

#[tokio::test(start_paused = true)]
async fn what_would_cost_more_than_may_be_comes_last() {
    let yaml = "providers:
  sim: { simulate: {} }
routes: [{ targets: [sim/gpt-4o, sim/gpt-4o-mini] }]
";
    let world = World::new(yaml).await;
    let bound = [("x-tollway-max-cost", "0.0005")];
    let reply = world.send(&bound, &says("m", "Hi")).await;
    assert_eq!(field(&reply.headers, "target"), "\"sim/gpt-4o-mini\"", "{reply:?}");
    let reply = world.send(&[], &says("m", "Hi")).await;
    assert!(!reply.headers.contains_key("x-tollway-decision"), "nothing was chosen");
}
