//! `:embedContent` and `:batchEmbedContents`.

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;

use super::{
    super::{
        State,
        embed::vector,
        future::{Answer, Exchange},
        text::message_tokens,
    },
    JSON, Outcome, admit, proto,
    read::{self, Checked, wrong},
};

pub(super) fn one(state: &State, x: &mut Exchange, model: &str) -> Outcome {
    let request = read::body(&x.body, &proto::EMBED)?;
    let (embedding, tokens) = embed(x, &request, model, "EmbedContentRequest")?;
    admit(state, x, model, tokens)?;
    Ok(reply(x, &One { embedding }, tokens))
}

pub(super) fn several(state: &State, x: &mut Exchange, model: &str) -> Outcome {
    let request = read::body(&x.body, &proto::BATCH_EMBED)?;
    let requests = request.get("requests").and_then(Value::as_array);
    let requests = requests.map_or(&[][..], Vec::as_slice);
    if requests.is_empty() {
        return wrong("* BatchEmbedContentsRequest.requests: requests is not specified\n");
    }
    let (mut embeddings, mut total) = (Vec::new(), 0u64);
    for (n, request) in requests.iter().enumerate() {
        let path = format!("BatchEmbedContentsRequest.requests[{n}]");
        let named = request.get("model").and_then(Value::as_str).unwrap_or_default();
        if named.is_empty() {
            return wrong(format!("* {path}.model: model is not specified\n"));
        }
        if named.strip_prefix("models/") != Some(model) {
            return wrong(format!("* {path}.model: model must match the one in the URL\n"));
        }
        let (embedding, tokens) = embed(x, request, model, &path)?;
        embeddings.push(embedding);
        total = total.saturating_add(tokens);
    }
    admit(state, x, model, total)?;
    Ok(reply(x, &Several { embeddings }, total))
}

#[derive(Serialize)]
struct Embedding {
    values: Vec<f32>,
}

#[derive(Serialize)]
struct One {
    embedding: Embedding,
}

#[derive(Serialize)]
struct Several {
    embeddings: Vec<Embedding>,
}

fn reply(x: &Exchange, embedded: &impl Serialize, tokens: u64) -> Answer {
    let bytes = Bytes::from(serde_json::to_vec(embedded).unwrap_or_default());
    super::whole(x, JSON, bytes, (0, tokens))
}

fn embed(x: &Exchange, request: &Value, model: &str, path: &str) -> Checked<(Embedding, u64)> {
    let parts = request.get("content").and_then(|content| content.get("parts")?.as_array());
    let texts = parts.into_iter().flatten().filter_map(|part| part.get("text")?.as_str());
    let text: String = texts.collect();
    if text.is_empty() {
        return wrong(format!("* {path}.content: contents.parts must not be empty.\n"));
    }
    let usual = if model.starts_with("text-embedding") { 768 } else { 3072 };
    let dimensions = request.get("outputDimensionality").and_then(Value::as_i64).unwrap_or(usual);
    let dimensions = u32::try_from(dimensions).ok().filter(|n| (1..=3072).contains(n));
    let Some(dimensions) = dimensions else {
        return wrong(format!("* {path}.output_dimensionality: must be in the range [1, 3072]\n"));
    };
    let tokens = message_tokens(text.len());
    let values = vector(x.config.seed, &text, tokens, dimensions);
    Ok((Embedding { values }, tokens))
}
