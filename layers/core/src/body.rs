use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use http_body::{Body, Frame, SizeHint};
use pin_project::{pin_project, pinned_drop};

/// How a reply ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ending {
    /// The body was sent to its end.
    Complete,
    /// The body ended in an error.
    Failed,
    /// Nobody waited for the end: the client hung up, or the request was cancelled.
    Dropped,
}

/// What has to be settled exactly once when a reply ends, whichever way it ends.
///
/// A guard is made in `call`, rides in the response future, then in the response body. A guard
/// dropped without [`ended`](Self::ended) (the future was cancelled) must release what it holds in
/// its own `Drop`. Must not panic.
pub trait Guard {
    /// The body ended; called at most once.
    fn ended(&mut self, ending: Ending);
}

/// A large guard rides in a box, so that it is not copied wherever the reply is moved.
impl<G: Guard + ?Sized> Guard for Box<G> {
    fn ended(&mut self, ending: Ending) {
        (**self).ended(ending);
    }
}

/// A body that carries a [`Guard`] to the reply's end.
///
/// ```
/// use http_body_util::{BodyExt, Full};
/// use tollway_core::{Ending, Guard, GuardedBody};
///
/// struct Print;
/// impl Guard for Print {
///     fn ended(&mut self, ending: Ending) {
///         println!("{ending:?}");
///     }
/// }
/// let body = GuardedBody::new(Full::new(bytes::Bytes::from("hi")), Print);
/// drop(body); // prints "Dropped"
/// ```
#[derive(Debug)]
#[pin_project(PinnedDrop)]
pub struct GuardedBody<B: Body, G: Guard> {
    #[pin]
    inner: B,
    guard: Option<G>,
}

impl<B: Body, G: Guard> GuardedBody<B, G> {
    /// Wraps `inner`; a body that is empty already counts as complete at once.
    pub fn new(inner: B, mut guard: G) -> Self {
        if inner.is_end_stream() {
            guard.ended(Ending::Complete);
            return Self { inner, guard: None };
        }
        Self { inner, guard: Some(guard) }
    }
}

fn end<G: Guard>(slot: &mut Option<G>, ending: Ending) {
    if let Some(mut guard) = slot.take() {
        guard.ended(ending);
    }
}

impl<B: Body, G: Guard> Body for GuardedBody<B, G> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let frame = ready!(this.inner.as_mut().poll_frame(cx));
        match &frame {
            None => end(this.guard, Ending::Complete),
            Some(Err(_)) => end(this.guard, Ending::Failed),
            // A server may never poll again once the body says that it has ended.
            Some(Ok(_)) if this.inner.is_end_stream() => end(this.guard, Ending::Complete),
            Some(Ok(_)) => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[pinned_drop]
impl<B: Body, G: Guard> PinnedDrop for GuardedBody<B, G> {
    fn drop(self: Pin<&mut Self>) {
        end(self.project().guard, Ending::Dropped);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use bytes::Bytes;
    use http_body_util::{BodyExt, Full};

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<Ending>>>);

    impl Guard for Log {
        fn ended(&mut self, ending: Ending) {
            self.0.lock().unwrap().push(ending);
        }
    }

    fn endings(run: impl FnOnce(Log)) -> Vec<Ending> {
        let log = Log::default();
        run(log.clone());
        Arc::try_unwrap(log.0).unwrap().into_inner().unwrap()
    }

    #[tokio::test]
    async fn complete_at_the_last_frame() {
        let log = Log::default();
        let mut body = GuardedBody::new(Full::new(Bytes::from("hi")), log.clone());
        body.frame().await;
        assert_eq!(*log.0.lock().unwrap(), [Ending::Complete]);
        body.frame().await;
        drop(body);
        assert_eq!(*log.0.lock().unwrap(), [Ending::Complete]);
    }

    #[test]
    fn an_empty_body_is_complete_at_once() {
        assert_eq!(
            endings(|log| drop(GuardedBody::new(Full::<Bytes>::default(), log))),
            [Ending::Complete]
        );
    }

    #[test]
    fn dropped_before_its_end() {
        let body = Full::new(Bytes::from("hi"));
        assert_eq!(endings(|log| drop(GuardedBody::new(body, log))), [Ending::Dropped]);
    }

    #[tokio::test]
    async fn an_error_ends_it_once() {
        let log = Log::default();
        let mut body = GuardedBody::new(OnceError(Some("broken")), log.clone());
        assert!(body.frame().await.unwrap().is_err());
        drop(body);
        assert_eq!(*log.0.lock().unwrap(), [Ending::Failed]);
    }

    struct OnceError(Option<&'static str>);

    impl Body for OnceError {
        type Data = Bytes;
        type Error = &'static str;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
            Poll::Ready(self.0.take().map(Err))
        }
    }
}
