use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http::{Method, Request, Response, header, request::Parts};
use http_body::Body;
use pin_project::pin_project;
use tollway_core::{Ask, BoxError, Dialect, Operation};
use tower_service::Service;

use super::{
    InspectConfig, RequestBody,
    kind::Kind,
    service::{incomplete, too_large},
};
use crate::{
    BadRequest, anthropic, gemini, multipart,
    openai::{self, Edits, Span},
    recognize::usual,
};

/// Response future of [`Inspect`](crate::Inspect).
///
/// Dropped while the body is being read, it calls nobody.
#[pin_project]
pub struct InspectFuture<S: Service<Request<RequestBody<B>>>, B> {
    #[pin]
    state: State<S, S::Future, B>,
}

#[pin_project(project = StateProj)]
#[expect(clippy::large_enum_variant, reason = "a box would be an allocation a call")]
enum State<S, F, B> {
    Reading(Option<Waiting<S, B>>),
    Calling(#[pin] F),
    Refused(Option<BadRequest>),
}

struct Waiting<S, B> {
    service: S,
    parts: Parts,
    body: B,
    read: Read,
}

impl<S: Service<Request<RequestBody<B>>>, B> std::fmt::Debug for InspectFuture<S, B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InspectFuture").finish_non_exhaustive()
    }
}

impl<S: Service<Request<RequestBody<B>>>, B> InspectFuture<S, B> {
    pub(super) fn refused(refused: BadRequest) -> Self {
        Self { state: State::Refused(Some(refused)) }
    }

    pub(super) fn calling(future: S::Future) -> Self {
        Self { state: State::Calling(future) }
    }

    pub(super) fn reading(
        service: S,
        request: Request<B>,
        call: (Dialect, Operation),
        kind: Kind,
        config: InspectConfig,
    ) -> Self {
        let (parts, body) = request.into_parts();
        let read = Read { call, kind, config, held: Held::default() };
        Self { state: State::Reading(Some(Waiting { service, parts, body, read })) }
    }
}

impl<S, B, R> Future for InspectFuture<S, B>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>>,
    S::Error: Into<BoxError>,
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Output = Result<Response<R>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                StateProj::Reading(slot) => {
                    let waiting = slot.as_mut().expect("polled after it was ready");
                    let done = ready!(waiting.read.poll(&mut waiting.body, &waiting.parts, cx));
                    match (done, slot.take()) {
                        (Ok(ask), Some(waiting)) => State::Calling(waiting.call(ask)),
                        (Err(refused), _) => State::Refused(Some(refused)),
                        (Ok(_), None) => State::Refused(None),
                    }
                }
                StateProj::Calling(future) => return future.poll(cx).map_err(Into::into),
                StateProj::Refused(refused) => {
                    let refused = refused.take().expect("polled after it was ready");
                    return Poll::Ready(Err(refused.into()));
                }
            };
            this.state.set(next);
        }
    }
}

impl<S, B> Waiting<S, B>
where
    S: Service<Request<RequestBody<B>>>,
{
    fn call(mut self, (ask, edits): (Ask, Edits)) -> S::Future {
        let head = self.read.held.take();
        let body = match self.read.kind {
            Kind::Json => RequestBody::buffered(head),
            _ => RequestBody::with_head(head, self.body).with_max(self.read.config.max_upload),
        };
        let body = body.with_edits(edits);
        self.parts.extensions.insert(ask);
        self.service.call(Request::from_parts(self.parts, body))
    }
}

/// Takes a body in until enough of it is there.
struct Read {
    call: (Dialect, Operation),
    kind: Kind,
    config: InspectConfig,
    held: Held,
}

impl Read {
    fn poll<B>(
        &mut self,
        body: &mut B,
        parts: &Parts,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(Ask, Edits), BadRequest>>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<BoxError>,
    {
        loop {
            let ended = body.is_end_stream();
            if let Some(result) = self.finish(ended, parts) {
                return Poll::Ready(result);
            }
            match ready!(Pin::new(&mut *body).poll_frame(cx)) {
                None => {
                    return Poll::Ready(
                        self.finish(true, parts).unwrap_or_else(|| self.json(parts)),
                    );
                }
                Some(Err(error)) => return Poll::Ready(Err(incomplete(error.into(), self.max()))),
                // Trailers of a held body are left out: they would have no place behind it.
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    self.held.push(data, parts);
                    if self.held.len() as u64 > self.max() {
                        return Poll::Ready(Err(too_large(self.max())));
                    }
                }
            }
        }
    }

    /// What is read, once enough is there.
    fn finish(&mut self, ended: bool, parts: &Parts) -> Option<Result<(Ask, Edits), BadRequest>> {
        let Kind::Multipart(search) = &mut self.kind else {
            return ended.then(|| self.json(parts));
        };
        let head = self.held.as_slice();
        let found = match search.model(head) {
            multipart::Model::Found(span) => head.get(span.clone()).map(|model| (span, model)),
            multipart::Model::Absent => None,
            multipart::Model::NotYet if ended || head.len() >= self.config.max_peek => None,
            multipart::Model::NotYet => return None,
        };
        let mut ask = Ask::new(self.call.1);
        let mut edits = Edits { form: true, ..Edits::default() };
        if let Some((span, model)) = found {
            let model = std::str::from_utf8(model)
                .map_err(|_| openai::model::bad_model("is not valid UTF-8"))
                .and_then(|model| openai::model::check_model(model).map(|()| model));
            match model {
                Ok(model) => ask.model = Some(model.into()),
                Err(refused) => return Some(Err(refused)),
            }
            edits.model = Some(Span { start: span.start, end: span.end });
        }
        Some(Ok((ask, edits)))
    }

    fn json(&self, parts: &Parts) -> Result<(Ask, Edits), BadRequest> {
        let (path, body) = (parts.uri.path(), self.held.as_slice());
        let (dialect, operation) = self.call;
        let named = if dialect == Dialect::Gemini { gemini::Call::of(path) } else { None };
        match (dialect, named) {
            (_, Some(call)) => {
                gemini::request::read(&call, body).map(|ask| (ask, Edits::default()))
            }
            (Dialect::Anthropic, None) => anthropic::request::read(operation, body),
            (_, None) => {
                let usual = usual(&Method::POST, path).is_some();
                let named = if usual { None } else { openai::path_model(path) };
                openai::request::read_named(operation, body, named.as_deref())
            }
        }
    }

    fn max(&self) -> u64 {
        self.kind.max(&self.config)
    }
}

/// Bytes read so far; a body that comes in one piece is not copied.
#[derive(Default)]
struct Held {
    first: Bytes,
    rest: BytesMut,
}

impl Held {
    fn push(&mut self, data: Bytes, parts: &Parts) {
        const MOST_RESERVED: usize = 1 << 20;
        if self.first.is_empty() && self.rest.is_empty() {
            self.first = data;
            return;
        }
        if self.rest.is_empty() {
            let length = parts.headers.get(header::CONTENT_LENGTH);
            let length = length.and_then(|len| len.to_str().ok()?.parse::<usize>().ok());
            let least = self.first.len() + data.len();
            self.rest.reserve(length.unwrap_or(0).min(MOST_RESERVED).max(least));
            self.rest.extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.rest.extend_from_slice(&data);
    }

    fn as_slice(&self) -> &[u8] {
        if self.rest.is_empty() { &self.first } else { &self.rest }
    }

    fn len(&self) -> usize {
        self.as_slice().len()
    }

    fn take(&mut self) -> Bytes {
        if self.rest.is_empty() {
            std::mem::take(&mut self.first)
        } else {
            std::mem::take(&mut self.rest).freeze()
        }
    }
}
