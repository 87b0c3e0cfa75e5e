use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use http_body::Body;
use pin_project::pin_project;
use tokio::time::{Sleep, sleep_until};
use tollway_core::{BoxError, GuardedBody};
use tower_service::Service;

use crate::{
    LimitExceeded, Reservation, Settle,
    decide::Claim,
    limiter::{Asking, Granted, Limiter, Loan, Place},
};

/// Future of [`RateLimit`](crate::RateLimit). Dropping it gives back what it holds.
#[pin_project]
pub struct ResponseFuture<S, B, T>
where
    S: Service<Request<B>>,
    T: Settle,
{
    #[pin]
    state: State<S, B, T, S::Future>,
}

#[pin_project(project = StateProj)]
enum State<S, B, T: Settle, F> {
    Refused(Option<LimitExceeded>),
    Waiting {
        place: Place,
        #[pin]
        sleep: Option<Sleep>,
        /// Boxed so that a request that need not wait does not carry the room for it.
        call: Option<Box<(S, Request<B>)>>,
        settle: Arc<T>,
    },
    /// A store that instances share decides.
    Asking {
        asking: Asking,
        call: Option<Box<(S, Request<B>)>>,
        limiter: Arc<Limiter>,
        settle: Arc<T>,
    },
    Running {
        #[pin]
        future: F,
        reservation: Option<Reservation<T>>,
    },
}

impl<S: Service<Request<B>>, B, T: Settle> ResponseFuture<S, B, T> {
    pub(crate) fn refused(error: LimitExceeded) -> Self {
        Self { state: State::Refused(Some(error)) }
    }

    pub(crate) fn running(future: S::Future, reservation: Reservation<T>) -> Self {
        Self { state: State::Running { future, reservation: Some(reservation) } }
    }

    pub(crate) fn waiting(place: Place, call: (S, Request<B>), settle: Arc<T>) -> Self {
        let call = Some(Box::new(call));
        Self { state: State::Waiting { place, sleep: None, call, settle } }
    }

    pub(crate) fn asking(
        asking: Asking,
        call: (S, Request<B>),
        limiter: Arc<Limiter>,
        settle: Arc<T>,
    ) -> Self {
        let call = Some(Box::new(call));
        Self { state: State::Asking { asking, call, limiter, settle } }
    }
}

impl<S, B, R, T> Future for ResponseFuture<S, B, T>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: Into<BoxError>,
    R: Body,
    T: Settle,
{
    type Output = Result<Response<GuardedBody<R, Reservation<T>>>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            match state.as_mut().project() {
                StateProj::Refused(error) => return Poll::Ready(Err(over(error.take()))),
                StateProj::Running { future, reservation } => {
                    let response = ready!(future.poll(cx));
                    let Some(mut reservation) = reservation.take() else {
                        return Poll::Ready(Err(over(None)));
                    };
                    let (parts, body) = response.map_err(Into::into)?.into_parts();
                    reservation.head(&parts);
                    let body = GuardedBody::new(body, reservation);
                    return Poll::Ready(Ok(Response::from_parts(parts, body)));
                }
                StateProj::Waiting { place, mut sleep, call, settle } => match place.poll(cx) {
                    Ok(Ok(claims)) => {
                        let Some(call) = call.take() else {
                            return Poll::Ready(Err(over(None)));
                        };
                        let admitted = (claims, None, true);
                        let running = start(place.limiter(), settle, admitted, *call);
                        state.set(running);
                    }
                    Ok(Err(error)) => {
                        state.set(State::Refused(Some(error)));
                    }
                    Err(until) => {
                        match sleep.as_mut().as_pin_mut() {
                            Some(sleep) => sleep.reset(until),
                            None => sleep.set(Some(sleep_until(until))),
                        }
                        if let Some(sleep) = sleep.as_pin_mut() {
                            ready!(sleep.poll(cx));
                        }
                    }
                },
                StateProj::Asking { asking, call, limiter, settle } => {
                    let Granted { claims, loan, waited } = ready!(asking.as_mut().poll(cx))?;
                    let Some(call) = call.take() else {
                        return Poll::Ready(Err(over(None)));
                    };
                    let running = start(limiter, settle, (claims, Some(loan), waited), *call);
                    state.set(running);
                }
            }
        }
    }
}

/// Calls the inner service for what was granted: claims, what the store is owed, and whether it
/// was waited for.
fn start<S, B, T: Settle>(
    limiter: &Arc<Limiter>,
    settle: &Arc<T>,
    (mut claims, loan, waited): (Vec<Claim>, Option<Loan>, bool),
    (mut inner, request): (S, Request<B>),
) -> State<S, B, T, S::Future>
where
    S: Service<Request<B>>,
{
    let (mut parts, body) = request.into_parts();
    if waited {
        parts.extensions.insert(Waited);
    }
    if let Some(downgraded) = limiter.downgraded(&mut claims) {
        parts.extensions.insert(downgraded);
    }
    let reservation = Reservation::new(limiter, settle, claims, loan, &parts);
    let future = inner.call(Request::from_parts(parts, body));
    State::Running { future, reservation: Some(reservation) }
}

/// A request that waited for a limit carries this in its extensions from then on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waited;

fn over(error: Option<LimitExceeded>) -> BoxError {
    match error {
        Some(error) => error.into(),
        None => "polled after it was ready".into(),
    }
}

impl<S: Service<Request<B>>, B, T: Settle> fmt::Debug for ResponseFuture<S, B, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Refused(_) => "Refused",
            State::Waiting { .. } => "Waiting",
            State::Asking { .. } => "Asking",
            State::Running { .. } => "Running",
        };
        f.debug_tuple("ResponseFuture").field(&state).finish()
    }
}
