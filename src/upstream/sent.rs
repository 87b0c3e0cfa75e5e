use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;
use tollway_core::{BoxError, ErrorClass, Failure};
use tollway_route::is_own;

use super::headers::remove_where;
use crate::telemetry::Exchange;

/// A request's body on its way to the provider; its error is noted in the [`Exchange`].
///
/// What the connection makes of a body that fails is its own error (a reset, over HTTP/2), in which
/// nobody could tell the client's fault from the provider's.
#[pin_project]
#[derive(Debug)]
pub struct SentBody<B> {
    #[pin]
    inner: B,
    exchange: Option<Arc<Exchange>>,
}

impl<B> SentBody<B> {
    pub(super) fn new(inner: B, exchange: Option<Arc<Exchange>>) -> Self {
        Self { inner, exchange }
    }
}

impl<B> Body for SentBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.project();
        let next = this.inner.poll_frame(cx).map_ok(|mut frame| {
            // As of the headers: what is said to this proxy goes no further.
            if let Some(trailers) = frame.trailers_mut() {
                remove_where(trailers, is_own);
            }
            frame
        });
        next.map_err(|error| {
            let said = "the request's body did not come whole";
            let failure = Failure::new(ErrorClass::Invalid, said).with_source(error);
            if let Some(exchange) = this.exchange {
                exchange.note_body_failure(failure.clone());
            }
            failure.into()
        })
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, future::ready};

    use http::HeaderMap;
    use http_body_util::{BodyExt, Full};

    use super::*;

    #[tokio::test]
    async fn what_is_said_to_this_proxy_behind_a_body_goes_no_further() {
        let names = ["x-tollway-task", "x_tollway", "x-checksum"];
        let named = |name: &str| (name.parse().unwrap(), "1".parse().unwrap());
        let trailers: HeaderMap = names.into_iter().map(named).collect();
        let body =
            Full::new(Bytes::from("x")).with_trailers(ready(Some(Ok::<_, Infallible>(trailers))));
        let sent = SentBody::new(body, None).collect().await.unwrap();
        let left: Vec<_> = sent.trailers().unwrap().keys().map(|name| name.as_str()).collect();
        assert_eq!(left, ["x-checksum"]);
    }
}
