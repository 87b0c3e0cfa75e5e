use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::Extensions;
use tokio::time::{Instant, timeout};

/// Beyond the store's own timeout, so that the store is the one to tell that it was late.
const SLACK: Duration = Duration::from_millis(2);

/// How much longer a request may wait for a shared store. Limits of callers and of providers ask it
/// apart, the latter at each attempt: they have this in common, in the request's extensions.
#[derive(Clone, Debug)]
pub(crate) struct Patience {
    left: Arc<AtomicU64>,
    whole: Duration,
}

impl Patience {
    /// Of the request with these extensions, at a store with this timeout.
    pub(crate) fn of(request: &mut Extensions, store: Duration) {
        if request.get::<Self>().is_none() {
            request.insert(Self::new(store));
        }
    }

    pub(crate) fn new(store: Duration) -> Self {
        let patience = Self { left: Arc::default(), whole: store.saturating_add(SLACK) };
        patience.renew();
        patience
    }

    /// As at first: after a time that was waited for something else.
    pub(crate) fn renew(&self) {
        self.left(self.whole);
    }

    fn left(&self, left: Duration) {
        let nanos = u64::try_from(left.as_nanos()).unwrap_or(u64::MAX);
        self.left.store(nanos, Ordering::Relaxed);
    }

    /// The answer, if there is one before patience is over. After a failure it is over.
    pub(crate) async fn wait<T, E>(&self, answer: impl Future<Output = Result<T, E>>) -> Option<T> {
        let left = Duration::from_nanos(self.left.load(Ordering::Relaxed));
        if left.is_zero() {
            return None;
        }
        let began = Instant::now();
        let answer = timeout(left, answer).await.ok().and_then(Result::ok);
        let left =
            if answer.is_some() { left.saturating_sub(began.elapsed()) } else { Duration::ZERO };
        self.left(left);
        answer
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn many_answers_are_waited_for_no_longer_than_one() {
        let patience = Patience::new(Duration::from_millis(20));
        let slow = async || {
            sleep(Duration::from_millis(15)).await;
            Ok::<_, ()>(())
        };
        let began = Instant::now();
        assert_eq!(patience.wait(slow()).await, Some(()));
        assert_eq!(patience.wait(slow()).await, None);
        assert_eq!(patience.wait(std::future::ready(Ok::<_, ()>(()))).await, None, "it is over");
        assert!(began.elapsed() <= Duration::from_millis(25), "{:?}", began.elapsed());
        patience.renew();
        assert_eq!(patience.wait(slow()).await, Some(()));
        assert_eq!(patience.wait(async { Err::<(), _>("away") }).await, None);
        assert_eq!(patience.wait(slow()).await, None);
    }
}
