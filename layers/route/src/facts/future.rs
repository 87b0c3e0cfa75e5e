use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Response;
use http_body::Body;
use pin_project::pin_project;
use tollway_core::{BoxError, GuardedBody};

use super::{Classify, CostOf, Tracked};

/// Future of [`TrackService`](super::TrackService). Dropped before it is ready, its request counts
/// for nothing.
#[pin_project]
pub struct ResponseFuture<F, C, P> {
    #[pin]
    inner: F,
    tracked: Tracked<C, P>,
}

impl<F, C, P> ResponseFuture<F, C, P> {
    pub(super) fn new(inner: F, tracked: Tracked<C, P>) -> Self {
        Self { inner, tracked }
    }
}

impl<F, C, P> fmt::Debug for ResponseFuture<F, C, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").field("tracked", &self.tracked).finish_non_exhaustive()
    }
}

impl<F, C, P, R, E> Future for ResponseFuture<F, C, P>
where
    F: Future<Output = Result<Response<R>, E>>,
    E: Into<BoxError>,
    C: Classify,
    P: CostOf,
    R: Body,
{
    type Output = Result<Response<GuardedBody<R, Tracked<C, P>>>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        Poll::Ready(match ready!(this.inner.poll(cx)) {
            Ok(response) => {
                let (head, body) = response.into_parts();
                this.tracked.head(Ok(&head));
                Ok(Response::from_parts(head, GuardedBody::new(body, this.tracked.take())))
            }
            Err(error) => {
                let error = error.into();
                this.tracked.head(Err(&error));
                Err(error)
            }
        })
    }
}
