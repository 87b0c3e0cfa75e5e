//! The whole program as a value: a policy goes in, a running proxy comes out.

mod current;
mod reload;
mod watch;

use std::{fmt, io, net::SocketAddr, sync::Arc, thread};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    admin::{Admin, Views},
    policy::{Policy, PolicyFile},
    server::{self, Held, Workers, WorkersError},
    stack::{Pools, Stack, StackError},
    telemetry::Telemetry,
};

use current::Current;
use reload::Reloading;
pub use reload::{ReloadError, Reloader};

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
    current: Arc<Current>,
    reloader: Reloader,
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
        Self::run(policy, None)
    }

    /// The same with a policy that was read from this file, which is read again whenever it changes,
    /// and when somebody asks ([`Reloader`]).
    pub fn start_from(policy: Policy, file: PolicyFile) -> Result<Self, StartError> {
        Self::run(policy, Some(Arc::new(file)))
    }

    fn run(policy: Policy, file: Option<Arc<PolicyFile>>) -> Result<Self, StartError> {
        // First, as it may take its time: until it is there, nobody shall find an open port.
        let stack = Stack::open(&policy).map_err(StartError::Stack)?;
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
        let (telemetry, alerts) = (stack.telemetry().clone(), stack.alerts().clone());
        let (current, stop) = (Current::new(stack), CancellationToken::new());
        let make = {
            let current = current.clone();
            // Always the same value, whose inside is that of the policy that holds.
            Arc::new(move || {
                let mut pools = Pools::default();
                let stack = current.stack().service_with(&mut pools);
                let (held, current) = (stack.clone(), current.clone());
                let renew = move || held.renew(current.stack().service_with(&mut pools));
                Held { stack, renew: Box::new(renew) }
            })
        };
        let workers =
            Workers::start(policy.server, make, stop.clone()).map_err(StartError::Workers)?;
        let stop_admin = CancellationToken::new();
        let (reloader, reloading) =
            Reloading::new(current.clone(), file.clone(), workers.renewal(), stop_admin.clone());
        let reloading = {
            let _inside = runtime.enter();
            reloading.probing().map_err(StartError::Stack)?
        };
        let exchanging = current.stack().exchanging({
            let current = current.clone();
            move || current.stack()
        });
        let admin = Admin::new(telemetry.clone(), stop.clone(), views(&current, &reloader));
        let serving = {
            let (telemetry, stop, reloader) = (telemetry.clone(), stop.clone(), reloader.clone());
            let last = current.clone();
            async move {
                tokio::spawn(admin.serve(admin_listener, stop_admin.clone()));
                tokio::spawn(telemetry.upkeep());
                // Those of later policies are told by it, too.
                tokio::spawn(stop_admin.clone().run_until_cancelled_owned(alerts.run()));
                tokio::spawn(stop_admin.clone().run_until_cancelled_owned(reloading.run()));
                if let Some(exchanging) = exchanging {
                    tokio::spawn(stop_admin.clone().run_until_cancelled_owned(exchanging.run()));
                }
                if let Some(file) = file {
                    let watching = watch::watch(file, reloader);
                    tokio::spawn(stop_admin.clone().run_until_cancelled_owned(watching));
                }
                server::accept(listener, &workers, stop).await;
                // Health and metrics answer until the last request is done.
                let join = tokio::task::spawn_blocking(|| workers.join());
                let cut_off = join.await.unwrap_or(0);
                stop_admin.cancel();
                last.stack().finish().await;
                cut_off
            }
        };
        let thread = thread::Builder::new()
            .name("tollway-accept".into())
            .spawn(move || runtime.block_on(serving))
            .map_err(StartError::Threads)?;
        Ok(Self { address, admin_address, telemetry, current, reloader, stop, thread })
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

    /// Its layers' handles by the policy that holds now: limits, breakers, totals.
    pub fn stack(&self) -> Arc<Stack> {
        self.current.stack()
    }

    /// Puts another policy in the place of the one that holds. Cheap to clone.
    pub fn reloader(&self) -> Reloader {
        self.reloader.clone()
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

fn views(current: &Arc<Current>, reloader: &Reloader) -> Views {
    let (holds, refused, reloader) = (current.clone(), current.clone(), reloader.clone());
    Views {
        stack: Box::new(move || holds.stack()),
        refused: Box::new(move || refused.refused()),
        reload: Box::new(move || {
            let reloader = reloader.clone();
            Box::pin(async move { reload::answer(&reloader.read_again().await) })
        }),
    }
}
