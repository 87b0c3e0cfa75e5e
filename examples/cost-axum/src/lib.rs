//! An axum program with Tollway's cost layer and nothing else of Tollway: a small model server
//! that answers in OpenAI's shape, prices each reply and shows who spent what.
//!
//! ```text
//! cargo run -p example-cost-axum
//! curl -i http://127.0.0.1:3000/v1/chat/completions -H 'x-user: ann' -H 'content-type: application/json' \
//!      -d '{"model": "parrot", "messages": [{"role": "user", "content": "hello there"}]}'
//! curl http://127.0.0.1:3000/spent
//! ```

use axum::{
    Extension, Json, Router,
    extract::Request,
    middleware::{Next, from_fn},
    response::Response,
    routing::{get, post},
};
use serde_json::{Value, json};
use tollway_core::{BoxError, Caller, Hook, Metered, Target, Usage};
use tollway_cost::{CostLayer, Dimension, Price, PriceBook, Record, Totals};

/// The whole program; `ledger` is told every request when its reply has ended.
///
/// # Errors
/// When a price in it is no price.
pub fn app(ledger: impl Hook<Record> + Send + Sync + 'static) -> Result<Router, BoxError> {
    let mut book = PriceBook::builder();
    // USD per million tokens, in and out.
    book.add("home", "parrot", [], Price::flat("0.15".parse()?, "0.6".parse()?))?;
    let cost = CostLayer::new(book.build()).with_ledger(ledger);
    let totals = cost.totals().clone();
    Ok(Router::new()
        .route("/v1/chat/completions", post(chat))
        .layer(cost)
        // Layers added later run earlier: the caller is known when the cost layer looks.
        .layer(from_fn(identify))
        .route("/spent", get(spent))
        .layer(Extension(totals)))
}

/// Says who is calling. A real program checks a credential here.
async fn identify(mut request: Request, next: Next) -> Response {
    let mut caller = Caller::default();
    caller.user = request.headers().get("x-user").and_then(|v| v.to_str().ok()).map(Into::into);
    request.extensions_mut().insert(caller);
    next.run(request).await
}

type Reply = (Extension<Metered>, Extension<Target>, Json<Value>);

/// Repeats the last message; a word is a token. What was used and which model served travel to
/// the cost layer in the response's extensions.
async fn chat(Json(ask): Json<Value>) -> Reply {
    let messages = ask["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let words = |message: &Value| {
        message["content"].as_str().unwrap_or_default().split_whitespace().count() as u64
    };
    let input = messages.iter().map(words).sum();
    let last = messages.last().unwrap_or(&Value::Null);
    let usage = Usage::new(input, words(last));

    let meter = Metered::default();
    meter.report(usage);
    let model = ask["model"].as_str().unwrap_or("parrot");
    let reply = json!({
        "object": "chat.completion",
        "model": model,
        "choices": [{
            "index": 0,
            "message": { "role": "assistant", "content": last["content"] },
            "finish_reason": "stop",
        }],
        "usage": {
            "prompt_tokens": usage.input,
            "completion_tokens": usage.output,
            "total_tokens": usage.total(),
        },
    });
    (Extension(meter), Extension(Target::new("home", "none", Some(model.into()))), Json(reply))
}

/// What each user has spent, by day and by month.
async fn spent(Extension(totals): Extension<Totals>) -> Json<Value> {
    let rows = totals.snapshot().into_iter().filter(|row| row.dimension == Dimension::User);
    let row = |row: tollway_cost::Row| {
        json!({
            "user": &*row.key,
            "period": row.period.to_string(),
            "requests": row.total.requests,
            "tokens": row.total.usage.total(),
            "usd": row.total.cost.to_string(),
        })
    };
    Json(rows.map(row).collect())
}
