use std::{
    fmt,
    net::SocketAddr,
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tokio::{
    net::TcpStream,
    sync::{mpsc, oneshot},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tollway_core::BoxError;
use tower_service::Service;

use super::{Held, MakeStack, RequestBody, connection::serve_socket};
use crate::policy::Server;

/// What a worker is told.
#[derive(Debug)]
enum Handed {
    Connection(std::net::TcpStream, SocketAddr),
    /// Its stack is another one, and new connections have these caps and times; answered once that is so.
    Renewed(Arc<Server>, oneshot::Sender<()>),
}

/// How many threads serve: the policy's number, or one a core.
pub fn workers(config: &Server) -> usize {
    config.workers.or_else(|| thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get)
}

#[derive(Debug)]
struct Worker {
    queue: mpsc::UnboundedSender<Handed>,
    open: Arc<AtomicUsize>,
    thread: thread::JoinHandle<usize>,
}

/// The threads that serve.
#[derive(Debug)]
pub struct Workers {
    workers: Vec<Worker>,
}

/// Tells all workers that their stack is another one; holds up no drain.
#[derive(Clone, Debug)]
pub struct Renewal(Vec<mpsc::WeakUnboundedSender<Handed>>);

impl Renewal {
    /// Has each worker renew its stack between two requests; new connections have the caps and times
    /// of `config`. Returns when all that still take connections have done it.
    pub async fn renew(&self, config: Server) {
        let config = Arc::new(config);
        let told = self.0.iter().filter_map(|queue| {
            let (done, waits) = oneshot::channel();
            queue.upgrade()?.send(Handed::Renewed(config.clone(), done)).ok()?;
            Some(waits)
        });
        for waits in told.collect::<Vec<_>>() {
            // One that has ended needs no other stack.
            let _ = waits.await;
        }
    }
}

/// A worker thread could not be started.
#[derive(Debug)]
pub struct WorkersError(std::io::Error);

impl fmt::Display for WorkersError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "can't start a worker thread: {}", self.0)
    }
}

impl std::error::Error for WorkersError {}

impl Workers {
    /// Starts the threads; each builds its own stack with `make`, inside its own runtime.
    /// `stop` starts the drain.
    pub fn start<S, R>(
        config: Server,
        make: MakeStack<S>,
        stop: CancellationToken,
    ) -> Result<Self, WorkersError>
    where
        S: Service<Request<RequestBody>, Response = Response<R>> + Clone + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError>,
        R: Body<Data = Bytes> + Send + 'static,
        R::Error: Into<BoxError>,
    {
        let config = Arc::new(config);
        let workers = (0..workers(&config)).map(|number| {
            let (queue, handed) = mpsc::unbounded_channel();
            let open = Arc::new(AtomicUsize::new(0));
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let work = work(handed, open.clone(), config.clone(), make.clone(), stop.clone());
            let thread = thread::Builder::new()
                .name(format!("tollway-{number}"))
                .spawn(move || runtime.block_on(work))?;
            Ok(Worker { queue, open, thread })
        });
        workers.collect::<Result<_, _>>().map(|workers| Self { workers }).map_err(WorkersError)
    }

    /// Hands a connection to the worker with the fewest.
    pub fn serve(&self, stream: TcpStream, peer: SocketAddr) {
        let least = self.workers.iter().min_by_key(|worker| worker.open.load(Ordering::Relaxed));
        let (Some(worker), Ok(stream)) = (least, stream.into_std()) else { return };
        worker.open.fetch_add(1, Ordering::Relaxed);
        let _ = worker.queue.send(Handed::Connection(stream, peer));
    }

    /// Tells them of another stack.
    pub fn renewal(&self) -> Renewal {
        Renewal(self.workers.iter().map(|worker| worker.queue.downgrade()).collect())
    }

    /// Open connections.
    pub fn open(&self) -> usize {
        self.workers.iter().map(|worker| worker.open.load(Ordering::Relaxed)).sum()
    }

    /// Waits until every worker has drained; the number of connections cut off at the deadline.
    /// Blocks: call it where blocking is allowed.
    pub fn join(self) -> usize {
        // All queues first: a worker's time to drain begins when its queue ends.
        let (queues, threads): (Vec<_>, Vec<_>) =
            self.workers.into_iter().map(|worker| (worker.queue, worker.thread)).unzip();
        drop(queues);
        threads.into_iter().map(|thread| thread.join().unwrap_or(0)).sum()
    }
}

struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn work<S, R>(
    mut handed: mpsc::UnboundedReceiver<Handed>,
    open: Arc<AtomicUsize>,
    mut config: Arc<Server>,
    make: MakeStack<S>,
    stop: CancellationToken,
) -> usize
where
    S: Service<Request<RequestBody>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    let Held { stack, mut renew } = make();
    let connections = TaskTracker::new();
    // Ends when the acceptor lets go of its end, which it does after the last connection.
    while let Some(handed) = handed.recv().await {
        let (stream, peer) = match handed {
            Handed::Connection(stream, peer) => (stream, peer),
            Handed::Renewed(next, done) => {
                config = next;
                renew();
                let _ = done.send(());
                continue;
            }
        };
        let counted = Open(open.clone());
        let Ok(stream) = TcpStream::from_std(stream) else { continue };
        let (stack, config, stop) = (stack.clone(), config.clone(), stop.clone());
        connections.spawn(async move {
            serve_socket(stream, peer, stack, &config, stop).await;
            drop(counted);
        });
    }
    connections.close();
    let deadline = config.drain.max(Duration::from_millis(1));
    let _ = tokio::time::timeout(deadline, connections.wait()).await;
    connections.len()
}
