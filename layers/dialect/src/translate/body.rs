use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use tollway_core::BoxError;

use super::stream::Stream;

/// A reply's body after [`Translate`](super::Translate).
#[derive(Debug)]
pub struct TranslateBody<R>(Kind<R>);

#[derive(Debug)]
enum Kind<R> {
    /// Not translated.
    Passing(R),
    Whole(Bytes),
    /// Boxed, so that a body that passes is no larger for it.
    Streaming(Box<Streaming<R>>),
}

#[derive(Debug)]
struct Streaming<R> {
    /// `None` once it has ended.
    inner: Option<R>,
    stream: Stream,
    out: Vec<u8>,
}

impl<R> TranslateBody<R> {
    pub(super) fn passing(body: R) -> Self {
        Self(Kind::Passing(body))
    }

    pub(super) fn whole(bytes: impl Into<Bytes>) -> Self {
        Self(Kind::Whole(bytes.into()))
    }

    pub(super) fn streaming(inner: R, stream: Stream) -> Self {
        let inner = Some(inner);
        Self(Kind::Streaming(Box::new(Streaming { inner, stream, out: Vec::new() })))
    }
}

impl<R> Body for TranslateBody<R>
where
    R: Body<Data = Bytes> + Unpin,
    R::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.get_mut().0 {
            Kind::Passing(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            Kind::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Kind::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Kind::Streaming(streaming) => streaming.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Passing(body) => body.is_end_stream(),
            Kind::Whole(bytes) => bytes.is_empty(),
            Kind::Streaming(streaming) => streaming.inner.is_none() && streaming.out.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Passing(body) => body.size_hint(),
            Kind::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Streaming(_) => SizeHint::default(),
        }
    }
}

impl<R> Streaming<R>
where
    R: Body<Data = Bytes> + Unpin,
    R::Error: Into<BoxError>,
{
    /// What one chunk gives leaves in one frame, at once.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            if !self.out.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.out).into()))));
            }
            let Some(inner) = &mut self.inner else { return Poll::Ready(None) };
            match ready!(Pin::new(inner).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    if let Ok(chunk) = frame.into_data() {
                        self.stream.feed(&chunk, &mut self.out);
                    }
                }
                Some(Err(error)) => {
                    self.inner = None;
                    return Poll::Ready(Some(Err(error.into())));
                }
                None => {
                    self.inner = None;
                    self.stream.finish(&mut self.out);
                }
            }
        }
    }
}

/// A body that is being read whole.
#[derive(Debug)]
pub(super) struct Collect<R> {
    body: R,
    held: BytesMut,
    max: usize,
}

impl<R> Collect<R>
where
    R: Body<Data = Bytes> + Unpin,
    R::Error: Into<BoxError>,
{
    pub(super) fn new(body: R, max: usize) -> Self {
        Self { body, held: BytesMut::new(), max }
    }

    /// All of it; `None` if it is larger than it may be.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BoxError>> {
        loop {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    if self.held.len() + data.len() > self.max {
                        return Poll::Ready(Ok(None));
                    }
                    // One that comes in one piece is not copied.
                    if self.held.is_empty() && self.body.is_end_stream() {
                        return Poll::Ready(Ok(Some(data)));
                    }
                    self.held.extend_from_slice(&data);
                }
                Some(Err(error)) => return Poll::Ready(Err(error.into())),
                None => return Poll::Ready(Ok(Some(std::mem::take(&mut self.held).freeze()))),
            }
        }
    }
}
