//! A body for what hyper refuses by itself.
//!
//! A head that can't be read (400), or is too large (414, 431), never becomes a request: hyper
//! answers it with a bare head and closes the connection, and has no hook for it. That head is
//! recognised on its way to the socket, by what is being written when, and not by its looks:
//! hyper writes it while no request is in the stack's hands, and nothing else is written then.
//! A head that does not come in time (408) is refused here alone, as only here its first byte is seen.
//! Should a bare one ever stand behind bytes of a reply that the socket hasn't taken yet (an early reply,
//! a client that reads slowly and goes on to send nonsense), it goes out bare.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use super::{
    bare::{LATE, Refusal, Start},
    clock::{Clock, Wait},
};
use pin_project::pin_project;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// How many requests a connection has brought, and how many of them are over.
#[derive(Clone, Debug, Default)]
pub(super) struct Exchanges(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    begun: AtomicUsize,
    ended: AtomicUsize,
}

impl Exchanges {
    pub(super) fn begin(&self) -> Exchange {
        self.0.begun.fetch_add(1, Relaxed);
        Exchange(self.clone())
    }

    fn begun(&self) -> usize {
        self.0.begun.load(Relaxed)
    }

    fn ended(&self) -> usize {
        self.0.ended.load(Relaxed)
    }
}

/// A request until hyper has dropped its reply's body.
#[derive(Debug)]
pub(super) struct Exchange(Exchanges);

impl Drop for Exchange {
    fn drop(&mut self) {
        self.0.0.ended.fetch_add(1, Relaxed);
    }
}

/// How much of a refused request is still read, and how long, before its socket is closed:
/// closing it with bytes unread resets the connection, and the client may not see the refusal.
const LINGER_BYTES: usize = 1 << 20;
const LINGER_TIME: Duration = Duration::from_secs(2);

/// A connection on which hyper's bare refusals get a body in OpenAI's shape.
#[pin_project]
#[derive(Debug)]
pub(super) struct Refusals<I> {
    #[pin]
    io: I,
    exchanges: Exchanges,
    /// How many exchanges had begun when all that was written of them was out.
    settled: usize,
    /// The first bytes read since then.
    start: Start,
    /// How long the wait for a head may last.
    clock: Clock,
    state: State,
}

#[derive(Debug)]
enum State {
    Watching,
    Refusing(Refusal),
    /// The head is late: nothing of it is read any more.
    Late(Option<Refusal>),
    Lingering {
        left: usize,
        until: Pin<Box<Sleep>>,
    },
    /// HTTP/2, or nothing that this module knows.
    Off,
}

impl<I> Refusals<I> {
    pub(super) fn new(io: I, exchanges: Exchanges, clock: Clock) -> Self {
        let start = Start::default();
        Self { io, exchanges, settled: 0, start, clock, state: State::Watching }
    }
}

impl<I: AsyncRead + AsyncWrite> AsyncRead for Refusals<I> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut this = self.project();
        if let State::Watching = this.state {
            let before = buf.filled().len();
            let read = this.io.as_mut().poll_read(cx, buf);
            this.start.add(buf.filled().get(before..).unwrap_or_default());
            if read.is_ready() || *this.settled != this.exchanges.begun() {
                return read;
            }
            let wait = if this.start.is_empty() { Wait::Idle } else { Wait::Head };
            ready!(this.clock.poll(wait, cx));
            if wait == Wait::Idle {
                // As if the client had closed it.
                return Poll::Ready(Ok(()));
            }
            let http1 = !this.start.begins_http2();
            *this.state = State::Late(Refusal::of(LATE, this.start).filter(|_| http1));
        }
        let State::Late(refusal) = this.state else { return this.io.poll_read(cx, buf) };
        if let Some(refusal) = refusal {
            ready!(refusal.poll_write(this.io.as_mut(), cx))?;
        }
        ready!(this.io.poll_flush(cx))?;
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<I: AsyncWrite> Refusals<I> {
    /// Writes what takes the place of `bufs`, if they are a refusal.
    fn poll_refuse(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Option<Poll<io::Result<usize>>> {
        let mut this = self.project();
        if let State::Watching = this.state {
            if *this.settled != this.exchanges.begun() {
                return None;
            }
            let mut bufs = bufs.iter().filter(|buf| !buf.is_empty());
            let first = bufs.next()?;
            // hyper puts its head into one piece.
            let alone = bufs.next().is_none();
            let refusal = if alone { Refusal::of(first, this.start) } else { None };
            *this.state = refusal.map_or(State::Off, State::Refusing);
        }
        let State::Refusing(refusal) = this.state else { return None };
        Some(refusal.poll_write(this.io.as_mut(), cx))
    }
}

impl<I: AsyncRead + AsyncWrite> AsyncWrite for Refusals<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.as_mut().poll_refuse(cx, &[io::IoSlice::new(buf)]) {
            Some(written) => written,
            None => self.project().io.poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.as_mut().poll_refuse(cx, bufs) {
            Some(written) => written,
            None => self.project().io.poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.project();
        ready!(this.io.poll_flush(cx))?;
        // hyper comes here when its buffer is empty, so what has ended has been written too.
        let begun = this.exchanges.begun();
        if *this.settled != begun && this.exchanges.ended() == begun {
            *this.settled = begun;
            *this.start = Start::default();
            this.clock.stop();
            // hyper may have asked for the next head already.
            if matches!(this.state, State::Watching) && this.clock.poll(Wait::Idle, cx).is_ready() {
                cx.waker().wake_by_ref();
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut this = self.project();
        if !matches!(this.state, State::Lingering { .. }) {
            ready!(this.io.as_mut().poll_shutdown(cx))?;
            if !matches!(this.state, State::Refusing(_)) {
                return Poll::Ready(Ok(()));
            }
            let until = Box::pin(sleep(LINGER_TIME));
            *this.state = State::Lingering { left: LINGER_BYTES, until };
        }
        let State::Lingering { left, until } = this.state else { return Poll::Ready(Ok(())) };
        let mut bytes = [0; 8 * 1024];
        while *left > 0 && until.as_mut().poll(cx).is_pending() {
            let mut buf = ReadBuf::new(&mut bytes);
            let read = ready!(this.io.as_mut().poll_read(cx, &mut buf));
            let n = buf.filled().len();
            if read.is_err() || n == 0 {
                break;
            }
            *left = left.saturating_sub(n);
        }
        Poll::Ready(Ok(()))
    }
}
