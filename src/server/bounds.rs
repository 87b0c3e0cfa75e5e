use http::{HeaderValue, Request, Response, StatusCode, Version, header::CONTENT_TYPE};

use super::{bare, streams::Watched};
use crate::policy::Server;

/// What a head may hold over HTTP/2, whose library bounds no number of headers and refuses what is
/// too large without a word.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    bytes: usize,
    headers: usize,
}

/// What an entry costs besides its text (RFC 9113, section 6.5.2).
const ENTRY: usize = 32;

impl Bounds {
    pub(super) fn new(config: &Server) -> Self {
        Self { bytes: config.max_header_bytes, headers: config.max_headers }
    }

    /// The library's own bound: so far a head is read to be refused in words. Nothing of it is kept.
    pub(super) fn read_at_most(self) -> u32 {
        self.bytes.saturating_mul(4).try_into().unwrap_or(u32::MAX)
    }

    /// Whether a head is within the bounds. HTTP/1.1 has seen to it before there is a request.
    pub(super) fn admit<B>(self, request: &Request<B>) -> bool {
        if request.version() != Version::HTTP_2 {
            return true;
        }
        let headers = request.headers();
        let path = request.uri().path_and_query().map_or(0, |path| path.as_str().len());
        let sizes = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + ENTRY);
        headers.len() <= self.headers && path + sizes.sum::<usize>() <= self.bytes
    }
}

/// The answer to a head that is not.
pub(super) fn refused<R>() -> Response<Watched<R>> {
    let mut reply = Response::new(Watched::whole(bare::body("431").unwrap_or_default()));
    *reply.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply
}
