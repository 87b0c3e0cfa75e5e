//! A hyper program with Tollway's route layer and nothing else of Tollway: it tells where a call
//! for a model would go and why. A real program would send it there.
//!
//! ```text
//! cargo run -p example-route-hyper
//! curl http://127.0.0.1:3000/gpt-4o-mini
//! curl http://127.0.0.1:3000/fast
//! curl http://127.0.0.1:3000/gtp-4o-mini
//! ```

use std::convert::Infallible;

use hyper::{Request, Response, StatusCode, server::conn::http1};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tollway_core::{Ask, BoxError, Operation, Plan, Target, find_error};
use tollway_route::{
    Availability, BadHeader, ConfigError, Event, Group, Match, Member, Refusal, Route, RouteLayer,
    Router, Strategy,
};
use tower::{Layer, ServiceExt, service_fn};

/// Three routes: one model with a fallback, a family split by weight, and an alias into it.
///
/// # Errors
/// When the routes contradict each other.
pub fn router() -> Result<Router, ConfigError> {
    let target = |provider: &str, model: Option<&str>| {
        Target::new(provider, "default", model.map(Into::into))
    };
    let claude = Group::new(
        Strategy::Failover,
        [target("anthropic", None).into(), target("groq", Some("llama")).into()],
    );
    let gpt = Group::new(
        Strategy::Weighted,
        [Member::new(target("openai", None)).weighing(3), target("azure", None).into()],
    );
    let claude = Route::new("claude", Match::model("claude-*".parse()?), claude);
    let gpt = Route::new("gpt", Match::model("gpt-*".parse()?), gpt);
    Router::with_aliases([claude, gpt], [("fast", "gpt-4o-mini")])
}

/// Answers connections on `listener` for ever. `state` says which targets are out.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    state: fn(&Target) -> Availability,
) -> Result<(), BoxError> {
    let layer = RouteLayer::with(router, state, |event: &Event| match event {
        Event::Routed(plan) => eprintln!("route {}", plan.route),
        other => eprintln!("{other:?}"),
    });
    let service = layer.layer(service_fn(explain)).map_result(answer).map_request(with_ask);
    loop {
        let (stream, _) = listener.accept().await?;
        let service = TowerToHyperService::new(service.clone());
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                eprintln!("connection: {error}");
            }
        });
    }
}

/// The path names the model.
fn with_ask<B>(mut request: Request<B>) -> Request<B> {
    let model = request.uri().path().trim_matches('/').to_owned();
    request.extensions_mut().insert(Ask::new(Operation::ChatCompletions).with_model(model));
    request
}

async fn explain<B>(request: Request<B>) -> Result<Response<Value>, Infallible> {
    let Some(plan) = request.extensions().get::<Plan>() else {
        return Ok(Response::new(Value::Null));
    };
    let candidate = |c: &tollway_core::Candidate| json!([c.target.to_string(), c.reason]);
    let rejected = |r: &tollway_core::Rejected| json!([r.target.to_string(), r.reason]);
    Ok(Response::new(json!({
        "route": &*plan.route,
        "strategy": plan.strategy,
        "candidates": plan.candidates.iter().map(candidate).collect::<Vec<_>>(),
        "rejected": plan.rejected.iter().map(rejected).collect::<Vec<_>>(),
    })))
}

/// Makes an answer of the layer's refusal.
fn answer(result: Result<Response<Value>, BoxError>) -> Result<Response<String>, BoxError> {
    let mut response = result.or_else(|error| {
        let (status, code) = match find_error::<Refusal>(&*error) {
            Some(Refusal::NoRoute(_)) => (StatusCode::NOT_FOUND, "model_not_found"),
            Some(_) => (StatusCode::BAD_REQUEST, "no_capable_target"),
            None if find_error::<BadHeader>(&*error).is_some() => {
                (StatusCode::BAD_REQUEST, "invalid_header")
            }
            None => return Err(error),
        };
        let body = json!({ "error": { "code": code, "message": error.to_string() } });
        let mut response = Response::new(body);
        *response.status_mut() = status;
        Ok(response)
    })?;
    response.headers_mut().insert("content-type", "application/json".parse()?);
    Ok(response.map(|body| format!("{body}\n")))
}
