//! What each fuzz target holds of any input. Every module has one `check`, which panics where the
//! promise is broken; both the fuzzers and the ordinary test `fuzz_smoke` run it.

pub mod error;
pub mod family_request;
pub mod family_stream;
pub mod forwarded;
pub mod input;
pub mod key_digest;
pub mod multipart;
pub mod pipe;
pub mod policy;
pub mod ratelimit;
pub mod request;
pub mod retry_after;
pub mod sse;
pub mod stream;
pub mod usage;

/// A target: holds its promises of these bytes, or panics.
pub type Check = fn(&[u8]);

/// Every target by its name, which is also that of its folder of seeds.
pub const TARGETS: [(&str, Check); 13] = [
    ("policy", policy::check),
    ("sse", sse::check),
    ("stream", stream::check),
    ("usage", usage::check),
    ("request", request::check),
    ("family_stream", family_stream::check),
    ("family_request", family_request::check),
    ("error", error::check),
    ("multipart", multipart::check),
    ("retry_after", retry_after::check),
    ("ratelimit", ratelimit::check),
    ("forwarded", forwarded::check),
    ("key_digest", key_digest::check),
];
