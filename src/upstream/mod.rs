//! The leaf service: sends one attempt to the provider that its [`Target`] names.
//!
//! Connections are pooled per provider; each worker thread has its own pools, so that a reply is
//! read on the thread that sent the request. Every wait has a bound: connect, first byte, between
//! chunks, and the whole.

mod address;
mod blanked;
mod endpoint;
mod headers;
mod phrase;
mod sent;
mod timeouts;
mod trust;
mod whole;

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tollway_core::{BoxError, ErrorClass, Failure, NameMap, Target};
use tower_service::Service;

pub use blanked::BlankedBody;
pub use endpoint::{Endpoint, EndpointError};
pub use headers::remove_hop_by_hop;
pub use phrase::drop_stale_phrase;
pub use sent::SentBody;
pub use timeouts::{SendFuture, TimedBody};
#[cfg(feature = "redis")]
pub use trust::authorities;
pub use trust::tls_config;
pub use whole::WholeBody;

use crate::{
    simulate::{Account, SimulatedBody, Simulator},
    telemetry::Exchange,
};

/// Where one provider's requests go.
#[derive(Clone, Debug)]
pub enum Provider<B> {
    /// Over the network.
    Http(Arc<Endpoint<SentBody<B>>>),
    /// The simulated provider, inside this process.
    Simulated(Simulator),
}

/// Sends each request to the provider of its [`Target`] extension.
///
/// Errors are [`Failure`]s: `Network` and `Timeout` for what the connection did, `Invalid` for a
/// request whose body failed, `NotFound` for a target whose provider is unknown.
#[derive(Debug)]
pub struct Upstream<B> {
    providers: Arc<NameMap<Arc<str>, Provider<B>>>,
}

impl<B> Clone for Upstream<B> {
    fn clone(&self) -> Self {
        Self { providers: self.providers.clone() }
    }
}

impl<B> Upstream<B> {
    /// An upstream that knows these providers by name.
    pub fn new(providers: NameMap<Arc<str>, Provider<B>>) -> Self {
        Self { providers: Arc::new(providers) }
    }
}

/// The body of a provider's reply.
pub type ReplyBody = TimedBody<BlankedBody<http_body_util::Either<WholeBody, SimulatedBody>>>;

impl<B> Service<Request<B>> for Upstream<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<ReplyBody>;
    type Error = BoxError;
    type Future = SendFuture<B>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let provider = match request.extensions().get::<Target>() {
            Some(target) => self.providers.get(target.provider()),
            None => None,
        };
        let exchange = request.extensions().get::<Arc<Exchange>>().cloned();
        if let (Some(exchange), Some(target)) = (&exchange, request.extensions().get::<Target>()) {
            exchange.at_work().begin(target.clone());
        }
        let mut request = request.map(|body| SentBody::new(body, exchange.clone()));
        match provider {
            Some(Provider::Http(endpoint)) => match endpoint.send(request) {
                Ok((sending, credential)) => {
                    SendFuture::http(sending, endpoint.timeouts(), exchange, credential)
                }
                Err(failure) => SendFuture::failed(failure),
            },
            Some(Provider::Simulated(simulator)) => {
                // It is sent no credential of ours: the key's name stands for its account.
                let account = request
                    .extensions()
                    .get::<Target>()
                    .map(|target| Account(target.key().clone()));
                if let Some(account) = account {
                    request.extensions_mut().insert(account);
                }
                SendFuture::simulated(simulator.clone().call(request), exchange)
            }
            None => SendFuture::failed(Failure::new(
                ErrorClass::NotFound,
                "the request has no target that this proxy knows",
            )),
        }
    }
}
