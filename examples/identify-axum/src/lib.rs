//! An axum program with Tollway's identify layer and nothing else of Tollway: only who shows a key
//! gets in, and is told who they are.
//!
//! ```text
//! cargo run -p example-identify-axum
//! curl -i http://127.0.0.1:3000/whoami
//! curl -i http://127.0.0.1:3000/whoami -H 'authorization: Bearer THE-KEY-IT-PRINTED'
//! ```

use std::net::{IpAddr, SocketAddr};

use axum::{
    Extension, Json, Router,
    error_handling::HandleErrorLayer,
    extract::{ConnectInfo, Request},
    http::{HeaderName, StatusCode, header::WWW_AUTHENTICATE},
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::{Value, json};
use tollway_core::{BoxError, Caller, PeerAddr, find_error};
use tollway_identify::{Config, ConfigError, IdentifyLayer, Key, KeySet, Source, Unauthorized};

/// The whole program. A proxy on this machine may name the user of a shared key.
///
/// Serve it with `into_make_service_with_connect_info::<SocketAddr>()`, which tells the peer.
///
/// # Errors
/// When the keys contradict each other.
pub fn app(keys: impl IntoIterator<Item = Key>) -> Result<Router, ConfigError> {
    let user_header = HeaderName::from_static("x-user-id");
    let identify = IdentifyLayer::new(Config {
        keys: KeySet::new(keys)?,
        sources: vec![Source::Key, Source::Header { name: user_header, from_proxies_only: true }],
        trusted_proxies: vec![IpAddr::from([127, 0, 0, 1]).into()],
        ..Config::default()
    })?;
    Ok(Router::new()
        .route("/whoami", get(whoami))
        // axum's own services cannot fail, so the layer's refusal is made an answer here.
        .layer((from_fn(tell_peer), HandleErrorLayer::new(refuse), identify)))
}

/// Hands the address that axum knows to the layer.
async fn tell_peer(mut request: Request, next: Next) -> Response {
    if let Some(ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<SocketAddr>>().copied()
    {
        request.extensions_mut().insert(PeerAddr(peer));
    }
    next.run(request).await
}

async fn refuse(error: BoxError) -> Response {
    match find_error::<Unauthorized>(&*error) {
        Some(refusal) => {
            let body = Json(json!({ "error": refusal.to_string() }));
            (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Bearer")], body).into_response()
        }
        None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn whoami(Extension(caller): Extension<Caller>) -> Json<Value> {
    let tags = caller.tags.iter().map(|(name, value)| (name.to_string(), json!(&**value)));
    Json(json!({
        "user": caller.user.as_deref(),
        "key": caller.key.as_deref(),
        "ip": caller.ip.map(|ip| ip.to_string()),
        "tags": tags.collect::<serde_json::Map<_, _>>(),
    }))
}
