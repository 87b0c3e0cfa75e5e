use std::{
    cell::Cell,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::rt::Executor;
use pin_project::pin_project;
use tokio::time::{Sleep, sleep};

use super::refusal::Exchange;

/// What a client must take of a reply within the policy's `body_timeout`: one frame, as HTTP/2
/// cuts them unless told otherwise. Larger pieces would let hyper sit on one, and a client that
/// reads slowly look like one that doesn't.
const PIECE: usize = 16 * 1024;

/// Whom a reply waits for, as its body saw it during one poll of its stream.
#[derive(Clone, Copy, Debug)]
enum Turn {
    /// The body wasn't polled: whomever it waited for before.
    Same,
    /// The body had nothing to give.
    Provider,
    /// The body gave something, and wasn't asked again: there is no window to send more.
    Client,
}

thread_local! {
    /// Set while a stream of HTTP/2 is being polled: its body is polled in there, and nowhere else.
    static TURN: Cell<Option<Turn>> = const { Cell::new(None) };
}

/// Runs the streams of HTTP/2 connections, each with a bound on how long its client may leave it
/// waiting for a window.
///
/// A client that shuts its window, or doesn't read, stalls one stream and not the socket, so
/// [`StallGuard`](super::StallGuard) sees nothing of it. Giving the stream up drops the reply's
/// body, which frees all that the request held, and has h2 reset the stream; the connection and
/// its other streams live on.
#[derive(Clone, Debug)]
pub(super) struct Streams {
    pub(super) patience: Duration,
}

impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        tokio::spawn(Stream { stream: Some(stream), patience: self.patience, stalled: None });
    }
}

/// One stream: from its request's head to its reply's end.
#[pin_project]
struct Stream<F> {
    #[pin]
    stream: Option<F>,
    patience: Duration,
    #[pin]
    stalled: Option<Sleep>,
}

impl<F: Future<Output = ()>> Future for Stream<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let Some(stream) = this.stream.as_mut().as_pin_mut() else { return Poll::Ready(()) };
        TURN.set(Some(Turn::Same));
        let done = stream.poll(cx);
        let turn = TURN.take();
        if done.is_ready() {
            return done;
        }
        match turn {
            Some(Turn::Client) => this.stalled.set(Some(sleep(*this.patience))),
            Some(Turn::Provider) => this.stalled.set(None),
            Some(Turn::Same) | None => {}
        }
        let Some(stalled) = this.stalled.as_mut().as_pin_mut() else { return Poll::Pending };
        ready!(stalled.poll(cx));
        tracing::debug!("a client left its reply unread: the stream is given up");
        this.stream.set(None);
        Poll::Ready(())
    }
}

/// A reply's body that tells its [`Stream`] whose turn it is, and gives no more than a [`PIECE`]
/// at once. Over HTTP/1.1 it changes nothing. Its request is over when it is dropped.
#[derive(Debug)]
#[pin_project]
pub(super) struct Watched<R> {
    /// `None`: `rest` is all.
    #[pin]
    inner: Option<R>,
    rest: Bytes,
    exchange: Option<Exchange>,
}

impl<R> Watched<R> {
    pub(super) fn new(inner: R, exchange: Option<Exchange>) -> Self {
        Self { inner: Some(inner), rest: Bytes::new(), exchange }
    }

    /// A body of these bytes.
    pub(super) fn whole(bytes: Bytes, exchange: Option<Exchange>) -> Self {
        Self { inner: None, rest: bytes, exchange }
    }
}

impl<R: Body<Data = Bytes>> Body for Watched<R> {
    type Data = Bytes;
    type Error = R::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, R::Error>>> {
        let this = self.project();
        let over_http2 = TURN.get().is_some();
        if over_http2 {
            TURN.set(Some(Turn::Client));
            if !this.rest.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(piece(this.rest)))));
            }
        }
        let Some(inner) = this.inner.as_pin_mut() else {
            let rest = std::mem::take(this.rest);
            return Poll::Ready((!rest.is_empty()).then(|| Ok(Frame::data(rest))));
        };
        let frame = inner.poll_frame(cx);
        if !over_http2 {
            return frame;
        }
        if frame.is_pending() {
            TURN.set(Some(Turn::Provider));
        }
        frame.map_ok(|frame| match frame.into_data() {
            Ok(data) => {
                *this.rest = data;
                Frame::data(piece(this.rest))
            }
            Err(other) => other,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.as_ref().is_none_or(R::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let none = SizeHint::with_exact(0);
        let inner = self.inner.as_ref().map_or(none, R::size_hint);
        let rest = self.rest.len() as u64;
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower().saturating_add(rest));
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint
    }
}

fn piece(rest: &mut Bytes) -> Bytes {
    rest.split_to(rest.len().min(PIECE))
}
