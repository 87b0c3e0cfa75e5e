use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Response;
use http_body::Body;
use pin_project::pin_project;
use tollway_core::{Ending, Guard, GuardedBody, Hook};

use crate::{Pricing, Record, entry::Entry};

/// Future of [`Cost`](crate::Cost). Dropped before it is ready, it settles as
/// [`Dropped`](Ending::Dropped).
#[pin_project]
pub struct ResponseFuture<F, P: Pricing, H: Hook<Record>> {
    #[pin]
    inner: F,
    entry: Option<Box<Entry<P, H>>>,
}

impl<F, P: Pricing, H: Hook<Record>> ResponseFuture<F, P, H> {
    pub(crate) fn new(inner: F, entry: Box<Entry<P, H>>) -> Self {
        Self { inner, entry: Some(entry) }
    }
}

impl<F, P: Pricing, H: Hook<Record>> fmt::Debug for ResponseFuture<F, P, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

impl<F, P, H, R, E> Future for ResponseFuture<F, P, H>
where
    F: Future<Output = Result<Response<R>, E>>,
    P: Pricing,
    H: Hook<Record>,
    R: Body,
{
    type Output = Result<Response<GuardedBody<R, Box<Entry<P, H>>>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = ready!(this.inner.poll(cx));
        let mut entry = this.entry.take().expect("polled after it was ready");
        Poll::Ready(match result {
            Ok(mut response) => {
                entry.head(&mut response);
                Ok(response.map(|body| GuardedBody::new(body, entry)))
            }
            Err(error) => {
                entry.ended(Ending::Failed);
                Err(error)
            }
        })
    }
}
