use std::{
    future::Future,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto,
};
use pin_project::pin_project;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{Sleep, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tollway_core::{BoxError, PeerAddr};
use tower::{ServiceExt, util::Oneshot};
use tower_service::Service;

use super::{
    StallGuard,
    bounds::{Bounds, is_http2, refused},
    clock::Clock,
    refusal::{Exchange, Exchanges, Refusals},
    streams::{Streams, Watched},
};
use crate::policy::Server;

/// A request's body from a socket; waiting longer than the policy allows for more of it is an
/// error of kind [`TimedOut`](std::io::ErrorKind::TimedOut).
#[derive(Debug)]
pub struct RequestBody {
    inner: Incoming,
    patience: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) {
            self.waiting = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let patience = self.patience;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(waiting.as_mut().poll(cx));
        let late = std::io::Error::new(
            std::io::ErrorKind::TimedOut,
            format!("no more of the request's body came within {} s", patience.as_secs_f32()),
        );
        Poll::Ready(Some(Err(late.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Puts the socket's facts into each request before the stack sees it.
#[derive(Clone, Debug)]
struct Entrance<S> {
    stack: S,
    peer: PeerAddr,
    patience: Duration,
    bounds: Bounds,
    exchanges: Exchanges,
}

impl<S> Entrance<S> {
    fn new(stack: S, peer: SocketAddr, config: &Server) -> Self {
        let (patience, bounds) = (config.body_timeout, Bounds::new(config));
        Self { stack, peer: PeerAddr(peer), patience, bounds, exchanges: Exchanges::default() }
    }
}

impl<S, R> hyper::service::Service<Request<Incoming>> for Entrance<S>
where
    S: Service<Request<RequestBody>, Response = Response<R>> + Clone,
{
    type Response = Response<Watched<R>>;
    type Error = S::Error;
    type Future = EntranceFuture<S>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        if !self.bounds.admit(&request) {
            let stage = Stage::Refused { closes: !is_http2(&request) };
            return EntranceFuture { stage, exchange: Some(self.exchanges.begin()) };
        }
        let patience = self.patience;
        let mut request = request.map(|inner| RequestBody { inner, patience, waiting: None });
        request.extensions_mut().insert(self.peer);
        let mut stack = self.stack.clone();
        let ready = stack.poll_ready(&mut Context::from_waker(Waker::noop()));
        let stage = match ready {
            Poll::Ready(Ok(())) => Stage::Called(stack.call(request)),
            _ => Stage::Waiting(Box::pin(stack.oneshot(request))),
        };
        EntranceFuture { stage, exchange: Some(self.exchanges.begin()) }
    }
}

#[pin_project]
struct EntranceFuture<S: Service<Request<RequestBody>>> {
    #[pin]
    stage: Stage<S, S::Future>,
    /// Until it moves into the reply's body.
    exchange: Option<Exchange>,
}

#[pin_project(project = StageProj)]
enum Stage<S: Service<Request<RequestBody>>, F> {
    /// The head was too large for anybody to see the request.
    Refused {
        closes: bool,
    },
    Called(#[pin] F),
    /// The stack is always ready; a service that is not is waited for here.
    Waiting(Pin<Box<Oneshot<S, Request<RequestBody>>>>),
}

impl<S, R> Future for EntranceFuture<S>
where
    S: Service<Request<RequestBody>, Response = Response<R>>,
{
    type Output = Result<Response<Watched<R>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let reply = match this.stage.project() {
            StageProj::Refused { closes } => {
                return Poll::Ready(Ok(refused(this.exchange.take(), *closes)));
            }
            StageProj::Called(future) => ready!(future.poll(cx)),
            StageProj::Waiting(future) => ready!(future.as_mut().poll(cx)),
        };
        let exchange = this.exchange.take();
        Poll::Ready(reply.map(|reply| reply.map(|inner| Watched::new(inner, exchange))))
    }
}

/// Serves a socket: HTTP/1.1 or HTTP/2, whichever the client begins with.
///
/// A look at the first bytes that leaves them in the socket saves HTTP/1.1 connections the detour
/// that [`serve_connection`] has to take, and half of their read buffer.
pub(super) async fn serve_socket<S, R>(
    stream: TcpStream,
    peer: SocketAddr,
    stack: S,
    config: &Server,
    stop: CancellationToken,
) where
    S: Service<Request<RequestBody>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    // Small writes are whole events here; waiting to merge them would only delay tokens.
    let _ = stream.set_nodelay(true);
    let mut first = [0; 3];
    let peeked = tokio::select! {
        biased;
        peeked = timeout(config.idle_timeout, stream.peek(&mut first)) => peeked,
        // Nothing was sent yet, so nothing is lost.
        () = stop.cancelled() => return,
    };
    match peeked {
        // Too few bytes to tell, or the preface of HTTP/2 (`PRI * HTTP/2.0`).
        Ok(Ok(1 | 2)) => return serve_connection(stream, peer, stack, config, stop).await,
        Ok(Ok(_)) if first == *b"PRI" => {
            return serve_connection(stream, peer, stack, config, stop).await;
        }
        Ok(Ok(3..)) => {}
        Ok(Ok(0) | Err(_)) | Err(_) => return,
    }
    let entrance = Entrance::new(stack, peer, config);
    let io = StallGuard::new(stream, config.body_timeout);
    let io = Refusals::new(io, entrance.exchanges.clone(), Clock::new(config));
    let connection = http1::Builder::new()
        .header_read_timeout(None)
        .max_buf_size(config.max_header_bytes.max(8 * 1024))
        .max_headers(config.max_headers)
        .serve_connection(TokioIo::new(io), entrance);
    tokio::pin!(connection);
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "connection ended early");
    }
}

/// Serves one connection until its end; after `stop`, only what is under way. `io` is a socket, or
/// anything like one (tests use [`tokio::io::duplex`], where time can be paused).
pub async fn serve_connection<I, S, R>(
    io: I,
    peer: SocketAddr,
    stack: S,
    config: &Server,
    stop: CancellationToken,
) where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<RequestBody>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    let io = StallGuard::new(io, config.body_timeout);
    let entrance = Entrance::new(stack, peer, config);
    let io = TokioIo::new(Refusals::new(io, entrance.exchanges.clone(), Clock::new(config)));
    let mut http = auto::Builder::new(Streams { patience: config.body_timeout });
    http.http1()
        .header_read_timeout(None)
        .max_buf_size(config.max_header_bytes.max(8 * 1024))
        .max_headers(config.max_headers)
        .half_close(false);
    http.http2()
        .timer(TokioTimer::new())
        .max_header_list_size(Bounds::new(config).read_at_most())
        .max_concurrent_streams(1024)
        .keep_alive_interval(config.header_timeout)
        .keep_alive_timeout(config.header_timeout);
    let connection = http.serve_connection(io, entrance);
    tokio::pin!(connection);
    let ended = tokio::select! {
        // What the client has sent already is read before the order to stop is heard.
        biased;
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, error, "connection ended early");
    }
}
