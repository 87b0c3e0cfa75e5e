use std::{convert::Infallible, future::Future, pin::pin, time::Duration};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto::Builder, graceful::GracefulShutdown},
};
use tokio::net::TcpListener;

use super::{SimulateFuture, SimulatedBody, Simulator};

/// How long replies under way may take once `shutdown` is done; stalled ones never end by themselves.
const DRAIN: Duration = Duration::from_secs(10);

/// Serves `simulator` on `listener`, HTTP/1.1 and HTTP/2 (prior knowledge), until `shutdown` is
/// done and the replies under way have ended, for which they have 10 seconds.
pub async fn serve(
    listener: TcpListener,
    simulator: Simulator,
    shutdown: impl Future<Output = ()>,
) {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new());
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(Some(100_000));
    let graceful = GracefulShutdown::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => break,
            accepted = listener.accept() => accepted,
        };
        let Ok((socket, _)) = accepted else {
            // Mostly: too many open files. Asking again at once would only spin.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let _ = socket.set_nodelay(true);
        let service = OnConnection(simulator.clone());
        let connection = builder.serve_connection(TokioIo::new(socket), service).into_owned();
        let connection = graceful.watch(connection);
        // A client that breaks its connection is no news here, and a simulated reset is an error.
        tokio::spawn(async move {
            let _ = connection.await;
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(DRAIN, graceful.shutdown()).await;
}

struct OnConnection(Simulator);

impl hyper::service::Service<Request<Incoming>> for OnConnection {
    type Response = Response<SimulatedBody>;
    type Error = Infallible;
    type Future = SimulateFuture<Incoming>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        SimulateFuture::new(self.0.clone(), request)
    }
}
