use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;

/// A reply's body at the end of the stack; if its client hangs up, it is either let go (which
/// cancels the provider's work) or read to its end, so that its usage is known.
#[derive(Debug)]
pub struct HangupBody<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    inner: Option<B>,
    drain_for: Option<Duration>,
}

impl<B> HangupBody<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    /// `drain_for`: how long an abandoned reply may be read on; `None` lets it go at once.
    pub fn new(inner: B, drain_for: Option<Duration>) -> Self {
        Self { inner: Some(inner), drain_for }
    }
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
        let frame = std::task::ready!(Pin::new(&mut *inner).poll_frame(cx));
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
        let (Some(mut inner), Some(time)) = (self.inner.take(), self.drain_for) else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(tokio::time::timeout(time, async move {
            while let Some(Ok(_)) = inner.frame().await {}
        }));
    }
}

#[cfg(test)]
mod tests {
    use tollway_core::{Ending, GuardedBody};
    use tollway_testkit::{Recorder, ScriptedBody, Step};

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn hung_up(steps: Vec<Step>, drain_for: Option<Duration>) -> Recorder<Ending> {
        let log = Recorder::default();
        drop(HangupBody::new(GuardedBody::new(ScriptedBody::new(steps), log.clone()), drain_for));
        log
    }

    #[tokio::test(start_paused = true)]
    async fn lets_go_at_once() {
        let log = hung_up(vec![Step::Sleep(MINUTE), Step::data("late")], None);
        assert_eq!(log.take(), [Ending::Dropped]);
    }

    #[tokio::test(start_paused = true)]
    async fn drains_to_the_end() {
        let log = hung_up(vec![Step::Sleep(MINUTE), Step::data("late")], Some(2 * MINUTE));
        tokio::time::sleep(MINUTE + Duration::from_millis(1)).await;
        assert_eq!(log.take(), [Ending::Complete]);
    }

    #[tokio::test(start_paused = true)]
    async fn drains_no_longer_than_allowed() {
        let log = hung_up(vec![Step::Stall], Some(MINUTE));
        tokio::time::sleep(MINUTE + Duration::from_millis(2)).await;
        assert_eq!(log.take(), [Ending::Dropped]);
    }
}
