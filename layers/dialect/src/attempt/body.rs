use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tollway_core::BoxError;

use super::tap::Tap;

/// A reply's body after [`Attempt`](crate::Attempt): the upstream's bytes, each chunk as it comes.
///
/// A stream that breaks ends with an error event, if
/// [`tell_interruptions`](crate::AttemptConfig::tell_interruptions) is on; the
/// [`Meter`](tollway_core::Meter) has the failure before that event is out.
///
/// Dropped early, the [`Meter`](tollway_core::Meter) keeps what has passed.
#[derive(Debug)]
pub struct AttemptBody<R> {
    /// Bytes that were read ahead.
    pub(super) head: Bytes,
    /// Boxed, as all that few replies have: a body moves through every layer above.
    pub(super) tap: Option<Box<Tap>>,
    /// None once it has ended.
    pub(super) rest: Option<R>,
    pub(super) trailers: Option<Box<HeaderMap>>,
    pub(super) error: Option<BoxError>,
}

impl<R> AttemptBody<R> {
    pub(super) fn whole(bytes: Bytes) -> Self {
        Self { head: bytes, tap: None, rest: None, trailers: None, error: None }
    }

    pub(super) fn plain(rest: R) -> Self {
        Self { rest: Some(rest), ..Self::whole(Bytes::new()) }
    }
}

impl<R> AttemptBody<R>
where
    R: Body<Data = Bytes> + Unpin,
    R::Error: Into<BoxError>,
{
    /// Takes the next frame of the upstream in; false once there is none.
    pub(super) fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            let Some(rest) = &mut self.rest else { return Poll::Ready(None) };
            match ready!(Pin::new(&mut *rest).poll_frame(cx)) {
                None => self.end(None),
                Some(Err(error)) => self.end(Some(error.into())),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        let Some(tap) = &mut self.tap else { return Poll::Ready(Some(data)) };
                        tap.feed(data);
                        // A server may never poll again once the body says that it has ended.
                        if rest.is_end_stream() {
                            self.end(None);
                        }
                        return Poll::Ready(None);
                    }
                    Err(frame) => {
                        self.trailers = frame.into_trailers().ok().map(Box::new);
                        self.end(None);
                    }
                },
            }
        }
    }

    fn end(&mut self, error: Option<BoxError>) {
        self.rest = None;
        self.error = match &mut self.tap {
            Some(tap) => tap.finish(error),
            None => error,
        };
    }

    /// Listens from here on, also to what was read ahead.
    pub(super) fn listen(&mut self, mut tap: Tap) {
        let head = std::mem::take(&mut self.head);
        if !head.is_empty() {
            tap.feed(head);
        }
        if self.rest.is_none() {
            self.error = tap.finish(self.error.take());
        }
        self.tap = Some(Box::new(tap));
    }
}

impl<R> Body for AttemptBody<R>
where
    R: Body<Data = Bytes> + Unpin,
    R::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            if !self.head.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.head)))));
            }
            if let Some(bytes) = self.tap.as_mut().and_then(|tap| tap.pop()) {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            if let Some(error) = self.error.take() {
                return Poll::Ready(Some(Err(error)));
            }
            if let Some(trailers) = self.trailers.take() {
                return Poll::Ready(Some(Ok(Frame::trailers(*trailers))));
            }
            if self.rest.is_none() {
                return Poll::Ready(None);
            }
            if let Some(data) = ready!(self.poll_rest(cx)) {
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let tapped = self.tap.is_some();
        self.head.is_empty()
            && self.error.is_none()
            && self.trailers.is_none()
            && !self.tap.as_ref().is_some_and(|tap| tap.has_output())
            && self.rest.as_ref().is_none_or(|rest| !tapped && rest.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let head = self.head.len() as u64;
        match &self.rest {
            // What a tap leaves out is not known yet.
            _ if self.tap.is_some() => SizeHint::default(),
            None => SizeHint::with_exact(head),
            Some(rest) => {
                let hint = rest.size_hint();
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
