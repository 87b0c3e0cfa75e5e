use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use pin_project::pin_project;
use tokio::time::{Sleep, sleep_until};
use tollway_core::{BoxError, Hook};
use tower_service::Service;

use crate::{
    Event, Policy,
    run::{Next, Outcome, Run},
};

/// The reply, or the most telling failure. Dropping it drops the running attempt or the wait.
#[pin_project]
pub struct ResponseFuture<S: Service<Request<B>>, B, R, P, H> {
    #[pin]
    state: State<S::Future>,
    run: Run<S, B, R, P, H>,
}

#[pin_project(project = StateProj)]
enum State<F> {
    Calling(#[pin] F),
    Waiting(#[pin] Sleep),
    /// Waits for the inner service to be ready, no longer than to the deadline.
    Readying(#[pin] Option<Sleep>),
    Done,
}

impl<S: Service<Request<B>>, B, R, P, H> ResponseFuture<S, B, R, P, H> {
    pub(crate) fn new(first: S::Future, run: Run<S, B, R, P, H>) -> Self {
        Self { state: State::Calling(first), run }
    }
}

impl<S, B, R, P, H> Future for ResponseFuture<S, B, R, P, H>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    S::Error: Into<BoxError>,
    P: Policy<B, R>,
    H: Hook<Event>,
{
    type Output = Outcome<R>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome<R>> {
        let mut this = self.project();
        loop {
            let outcome = match this.state.as_mut().project() {
                StateProj::Calling(attempt) => ready!(attempt.poll(cx)).map_err(Into::into),
                StateProj::Waiting(sleep) => {
                    ready!(sleep.poll(cx));
                    this.state.set(State::Readying(None));
                    continue;
                }
                StateProj::Readying(mut timer) => {
                    let ready = this.run.poll_ready(cx);
                    if let (true, Some(deadline)) = (ready.is_pending(), this.run.deadline) {
                        if timer.is_none() {
                            timer.set(Some(sleep_until(deadline)));
                        }
                        if let Some(timer) = timer.as_pin_mut() {
                            ready!(timer.poll(cx));
                        }
                        this.state.set(State::Done);
                        return Poll::Ready(this.run.too_late());
                    }
                    match ready!(ready) {
                        Ok(()) => {
                            let attempt = this.run.launch();
                            this.state.set(attempt.map_or(State::Done, State::Calling));
                            continue;
                        }
                        Err(error) => Err(error),
                    }
                }
                StateProj::Done => return Poll::Ready(Err("polled after it was ready".into())),
            };
            // The attempt is over: what it holds must not outlive it.
            this.state.set(State::Done);
            match this.run.after(outcome) {
                Next::Answer(answer) => return Poll::Ready(answer),
                Next::Wait(until) => this.state.set(State::Waiting(sleep_until(until))),
                Next::Now => this.state.set(State::Readying(None)),
            }
        }
    }
}

impl<S: Service<Request<B>>, B, R, P, H> fmt::Debug for ResponseFuture<S, B, R, P, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
