//! Streams: each chunk leaves at once, usage is asked for and kept back, and thousands at a time.

use http::{Method, Request, Response};
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::sync::{Mutex, mpsc, watch};

use super::support::*;

const EVENTS: [&str; 5] = [
    "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n",
    "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"He\"},\"finish_reason\":null}]}\n\n",
    ": a comment\r\n\r\n",
    "data:{\"id\":\"c\", \"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"odd\":1.50,\"choices\":[{\"index\":0,\"delta\":{\"content\":\"llo\"},\"finish_reason\":\"stop\"}]}\n\n",
    "data: [DONE]\n\n",
];
const USAGE: &str = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":2,\"total_tokens\":7}}\n\n";
const SSE: (&str, &str) = ("content-type", "text/event-stream; charset=utf-8");

#[tokio::test]
async fn each_chunk_leaves_before_the_next_one_comes() {
    let (give, taken) = mpsc::channel::<Body>(1);
    let taken = std::sync::Arc::new(Mutex::new(taken));
    let address = provider(move |request| {
        let taken = taken.clone();
        async move {
            request.into_body().collect().await.unwrap();
            let body = taken.lock().await.recv().await.unwrap();
            let mut stream = Response::new(body);
            stream.headers_mut().insert(SSE.0, SSE.1.parse().unwrap());
            stream
        }
    })
    .await;
    for (policy, h2) in [("", false), ("", true), ("streams: { commit: head }\n", false)] {
        let proxy = Running::new(&format!("{}{policy}", provider_at(address)));
        let (send, body) = pipe();
        give.send(body).await.unwrap();
        let request = Request::post(proxy.uri(CHAT)).header(JSON.0, JSON.1).body(full(ask(true)));
        let client = if h2 { client_h2() } else { client() };
        let mut reply = within("a head before the first event", client.request(request.unwrap()))
            .await
            .unwrap()
            .into_body();
        for event in EVENTS {
            // In two halves, cut in the middle: half an event leaves at once too, or with its other half.
            let (first, second) = event.split_at(event.len() / 2);
            let mut got = Vec::new();
            send.send(first.into()).await.unwrap();
            tokio::task::yield_now().await;
            send.send(second.into()).await.unwrap();
            while got.len() < event.len() {
                let frame = within(event, reply.frame()).await.unwrap().unwrap();
                got.extend_from_slice(&frame.into_data().unwrap());
            }
            assert_eq!(String::from_utf8(got).unwrap(), event);
        }
        drop(send);
        // HTTP/2 ends with an empty frame.
        while let Some(end) = within("the end", reply.frame()).await {
            assert!(end.unwrap().data_ref().unwrap().is_empty(), "{policy} {h2}");
        }
    }
}

#[tokio::test]
async fn usage_is_asked_for_and_the_extra_event_kept_back() {
    let provider = Recording::new(|seen| {
        let asked: Value = serde_json::from_slice(&seen.body).unwrap();
        assert_eq!(asked["stream_options"]["include_usage"], true);
        let [done, events @ ..] = [EVENTS[4], EVENTS[0], EVENTS[1], EVENTS[2], EVENTS[3]];
        reply(200, &[SSE], [&events.concat(), USAGE, done].concat())
    })
    .await;
    let proxy = Running::before(provider.address);
    let got = proxy.post(CHAT, ask(true)).await;
    assert_eq!(got.text(), EVENTS.concat(), "byte by byte, but for the usage");
    // Asked for by the client, it is the client's.
    let wanting =
        ask(true).replace("\"stream\":", "\"stream_options\":{\"include_usage\":true},\"stream\":");
    let got = proxy.post(CHAT, wanting.clone()).await;
    assert_eq!(provider.last().body, wanting);
    assert!(got.text().contains(USAGE));
    // Both were counted.
    let metrics = proxy.telemetry().render();
    let counted: Vec<_> = metrics
        .lines()
        .filter(|l| l.starts_with("tollway_tokens_total") && l.contains("output"))
        .collect();
    assert!(counted.iter().any(|line| line.ends_with(" 4")), "{counted:?}\n{metrics}");
    let estimated = metrics.lines().find(|line| line.starts_with("tollway_usage_estimated_total{"));
    assert!(estimated.is_none_or(|line| line.ends_with(" 0")), "{estimated:?}");
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Opens this many streams at a time, over HTTP/2 on both sides (file descriptors are scarce), holds
/// them all at their first token, then lets them go on. `TOLLWAY_TEST_STREAMS` sets another number.
#[tokio::test]
async fn thousands_of_slow_streams_and_none_is_lost() {
    let count: usize =
        std::env::var("TOLLWAY_TEST_STREAMS").map_or(10_000, |count| count.parse().unwrap());
    let (open_gate, gate) = watch::channel(false);
    let address = provider(move |request| {
        let mut gate = gate.clone();
        async move {
            if request.uri().path() != CHAT {
                return reply(200, &[], "");
            }
            request.into_body().collect().await.unwrap();
            let (send, body) = pipe();
            tokio::spawn(async move {
                let _ = send.send(EVENTS[1].into()).await;
                let _ = gate.wait_for(|open| *open).await;
                for event in &EVENTS[3..] {
                    let _ = send.send((*event).into()).await;
                }
            });
            let mut stream = Response::new(body);
            stream.headers_mut().insert(SSE.0, SSE.1.parse().unwrap());
            stream
        }
    })
    .await;
    let proxy = Running::new(&format!(
        "providers:\n  up: {{ base_url: \"http://{address}/v1\", auth: none, http2: only }}\n\
         limits:\n  - {{ name: streams, per: all, concurrent: 100000 }}\n\
         circuit_breaker: {{ open_after: 5 failures }}\nretry: {{ attempts: 2 }}\n"
    ));
    // One to warm up: pools, lazy tables.
    let started = proxy.post("/v1/brand-new", "").await;
    assert_eq!(started.status, 200);
    let before = resident_kib();
    let (tell, mut told) = mpsc::unbounded_channel();
    let mut tasks = Vec::with_capacity(count);
    for _ in 0..count.div_ceil(500) {
        let client = client_h2();
        for _ in 0..500.min(count - tasks.len()) {
            let request = Request::builder().method(Method::POST).uri(proxy.uri(CHAT));
            let request = request.header(JSON.0, JSON.1).body(full(ask(true))).unwrap();
            let (reply, tell) = (client.request(request), tell.clone());
            tasks.push(tokio::spawn(async move {
                let mut body = reply.await.unwrap().into_body();
                let mut text = Vec::new();
                while let Some(frame) = body.frame().await {
                    text.extend_from_slice(frame.unwrap().data_ref().unwrap());
                    if text.len() == EVENTS[1].len() {
                        tell.send(()).unwrap();
                    }
                }
                assert_eq!(text, [EVENTS[1], EVENTS[3], EVENTS[4]].concat().as_bytes());
            }));
        }
    }
    for nth in 0..count {
        within(format!("the first token of stream {nth}"), told.recv()).await.unwrap();
    }
    let held = proxy.stack().request_limits().standing("streams", &tollway::rate_limit::Key::All);
    assert_eq!(held.unwrap().held, count as u64, "all are open at the same time");
    let kib = resident_kib().saturating_sub(before);
    println!(
        "{count} open streams: {:.1} KiB each (client, proxy and provider together)",
        kib as f64 / count as f64
    );
    open_gate.send(true).unwrap();
    for task in tasks {
        within("the stream's end", task).await.unwrap();
    }
    until("no request under way", || proxy.is_idle()).await;
    let held = proxy.stack().request_limits().standing("streams", &tollway::rate_limit::Key::All);
    assert_eq!(held.unwrap().held, 0);
    assert!(kib / (count as u64) < 256, "{kib} KiB for {count} streams");
}
