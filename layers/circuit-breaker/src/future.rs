use std::{
    fmt,
    future::Future,
    hash::Hash,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Response;
use http_body::Body;
use pin_project::pin_project;
use tollway_core::{BoxError, GuardedBody};

use crate::{CircuitOpen, Classify, sample::Sample};

/// Answers with the inner service's reply, or with [`CircuitOpen`].
#[pin_project]
pub struct ResponseFuture<F, K: Hash + Eq + Clone, C: Classify> {
    #[pin]
    inner: Inner<F>,
    sample: Sample<K, C>,
}

#[pin_project(project = InnerProj)]
enum Inner<F> {
    Called(#[pin] F),
    Refused(Option<CircuitOpen>),
}

impl<F, K: Hash + Eq + Clone, C: Classify> ResponseFuture<F, K, C> {
    pub(crate) fn new(inner: F, sample: Sample<K, C>) -> Self {
        Self { inner: Inner::Called(inner), sample }
    }

    pub(crate) fn refused(error: CircuitOpen) -> Self {
        Self { inner: Inner::Refused(Some(error)), sample: Sample(None) }
    }
}

impl<F, K: Hash + Eq + Clone, C: Classify> fmt::Debug for ResponseFuture<F, K, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").field("sample", &self.sample).finish_non_exhaustive()
    }
}

impl<F, K, C, R, E> Future for ResponseFuture<F, K, C>
where
    F: Future<Output = Result<Response<R>, E>>,
    E: Into<BoxError>,
    R: Body,
    K: Hash + Eq + Clone,
    C: Classify,
{
    type Output = Result<Response<GuardedBody<R, Sample<K, C>>>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let reply = match this.inner.project() {
            InnerProj::Called(inner) => ready!(inner.poll(cx)),
            InnerProj::Refused(error) => {
                let error = error.take().expect("polled after it was ready");
                return Poll::Ready(Err(error.into()));
            }
        };
        Poll::Ready(match reply {
            Ok(response) => {
                let (parts, body) = response.into_parts();
                this.sample.head(Ok(&parts));
                let sample = Sample(this.sample.0.take());
                Ok(Response::from_parts(parts, GuardedBody::new(body, sample)))
            }
            Err(error) => {
                let error = error.into();
                this.sample.head(Err(&error));
                // A judge that waits for the end of a reply that never came learns nothing.
                this.sample.0 = None;
                Err(error)
            }
        })
    }
}
