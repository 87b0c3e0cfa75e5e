//! The admin listener: `/healthz`, `/readyz`, `/metrics`, and pages of JSON for who wants to know more.

mod decisions;

use std::{convert::Infallible, pin::Pin, sync::Arc};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::telemetry::Telemetry;

/// What the admin listener shows.
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
    /// Brings metrics up to date that nobody keeps so.
    pub refresh: Box<dyn Fn() + Send + Sync>,
    /// Providers and the state of their keys, as JSON.
    pub providers: Box<dyn Fn() -> String + Send + Sync>,
    /// What providers have told of their limits, as JSON.
    pub pacing: Box<dyn Fn() -> String + Send + Sync>,
    /// Figures of targets, as JSON.
    pub targets: Box<dyn Fn() -> String + Send + Sync>,
    /// How the whole stands, as JSON; and whether anything can be served at all.
    pub health: Box<dyn Fn() -> (bool, String) + Send + Sync>,
    /// The token that is asked for, if one is: all but the health checks need it
    /// (`Authorization: Bearer`).
    pub token: Box<dyn Fn() -> Option<SecretString> + Send + Sync>,
    /// Why the latest policy was refused, if it was.
    pub refused: Box<dyn Fn() -> Option<String> + Send + Sync>,
    /// Reads the policy again.
    pub reload: Box<dyn Fn() -> Answer + Send + Sync>,
}

/// What asks for the token, where there is one.
const PAGES: [&str; 6] = ["/metrics", "/health", "/providers", "/targets", "/decisions", "/pacing"];

/// Reads the policy again.
const RELOAD: &str = "/admin/v1/reload";

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
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => return,
            };
            let Ok((stream, _)) = accepted else {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                continue;
            };
            let (admin, stop) = (admin.clone(), stop.clone());
            tokio::spawn(async move {
                let service = hyper::service::service_fn(move |request| {
                    let admin = admin.clone();
                    async move {
                        Ok::<_, Infallible>(match request.uri().path() {
                            RELOAD => admin.reload(&request).await,
                            _ => admin.answer(&request),
                        })
                    }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .serve_connection(TokioIo::new(stream), service);
                tokio::select! {
                    _ = connection => {}
                    () = stop.cancelled() => {}
                }
            });
        }
    }

    async fn reload(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if request.method() != Method::POST {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only POST here\n");
        }
        if !self.allows(request) {
            return unauthorized();
        }
        let (status, body) = (self.views.reload)().await;
        let mut reply = json(body);
        *reply.status_mut() = status;
        reply
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD here\n");
        }
        match request.uri().path() {
            "/healthz" => text(StatusCode::OK, "ok\n"),
            "/readyz" if self.draining.is_cancelled() => {
                text(StatusCode::SERVICE_UNAVAILABLE, "draining\n")
            }
            "/readyz" => text(StatusCode::OK, self.ready()),
            page if PAGES.contains(&page) && !self.allows(request) => unauthorized(),
            "/providers" => json((self.views.providers)()),
            "/pacing" => json((self.views.pacing)()),
            "/targets" => json((self.views.targets)()),
            "/decisions" => {
                let query = request.uri().query().unwrap_or_default();
                match decisions::Asked::parse(query) {
                    Ok(asked) => json(asked.among(self.telemetry.decisions())),
                    Err(wrong) => text(StatusCode::BAD_REQUEST, wrong),
                }
            }
            "/health" => {
                let (serves, shown) = (self.views.health)();
                let mut reply = json(shown);
                if !serves {
                    *reply.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                }
                reply
            }
            "/metrics" => {
                (self.views.refresh)();
                let mut reply = text(StatusCode::OK, self.telemetry.render());
                reply.headers_mut().insert(
                    header::CONTENT_TYPE,
                    HeaderValue::from_static("text/plain; version=0.0.4"),
                );
                reply
            }
            _ => {
                let pages = PAGES.join(", ");
                let here =
                    format!("here are /healthz, /readyz, {pages}, and {RELOAD} to POST to\n");
                text(StatusCode::NOT_FOUND, here)
            }
        }
    }

    /// Ready by the policy that holds, and what is the matter with a later one. What a policy says is
    /// told only where everybody may read the other pages, too.
    fn ready(&self) -> String {
        match (self.views.refused)() {
            None => "ready\n".into(),
            Some(_) if (self.views.token)().is_some() => {
                "ready, by the policy before the latest one, which was refused\n".into()
            }
            Some(why) => {
                format!("ready, by the policy before the latest one, which was refused:\n\n{why}\n")
            }
        }
    }

    fn allows(&self, request: &Request<Incoming>) -> bool {
        let Some(token) = (self.views.token)() else { return true };
        let sent = request
            .headers()
            .get(header::AUTHORIZATION)
            .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        // Digests, so that neither length nor content shows in the time it takes.
        let digest = |bytes: &[u8]| Sha256::digest(bytes);
        sent.is_some_and(|sent| {
            digest(sent).ct_eq(&digest(token.expose_secret().as_bytes())).into()
        })
    }
}

fn unauthorized() -> Response<Full<Bytes>> {
    text(StatusCode::UNAUTHORIZED, "send the admin token as Authorization: Bearer\n")
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = status;
    reply
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    reply
}

fn json(body: String) -> Response<Full<Bytes>> {
    let mut reply = text(StatusCode::OK, body);
    let json = HeaderValue::from_static("application/json");
    reply.headers_mut().insert(header::CONTENT_TYPE, json);
    reply
}
