use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use pin_project::pin_project;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// A connection whose peer must go on reading: a write that makes no progress for a whole
/// `patience` is an error, so that a client which stops reading can't hold a reply for ever.
#[pin_project]
#[derive(Debug)]
pub struct StallGuard<I> {
    #[pin]
    io: I,
    patience: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<I> StallGuard<I> {
    /// Guards `io`.
    pub fn new(io: I, patience: Duration) -> Self {
        Self { io, patience, stalled: None }
    }
}

fn watch<T>(
    written: Poll<io::Result<T>>,
    stalled: &mut Option<Pin<Box<Sleep>>>,
    patience: Duration,
    cx: &mut Context<'_>,
) -> Poll<io::Result<T>> {
    if written.is_ready() {
        *stalled = None;
        return written;
    }
    let sleep = stalled.get_or_insert_with(|| Box::pin(sleep(patience)));
    match sleep.as_mut().poll(cx) {
        Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
        Poll::Pending => Poll::Pending,
    }
}

impl<I: AsyncRead> AsyncRead for StallGuard<I> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.project().io.poll_read(cx, buf)
    }
}

impl<I: AsyncWrite> AsyncWrite for StallGuard<I> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.project();
        watch(this.io.poll_write(cx, buf), this.stalled, *this.patience, cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.project();
        watch(this.io.poll_write_vectored(cx, bufs), this.stalled, *this.patience, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.project();
        watch(this.io.poll_flush(cx), this.stalled, *this.patience, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.project();
        watch(this.io.poll_shutdown(cx), this.stalled, *this.patience, cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_stops_reading_is_given_up() {
        let (near, far) = duplex(4);
        let mut near = StallGuard::new(near, PATIENCE);
        let start = tokio::time::Instant::now();
        let error = near.write_all(b"more than four bytes").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(start.elapsed(), PATIENCE);
        drop(far);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_is_not() {
        let (near, mut far) = duplex(4);
        let mut near = StallGuard::new(near, PATIENCE);
        let reader = tokio::spawn(async move {
            let mut byte = [0];
            while far.read(&mut byte).await.is_ok_and(|n| n == 1) {
                tokio::time::sleep(PATIENCE / 2).await;
            }
        });
        near.write_all(b"more than four bytes").await.unwrap();
        drop(near);
        reader.await.unwrap();
    }
}
