//! The signals that stop a server.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM, as from an orchestrator, and SIGINT, as from Ctrl-C.
pub(super) struct Signals([Option<Signal>; 2]);

impl Signals {
    /// Handles both from now on. A signal without a handler ends the process.
    pub(super) fn new() -> Self {
        Self([SignalKind::terminate(), SignalKind::interrupt()].map(|kind| signal(kind).ok()))
    }

    /// Waits for the next signal, and returns its number.
    pub(super) async fn next(&mut self) -> u8 {
        let [terminate, interrupt] = &mut self.0;
        tokio::select! {
            () = received(terminate) => number(SignalKind::terminate()),
            () = received(interrupt) => number(SignalKind::interrupt()),
        }
    }
}

async fn received(signal: &mut Option<Signal>) {
    let received = match signal {
        Some(signal) => signal.recv().await,
        None => None,
    };
    if received.is_none() {
        std::future::pending::<()>().await;
    }
}

fn number(kind: SignalKind) -> u8 {
    u8::try_from(kind.as_raw_value()).unwrap_or_default()
}
