//! `livekit-otel serve`: the listeners, the journal, the pipeline and the exporter, wired.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use thiserror::Error;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::config::Config;
use crate::engine::Engine;
use crate::event::Time;
use crate::export::{self, Exporter};
use crate::journal::{self, SetAside};
use crate::ledger::{Ledger, Snapshot};
use crate::observe::Clock;
use crate::pipeline;
use crate::source::Shared;
use crate::source::listen::{self, Listeners};

/// Why `serve` could not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// A listener's address can't be used.
    #[error(transparent)]
    Bind(#[from] listen::BindError),
    /// The exporter's settings can't be used.
    #[error(transparent)]
    Export(#[from] export::StartError),
}

/// A running `serve`.
#[derive(Debug)]
pub struct Server {
    listeners: Listeners,
    // None once it has ended.
    pipeline: Option<JoinHandle<()>>,
    clock: Clock,
    exporter: Exporter,
    ledger: Arc<Ledger>,
    shutdown_timeout: std::time::Duration,
}

/// What came of a run.
#[derive(Debug)]
pub struct Report {
    /// The ledger at the end.
    pub ledger: Snapshot,
    /// How many records could not be delivered, or inputs not be processed, in time.
    pub undelivered: u64,
}

impl Server {
    /// Starts on the current tokio runtime.
    ///
    /// # Errors
    /// Where a listener or the exporter can't start; nothing is left running.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let ledger = Arc::new(Ledger::default());
        let set_aside = Arc::new(SetAside::in_memory(config.set_aside_bytes));
        let exporter = Exporter::start(&config.export, Arc::clone(&ledger), &set_aside)?;
        let (journal, reader) = journal::in_memory(config.journal_bytes);
        let settings = listen::Settings {
            http: config.http,
            grpc: config.grpc,
            max_body: config.max_body,
            max_message: config.max_message,
        };
        let shared = Shared { keys: config.keys, journal, ledger: Arc::clone(&ledger), set_aside };
        let listeners = listen::bind(&settings, shared).await?;
        let now = Time::from_system(SystemTime::now());
        let engine = Engine::new(config.session, config.stats, now);
        let (ticks, pipeline) =
            pipeline::start(engine, reader, exporter.clone(), Arc::clone(&ledger));
        let own_metrics = exporter.clone();
        let clock = Clock::start(
            config.stats_interval,
            Arc::clone(&ledger),
            move || ticks.post(),
            move |metrics| own_metrics.sdk_metrics(metrics),
        );
        let shutdown_timeout = config.shutdown_timeout;
        let pipeline = Some(pipeline);
        Ok(Self { listeners, pipeline, clock, exporter, ledger, shutdown_timeout })
    }

    /// Where webhooks are taken.
    pub fn http(&self) -> SocketAddr {
        self.listeners.http
    }

    /// Where the analytics streams are taken.
    pub fn grpc(&self) -> SocketAddr {
        self.listeners.grpc
    }

    /// The ledger as it stands.
    pub fn ledger(&self) -> Snapshot {
        self.ledger.snapshot()
    }

    /// Stops accepting, ends what is open, and delivers, all within the shutdown timeout.
    pub async fn shutdown(mut self) -> Report {
        let deadline = Instant::now() + self.shutdown_timeout;
        self.listeners.stop(deadline).await;
        // With the listeners gone the journal ends, and with it the pipeline.
        if tokio::time::timeout_at(deadline, ended(&mut self.pipeline)).await.is_err() {
            if let Some(pipeline) = self.pipeline {
                pipeline.abort();
            }
            tracing::warn!("not all that was accepted could be processed in time");
        }
        self.clock.stop().await;
        let undelivered = self.exporter.shutdown(deadline).await.total();
        let ledger = self.ledger.snapshot();
        let unprocessed: u64 = ledger.inputs.iter().map(|input| input.waiting()).sum();
        Report { ledger, undelivered: undelivered + unprocessed }
    }
}

/// Runs until SIGTERM or SIGINT, then drains.
///
/// # Errors
/// Where it can't start.
pub async fn run(config: Config) -> Result<Report, StartError> {
    let disabled = [&config.export.traces, &config.export.logs, &config.export.metrics]
        .iter()
        .all(|target| !target.enabled);
    let endpoint = config.export.traces.endpoint.clone();
    let mut server = Server::start(config).await?;
    tracing::info!(http = %server.http(), grpc = %server.grpc(), "listening");
    if disabled {
        tracing::warn!("sending is switched off: what comes in is counted and not sent");
    } else {
        tracing::info!(
            collector = endpoint.host().unwrap_or_default(),
            "sending; what waits is kept in memory only"
        );
    }
    tokio::select! {
        () = stopped() => {}
        // What is accepted would go nowhere: an end that a supervisor sees is better.
        () = ended(&mut server.pipeline) => {}
    }
    tracing::info!("draining");
    Ok(server.shutdown().await)
}

// Returns once the pipeline has ended, which it only does after a shutdown or by a fault.
async fn ended(pipeline: &mut Option<JoinHandle<()>>) {
    if let Some(running) = pipeline {
        if let Err(error) = running.await {
            tracing::error!(%error, "the pipeline broke off");
        }
        *pipeline = None;
    }
}

// SIGTERM as an orchestrator sends it, or ctrl-c.
async fn stopped() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        // Without a handler the signal ends the process on its own.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}
