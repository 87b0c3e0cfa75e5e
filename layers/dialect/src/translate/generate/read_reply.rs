use super::{
    citations, finish, logprobs,
    part::{self, What},
    usage::Counts,
};
use crate::{
    BadRequest,
    json::{At, Json, Object},
    translate::{
        Unreadable,
        hub::{Arguments, Body, Choice, Finish, Part, Reply},
    },
};

pub(crate) fn read_reply(json: Json<'_>) -> Result<Reply<'_>, Unreadable> {
    let at = At::Root;
    let mut object = json.into_object(&at)?;
    let feedback = object.take("promptFeedback");
    let mut counts = Counts::default();
    let metadata = object.take("usageMetadata");
    let candidates = object.array("candidates", &at)?;
    if candidates.is_none() && feedback.is_none() && metadata.is_none() {
        return Err(Unreadable("It has no `candidates`.".to_owned()));
    }
    if let Some(metadata) = metadata {
        counts.update(&metadata);
    }
    let mut choices = Vec::new();
    for (index, candidate) in candidates.unwrap_or_default().into_iter().enumerate() {
        let at = at.key("candidates");
        let at = at.index(index);
        choices.push(choice(candidate.into_object(&at)?, index, &at)?);
    }
    if feedback.as_ref().is_some_and(blocked) {
        if choices.is_empty() {
            choices.push(Choice::default());
        }
        let unsaid = choices.iter_mut().filter(|choice| choice.finish.is_none());
        unsaid.for_each(|choice| choice.finish = Some(Finish::Filtered));
    }
    Ok(Reply {
        id: object.text("responseId", &at)?,
        model: object.text("modelVersion", &at)?,
        created: None,
        choices,
        usage: counts.usage(),
        service_tier: None,
    })
}

/// Whether a `promptFeedback` says that there is no answer to come.
pub(super) fn blocked(feedback: &Json<'_>) -> bool {
    feedback.as_object().is_some_and(|feedback| feedback.get("blockReason").is_some())
}

fn choice<'a>(
    mut candidate: Object<'a>,
    place: usize,
    at: &At<'_>,
) -> Result<Choice<'a>, BadRequest> {
    let index = index(&mut candidate, at)?.unwrap_or(u32::try_from(place).unwrap_or(u32::MAX));
    let mut parts = Vec::new();
    for (index, json) in content(&mut candidate, at)?.into_iter().enumerate() {
        add(part::read(json, &at.key("content").key("parts").index(index))?, &mut parts);
    }
    let called = parts.iter().any(|part| matches!(part.body, Body::ToolCall { .. }));
    let reason = candidate.text("finishReason", at)?;
    cite(&mut candidate, &mut parts);
    Ok(Choice {
        index,
        parts,
        finish: reason.and_then(|reason| finish::read(&reason, called)),
        stop_sequence: None,
        logprobs: candidate.take("logprobsResult").and_then(logprobs::read),
    })
}

pub(super) fn index(candidate: &mut Object<'_>, at: &At<'_>) -> Result<Option<u32>, BadRequest> {
    let index = candidate.u64("index", at)?;
    Ok(index.map(|index| u32::try_from(index).unwrap_or(u32::MAX)))
}

/// The parts of a candidate.
pub(super) fn content<'a>(
    candidate: &mut Object<'a>,
    at: &At<'_>,
) -> Result<Vec<Json<'a>>, BadRequest> {
    let Some(mut content) = candidate.object("content", at)? else { return Ok(Vec::new()) };
    Ok(content.array("parts", &at.key("content"))?.unwrap_or_default())
}

fn add<'a>(read: part::Read<'a>, parts: &mut Vec<Part<'a>>) {
    let mut signature = read.signature;
    match read.what {
        Some(What::Text(text)) if text.is_empty() => {}
        Some(What::Text(text)) => parts.push(Part::text(text)),
        Some(What::Thought(text)) if text.is_empty() => {}
        Some(What::Thought(text)) => {
            let signature = signature.take();
            part::add(parts, Body::Thinking { text, signature });
        }
        Some(What::Call { id, name, args }) => {
            let arguments = Arguments::Value(args.into());
            let signature = signature.take();
            parts.push(Part::new(Body::ToolCall { id, name, arguments, signature }));
        }
        Some(What::Media(body)) => parts.push(Part::new(body)),
        Some(What::Response { .. } | What::Foreign(..)) | None => {}
    }
    if let Some(signature) = signature {
        part::add(parts, part::lone(signature));
    }
}

fn cite<'a>(candidate: &mut Object<'a>, parts: &mut [Part<'a>]) {
    if candidate.get("citationMetadata").is_none() && candidate.get("groundingMetadata").is_none() {
        return;
    }
    let text: String = parts.iter().filter_map(Part::as_text).collect();
    let found = citations::take(candidate, Some(&text));
    let last = parts.iter_mut().rev().find_map(|part| match &mut part.body {
        Body::Text { citations, .. } => Some(citations),
        _ => None,
    });
    if let Some(citations) = last {
        citations.extend(found);
    }
}
