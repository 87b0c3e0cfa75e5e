use std::{
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Response, StatusCode, header, response::Parts};
use http_body::Body;
use serde::de::IgnoredAny;
use tokio::time::Instant;
use tollway_core::{
    BoxError, Dialect, ErrorClass, Failure, Meter, Metered, Operation, ProxyCredential, WallClock,
};

use super::{
    AttemptBody, AttemptConfig, Commit,
    future::{Call, only_json, reads},
    interruption,
    reader::read_whole,
};
use crate::{
    ErrorReply,
    headers::{forget_body, is_plain},
    openai::{error, reply},
};

/// How a reply is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// As an error, by its status.
    Error,
    /// As one JSON value.
    Json,
    /// Event by event.
    Stream,
    /// As an array, object by object.
    Array,
    /// By its first bytes: the head does not say what it is.
    Unknown,
    /// Not at all: neither JSON nor a stream, where nothing else is a reply.
    Broken,
}

impl Reading {
    pub(super) fn is_stream(self) -> bool {
        matches!(self, Self::Stream | Self::Array)
    }
}

/// What a reply is, by its first bytes; `None` if they are too few.
fn sniff(bytes: &[u8], call: &Call) -> Option<Reading> {
    const BOM: &[u8] = b"\xEF\xBB\xBF";
    const FIELDS: [&[u8]; 5] = [b":", b"data:", b"event:", b"id:", b"retry:"];
    let text = bytes.strip_prefix(BOM).unwrap_or(bytes).trim_ascii_start();
    if text.is_empty() || BOM.starts_with(text) {
        return None;
    }
    if text.starts_with(b"{") || text.starts_with(b"[") {
        return Some(call.json());
    }
    let streams = call.streams;
    if streams && FIELDS.iter().any(|field| text.starts_with(field)) {
        return Some(Reading::Stream);
    }
    if streams && FIELDS.iter().any(|field| field.starts_with(text)) {
        return None;
    }
    Some(Reading::Broken)
}

/// A reply that is being read ahead.
pub(super) struct Reply<R> {
    parts: Parts,
    body: AttemptBody<R>,
    reading: Reading,
    held: BytesMut,
    /// Too large to be read whole.
    cut: bool,
}

impl<R> Reply<R> {
    pub(super) fn new(parts: Parts, body: AttemptBody<R>, reading: Reading) -> Self {
        Self { parts, body, reading, held: BytesMut::new(), cut: false }
    }
}

impl<R> Reply<R>
where
    R: Body<Data = Bytes> + Unpin,
    R::Error: Into<BoxError>,
{
    /// Ready once it can be said what the reply is.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        call: &Call,
        config: &AttemptConfig,
        clock: &Arc<dyn WallClock>,
    ) -> Poll<()> {
        if self.reading == Reading::Unknown {
            self.reading = ready!(self.poll_first(cx, call));
            if self.reading.is_stream() {
                self.join();
                self.body.listen(call.tap(self.reading, &mut self.parts, config, clock));
            }
        }
        match self.reading {
            Reading::Stream | Reading::Array if config.commit == Commit::Head => Poll::Ready(()),
            Reading::Unknown | Reading::Broken => Poll::Ready(()),
            Reading::Stream | Reading::Array => self.poll_stream(cx, config),
            Reading::Error => self.poll_whole(cx, config.max_error),
            Reading::Json => self.poll_whole(cx, config.max_reply),
        }
    }

    /// Ready once the first bytes, or the want of them, tell what the reply is.
    fn poll_first(&mut self, cx: &mut Context<'_>, call: &Call) -> Poll<Reading> {
        const MOST: usize = 4096;
        loop {
            let held = if self.held.is_empty() { &self.body.head[..] } else { &self.held };
            match sniff(held, call) {
                Some(reading) => return Poll::Ready(reading),
                None if held.len() > MOST => return Poll::Ready(Reading::Broken),
                None => {}
            }
            match ready!(self.body.poll_rest(cx)) {
                Some(data) => self.hold(data),
                None => return Poll::Ready(Reading::Broken),
            }
        }
    }

    fn poll_whole(&mut self, cx: &mut Context<'_>, max: usize) -> Poll<()> {
        while let Some(data) = ready!(self.body.poll_rest(cx)) {
            self.hold(data);
            if self.body.head.len().max(self.held.len()) > max {
                self.cut = true;
                break;
            }
        }
        self.join();
        Poll::Ready(())
    }

    /// A reply in one piece is not copied.
    fn hold(&mut self, data: Bytes) {
        if self.body.head.is_empty() && self.held.is_empty() {
            self.body.head = data;
            return;
        }
        if self.held.is_empty() {
            self.held.reserve((self.body.head.len() + data.len()) * 2);
            self.held.extend_from_slice(&std::mem::take(&mut self.body.head));
        }
        self.held.extend_from_slice(&data);
    }

    fn join(&mut self) {
        if !self.held.is_empty() {
            self.body.head = std::mem::take(&mut self.held).freeze();
        }
    }

    fn poll_stream(&mut self, cx: &mut Context<'_>, config: &AttemptConfig) -> Poll<()> {
        loop {
            let Some(tap) = &self.body.tap else { return Poll::Ready(()) };
            let state = tap.state();
            let full = state.events >= config.max_held_events || tap.waiting() > config.max_held;
            let decided = state.content || state.failed || state.broken_start;
            if decided || state.finished || full {
                return Poll::Ready(());
            }
            ready!(self.body.poll_rest(cx));
        }
    }

    pub(super) fn into_response(
        self,
        call: &Call,
        clock: &dyn WallClock,
    ) -> Response<AttemptBody<R>> {
        match self.reading {
            Reading::Stream | Reading::Array => self.stream_response(call),
            Reading::Error => self.error_response(call, clock),
            Reading::Json => self.json_response(call, clock),
            Reading::Unknown | Reading::Broken => match self.body.error {
                Some(source) => broken(self.parts, call.dialect, source),
                None => not_json(self.parts, call.dialect),
            },
        }
    }

    fn error_response(self, call: &Call, clock: &dyn WallClock) -> Response<AttemptBody<R>> {
        let Self { mut parts, body, cut, .. } = self;
        let failure = error::classify(parts.status, &parts.headers, &body.head, clock.now());
        // Gemini says of a bad key that the request is bad: it is the caller's that is not.
        if parts.status == StatusCode::BAD_REQUEST && tells_secret(&parts, &failure) {
            parts.status = ErrorReply::of(&failure).status_in(call.dialect);
        }
        let unreadable =
            only_json(call.operation) && is_nobodys(&parts) && !is_json_error(&body.head, cut);
        if unreadable || may_tell_secret(&parts, call.operation) || tells_secret(&parts, &failure) {
            return instead(parts, call.dialect, failure);
        }
        parts.extensions.insert(failure);
        Response::from_parts(parts, body)
    }

    fn stream_response(mut self, call: &Call) -> Response<AttemptBody<R>> {
        let tap = self.body.tap.as_ref();
        let failure = tap.and_then(|tap| match tap.state() {
            state if state.content => None,
            _ => tap.meter().failure().cloned(),
        });
        match failure {
            Some(failure) => failed(self.parts, call.dialect, failure),
            None => {
                if call.fail_refusals && tap.is_some_and(|tap| tap.state().refused) {
                    self.parts.extensions.insert(refused());
                }
                Response::from_parts(self.parts, self.body)
            }
        }
    }

    fn json_response(self, call: &Call, clock: &dyn WallClock) -> Response<AttemptBody<R>> {
        let dialect = call.dialect;
        let Self { mut parts, mut body, cut, .. } = self;
        if let Some(source) = body.error.take() {
            return broken(parts, dialect, source);
        }
        let metered = Metered::default();
        parts.extensions.insert(metered.clone());
        if cut {
            return Response::from_parts(parts, body);
        }
        match read_whole(dialect, &body.head) {
            Ok(read) => {
                note(&read, &metered);
                if read.error {
                    let ours = parts.extensions.get::<ProxyCredential>();
                    if let Some(clean) = ours.and_then(|ours| ours.blanked(&body.head)) {
                        body.head = clean.into();
                    }
                    let failure = error::classify_event(&body.head, clock.now());
                    if tells_secret(&parts, &failure) {
                        return instead(parts, dialect, failure);
                    }
                    parts.extensions.insert(failure);
                } else if call.fail_refusals && read.filtered && !read.has_content {
                    parts.extensions.insert(refused());
                }
            }
            Err(error) if error.is_data() => {}
            Err(error) => {
                let why = "The provider's reply is not valid JSON.";
                let failure = Failure::new(ErrorClass::Server, why).with_source(error);
                return failed(parts, dialect, failure);
            }
        }
        Response::from_parts(parts, body)
    }
}

/// Whether an error reply may come from something in front of the provider: a server error, or a
/// page. What a provider says of a request in words of its own is for its caller as it stands.
fn is_nobodys(reply: &Parts) -> bool {
    let page = reply.headers.get(header::CONTENT_TYPE);
    reply.status.is_server_error() || page.is_some_and(|it| it.as_bytes().starts_with(b"text/html"))
}

fn note(read: &crate::Reading, meter: &Meter) {
    if let Some(usage) = read.usage {
        meter.report(usage);
    }
    if read.content_bytes > 0 {
        meter.saw_output(read.content_bytes);
    }
    if read.has_content {
        meter.saw_first_token(Instant::now());
    }
    if read.interrupted {
        meter.fail(reply::interrupted());
    }
}

/// What an answer that was withheld counts as.
fn refused() -> Failure {
    let why = "The provider withheld its answer.";
    Failure::new(ErrorClass::ContentFilter, why)
}

fn broken<R>(parts: Parts, dialect: Dialect, source: BoxError) -> Response<AttemptBody<R>> {
    let why = "The connection to the provider broke in the middle of its reply.";
    let failure = interruption::broken(&source, why);
    failed(parts, dialect, failure.with_source(source))
}

/// The answer instead of a reply that is neither JSON nor a stream.
pub(super) fn not_json<R>(parts: Parts, dialect: Dialect) -> Response<AttemptBody<R>> {
    let content_type = parts.headers.get(header::CONTENT_TYPE);
    let why = match content_type.and_then(|value| value.to_str().ok()) {
        Some(kind) => {
            let kind: String = kind.chars().take(64).collect();
            format!("The provider's reply is neither valid JSON nor an event stream ({kind}).")
        }
        None => "The provider's reply is neither valid JSON nor an event stream.".to_owned(),
    };
    failed(parts, dialect, Failure::new(ErrorClass::Server, why))
}

/// Whether a client can read the error: an object, or Gemini's array of one. Of one that was cut,
/// the beginning has to tell.
fn is_json_error(body: &[u8], cut: bool) -> bool {
    let text = body.trim_ascii_start();
    let first = text.strip_prefix(b"[").map_or(text, <[u8]>::trim_ascii_start);
    first.starts_with(b"{")
        && (cut
            || std::str::from_utf8(body)
                .is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok()))
}

/// Whether an error is packed although we asked for none that is, so that nobody could see whether
/// it repeats the proxy's own key.
fn may_tell_secret(parts: &Parts, operation: Operation) -> bool {
    reads(operation)
        && parts.extensions.get::<ProxyCredential>().is_some_and(ProxyCredential::is_known)
        && !is_plain(&parts.headers)
}

/// Providers repeat part of a key they refuse: this one is not the caller's.
fn tells_secret(parts: &Parts, failure: &Failure) -> bool {
    failure.class() == ErrorClass::Auth && parts.extensions.get::<ProxyCredential>().is_some()
}

/// The answer instead of a reply that failed before any of it had gone out.
fn failed<R>(mut parts: Parts, dialect: Dialect, failure: Failure) -> Response<AttemptBody<R>> {
    parts.status = ErrorReply::of(&failure).status_in(dialect);
    if let Some(wait) = failure.retry_after() {
        let seconds = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0));
        parts.headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    instead(parts, dialect, failure)
}

/// The failure's own body in the place of the provider's; the status stays.
fn instead<R>(mut parts: Parts, dialect: Dialect, failure: Failure) -> Response<AttemptBody<R>> {
    let mut error = ErrorReply::of(&failure);
    if dialect != Dialect::OpenAi {
        // These go by the status, which may be the provider's own.
        error.status = parts.status;
    }
    error.request_id = parts.headers.get("request-id").and_then(|id| id.to_str().ok());
    let body = error.body_in(dialect);
    forget_body(&mut parts.headers);
    for name in [header::TRANSFER_ENCODING, header::CACHE_CONTROL] {
        parts.headers.remove(name);
    }
    let json = HeaderValue::from_static("application/json");
    parts.headers.insert(header::CONTENT_TYPE, json);
    parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len() as u64));
    parts.extensions.remove::<Metered>();
    parts.extensions.insert(failure);
    Response::from_parts(parts, AttemptBody::whole(body))
}
