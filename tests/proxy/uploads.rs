//! Large uploads stream through without being held.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use http::{Method, Request, Version};
use http_body_util::BodyExt;
use tokio::sync::mpsc;
use tollway::rate_limit::Key;

use super::support::*;

const MIB: usize = 1 << 20;
const SIZE: usize = 64 * MIB;

/// Counts and throws away; tells how much has come.
async fn counting() -> (std::net::SocketAddr, Arc<AtomicU64>, mpsc::UnboundedReceiver<(String, u64)>)
{
    let count = Arc::new(AtomicU64::new(0));
    let (tell, told) = mpsc::unbounded_channel();
    let counter = count.clone();
    let address = provider(move |request| {
        let (counter, tell) = (counter.clone(), tell.clone());
        async move {
            let length = request.headers().get("content-length");
            let length = length.map_or("none", |length| length.to_str().unwrap()).to_owned();
            let mut body = request.into_body();
            let mut sum = 0;
            while let Some(Ok(frame)) = body.frame().await {
                let data = frame.into_data().unwrap();
                counter.fetch_add(data.len() as u64, Ordering::SeqCst);
                sum += data.iter().map(|byte| u64::from(*byte)).sum::<u64>();
            }
            tell.send((length, sum)).unwrap();
            reply(200, &[JSON], r#"{"text":"done"}"#)
        }
    })
    .await;
    (address, count, told)
}

async fn upload(path: &str, prefix: Bytes, h2: bool, length: bool) {
    let (address, count, mut told) = counting().await;
    let proxy = Running::before(address);
    let (send, body) = pipe();
    let mut request =
        Request::post(proxy.uri(path)).header("content-type", "multipart/form-data; boundary=xyz");
    if length {
        request = request.header("content-length", SIZE);
    }
    let request = request.body(body).unwrap();
    let client = if h2 { client_h2() } else { client() };
    let reply = tokio::spawn(client.request(request));
    // The rest is made only after the provider has the beginning: it can't have been held back.
    let first = [&prefix[..], &vec![1; MIB - prefix.len()]].concat();
    let mut sum = first.iter().map(|byte| u64::from(*byte)).sum::<u64>();
    send.send(first.into()).await.unwrap();
    // Up to a chunk may lie in a buffer on the way.
    until("the provider has most of the first part", || {
        count.load(Ordering::SeqCst) > MIB as u64 / 2
    })
    .await;
    let block = Bytes::from(vec![2; MIB]);
    for _ in 1..SIZE / MIB {
        within("room for more", send.send(block.clone())).await.unwrap();
        sum += 2 * MIB as u64;
    }
    drop(send);
    let got = Reply::read(within("a reply", reply).await.unwrap().unwrap()).await;
    assert_eq!((got.status.as_u16(), got.text().as_str()), (200, r#"{"text":"done"}"#));
    assert_eq!(got.version, if h2 { Version::HTTP_2 } else { Version::HTTP_11 });
    let (seen_length, seen_sum) = told.recv().await.unwrap();
    assert_eq!(count.load(Ordering::SeqCst), SIZE as u64);
    assert_eq!(seen_sum, sum, "the same bytes");
    assert_eq!(seen_length, if length { SIZE.to_string() } else { "none".to_owned() });
}

fn form() -> Bytes {
    "--xyz\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n\
     --xyz\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.mp3\"\r\n\r\n"
        .into()
}

#[tokio::test]
async fn a_multipart_form() {
    upload("/v1/audio/transcriptions", form(), false, true).await;
}

#[tokio::test]
async fn a_multipart_form_of_unknown_length_over_http2() {
    upload("/v1/audio/transcriptions", form(), true, false).await;
}

#[tokio::test]
async fn a_file() {
    upload("/v1/files", Bytes::new(), false, false).await;
}

#[tokio::test]
async fn a_file_without_a_model_in_its_first_bytes() {
    // The file comes before the model: the search for it must end.
    let late = "--xyz\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.mp3\"\r\n\r\n";
    upload("/v1/audio/transcriptions", late.into(), false, true).await;
}

const GUARDED: &str = "
server: { max_upload: 64KiB }
limits: [{ name: places, per: all, concurrent: 5 }, { name: all, per: all, requests: 1000/day }]
circuit_breaker: { open_after: 1 failures, recover_after: 30s }
retry: { attempts: 3, backoff: { first: 1ms, max: 1ms } }
";
const CAP: usize = 64 << 10;

/// Tells whether a body came whole, also where its reader is dropped.
struct Whole(bool, mpsc::UnboundedSender<bool>);

impl Whole {
    fn note(&mut self, whole: bool) {
        self.0 = whole;
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        let _ = self.1.send(self.0);
    }
}

fn bounded(address: std::net::SocketAddr, http2: &str) -> Running {
    let options = format!("auth: passthrough, http2: {http2}");
    Running::new(&format!(
        "{GUARDED}providers:\n  up: {{ base_url: \"http://{address}/v1\", {options} }}\n\
         \x20 other: {{ simulate: {{}} }}\nroutes: [{{ targets: [up, other] }}]\n"
    ))
}

/// Nobody is blamed, nothing is held, nobody else was asked.
async fn blameless(proxy: &Running, other: &str) {
    until("nothing is held", || {
        let places = proxy.stack().request_limits().standing("places", &Key::All);
        proxy.is_idle() && places.is_none_or(|places| places.held == 0)
    })
    .await;
    let circuits = proxy.stack().breakers().list();
    assert!(circuits.iter().all(|circuit| circuit.failures_in_a_row == 0), "{circuits:?}");
    assert_eq!(proxy.sim(other).stats().requests, 0, "sent nowhere else");
    let metrics = proxy.telemetry().render();
    let retried = metrics.lines().any(|line| line.starts_with("tollway_retries_total{"));
    assert!(!retried, "{metrics}");
}

#[tokio::test]
async fn an_upload_that_says_it_is_too_large_is_refused_at_once() {
    let (address, _, mut told) = counting().await;
    let proxy = bounded(address, "never");
    for path in ["/v1/files", "/v1/audio/transcriptions", "/v1/invented"] {
        // Nothing of the body is sent, and yet there is an answer.
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
             content-type: multipart/form-data; boundary=xyz\r\ncontent-length: {}\r\n\r\n",
            CAP + 1
        );
        let reply = raw(proxy.address(), head.as_bytes()).await.unwrap();
        assert_eq!(reply.status, 413, "{reply:?}");
        assert_eq!(reply.error().code.as_deref(), Some("request_too_large"));
    }
    blameless(&proxy, "other").await;
    assert!(told.try_recv().is_err(), "the provider was not asked");
}

#[tokio::test]
async fn an_upload_that_proves_too_large_on_its_way_is_nobody_elses_fault() {
    for http2 in ["never", "only"] {
        let (tell, mut told) = mpsc::unbounded_channel();
        let frames = Arc::new(AtomicU64::new(0));
        let counter = frames.clone();
        let address = provider(move |request| {
            let (come, mut seen) = (counter.clone(), Whole(false, tell.clone()));
            async move {
                let mut body = request.into_body();
                let whole = loop {
                    match body.frame().await {
                        Some(Ok(_)) => come.fetch_add(1, Ordering::SeqCst),
                        end => break end.is_none(),
                    };
                };
                seen.note(whole);
                reply(200, &[JSON], "{}")
            }
        })
        .await;
        let proxy = bounded(address, http2);
        for path in ["/v1/files", "/v1/audio/transcriptions"] {
            let (send, body) = pipe();
            let kind = "multipart/form-data; boundary=xyz";
            let request = Request::post(proxy.uri(path)).header("content-type", kind);
            let sending = tokio::spawn(client_h2().request(request.body(body).unwrap()));
            let before = frames.load(Ordering::SeqCst);
            for part in [form(), vec![1; CAP - form().len()].into()] {
                within("room for more", send.send(part)).await.unwrap();
            }
            until("it comes in", || frames.load(Ordering::SeqCst) > before).await;
            within("room for more", send.send(Bytes::from_static(b"!"))).await.unwrap();
            // The upload is still open.
            let got = Reply::read(within("a reply", sending).await.unwrap().unwrap()).await;
            assert_eq!(got.status, 413, "{http2} {path} {got:?}");
            assert_eq!(got.error().code.as_deref(), Some("request_too_large"));
            assert_eq!(within("an end", told.recv()).await, Some(false), "upstream is cancelled");
        }
        blameless(&proxy, "other").await;
    }
    // The simulated provider is a provider like any other.
    let proxy = Running::new(&format!(
        "{GUARDED}providers: {{ sim: {{ simulate: {{}} }}, other: {{ simulate: {{}} }} }}\nroutes: [{{ targets: [sim, other] }}]\n"
    ));
    let got = proxy.post("/v1/files", vec![1; CAP + 1]).await;
    assert_eq!(got.status, 413, "{got:?}");
    let (send, body) = pipe();
    let sending =
        tokio::spawn(client().request(Request::post(proxy.uri("/v1/files")).body(body).unwrap()));
    within("room", send.send(vec![1; CAP + 1].into())).await.unwrap();
    let got = Reply::read(within("a reply", sending).await.unwrap().unwrap()).await;
    assert_eq!(got.status, 413, "{got:?}");
    blameless(&proxy, "other").await;
}

#[tokio::test]
async fn an_upload_of_exactly_the_most_passes() {
    let recording = Recording::new(|_| reply(200, &[JSON], "{}")).await;
    let proxy = bounded(recording.address, "never");
    let whole: Vec<u8> = (0..CAP).map(|at| (at % 251) as u8).collect();
    let got = proxy.send(Method::POST, "/v1/files", &[], whole.clone()).await;
    assert_eq!(got.status, 200, "{got:?}");
    assert!(recording.last().body == whole);
    let (send, body) = pipe();
    let request = Request::post(proxy.uri("/v1/files")).body(body).unwrap();
    let sending = tokio::spawn(client().request(request));
    for part in whole.chunks(1000) {
        within("room for more", send.send(part.to_vec().into())).await.unwrap();
    }
    drop(send);
    let got = Reply::read(within("a reply", sending).await.unwrap().unwrap()).await;
    assert_eq!(got.status, 200, "{got:?}");
    assert!(recording.last().body == whole);
}

/// Not a word for 50 ms in the middle of an upload: the client's fault, not the provider's.
#[tokio::test]
async fn an_upload_that_stalls_is_408() {
    let (address, ..) = counting().await;
    let policy = provider_at(address) + &GUARDED.replace("max_upload: 64KiB", "body_timeout: 50ms");
    let proxy = Running::new(
        &(policy + "routes: [{ targets: [up, other] }]\n")
            .replace("auth: passthrough }\n", "auth: passthrough }\n  other: { simulate: {} }\n"),
    );
    let (send, body) = pipe();
    let request = Request::post(proxy.uri("/v1/files")).body(body).unwrap();
    let sending = tokio::spawn(client().request(request));
    within("room", send.send(Bytes::from_static(b"some"))).await.unwrap();
    let got = Reply::read(within("a reply", sending).await.unwrap().unwrap()).await;
    assert_eq!(got.status, 408, "{got:?}");
    blameless(&proxy, "other").await;
}
