use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project::pin_project;
use tollway_core::BoxError;

/// Future of a [`RouteService`](crate::RouteService): the inner service's, or a refusal.
#[derive(Debug)]
#[pin_project]
pub struct ResponseFuture<F>(#[pin] Kind<F>);

#[derive(Debug)]
#[pin_project(project = KindProjection)]
enum Kind<F> {
    Inner(#[pin] F),
    Refused(Option<BoxError>),
}

impl<F> ResponseFuture<F> {
    pub(crate) fn inner(future: F) -> Self {
        Self(Kind::Inner(future))
    }

    pub(crate) fn refused(refusal: impl Into<BoxError>) -> Self {
        Self(Kind::Refused(Some(refusal.into())))
    }
}

impl<F, T, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<T, E>>,
    E: Into<BoxError>,
{
    type Output = Result<T, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().0.project() {
            KindProjection::Inner(future) => future.poll(cx).map_err(Into::into),
            KindProjection::Refused(refusal) => {
                // Polled again after its end, which a future need not answer.
                refusal.take().map_or(Poll::Pending, |refusal| Poll::Ready(Err(refusal)))
            }
        }
    }
}
