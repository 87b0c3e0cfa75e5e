use std::borrow::Cow;

use super::super::{
    Form, Loss,
    hub::{Arguments, Body, Citation, Part, Request, Signature, Source},
};
use crate::{
    BadRequest,
    json::{At, Json, Object},
};

/// A message's `content`, the `system`, or what a tool said: a string, or blocks.
pub(super) fn parts<'a>(
    content: Json<'a>,
    request: &mut Request<'a>,
    at: &At<'_>,
) -> Result<Vec<Part<'a>>, BadRequest> {
    let blocks = match content {
        Json::String(text) => return Ok(vec![Part::text(text)]),
        Json::Array(blocks) => blocks,
        other => return Err(at.expected("a string or an array of blocks", &other)),
    };
    let mut parts = Vec::with_capacity(blocks.len());
    for (index, block) in blocks.into_iter().enumerate() {
        let at = at.index(index);
        read_block(block.into_object(&at)?, request, &mut parts, &at)?;
    }
    Ok(parts)
}

fn read_block<'a>(
    mut block: Object<'a>,
    request: &mut Request<'a>,
    parts: &mut Vec<Part<'a>>,
    at: &At<'_>,
) -> Result<(), BadRequest> {
    let kind = block.need_text("type", at)?;
    let cache_control = block.take("cache_control");
    let before = parts.len();
    let body = match &*kind {
        "text" => {
            let citations = citations(block.take("citations"), request);
            Body::Text { text: block.need_text("text", at)?, citations }
        }
        "image" => {
            let from = at.key("source");
            let mut image = block.object("source", at)?.ok_or_else(|| from.missing(OBJECT))?;
            let source = source(&mut image, &from)?;
            request.left(image, "messages.content.source");
            Body::Image { source, detail: None }
        }
        "document" => return document(block, cache_control, request, parts, at),
        "search_result" => return search_result(block, cache_control, request, parts, at),
        "tool_use" => {
            let signature = call_signature(parts);
            Body::ToolCall {
                id: block.text("id", at)?,
                name: block.need_text("name", at)?,
                arguments: Arguments::Value(block.object("input", at)?.unwrap_or_default().into()),
                signature,
            }
        }
        "tool_result" => {
            let said = block.take("content");
            let content = said.map(|said| self::parts(said, request, &at.key("content")));
            Body::ToolResult {
                id: Some(block.need_text("tool_use_id", at)?),
                name: None,
                content: content.transpose()?.unwrap_or_default(),
                is_error: block.bool("is_error", at)?.unwrap_or(false),
            }
        }
        "thinking" => {
            let signature = block.text("signature", at)?.and_then(signature);
            Body::Thinking { text: block.need_text("thinking", at)?, signature }
        }
        "redacted_thinking" => {
            Body::Redacted(Signature::read(Form::Messages, block.need_text("data", at)?))
        }
        // The summary that stands for what was said before.
        "compaction" => Body::Text {
            text: block.text("content", at)?.unwrap_or_default(),
            citations: Vec::new(),
        },
        other => {
            // What a provider's own tool did is of no use to another; what came of it is told in
            // the text that follows.
            let own = other.ends_with("_tool_use") || other.ends_with("_tool_result");
            let loss = if own { Loss::Harmless } else { Loss::Meaning };
            request.extra(format!("messages.content.{}", short(other)), Json::Null, loss);
            return Ok(());
        }
    };
    parts.push(Part::new(body));
    finish(block, cache_control, request, parts, before);
    Ok(())
}

const OBJECT: &str = "an object";

/// A name that the client made up, as far as it is worth telling.
pub(super) fn short(name: &str) -> &str {
    name.char_indices().nth(64).and_then(|(end, _)| name.get(..end)).unwrap_or(name)
}

/// What all blocks have in common: a mark for the cache, and what nobody knew.
fn finish<'a>(
    block: Object<'a>,
    cache_control: Option<Json<'a>>,
    request: &mut Request<'a>,
    parts: &mut [Part<'a>],
    before: usize,
) {
    if let Some(last) = parts.get_mut(before..).and_then(<[_]>::last_mut) {
        last.cache_control = cache_control.or(last.cache_control.take());
    }
    request.left(block, "messages.content");
}

fn source<'a>(from: &mut Object<'a>, at: &At<'_>) -> Result<Source<'a>, BadRequest> {
    let kind = from.need_text("type", at)?;
    match &*kind {
        "url" => Ok(Source::Url(from.need_text("url", at)?)),
        "file" => Ok(Source::File(from.need_text("file_id", at)?)),
        "base64" => Ok(Source::Data {
            mime: from.need_text("media_type", at)?,
            data: from.need_text("data", at)?,
        }),
        _ => Err(at.key("type").bad("must be \"base64\", \"url\" or \"file\"")),
    }
}

fn document<'a>(
    mut block: Object<'a>,
    cache_control: Option<Json<'a>>,
    request: &mut Request<'a>,
    parts: &mut Vec<Part<'a>>,
    at: &At<'_>,
) -> Result<(), BadRequest> {
    let before = parts.len();
    let mut title = block.text("title", at)?;
    wants_citations(&mut block, request);
    let context = block.text("context", at)?;
    let from = at.key("source");
    let mut source = block.object("source", at)?.ok_or_else(|| from.missing(OBJECT))?;
    // Texts are sent as texts: every provider reads those, and few read documents.
    let inner = match source.str("type") {
        Some("text") => {
            source.take("type");
            // It can be nothing but plain.
            source.take("media_type");
            Some(vec![Part::text(source.need_text("data", &from)?)])
        }
        Some("content") => {
            source.take("type");
            let content = source.take("content");
            let at = from.key("content");
            let content = content.ok_or_else(|| at.missing("a string or an array of blocks"))?;
            Some(self::parts(content, request, &at)?)
        }
        _ => None,
    };
    if inner.is_some() {
        parts.extend(title.take().map(Part::text));
    }
    parts.extend(context.map(Part::text));
    match inner {
        Some(inner) => parts.extend(inner),
        None => {
            let source = self::source(&mut source, &from)?;
            parts.push(Part::new(Body::Document { source, name: title }));
        }
    }
    request.left(source, "messages.content.source");
    finish(block, cache_control, request, parts, before);
    Ok(())
}

/// A piece of the client's own search: other forms have no name for it, but it is text.
fn search_result<'a>(
    mut block: Object<'a>,
    cache_control: Option<Json<'a>>,
    request: &mut Request<'a>,
    parts: &mut Vec<Part<'a>>,
    at: &At<'_>,
) -> Result<(), BadRequest> {
    let before = parts.len();
    wants_citations(&mut block, request);
    parts.extend(block.text("title", at)?.map(Part::text));
    parts.extend(block.text("source", at)?.map(Part::text));
    if let Some(content) = block.take("content") {
        parts.extend(self::parts(content, request, &at.key("content"))?);
    }
    finish(block, cache_control, request, parts, before);
    Ok(())
}

fn wants_citations<'a>(block: &mut Object<'a>, request: &mut Request<'a>) {
    match block.take("citations") {
        None => {}
        Some(Json::Object(mut wanted)) => {
            if wanted.take("enabled") == Some(Json::Bool(true)) {
                request.extra("messages.content.citations", Json::Bool(true), Loss::Harmless);
            }
            request.left(wanted, "messages.content.citations");
        }
        Some(other) => request.extra("messages.content.citations", other, Loss::Harmless),
    }
}

/// Of an earlier answer: web pages are known elsewhere too.
fn citations<'a>(list: Option<Json<'a>>, request: &mut Request<'a>) -> Vec<Citation<'a>> {
    let list = match list {
        Some(Json::Array(list)) => list,
        Some(other) => vec![other],
        None => return Vec::new(),
    };
    let mut known = Vec::new();
    for citation in list {
        let citation = match citation {
            Json::Object(citation) => web_citation(citation),
            _ => None,
        };
        match citation {
            Some(citation) => known.push(citation),
            None => request.extra("messages.content.citations", Json::Null, Loss::Harmless),
        }
    }
    known
}

/// One that has an URL; others point into the client's own documents.
pub(super) fn web_citation(mut citation: Object<'_>) -> Option<Citation<'_>> {
    let mut text = |key| match citation.take(key) {
        Some(Json::String(text)) => Some(text),
        _ => None,
    };
    Some(Citation {
        url: text("url")?,
        title: text("title"),
        range: None,
        quote: text("cited_text"),
    })
}

/// `None`: the thought was not signed, whatever stands there for clients' sake.
pub(super) fn signature(text: Cow<'_, str>) -> Option<Signature<'_>> {
    Signature::read(Form::Messages, text).some()
}

/// The signature that stands before a call, in a block of its own, because here calls have none.
pub(super) fn call_signature<'a>(parts: &mut Vec<Part<'a>>) -> Option<Signature<'a>> {
    match parts.last() {
        Some(Part { body: Body::Redacted(signature), .. }) if signature.of == Form::Generate => {}
        _ => return None,
    }
    match parts.pop()?.body {
        Body::Redacted(signature) => Some(signature),
        _ => None,
    }
}

/// The block that [`call_signature`] finds again.
pub(super) fn signature_block<'a>(data: Cow<'a, str>) -> Object<'a> {
    Object::new().with("type", "redacted_thinking").with("data", data)
}
