use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use pin_project::pin_project;
use tollway_core::AtWork;
use tower_layer::Layer;
use tower_service::Service;

/// What becomes of a request whose client hangs up: it is let go, which cancels the provider's
/// work, or the work that has begun goes on to the end of its reply, so that its usage is known.
///
/// Nothing is begun for a client that has left: neither what waits for its turn, nor another
/// attempt (the retry policy asks [`AtWork`]).
#[derive(Clone, Copy, Debug)]
pub(super) struct HangupLayer {
    drain_for: Option<Duration>,
}

impl HangupLayer {
    /// `drain_for`: how long an abandoned request may go on; `None` lets it go at once.
    pub(super) fn new(drain_for: Option<Duration>) -> Self {
        Self { drain_for }
    }
}

impl<S> Layer<S> for HangupLayer {
    type Service = Hangup<S>;

    fn layer(&self, inner: S) -> Hangup<S> {
        Hangup { inner, drain_for: self.drain_for }
    }
}

/// Service of [`HangupLayer`].
#[derive(Clone, Debug)]
pub(super) struct Hangup<S> {
    inner: S,
    drain_for: Option<Duration>,
}

impl<S, Q, B> Service<Request<Q>> for Hangup<S>
where
    S: Service<Request<Q>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    type Response = Response<HangupBody<B>>;
    type Error = S::Error;
    type Future = HangupFuture<S::Future, B, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Q>) -> Self::Future {
        let Some(time) = self.drain_for else {
            return HangupFuture::LetGo(self.inner.call(request));
        };
        let work = AtWork::default();
        request.extensions_mut().insert(work.clone());
        let rest = Box::pin(self.inner.call(request));
        HangupFuture::Drain(Unanswered { rest: Some(rest), drain: Drain { time, work } })
    }
}

/// How an abandoned request goes on.
#[derive(Clone, Debug)]
struct Drain {
    time: Duration,
    work: AtWork,
}

impl Drain {
    fn go_on(&self, rest: impl Future<Output = ()> + Send + 'static) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(tokio::time::timeout(self.time, rest));
    }
}

async fn read_out<B: Body + Unpin>(mut body: B) {
    while let Some(Ok(_)) = body.frame().await {}
}

/// Future of [`Hangup`].
#[pin_project(project = FutureProj)]
pub(super) enum HangupFuture<F, B, E>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    E: Send + 'static,
{
    LetGo(#[pin] F),
    Drain(Unanswered<B, E>),
}

impl<F, B, E> fmt::Debug for HangupFuture<F, B, E>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    E: Send + 'static,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HangupFuture").finish_non_exhaustive()
    }
}

impl<F, B, E> Future for HangupFuture<F, B, E>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    E: Send + 'static,
{
    type Output = Result<Response<HangupBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (answer, drain) = match self.project() {
            FutureProj::LetGo(future) => (ready!(future.poll(cx)), None),
            FutureProj::Drain(waiting) => {
                let rest = waiting.rest.as_mut().expect("polled after it was ready");
                let answer = ready!(rest.as_mut().poll(cx));
                waiting.rest = None;
                (answer, Some(waiting.drain.clone()))
            }
        };
        Poll::Ready(answer.map(|reply| reply.map(|inner| HangupBody { inner: Some(inner), drain })))
    }
}

/// Boxed, so that it can move to a task of its own when its client leaves.
type Rest<B, E> = Pin<Box<dyn Future<Output = Result<Response<B>, E>> + Send>>;

/// A request that has no reply yet.
pub(super) struct Unanswered<B, E>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    E: Send + 'static,
{
    rest: Option<Rest<B, E>>,
    drain: Drain,
}

impl<B, E> Drop for Unanswered<B, E>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    E: Send + 'static,
{
    fn drop(&mut self) {
        let Some(rest) = self.rest.take() else { return };
        if self.drain.work.abandon() {
            self.drain.go_on(async move {
                if let Ok(reply) = rest.await {
                    read_out(reply.into_body()).await;
                }
            });
        }
    }
}

/// A reply's body at the end of the stack.
#[derive(Debug)]
pub struct HangupBody<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    inner: Option<B>,
    drain: Option<Drain>,
}

impl<B> Body for HangupBody<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let Some(inner) = &mut self.inner else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(&mut *inner).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) || inner.is_end_stream() {
            self.inner = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(|inner| inner.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), |inner| inner.size_hint())
    }
}

impl<B> Drop for HangupBody<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    fn drop(&mut self) {
        let (Some(inner), Some(drain)) = (self.inner.take(), &self.drain) else { return };
        drain.work.abandon();
        drain.go_on(read_out(inner));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tollway_core::{BoxError, Ending, GuardedBody, Target};
    use tollway_testkit::{Counts, Probe, Recorder, ScriptedBody, Step};
    use tower::ServiceExt;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const TICK: Duration = Duration::from_millis(2);

    type Answer =
        Result<Response<HangupBody<GuardedBody<ScriptedBody, Recorder<Ending>>>>, BoxError>;

    /// A request to a provider that thinks for a minute, then plays `steps`; `asked`: whether it has
    /// been asked, or the request still waits for its turn.
    struct Asked {
        request: Pin<Box<dyn Future<Output = Answer> + Send>>,
        log: Recorder<Ending>,
        counts: Arc<Counts>,
        work: Recorder<AtWork>,
    }

    impl Asked {
        fn cancelled(&self) -> usize {
            self.counts.cancelled.load(std::sync::atomic::Ordering::SeqCst)
        }
    }

    fn ask(asked: bool, steps: Vec<Step>, drain_for: Option<Duration>) -> Asked {
        let (log, work) = (Recorder::default(), Recorder::default());
        let (ending, seen) = (log.clone(), work.clone());
        let probe = Probe::new(move |request: Request<()>| {
            let at_work = request.extensions().get::<AtWork>().cloned().unwrap_or_default();
            if asked {
                at_work.begin(Target::new("p", "k", None));
            }
            seen.push(at_work);
            let body = GuardedBody::new(ScriptedBody::new(steps.clone()), ending.clone());
            async move {
                tokio::time::sleep(MINUTE).await;
                Ok::<_, BoxError>(Response::new(body))
            }
        });
        let counts = probe.counts();
        let request = HangupLayer::new(drain_for).layer(probe).oneshot(Request::new(()));
        Asked { request: Box::pin(request), log, counts, work }
    }

    /// The client waits for so long, then leaves.
    async fn leave_after(time: Duration, asked: &mut Asked) {
        let request = std::mem::replace(&mut asked.request, Box::pin(std::future::pending()));
        if let Ok(reply) = tokio::time::timeout(time, request).await {
            drop(reply);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_stays_gets_its_reply() {
        for drain_for in [None, Some(MINUTE)] {
            let asked = ask(true, vec![Step::data("a"), Step::data("b")], drain_for);
            let reply = asked.request.await.unwrap();
            assert_eq!(reply.into_body().collect().await.unwrap().to_bytes(), "ab");
            assert_eq!(asked.log.take(), [Ending::Complete]);
            assert!(!asked.work.take()[0].is_abandoned());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn lets_go_at_once() {
        let late = vec![Step::Sleep(MINUTE), Step::data("late")];
        let mut asked = ask(true, late, None);
        leave_after(MINUTE / 2, &mut asked).await;
        assert_eq!((asked.cancelled(), asked.log.take()), (1, vec![Ending::Dropped]));
        let mut asked = ask(true, vec![Step::Stall], None);
        leave_after(2 * MINUTE, &mut asked).await;
        assert_eq!((asked.cancelled(), asked.log.take()), (0, vec![Ending::Dropped]));
    }

    #[tokio::test(start_paused = true)]
    async fn goes_on_to_the_end_whenever_the_client_leaves() {
        for left_after in [MINUTE / 2, MINUTE + TICK] {
            let late = vec![Step::Sleep(MINUTE), Step::data("late")];
            let mut asked = ask(true, late, Some(2 * MINUTE));
            leave_after(left_after, &mut asked).await;
            assert_eq!(asked.log.take(), []);
            assert!(asked.work.take()[0].is_abandoned());
            tokio::time::sleep(2 * MINUTE).await;
            assert_eq!((asked.cancelled(), asked.log.take()), (0, vec![Ending::Complete]));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn goes_on_no_longer_than_allowed() {
        // Half a minute of thought and half a minute of reply.
        let mut asked = ask(true, vec![Step::Stall], Some(MINUTE));
        leave_after(MINUTE / 2, &mut asked).await;
        tokio::time::sleep(MINUTE - TICK).await;
        assert_eq!(asked.log.take(), []);
        tokio::time::sleep(2 * TICK).await;
        assert_eq!(asked.log.take(), [Ending::Dropped]);
        // Too much thought.
        let mut asked = ask(true, vec![], Some(MINUTE / 4));
        leave_after(MINUTE / 2, &mut asked).await;
        tokio::time::sleep(MINUTE / 4 + TICK).await;
        assert_eq!((asked.cancelled(), asked.log.take()), (1, vec![Ending::Dropped]));
        // All of it in the reply.
        let mut asked = ask(true, vec![Step::Stall], Some(MINUTE));
        leave_after(MINUTE + TICK, &mut asked).await;
        tokio::time::sleep(MINUTE - TICK).await;
        assert_eq!(asked.log.take(), []);
        tokio::time::sleep(2 * TICK).await;
        assert_eq!(asked.log.take(), [Ending::Dropped]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_for_its_turn_is_let_go() {
        let mut asked = ask(false, vec![], Some(MINUTE));
        leave_after(MINUTE / 2, &mut asked).await;
        assert_eq!((asked.cancelled(), asked.log.take()), (1, vec![Ending::Dropped]));
    }
}
