//! `logprobsResult`, and OpenAI's shape of the same.

use crate::json::{Json, Object};

/// The tokens chosen, each with its alternatives.
pub(super) fn read(result: Json<'_>) -> Option<Json<'_>> {
    let Json::Object(mut result) = result else { return None };
    let chosen = list(result.take("chosenCandidates")?);
    let top = result.take("topCandidates").map(list).unwrap_or_default();
    let mut top = top.into_iter();
    let tokens = chosen.into_iter().map(|token| {
        let others = top.next().and_then(|step| match step {
            Json::Object(mut step) => step.take("candidates"),
            _ => None,
        });
        let others = others.map(list).unwrap_or_default().into_iter().map(to_openai);
        to_openai(token).with("top_logprobs", others.collect::<Vec<_>>())
    });
    Some(Object::new().with("content", tokens.collect::<Vec<_>>()).into())
}

fn list(json: Json<'_>) -> Vec<Json<'_>> {
    match json {
        Json::Array(items) => items,
        _ => Vec::new(),
    }
}

fn to_openai(token: Json<'_>) -> Object<'_> {
    let Json::Object(mut token) = token else { return Object::new() };
    Object::new()
        .with("token", token.take("token").unwrap_or_else(|| "".into()))
        .with("logprob", token.take("logProbability").unwrap_or_else(|| 0u64.into()))
        .with("bytes", Json::Null)
}

/// From OpenAI's shape.
pub(super) fn write(logprobs: Json<'_>) -> Option<Json<'_>> {
    let Json::Object(mut logprobs) = logprobs else { return None };
    let (mut chosen, mut top) = (Vec::new(), Vec::new());
    for token in list(logprobs.take("content")?) {
        let Json::Object(mut token) = token else { continue };
        let others = token.take("top_logprobs").map(list).unwrap_or_default();
        let others = others.into_iter().filter_map(|token| match token {
            Json::Object(mut token) => Some(from_openai(&mut token)),
            _ => None,
        });
        top.push(Object::new().with("candidates", others.collect::<Vec<_>>()));
        chosen.push(from_openai(&mut token));
    }
    Some(Object::new().with("topCandidates", top).with("chosenCandidates", chosen).into())
}

fn from_openai<'a>(token: &mut Object<'a>) -> Object<'a> {
    Object::new()
        .with_some("token", token.take("token"))
        .with_some("logProbability", token.take("logprob"))
}
