//! The client is killed in every phase: what was reserved for it comes back.

use std::sync::{Arc, Mutex};

use http::{Method, Request};
use http_body_util::BodyExt;
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tollway::{circuit_breaker::State, rate_limit::Key};

use super::support::*;

const POLICY: &str = "
callers: { identify: [ip] }
providers:
  sim: { simulate: {} }
limits:
  - { name: all, per: all, requests: 100000/min, tokens: 10M/min }
  - { name: places, per: all, concurrent: 2, when_full: { wait: 60s } }
  - { name: provider, per: provider, requests: 100000/min, tokens: 10M/min, shape: sliding, when_full: { wait: 15s } }
  - { name: provider-places, per: provider, concurrent: 50 }
circuit_breaker: { open_after: 5 failures, recover_after: 30s }
retry: { attempts: 2, backoff: { first: 1ms, max: 1ms } }
routes: [{ targets: [sim] }]
";

fn sim_key() -> Key {
    Key::One(tollway::rate_limit::Part::Name("sim".into()))
}

fn held(proxy: &Running) -> Vec<(String, u64)> {
    let (requests, attempts) = (proxy.stack().request_limits(), proxy.stack().attempt_limits());
    let of = |handle: &tollway::rate_limit::Handle, key: &Key| {
        let rules = handle.rules().iter();
        let standings = rules.filter_map(|rule| handle.standing(rule.limit().name(), key));
        standings.map(|standing| (standing.limit.to_string(), standing.held)).collect::<Vec<_>>()
    };
    let mut all = of(&requests, &Key::All);
    all.extend(of(&attempts, &sim_key()));
    assert_eq!(all.len(), 6, "{all:?}");
    all
}

/// Nothing is reserved, nobody is in line, nothing runs, here or at the provider.
async fn settled(proxy: &Running, phase: &str) {
    until(phase, || {
        proxy.is_idle()
            && proxy.sim("sim").stats().open_streams == 0
            && held(proxy).iter().all(|(_, held)| *held == 0)
            && waiting(proxy) == 0
    })
    .await;
    let places = proxy.stack().request_limits().standing("places", &Key::All).unwrap();
    assert_eq!(places.remaining, 2, "{phase}: a place at the same time is gone");
}

fn waiting(proxy: &Running) -> usize {
    proxy.stack().request_limits().standing("places", &Key::All).unwrap().waiting
}

fn head(length: usize, control: &str) -> String {
    format!(
        "POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         x-simulate: {control}\r\ncontent-length: {length}\r\n\r\n"
    )
}

async fn connect(proxy: &Running, bytes: &str) -> TcpStream {
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn before_and_inside_the_request() {
    let proxy = Running::new(POLICY);
    let body = ask(true);
    let half_body = head(body.len(), "tps=1") + &body[..20];
    for start in ["", "POST /v1/chat/compl", &head(body.len(), "tps=1"), &half_body] {
        let stream = connect(&proxy, start).await;
        if start.ends_with('\n') || start.ends_with(&body[..20]) {
            until("the request is under way", || !proxy.is_idle()).await;
        }
        drop(stream);
        settled(&proxy, start).await;
    }
    assert_eq!(proxy.sim("sim").stats().requests, 0);
}

#[tokio::test]
async fn in_the_middle_of_an_upload() {
    let proxy = Running::new(POLICY);
    let head = "POST /v1/files HTTP/1.1\r\nhost: x\r\ncontent-type: application/octet-stream\r\n\
                content-length: 1000000\r\n\r\nsome of it";
    let stream = connect(&proxy, head).await;
    until("it has reached the provider", || proxy.sim("sim").stats().requests == 1).await;
    assert!(held(&proxy).iter().any(|(_, held)| *held > 0), "an upload holds its reservation");
    drop(stream);
    settled(&proxy, "in the middle of an upload").await;
}

#[tokio::test]
async fn in_line_for_a_limit() {
    let proxy = Running::new(POLICY);
    let text = head(ask(true).len(), "stall=before") + &ask(true);
    let first = [connect(&proxy, &text).await, connect(&proxy, &text).await];
    until("both places are taken", || proxy.sim("sim").stats().requests == 2).await;
    let in_line = [connect(&proxy, &text).await, connect(&proxy, &text).await];
    until("two are in line", || waiting(&proxy) == 2).await;
    drop(in_line);
    until("the line is empty", || waiting(&proxy) == 0).await;
    assert_eq!(proxy.sim("sim").stats().requests, 2, "nobody took the places of those who left");
    drop(first);
    settled(&proxy, "in line").await;
}

#[tokio::test]
async fn before_the_first_token_and_in_mid_stream() {
    let proxy = Running::new(POLICY);
    for control in
        ["stall=before", "latency=10m", "ttft=10m", "stall=first", "stall=after:3", "tps=0.01"]
    {
        let text = head(ask(true).len(), control) + &ask(true);
        let before = proxy.sim("sim").stats();
        let stream = connect(&proxy, &text).await;
        until("the provider has it", || proxy.sim("sim").stats().requests > before.requests).await;
        assert!(held(&proxy).iter().all(|(_, held)| *held > 0), "{control}: {:?}", held(&proxy));
        if control.contains("after") {
            let mut some = [0; 64];
            let read = tokio::io::AsyncReadExt::read(&mut { stream }, &mut some).await.unwrap();
            assert!(read > 0);
        } else {
            drop(stream);
        }
        settled(&proxy, control).await;
        until("the provider was told", || {
            proxy.sim("sim").stats().cancelled == before.cancelled + 1
        })
        .await;
    }
    let circuits = proxy.stack().breakers().list();
    assert!(circuits.iter().all(|c| c.failures_in_a_row == 0), "hang-ups are nobody's failure");
}

#[tokio::test]
async fn after_the_last_byte() {
    let proxy = Running::new(POLICY);
    for stream in [true, false] {
        let request = Request::builder()
            .method(Method::POST)
            .uri(proxy.uri(CHAT))
            .header(JSON.0, JSON.1)
            .body(full(ask(stream)))
            .unwrap();
        let mut reply = client().request(request).await.unwrap().into_body();
        let mut last = Vec::new();
        while let Some(frame) = reply.frame().await {
            last.extend_from_slice(frame.unwrap().data_ref().unwrap());
        }
        drop(reply);
        assert!(!last.is_empty());
        settled(&proxy, "after the last byte").await;
    }
    assert_eq!(proxy.sim("sim").stats().cancelled, 0);
}

#[tokio::test]
async fn an_http2_stream_is_reset() {
    let proxy = Running::new(POLICY);
    let client = client_h2();
    for control in ["stall=before", "stall=after:2"] {
        let request = || {
            Request::post(proxy.uri(CHAT))
                .header(JSON.0, JSON.1)
                .header("x-simulate", control)
                .body(full(ask(true)))
                .unwrap()
        };
        let before = proxy.sim("sim").stats().requests;
        let reply = tokio::spawn(client.request(request()));
        until("the provider has it", || proxy.sim("sim").stats().requests > before).await;
        if control.contains("after") {
            let mut body = within("the head", reply).await.unwrap().unwrap().into_body();
            within("some of it", body.frame()).await.unwrap().unwrap();
        } else {
            reply.abort();
        }
        settled(&proxy, control).await;
    }
}

#[tokio::test]
async fn a_trial_whose_client_left_is_given_to_the_next() {
    let proxy = Running::new(
        "providers:\n  sim: { simulate: {} }\n\
         circuit_breaker: { open_after: 1 failures, recover_after: 20ms, trial_requests: 1, ramp: 0s }\n",
    );
    assert_eq!(proxy.chat("status=500").await.status, 500);
    let state = || proxy.stack().breakers().list()[0].state;
    assert_ne!(state(), State::Closed);
    let before = proxy.sim("sim").stats().requests;
    for _ in 0..3 {
        until("a trial is let through", || matches!(state(), State::HalfOpen)).await;
        let text = head(ask(true).len(), "stall=before") + &ask(true);
        let requests = proxy.sim("sim").stats().requests;
        let stream = connect(&proxy, &text).await;
        until("the trial runs", || proxy.sim("sim").stats().requests > requests).await;
        drop(stream);
        until("it ends", || proxy.is_idle()).await;
    }
    assert_eq!(proxy.sim("sim").stats().requests, before + 3);
    assert_eq!(proxy.chat("").await.status, 200, "the trial's place was given back");
    assert_eq!(state(), State::Closed);
}

/// The policy above that lets what has begun go on.
fn draining() -> String {
    POLICY.replace("routes:", "streams: { on_hangup: drain }\nroutes:")
}

fn output_tokens(proxy: &Running) -> Option<String> {
    let metrics = proxy.telemetry().render();
    let is_output = |line: &&str| {
        line.starts_with("tollway_tokens_total{") && line.contains(r#"token_type="output""#)
    };
    metrics.lines().find(is_output)?.rsplit(' ').next().map(str::to_owned)
}

#[tokio::test]
async fn a_drained_reply_is_read_to_its_end_and_counted() {
    let proxy = Running::new(&draining());
    let text = head(ask(true).len(), "tps=200; output_tokens=20") + &ask(true);
    let stream = connect(&proxy, &text).await;
    until("it streams", || proxy.sim("sim").stats().open_streams == 1).await;
    drop(stream);
    settled(&proxy, "drained").await;
    assert_eq!(proxy.sim("sim").stats().cancelled, 0, "the provider said all it had to say");
    assert_eq!(output_tokens(&proxy).as_deref(), Some("20"));
}

#[tokio::test]
async fn drained_before_a_head_the_usage_is_exact() {
    for (stream, slow) in [(true, "ttft"), (false, "latency")] {
        for (policy, time, drained) in [(draining(), "300ms", true), (POLICY.into(), "10m", false)]
        {
            let control = &format!("{slow}={time}; output_tokens=20");
            let proxy = Running::new(&policy);
            let text = head(ask(stream).len(), control) + &ask(stream);
            let left = connect(&proxy, &text).await;
            until("the provider works", || proxy.sim("sim").stats().requests == 1).await;
            drop(left);
            settled(&proxy, control).await;
            let told = if drained { 0 } else { 1 };
            until("the provider ends", || proxy.sim("sim").stats().cancelled == told).await;
            let rows = proxy.stack().totals().snapshot();
            let row = rows.iter().find(|row| &*row.key == "sim").expect("work at the provider");
            let (usage, estimated) = (row.total.usage, row.total.estimated);
            assert!(usage.input > 0, "{control} {row:?}");
            let expected = if drained { (20, 0) } else { (0, 1) };
            assert_eq!((usage.output, estimated), expected, "{control} {row:?}");
            let output = if drained { "20" } else { "0" };
            assert_eq!(output_tokens(&proxy).as_deref().unwrap_or("0"), output);
        }
    }
}

/// The provider fails after the client has left: nobody else is asked.
#[tokio::test(start_paused = true)]
async fn nothing_is_begun_for_a_client_that_has_left() {
    for stays in [true, false] {
        let two = draining()
            .replace("sim: { simulate: {} }", "sim: { simulate: {} }\n  other: { simulate: {} }");
        let (stack, mut send) =
            in_process(policy(&two.replace("targets: [sim]", "targets: [sim, other]"))).await;
        let requests = |name| stack.simulator(name).unwrap().stats().requests;
        let request = Request::post(CHAT)
            .header(JSON.0, JSON.1)
            .header("x-simulate", "latency=1s; status=503")
            .body(full(ask(true)))
            .unwrap();
        let reply = tokio::spawn(send.send_request(request));
        until("the first is asked", || requests("sim") == 1).await;
        if !stays {
            reply.abort();
        }
        tokio::time::sleep(std::time::Duration::from_secs(5)).await;
        assert_eq!(stack.simulator("sim").unwrap().stats().cancelled, 0, "it goes on to its end");
        assert_eq!((requests("sim"), requests("other")), (1, u64::from(stays)));
        let settled = stack.request_limits().standing("places", &Key::All).unwrap();
        assert_eq!(settled.held, 0);
    }
}

#[derive(Clone, Default)]
pub(super) struct Lines(pub(super) Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_drained_request_is_logged_once_as_left_and_exactly() {
    let lines = Lines::default();
    let written = lines.clone();
    let writer = move || lines.clone();
    let _here = tracing::subscriber::set_default(
        tracing_subscriber::fmt().json().flatten_event(true).with_writer(writer).finish(),
    );
    for left_after in ["head", "token"] {
        let (stack, mut send) = in_process(policy(&draining())).await;
        let request = Request::post(CHAT)
            .header(JSON.0, JSON.1)
            .header("x-simulate", "ttft=1s; tps=1; output_tokens=20")
            .body(full(ask(true)))
            .unwrap();
        let reply = tokio::spawn(send.send_request(request));
        let sim = stack.simulator("sim").unwrap();
        until("it is asked", || sim.stats().requests == 1).await;
        if left_after == "token" {
            within("some of it", reply.await.unwrap().unwrap().into_body().frame()).await;
        } else {
            reply.abort();
        }
        tokio::time::sleep(std::time::Duration::from_secs(60)).await;
        let text = String::from_utf8(std::mem::take(&mut *written.0.lock().unwrap())).unwrap();
        let told: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .filter(|line: &serde_json::Value| line["message"] == "request")
            .collect();
        assert_eq!(told.len(), 1, "{left_after}: {text}");
        assert_eq!(told[0]["ending"], "client_left", "{text}");
        assert_eq!((&told[0]["status"], &told[0]["output_tokens"]), (&200.into(), &20.into()));
        assert!(told[0].get("usage_estimated").is_none(), "{text}");
    }
}

#[tokio::test]
async fn a_wait_for_another_attempt_ends_when_the_client_leaves() {
    // An error, and a dead start that looked like a reply.
    for control in ["status=503", "truncate=first"] {
        let proxy = Running::new(&draining().replace("1ms, max: 1ms", "5m, max: 5m"));
        let text = head(ask(true).len(), control) + &ask(true);
        let stream = connect(&proxy, &text).await;
        until("it waits", || proxy.telemetry().render().contains("\ntollway_retries_total{")).await;
        drop(stream);
        settled(&proxy, control).await;
        assert_eq!(proxy.sim("sim").stats().requests, 1, "{control}");
    }
}

#[tokio::test]
async fn who_leaves_the_line_is_not_served_under_drain_either() {
    let proxy = Running::new(&draining());
    let text = head(ask(true).len(), "stall=before") + &ask(true);
    let first = [connect(&proxy, &text).await, connect(&proxy, &text).await];
    until("both places are taken", || proxy.sim("sim").stats().requests == 2).await;
    let in_line = connect(&proxy, &text).await;
    until("one is in line", || waiting(&proxy) == 1).await;
    drop(in_line);
    until("the line is empty", || waiting(&proxy) == 0).await;
    until("it is let go", || proxy.metric("tollway_requests_in_flight") == Some(2.0)).await;
    assert_eq!(proxy.sim("sim").stats().requests, 2);
    drop(first);
}

#[tokio::test]
async fn half_an_upload_is_not_drained() {
    let address = raw_provider(|mut stream| async move {
        let _ = rest(&mut stream).await;
    })
    .await;
    let up = format!("providers:\n  up: {{ base_url: \"http://{address}/v1\" }}");
    let policy = draining().replace("providers:", &up);
    let proxy = Running::new(&policy.replace("targets: [sim]", "targets: [up, sim]"));
    for framing in ["content-length: 1000000\r\n\r\n", "transfer-encoding: chunked\r\n\r\n100\r\n"]
    {
        let head = format!(
            "POST /v1/files HTTP/1.1\r\nhost: x\r\ncontent-type: application/octet-stream\r\n\
             {framing}some of it"
        );
        let stream = connect(&proxy, &head).await;
        until("it is under way", || held(&proxy).iter().any(|(_, held)| *held > 0)).await;
        drop(stream);
        settled(&proxy, framing).await;
    }
    assert_eq!(proxy.sim("sim").stats().requests, 0);
    let circuits = proxy.stack().breakers().list();
    assert!(circuits.iter().all(|c| c.failures_in_a_row == 0), "{circuits:?}");
}

#[tokio::test]
async fn a_process_that_stops_does_not_wait_for_what_is_abandoned() {
    let proxy = Running::new(&draining());
    let text = head(ask(true).len(), "stall=before") + &ask(true);
    let stream = connect(&proxy, &text).await;
    until("the provider works", || proxy.sim("sim").stats().requests == 1).await;
    drop(stream);
    let telemetry = proxy.telemetry().clone();
    let sim = proxy.sim("sim");
    let proxy = proxy.take();
    within("the end", tokio::task::spawn_blocking(move || proxy.stop())).await.unwrap();
    assert_eq!(sim.stats().cancelled, 1);
    assert!(telemetry.render().contains("\ntollway_requests_in_flight 0"), "it was settled");
}

/// Who leaves while the provider works pays for the question, in limits, totals and metrics alike;
/// who leaves before it was asked pays nothing.
#[tokio::test]
async fn abandoned_work_is_paid_for() {
    // By the day: what is taken does not come back while the test looks.
    let proxy = Running::new(&POLICY.replacen("10M/min", "10M/day", 1));
    let text = head(ask(false).len(), "stall=before") + &ask(false);
    let working = [connect(&proxy, &text).await, connect(&proxy, &text).await];
    until("the provider works", || proxy.sim("sim").stats().requests == 2).await;
    let in_line = connect(&proxy, &text).await;
    until("one is in line", || waiting(&proxy) == 1).await;
    drop(in_line);
    until("the line is empty", || waiting(&proxy) == 0).await;
    drop(working);
    settled(&proxy, "abandoned").await;
    let rows = proxy.stack().totals().snapshot();
    let provider = rows.iter().find(|row| &*row.key == "sim").expect("work at the provider");
    assert_eq!((provider.total.requests, provider.total.estimated), (2, 2));
    let asked = provider.total.usage.input;
    assert!(asked > 0 && provider.total.usage.output == 0, "{:?}", provider.total.usage);
    assert!(provider.total.cost > tollway::core::Usd::ZERO);
    let limits = proxy.stack().request_limits();
    let tokens = limits.standing("all.tokens", &Key::All).unwrap();
    assert_eq!(tokens.capacity - tokens.remaining, asked, "the question was charged: {tokens:?}");
    let metrics = proxy.telemetry().render();
    let of = "tollway_usage_estimated_total{gen_ai_provider_name=\"sim\"";
    let told = metrics.lines().any(|line| line.starts_with(of) && line.ends_with(" 2"));
    assert!(told, "{metrics}");
}
