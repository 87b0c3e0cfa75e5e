use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use pin_project::pin_project;
use tokio::time::{Sleep, sleep_until};
use tollway_core::BoxError;
use tower_service::Service;

use crate::{
    Paced,
    permit::{Permit, Place},
};

/// Future of [`Pace`](crate::Pace): the inner service's reply, or [`Paced`].
#[pin_project]
pub struct ResponseFuture<S: Service<Request<B>>, B, K> {
    #[pin]
    state: State<S, B, K, S::Future>,
}

#[pin_project(project = StateProj)]
enum State<S, B, K, F> {
    Refused(Option<Paced>),
    Waiting {
        place: Place<K>,
        #[pin]
        sleep: Option<Sleep>,
        /// Boxed so that a request that need not wait does not carry the room for it.
        call: Option<Box<(S, Request<B>)>>,
    },
    Running {
        #[pin]
        future: F,
        permit: Option<Permit<K>>,
    },
}

/// A request that stood in line carries this in its extensions from then on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waited;

impl<S: Service<Request<B>>, B, K> ResponseFuture<S, B, K> {
    pub(crate) fn refused(error: Paced) -> Self {
        Self { state: State::Refused(Some(error)) }
    }

    pub(crate) fn running(future: S::Future, permit: Option<Permit<K>>) -> Self {
        Self { state: State::Running { future, permit } }
    }

    pub(crate) fn waiting(place: Place<K>, inner: S, request: Request<B>) -> Self {
        let call = Some(Box::new((inner, request)));
        Self { state: State::Waiting { place, sleep: None, call } }
    }
}

impl<S, B, R, K> Future for ResponseFuture<S, B, K>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: Into<BoxError>,
    K: Clone,
{
    type Output = Result<Response<R>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            match state.as_mut().project() {
                StateProj::Refused(error) => {
                    let error = error.take().expect("polled after it was ready");
                    return Poll::Ready(Err(error.into()));
                }
                StateProj::Running { future, permit } => {
                    let reply = ready!(future.poll(cx)).map_err(Into::into);
                    let Some(permit) = permit.take() else { return Poll::Ready(reply) };
                    return Poll::Ready(match reply {
                        Ok(response) => {
                            let (parts, body) = response.into_parts();
                            permit.head(&parts);
                            Ok(Response::from_parts(parts, body))
                        }
                        Err(error) => {
                            permit.failed();
                            Err(error)
                        }
                    });
                }
                StateProj::Waiting { place, mut sleep, call } => match place.poll(cx) {
                    Ok(Ok(permit)) => {
                        let (mut inner, mut request) = *call.take().expect("called once");
                        request.extensions_mut().insert(Waited);
                        let future = inner.call(request);
                        state.set(State::Running { future, permit: Some(permit) });
                    }
                    Ok(Err(error)) => state.set(State::Refused(Some(error))),
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
            }
        }
    }
}

impl<S: Service<Request<B>>, B, K> fmt::Debug for ResponseFuture<S, B, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Refused(_) => "Refused",
            State::Waiting { .. } => "Waiting",
            State::Running { .. } => "Running",
        };
        f.debug_tuple("ResponseFuture").field(&state).finish()
    }
}
