//! The API: JSON in, JSON out, every route behind the token. `openapi.json` says what each takes and
//! gives, and a test holds it to that.

mod body;
mod breakers;
mod costs;
mod error;
mod expiry;
mod history;
mod keys;
mod limits;
mod names;
mod policy;
mod quotas;

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, RawQuery, Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{MethodRouter, delete, get, post},
};
use http::{Method, header};
use serde_json::Value;

use super::{Admin, query::Query};

use crate::stack::KeyScope;

pub(super) use error::ApiError;

use body::{Fields, Sent};

/// What all its paths begin with.
pub(super) const PREFIX: &str = "/admin/v1";

/// What it takes and gives, as OpenAPI 3.1.
pub const OPENAPI: &str = include_str!("../openapi.json");

/// The most that a request may hold, in bytes.
const LARGEST: usize = 64 << 10;

type App = State<Arc<Admin>>;

/// What every handler gives.
type Reply = Result<Json<Value>, ApiError>;

fn routes() -> Vec<(&'static str, MethodRouter<Arc<Admin>>)> {
    vec![
        ("/openapi.json", get(openapi)),
        ("/limits", get(limits::config)),
        ("/limits/status", get(limits::status)),
        ("/limits/buckets", get(limits::buckets)),
        ("/limits/quotas", get(quotas::show).post(quotas::set).delete(quotas::remove)),
        ("/limits/reset", post(limits::reset)),
        ("/limits/cleanup", post(limits::cleanup)),
        ("/limits/stats", get(history::stats)),
        ("/limits/violations", get(history::violations)),
        ("/costs", get(costs::show)),
        ("/keys", get(keys::list).post(keys::create)),
        ("/keys/{name}", delete(keys::revoke)),
        ("/breakers", get(breakers::show)),
        ("/breakers/reset", post(breakers::reset)),
        ("/breakers/open", post(breakers::open)),
        ("/policy", get(policy::show)),
        ("/reload", post(policy::reload)),
    ]
}

/// To be nested under [`PREFIX`].
pub(super) fn router(admin: Arc<Admin>) -> Router {
    let all = routes().into_iter();
    all.fold(Router::new(), |router, (path, methods)| router.route(path, methods))
        .method_not_allowed_fallback(async || ApiError::method())
        .fallback(nothing_here)
        .layer(DefaultBodyLimit::max(LARGEST))
        .layer(middleware::from_fn_with_state(admin.clone(), guard))
        .with_state(admin)
}

async fn guard(State(admin): App, mut request: Request, next: Next) -> Response {
    let what = match *request.method() {
        Method::GET | Method::HEAD => KeyScope::AdminRead,
        _ => KeyScope::Admin,
    };
    match admin.operator(request.headers(), what) {
        Ok(operator) => _ = request.extensions_mut().insert(operator),
        Err(denied) => return ApiError::unauthorized(denied).into_response(),
    }
    // A browser sends it with what pages of other origins post: where no token is asked for, those
    // could reach what listens on 127.0.0.1.
    if request.headers().contains_key(header::ORIGIN) && request.method() != Method::GET {
        return ApiError::unauthorized("pages in a browser may change nothing here")
            .into_response();
    }
    // No query is known to what changes anything.
    if *request.method() == Method::POST
        && let Err(wrong) = Query::parse(request.uri().query(), &[])
    {
        return wrong.into_response();
    }
    next.run(request).await
}

async fn nothing_here(request: Request) -> ApiError {
    let path = request.uri().path();
    let paths: Vec<&str> = routes().into_iter().map(|(path, _)| path).collect();
    let path: String = path.chars().take(80).collect();
    let near = crate::policy::nearest(&path, paths);
    let help = match near {
        Some(near) => format!("; did you mean {PREFIX}{near}?"),
        None => format!("; {PREFIX}/openapi.json lists what is"),
    };
    ApiError::not_found(format!("{PREFIX}{path} is not here{help}"))
}

async fn openapi(RawQuery(query): RawQuery) -> Result<impl IntoResponse, ApiError> {
    Query::parse(query.as_deref(), &[])?;
    Ok(([(header::CONTENT_TYPE, "application/json")], OPENAPI))
}

/// For what may take longer than a moment: reading a store, walking many keys.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(ApiError::failed("the answer could not be made")))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The methods are held to the document by tests over a socket.
    #[test]
    fn the_document_lists_the_routes_and_no_others() {
        let document: Value = serde_json::from_str(OPENAPI).unwrap();
        let documented: BTreeSet<String> =
            document["paths"].as_object().unwrap().keys().cloned().collect();
        let paths = routes().into_iter().map(|(path, _)| format!("{PREFIX}{path}"));
        assert_eq!(documented, paths.collect());
    }
}
