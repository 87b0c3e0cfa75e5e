//! `/healthz`, `/readyz`, `/metrics`, and pages of JSON for who wants to know more.

use std::sync::Arc;

use axum::extract::{Request, State};
use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body_util::Full;
use tollway_route::Health;

use super::{Admin, UNAUTHORIZED, decisions, v1};
use crate::stack::KeyScope;

/// What asks for the token, where there is one.
const PAGES: [&str; 6] = ["/metrics", "/health", "/providers", "/targets", "/decisions", "/pacing"];

type Page = Response<Full<Bytes>>;

/// Whatever is not of the API.
pub(super) async fn answer(
    State(admin): State<Arc<Admin>>,
    request: Request,
) -> Response<axum::body::Body> {
    admin.page(&request).map(axum::body::Body::new)
}

impl Admin {
    fn page(&self, request: &Request) -> Page {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD here\n");
        }
        match request.uri().path() {
            "/healthz" => text(StatusCode::OK, "ok\n"),
            "/readyz" if self.draining.is_cancelled() => {
                text(StatusCode::SERVICE_UNAVAILABLE, "draining\n")
            }
            "/readyz" => text(StatusCode::OK, self.ready()),
            page if PAGES.contains(&page)
                && self.operator(request.headers(), KeyScope::AdminRead).is_err() =>
            {
                text(StatusCode::UNAUTHORIZED, format!("{UNAUTHORIZED}\n"))
            }
            "/providers" => json(self.stack().providers().json()),
            "/pacing" => json(self.stack().show_pacing()),
            "/targets" => json(self.stack().show_targets()),
            "/decisions" => {
                let query = request.uri().query().unwrap_or_default();
                match decisions::Asked::parse(query) {
                    Ok(asked) => json(asked.among(self.telemetry.decisions())),
                    Err(wrong) => text(StatusCode::BAD_REQUEST, wrong),
                }
            }
            "/health" => {
                let (health, shown) = self.stack().show_health();
                let mut reply = json(shown);
                if health == Health::Down {
                    *reply.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                }
                reply
            }
            "/metrics" => {
                self.stack().refresh_metrics();
                let mut reply = text(StatusCode::OK, self.telemetry.render());
                reply.headers_mut().insert(
                    header::CONTENT_TYPE,
                    HeaderValue::from_static("text/plain; version=0.0.4"),
                );
                reply
            }
            _ => {
                let pages = PAGES.join(", ");
                let api = v1::PREFIX;
                let here = format!(
                    "here are /healthz, /readyz, {pages}, and what {api}/openapi.json lists\n"
                );
                text(StatusCode::NOT_FOUND, here)
            }
        }
    }

    /// Ready by the policy that holds, and what is the matter: with a later one, or with a store,
    /// without which traffic goes on. Why it is so is told only where everybody may read the other
    /// pages, too.
    fn ready(&self) -> String {
        let stack = self.stack();
        let refused = (self.views.refused)()
            .map(|why| (", by the policy before the latest one, which was refused", why));
        let unwritten = stack.ledger_writer().and_then(|writer| writer.stats().failing);
        let unsaved = stack.request_limits().unsaved().or_else(|| stack.attempt_limits().unsaved());
        let amiss = [
            refused,
            unwritten.map(|why| ("; the ledger can't be written", why)),
            unsaved.map(|why| ("; what limits have counted can't be saved", why)),
            stack.limits_trouble().map(|why| ("; the Redis of limits can't be asked", why)),
            stack
                .documents_trouble()
                .map(|why| ("; keys and quotas made at run time can't be read or kept", why)),
        ];
        let (mut what, mut whys) = ("ready".to_owned(), String::new());
        for (told, why) in amiss.into_iter().flatten() {
            what += told;
            whys = format!("{whys}\n{why}\n");
        }
        let open = !self.has_token() && !whys.is_empty();
        if open { format!("{what}:\n{whys}") } else { format!("{what}\n") }
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Page {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = status;
    reply
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    reply
}

fn json(body: String) -> Page {
    let mut reply = text(StatusCode::OK, body);
    let json = HeaderValue::from_static("application/json");
    reply.headers_mut().insert(header::CONTENT_TYPE, json);
    reply
}
