//! Calls of a webhook: signed, bounded in time and number, tried again.

use std::{fmt, future::Future, time::Duration};

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use secrecy::ExposeSecret;
use sha2::Sha256;
use tokio::{sync::mpsc, task::JoinSet};
use tollway_core::WallClock;

use super::alert::{Alert, hex};
use crate::{
    policy::{self, Secret},
    upstream::tls_config,
};

/// Alerts that are on their way at the same time.
const AT_ONCE: usize = 8;
/// The wait before the second call; each one is twice as long as the last, up to the longest.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// `t=UNIX,v1=HEX`: HMAC-SHA256 of `UNIX.BODY` by the policy's secret.
const SIGNATURE: &str = "x-tollway-signature";
const ID: &str = "x-tollway-alert";

/// Why a webhook can't be called as the policy says.
#[derive(Debug)]
pub struct WebhookError(String);

impl fmt::Display for WebhookError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for WebhookError {}

pub(super) struct Webhook {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    uri: Uri,
    secret: Secret,
    timeout: Duration,
    retries: u32,
    first_wait: Duration,
}

/// How a call ended that brought nothing.
enum Failed {
    /// Another one may do better.
    ForNow(String),
    ForGood(String),
}

impl Webhook {
    pub(super) fn new(config: &policy::Webhook) -> Result<Self, WebhookError> {
        // The address is as secret as a password: services put their token into it.
        let wrong = |what: &str| WebhookError(format!("the webhook's url {what}"));
        let uri = config.url.expose_secret().parse().map_err(|_| wrong("is none"))?;
        let tls = tls_config(None).map_err(|error| WebhookError(error.to_string()))?;
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_connect_timeout(Some(config.timeout));
        let https = HttpsConnectorBuilder::new().with_tls_config((*tls).clone()).https_or_http();
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_max_idle_per_host(1)
            .build(https.enable_http1().wrap_connector(http));
        let policy::Webhook { secret, timeout, retries, .. } = config.clone();
        Ok(Self { client, uri, secret, timeout, retries, first_wait: FIRST_WAIT })
    }

    /// Calls until somebody takes it, or nobody will.
    pub(super) async fn deliver(&self, alert: &Alert, clock: &dyn WallClock) -> Result<(), String> {
        let body = Bytes::from(alert.json().to_string());
        let mut tried = 0;
        loop {
            let why = match self.call(alert, body.clone(), clock).await {
                Ok(()) => return Ok(()),
                Err(Failed::ForGood(why)) => return Err(why),
                Err(Failed::ForNow(why)) => why,
            };
            if tried >= self.retries {
                return Err(format!("{why}; {} calls", u64::from(tried) + 1));
            }
            tokio::time::sleep(wait(self.first_wait, tried, random())).await;
            tried += 1;
        }
    }

    async fn call(&self, alert: &Alert, body: Bytes, clock: &dyn WallClock) -> Result<(), Failed> {
        let now = clock.now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs();
        let signature = sign(self.secret.expose_secret(), now, &body);
        let request = Request::post(self.uri.clone())
            .header(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .header(header::USER_AGENT, concat!("tollway/", env!("CARGO_PKG_VERSION")))
            .header(ID, &alert.id)
            .header(SIGNATURE, signature)
            .body(Full::new(body))
            .map_err(|_| Failed::ForGood("no request can be made of it".into()))?;
        match tokio::time::timeout(self.timeout, self.client.request(request)).await {
            Ok(Ok(reply)) => judge(reply.status()),
            // Its text may hold the address.
            Ok(Err(error)) if error.is_connect() => Err(Failed::ForNow("no connection".into())),
            Ok(Err(_)) => Err(Failed::ForNow("the connection failed".into())),
            Err(_) => Err(Failed::ForNow(format!("no answer within {:?}", self.timeout))),
        }
    }
}

fn judge(status: StatusCode) -> Result<(), Failed> {
    let why = format!("status {}", status.as_u16());
    match status.as_u16() {
        200..=299 => Ok(()),
        408 | 425 | 429 | 500..=599 => Err(Failed::ForNow(why)),
        _ => Err(Failed::ForGood(why)),
    }
}

/// Half of it fixed, half by chance, so that instances don't call in step.
fn wait(first: Duration, tried: u32, random: u64) -> Duration {
    let whole = first.saturating_mul(1 << tried.min(16)).min(LONGEST_WAIT);
    whole / 2 + (whole / 2).mul_f64((random >> 11) as f64 / (1u64 << 53) as f64)
}

/// Without entropy all wait alike, which is no reason not to.
fn random() -> u64 {
    let mut bytes = [0; 8];
    let _ = getrandom::fill(&mut bytes);
    u64::from_ne_bytes(bytes)
}

fn sign(secret: &str, now: u64, body: &[u8]) -> String {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(format!("{now}.").as_bytes());
    mac.update(body);
    format!("t={now},v1={}", hex(&mac.finalize().into_bytes()))
}

/// Takes alerts from the queue as long as there are places, and delivers them beside each other.
pub(super) async fn run<F: Future<Output = ()> + Send + 'static>(
    mut waiting: mpsc::Receiver<Alert>,
    deliver: impl Fn(Alert) -> F,
) {
    let mut calls = JoinSet::new();
    loop {
        tokio::select! {
            Some(alert) = waiting.recv(), if calls.len() < AT_ONCE => {
                calls.spawn(deliver(alert));
            }
            Some(_) = calls.join_next() => {}
            else => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Figures of another implementation: `printf '%s' '1700000000.{}' | openssl dgst -sha256 -hmac secret`.
    #[test]
    fn signatures_are_those_of_openssl() {
        assert_eq!(
            sign("secret", 1_700_000_000, b"{}"),
            "t=1700000000,v1=b8569b78799ff9e3cbff0fc2d63a33a2b57f3282abd07c37ae5e8e7d79a5f163"
        );
    }

    #[test]
    fn waits_double_up_to_a_bound_and_vary_by_half() {
        let second = Duration::from_secs(1);
        assert_eq!(wait(second, 0, 0), second / 2);
        assert!(wait(second, 0, u64::MAX) <= second);
        assert_eq!(wait(second, 3, 0), 4 * second);
        assert_eq!(wait(second, u32::MAX, 0), LONGEST_WAIT / 2);
    }
}
