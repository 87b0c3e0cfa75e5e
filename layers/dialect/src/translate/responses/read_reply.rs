use super::{finish, read_content, thought, usage};
use crate::{
    json::{At, Json, Object},
    translate::{
        Unreadable,
        hub::{Arguments, Body, Choice, Part, Reply},
    },
};

pub(crate) fn read_reply(json: Json<'_>) -> Result<Reply<'_>, Unreadable> {
    let at = At::Root;
    let mut response = json.into_object(&at)?;
    let items = response.array("output", &at)?;
    let items = items.ok_or_else(|| Unreadable("`output` is missing.".to_owned()))?;
    let mut choice = Choice::default();
    let mut logprobs = Vec::new();
    for (index, item) in items.into_iter().enumerate() {
        let at = At::Key(&at, "output");
        let at = at.index(index);
        let Json::Object(item) = item else { continue };
        read_item(item, &mut choice.parts, &mut logprobs, &at)?;
    }
    let called = choice.parts.iter().any(|part| matches!(part.body, Body::ToolCall { .. }));
    choice.finish = finish::finish(&response, called);
    if !logprobs.is_empty() {
        choice.logprobs = Some(Object::new().with("content", logprobs).into());
    }
    Ok(Reply {
        id: response.text("id", &at)?,
        model: response.text("model", &at)?,
        created: response.take("created_at").and_then(|created| seconds(&created)),
        choices: vec![choice],
        usage: response.get("usage").and_then(usage::read),
        service_tier: response.text("service_tier", &at)?,
    })
}

/// A time that may have decimals.
pub(super) fn seconds(time: &Json<'_>) -> Option<u64> {
    match time {
        Json::Number(time) => time.as_u64().or_else(|| time.as_f64().map(|seconds| seconds as u64)),
        _ => None,
    }
}

/// Reads an item of the output. Those of hosted tools, which no translated request has, say
/// nothing.
fn read_item<'a>(
    mut item: Object<'a>,
    parts: &mut Vec<Part<'a>>,
    logprobs: &mut Vec<Json<'a>>,
    at: &At<'_>,
) -> Result<(), Unreadable> {
    let kind = item.text("type", at)?.unwrap_or_default();
    match &*kind {
        "message" => {
            let content = item.array("content", at)?.unwrap_or_default();
            for part in content {
                let Json::Object(mut part) = part else { continue };
                if let Some(Json::Array(more)) = part.take("logprobs") {
                    logprobs.extend(more);
                }
                parts.extend(content_part(part));
            }
        }
        "function_call" => parts.push(Part::new(Body::ToolCall {
            id: item.text("call_id", at)?,
            name: item.need_text("name", at)?,
            arguments: Arguments::Text(item.text("arguments", at)?.unwrap_or_default()),
            signature: None,
        })),
        "reasoning" => parts.extend(thought::read(&mut item, at, &mut |_, _| {})?),
        _ => {}
    }
    Ok(())
}

fn content_part(mut part: Object<'_>) -> Option<Part<'_>> {
    match part.str("type")? {
        "output_text" => {
            let text = part.text("text", &At::Root).ok().flatten()?;
            let annotations = match part.take("annotations") {
                Some(Json::Array(annotations)) => annotations,
                _ => Vec::new(),
            };
            let citations = annotations.into_iter().filter_map(read_content::citation).collect();
            Some(Part::new(Body::Text { text, citations }))
        }
        "refusal" => {
            let text = part.text("refusal", &At::Root).ok().flatten()?;
            Some(Part::new(Body::Refusal(text)))
        }
        _ => None,
    }
}
