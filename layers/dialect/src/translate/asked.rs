use std::sync::Arc;

use bytes::Bytes;

use super::Form;

/// What a reply's writer has to know of the request.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Asked {
    /// In which form the client wants its answer.
    pub form: Form,
    /// As the client wrote it.
    pub model: Arc<str>,
    /// The client wants its answer event by event.
    pub stream: bool,
    /// Chat: the client wants a last chunk with usage.
    pub wants_usage: bool,
    /// Generate: events (`alt=sse`); without, a stream is one JSON array.
    pub sse: bool,
    /// The client's own request: the Responses form tells it back.
    pub body: Bytes,
    /// Makes ids, and is another one for every reply.
    pub nonce: u64,
    /// Seconds since 1970.
    pub now: u64,
}

impl Asked {
    /// A request in this form, as the client sent it; everything else is unset.
    pub fn new(form: Form, model: impl Into<Arc<str>>, body: impl Into<Bytes>) -> Self {
        Self {
            form,
            model: model.into(),
            stream: false,
            wants_usage: false,
            sse: true,
            body: body.into(),
            nonce: 0,
            now: 0,
        }
    }

    /// An id where the provider made none: `id("chatcmpl-", 0)`. Different for each `number`.
    pub(crate) fn id(&self, prefix: &str, number: u32) -> String {
        format!("{prefix}{:016x}{number:04x}", self.nonce)
    }
}
