//! `citationMetadata` and `groundingMetadata`: where an answer is taken from.

use std::borrow::Cow;

use crate::{
    json::{Json, Object},
    translate::hub::Citation,
};

/// What a candidate tells of its sources, as far as they have an address. Their places are counted
/// in bytes of the `text`; without it they are not told.
pub(super) fn take<'a>(candidate: &mut Object<'a>, text: Option<&str>) -> Vec<Citation<'a>> {
    let mut citations = Vec::new();
    if let Some(Json::Object(mut metadata)) = candidate.take("citationMetadata") {
        let sources = metadata.take_either(["citationSources", "citations"]);
        for source in list(sources) {
            let Json::Object(mut source) = source else { continue };
            let Some(Json::String(url)) = source.take("uri") else { continue };
            let title = string(source.take("title"));
            let range = range(&source, text);
            citations.push(Citation { url, title, range, quote: None });
        }
    }
    if let Some(Json::Object(metadata)) = candidate.take("groundingMetadata") {
        grounding(metadata, text, &mut citations);
    }
    citations
}

fn grounding<'a>(mut metadata: Object<'a>, text: Option<&str>, citations: &mut Vec<Citation<'a>>) {
    let pages: Vec<_> = list(metadata.take("groundingChunks")).into_iter().map(page).collect();
    let supports = list(metadata.take("groundingSupports"));
    if supports.is_empty() {
        citations.extend(pages.into_iter().flatten());
        return;
    }
    for support in supports {
        let Json::Object(mut support) = support else { continue };
        let Some(Json::Object(mut segment)) = support.take("segment") else { continue };
        let range = range(&segment, text);
        let quote = string(segment.take("text"));
        for index in list(support.take("groundingChunkIndices")) {
            let page = index.as_u64().and_then(|index| pages.get(usize::try_from(index).ok()?));
            if let Some(Some(page)) = page {
                citations.push(Citation { range, quote: quote.clone(), ..page.clone() });
            }
        }
    }
}

fn page(chunk: Json<'_>) -> Option<Citation<'_>> {
    let Json::Object(mut chunk) = chunk else { return None };
    let Some(Json::Object(mut web)) = chunk.take("web") else { return None };
    let url = string(web.take("uri"))?;
    Some(Citation { url, title: string(web.take("title")), range: None, quote: None })
}

fn list(json: Option<Json<'_>>) -> Vec<Json<'_>> {
    match json {
        Some(Json::Array(items)) => items,
        _ => Vec::new(),
    }
}

fn string(json: Option<Json<'_>>) -> Option<Cow<'_, str>> {
    match json {
        Some(Json::String(text)) => Some(text),
        _ => None,
    }
}

/// In characters; a start that is not given is zero.
fn range(of: &Object<'_>, text: Option<&str>) -> Option<(u64, u64)> {
    let text = text?;
    let place = |name| {
        let bytes = of.get(name).map_or(Some(0), Json::as_u64)?;
        let before = text.get(..usize::try_from(bytes).ok()?)?;
        u64::try_from(before.chars().count()).ok()
    };
    of.get("endIndex")?;
    Some((place("startIndex")?, place("endIndex")?))
}

/// `citationMetadata`. `bytes` tells where in the answer's text a character stands.
pub(super) fn write<'a>(
    citations: impl IntoIterator<Item = Citation<'a>>,
    bytes: impl Fn(u64) -> Option<u64>,
) -> Option<Object<'a>> {
    let source = |citation: Citation<'a>| {
        let range = citation.range.and_then(|(start, end)| Some((bytes(start)?, bytes(end)?)));
        Object::new()
            .with_some("startIndex", range.map(|(start, _)| start))
            .with_some("endIndex", range.map(|(_, end)| end))
            .with("uri", citation.url)
            .with_some("title", citation.title)
    };
    let sources: Vec<_> = citations.into_iter().map(source).collect();
    (!sources.is_empty()).then(|| Object::new().with("citationSources", sources))
}
