//! The policy that holds, and how another takes its place.

use axum::{
    Json,
    extract::{RawQuery, State},
    response::{IntoResponse, Response},
};
use http::header;
use jiff::Timestamp;
use serde_json::json;

use super::{ApiError, App, Fields, Query, Reply, Sent};

/// `GET /policy`: the file as it may be shown.
pub(super) async fn show(State(admin): App, RawQuery(query): RawQuery) -> Reply {
    Query::parse(query.as_deref(), &[])?;
    let stack = admin.stack();
    let origin = &stack.policy().origin;
    let since = Timestamp::try_from(stack.since()).unwrap_or_default();
    Ok(Json(json!({
        "file": origin.name,
        "sha256": origin.sha256,
        "since": format!("{since:.3}"),
        "refused": (admin.views.refused)(),
        "warnings": stack.policy().warnings.iter().map(|warning| {
            json!({ "place": warning.place, "path": warning.path, "message": warning.message })
        }).collect::<Vec<_>>(),
        "text": &*origin.text,
    })))
}

/// `POST /reload`: the policy is read again.
pub(super) async fn reload(State(admin): App, sent: Sent) -> Result<Response, ApiError> {
    Fields::none(sent)?;
    let (status, answer) = (admin.views.reload)().await;
    Ok((status, [(header::CONTENT_TYPE, "application/json")], answer).into_response())
}
