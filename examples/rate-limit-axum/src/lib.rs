//! An axum program with Tollway's rate-limit layer and nothing else of Tollway: two requests a
//! second for each user, and a bound on how many run at once.
//!
//! ```text
//! cargo run -p example-rate-limit-axum
//! for i in 1 2 3; do curl -i http://127.0.0.1:3000/ -H 'x-user: ann'; done
//! curl -i http://127.0.0.1:3000/limits -H 'x-user: ann'
//! ```

use std::time::Duration;

use axum::{
    Extension, Json, Router,
    error_handling::HandleErrorLayer,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::json;
use tollway_core::{BoxError, Hook, find_error};
use tollway_rate_limit::{
    ConfigError, Event, Handle, Key, Limit, LimitExceeded, Quota, RateLimitLayer, Rule, Unit,
};

/// The whole program; `hook` hears of refusals.
///
/// # Errors
/// When a limit in it can't work.
pub fn app(hook: impl Hook<Event> + Send + Sync + 'static) -> Result<Router, ConfigError> {
    // Never more than two in any second, wherever the second begins. `Quota::TokenBucket` would
    // allow bursts instead, `Quota::Calendar` is for budgets by day or month.
    let second = Duration::from_secs(1);
    let per_user = Limit::new("per-user", Quota::SlidingWindow { amount: 2, window: second })?;
    let at_once = Limit::new("at-once", Quota::Concurrent { amount: 100 })?;
    let rules = [
        Rule::new(per_user, Unit::Requests).key(|request| Some(user(&request.headers))),
        // No `key`: everybody shares one quota. A place is held until the reply's body has ended.
        Rule::new(at_once, Unit::Requests),
    ];
    // `()` settles nothing: a request counts as one, whatever became of it.
    let limits = RateLimitLayer::builder(rules, ()).hook(hook).build()?;
    let handle = limits.handle();
    Ok(Router::new()
        .route("/", get(async || "You are within your limits.\n"))
        // axum's own services cannot fail, so the layer's refusal is made an answer here.
        .layer((HandleErrorLayer::new(refuse), limits))
        // Added after the layer, so not limited.
        .route("/limits", get(standing))
        .layer(Extension(handle)))
}

/// Whose quota: a rule whose key is `None` doesn't apply, so who gives no name is somebody too. A
/// real program goes by a credential that it has checked.
fn user(headers: &HeaderMap) -> Key {
    headers.get("x-user").and_then(|name| name.to_str().ok()).unwrap_or("nobody").into()
}

/// The refusal knows its headers: `Retry-After`, `RateLimit` and `RateLimit-Policy` (the IETF's
/// draft), and the `x-ratelimit-*` that OpenAI's clients read.
async fn refuse(error: BoxError) -> Response {
    let Some(refusal) = find_error::<LimitExceeded>(&*error) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let body = json!({ "error": {
        "code": "rate_limit_exceeded",
        "limit": &**refusal.limit(),
        "message": refusal.to_string(),
    }});
    let mut response = (StatusCode::TOO_MANY_REQUESTS, Json(body)).into_response();
    refusal.write_headers(response.headers_mut());
    response
}

/// How the caller stands. Reading takes nothing.
async fn standing(Extension(limits): Extension<Handle>, headers: HeaderMap) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    if let Some(standing) = limits.standing("per-user", &user(&headers)) {
        standing.write_headers(response.headers_mut());
    }
    response
}
