use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;
use tollway_core::BoxError;

/// A body that can be read once only, shared by the copies of its request: whichever copy is polled
/// first takes it.
///
/// For uploads too large to hold in memory. An attempt that failed before anything of the body was
/// read (a refusal, no connection) leaves it whole, and another attempt can send it:
///
/// ```
/// use http::Request;
/// use tollway_retry::{OnceBody, Policy};
///
/// struct Uploads;
/// impl<B, R> Policy<OnceBody<B>, R> for Uploads {
///     fn clone_request(&self, request: &Request<OnceBody<B>>) -> Option<Request<OnceBody<B>>> {
///         Some(request.clone())
///     }
///     fn can_replay(&self, kept: &Request<OnceBody<B>>) -> bool {
///         kept.body().is_whole()
///     }
/// }
/// ```
#[pin_project]
pub struct OnceBody<B> {
    shared: Arc<Mutex<Option<B>>>,
    #[pin]
    taken: Option<B>,
}

impl<B> OnceBody<B> {
    /// A body that nobody has read yet.
    pub fn new(body: B) -> Self {
        Self { shared: Arc::new(Mutex::new(Some(body))), taken: None }
    }

    /// Whether no copy has read anything of it.
    pub fn is_whole(&self) -> bool {
        self.lock().is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Option<B>> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B> Clone for OnceBody<B> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), taken: None }
    }
}

impl<B> fmt::Debug for OnceBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnceBody").field("whole", &self.is_whole()).finish_non_exhaustive()
    }
}

impl<B> Body for OnceBody<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Data = B::Data;
    type Error = BoxError;

    /// A copy polled after another has taken the body fails: half a body is never sent as a whole.
    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        let mut this = self.project();
        if this.taken.is_none() {
            let body = this.shared.lock().unwrap_or_else(PoisonError::into_inner).take();
            this.taken.set(body);
        }
        match this.taken.as_pin_mut() {
            Some(body) => body.poll_frame(cx).map_err(Into::into),
            None => Poll::Ready(Some(Err("the request's body was sent before".into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.taken {
            Some(body) => body.is_end_stream(),
            None => self.lock().as_ref().is_some_and(Body::is_end_stream),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.taken {
            Some(body) => body.size_hint(),
            None => self.lock().as_ref().map_or_else(SizeHint::default, Body::size_hint),
        }
    }
}
