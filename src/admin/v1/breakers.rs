//! Circuits of targets and keys that are set aside.

use axum::{
    Json,
    extract::{RawQuery, State},
};
use serde_json::{Value, json};
use tokio::time::Instant;
use tollway_circuit_breaker as breaker;

use super::{
    ApiError, App, Fields, Query, Reply, Sent,
    names::{name, provider},
};
use crate::stack::{Circuit, Credential, Stack};

/// `GET /breakers`: every circuit that has seen a request, and every key that was ever set aside.
pub(super) async fn show(State(admin): App, RawQuery(query): RawQuery) -> Reply {
    let query = Query::parse(query.as_deref(), &["provider"])?;
    let stack = admin.stack();
    let wanted = |provider: &str| query.get("provider").is_none_or(|asked| asked == provider);
    let now = Instant::now();
    let mut circuits: Vec<_> = stack
        .breakers()
        .list()
        .iter()
        .filter(|status| wanted(status.key.target.provider()))
        .map(|status| (status.key.target.to_string(), circuit(status, now)))
        .collect();
    circuits.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut keys: Vec<_> = stack
        .benches()
        .list()
        .iter()
        .filter(|status| wanted(&status.key.provider))
        .map(|status| (format!("{}/{}", status.key.provider, status.key.key), key(status, now)))
        .collect();
    keys.sort_by(|(a, _), (b, _)| a.cmp(b));
    if let (Some(asked), true) = (query.get("provider"), circuits.is_empty() && keys.is_empty()) {
        provider(&stack, asked)?;
    }
    let shown = |all: Vec<(String, Value)>| all.into_iter().map(|(_, it)| it).collect::<Vec<_>>();
    let sharing = stack.sharing();
    let sharing = sharing.map(|it| json!({ "instance": it.instance(), "away": it.away() }));
    Ok(Json(json!({ "breakers": shown(circuits), "keys": shown(keys), "sharing": sharing })))
}

fn circuit(status: &breaker::Status<Circuit>, now: Instant) -> Value {
    let Circuit { target, credential } = &status.key;
    let mut shown = stands(status, now);
    shown["provider"] = (&**target.provider()).into();
    shown["model"] = target.model().map(|model| &**model).into();
    shown["key"] = (&**target.key()).into();
    shown["client"] = credential.as_deref().into();
    shown
}

fn key(status: &breaker::Status<Credential>, now: Instant) -> Value {
    let mut shown = stands(status, now);
    shown["provider"] = (&*status.key.provider).into();
    shown["key"] = (&*status.key.key).into();
    shown["client"] = status.key.own.as_deref().into();
    shown
}

fn stands<K>(status: &breaker::Status<K>, now: Instant) -> Value {
    let until = match status.state {
        breaker::State::Open { until }
        | breaker::State::Benched { until }
        | breaker::State::Advised { until } => Some(until),
        _ => None,
    };
    let left = |until: Instant| until.saturating_duration_since(now).as_secs_f64().ceil();
    let advice = |said: &breaker::Advice| json!({ "from": &*said.from, "reason": &*said.why, "seconds_left": left(said.until) });
    let failure = status.last_failure.map(|(class, at)| {
        let ago = now.saturating_duration_since(at).as_secs();
        json!({ "class": class.as_str(), "seconds_ago": ago })
    });
    json!({
        "state": status.state.as_str(),
        "seconds_left": until.map(left),
        "reason": status.reason.as_ref().map(ToString::to_string),
        "failures_in_a_row": status.failures_in_a_row,
        "last_failure": failure,
        "advice": status.advice.iter().map(advice).collect::<Vec<_>>(),
    })
}

/// Which circuits are meant.
struct Asked {
    provider: String,
    model: Option<String>,
}

impl Asked {
    fn of_body(sent: Sent, stack: &Stack) -> Result<Self, ApiError> {
        let fields = Fields::parse(sent, &["provider", "model"])?;
        let model = fields.text("model")?.map(|model| name("model", model)).transpose()?;
        let Some(asked) = fields.text("provider")? else {
            return Err(ApiError::bad("provider", "say which provider"));
        };
        Ok(Self { provider: provider(stack, asked)?.to_owned(), model: model.map(str::to_owned) })
    }
}

/// `POST /breakers/reset`: circuits are closed, and their past is forgotten.
pub(super) async fn reset(State(admin): App, sent: Sent) -> Reply {
    let stack = admin.stack();
    let Asked { provider, model } = Asked::of_body(sent, &stack)?;
    match stack.reset_circuits(&provider, model.as_deref()) {
        0 => Err(ApiError::not_found("no such circuit has seen a request")),
        count => {
            tracing::info!(%provider, count, "an operator reset circuits");
            Ok(Json(json!({ "reset": count })))
        }
    }
}

/// `POST /breakers/open`: no request goes there until it is reset.
pub(super) async fn open(State(admin): App, sent: Sent) -> Reply {
    let stack = admin.stack();
    let Asked { provider, model } = Asked::of_body(sent, &stack)?;
    if stack.policy().circuit_breaker.is_none() {
        let message = "the policy has no `circuit_breaker`, so nothing would hold requests back";
        return Err(ApiError::conflict(message));
    }
    let opened = stack.open_circuits(&provider, model.as_deref());
    tracing::warn!(%provider, targets = opened.len(), "an operator opened circuits");
    let targets: Vec<_> = opened.iter().map(ToString::to_string).collect();
    Ok(Json(json!({ "opened": targets })))
}
