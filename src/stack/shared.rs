use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use tower_layer::Layer;
use tower_service::Service;

/// Makes one value of all that is below, however many hold it: a clone is one count taken, not one
/// for each part of each layer. What all workers share, their threads would fight over.
///
/// Clones share their readiness as well, so what is below must be ready at all times, as the whole
/// stack is. A worker is one thread: nobody ever waits for the lock, which is held for `call` alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct SharedLayer;

impl<S> Layer<S> for SharedLayer {
    type Service = Shared<S>;

    fn layer(&self, inner: S) -> Shared<S> {
        Shared(Arc::new(Mutex::new(inner)))
    }
}

/// One service that many hold: a clone is the same one.
pub struct Shared<S>(Arc<Mutex<S>>);

impl<S> Shared<S> {
    /// From now on all clones call what `fresh` is. Requests under way end as they began, and what was
    /// called until now is dropped with the last of them.
    pub fn renew(&self, fresh: Self) {
        if !Arc::ptr_eq(&self.0, &fresh.0) {
            std::mem::swap(&mut *self.lock(), &mut *fresh.lock());
        }
        // With no lock held: it may be the end of many things.
        drop(fresh);
    }

    /// A panic below costs its request alone: the services hold nothing that it could leave half done.
    fn lock(&self) -> MutexGuard<'_, S> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> Clone for Shared<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S> fmt::Debug for Shared<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl<S: Service<Q>, Q> Service<Q> for Shared<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.lock().poll_ready(cx)
    }

    fn call(&mut self, request: Q) -> S::Future {
        self.lock().call(request)
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, convert::Infallible, future::ready};

    use tower::{ServiceExt, service_fn};

    use super::*;

    #[tokio::test]
    async fn all_clones_are_renewed_and_the_old_one_is_dropped() {
        let held = Arc::new(());
        let make = |number: i32, held: Arc<()>| {
            let answer = move |()| {
                let _held = &held;
                ready(Ok::<_, Infallible>(number))
            };
            SharedLayer.layer(service_fn(answer))
        };
        let shared = make(1, held.clone());
        let clone = shared.clone();
        assert_eq!(clone.clone().oneshot(()).await, Ok(1));
        shared.renew(make(2, Arc::default()));
        assert_eq!((clone.clone().oneshot(()).await, Arc::strong_count(&held)), (Ok(2), 1));
        shared.renew(clone.clone());
        assert_eq!(clone.oneshot(()).await, Ok(2));
    }

    #[tokio::test]
    async fn clones_are_one_and_outlive_a_panic() {
        let calls = Cell::new(0);
        let count = service_fn(move |fail: bool| {
            assert!(!fail, "a bug");
            calls.set(calls.get() + 1);
            ready(Ok::<_, Infallible>(calls.get()))
        });
        let shared = SharedLayer.layer(count);
        assert_eq!(shared.clone().oneshot(false).await, Ok(1));
        let mut broken = shared.clone();
        let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| broken.call(true)));
        assert!(panic.is_err());
        assert_eq!(shared.oneshot(false).await, Ok(2));
    }
}
