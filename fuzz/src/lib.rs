//! What each fuzz target holds of any input. Every module has one `check`, which panics where the
//! promise is broken; both the fuzzers and the ordinary test `fuzz_smoke` run it.

pub mod cell;
pub mod error;
pub mod family_request;
pub mod family_stream;
pub mod forwarded;
pub mod input;
pub mod key_digest;
pub mod multipart;
pub mod pipe;
pub mod policy;
pub mod prompt;
pub mod ratelimit;
pub mod request;
pub mod retry_after;
pub mod sse;
pub mod stream;
pub mod translate_reply;
pub mod translate_request;
pub mod translate_same;
pub mod translate_stream;
pub mod usage;

/// A target: holds its promises of these bytes, or panics.
pub type Check = fn(&[u8]);

/// Every target by its name, which is also that of its folder of seeds.
pub const TARGETS: [(&str, Check); 18] = [
    ("policy", policy::check),
    ("sse", sse::check),
    ("stream", stream::check),
    ("usage", usage::check),
    ("request", request::check),
    ("family_stream", family_stream::check),
    ("family_request", family_request::check),
    ("translate_request", translate_request::check),
    ("translate_reply", translate_reply::check),
    ("translate_stream", translate_stream::check),
    ("translate_same", translate_same::check),
    ("error", error::check),
    ("multipart", multipart::check),
    ("retry_after", retry_after::check),
    ("ratelimit", ratelimit::check),
    ("forwarded", forwarded::check),
    ("key_digest", key_digest::check),
    ("prompt", prompt::check),
];
