use serde_json::{Value, json};

use super::{
    super::future::{Answer, Exchange},
    json,
};

/// What the list of models shows; any other name is answered too.
const MODELS: [&str; 4] =
    ["gemini-2.5-flash", "gemini-2.5-pro", "gemini-3.8-flash", "gemini-embedding-001"];

fn model_object(name: &str) -> Value {
    let verbs: &[&str] = if name.contains("embedding") {
        &["embedContent", "batchEmbedContents", "countTokens"]
    } else {
        &["generateContent", "countTokens"]
    };
    json!({
        "name": format!("models/{name}"), "version": "001", "displayName": name,
        "description": "A simulated model", "inputTokenLimit": 1_048_576, "outputTokenLimit": 65_536,
        "supportedGenerationMethods": verbs, "temperature": 1, "topP": 0.95, "topK": 64,
        "maxTemperature": 2, "thinking": true,
    })
}

/// `GET /models`
pub(super) fn models(x: &Exchange) -> Answer {
    let models: Vec<Value> = MODELS.iter().map(|name| model_object(name)).collect();
    json(x, &json!({"models": models}), (0, 0))
}

/// `GET /models/{name}`
pub(super) fn model(x: &Exchange, name: &str) -> Answer {
    json(x, &model_object(name), (0, 0))
}
