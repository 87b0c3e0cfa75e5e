use std::{
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use tollway_core::{BoxError, Hook, PeerAddr};
use tower_service::Service;

use crate::{Event, Identifier, future::ResponseFuture};

/// Writes the [`Caller`](tollway_core::Caller) into each request, or refuses it.
///
/// The peer's address is read from the [`PeerAddr`] in the request's extensions.
#[derive(Debug)]
pub struct Identify<S, H = ()> {
    inner: S,
    identifier: Identifier,
    hook: Arc<H>,
}

impl<S, H> Identify<S, H> {
    pub(crate) fn new(inner: S, identifier: Identifier, hook: Arc<H>) -> Self {
        Self { inner, identifier, hook }
    }
}

impl<S: Clone, H> Clone for Identify<S, H> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            identifier: self.identifier.clone(),
            hook: self.hook.clone(),
        }
    }
}

impl<S, H, B, R> Service<Request<B>> for Identify<S, H>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: Into<BoxError>,
    H: Hook<Event>,
{
    type Response = Response<R>;
    type Error = BoxError;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let peer = request.extensions().get::<PeerAddr>().map(|peer| peer.0.ip());
        match self.identifier.explain(peer, request.headers(), request.uri().query()) {
            Ok((caller, event)) => {
                self.hook.on(&event);
                request.extensions_mut().insert(caller);
                ResponseFuture::inner(self.inner.call(request))
            }
            Err(refusal) => {
                self.hook.on(&Event::Refused(refusal.reason()));
                ResponseFuture::refused(refusal)
            }
        }
    }
}
