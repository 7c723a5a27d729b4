//! The signals that the daemon follows: stop, reload, probe.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The request that a signal stands for.
pub(super) enum SignalRequest {
    Stop,
    Reload,
    Probe,
}

/// The signals that the daemon waits for.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    reload: Signal,
    probe: Signal,
}

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            reload: signal(SignalKind::hangup())?,
            probe: signal(SignalKind::user_defined1())?,
        })
    }

    /// Waits for the next signal. Cancel safe.
    pub(super) async fn next(&mut self) -> SignalRequest {
        tokio::select! {
            _ = self.terminate.recv() => SignalRequest::Stop,
            _ = self.interrupt.recv() => SignalRequest::Stop,
            _ = self.reload.recv() => SignalRequest::Reload,
            _ = self.probe.recv() => SignalRequest::Probe,
        }
    }
}
