use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::Version;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tollway_core::BoxError;

/// A provider's reply from the network, that ends well only if it is whole.
///
/// Over HTTP/2 a provider may reset a stream without an error once its reply is over (RFC 9113,
/// 8.1). The library takes every such reset for a good end; before the end of the stream it is none.
#[derive(Debug)]
pub struct WholeBody {
    inner: Incoming,
    /// Whether its end is still to be doubted.
    doubted: bool,
}

impl WholeBody {
    /// A body that came over this version.
    pub(super) fn new(inner: Incoming, version: Version) -> Self {
        Self { inner, doubted: version == Version::HTTP_2 }
    }
}

impl Body for WholeBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if frame.is_none() && std::mem::take(&mut self.doubted) && !self.inner.is_end_stream() {
            return Poll::Ready(Some(Err("the stream was reset before its end".into())));
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
