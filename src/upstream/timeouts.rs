use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{Response, Version};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Either;
use hyper::body::Incoming;
use hyper_util::client::legacy::ResponseFuture;
use pin_project::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};
use tollway_core::{BoxError, ErrorClass, Failure, ProxyCredential};

use super::{
    BlankedBody, ReplyBody, SentBody, WholeBody, blanked::blank_headers,
    headers::remove_hop_by_hop, phrase,
};
use crate::{
    policy::Timeouts,
    simulate::{SimulateFuture, SimulatedBody},
    telemetry::Exchange,
};

/// Future of [`Upstream`](super::Upstream).
#[pin_project]
#[derive(Debug)]
pub struct SendFuture<B> {
    #[pin]
    state: State<B>,
    started: Instant,
    exchange: Option<Arc<Exchange>>,
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
        /// Where the credential is this proxy's own.
        credential: Option<ProxyCredential>,
    },
    /// Boxed, so that a request to a provider over the network is no larger for it.
    Simulated(Pin<Box<SimulateFuture<SentBody<B>>>>),
}

impl<B> SendFuture<B> {
    fn new(state: State<B>, started: Instant, exchange: Option<Arc<Exchange>>) -> Self {
        Self { state, started, exchange }
    }

    pub(super) fn failed(failure: Failure) -> Self {
        Self::new(State::Failed(Some(failure)), Instant::now(), None)
    }

    pub(super) fn simulated(
        future: SimulateFuture<SentBody<B>>,
        exchange: Option<Arc<Exchange>>,
    ) -> Self {
        Self::new(State::Simulated(Box::pin(future)), Instant::now(), exchange)
    }

    pub(super) fn http(
        sending: ResponseFuture,
        timeouts: Timeouts,
        exchange: Option<Arc<Exchange>>,
        credential: Option<ProxyCredential>,
    ) -> Self {
        let started = Instant::now();
        let due = started + timeouts.first_byte.min(timeouts.total);
        let state = State::Http { sending, sleep: sleep_until(due), timeouts, credential };
        Self::new(state, started, exchange)
    }
}

type Received = Result<Response<BlankedBody<Either<WholeBody, SimulatedBody>>>, BoxError>;

impl<B> State<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    fn poll(
        self: Pin<&mut Self>,
        started: Instant,
        cx: &mut Context<'_>,
    ) -> Poll<(Option<Timeouts>, Received)> {
        Poll::Ready(match self.project() {
            StateProj::Failed(failure) => {
                let failure = failure.take().expect("polled after it was ready");
                (None, Err(failure.into()))
            }
            StateProj::Simulated(future) => {
                let answer: Result<Response<SimulatedBody>, Infallible> =
                    ready!(future.as_mut().poll(cx));
                let plain = |body| BlankedBody::plain(Either::Right(body));
                (None, answer.map(|reply| reply.map(plain)).map_err(|e| match e {}))
            }
            StateProj::Http { sending, sleep, timeouts, credential } => {
                match Pin::new(sending).poll(cx) {
                    Poll::Ready(answer) => (Some(*timeouts), received(answer, credential.take())),
                    Poll::Pending => {
                        ready!(sleep.poll(cx));
                        let waited = started.elapsed();
                        (None, Err(timed_out("the provider sent nothing", waited).into()))
                    }
                }
            }
        })
    }
}

impl<B> Future for SendFuture<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Output = Result<Response<ReplyBody>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let polled = this.state.poll(*this.started, cx);
        // Whatever the provider or the connection to it made of a request cut short.
        let failed = this.exchange.as_ref().and_then(|exchange| exchange.body_failure().cloned());
        let (timeouts, answer) = match failed {
            Some(failure) => (None, Err(failure.into())),
            None => ready!(polled),
        };
        let exchange = this.exchange.take();
        if let Some(exchange) = &exchange {
            exchange.waited_upstream(this.started.elapsed());
            if !answer.as_ref().is_ok_and(|reply| reply.status().is_success()) {
                exchange.at_work().end();
            }
        }
        let started = *this.started;
        Poll::Ready(
            answer.map(|reply| reply.map(|body| TimedBody::new(body, timeouts, started, exchange))),
        )
    }
}

fn received(
    answer: Result<Response<Incoming>, hyper_util::client::legacy::Error>,
    credential: Option<ProxyCredential>,
) -> Received {
    let mut reply = answer.map_err(|error| {
        let said = if error.is_connect() {
            "no connection to the provider"
        } else {
            "the connection to the provider broke"
        };
        Failure::new(ErrorClass::Network, said).with_source(error)
    })?;
    // The client's connection has a version of its own (RFC 9112, 2.3): in an older one nobody could
    // tell a body that broke off from a whole one.
    let version = std::mem::replace(reply.version_mut(), Version::HTTP_11);
    let mut reply = reply.map(|body| WholeBody::new(body, version));
    phrase::admit(&mut reply, credential.as_ref());
    remove_hop_by_hop(reply.headers_mut());
    let Some(credential) = credential else {
        return Ok(reply.map(|body| BlankedBody::plain(Either::Left(body))));
    };
    blank_headers(reply.headers_mut(), &credential);
    reply.extensions_mut().insert(credential.clone());
    let is_error = !reply.status().is_success();
    Ok(reply.map(|body| BlankedBody::new(Either::Left(body), credential, is_error)))
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
    /// `None`: the simulated provider, which keeps its own time.
    timeouts: Option<Timeouts>,
    deadline: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
    waiting_since: Option<Instant>,
    exchange: Option<Arc<Exchange>>,
}

impl<B> TimedBody<B> {
    fn new(
        inner: B,
        timeouts: Option<Timeouts>,
        started: Instant,
        exchange: Option<Arc<Exchange>>,
    ) -> Self {
        let deadline = timeouts.map(|timeouts| started + timeouts.total);
        Self { inner, timeouts, deadline, sleep: None, waiting_since: None, exchange }
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
            if let Some(exchange) = this.exchange {
                if let Some(since) = this.waiting_since.take() {
                    exchange.waited_upstream(since.elapsed());
                }
                if !matches!(frame, Some(Ok(_))) {
                    exchange.at_work().end();
                }
            }
            let failed = || this.exchange.as_ref()?.body_failure().cloned();
            return Poll::Ready(frame.map(|frame| {
                frame.map_err(|error| failed().map_or_else(|| broken(error), Into::into))
            }));
        }
        let since = *this.waiting_since.get_or_insert_with(Instant::now);
        let (Some(timeouts), Some(deadline)) = (*this.timeouts, *this.deadline) else {
            return Poll::Pending;
        };
        let due = deadline.min(since + timeouts.between_chunks);
        let sleep = this.sleep.get_or_insert_with(|| Box::pin(sleep_until(due)));
        loop {
            ready!(sleep.as_mut().poll(cx));
            if sleep.deadline() >= due {
                break;
            }
            sleep.as_mut().reset(due);
        }
        let failure = if due == deadline {
            timed_out("the provider's reply did not end", timeouts.total)
        } else {
            timed_out("the provider's reply stalled: no chunk came", timeouts.between_chunks)
        };
        Poll::Ready(Some(Err(failure.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

fn broken(error: impl Into<BoxError>) -> BoxError {
    Failure::new(ErrorClass::Network, "the provider's reply broke off").with_source(error).into()
}
