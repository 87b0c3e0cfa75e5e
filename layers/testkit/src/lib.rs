//! Probe services and scripted bodies for testing Tower layers. Unpublished: a dev-dependency only.
//!
//! - [`Probe`] is an inner service that checks its caller: it panics when it is called without
//!   having been polled ready, and counts calls, clones and drops of futures.
//! - [`ScriptedBody`] is a body that plays a list of [`Step`]s, poll by poll.
//! - [`RedisServer`] is a real `redis-server` on a free port.
//! - [`Recorder`] is a guard and event hook that remembers what it was told.

#![allow(clippy::panic, clippy::unwrap_used, missing_docs)]

mod redis;

use std::{
    collections::VecDeque,
    fmt::Debug,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use tower_service::Service;

pub use redis::RedisServer;

/// One poll of a [`ScriptedBody`].
#[derive(Clone, Debug)]
pub enum Step {
    /// A data frame.
    Data(Bytes),
    /// A trailers frame.
    Trailers(http::HeaderMap),
    /// `Pending` once, woken at once.
    Yield,
    /// `Pending` for this long (tokio's clock, so it can be paused).
    Sleep(std::time::Duration),
    /// `Pending` for ever.
    Stall,
    /// An error; the body is over after it.
    Error(&'static str),
}

impl Step {
    pub fn data(bytes: impl Into<Bytes>) -> Self {
        Self::Data(bytes.into())
    }
}

/// A body that plays its steps, then ends. Never says `is_end_stream` before it has ended.
#[derive(Debug, Default)]
pub struct ScriptedBody {
    steps: VecDeque<Step>,
    sleep: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl ScriptedBody {
    pub fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self { steps: steps.into_iter().collect(), sleep: None }
    }
}

impl Body for ScriptedBody {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        loop {
            if let Some(sleep) = &mut self.sleep {
                std::task::ready!(sleep.as_mut().poll(cx));
                self.sleep = None;
            }
            match self.steps.pop_front() {
                None => return Poll::Ready(None),
                Some(Step::Data(bytes)) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
                Some(Step::Trailers(map)) => return Poll::Ready(Some(Ok(Frame::trailers(map)))),
                Some(Step::Yield) => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Some(Step::Sleep(time)) => self.sleep = Some(Box::pin(tokio::time::sleep(time))),
                Some(Step::Stall) => {
                    self.steps.push_front(Step::Stall);
                    return Poll::Pending;
                }
                Some(Step::Error(text)) => {
                    self.steps.clear();
                    return Poll::Ready(Some(Err(text.into())));
                }
            }
        }
    }
}

/// What a [`Probe`] has counted, shared by all its clones.
#[derive(Debug, Default)]
pub struct Counts {
    pub calls: AtomicUsize,
    pub clones: AtomicUsize,
    /// Futures dropped before they were ready.
    pub cancelled: AtomicUsize,
}

type Answer<B, R> = dyn Fn(Request<B>) -> R + Send + Sync;

/// An inner service that holds its caller to Tower's contract.
pub struct Probe<B, R> {
    answer: Arc<Answer<B, R>>,
    counts: Arc<Counts>,
    ready: bool,
}

impl<B, R> Probe<B, R> {
    /// A probe that answers with the future that `answer` makes.
    pub fn new(answer: impl Fn(Request<B>) -> R + Send + Sync + 'static) -> Self {
        Self { answer: Arc::new(answer), counts: Arc::default(), ready: false }
    }

    pub fn counts(&self) -> Arc<Counts> {
        self.counts.clone()
    }
}

impl<B, R> Debug for Probe<B, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Probe").field("counts", &self.counts).finish_non_exhaustive()
    }
}

impl<B, R> Clone for Probe<B, R> {
    /// A clone is not ready, whatever the original was: that is what catches a broken layer.
    fn clone(&self) -> Self {
        self.counts.clones.fetch_add(1, Ordering::SeqCst);
        Self { answer: self.answer.clone(), counts: self.counts.clone(), ready: false }
    }
}

impl<B, R, ResB, E> Service<Request<B>> for Probe<B, R>
where
    R: Future<Output = Result<Response<ResB>, E>>,
{
    type Response = Response<ResB>;
    type Error = E;
    type Future = CountCancel<R>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), E>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "called without having been polled ready");
        self.counts.calls.fetch_add(1, Ordering::SeqCst);
        CountCancel { future: Box::pin((self.answer)(request)), counts: Some(self.counts.clone()) }
    }
}

/// Future of a [`Probe`]; counts a drop before the answer as cancelled.
#[derive(Debug)]
pub struct CountCancel<R> {
    future: Pin<Box<R>>,
    counts: Option<Arc<Counts>>,
}

impl<R: Future> Future for CountCancel<R> {
    type Output = R::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<R::Output> {
        let output = std::task::ready!(self.future.as_mut().poll(cx));
        self.counts = None;
        Poll::Ready(output)
    }
}

impl<R> Drop for CountCancel<R> {
    fn drop(&mut self) {
        if let Some(counts) = &self.counts {
            counts.cancelled.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Remembers what it was told; clones share the list.
#[derive(Debug)]
pub struct Recorder<T>(Arc<Mutex<Vec<T>>>);

impl<T> Clone for Recorder<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Default for Recorder<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> Recorder<T> {
    pub fn push(&self, value: T) {
        self.0.lock().unwrap().push(value);
    }

    /// Everything told since the last take.
    pub fn take(&self) -> Vec<T> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl<T> tollway_core::Guard for Recorder<T>
where
    T: From<tollway_core::Ending>,
{
    fn ended(&mut self, ending: tollway_core::Ending) {
        self.push(ending.into());
    }
}

impl<T: Clone> tollway_core::Hook<T> for Recorder<T> {
    fn on(&self, event: &T) {
        self.push(event.clone());
    }
}
