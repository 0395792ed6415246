//! The server: listeners, journal, pipeline and exporter together, from start to shutdown.
//!
//! Uses `config`, `source` and `ui`; only `demo` and `commands` use it.

mod run;
mod signals;
mod start;
mod stop;
mod storage;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

pub use livekit_otel_ledger::faults::Fault;
pub use run::{Outcome, run};
pub use start::StartError;
pub use stop::Report;

use crate::source::listen::{Listeners, Site};
use crate::source::reconcile::Reconciler;
use crate::source::tls::TlsError;
use crate::ui::Ui;
use livekit_otel_export::Exporter;
use livekit_otel_ledger::faults::Faults;
use livekit_otel_ledger::{Ledger, Snapshot};
use livekit_otel_livekit::keys::{KeyRing, Keys};
use livekit_otel_pipeline::Ended;
use livekit_otel_pipeline::periodic::FlushTimer;

/// A running server.
#[derive(Debug)]
pub struct Server {
    listeners: Listeners,
    // Serves until all is delivered: an orchestrator kills a process whose probe fails.
    admin: Option<Site>,
    reconciler: Option<Reconciler>,
    keys: KeyRing,
    // None once it has ended.
    pipeline: Option<JoinHandle<Ended>>,
    flush_timer: FlushTimer,
    exporter: Exporter,
    ledger: Arc<Ledger>,
    ui: Option<Ui>,
    memory_watch: Option<JoinHandle<()>>,
    is_durable: bool,
    shutdown_timeout: Duration,
    faults: Faults,
}

impl Server {
    /// The address for webhooks.
    pub fn http(&self) -> SocketAddr {
        self.listeners.http
    }

    /// The address for analytics streams.
    pub fn grpc(&self) -> SocketAddr {
        self.listeners.grpc
    }

    /// The address for an operator.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|site| site.address)
    }

    /// The live view, if it is enabled.
    pub fn ui(&self) -> Option<&Ui> {
        self.ui.as_ref()
    }

    /// Takes the live view out of the server, so that it outlives a shutdown.
    pub fn take_ui(&mut self) -> Option<Ui> {
        self.ui.take()
    }

    /// Replaces the keys, and reads the listeners' certificates again.
    ///
    /// # Errors
    /// If a certificate can't be used; then the listeners that were not reloaded keep theirs. The keys are
    /// replaced.
    pub fn reload(&self, keys: Keys) -> Result<(), TlsError> {
        self.keys.replace(keys);
        self.listeners.reload()
    }

    /// A snapshot of the ledger.
    pub fn ledger(&self) -> Snapshot {
        self.ledger.snapshot()
    }

    // Returns once a part that runs as long as the server has panicked.
    async fn broken(&self) {
        tokio::select! {
            () = self.faults.any() => {}
            () = self.listeners.faults.any() => {}
            () = self.exporter.faults().any() => {}
        }
    }
}

// Returns once the pipeline has ended: after a shutdown with its state, after a panic without.
async fn ended(pipeline: &mut Option<JoinHandle<Ended>>) -> Option<Ended> {
    let ended = pipeline.as_mut()?.await;
    *pipeline = None;
    // Without the panic's text, which may contain processed data.
    ended.inspect_err(|_| tracing::error!("the pipeline broke off")).ok()
}
