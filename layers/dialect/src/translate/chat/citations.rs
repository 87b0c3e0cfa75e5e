use super::{lenient, lenient_array, lenient_object};
use crate::{
    json::{Json, Object},
    translate::hub::Citation,
};

/// The pages among a message's `annotations`.
pub(super) fn read<'a>(message: &mut Object<'a>) -> Vec<Citation<'a>> {
    lenient_array(message, "annotations").into_iter().filter_map(one).collect()
}

fn one(annotation: Json<'_>) -> Option<Citation<'_>> {
    let Json::Object(mut annotation) = annotation else { return None };
    let mut page = lenient_object(&mut annotation, "url_citation")?;
    let place = |key: &str| page.get(key).and_then(Json::as_u64);
    let range = place("start_index").zip(place("end_index")).filter(|range| *range != (0, 0));
    let url = lenient(&mut page, "url")?;
    Some(Citation { url, title: lenient(&mut page, "title"), range, quote: None })
}

pub(super) fn write(citation: Citation<'_>) -> Object<'_> {
    // All four are required; no stretch is none of the text.
    let (start, end) = citation.range.unwrap_or_default();
    let page = Object::new()
        .with("start_index", start)
        .with("end_index", end)
        .with("url", citation.url)
        .with("title", citation.title.unwrap_or_default());
    Object::new().with("type", "url_citation").with("url_citation", page)
}
