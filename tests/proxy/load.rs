//! Ten times the load that a provider allows: it never has to refuse, and little of it is wasted.
//!
//! Time is paused, so minutes pass at once and always in the same way: the stack, the client's
//! connection and the simulated provider share one thread.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::{Request, StatusCode};
use http_body_util::BodyExt;
use tokio::time::Instant;

use super::support::*;

const MINUTES: u64 = 5;
const RPM: u64 = 50;
const TPM: u64 = 50_000;

struct Outcome {
    requests: u64,
    tokens: u64,
    refused_by_provider: u64,
    answered: u64,
    refused_by_us: u64,
}

/// Sends a request every 120 ms (500 a minute), whatever becomes of those before.
async fn ten_times(limit: &str, bytes: impl Fn(u64) -> usize) -> Outcome {
    let policy = policy(&format!(
        "callers: {{ identify: [header x-user-id, ip] }}
providers:
  sim:
    simulate: {{ latency: 300ms, jitter: 50%, output_tokens: 150, tokens_per_second: 100, requests_per_minute: {RPM}, tokens_per_minute: {TPM} }}
limits:
  - {{ name: tier, per: provider, requests: {RPM}/min, tokens: {TPM}/min, shape: sliding, {limit} }}
"
    ));
    let (stack, send) = in_process(policy).await;
    let (answered, refused) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let start = Instant::now();
    for nth in 0..MINUTES * 500 {
        let text = "x".repeat(bytes(nth));
        let most = 50 + nth * 7919 % 300;
        let body = format!(
            r#"{{"model":"gpt-4o-mini","stream":{},"max_tokens":{most},"messages":[{{"role":"user","content":"{text}"}}]}}"#,
            nth % 2 == 0
        );
        let request = Request::post(format!("http://tollway{CHAT}"))
            .header(JSON.0, JSON.1)
            .header("x-user-id", format!("user-{}", nth % 7))
            .body(full(body))
            .unwrap();
        let reply = send.clone().send_request(request);
        let (answered, refused) = (answered.clone(), refused.clone());
        tokio::spawn(async move {
            let reply = reply.await.unwrap();
            let status = reply.status();
            if status == StatusCode::OK {
                reply.into_body().collect().await.unwrap();
                answered.fetch_add(1, Ordering::SeqCst);
            } else {
                assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
                let wait = reply.headers()["retry-after"].to_str().unwrap();
                assert!((1..=75).contains(&wait.parse::<u64>().unwrap()), "{wait}");
                refused.fetch_add(1, Ordering::SeqCst);
            }
        });
        tokio::time::sleep_until(start + Duration::from_millis(120 * (nth + 1))).await;
    }
    // Those in line have their answer before long; new ones there are none.
    let stats = stack.simulator("sim").unwrap().stats();
    assert_eq!(start.elapsed(), Duration::from_secs(60 * MINUTES));
    tokio::time::sleep(Duration::from_secs(90)).await;
    let after = stack.simulator("sim").unwrap().stats();
    Outcome {
        requests: stats.accepted,
        tokens: stats.tokens,
        refused_by_provider: after.refused_429,
        answered: answered.load(Ordering::SeqCst),
        refused_by_us: refused.load(Ordering::SeqCst),
    }
}

fn judge(outcome: &Outcome, what: &str, used: u64, allowed: u64) {
    println!(
        "{what}: {used} of {allowed} used ({:.1} %), {} answered, {} refused by us, {} by the provider",
        100.0 * used as f64 / allowed as f64,
        outcome.answered,
        outcome.refused_by_us,
        outcome.refused_by_provider
    );
    assert_eq!(outcome.refused_by_provider, 0, "{what}: the provider had to refuse");
    assert!(used * 100 >= allowed * 95, "{what}: {used} of {allowed} used");
    assert_eq!(
        outcome.answered + outcome.refused_by_us,
        MINUTES * 500,
        "{what}: a request was lost"
    );
}

#[tokio::test(start_paused = true)]
async fn bound_by_requests() {
    for limit in ["when_full: { wait: 15s }", "when_full: reject"] {
        let outcome = ten_times(limit, |_| 100).await;
        judge(&outcome, &format!("requests, {limit}"), outcome.requests, RPM * MINUTES);
    }
}

#[tokio::test(start_paused = true)]
async fn bound_by_tokens() {
    // About 1,400 tokens each, so that some 35 of them are a minute's worth.
    let bytes = |nth: u64| 3000 + usize::try_from(nth * 104_729 % 4000).unwrap();
    // How long a reply will be is a guess until it ends: the headroom is for wrong guesses.
    for limit in ["headroom: 2%, when_full: { wait: 15s }", "headroom: 2%, when_full: reject"] {
        let outcome = ten_times(limit, bytes).await;
        judge(&outcome, &format!("tokens, {limit}"), outcome.tokens, TPM * MINUTES);
    }
}
