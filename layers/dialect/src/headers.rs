//! Headers that speak of a body's bytes.

use http::{HeaderMap, HeaderName, header};

/// What is true of the bytes that came, and of no others.
const OF_BODY: [HeaderName; 9] = [
    header::CONTENT_ENCODING,
    header::CONTENT_RANGE,
    header::ACCEPT_RANGES,
    header::ETAG,
    header::LAST_MODIFIED,
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("digest"),
];

/// For a reply that is to have another body than it came with.
pub(crate) fn forget_body(headers: &mut HeaderMap) {
    OF_BODY.iter().for_each(|name| drop(headers.remove(name)));
}

/// Whether a body is what it looks like, and not packed.
pub(crate) fn is_plain(headers: &HeaderMap) -> bool {
    let encoding = headers.get(header::CONTENT_ENCODING);
    encoding.is_none_or(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
}
