//! `livekit-otel serve`: the listeners, the journal, the pipeline and the exporter, wired.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

mod stop;

use thiserror::Error;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;

use stop::Signals;
pub use stop::{Outcome, Report};

use crate::config::{Config, Errors, JournalConfig};
use crate::descriptors;
use crate::source::listen::{self, Listeners, Site};
use crate::source::reconcile::{self, Reconciler};
use crate::source::tls;
use crate::source::{self, Shared};
use crate::ui::Ui;
use livekit_otel_durable::journal::{self, DeadLetters, Journal};
use livekit_otel_durable::memory;
use livekit_otel_durable::store::Directory;
use livekit_otel_durable::store::directory::OpenError;
use livekit_otel_engine::Engine;
use livekit_otel_export::{self as export, Exporter};
pub use livekit_otel_ledger::faults::Fault;
use livekit_otel_ledger::faults::Faults;
use livekit_otel_ledger::{Ledger, Snapshot};
use livekit_otel_livekit::keys::{KeyRing, Keys};
use livekit_otel_model::event::Time;
use livekit_otel_pipeline::own::Own;
use livekit_otel_pipeline::periodic::Clock;
use livekit_otel_pipeline::{self as pipeline, Checkpoints, Durable, Ended};

// How long a start that fails waits for what writes the journal.
const WRITER: Duration = Duration::from_secs(5);
const CLOCK: &str = "the clock of the metrics";

/// Why `serve` could not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// A listener's address can't be used.
    #[error(transparent)]
    Bind(#[from] listen::BindError),
    /// LiveKit's API can't be asked.
    #[error(transparent)]
    Api(#[from] reconcile::StartError),
    /// The exporter's settings can't be used.
    #[error(transparent)]
    Export(#[from] export::StartError),
    /// The journal's directory can't be used.
    #[error("the journal can't be opened: {0}")]
    Directory(#[from] OpenError),
    /// A file in the journal's directory can't be used.
    #[error("the journal can't be opened: {0}")]
    Journal(#[from] std::io::Error),
}

/// A running `serve`.
#[derive(Debug)]
pub struct Server {
    listeners: Listeners,
    // Until all is delivered: a probe that fails while it drains would have it killed.
    admin: Option<Site>,
    reconciler: Option<Reconciler>,
    keys: KeyRing,
    // None once it has ended.
    pipeline: Option<JoinHandle<Ended>>,
    clock: Clock,
    exporter: Exporter,
    ledger: Arc<Ledger>,
    ui: Option<Ui>,
    watch: Option<JoinHandle<()>>,
    is_durable: bool,
    shutdown_timeout: Duration,
    faults: Faults,
}

// The journal, and where else things are kept.
struct Kept {
    journal: Journal,
    reader: journal::Reader,
    set_aside: Arc<DeadLetters>,
    // With how large a segment is.
    disk: Option<(Arc<Directory>, u64, Checkpoints)>,
    // What runs as long as the server does.
    faults: Faults,
    // What writes the journal.
    writer: Option<std::thread::JoinHandle<()>>,
}

impl Kept {
    fn in_memory(config: &Config, ledger: &Arc<Ledger>) -> Self {
        let (journal, reader) = journal::in_memory(config.journal_bytes, ledger);
        let set_aside = Arc::new(DeadLetters::in_memory(config.set_aside_bytes));
        Self { journal, reader, set_aside, disk: None, faults: Faults::default(), writer: None }
    }

    fn on_disk(
        config: &Config,
        of: &JournalConfig,
        ledger: &Arc<Ledger>,
    ) -> Result<Self, StartError> {
        let directory = Arc::new(Directory::open(&of.directory, Arc::clone(&of.disk))?);
        let set_aside = Arc::new(DeadLetters::on_disk(&directory, config.set_aside_bytes)?);
        let total = directory.space().map_or(u64::MAX, |space| space.total);
        let least = journal::Settings::least(config.max_body.max(config.max_message) as u64);
        if total < least {
            let directory = of.directory.display();
            tracing::warn!(
                %directory, total, least,
                "the journal's volume is too small for the largest message: one may never be accepted"
            );
        }
        let settings = of.settings.on_volume(total);
        let checkpoints = Checkpoints::open(&directory, settings);
        let next = checkpoints.next();
        let opened = journal::open(&directory, next, settings, source::read_again, ledger)?;
        let journal::Opened { journal, reader, first, saved, faults, thread } = opened;
        let checkpoints = checkpoints.attach(journal.ticker(), first, saved);
        let disk = Some((directory, settings.segment(), checkpoints));
        Ok(Self { journal, reader, set_aside, disk, faults, writer: Some(thread) })
    }
}

impl Server {
    /// Starts on the current tokio runtime.
    ///
    /// # Errors
    /// Where a listener, the journal or the exporter can't start; nothing is left running.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let ledger = Arc::new(Ledger::default());
        let mut kept = match &config.journal {
            Some(journal) => Kept::on_disk(&config, journal, &ledger)?,
            None => Kept::in_memory(&config, &ledger),
        };
        let room = kept.journal.budget();
        let outbox = kept.disk.as_ref().map(|(directory, segment, _)| export::Disk {
            directory,
            room,
            segment: *segment,
        });
        let to = Arc::clone(&ledger);
        let exporter = Exporter::start_with(&config.export, to, &kept.set_aside, outbox)?;
        let writer = kept.writer.take();
        // Boxed, as it is large.
        let started = Box::pin(Self::start_with(config, kept, ledger, exporter.clone())).await;
        if started.is_err() {
            // What waits on disk is for the next start.
            exporter.shutdown(tokio::time::Instant::now()).await;
            if let Some(writer) = writer {
                // The directory is in use until then; a disk that hangs is not waited for.
                let ended = tokio::task::spawn_blocking(move || writer.join());
                let _ = tokio::time::timeout(WRITER, ended).await;
            }
        }
        started
    }

    async fn start_with(
        config: Config,
        kept: Kept,
        ledger: Arc<Ledger>,
        exporter: Exporter,
    ) -> Result<Self, StartError> {
        let Kept { journal, reader, set_aside, disk, faults, .. } = kept;
        let keys = KeyRing::from(config.keys);
        let is_durable = disk.is_some();
        let room = Arc::clone(journal.budget());
        let settings = listen::Settings {
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
            http_tls: config.http_tls,
            grpc_tls: config.grpc_tls,
        };
        let shared = Shared {
            keys: keys.clone(),
            journal,
            ledger: Arc::clone(&ledger),
            dead_letters: Arc::clone(&set_aside),
        };
        let api =
            config.api.map(|api| reconcile::Prepared::new(api, shared.clone())).transpose()?;
        let mut listeners = listen::bind(&settings, shared).await?;
        let admin = listeners.admin.take();
        let (ui, tap) = match config.ui {
            None => (None, None),
            Some(address) => {
                let trace_url = config.session.trace_url.clone();
                let privacy = config.export.privacy.clone();
                let started = Ui::start(address, privacy, Arc::clone(&ledger), trace_url, &faults);
                let (ui, tap) = started.await?;
                (Some(ui), Some(tap))
            }
        };
        let reconciler = api.map(|api| api.start(&faults));
        let now = Time::from_system(SystemTime::now());
        let durable = disk.map(|(_, _, checkpoints)| {
            let exporter = exporter.clone();
            Durable { checkpoints, exporter }
        });
        let parts = pipeline::Parts {
            engine: Engine::new(config.session, config.stats, now),
            sink: Arc::new(exporter.clone()),
            ledger: Arc::clone(&ledger),
            dead_letters: set_aside,
            durable,
            tap,
            clock: pipeline::Clock::default(),
        };
        let (ticks, pipeline) = pipeline::start(parts, reader);
        let (own_metrics, ticking, collecting) = (exporter.clone(), faults.clone(), faults.clone());
        let clock = Clock::start(
            config.stats_interval,
            Own::new(Arc::clone(&ledger), is_durable.then(|| Arc::clone(&room))),
            move || {
                let _watched = ticking.watched(CLOCK);
                ticks.post();
            },
            move |metrics| {
                let _watched = collecting.watched(CLOCK);
                own_metrics.sdk_metrics(metrics);
            },
        );
        let watch = config.memory_limit.map(|limit| {
            let faults = faults.clone();
            let watch = memory::watch(limit, room);
            tokio::spawn(async move { faults.watch("the watch of the memory", watch).await })
        });
        let shutdown_timeout = config.shutdown_timeout;
        let pipeline = Some(pipeline);
        Ok(Self {
            listeners,
            admin,
            reconciler,
            keys,
            pipeline,
            clock,
            exporter,
            ledger,
            ui,
            watch,
            is_durable,
            shutdown_timeout,
            faults,
        })
    }

    /// Where webhooks are taken.
    pub fn http(&self) -> SocketAddr {
        self.listeners.http
    }

    /// Where the analytics streams are taken.
    pub fn grpc(&self) -> SocketAddr {
        self.listeners.grpc
    }

    /// Where an operator asks.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|site| site.address)
    }

    /// The page of rooms, where there is one.
    pub fn ui(&self) -> Option<&Ui> {
        self.ui.as_ref()
    }

    /// Takes the page of rooms out, which outlives this then.
    pub fn take_ui(&mut self) -> Option<Ui> {
        self.ui.take()
    }

    /// Takes these keys from now on, and reads the listeners' certificates again.
    ///
    /// # Errors
    /// Where a certificate can't be used: those of before stay in use.
    pub fn reload(&self, keys: Keys) -> Result<(), tls::TlsError> {
        self.keys.replace(keys);
        self.listeners.reload()
    }

    // Returns once something broke off that should run as long as this does.
    async fn broken(&self) {
        tokio::select! {
            () = self.faults.any() => {}
            () = self.listeners.faults.any() => {}
            () = self.exporter.faults().any() => {}
        }
    }

    /// The ledger as it stands.
    pub fn ledger(&self) -> Snapshot {
        self.ledger.snapshot()
    }
}

/// Runs until SIGTERM or SIGINT, then drains; a second of them ends that at once. At each SIGHUP it takes the keys that `reload` gives,
/// and reads the listeners' certificates again.
///
/// # Errors
/// Where it can't start.
pub async fn run(
    mut config: Config,
    reload: impl Fn() -> Result<Keys, Errors>,
) -> Result<Outcome, StartError> {
    let disabled = [&config.export.traces, &config.export.logs, &config.export.metrics]
        .iter()
        .all(|target| !target.enabled);
    let endpoint = config.export.traces.endpoint.clone();
    match &config.journal {
        Some(journal) => {
            tracing::info!(directory = %journal.directory.display(), "what waits is kept on disk");
        }
        None => tracing::warn!("no journal.dir: what waits is in memory only, and lost in a crash"),
    }
    config.max_connections = descriptors::reserve_for_connections(config.max_connections);
    let mut server = Server::start(config).await?;
    // Before it is said to listen: a signal that comes first would end the process.
    let (hangup, mut signals) = (signal(SignalKind::hangup()), Signals::new());
    let admin = server.admin().map(tracing::field::display);
    tracing::info!(http = %server.http(), grpc = %server.grpc(), admin, "listening");
    if let Some(ui) = server.ui() {
        tracing::info!(url = ui.url(), "rooms are shown");
    }
    if disabled {
        tracing::warn!("sending is switched off: what comes in is counted and not sent");
    } else {
        tracing::info!(collector = endpoint.host().unwrap_or_default(), "sending");
    }
    let mut pipeline = server.pipeline.take();
    tokio::select! {
        _ = signals.next() => {}
        () = reloading(&server, hangup, reload) => {}
        // What is accepted would go nowhere: an end that a supervisor sees is better.
        _ = ended(&mut pipeline) => {}
        () = server.broken() => {}
    }
    server.pipeline = pipeline;
    tracing::info!("draining: a second signal ends it at once");
    tokio::select! {
        biased;
        report = server.shutdown() => Ok(Outcome::Drained(Box::new(report))),
        signal = signals.next() => {
            tracing::error!("ended by a second signal, before all was delivered");
            Ok(Outcome::Interrupted(signal))
        }
    }
}

// Never returns.
async fn reloading(
    server: &Server,
    hangup: std::io::Result<Signal>,
    reload: impl Fn() -> Result<Keys, Errors>,
) {
    let Ok(mut hangup) = hangup else { return std::future::pending().await };
    while hangup.recv().await.is_some() {
        let reloaded = reload().map_err(|error| error.to_string());
        match reloaded.and_then(|keys| server.reload(keys).map_err(|error| error.to_string())) {
            Ok(()) => tracing::info!("keys and certificates are read again"),
            Err(error) => tracing::error!(error, "not reloaded: those of before stay in use"),
        }
    }
    std::future::pending::<()>().await;
}

// Returns once the pipeline has ended, which it only does after a shutdown or by a fault: then there is
// nothing to save.
async fn ended(pipeline: &mut Option<JoinHandle<Ended>>) -> Option<Ended> {
    let ended = pipeline.as_mut()?.await;
    *pipeline = None;
    // Not the panic's text: it may be of what was processed.
    ended.inspect_err(|_| tracing::error!("the pipeline broke off")).ok()
}
