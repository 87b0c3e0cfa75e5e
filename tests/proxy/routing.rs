//! Requests go where rules, strategies and figures say, and everybody is told why. Providers are
//! simulated, and time stands still but for their waits.

use std::time::Duration;

use http::{HeaderMap, Request};
use serde_json::{Value, json};
use tollway::{simulate::SimulateConfig, stack::Stack};

use super::support::*;

/// A stack and a connection to it.
pub(super) struct World {
    pub(super) stack: Stack,
    send: hyper::client::conn::http2::SendRequest<Body>,
}

impl World {
    pub(super) async fn new(yaml: &str) -> Self {
        let (stack, send) = in_process(policy(yaml)).await;
        Self { stack, send }
    }

    pub(super) async fn send(&self, headers: &[(&str, &str)], body: &Value) -> Reply {
        self.post(CHAT, headers, body).await
    }

    pub(super) async fn post(&self, to: &str, headers: &[(&str, &str)], body: &Value) -> Reply {
        let mut request = Request::post(format!("http://tollway{to}")).header(JSON.0, JSON.1);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(full(body.to_string())).unwrap();
        let reply = within("a reply", self.send.clone().send_request(request)).await.unwrap();
        Reply::read(reply).await
    }

    /// Sends it and says which target replied.
    pub(super) async fn goes(&self, headers: &[(&str, &str)], body: &Value) -> String {
        let reply = self.send(headers, body).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        field(&reply.headers, "target").trim_matches('"').to_owned()
    }

    /// Where it would go, as a dry run tells.
    pub(super) async fn would(&self, headers: &[(&str, &str)], body: &Value) -> Value {
        let dry = [headers, &[("x-tollway-dry-run", "true")]].concat();
        let reply = self.send(&dry, body).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json()
    }

    pub(super) fn set(&self, provider: &str, config: SimulateConfig) {
        self.stack.simulator(provider).unwrap().set(config);
    }

    pub(super) fn requests(&self, provider: &str) -> u64 {
        self.stack.simulator(provider).unwrap().stats().requests
    }
}

pub(super) fn takes(millis: u64) -> SimulateConfig {
    SimulateConfig { latency: Duration::from_millis(millis), ..SimulateConfig::default() }
}

pub(super) fn says(model: &str, text: &str) -> Value {
    json!({ "model": model, "messages": [{ "role": "user", "content": text }] })
}

/// One field of the decision that a reply tells, as it is written.
pub(super) fn field(headers: &HeaderMap, name: &str) -> String {
    let line = headers.get("x-tollway-decision").map_or("", |value| value.to_str().unwrap());
    let from = line.find(&format!("{name}=")).map(|at| at + name.len() + 1);
    let rest = from.and_then(|at| line.get(at..)).unwrap_or_default();
    let end = match rest.chars().next() {
        Some('(') => rest.find(')').map(|at| at + 1),
        Some('"') => rest[1..].find('"').map(|at| at + 2),
        _ => rest.find(','),
    };
    rest[..end.unwrap_or(rest.len())].to_owned()
}

const HELLO: &str = "Hello";

/// Three providers of different pace; `to-NAME` goes to one of them, so that it gets figures.
fn three(routes: &str) -> String {
    format!(
        "providers:
  a: {{ simulate: {{ latency: 30ms }} }}
  b: {{ simulate: {{ latency: 10ms }} }}
  c: {{ simulate: {{ latency: 20ms }} }}
routing: {{ min_samples: 1, explore: 0%, header: always }}
routes:
  - {{ name: to-a, match: {{ header: {{ x-to: a }} }}, targets: [a/gpt-4o] }}
  - {{ name: to-b, match: {{ header: {{ x-to: b }} }}, targets: [b/gpt-4o-mini] }}
  - {{ name: to-c, match: {{ header: {{ x-to: c }} }}, targets: [c/o3] }}
{routes}
"
    )
}

async fn warmed(routes: &str) -> World {
    let world = World::new(&three(routes)).await;
    for to in ["a", "b", "c"] {
        world.goes(&[("x-to", to)], &says("m", HELLO)).await;
    }
    world
}

const ALL: &str = "targets: [a/gpt-4o, b/gpt-4o-mini, c/o3]";

#[tokio::test(start_paused = true)]
async fn each_strategy_chooses_what_it_says_and_a_dry_run_says_the_same() {
    for (strategy, expected) in [
        ("failover", "a/gpt-4o"),
        ("round_robin", "a/gpt-4o"),
        ("weighted", "a/gpt-4o"),
        ("capability", "a/gpt-4o"),
        ("{ latency: whole }", "b/gpt-4o-mini"),
        ("{ latency: first_token }", "b/gpt-4o-mini"),
        ("cost", "b/gpt-4o-mini"),
        ("{ score: { latency: 60, cost: 40 } }", "b/gpt-4o-mini"),
        ("least_busy", ""),
        ("power_of_two", ""),
        ("{ affinity: user }", ""),
        ("{ affinity: prompt }", ""),
        ("{ affinity: { header: x-session } }", ""),
        ("{ split: user }", ""),
    ] {
        let world = warmed(&format!("  - {{ name: it, strategy: {strategy}, {ALL} }}")).await;
        for nth in 0..4 {
            let session = format!("s{nth}");
            let headers = [("x-session", session.as_str())];
            let before = world.requests("a") + world.requests("b") + world.requests("c");
            let would = world.would(&headers, &says("m", HELLO)).await;
            let again = world.would(&headers, &says("m", HELLO)).await;
            assert_eq!(would, again, "a rehearsal changes nothing");
            let after = world.requests("a") + world.requests("b") + world.requests("c");
            assert_eq!(before, after, "nothing is sent");
            let reply = world.send(&headers, &says("m", HELLO)).await;
            let target = field(&reply.headers, "target");
            assert_eq!(format!("\"{}\"", would["target"].as_str().unwrap()), target, "{strategy}");
            assert_eq!(would["route"], "it");
            let name = would["strategy"].as_str().unwrap();
            assert!(strategy.contains(name), "{strategy} is told as {name}");
            assert_eq!(field(&reply.headers, "strategy"), name);
            assert_eq!(would["candidates"].as_array().unwrap().len(), 3);
            if nth == 0 && !expected.is_empty() {
                assert_eq!(target, format!("\"{expected}\""), "{strategy}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn turns_and_shares_are_kept() {
    let routes = "  - { name: it, strategy: round_robin, targets: [a, b, c] }";
    let world = World::new(&three(routes)).await;
    let mut seen = Vec::new();
    for _ in 0..6 {
        seen.push(world.goes(&[], &says("m", HELLO)).await);
    }
    assert_eq!(seen, ["a/m", "b/m", "c/m", "a/m", "b/m", "c/m"]);
    let routes = "  - { name: it, strategy: weighted, targets: [a: 3, b: 1] }";
    let world = World::new(&three(routes)).await;
    let mut to_a = 0;
    for _ in 0..8 {
        to_a += usize::from(world.goes(&[], &says("m", HELLO)).await == "a/m");
    }
    assert_eq!(to_a, 6);
}

#[tokio::test(start_paused = true)]
async fn the_quickest_of_late_is_chosen_and_the_reason_told() {
    let world = warmed(&format!("  - {{ name: it, strategy: {{ latency: whole }}, {ALL} }}")).await;
    let reply = world.send(&[], &says("m", HELLO)).await;
    assert_eq!(field(&reply.headers, "target"), "\"b/gpt-4o-mini\"");
    let reason = field(&reply.headers, "reason");
    assert!(reason.starts_with("\"b/gpt-4o-mini: lowest p95 to the end, "), "{reason}");
    assert!(reason.contains(" of c/o3"), "against the next: {reason}");
    let latency: u64 = field(&reply.headers, "latency-ms").parse().unwrap();
    assert!((9..=10).contains(&latency), "{latency} ms");
    // It gets slow; others take over.
    world.set("b", takes(500));
    world.goes(&[("x-to", "b")], &says("m", HELLO)).await;
    assert_eq!(world.goes(&[], &says("m", HELLO)).await, "c/o3");
}

#[tokio::test(start_paused = true)]
async fn the_cheapest_for_this_request_is_chosen_and_the_estimate_compared() {
    let world = warmed(&format!("  - {{ name: it, strategy: cost, {ALL} }}")).await;
    let would = world.would(&[], &says("m", HELLO)).await;
    assert_eq!(would["target"], "b/gpt-4o-mini");
    let costs: Vec<f64> = would["candidates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["cost_usd"].as_str().unwrap().parse().unwrap())
        .collect();
    assert!(costs.is_sorted(), "{costs:?}");
    assert_eq!(world.goes(&[], &says("m", HELLO)).await, "b/gpt-4o-mini");
    until("the reply's end is seen", || {
        world.stack.telemetry().render().contains("tollway_decision_cost_ratio_count")
    })
    .await;
    let latest = world.stack.telemetry().decisions().latest(1).remove(0).json();
    assert_eq!(latest["target"], "b/gpt-4o-mini");
    let usd = |value: &Value| -> f64 { value.as_str().unwrap().parse().unwrap() };
    let ratio = usd(&latest["outcome"]["cost_usd"]) / usd(&latest["estimate"]["cost_usd"]);
    assert!((0.9..1.1).contains(&ratio), "the reply's length was learnt from one alike: {ratio}");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_serve_a_request_is_passed_over() {
    let image = json!({ "model": "m", "messages": [{ "role": "user", "content": [
        { "type": "image_url", "image_url": { "url": "data:image/png;base64,AAAA" } }] }] });
    let routes = "  - { name: it, strategy: capability, targets: [a/gpt-4, b/gpt-4o-mini] }";
    let world = World::new(&three(routes)).await;
    assert_eq!(world.goes(&[], &says("m", HELLO)).await, "a/gpt-4");
    let would = world.would(&[], &image).await;
    assert_eq!(would["target"], "b/gpt-4o-mini");
    assert_eq!(would["passed_over"][0]["reason"], "it can't see images");
    assert_eq!(world.goes(&[], &image).await, "b/gpt-4o-mini");
    // gpt-4 has room for 8192 tokens, under every strategy.
    let long = says("m", &"word ".repeat(20_000));
    let routes = "  - { name: it, targets: [a/gpt-4, b/gpt-4o-mini] }";
    assert_eq!(World::new(&three(routes)).await.goes(&[], &long).await, "b/gpt-4o-mini");
}

#[tokio::test(start_paused = true)]
async fn sessions_keep_their_place_and_conversations_theirs() {
    let routes = "  - { name: it, match: { model: s }, strategy: { affinity: { header: x-session } }, targets: [a, b, c] }
  - { name: talk, strategy: { affinity: prompt }, targets: [a, b, c] }";
    let world = World::new(&three(routes)).await;
    let mut places = std::collections::BTreeSet::new();
    for nth in 0..12 {
        let session = format!("session {nth}");
        let headers = [("x-session", session.as_str())];
        let place = world.goes(&headers, &says("s", HELLO)).await;
        for _ in 0..3 {
            assert_eq!(world.goes(&headers, &says("s", HELLO)).await, place);
        }
        places.insert(place);
    }
    assert_eq!(places.len(), 3, "all are used");
    let mut places = std::collections::BTreeSet::new();
    for nth in 0..12 {
        let first = json!({ "role": "user", "content": format!("Question {nth}") });
        let place = world.goes(&[], &json!({ "model": "m", "messages": [first] })).await;
        let longer = json!({ "model": "m", "messages": [first,
            { "role": "assistant", "content": "An answer." }, { "role": "user", "content": "Go on." }] });
        assert_eq!(world.goes(&[], &longer).await, place, "the second turn follows the first");
        places.insert(place);
    }
    assert_eq!(places.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_arm_of_a_split_is_kept_told_and_counted_apart() {
    let yaml = format!(
        "callers: {{ identify: [header x-user] }}\n{}",
        three(
            "  - name: test
    strategy: { split: user }
    targets:
      - { name: usual, weight: 3, targets: [a/gpt-4o] }
      - { name: new, weight: 1, targets: [b/gpt-4o-mini] }"
        )
    );
    let world = World::new(&yaml).await;
    let mut news = 0;
    for user in 0..40 {
        let user = format!("user {user}");
        let headers = [("x-user", user.as_str())];
        let reply = world.send(&headers, &says("m", HELLO)).await;
        let (arm, target) = (field(&reply.headers, "arm"), field(&reply.headers, "target"));
        let again = world.send(&headers, &says("m", HELLO)).await;
        assert_eq!(field(&again.headers, "arm"), arm, "{user} stays");
        assert_eq!(arm == "\"new\"", target == "\"b/gpt-4o-mini\"");
        news += usize::from(arm == "\"new\"");
    }
    assert!((4..=18).contains(&news), "about a quarter: {news} of 40");
    let counted = |arm: &str| {
        let text = world.stack.telemetry().render();
        let lines = text.lines().filter(|line| {
            line.starts_with("tollway_decisions_total") && line.contains(&format!("arm=\"{arm}\""))
        });
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap()).sum::<usize>()
    };
    until("every reply's end is seen", || counted("usual") + counted("new") == 80).await;
    assert_eq!(counted("new"), 2 * news);
}

#[tokio::test(start_paused = true)]
async fn a_reply_of_another_arm_is_told_and_counted_as_that_arms() {
    let yaml = format!(
        "callers: {{ identify: [header x-user] }}\n{}",
        three(
            "  - name: nested
    strategy: failover
    targets:
      - strategy: { split: user }
        targets:
          - { name: usual, weight: 1, targets: [a/gpt-4o, { strategy: { split: user }, targets: [{ name: one, targets: [c/o3] }, { name: two, targets: [c/gpt-4o] }] }] }
          - { name: new, weight: 1, targets: [b/gpt-4o-mini] }
      - a/gpt-4o-mini"
        )
    );
    let world = World::new(&yaml).await;
    let failing = SimulateConfig { error_rate: 1.0, error_status: 503, ..takes(1) };
    let (mut user, mut reply);
    let mut nth = 0;
    loop {
        user = format!("user {nth}");
        reply = world.send(&[("x-user", &user)], &says("m", HELLO)).await;
        if field(&reply.headers, "arm") == "\"new\"" {
            break;
        }
        nth += 1;
    }
    let counted = |arm: &str, target: &str| {
        let text = world.stack.telemetry().render();
        let of = |line: &&str| {
            line.starts_with("tollway_decisions_total{")
                && line.contains(&format!("arm=\"{arm}\""))
                && line.contains(&format!("response_model=\"{target}\""))
        };
        text.lines().find(of).map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
    };
    until("the end is seen", || counted("new", "gpt-4o-mini") == 1).await;
    let of_usual = counted("usual", "gpt-4o");
    // Its own arm fails: who replies stands in the other one.
    world.set("b", failing.clone());
    let reply = world.send(&[("x-user", &user)], &says("m", HELLO)).await;
    assert_eq!(field(&reply.headers, "target"), "\"a/gpt-4o\"", "{reply:?}");
    assert_eq!(field(&reply.headers, "arm"), "\"usual\"");
    let tried = field(&reply.headers, "tried");
    assert!(tried.contains("failure=overloaded;arm=\"new\""), "the path tells of both: {tried}");
    until("the end is seen", || counted("usual", "gpt-4o") == of_usual + 1).await;
    assert_eq!(counted("new", "gpt-4o"), 0);
    let told = world.stack.telemetry().decisions().latest(1)[0].json();
    assert_eq!((&told["arm"], &told["target"]), (&json!("usual"), &json!("a/gpt-4o")));
    assert_eq!(
        (&told["tried"][0]["arm"], &told["tried"][1]["arm"]),
        (&json!("new"), &json!("usual"))
    );
    assert!(told["reason"].as_str().unwrap().ends_with("arm `usual`"), "{told:#}");
    // A split in a split is no arm of its own; who stands in none is told without.
    world.set("a", failing.clone());
    let reply = world.send(&[("x-user", &user)], &says("m", HELLO)).await;
    assert!(field(&reply.headers, "target").starts_with("\"c/"), "{reply:?}");
    assert_eq!(field(&reply.headers, "arm"), "\"usual\"");
    let dry = world.would(&[("x-user", &user)], &says("m", HELLO)).await;
    let arm_of = |target: &str| {
        let all = dry["candidates"].as_array().unwrap();
        all.iter().find(|one| one["target"] == target).map(|one| one["arm"].clone())
    };
    assert_eq!(arm_of("a/gpt-4o-mini"), Some(Value::Null));
    assert_eq!(arm_of("c/o3"), Some(json!("usual")));
}

#[tokio::test(start_paused = true)]
async fn callers_go_to_the_region_that_is_near() {
    let yaml = "providers:
  eu: { region: eu-west, simulate: {} }
  us: { region: us, simulate: {} }
  asia: { region: asia, simulate: {} }
routes:
  - strategy: { nearest: { header: x-region, default: us, order: { africa: [asia, us], asia: [asia, us, eu-west] } } }
    targets: [eu, us, asia]
";
    let world = World::new(yaml).await;
    for (region, order) in [
        ("eu", ["eu/m", "us/m", "asia/m"]),
        ("eu-west", ["eu/m", "us/m", "asia/m"]),
        ("us", ["us/m", "eu/m", "asia/m"]),
        ("africa", ["asia/m", "us/m", "eu/m"]),
        ("asia", ["asia/m", "us/m", "eu/m"]),
        ("", ["us/m", "eu/m", "asia/m"]),
    ] {
        let headers = [("x-region", region)];
        let headers = if region.is_empty() { &headers[..0] } else { &headers };
        let would = world.would(headers, &says("m", HELLO)).await;
        let all: Vec<&str> = would["candidates"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["target"].as_str().unwrap())
            .collect();
        assert_eq!(all, order, "{region}");
        assert_eq!(world.goes(headers, &says("m", HELLO)).await, order[0], "{region}");
    }
}

#[tokio::test(start_paused = true)]
async fn groups_nest() {
    // Of the strong ones the inner group is as quick as its own first: the cheapest, or the one written first.
    for (inner, order) in [
        ("cost", ["b/gpt-4o-mini", "a/gpt-4o", "c/o3", "a/gpt-4o-mini"]),
        ("failover", ["c/o3", "a/gpt-4o", "b/gpt-4o-mini", "a/gpt-4o-mini"]),
    ] {
        let world = warmed(&format!(
            "  - name: it
    strategy: failover
    targets:
      - {{ name: strong, strategy: {{ latency: whole }}, targets: [c/o3, {{ strategy: {inner}, targets: [a/gpt-4o, b/gpt-4o-mini] }}] }}
      - a/gpt-4o-mini",
        ))
        .await;
        let would = world.would(&[], &says("m", HELLO)).await;
        let all: Vec<&Value> =
            would["candidates"].as_array().unwrap().iter().map(|one| &one["target"]).collect();
        assert_eq!(all, order, "{would:#}");
        assert_eq!(world.goes(&[], &says("m", HELLO)).await, order[0]);
    }
}

#[tokio::test(start_paused = true)]
async fn keys_are_one_member_whatever_their_number() {
    let yaml = "providers:
  many: { keys: { one: { weight: 3 }, two: }, simulate: {} }
  few: { simulate: {} }
routing: { header: always }
routes: [{ strategy: round_robin, targets: [many, few] }]
";
    let world = World::new(yaml).await;
    for _ in 0..8 {
        world.goes(&[], &says("m", HELLO)).await;
    }
    assert_eq!((world.requests("many"), world.requests("few")), (4, 4));
}
