use std::borrow::Cow;

use crate::{
    BadRequest,
    json::{At, Json, Object},
    translate::{
        Loss,
        hub::{Body, Citation, Part, Request, Source},
    },
};

/// Reads a message's or a tool result's content: a string, or parts. What nobody knows is kept in
/// `request` as extra.
pub(super) fn read<'a>(
    content: Json<'a>,
    request: &mut Request<'a>,
    at: &At<'_>,
) -> Result<Vec<Part<'a>>, BadRequest> {
    let parts = match content {
        Json::String(text) => return Ok(vec![Part::text(text)]),
        Json::Array(parts) => parts,
        other => return Err(at.expected("a string or an array of parts", &other)),
    };
    let mut read = Vec::with_capacity(parts.len());
    for (index, part) in parts.into_iter().enumerate() {
        let at = at.index(index);
        let mut part = part.into_object(&at)?;
        let kind = part.need_text("type", &at)?;
        let body = match &*kind {
            "input_text" | "output_text" | "text" => text(&mut part, request, &at)?,
            "refusal" => Body::Refusal(part.need_text("refusal", &at)?),
            "input_image" => image(&mut part, &at)?,
            "input_file" => document(&mut part, &at)?,
            other => {
                request.extra(format!("input.content.{other}"), Json::Object(part), Loss::Meaning);
                continue;
            }
        };
        read.push(Part::new(body));
        request.left(part, "input.content");
    }
    Ok(read)
}

fn text<'a>(
    part: &mut Object<'a>,
    request: &mut Request<'a>,
    at: &At<'_>,
) -> Result<Body<'a>, BadRequest> {
    let text = part.need_text("text", at)?;
    // Of an answer that comes back, these say nothing to the model.
    part.take("logprobs");
    let annotations = match part.take("annotations") {
        Some(Json::Array(annotations)) => annotations,
        // Nothing that could be cited, and told below.
        Some(other) => vec![other],
        None => Vec::new(),
    };
    let given = annotations.len();
    let citations: Vec<_> = annotations.into_iter().filter_map(citation).collect();
    if citations.len() < given {
        request.extra("input.content.annotations", Json::Null, Loss::Harmless);
    }
    Ok(Body::Text { text, citations })
}

/// An annotation, if it is one of a web page.
pub(super) fn citation(annotation: Json<'_>) -> Option<Citation<'_>> {
    let Json::Object(mut annotation) = annotation else { return None };
    if annotation.str("type") != Some("url_citation") {
        return None;
    }
    let at = At::Root;
    let range = annotation.u64("start_index", &at).ok().flatten();
    let range = range.zip(annotation.u64("end_index", &at).ok().flatten());
    let title = annotation.text("title", &at).ok().flatten();
    Some(Citation {
        url: annotation.text("url", &at).ok().flatten()?,
        title: title.filter(|title| !title.is_empty()),
        range,
        quote: None,
    })
}

// Of several places of one file the first counts, and the others are left to be told.

fn image<'a>(part: &mut Object<'a>, at: &At<'_>) -> Result<Body<'a>, BadRequest> {
    let source = match part.text("image_url", at)? {
        Some(url) => Source::from_url(url),
        None => Source::File(
            part.text("file_id", at)?.ok_or_else(|| at.key("image_url").missing("a URL"))?,
        ),
    };
    // What every form does by itself.
    let detail = part.text("detail", at)?.filter(|detail| detail != "auto");
    Ok(Body::Image { source, detail })
}

fn document<'a>(part: &mut Object<'a>, at: &At<'_>) -> Result<Body<'a>, BadRequest> {
    let name = part.text("filename", at)?;
    let source = if let Some(data) = part.text("file_data", at)? {
        match Source::from_url(data) {
            Source::Url(data) => Source::Data { mime: mime_of(name.as_deref()), data },
            source => source,
        }
    } else if let Some(url) = part.text("file_url", at)? {
        Source::from_url(url)
    } else {
        let id = part.text("file_id", at)?;
        Source::File(id.ok_or_else(|| at.key("file_data").missing("a `data:` URL"))?)
    };
    Ok(Body::Document { source, name })
}

/// Of base64 that is given without its type.
fn mime_of(name: Option<&str>) -> Cow<'static, str> {
    match name {
        Some(name) if name.ends_with(".txt") => "text/plain",
        _ => "application/pdf",
    }
    .into()
}
