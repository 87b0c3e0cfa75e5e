//! Targets fall ill and get well, by traffic alone and by probes, and the admin side tells.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{advance, sleep};
use tollway::simulate::SimulateConfig;
use tollway_core::Target;
use tollway_route::Health;

use super::{
    routing::{World, says},
    support::*,
};

fn failing() -> SimulateConfig {
    SimulateConfig { error_rate: 1.0, ..SimulateConfig::default() }
}

fn health(world: &World, provider: &str, model: Option<&str>) -> Health {
    let target = Target::new(provider, "default", model.map(Into::into));
    world.stack.facts().slot(&target).figures(tokio::time::Instant::now()).health
}

fn shown(world: &World) -> Value {
    serde_json::from_str(&world.stack.show_health().1).unwrap()
}

#[tokio::test(start_paused = true)]
async fn names_that_clients_make_up_fill_no_page() {
    let world = World::new(
        "providers: { a: { simulate: {} }, b: { simulate: {} }, c: { simulate: {} } }
routes:
  - { name: to-c, match: { header: { x-to: c } }, targets: [c/named] }
  - { name: all, targets: [a, b] }
",
    )
    .await;
    let pages = || -> (Vec<String>, Vec<Value>) {
        let all: Value = serde_json::from_str(&world.stack.show_targets()).unwrap();
        let name = |one: &Value| {
            format!("{}/{}", one["provider"].as_str().unwrap(), one["model"].as_str().unwrap())
        };
        let targets = all["targets"].as_array().unwrap().iter().map(name).collect();
        let models = shown(&world)["models"].as_array().unwrap().clone();
        (targets, models.into_iter().map(|model| model["name"].clone()).collect())
    };
    world.would(&[("x-to", "c")], &says("m", "Hi")).await;
    assert_eq!(world.send(&[], &says("used", "Hi")).await.status, 200);
    until("it has ended", || pages().0.len() == 2).await;
    // The second of the two never had it; the policy names the third.
    let expected =
        (vec!["a/used".to_owned(), "c/named".to_owned()], vec![json!("named"), json!("used")]);
    assert_eq!(pages(), expected);
    let unknown = SimulateConfig { error_rate: 1.0, error_status: 404, ..Default::default() };
    world.set("a", unknown.clone());
    world.set("b", unknown);
    for nth in 0..20 {
        let reply = world.send(&[], &says(&format!("made-up-{nth}"), "Hi")).await;
        assert_eq!(reply.status, 404);
    }
    // Who has served it is known, whatever comes later.
    assert_eq!(world.send(&[], &says("used", "Hi")).await.status, 404);
    assert_eq!(pages(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_target_gets_ill_and_well_by_traffic_alone() {
    let world = World::new(
        "providers: { a: { simulate: {} }, b: { simulate: {} } }
health: { degraded: { success: 95% }, down: { success: 50%, failures: 5 }, recover_after: 30s }
routes:
  - { name: to-a, match: { header: { x-to: a } }, targets: [a/gpt-4o] }
  - { name: all, targets: [a/gpt-4o, b/gpt-4o] }
",
    )
    .await;
    let to_a = async || world.send(&[("x-to", "a")], &says("m", "Hi")).await.status;
    let is = || health(&world, "a", Some("gpt-4o"));
    for _ in 0..12 {
        assert_eq!(to_a().await, 200);
    }
    assert_eq!((is(), shown(&world)["status"].clone()), (Health::Healthy, json!("healthy")));
    world.set("a", failing());
    for _ in 0..2 {
        assert!(to_a().await.is_server_error());
    }
    assert_eq!(is(), Health::Degraded);
    let told = shown(&world);
    assert_eq!(told["status"], "degraded");
    assert_eq!(told["issues"][0]["target"], "a/gpt-4o");
    let issue = told["issues"][0]["issue"].as_str().unwrap();
    assert!(issue.starts_with("2 of the last 14 requests failed"), "{issue}");
    for _ in 0..3 {
        assert!(to_a().await.is_server_error());
    }
    assert_eq!(is(), Health::Down);
    let told = shown(&world);
    assert_eq!(told["status"], "degraded", "b is left");
    assert_eq!(told["providers"][0]["available"], false);
    assert_eq!(told["providers"][1]["available"], true);
    assert_eq!(told["models"][0]["providers"], json!(["b"]));
    world.set("a", SimulateConfig::default());
    advance(Duration::from_secs(29)).await;
    assert_eq!(is(), Health::Down, "it rests");
    advance(Duration::from_secs(2)).await;
    assert_eq!(is(), Health::Degraded, "it may be tried");
    for nth in 1..=3 {
        let told = shown(&world)["issues"][0]["issue"].clone();
        let expected = format!("tried after an outage, {} of 3 successes so far", nth - 1);
        assert_eq!(told, expected.as_str());
        assert_eq!(to_a().await, 200);
    }
    assert_eq!(is(), Health::Healthy);
    assert_eq!(
        shown(&world),
        json!({
            "status": "healthy",
            "issues": [],
            "providers": [
                { "name": "a", "status": "healthy", "available": true },
                { "name": "b", "status": "healthy", "available": true },
            ],
            "models": [
                { "name": "gpt-4o", "status": "healthy", "available": true, "providers": ["a", "b"] },
            ],
        })
    );
}

const PROBED: &str = "providers: { a: { simulate: {} }, b: { simulate: {}, probe: off } }
health: { probe: { interval: 10s, jitter: 0%, timeout: 2s }, recover_after: 30s }
routes: [{ targets: [a/gpt-4o, b/gpt-4o] }]
";

#[tokio::test(start_paused = true)]
async fn a_provider_gets_ill_and_well_by_probes_alone() {
    let world = World::new(PROBED).await;
    let probing = world.stack.probing().unwrap().unwrap();
    let running = tokio::spawn(probing.run());
    sleep(Duration::from_secs(40)).await;
    assert!((3..=4).contains(&world.requests("a")), "{}", world.requests("a"));
    assert_eq!(world.requests("b"), 0, "its probe is off");
    let metrics = world.stack.telemetry().render();
    assert!(!metrics.contains("tollway_requests_total{"), "probes are no traffic: {metrics}");
    assert_eq!(health(&world, "a", Some("gpt-4o")), Health::Healthy);

    // Down after five in a row, at the usual pace, with all models: one was never asked for.
    world.set("a", failing());
    sleep(Duration::from_secs(51)).await;
    for model in [None, Some("gpt-4o"), Some("o3")] {
        assert_eq!(health(&world, "a", model), Health::Down, "{model:?}");
    }
    assert_eq!(shown(&world)["providers"][0]["available"], false);
    let would = world.would(&[], &says("m", "Hi")).await;
    assert_eq!(would["target"], "b/gpt-4o", "requests go elsewhere: {would:#}");

    // While it is down, probes are rarer.
    let before = world.requests("a");
    sleep(Duration::from_secs(300)).await;
    let made = world.requests("a") - before;
    assert!((2..=6).contains(&made), "{made} probes in 5 minutes");
    assert_eq!(health(&world, "b", Some("gpt-4o")), Health::Healthy);

    // It recovers without a single request of a client.
    world.set("a", SimulateConfig::default());
    let mut waited = 0;
    while health(&world, "a", Some("gpt-4o")) != Health::Healthy {
        sleep(Duration::from_secs(10)).await;
        waited += 1;
        assert!(waited < 100, "it never recovers");
    }
    assert_eq!(shown(&world)["status"], "healthy");
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn silence_is_a_failed_probe_and_without_the_section_nothing_is_asked() {
    let world = World::new(PROBED).await;
    let slow = SimulateConfig { latency: Duration::from_secs(3), ..SimulateConfig::default() };
    world.set("a", slow);
    let running = tokio::spawn(world.stack.probing().unwrap().unwrap().run());
    sleep(Duration::from_secs(65)).await;
    assert_eq!(health(&world, "a", None), Health::Down);
    running.abort();
    let _ = running.await;
    let asked = world.requests("a");
    sleep(Duration::from_secs(3600)).await;
    assert_eq!(world.requests("a"), asked, "it ends with its task");
    let none = World::new("providers: { a: { simulate: {} } }\n").await;
    assert!(none.stack.probing().unwrap().is_none());
}

#[tokio::test]
async fn probes_carry_the_key_and_go_to_the_path_of_the_policy() {
    let (send, mut asked) = tokio::sync::mpsc::unbounded_channel();
    let address = provider(move |request| {
        let header = |name: &str| request.headers().get(name).cloned();
        let seen = (
            format!("{} {}", request.method(), request.uri().path()),
            header("authorization").or(header("x-api-key")),
            header("anthropic-version").is_some(),
        );
        let _ = send.send(seen);
        async { reply(200, &[JSON], r#"{"data":[]}"#) }
    })
    .await;
    let _running = Running::new(&format!(
        "providers:
  open: {{ base_url: \"http://{address}/x/v1\", keys: {{ one: sk-1, two: sk-2 }} }}
  claude: {{ base_url: \"http://{address}/c/v1\", dialect: anthropic, auth: header x-api-key, api_key: sk-c, probe: {{ path: /models?limit=1 }} }}
health: {{ probe: {{ interval: 20ms, timeout: 20ms }} }}
"
    ));
    let mut wanted = vec![
        ("GET /x/v1/models", "Bearer sk-1", false),
        ("GET /x/v1/models", "Bearer sk-2", false),
        ("GET /c/v1/models", "sk-c", true),
    ];
    while !wanted.is_empty() {
        let (line, key, version) = within("a probe", asked.recv()).await.unwrap();
        let key = key.unwrap();
        wanted.retain(|it| *it != (line.as_str(), key.to_str().unwrap(), version));
    }
}

#[tokio::test]
async fn admin_shows_figures_decisions_and_health() {
    let proxy = Running::new(
        "providers: { a: { simulate: {} }, b: { simulate: {} } }
circuit_breaker: { open_after: 1 failures, recover_after: 1h }
routes:
  - { name: chosen, match: { model: m }, strategy: cost, targets: [a/gpt-4o, b/gpt-4o-mini] }
  - { name: down, match: { model: d }, targets: [a/o3] }
",
    );
    assert_eq!(proxy.admin("/decisions").await.json(), json!({ "decisions": [] }));
    for _ in 0..2 {
        let got = proxy.post(CHAT, says("m", "Hi").to_string()).await;
        assert_eq!(got.status, 200);
    }
    proxy.sim("a").set(failing());
    assert!(proxy.post(CHAT, says("d", "Hi").to_string()).await.status.is_server_error());
    until("both ended", || proxy.telemetry().decisions().latest(9).len() == 2).await;

    let all = proxy.admin("/decisions?route=chosen&target=b/gpt-4o-mini").await.json();
    assert_eq!(all["decisions"].as_array().unwrap().len(), 2);
    assert_eq!(all["decisions"][0]["outcome"]["status"], 200);
    let count = async |query: &str| {
        let got = proxy.admin(&format!("/decisions?{query}")).await.json();
        got["decisions"].as_array().unwrap().len()
    };
    assert_eq!((count("last=1").await, count("target=a").await, count("route=x").await), (1, 0, 0));
    assert_eq!(proxy.admin("/decisions?lats=1").await.status, 400);

    let targets = proxy.admin("/targets").await.json();
    let of = |name: &str| {
        let all = targets["targets"].as_array().unwrap().iter();
        all.clone().find(|it| it["model"] == name).unwrap_or_else(|| panic!("{targets:#}"))
    };
    assert_eq!(
        (&of("gpt-4o-mini")["samples"], &of("gpt-4o-mini")["out"]),
        (&json!(2), &json!(null))
    );
    assert_eq!((&of("o3")["out"], &of("o3")["samples"]), (&json!("breaker open"), &json!(0)));
    assert_eq!(of("o3")["errors"][0]["class"], "server");
    assert_eq!(targets["providers"][1]["name"], "b");

    let told = proxy.admin("/health").await;
    assert_eq!((told.status.as_u16(), &told.json()["status"]), (200, &json!("degraded")));
    let issue = told.json()["issues"][0]["issue"].as_str().unwrap().to_owned();
    assert!(issue.starts_with("its circuit is open"), "{issue}");
}

#[tokio::test]
async fn with_nobody_left_the_whole_is_down() {
    let proxy = Running::new("providers: { a: { simulate: { error_rate: 100% } } }\n");
    for _ in 0..5 {
        assert!(proxy.post(CHAT, ask(false)).await.status.is_server_error());
    }
    let told = within("down", async {
        loop {
            let told = proxy.admin("/health").await;
            if told.status == 503 {
                break told;
            }
        }
    })
    .await;
    assert_eq!(told.json()["status"], "down");
    assert_eq!(told.json()["providers"][0]["available"], false);
}

#[tokio::test]
async fn what_is_not_for_everybody_asks_for_the_token() {
    let proxy = Running::new("admin: { token: let-me-see }\nproviders:\n  sim: { simulate: {} }\n");
    for page in ["/health", "/targets", "/decisions"] {
        assert_eq!(proxy.admin(page).await.status, 401, "{page}");
    }
}
