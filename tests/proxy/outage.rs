//! A provider dies under load and comes back; no client notices while another one lives.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use http::{Method, Request};
use tollway::{circuit_breaker::State, simulate::SimulateConfig};

use super::support::*;

const POLICY: &str = "
providers:
  main: { simulate: {} }
  spare: { simulate: {} }
circuit_breaker: { open_after: 3 failures, recover_after: 100ms, recover_max: 200ms, trial_requests: 2, ramp: 50ms }
retry: { attempts: 3, backoff: { first: 1ms, max: 5ms } }
routes: [{ targets: [main, spare] }]
";

/// Sends without pause until told to stop; counts what was answered, and keeps every failure.
async fn load(
    proxy: Arc<Running>,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
) -> Vec<String> {
    let client = client();
    let (mut failures, mut stream) = (Vec::new(), false);
    while !stop.load(Ordering::SeqCst) {
        stream = !stream;
        let request = Request::builder()
            .method(Method::POST)
            .uri(proxy.uri(CHAT))
            .header(JSON.0, JSON.1)
            .body(full(ask(stream)))
            .unwrap();
        let reply = Reply::read(within("a reply", client.request(request)).await.unwrap()).await;
        let whole = if stream { reply.text().ends_with("data: [DONE]\n\n") } else { !reply.broken };
        if reply.status != 200 || !whole {
            failures.push(format!("stream {stream}: {reply:?}"));
        }
        answered.fetch_add(1, Ordering::SeqCst);
    }
    failures
}

async fn outage(dead: SimulateConfig) {
    let proxy = Arc::new(Running::new(POLICY));
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> =
        (0..8).map(|_| tokio::spawn(load(proxy.clone(), stop.clone(), answered.clone()))).collect();
    let (main, spare) = (proxy.sim("main"), proxy.sim("spare"));
    let more = async |n: usize| {
        let from = answered.load(Ordering::SeqCst);
        until("more answers", || answered.load(Ordering::SeqCst) >= from + n).await;
    };
    let circuit = || {
        let circuits = proxy.stack().breakers().list();
        let main = circuits.into_iter().find(|c| &**c.key.target.provider() == "main");
        main.map_or(State::Closed, |main| main.state)
    };
    more(50).await;
    assert_eq!(spare.stats().requests, 0, "the spare is only for emergencies");
    main.set(dead);
    until("the breaker opens", || matches!(circuit(), State::Open { .. })).await;
    more(100).await;
    assert!(spare.stats().accepted >= 90, "the spare has taken over: {:?}", spare.stats());
    main.set(SimulateConfig::default());
    until("the breaker closes", || circuit() == State::Closed).await;
    let back = (main.stats().accepted, spare.stats().requests);
    more(50).await;
    assert!(main.stats().accepted > back.0 + 20, "traffic is back");
    stop.store(true, Ordering::SeqCst);
    let mut failures = Vec::new();
    for client in clients {
        failures.extend(client.await.unwrap());
    }
    assert!(failures.is_empty(), "{} clients saw it: {}", failures.len(), failures[0]);
    let opened = proxy.telemetry().render();
    assert!(opened.contains("tollway_circuit_breaker_opened_total"));
}

#[tokio::test]
async fn errors_are_hidden() {
    outage(SimulateConfig { error_rate: 1.0, error_status: 503, ..SimulateConfig::default() })
        .await;
}

#[tokio::test]
async fn resets_are_hidden() {
    // A reset after the first token can't be hidden from a stream: what was sent is sent.
    outage(SimulateConfig { reset_rate: 1.0, output_tokens: 0, ..SimulateConfig::default() }).await;
}

#[tokio::test]
async fn with_every_target_dead_the_client_is_told() {
    let proxy = Running::new(POLICY);
    for name in ["main", "spare"] {
        let dead = SimulateConfig { error_rate: 1.0, ..SimulateConfig::default() };
        proxy.sim(name).set(dead);
    }
    for _ in 0..20 {
        let reply = proxy.chat("").await;
        assert!(reply.status.is_server_error(), "{reply:?}");
        reply.error();
    }
}

#[tokio::test]
async fn while_traffic_comes_back_slowly_nobody_is_refused() {
    let proxy = Arc::new(Running::new(&POLICY.replace("ramp: 50ms", "ramp: 3s")));
    let main = proxy.sim("main");
    main.set(SimulateConfig { error_rate: 1.0, ..SimulateConfig::default() });
    let circuit = || {
        let circuits = proxy.stack().breakers().list();
        let main = circuits.into_iter().find(|c| &**c.key.target.provider() == "main");
        main.map_or(State::Closed, |main| main.state)
    };
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> =
        (0..8).map(|_| tokio::spawn(load(proxy.clone(), stop.clone(), answered.clone()))).collect();
    until("the breaker opens", || matches!(circuit(), State::Open { .. })).await;
    main.set(SimulateConfig::default());
    until("traffic comes back", || matches!(circuit(), State::Ramping { .. })).await;
    let from = answered.load(Ordering::SeqCst);
    until("more answers", || answered.load(Ordering::SeqCst) >= from + 200).await;
    stop.store(true, Ordering::SeqCst);
    let mut failures = Vec::new();
    for client in clients {
        failures.extend(client.await.unwrap());
    }
    assert!(failures.is_empty(), "{} requests failed: {}", failures.len(), failures[0]);
}
