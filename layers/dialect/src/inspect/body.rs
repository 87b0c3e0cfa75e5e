use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;
use tollway_core::BoxError;

use super::service::{incomplete, too_large};
use crate::openai::Edits;

/// A request body after [`Inspect`](crate::Inspect): held whole, or still streaming.
///
/// A held body can be cloned for another attempt; a streaming one can be sent only once. One that
/// ends early, or is longer than its bound, ends in a [`BadRequest`](crate::BadRequest).
#[derive(Debug)]
pub struct RequestBody<B> {
    kind: Kind<B>,
    edits: Edits,
}

#[derive(Debug)]
enum Kind<B> {
    Buffered(Bytes),
    /// Boxed, so that a held body is no larger for it: it moves through every layer below.
    Streaming(Pin<Box<Streaming<B>>>),
}

#[derive(Debug)]
#[pin_project(project = Proj)]
struct Streaming<B> {
    /// Bytes that were read from `rest` already.
    head: Bytes,
    #[pin]
    rest: B,
    bound: Bound,
}

/// How much a streaming body may be.
#[derive(Clone, Copy, Debug)]
struct Bound {
    max: u64,
    /// What may still come.
    left: u64,
}

impl Bound {
    const NONE: Self = Self { max: u64::MAX, left: u64::MAX };

    fn take(&mut self, bytes: usize) -> Result<(), BoxError> {
        match self.left.checked_sub(bytes as u64) {
            Some(left) => self.left = left,
            None => return Err(too_large(self.max).into()),
        }
        Ok(())
    }
}

impl<B> RequestBody<B> {
    /// A body held whole.
    pub fn buffered(bytes: impl Into<Bytes>) -> Self {
        Self { kind: Kind::Buffered(bytes.into()), edits: Edits::default() }
    }

    /// A body that streams through.
    pub fn streaming(rest: B) -> Self {
        Self::with_head(Bytes::new(), rest)
    }

    /// A streaming body whose first bytes have been read already.
    pub fn with_head(head: Bytes, rest: B) -> Self {
        let streaming = Box::pin(Streaming { head, rest, bound: Bound::NONE });
        Self { kind: Kind::Streaming(streaming), edits: Edits::default() }
    }

    /// The same body, which fails with 413 where it streams more than `max` bytes in all.
    pub fn with_max(mut self, max: u64) -> Self {
        if let Kind::Streaming(streaming) = &mut self.kind {
            let this = streaming.as_mut().project();
            *this.bound = Bound { max, left: max.saturating_sub(this.head.len() as u64) };
        }
        self
    }

    /// The same body with the places where [`Attempt`](crate::Attempt) may change it; without
    /// them it changes nothing.
    pub fn with_edits(self, edits: Edits) -> Self {
        Self { edits, ..self }
    }

    /// Where the body may be changed.
    pub fn edits(&self) -> Edits {
        self.edits
    }

    /// The whole body, if it is held.
    pub fn as_bytes(&self) -> Option<&Bytes> {
        match &self.kind {
            Kind::Buffered(bytes) => Some(bytes),
            Kind::Streaming(_) => None,
        }
    }

    /// The bytes at hand: all of a held body, the start of a streaming one.
    pub(crate) fn head(&self) -> Option<&Bytes> {
        let head = match &self.kind {
            Kind::Buffered(head) => head,
            Kind::Streaming(streaming) => &streaming.head,
        };
        (!head.is_empty()).then_some(head)
    }

    /// Puts edited bytes in the place of the head; there is nothing to edit any more.
    pub(crate) fn set_head(&mut self, bytes: Bytes) {
        self.edits = Edits::default();
        match &mut self.kind {
            Kind::Buffered(head) => *head = bytes,
            Kind::Streaming(streaming) => *streaming.as_mut().project().head = bytes,
        }
    }

    /// The same body again, if it is held: a reference to the same bytes.
    pub fn try_clone(&self) -> Option<Self> {
        let bytes = self.as_bytes()?.clone();
        Some(Self::buffered(bytes).with_edits(self.edits))
    }
}

impl<B> Body for RequestBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.kind {
            Kind::Buffered(bytes) if bytes.is_empty() => Poll::Ready(None),
            Kind::Buffered(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Kind::Streaming(streaming) => {
                let Proj { head, rest, bound } = streaming.as_mut().project();
                if !head.is_empty() {
                    return Poll::Ready(Some(Ok(Frame::data(std::mem::take(head)))));
                }
                Poll::Ready(ready!(rest.poll_frame(cx)).map(|frame| {
                    let frame = frame.map_err(|error| incomplete(error.into(), bound.max))?;
                    bound.take(frame.data_ref().map_or(0, Bytes::len))?;
                    Ok(frame)
                }))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Buffered(bytes) => bytes.is_empty(),
            Kind::Streaming(streaming) => {
                streaming.head.is_empty() && streaming.rest.is_end_stream()
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Buffered(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Streaming(streaming) => {
                let (hint, head) = (streaming.rest.size_hint(), streaming.head.len() as u64);
                let mut sum = SizeHint::new();
                sum.set_lower(hint.lower().saturating_add(head));
                if let Some(upper) = hint.upper().and_then(|upper| upper.checked_add(head)) {
                    sum.set_upper(upper);
                }
                sum
            }
        }
    }
}
