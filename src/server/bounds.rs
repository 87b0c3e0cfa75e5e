use http::{
    HeaderValue, Request, Response, StatusCode, Version,
    header::{CONNECTION, CONTENT_TYPE},
};

use super::{bare, refusal::Exchange, streams::Watched};
use crate::policy::Server;

/// What a head may hold. Over HTTP/2 the library bounds no number of headers and refuses what is
/// too large without a word; over HTTP/1.1 it takes what is too large if it comes all at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    bytes: usize,
    headers: usize,
}

/// What an entry costs besides its text (RFC 9113, section 6.5.2).
const ENTRY: usize = 32;
/// The same over HTTP/1.1: `: ` and the line's end.
const LINE: usize = 4;

impl Bounds {
    pub(super) fn new(config: &Server) -> Self {
        Self { bytes: config.max_header_bytes, headers: config.max_headers }
    }

    /// The library's own bound: so far a head is read to be refused in words. Nothing of it is kept.
    pub(super) fn read_at_most(self) -> u32 {
        self.bytes.saturating_mul(4).try_into().unwrap_or(u32::MAX)
    }

    /// Whether a head is within the bounds. HTTP/1.1 has seen to the number before there is a request.
    pub(super) fn admit<B>(self, request: &Request<B>) -> bool {
        let headers = request.headers();
        let entry = if is_http2(request) { ENTRY } else { LINE };
        let path = request.uri().path_and_query().map_or(0, |path| path.as_str().len());
        let sizes = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + entry);
        headers.len() <= self.headers && path + sizes.sum::<usize>() <= self.bytes
    }
}

pub(super) fn is_http2<B>(request: &Request<B>) -> bool {
    request.version() == Version::HTTP_2
}

/// The answer to a head that is not; over HTTP/1.1 the connection ends with it.
pub(super) fn refused<R>(exchange: Option<Exchange>, closes: bool) -> Response<Watched<R>> {
    let body = bare::body("431").unwrap_or_default();
    let mut reply = Response::new(Watched::whole(body, exchange));
    *reply.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if closes {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    reply
}
