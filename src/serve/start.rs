//! Starts a server.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::server::{Server, StartError};
use super::storage::Storage;
use crate::config::Config;
use crate::source::Shared;
use crate::source::{listen, reconcile};
use crate::ui::Ui;
use livekit_otel_durable::journal::Readiness;
use livekit_otel_engine::Engine;
use livekit_otel_export::Exporter;
use livekit_otel_ledger::Ledger;
use livekit_otel_ledger::faults::Faults;
use livekit_otel_livekit::keys::KeyRing;
use livekit_otel_model::event::Time;
use livekit_otel_pipeline::own::Own;
use livekit_otel_pipeline::periodic::FlushTimer;
use livekit_otel_pipeline::{self as pipeline, Durable, Tap, Ticks};

// How long a failed start waits for the journal's writer.
const WRITER_TIMEOUT: Duration = Duration::from_secs(5);
const FLUSH_TIMER: &str = "the flush timer";

impl Server {
    /// Starts on the current tokio runtime.
    ///
    /// # Errors
    /// If a listener, the journal or the exporter can't start; then nothing keeps running.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let ledger = Arc::new(Ledger::default());
        let mut storage = Storage::open(&config, &ledger)?;
        let exporter = Exporter::start_with(
            &config.export,
            Arc::clone(&ledger),
            &storage.dead_letters,
            storage.outbox(),
        )?;
        let writer = storage.writer.take();
        // Boxed, as it is large.
        let started = Box::pin(Self::start_with(config, storage, ledger, exporter.clone())).await;
        if started.is_err() {
            // Records on disk are for the next start.
            exporter.shutdown(Instant::now()).await;
            if let Some(writer) = writer {
                // The writer keeps the directory locked, and may be blocked by the disk.
                let ended = tokio::task::spawn_blocking(move || writer.join());
                let _ = tokio::time::timeout(WRITER_TIMEOUT, ended).await;
            }
        }
        started
    }

    async fn start_with(
        mut config: Config,
        storage: Storage,
        ledger: Arc<Ledger>,
        exporter: Exporter,
    ) -> Result<Self, StartError> {
        let Storage { journal, reader, dead_letters, disk, faults, uploads_reader, .. } = storage;
        let is_durable = disk.is_some();
        let (budget, readiness) = (Arc::clone(journal.budget()), Arc::clone(journal.readiness()));
        let settings = listeners(&config);
        let keys = KeyRing::from(std::mem::take(&mut config.keys));
        let shared = Shared {
            keys: keys.clone(),
            journal,
            ledger: Arc::clone(&ledger),
            dead_letters: Arc::clone(&dead_letters),
            reader: uploads_reader,
        };
        let api = config.api.take();
        let api = api.map(|api| reconcile::Prepared::new(api, shared.clone())).transpose()?;
        let mut listeners = listen::bind(&settings, shared).await?;
        let admin = listeners.admin.take();
        let (ui, tap) = start_ui(&config, &ledger, &faults).await?;
        let (questions, askers) = pipeline::questions();
        let askers = api.is_some().then_some(askers);
        let reconciler = api.map(|api| api.start(questions, &faults));
        let now = Time::from_system(SystemTime::now());
        let durable =
            disk.map(|disk| Durable { checkpoints: disk.checkpoints, exporter: exporter.clone() });
        let parts = pipeline::Parts {
            engine: Engine::new(config.session, config.stats, now),
            sink: Arc::new(exporter.clone()),
            ledger: Arc::clone(&ledger),
            dead_letters,
            durable,
            tap,
            clock: pipeline::Clock::default(),
            questions: askers,
        };
        let (ticks, pipeline) = pipeline::start(parts, reader);
        let own = Own::new(Arc::clone(&ledger), is_durable.then_some(budget));
        let flush_timer = start_flush_timer(config.stats_interval, own, ticks, &exporter, &faults);
        let readiness_watch = watch_readiness(readiness, config.memory_limit, &faults);
        Ok(Self {
            listeners,
            admin,
            reconciler,
            keys,
            pipeline: Some(pipeline),
            flush_timer,
            exporter,
            ledger,
            ui,
            readiness_watch,
            is_durable,
            shutdown_timeout: config.shutdown_timeout,
            faults,
        })
    }
}

async fn start_ui(
    config: &Config,
    ledger: &Arc<Ledger>,
    faults: &Faults,
) -> Result<(Option<Ui>, Option<Tap>), StartError> {
    let Some(address) = config.ui else { return Ok((None, None)) };
    let (privacy, trace_url) = (config.export.privacy.clone(), config.session.trace_url.clone());
    let (ui, tap) = Ui::start(address, privacy, Arc::clone(ledger), trace_url, faults).await?;
    Ok((Some(ui), Some(tap)))
}

fn listeners(config: &Config) -> listen::Settings {
    listen::Settings {
        http: config.http,
        grpc: config.grpc,
        admin: Some(config.admin),
        status_on_webhooks: config.status_on_webhooks,
        max_connections: config.max_connections,
        idle_timeout: config.idle_timeout,
        unfinished: config.unfinished,
        max_body: config.max_body,
        max_message: config.max_message,
        grpc_auth: config.grpc_auth,
        http_tls: config.http_tls.clone(),
        grpc_tls: config.grpc_tls.clone(),
        uploads: config.uploads.clone(),
    }
}

// The timer flushes the stats, and sends the program's own metrics.
fn start_flush_timer(
    interval: Duration,
    own: Own,
    ticks: Ticks,
    exporter: &Exporter,
    faults: &Faults,
) -> FlushTimer {
    let (exporter, ticking, collecting) = (exporter.clone(), faults.clone(), faults.clone());
    FlushTimer::start(
        interval,
        own,
        move || {
            let _watched = ticking.watched(FLUSH_TIMER);
            ticks.post();
        },
        move |metrics| {
            let _watched = collecting.watched(FLUSH_TIMER);
            exporter.sdk_metrics(metrics);
        },
    )
}

fn watch_readiness(
    readiness: Arc<Readiness>,
    memory_limit: Option<u64>,
    faults: &Faults,
) -> JoinHandle<()> {
    let faults = faults.clone();
    tokio::spawn(async move {
        faults.watch("the watch of the readiness", readiness.watch(memory_limit)).await;
    })
}
