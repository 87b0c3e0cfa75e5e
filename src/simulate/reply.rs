//! What the replies of all dialects have in common: faults, ids, hints.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{
    HeaderMap, HeaderName, HeaderValue, Response,
    header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER},
};

use super::{
    body::{Events, SimulatedBody, Step},
    fate::{Fault, Place},
    future::{Answer, Exchange},
    random::{Random, hash},
    write,
};

pub(super) const GARBAGE: &str = "<html><body><h1>502 Bad Gateway</h1></body></html>\n";
pub(super) const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");
/// Time for what was sent before a reset to leave.
const BEFORE_RESET: Duration = Duration::from_millis(10);

/// A reply in one piece; `output` tokens of work are in it. `late_error` is what the dialect says in
/// the place of the rest.
pub(super) fn whole(
    x: &Exchange,
    bytes: Bytes,
    (output, tokens): (u64, u64),
    late_error: impl FnOnce() -> String,
) -> Answer {
    let body = match x.fate.fault {
        None => SimulatedBody::full(bytes),
        Some(fault) => struck(bytes, fault, late_error),
    };
    let last = u32::try_from(output.saturating_sub(1)).unwrap_or(u32::MAX);
    let work = if output == 0 { Duration::ZERO } else { x.fate.pace.at(last) };
    Answer { response: Response::new(body), work, tokens }
}

/// A body of one piece with a fault in it: at its start, or in the middle of it.
fn struck(bytes: Bytes, fault: Fault, late_error: impl FnOnce() -> String) -> SimulatedBody {
    let middle = if fault.place() == Place::First { 0 } else { bytes.len() / 2 };
    let sent = bytes.slice(..middle);
    let data = (middle > 0).then(|| Step::Data(sent.clone()));
    match fault {
        Fault::Stall(_) => SimulatedBody::steps(data.into_iter().chain([Step::Stall])),
        Fault::Reset(_) => {
            let end = [Step::Wait(BEFORE_RESET), Step::Reset];
            SimulatedBody::steps(data.into_iter().chain(end))
        }
        Fault::Truncate(_) => SimulatedBody::full(sent),
        Fault::Malformed(_) => {
            let mut bad = BytesMut::from(&sent[..]);
            bad.extend_from_slice(b"\xF0\x9F, oops");
            bad.extend_from_slice(bytes.get(middle..).unwrap_or_default());
            SimulatedBody::full(bad)
        }
        Fault::LateError(_) => SimulatedBody::full(late_error()),
    }
}

/// A reply of events.
pub(super) fn streamed(x: &Exchange, events: Box<dyn Events>, tokens: u64) -> Answer {
    let body = SimulatedBody::stream(events, x.fate.pace, x.fate.fault);
    let mut response = Response::new(body);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Answer { response, work: Duration::ZERO, tokens }
}

pub(super) fn content_type(headers: &mut HeaderMap, value: &'static str) {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(value));
}

/// The two hints as headers, as the request asked for them.
pub(super) fn asked_hints(x: &Exchange, headers: &mut HeaderMap) {
    let asked = x.fate.control.as_deref();
    for (name, value) in [
        (RETRY_AFTER, asked.and_then(|c| c.retry_after.as_deref())),
        (RETRY_AFTER_MS, asked.and_then(|c| c.retry_after_ms.as_deref())),
    ] {
        if let Some(value) = value.and_then(|text| HeaderValue::from_str(text).ok()) {
            headers.insert(name, value);
        }
    }
}

impl Exchange {
    /// An id that belongs to this request: `prefix` and 24 hex digits.
    pub(super) fn id(&self, prefix: &str) -> String {
        self.nth_id(prefix, 0)
    }

    /// The same for the `n`th of several.
    pub(super) fn nth_id(&self, prefix: &str, n: u64) -> String {
        let seed = self.config.seed ^ hash(prefix.as_bytes()) ^ n.rotate_right(8);
        let mut random = Random::new(seed, self.number);
        let mut id = String::with_capacity(prefix.len() + 24);
        id.push_str(prefix);
        id.extend(write::hex(&mut random).map(char::from));
        id
    }

    /// Whether the reply is an HTML page.
    pub(super) fn is_garbage(&self) -> bool {
        self.fate.control.as_deref().is_some_and(|control| control.garbage)
    }

    /// Whether usage is left out.
    pub(super) fn without_usage(&self) -> bool {
        self.fate.control.as_deref().is_some_and(|control| control.no_usage)
    }

    /// Whether the reply is a refusal of the content.
    pub(super) fn refuses_content(&self) -> bool {
        self.fate.control.as_deref().is_some_and(|control| control.refuse)
    }
}
