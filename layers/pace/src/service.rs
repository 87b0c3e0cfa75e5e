use std::{
    fmt,
    hash::Hash,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use tollway_core::BoxError;
use tower_service::Service;

use crate::{ResponseFuture, handle::Core, permit::Entered};

/// The service that [`PaceLayer`](crate::PaceLayer) makes.
///
/// Readiness is the inner service's; requests are held back in `call`.
pub struct Pace<S, K> {
    inner: S,
    core: Arc<Core<K>>,
}

impl<S, K> Pace<S, K> {
    pub(crate) fn new(inner: S, core: Arc<Core<K>>) -> Self {
        Self { inner, core }
    }
}

impl<S: Clone, K> Clone for Pace<S, K> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), self.core.clone())
    }
}

impl<S: fmt::Debug, K> fmt::Debug for Pace<S, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pace").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<S, K, B, R> Service<Request<B>> for Pace<S, K>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    S::Error: Into<BoxError>,
    K: Hash + Eq + Clone,
{
    type Response = Response<R>;
    type Error = BoxError;
    type Future = ResponseFuture<S, B, K>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (parts, body) = request.into_parts();
        let entered = self.core.enter(&parts);
        let request = Request::from_parts(parts, body);
        match entered {
            // The permit is held before the inner service runs, so that a panic there ends it.
            Entered::Admitted(permit) => ResponseFuture::running(self.inner.call(request), permit),
            Entered::Refused(error) => ResponseFuture::refused(error),
            Entered::Waiting(place) => {
                // The instance that was polled ready is the one that is called, later.
                let clone = self.inner.clone();
                let ready = std::mem::replace(&mut self.inner, clone);
                ResponseFuture::waiting(place, ready, request)
            }
        }
    }
}
