use std::{
    fmt,
    hash::Hash,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use http_body::Body;
use tollway_core::{BoxError, GuardedBody};
use tower_service::Service;

use crate::{
    CircuitOpen, Classify, EventKind, FindKey,
    future::ResponseFuture,
    handle::Core,
    registry::Permit,
    sample::{Live, Sample},
    state::{Nanos, Refusal},
};

/// The service that [`CircuitBreakerLayer`](crate::CircuitBreakerLayer) makes.
pub struct CircuitBreaker<S, K, F, C> {
    inner: S,
    core: Arc<Core<K>>,
    key: F,
    classify: C,
}

impl<S, K, F, C> CircuitBreaker<S, K, F, C> {
    pub(crate) fn new(inner: S, core: Arc<Core<K>>, key: F, classify: C) -> Self {
        Self { inner, core, key, classify }
    }
}

impl<S: Clone, K, F: Clone, C: Clone> Clone for CircuitBreaker<S, K, F, C> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            core: self.core.clone(),
            key: self.key.clone(),
            classify: self.classify.clone(),
        }
    }
}

impl<S: fmt::Debug, K, F, C> fmt::Debug for CircuitBreaker<S, K, F, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreaker").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<K: Hash + Eq + Clone> Core<K> {
    /// Asks the circuit of `key` for a permit; `None`: there is no room to guard that key.
    fn admit(&self, key: K) -> Result<Option<(Permit<K>, Nanos)>, CircuitOpen> {
        let now = self.now();
        let Some(entry) = self.registry.get_or_make(key, now, &self.config) else {
            return Ok(None);
        };
        let (answer, change) = entry.lock().admit(now, &self.config);
        match answer {
            Ok(pass) => {
                // Before anybody is told: a listener that panics must not cost a trial its place.
                let permit = Permit::new(entry, pass);
                self.changed(permit.key(), change, now);
                if permit.is_trial() {
                    self.tell(permit.key(), EventKind::Trial);
                }
                Ok(Some((permit, now)))
            }
            Err(refusal) => {
                self.changed(&entry.key, change, now);
                Err(self.refuse(&entry.key, refusal, now))
            }
        }
    }

    fn refuse(&self, key: &K, refusal: Refusal, now: Nanos) -> CircuitOpen {
        let Refusal { phase, reason, retry_after } = refusal;
        self.tell(key, EventKind::Refused { reason, retry_after });
        CircuitOpen::new(self.state(phase, now), reason, retry_after, self.refusal.clone())
    }
}

impl<S, K, F, C, B, R> Service<Request<B>> for CircuitBreaker<S, K, F, C>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: Into<BoxError>,
    R: Body,
    K: Hash + Eq + Clone + Send + Sync,
    F: FindKey<K>,
    C: Classify + Clone,
{
    type Response = Response<GuardedBody<R, Sample<K, C>>>;
    type Error = BoxError;
    type Future = ResponseFuture<S::Future, K, C>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (parts, body) = request.into_parts();
        let key = self.key.find_key(&parts);
        let request = Request::from_parts(parts, body);
        let admitted = match key {
            None => None,
            Some(key) => match self.core.admit(key) {
                Ok(admitted) => admitted,
                Err(refused) => return ResponseFuture::refused(refused),
            },
        };
        // The permit is held before the inner service runs, so that a panic there gives it back.
        let live = admitted.map(|(permit, started)| {
            Live::new(self.core.clone(), self.classify.clone(), permit, started)
        });
        ResponseFuture::new(self.inner.call(request), Sample(live))
    }
}
