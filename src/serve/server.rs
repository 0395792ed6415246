//! The parts of a running server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::task::JoinHandle;

use crate::source::listen::{self, Listeners, Site};
use crate::source::reconcile::{self, Reconciler};
use crate::source::tls::TlsError;
use crate::ui::Ui;
use livekit_otel_durable::store::directory::OpenError;
use livekit_otel_export::{self as export, Exporter};
use livekit_otel_ledger::faults::Faults;
use livekit_otel_ledger::{Ledger, Snapshot};
use livekit_otel_livekit::keys::{KeyRing, Keys};
use livekit_otel_pipeline::Ended;
use livekit_otel_pipeline::periodic::FlushTimer;

/// Why a server can't start.
#[derive(Debug, Error)]
pub enum StartError {
    /// A listener can't start.
    #[error(transparent)]
    Bind(#[from] listen::BindError),
    /// LiveKit's API can't be used.
    #[error(transparent)]
    Api(#[from] reconcile::StartError),
    /// The exporter's settings can't be used.
    #[error(transparent)]
    Export(#[from] export::StartError),
    /// The journal's directory can't be used.
    #[error("the journal can't be opened")]
    Directory(#[from] OpenError),
    /// A file in the journal's directory can't be used.
    #[error("the journal can't be opened")]
    Journal(#[from] std::io::Error),
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    pub(super) listeners: Listeners,
    // Serves until all is delivered: an orchestrator kills a process whose probe fails.
    pub(super) admin: Option<Site>,
    pub(super) reconciler: Option<Reconciler>,
    pub(super) keys: KeyRing,
    // None once it has ended.
    pub(super) pipeline: Option<JoinHandle<Ended>>,
    pub(super) flush_timer: FlushTimer,
    pub(super) exporter: Exporter,
    pub(super) ledger: Arc<Ledger>,
    pub(super) ui: Option<Ui>,
    pub(super) readiness_watch: JoinHandle<()>,
    pub(super) is_durable: bool,
    pub(super) shutdown_timeout: Duration,
    pub(super) faults: Faults,
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
    pub(super) async fn broken(&self) {
        tokio::select! {
            () = self.faults.any() => {}
            () = self.listeners.faults.any() => {}
            () = self.exporter.faults().any() => {}
        }
    }
}

// Returns once the pipeline has ended: after a shutdown with its state, after a panic without.
pub(super) async fn ended(pipeline: &mut Option<JoinHandle<Ended>>) -> Option<Ended> {
    let ended = pipeline.as_mut()?.await;
    *pipeline = None;
    // Without the panic's text, which may contain processed data.
    ended.inspect_err(|_| tracing::error!("the pipeline broke off")).ok()
}
