use std::sync::Arc;

use bytes::Bytes;

use super::Form;

/// What a reply's writer has to know of the request.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// In which form the client wants its answer.
    pub(crate) form: Form,
    /// As the client wrote it.
    pub(crate) model: Arc<str>,
    pub(crate) stream: bool,
    /// Chat: the client wants a last chunk with usage.
    pub(crate) wants_usage: bool,
    /// Generate: events (`alt=sse`); without, a stream is one JSON array.
    pub(crate) sse: bool,
    /// The client's own request: the Responses form tells it back.
    pub(crate) body: Bytes,
    /// Makes ids, and is another one for every reply.
    pub(crate) nonce: u64,
    /// Seconds since 1970.
    pub(crate) now: u64,
}

impl Asked {
    /// An id where the provider made none: `id("chatcmpl-", 0)`. Different for each `number`.
    pub(crate) fn id(&self, prefix: &str, number: u32) -> String {
        format!("{prefix}{:016x}{number:04x}", self.nonce)
    }
}
