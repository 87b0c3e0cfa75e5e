//! The admin listener: pages for people and monitors, and the API under `/admin/v1` for programs and
//! the command line.

mod decisions;
mod pages;
mod query;
mod v1;

use std::{pin::Pin, sync::Arc};

use axum::Router;
use http::{HeaderMap, StatusCode, header};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use secrecy::ExposeSecret;
use subtle::ConstantTimeEq;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tollway_identify::KeyDigest;

use crate::{
    stack::{KeyScope, Stack},
    telemetry::Telemetry,
};

pub use v1::OPENAPI;

/// What the admin listener shows, and does.
pub struct Admin {
    telemetry: Telemetry,
    /// Cancelled once the program drains.
    draining: CancellationToken,
    views: Views,
}

/// What somebody waits for: a status and JSON.
pub type Answer = Pin<Box<dyn Future<Output = (StatusCode, String)> + Send>>;

/// What the admin listener asks for when it is asked.
pub struct Views {
    /// The stack of the policy that holds.
    pub stack: Box<dyn Fn() -> Arc<Stack> + Send + Sync>,
    /// Why the latest policy was refused, if it was.
    pub refused: Box<dyn Fn() -> Option<String> + Send + Sync>,
    /// Reads the policy again.
    pub reload: Box<dyn Fn() -> Answer + Send + Sync>,
}

impl std::fmt::Debug for Views {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Views").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admin").finish_non_exhaustive()
    }
}

impl Admin {
    /// Shows `telemetry` and `views`; not ready any more once `draining` is cancelled.
    pub fn new(telemetry: Telemetry, draining: CancellationToken, views: Views) -> Self {
        Self { telemetry, draining, views }
    }

    /// Serves until `stop`.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) {
        let admin = Arc::new(self);
        let pages = Router::new().fallback(pages::answer).with_state(admin.clone());
        let service = TowerToHyperService::new(pages.nest(v1::PREFIX, v1::router(admin)));
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => return,
            };
            let Ok((stream, _)) = accepted else {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                continue;
            };
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service.clone());
            tokio::spawn(stop.clone().run_until_cancelled_owned(connection));
        }
    }

    fn stack(&self) -> Arc<Stack> {
        (self.views.stack)()
    }

    /// Whether a token is asked for: by all but the health checks.
    fn has_token(&self) -> bool {
        self.stack().policy().admin.token.is_some()
    }

    /// Who sent these headers, if they may do that; else what is said to them.
    fn operator(&self, headers: &HeaderMap, what: KeyScope) -> Result<Operator, &'static str> {
        let stack = self.stack();
        let sent = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.as_bytes().split_at_checked(b"Bearer ".len()))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"Bearer "))
            .map(|(_, token)| token);
        // Digests, so that neither length nor content shows in the time it takes.
        let sent = sent.map(KeyDigest::of);
        let token = stack.policy().admin.token.as_ref();
        let token = token.map(|token| KeyDigest::of(token.expose_secret()));
        if let (Some(sent), Some(token)) = (&sent, &token)
            && sent.as_bytes().ct_eq(token.as_bytes()).into()
        {
            return Ok(Operator("the admin token".into()));
        }
        if let Some(name) = sent.and_then(|sent| stack.key_for(&sent, what)) {
            return Ok(Operator(format!("key {name}").into()));
        }
        if token.is_none() {
            return Ok(Operator("anybody: the policy has no admin token".into()));
        }
        let reads = |sent| stack.key_for(&sent, KeyScope::AdminRead).is_some();
        Err(if sent.is_some_and(reads) { READS_ONLY } else { UNAUTHORIZED })
    }
}

/// Who asks, for the log: never what they sent.
#[derive(Clone, Debug)]
struct Operator(Arc<str>);

/// What is said to who shows no token.
const UNAUTHORIZED: &str = "send the admin token as Authorization: Bearer";
/// What is said to who may look.
const READS_ONLY: &str = "this key may only read here: its scope is admin:read, not admin";
