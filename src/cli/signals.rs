use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that this program obeys.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

/// What one of them means.
pub(super) enum Told {
    /// Finish and go.
    Stop,
    /// Read again what was read at the start.
    ReadAgain,
}

impl Signals {
    /// Catches them from now on; inside a runtime.
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next one.
    pub(super) async fn recv(&mut self) -> Told {
        tokio::select! {
            _ = self.terminate.recv() => Told::Stop,
            _ = self.interrupt.recv() => Told::Stop,
            _ = self.hang_up.recv() => Told::ReadAgain,
        }
    }
}
