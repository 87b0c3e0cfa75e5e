use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Response, header, response::Parts};
use http_body::Body;
use pin_project::pin_project;
use tollway_core::{BoxError, Dialect, Metered, Operation, ProxyCredential, WallClock};

use super::{
    AttemptBody, AttemptConfig, Commit,
    interruption::Tell,
    reader::Reader,
    reply::{Reading, Reply, not_json},
    tap::Tap,
};
use crate::{gemini::elements::Elements, headers::is_plain, inspect::is_json};

/// How the reply to one call is to be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub(super) dialect: Dialect,
    pub(super) operation: Operation,
    pub(super) strip_usage: bool,
    /// The caller asked for a stream.
    pub(super) streams: bool,
    /// A withheld answer is a failure.
    pub(super) fail_refusals: bool,
}

impl Call {
    /// How a reply that is JSON is read: Gemini streams an array, unless it is asked for events.
    pub(super) fn json(&self) -> Reading {
        match (self.dialect, self.operation) {
            (Dialect::Gemini, Operation::GenerateContent) if self.streams => Reading::Array,
            _ => Reading::Json,
        }
    }

    /// Sets the reading of a stream up, before its head goes out.
    pub(super) fn tap(
        &self,
        reading: Reading,
        parts: &mut Parts,
        config: &AttemptConfig,
        clock: &Arc<dyn WallClock>,
    ) -> Tap {
        let metered = Metered::default();
        parts.extensions.insert(metered.clone());
        let events = reading == Reading::Stream;
        let tell = Tell::of(self.operation).filter(|_| config.tell_interruptions && events);
        if self.strip_usage || tell.is_some() {
            parts.headers.remove(header::CONTENT_LENGTH);
        }
        let elements = (!events).then(|| Elements::with_max(config.max_event));
        let reader = Reader::of(self.dialect);
        Tap::new(metered.0, clock.clone(), self.strip_usage, tell, config.max_event)
            .reading(reader, elements)
            .signed(parts.extensions.get::<ProxyCredential>().cloned())
    }
}

/// Whether the replies to these calls are read.
pub(super) fn reads(operation: Operation) -> bool {
    matches!(
        operation,
        Operation::ChatCompletions
            | Operation::Completions
            | Operation::Responses
            | Operation::Messages
            | Operation::GenerateContent
            | Operation::CountTokens
            | Operation::Embeddings
            | Operation::Moderations
            | Operation::Images
            | Operation::Audio
    )
}

/// Whether these calls are only ever answered in JSON or by a stream of it.
pub(super) fn only_json(operation: Operation) -> bool {
    reads(operation) && !matches!(operation, Operation::Images | Operation::Audio)
}

/// Response future of [`Attempt`](crate::Attempt).
#[pin_project]
pub struct AttemptFuture<F, R> {
    #[pin]
    state: State<F, R>,
    call: Call,
    config: AttemptConfig,
    clock: Arc<dyn WallClock>,
}

#[pin_project(project = StateProj)]
#[expect(clippy::large_enum_variant, reason = "a box would be an allocation a call")]
enum State<F, R> {
    Calling(#[pin] F),
    Reading(Option<Reply<R>>),
}

impl<F, R> AttemptFuture<F, R> {
    pub(super) fn new(
        future: F,
        call: Call,
        config: AttemptConfig,
        clock: Arc<dyn WallClock>,
    ) -> Self {
        Self { state: State::Calling(future), call, config, clock }
    }
}

impl<F, R> std::fmt::Debug for AttemptFuture<F, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AttemptFuture").field("call", &self.call).finish_non_exhaustive()
    }
}

impl<F, R, E> Future for AttemptFuture<F, R>
where
    F: Future<Output = Result<Response<R>, E>>,
    E: Into<BoxError>,
    R: Body<Data = Bytes> + Unpin,
    R::Error: Into<BoxError>,
{
    type Output = Result<Response<AttemptBody<R>>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let response = match this.state.as_mut().project() {
                StateProj::Reading(slot) => {
                    let reply = slot.as_mut().expect("polled after it was ready");
                    ready!(reply.poll(cx, this.call, this.config, this.clock));
                    let reply = slot.take().expect("it was there a line ago");
                    return Poll::Ready(Ok(reply.into_response(this.call, &**this.clock)));
                }
                StateProj::Calling(future) => match ready!(future.poll(cx)) {
                    Ok(response) => response,
                    Err(error) => return Poll::Ready(Err(error.into())),
                },
            };
            let (mut parts, body) = response.into_parts();
            let mut body = AttemptBody::plain(body);
            let reading = match reading(&mut parts, this.call) {
                None => return Poll::Ready(Ok(Response::from_parts(parts, body))),
                Some(Reading::Broken) => {
                    return Poll::Ready(Ok(not_json(parts, this.call.dialect)));
                }
                Some(reading) => reading,
            };
            if reading.is_stream() {
                body.listen(this.call.tap(reading, &mut parts, this.config, this.clock));
                if this.config.commit == Commit::Head {
                    return Poll::Ready(Ok(Response::from_parts(parts, body)));
                }
            }
            this.state.set(State::Reading(Some(Reply::new(parts, body, reading))));
        }
    }
}

/// How this reply is read; `None` passes it on as it is.
fn reading(parts: &mut Parts, call: &Call) -> Option<Reading> {
    if !parts.status.is_success() {
        let informs = parts.status.is_client_error() || parts.status.is_server_error();
        return informs.then_some(Reading::Error);
    }
    if !reads(call.operation) {
        return None;
    }
    let content_type = parts.headers.get(header::CONTENT_TYPE);
    let content_type = content_type.map(|value| value.to_str().unwrap_or_default());
    let readable = is_plain(&parts.headers);
    let kind = match content_type {
        _ if !readable => None,
        Some(json) if is_json(json) => Some(call.json()),
        Some(stream) if is(stream, "text/event-stream") => Some(Reading::Stream),
        _ if !only_json(call.operation) => None,
        // Says next to nothing: the first bytes have to tell.
        None => Some(Reading::Unknown),
        Some(vague) if is(vague, "text/plain") || is(vague, "application/octet-stream") => {
            Some(Reading::Unknown)
        }
        Some(_) => Some(Reading::Broken),
    };
    if kind.is_none() {
        // Nothing can be read of it, but it is a reply: what is used stays unknown.
        parts.extensions.insert(Metered::default());
    }
    kind
}

fn is(content_type: &str, expected: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case(expected)
}
