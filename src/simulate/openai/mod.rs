//! OpenAI's dialect: which path is what, and the wire shapes.

mod error;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::{
    State,
    future::{Answer, Exchange},
    random::{Random, hash},
};

/// The largest body kept; a larger one is a 413.
const BODY_LIMIT: usize = 64 << 20;

/// What the simulated OpenAI keeps.
#[derive(Debug, Default)]
pub(super) struct OpenAi {}

pub(super) fn body_bytes_needed(_path: &str) -> usize {
    BODY_LIMIT
}

pub(super) fn needs_whole_body(_path: &str) -> bool {
    true
}

pub(super) fn bad_control(x: &Exchange, text: &str) -> Answer {
    error::Error::invalid(text).param("x-simulate").answer(x)
}

pub(super) fn broken_body(x: &Exchange) -> Answer {
    error::Error::invalid("The request's body ended too early.").answer(x)
}

pub(super) fn too_large(x: &Exchange) -> Answer {
    let error = error::Error::invalid("Maximum content size limit exceeded.");
    error::Error {
        status: StatusCode::PAYLOAD_TOO_LARGE,
        ..error
    }
    .answer(x)
}

impl OpenAi {
    pub(super) fn answer(&self, _state: &State, x: &mut Exchange) -> Answer {
        error::no_such_path(x)
    }
}

const GARBAGE: &str = "<html><body><h1>502 Bad Gateway</h1></body></html>\n";

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const ORGANIZATION: HeaderName = HeaderName::from_static("openai-organization");
const PROCESSING_MS: HeaderName = HeaderName::from_static("openai-processing-ms");
const VERSION: HeaderName = HeaderName::from_static("openai-version");

/// The headers that every reply has.
fn head(x: &Exchange, headers: &mut HeaderMap, kind: &'static str) {
    headers.reserve(8);
    error::content_type(headers, kind);
    let mut id = [0; 36];
    if let Ok(value) = HeaderValue::from_str(x.id("req_", &mut id)) {
        headers.insert(REQUEST_ID, value);
    }
    let ms = u64::try_from(x.fate.latency.as_millis()).unwrap_or(u64::MAX);
    headers.insert(ORGANIZATION, HeaderValue::from_static("org-simulated"));
    headers.insert(PROCESSING_MS, HeaderValue::from(ms));
    headers.insert(VERSION, HeaderValue::from_static("2020-10-01"));
}

impl Exchange {
    /// An id that belongs to this request: `prefix` and 24 hex digits.
    fn id<'a>(&self, prefix: &str, space: &'a mut [u8; 36]) -> &'a str {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut random = Random::new(self.config.seed ^ hash(prefix.as_bytes()), self.number);
        let (high, low) = (random.next(), random.next());
        let digits = (0..24u32).map(|n| {
            let nibble = if n < 16 {
                high >> (4 * n)
            } else {
                low >> (4 * (n - 16))
            } & 15;
            HEX.get(nibble as usize).copied().unwrap_or(b'0')
        });
        let mut length = 0;
        for (slot, byte) in space.iter_mut().zip(prefix.bytes().chain(digits)) {
            *slot = byte;
            length += 1;
        }
        std::str::from_utf8(space.get(..length).unwrap_or_default()).unwrap_or_default()
    }
}
