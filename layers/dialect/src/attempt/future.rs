use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, Response, header, response::Parts};
use http_body::Body;
use pin_project::pin_project;
use tollway_core::{BoxError, Metered, Operation, WallClock};

use super::{
    AttemptBody, AttemptConfig, Commit,
    reply::{Reading, Reply},
    tap::Tap,
};
use crate::inspect::is_json;

/// How the reply to one call is to be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub(super) operation: Operation,
    pub(super) strip_usage: bool,
}

/// Whether the replies to these calls are read.
pub(super) fn reads(operation: Operation) -> bool {
    matches!(
        operation,
        Operation::ChatCompletions
            | Operation::Completions
            | Operation::Responses
            | Operation::Embeddings
            | Operation::Moderations
            | Operation::Images
            | Operation::Audio
    )
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
                    ready!(reply.poll(cx, this.config));
                    let reply = slot.take().expect("it was there a line ago");
                    return Poll::Ready(Ok(reply.into_response(&**this.clock)));
                }
                StateProj::Calling(future) => match ready!(future.poll(cx)) {
                    Ok(response) => response,
                    Err(error) => return Poll::Ready(Err(error.into())),
                },
            };
            let (mut parts, body) = response.into_parts();
            let mut body = AttemptBody::plain(body);
            let reading = reading(&mut parts, this.call);
            match reading {
                Some(Reading::Stream) => {
                    let metered = Metered::default();
                    parts.extensions.insert(metered.clone());
                    let strip = this.call.strip_usage;
                    let clock = this.clock.clone();
                    body.tap = Some(Tap::new(metered.0, clock, strip, this.config.max_event));
                    if this.config.commit == Commit::Head {
                        return Poll::Ready(Ok(Response::from_parts(parts, body)));
                    }
                }
                None => return Poll::Ready(Ok(Response::from_parts(parts, body))),
                Some(_) => {}
            }
            let reply = Reply::new(parts, body, reading.unwrap_or(Reading::Error));
            this.state.set(State::Reading(Some(reply)));
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
    let content_type = text(&parts.headers, header::CONTENT_TYPE);
    let readable = text(&parts.headers, header::CONTENT_ENCODING)
        .is_none_or(|encoding| encoding.eq_ignore_ascii_case("identity"));
    let kind = content_type.filter(|_| readable).and_then(|content_type| {
        if is_json(content_type) {
            Some(Reading::Json)
        } else {
            is_event_stream(content_type).then_some(Reading::Stream)
        }
    });
    match kind {
        Some(Reading::Stream) if call.strip_usage => {
            parts.headers.remove(header::CONTENT_LENGTH);
        }
        None => {
            // Nothing can be read of it, but it is a reply: what is used stays unknown.
            parts.extensions.insert(Metered::default());
        }
        Some(_) => {}
    }
    kind
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

fn is_event_stream(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("text/event-stream")
}
