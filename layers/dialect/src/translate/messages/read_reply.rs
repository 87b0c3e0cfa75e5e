use std::borrow::Cow;

use super::{
    super::{
        Form, Unreadable,
        hub::{Arguments, Body, Choice, Finish, Part, Reply, Signature, StreamError},
    },
    JSON_TOOL,
    read_content::{call_signature, signature, web_citation},
    stop, usage,
};
use crate::{
    BadRequest,
    anthropic::usage::Counts,
    json::{At, Json, Object},
};

pub(crate) fn read_reply(json: Json<'_>) -> Result<Reply<'_>, Unreadable> {
    let at = &At::Root;
    let mut object = json.into_object(at)?;
    if object.str("type") == Some("error") {
        let error = StreamError::read(&Json::Object(object).to_vec());
        return Err(Unreadable(error.message.into_owned()));
    }
    let mut choice = Choice::default();
    let blocks = object.array("content", at)?;
    let at_content = at.key("content");
    let blocks = blocks.ok_or_else(|| at_content.missing("an array"))?;
    let mut text_len = 0;
    for (index, block) in blocks.into_iter().enumerate() {
        let at = at_content.index(index);
        let part = part(block.into_object(&at)?, &mut choice.parts, &mut text_len, &at)?;
        choice.parts.extend(part);
    }
    choice.finish = object.text("stop_reason", at)?.and_then(|reason| stop::read(&reason));
    choice.stop_sequence = object.text("stop_sequence", at)?;
    if let Some(said) = explanation(object.take("stop_details")) {
        choice.parts.push(Part::new(Body::Refusal(said)));
    }
    let calls = choice.parts.iter().any(|part| matches!(part.body, Body::ToolCall { .. }));
    if choice.finish == Some(Finish::ToolCalls) && !calls {
        // The only call was the answer itself.
        choice.finish = Some(Finish::Stop);
    }
    let usage = object.take("usage").unwrap_or(Json::Null);
    let mut counts = Counts::default();
    usage::merge(&mut counts, &usage);
    let tier = match usage {
        Json::Object(mut usage) => usage.text("service_tier", at)?,
        _ => None,
    };
    Ok(Reply {
        id: object.text("id", at)?,
        model: object.text("model", at)?,
        created: None,
        choices: vec![choice],
        usage: counts.usage(),
        service_tier: tier.map(|tier| match &*tier {
            "standard" => Cow::Borrowed("default"),
            _ => tier,
        }),
    })
}

/// Why the model refused, in words for the user.
pub(super) fn explanation(details: Option<Json<'_>>) -> Option<Cow<'_, str>> {
    let Some(Json::Object(mut details)) = details else { return None };
    match details.take("explanation") {
        Some(Json::String(said)) if !said.is_empty() => Some(said),
        _ => None,
    }
}

fn part<'a>(
    mut block: Object<'a>,
    before: &mut Vec<Part<'a>>,
    text_len: &mut u64,
    at: &At<'_>,
) -> Result<Option<Part<'a>>, BadRequest> {
    let kind = block.need_text("type", at)?;
    let body = match &*kind {
        "text" => {
            let text = block.need_text("text", at)?;
            let start = *text_len;
            *text_len += text.chars().count() as u64;
            let mut citations = Vec::new();
            for citation in block.array("citations", at)?.unwrap_or_default() {
                let Json::Object(citation) = citation else { continue };
                citations.extend(web_citation(citation));
            }
            for citation in &mut citations {
                citation.range = Some((start, *text_len));
            }
            Body::Text { text, citations }
        }
        "tool_use" => {
            let name = block.need_text("name", at)?;
            let input = block.take("input").unwrap_or_else(|| Object::new().into());
            if name == JSON_TOOL {
                let text = input.to_text();
                *text_len += text.chars().count() as u64;
                return Ok(Some(Part::text(text)));
            }
            let arguments = Arguments::Value(input);
            let signature = call_signature(before);
            Body::ToolCall { id: block.text("id", at)?, name, arguments, signature }
        }
        "thinking" => {
            let signature = block.text("signature", at)?.and_then(signature);
            Body::Thinking { text: block.text("thinking", at)?.unwrap_or_default(), signature }
        }
        "redacted_thinking" => {
            Body::Redacted(Signature::read(Form::Messages, block.need_text("data", at)?))
        }
        // What the provider's own tools did: none was asked for.
        _ => return Ok(None),
    };
    Ok(Some(Part::new(body)))
}
