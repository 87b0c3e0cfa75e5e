use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Either;
use hyper::body::Incoming;
use hyper_util::client::legacy::ResponseFuture;
use pin_project::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};
use tollway_core::{BoxError, ErrorClass, Failure};

use super::{ReplyBody, headers::remove_hop_by_hop};
use crate::{
    policy::Timeouts,
    simulate::{SimulateFuture, SimulatedBody},
};

/// Future of [`Upstream`](super::Upstream).
#[pin_project]
#[derive(Debug)]
pub struct SendFuture<B> {
    #[pin]
    state: State<B>,
}

#[pin_project(project = StateProj)]
#[derive(Debug)]
enum State<B> {
    Failed(Option<Failure>),
    Http {
        sending: ResponseFuture,
        #[pin]
        sleep: Sleep,
        timeouts: Timeouts,
        started: Instant,
    },
    Simulated(#[pin] SimulateFuture<B>),
}

impl<B> SendFuture<B> {
    pub(super) fn failed(failure: Failure) -> Self {
        Self { state: State::Failed(Some(failure)) }
    }

    pub(super) fn simulated(future: SimulateFuture<B>) -> Self {
        Self { state: State::Simulated(future) }
    }

    pub(super) fn http(sending: ResponseFuture, timeouts: Timeouts) -> Self {
        let started = Instant::now();
        let sleep = sleep_until(started + timeouts.first_byte.min(timeouts.total));
        Self { state: State::Http { sending, sleep, timeouts, started } }
    }
}

impl<B> Future for SendFuture<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Output = Result<Response<ReplyBody>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Failed(failure) => {
                let failure = failure.take().expect("polled after it was ready");
                Poll::Ready(Err(failure.into()))
            }
            StateProj::Simulated(future) => {
                let answer: Result<Response<SimulatedBody>, Infallible> = ready!(future.poll(cx));
                Poll::Ready(answer.map(|reply| reply.map(Either::Right)).map_err(|e| match e {}))
            }
            StateProj::Http { sending, sleep, timeouts, started } => {
                if let Poll::Ready(answer) = Pin::new(sending).poll(cx) {
                    return Poll::Ready(received(answer, *timeouts, *started));
                }
                ready!(sleep.poll(cx));
                let waited = timeouts.first_byte.min(timeouts.total);
                Poll::Ready(Err(timed_out("the provider sent nothing", waited).into()))
            }
        }
    }
}

fn received(
    answer: Result<Response<Incoming>, hyper_util::client::legacy::Error>,
    timeouts: Timeouts,
    started: Instant,
) -> Result<Response<ReplyBody>, BoxError> {
    let mut reply = answer.map_err(|error| {
        let said = if error.is_connect() {
            "no connection to the provider"
        } else {
            "the connection to the provider broke"
        };
        Failure::new(ErrorClass::Network, said).with_source(error)
    })?;
    remove_hop_by_hop(reply.headers_mut());
    Ok(reply.map(|body| Either::Left(TimedBody::new(body, timeouts, started))))
}

fn timed_out(what: &str, waited: Duration) -> Failure {
    Failure::new(ErrorClass::Timeout, format!("{what} within {} s", waited.as_secs_f32()))
}

/// A provider's reply whose chunks must come in time.
///
/// The wait counts from when the reader asked: a slow client is not held against the provider.
/// One timer a reply: it is set when the body first has to wait, and when it rings it is set again
/// if that wait began later, so a chunk costs a look at the clock and no timer.
#[pin_project]
#[derive(Debug)]
pub struct TimedBody<B> {
    #[pin]
    inner: B,
    sleep: Option<Pin<Box<Sleep>>>,
    between_chunks: Duration,
    deadline: Instant,
    total: Duration,
    waiting_since: Option<Instant>,
}

impl<B> TimedBody<B> {
    fn new(inner: B, timeouts: Timeouts, started: Instant) -> Self {
        Self {
            inner,
            sleep: None,
            between_chunks: timeouts.between_chunks,
            deadline: started + timeouts.total,
            total: timeouts.total,
            waiting_since: None,
        }
    }
}

impl<B> Body for TimedBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.project();
        if let Poll::Ready(frame) = this.inner.poll_frame(cx) {
            *this.waiting_since = None;
            return Poll::Ready(frame.map(|frame| {
                frame.map_err(|error| {
                    Failure::new(ErrorClass::Network, "the provider's reply broke off")
                        .with_source(error)
                        .into()
                })
            }));
        }
        let since = *this.waiting_since.get_or_insert_with(Instant::now);
        let idle = since + *this.between_chunks;
        let due = idle.min(*this.deadline);
        let sleep = this.sleep.get_or_insert_with(|| Box::pin(sleep_until(due)));
        loop {
            ready!(sleep.as_mut().poll(cx));
            if sleep.deadline() < due {
                sleep.as_mut().reset(due);
                continue;
            }
            let failure = if due == *this.deadline {
                timed_out("the provider's reply did not end", *this.total)
            } else {
                timed_out("the provider's reply stalled: no chunk came", *this.between_chunks)
            };
            return Poll::Ready(Some(Err(failure.into())));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
