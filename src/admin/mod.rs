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
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{stack::Stack, telemetry::Telemetry};

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

    /// The token that is asked for, if one is: all but the health checks need it.
    fn token(&self) -> Option<SecretString> {
        self.stack().policy().admin.token.clone()
    }

    /// Whether who sent these headers may see and do what needs the token.
    fn allows(&self, headers: &HeaderMap) -> bool {
        let Some(token) = self.token() else { return true };
        let sent = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        // Digests, so that neither length nor content shows in the time it takes.
        let digest = |bytes: &[u8]| Sha256::digest(bytes);
        sent.is_some_and(|sent| {
            digest(sent).ct_eq(&digest(token.expose_secret().as_bytes())).into()
        })
    }
}
