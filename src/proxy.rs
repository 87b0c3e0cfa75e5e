//! The whole program as a value: a policy goes in, a running proxy comes out.

use std::{fmt, io, net::SocketAddr, sync::Arc, thread};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tollway_route::Health;

use crate::{
    admin::{Admin, Views},
    alerts::Alerts,
    policy::Policy,
    server::{self, Workers, WorkersError},
    stack::{Probing, Stack, StackError},
    telemetry::Telemetry,
};

/// A proxy that runs on threads of its own.
///
/// ```
/// use tollway::{Proxy, policy::Policy};
///
/// let mut policy = Policy::embedded()?;
/// policy.listen.set_port(0); // any free port
/// policy.admin.listen.set_port(0);
/// let proxy = Proxy::start(policy)?;
/// println!("http://{}/v1", proxy.address());
/// proxy.stop();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    admin_address: SocketAddr,
    telemetry: Telemetry,
    stack: Arc<Stack>,
    stop: CancellationToken,
    thread: thread::JoinHandle<usize>,
}

/// Why a proxy could not start. Nothing is left running.
#[derive(Debug)]
pub enum StartError {
    /// The policy can't be built into a stack (a certificate file that can't be read, say).
    Stack(StackError),
    /// An address is taken or not this machine's.
    Listen(SocketAddr, io::Error),
    /// No thread or runtime to be had.
    Threads(io::Error),
    /// The same, for a worker.
    Workers(WorkersError),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stack(error) => write!(f, "{error}"),
            Self::Listen(address, error) => write!(
                f,
                "can't listen on {address}: {error} (choose another with --listen or --admin-listen)"
            ),
            Self::Threads(error) => write!(f, "can't start: {error}"),
            Self::Workers(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for StartError {}

impl Proxy {
    /// Binds both listeners and starts to serve; returns once clients can connect.
    pub fn start(policy: Policy) -> Result<Self, StartError> {
        // Plain listeners, so that a proxy can also be started from inside somebody's runtime.
        let bind = |address| {
            let listener = std::net::TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            Ok((listener.local_addr()?, listener))
        };
        let bind = |address| bind(address).map_err(|error| StartError::Listen(address, error));
        let (address, listener) = bind(policy.listen)?;
        let (admin_address, admin_listener) = bind(policy.admin.listen)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(StartError::Threads)?;
        let (listener, admin_listener) = {
            let _inside = runtime.enter();
            let listen = |listener| TcpListener::from_std(listener).map_err(StartError::Threads);
            (listen(listener)?, listen(admin_listener)?)
        };
        let stack = Arc::new(Stack::new(&policy).map_err(StartError::Stack)?);
        let probing = {
            let _inside = runtime.enter();
            stack.probing().map_err(StartError::Stack)?
        };
        let telemetry = stack.telemetry().clone();
        let stop = CancellationToken::new();
        let make = {
            let stack = stack.clone();
            Arc::new(move || stack.service())
        };
        let workers = Workers::start(policy.server.clone(), make, stop.clone())
            .map_err(StartError::Workers)?;
        let token = policy.admin.token.clone();
        let admin = Admin::new(telemetry.clone(), stop.clone(), token, views(&stack));
        let serving = serve(
            listener,
            (admin_listener, admin, probing, stack.alerts().clone()),
            workers,
            telemetry.clone(),
            stop.clone(),
        );
        let thread = thread::Builder::new()
            .name("tollway-accept".into())
            .spawn(move || runtime.block_on(serving))
            .map_err(StartError::Threads)?;
        Ok(Self { address, admin_address, telemetry, stack, stop, thread })
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where health, readiness and metrics are.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// Its metrics.
    pub fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    /// Its layers' handles: limits, breakers, totals.
    pub fn stack(&self) -> &Stack {
        &self.stack
    }

    /// Cancel it to start the drain, as [`stop`](Self::stop) does.
    pub fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Takes no new connections, lets open requests finish until the policy's `drain` has passed,
    /// then ends. Blocks; returns the number of connections that were cut off.
    pub fn stop(self) -> usize {
        self.stop.cancel();
        self.join()
    }

    /// Blocks until the proxy has been stopped by its token.
    pub fn join(self) -> usize {
        self.thread.join().unwrap_or(0)
    }
}

fn views(stack: &Arc<Stack>) -> Views {
    let (refreshed, paced, known) = (stack.clone(), stack.clone(), stack.clone());
    let (whole, providers) = (stack.clone(), stack.providers());
    Views {
        refresh: Box::new(move || refreshed.refresh_metrics()),
        providers: Box::new(move || providers.json()),
        pacing: Box::new(move || paced.show_pacing()),
        targets: Box::new(move || known.show_targets()),
        health: Box::new(move || {
            let (health, shown) = whole.show_health();
            (health != Health::Down, shown)
        }),
    }
}

async fn serve(
    listener: TcpListener,
    (admin_listener, admin, probing, alerts): (TcpListener, Admin, Option<Probing>, Alerts),
    workers: Workers,
    telemetry: Telemetry,
    stop: CancellationToken,
) -> usize {
    let stop_admin = CancellationToken::new();
    tokio::spawn(admin.serve(admin_listener, stop_admin.clone()));
    tokio::spawn(telemetry.upkeep());
    tokio::spawn(stop_admin.clone().run_until_cancelled_owned(alerts.run()));
    if let Some(probing) = probing {
        tokio::spawn(stop_admin.clone().run_until_cancelled_owned(probing.run()));
    }
    server::accept(listener, &workers, stop).await;
    // Health and metrics answer until the last request is done.
    let cut_off = tokio::task::spawn_blocking(|| workers.join()).await.unwrap_or(0);
    stop_admin.cancel();
    cut_off
}
