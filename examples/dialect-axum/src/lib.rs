//! An axum program with Tollway's dialect and cost layers: a small model server whose handler
//! writes plain OpenAI replies and knows nothing of metering, pricing or ledgers.
//!
//! ```text
//! cargo run -p example-dialect-axum
//! curl -i http://127.0.0.1:3000/v1/chat/completions -H 'content-type: application/json' \
//!      -d '{"model": "parrot", "messages": [{"role": "user", "content": "hello there"}]}'
//! ```
//!
//! With `"stream": true` the reply comes as events. With `"stream": "yes"` the request is refused
//! before the handler sees it. The program prints what each request used and cost.

use axum::{
    Extension, Json, Router,
    error_handling::HandleErrorLayer,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::post,
};
use serde_json::{Value, json};
use tollway_core::{BoxError, Hook, Target, find_error};
use tollway_cost::{CostLayer, Price, PriceBook, Record};
use tollway_dialect::{AttemptLayer, BadRequest, InspectLayer, openai};

/// The whole program; `ledger` is told every request when its reply has ended.
///
/// # Errors
/// When a price in it is no price.
pub fn app(ledger: impl Hook<Record> + Send + Sync + 'static) -> Result<Router, BoxError> {
    let mut book = PriceBook::builder();
    // USD per million tokens, in and out.
    book.add("home", "parrot", [], Price::flat("0.15".parse()?, "0.6".parse()?))?;
    let layers = (
        // axum's own services cannot fail, so a refusal is made an answer here.
        HandleErrorLayer::new(refuse),
        // Reads the request: leaves an `Ask` in its extensions, for whoever is further in.
        InspectLayer::new(),
        // Prices what the meter has read when the reply ends.
        CostLayer::new(book.build()).with_ledger(ledger),
        // Reads the reply as it passes: leaves a `Metered` in its extensions, for whoever is
        // further out. Asks for the usage of streams, and keeps it from callers who did not.
        AttemptLayer::new(),
    );
    Ok(Router::new().route("/v1/chat/completions", post(chat)).layer(layers))
}

/// The dialect's refusals know how an OpenAI client expects them.
async fn refuse(error: BoxError) -> Response {
    match find_error::<BadRequest>(&*error) {
        Some(refusal) => {
            (refusal.status(), [(CONTENT_TYPE, "application/json")], refusal.to_body())
                .into_response()
        }
        None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Repeats the last message; a word is a token. Nothing in here is Tollway's but the `Target`,
/// which says who served, so that a price can be found.
async fn chat(Json(ask): Json<Value>) -> Response {
    let model = ask["model"].as_str().unwrap_or_default();
    if model != "parrot" {
        let code = Some("model_not_found");
        let kind = "invalid_request_error";
        let body = openai::error::body("There is only a parrot here.", kind, Some("model"), code);
        let json = [(CONTENT_TYPE, "application/json")];
        return (StatusCode::NOT_FOUND, json, body).into_response();
    }
    let text = |message: &Value| message["content"].as_str().unwrap_or_default().to_owned();
    let messages = ask["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let words = |text: &str| text.split_whitespace().count();
    let input: usize = messages.iter().map(|message| words(&text(message))).sum();
    let answer = messages.last().map(text).unwrap_or_default();
    let output = words(&answer);
    let usage = json!({
        "prompt_tokens": input,
        "completion_tokens": output,
        "total_tokens": input + output,
    });
    let target = Extension(Target::new("home", "none", Some(model.into())));
    if ask["stream"] == true {
        let with_usage = ask["stream_options"]["include_usage"] == true;
        let events = events(&answer, with_usage.then_some(usage));
        return (target, [(CONTENT_TYPE, "text/event-stream")], events).into_response();
    }
    let message = json!({ "role": "assistant", "content": answer });
    let reply = json!({
        "object": "chat.completion",
        "model": model,
        "choices": [{ "index": 0, "message": message, "finish_reason": "stop" }],
        "usage": usage,
    });
    (target, Json(reply)).into_response()
}

/// The answer as a stream of events, a word each. A real server sends each when it is ready.
fn events(answer: &str, usage: Option<Value>) -> String {
    let event = |choices: Value, usage: &Value| {
        let chunk = json!({
            "object": "chat.completion.chunk",
            "model": "parrot",
            "choices": choices,
            "usage": usage,
        });
        format!("data: {chunk}\n\n")
    };
    let choice = |delta: Value, finish: Value| json!([{ "index": 0, "delta": delta, "finish_reason": finish }]);
    let words = answer.split_inclusive(' ');
    let mut events: String = words
        .map(|word| event(choice(json!({ "content": word }), Value::Null), &Value::Null))
        .collect();
    events += &event(choice(json!({}), json!("stop")), &Value::Null);
    if let Some(usage) = usage {
        events += &event(json!([]), &usage);
    }
    events + "data: [DONE]\n\n"
}
