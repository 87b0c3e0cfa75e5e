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
            "input_text" | "output_text" | "text" => text(&mut part, &at)?,
            "refusal" => Body::Refusal(part.need_text("refusal", &at)?),
            "input_image" => image(&mut part, &at)?,
            "input_file" => document(&mut part, &at)?,
            other => {
                request.extra(format!("input.content.{other}"), Json::Object(part), Loss::Meaning);
                continue;
            }
        };
        read.push(Part::new(body));
        for (name, value) in part.rest() {
            request.extra(format!("input.content.{name}"), value, Loss::Harmless);
        }
    }
    Ok(read)
}

fn text<'a>(part: &mut Object<'a>, at: &At<'_>) -> Result<Body<'a>, BadRequest> {
    let text = part.need_text("text", at)?;
    // Of an answer that comes back, these say nothing to the model.
    part.take("logprobs");
    let citations = match part.take("annotations") {
        Some(Json::Array(annotations)) => annotations.into_iter().filter_map(citation).collect(),
        _ => Vec::new(),
    };
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

fn image<'a>(part: &mut Object<'a>, at: &At<'_>) -> Result<Body<'a>, BadRequest> {
    let file = part.text("file_id", at)?;
    let url = part.text("image_url", at)?;
    let detail = part.text("detail", at)?;
    let source = match (url, file) {
        (Some(url), _) => Source::from_url(url),
        (None, Some(id)) => Source::File(id),
        (None, None) => return Err(at.key("image_url").missing("a URL")),
    };
    // What every form does by itself.
    Ok(Body::Image { source, detail: detail.filter(|detail| detail != "auto") })
}

fn document<'a>(part: &mut Object<'a>, at: &At<'_>) -> Result<Body<'a>, BadRequest> {
    let name = part.text("filename", at)?;
    let (data, url) = (part.text("file_data", at)?, part.text("file_url", at)?);
    let id = part.text("file_id", at)?;
    let source = match (data, url, id) {
        (Some(data), _, _) => match Source::from_url(data) {
            Source::Url(data) => Source::Data { mime: mime_of(name.as_deref()), data },
            source => source,
        },
        (None, Some(url), _) => Source::from_url(url),
        (None, None, Some(id)) => Source::File(id),
        (None, None, None) => return Err(at.key("file_data").missing("a `data:` URL")),
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
