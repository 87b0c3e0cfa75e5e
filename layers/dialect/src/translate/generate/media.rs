//! `inlineData` and `fileData`.

use std::borrow::Cow;

use super::{
    names::{self, Names},
    part::{FILE, INLINE, What},
};
use crate::{
    BadRequest,
    json::{At, Object},
    translate::hub::{Body, Source},
};

const MIME: Names = ["mimeType", "mime_type"];
const DISPLAY_NAME: Names = ["displayName", "display_name"];

pub(super) fn inline<'a>(inline: &mut Object<'a>, at: &At<'_>) -> Result<What<'a>, BadRequest> {
    let mime = names::text(inline, MIME, at)?.ok_or_else(|| at.key(MIME[0]).missing("a string"))?;
    let data = standard_base64(inline.need_text("data", at)?);
    let kind = mime.split_once('/').map_or("", |(kind, _)| kind).to_ascii_lowercase();
    let body = match kind.as_str() {
        "image" => Body::Image { source: Source::Data { mime, data }, detail: None },
        "audio" => Body::Audio { data, format: audio_format(mime) },
        "video" => {
            let video = Object::new().with("mimeType", mime).with("data", data);
            return Ok(What::Foreign(INLINE[0], video.into()));
        }
        _ => {
            let name = names::text(inline, DISPLAY_NAME, at)?;
            Body::Document { source: Source::Data { mime, data }, name }
        }
    };
    Ok(What::Media(body))
}

/// Google's SDKs write bytes in the alphabet for URLs (RFC 4648, section 5), which nobody else reads.
fn standard_base64(data: Cow<'_, str>) -> Cow<'_, str> {
    if memchr::memchr2(b'-', b'_', data.as_bytes()).is_none() {
        return data;
    }
    let mut data = data.replace('-', "+").replace('_', "/");
    while data.len() % 4 != 0 {
        data.push('=');
    }
    data.into()
}

/// Without `audio/`, and by the name that other APIs have for it.
fn audio_format(mime: Cow<'_, str>) -> Cow<'_, str> {
    let format = match mime {
        Cow::Borrowed(mime) => mime.get(6..).map(Cow::Borrowed),
        Cow::Owned(mime) => mime.get(6..).map(|format| Cow::Owned(format.to_owned())),
    };
    match format.unwrap_or_default() {
        format if format == "mpeg" => "mp3".into(),
        format if format == "x-wav" || format == "wave" => "wav".into(),
        format => format,
    }
}

pub(super) fn file<'a>(file: &mut Object<'a>, at: &At<'_>) -> Result<What<'a>, BadRequest> {
    const URI: Names = ["fileUri", "file_uri"];
    let mime = names::text(file, MIME, at)?;
    let uri = names::text(file, URI, at)?.ok_or_else(|| at.key(URI[0]).missing("a string"))?;
    let kind = mime.as_deref().or_else(|| mime_of(&uri)).unwrap_or("");
    let kind = kind.split_once('/').map_or("", |(kind, _)| kind).to_ascii_lowercase();
    let web = uri.starts_with("http://") || uri.starts_with("https://");
    // What only Google can fetch is of no use to others, and none of them watches or listens.
    if !web || takes_url(&uri) || kind == "video" || kind == "audio" {
        let file = Object::new().with_some("mimeType", mime).with("fileUri", uri);
        return Ok(What::Foreign(FILE[0], file.into()));
    }
    Ok(What::Media(match kind.as_str() {
        "image" => Body::Image { source: Source::Url(uri), detail: None },
        _ => {
            let name = names::text(file, DISPLAY_NAME, at)?;
            Body::Document { source: Source::Url(uri), name }
        }
    }))
}

/// Whether Gemini itself fetches from there.
pub(super) fn takes_url(url: &str) -> bool {
    const PLACES: [&str; 6] = [
        "gs://",
        "https://generativelanguage.googleapis.com/",
        "https://www.youtube.com/",
        "https://youtube.com/",
        "https://m.youtube.com/",
        "https://youtu.be/",
    ];
    PLACES.iter().any(|place| url.starts_with(place))
}

/// By the end of its path.
pub(super) fn mime_of(url: &str) -> Option<&'static str> {
    let path = url.split(['?', '#']).next()?;
    let (_, name) = path.rsplit_once('/')?;
    let (_, ending) = name.rsplit_once('.')?;
    const MIMES: [(&str, &str); 11] = [
        ("png", "image/png"),
        ("jpg", "image/jpeg"),
        ("jpeg", "image/jpeg"),
        ("webp", "image/webp"),
        ("gif", "image/gif"),
        ("heic", "image/heic"),
        ("pdf", "application/pdf"),
        ("txt", "text/plain"),
        ("mp3", "audio/mp3"),
        ("wav", "audio/wav"),
        ("mp4", "video/mp4"),
    ];
    MIMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(ending)).map(|(_, mime)| *mime)
}
