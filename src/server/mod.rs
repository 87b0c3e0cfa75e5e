//! Accepts connections and serves a stack on them, until told to drain.
//!
//! One thread accepts and hands each connection to the worker with the fewest open ones. A worker
//! is one thread with a runtime, a stack and connection pools of its own: a request is read,
//! sent, answered and written on one thread, and no two threads share a wake-up.

mod bare;
mod bounds;
mod clock;
mod connection;
mod io;
mod refusal;
mod streams;
mod worker;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use connection::{RequestBody, serve_connection};
pub use io::StallGuard;
pub use worker::{Renewal, Workers, WorkersError, workers};

/// Accepts until `stop`, then hands over what the kernel had accepted already and closes the port.
pub async fn accept(listener: TcpListener, workers: &Workers, stop: CancellationToken) {
    loop {
        tokio::select! {
            biased;
            accepted = listener.accept() => hand_over(accepted, workers).await,
            () = stop.cancelled() => return,
        }
    }
}

async fn hand_over(
    accepted: std::io::Result<(tokio::net::TcpStream, SocketAddr)>,
    workers: &Workers,
) {
    match accepted {
        Ok((stream, peer)) => workers.serve(stream, peer),
        Err(error) => {
            // Out of file descriptors, most often: accepting again at once would spin.
            tracing::warn!(%error, "can't accept a connection");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// The stack as a worker holds it: built once a worker, inside the worker's runtime.
pub struct Held<S> {
    /// Serves the worker's connections, whose clones are all one.
    pub stack: S,
    /// Makes that one what it should be by now ([`Renewal`]).
    pub renew: Box<dyn FnMut() + Send>,
}

impl<S> std::fmt::Debug for Held<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Held").finish_non_exhaustive()
    }
}

/// Makes each worker's stack.
pub type MakeStack<S> = Arc<dyn Fn() -> Held<S> + Send + Sync>;
