//! OTLP, and only here: encode, split by size, deliver, retry, count.
//!
//! Each signal has a queue bounded by bytes and a task that empties it, so that a collector that
//! takes traces and refuses metrics loses no traces. Where each record ended is in the ledger.

mod answer;
pub mod configure;
mod delivery;
mod encode;
mod numbers;
mod outbox;
mod queue;
mod record;
mod request;
pub mod settings;
mod table;
#[cfg(test)]
mod tests;
mod transport;
mod wire;

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use answer::Answer;
use bytes::Bytes;
use delivery::{Delivery, Sender};
pub use livekit_otel_model::privacy;
use outbox::Outbox;
pub use outbox::{Disk, Saved};
use queue::Queue;
use record::Record;
use request::Assembler;
pub use settings::Settings;
pub use transport::StartError;
use transport::Transport;

use crate::privacy::Privacy;
use livekit_otel_durable::journal::DeadLetters;
use livekit_otel_ledger::faults::Faults;
use livekit_otel_ledger::{Ledger, Lost};
use livekit_otel_model::Signal;
use livekit_otel_model::signal::{LogRecord, Metric, Span, Table};

use livekit_otel_model::sink::{Capacity, Sink};

/// Takes signals and delivers them; a handle that is cheap to clone.
#[derive(Debug, Clone)]
pub struct Exporter(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    privacy: Privacy,
    ledger: Arc<Ledger>,
    // By signal; none where it is not sent.
    queues: [Option<Arc<Queue>>; 3],
    tasks: Mutex<Vec<(Signal, JoinHandle<()>)>>,
    ending: watch::Sender<bool>,
    faults: Faults,
}

/// Sends an encoded request once.
///
/// # Errors
/// Why it was not taken, in words.
pub async fn send_once(settings: &Settings, signal: Signal, request: Bytes) -> Result<(), String> {
    let transport = Transport::new(signal, settings.target(signal));
    match transport.map_err(|error| error.to_string())?.send(request).await {
        Answer::Delivered { rejected: 0 } => Ok(()),
        Answer::Delivered { rejected } => Err(format!("{rejected} of its records were rejected")),
        Answer::Halve => Err("too large for the collector".to_owned()),
        Answer::Retry { reason, .. }
        | Answer::Misconfigured { reason }
        | Answer::Refused { reason } => Err(reason),
    }
}

/// The requests of metric points, as they would be sent, for a transport of your own.
pub fn metric_requests(settings: &Settings, metrics: &[Metric], tables: &[Table]) -> Vec<Bytes> {
    let assembler = Assembler::new(&settings.resource, settings.max_request_bytes);
    let mut records = Vec::new();
    for metric in metrics {
        encode::metric(&settings.privacy, metric, &mut records);
    }
    for table in tables {
        table::table(&settings.privacy, table, &mut records);
    }
    let mut requests = Vec::new();
    let mut rest = &records[..];
    while !rest.is_empty() {
        let (request, after) = rest.split_at(assembler.fits(rest));
        requests.push(assembler.request(request));
        rest = after;
    }
    requests
}

/// The `Metric` messages of a table.
pub fn encode_table(privacy: &Privacy, table: &Table) -> Vec<Bytes> {
    let mut records = Vec::new();
    table::table(privacy, table, &mut records);
    records.into_iter().map(|record| record.bytes).collect()
}

/// What could not be delivered before the end, by signal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Undelivered {
    /// Spans.
    pub traces: u64,
    /// Log records.
    pub logs: u64,
    /// Metric points.
    pub metrics: u64,
}

impl Undelivered {
    /// All of them.
    pub fn total(self) -> u64 {
        self.traces + self.logs + self.metrics
    }
}

impl Exporter {
    /// Starts a delivery task for each signal on the current tokio runtime. The collector need
    /// not be there yet. What waits is kept in memory.
    ///
    /// # Errors
    /// Where a target can't be used whatever the collector does.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(
        settings: &Settings,
        ledger: Arc<Ledger>,
        set_aside: &Arc<DeadLetters>,
    ) -> Result<Self, StartError> {
        Self::start_with(settings, ledger, set_aside, None)
    }

    /// As [`Exporter::start`]. With `disk` nothing that waits is lost: not by a restart, and not as there is too much of it.
    ///
    /// # Errors
    /// Where a target can't be used whatever the collector does, or the directory can't.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start_with(
        settings: &Settings,
        ledger: Arc<Ledger>,
        set_aside: &Arc<DeadLetters>,
        disk: Option<Disk<'_>>,
    ) -> Result<Self, StartError> {
        let assembler = Assembler::new(&settings.resource, settings.max_request_bytes);
        let (ending, _) = watch::channel(false);
        let mut deliveries = Vec::new();
        let mut queues = [None, None, None];
        for signal in Signal::ALL {
            let target = settings.target(signal);
            if !target.enabled {
                continue;
            }
            let outbox = disk.map(|disk| Outbox::open(signal, disk, &ledger)).transpose()?;
            let queue = Arc::new(Queue::new(settings.max_queue_bytes, outbox));
            queues[signal as usize] = Some(Arc::clone(&queue));
            let courier = Sender {
                signal,
                queue,
                transport: Transport::new(signal, target)?,
                assembler: assembler.clone(),
                collector: target.endpoint.host().unwrap_or_default().to_owned(),
                url: target.shown(),
                failing: AtomicBool::new(false),
                said: Mutex::default(),
                ledger: Arc::clone(&ledger),
                set_aside: Arc::clone(set_aside),
            };
            let delivery = Delivery { courier: Arc::new(courier), ending: ending.subscribe() };
            deliveries.push((signal, delivery));
        }
        let faults = Faults::default();
        let tasks = deliveries
            .into_iter()
            .map(|(signal, delivery)| {
                let watched = faults.watched(match signal {
                    Signal::Traces => "the delivery of traces",
                    Signal::Logs => "the delivery of logs",
                    Signal::Metrics => "the delivery of metrics",
                });
                let task = tokio::spawn(async move {
                    let _watched = watched;
                    delivery.run().await;
                });
                (signal, task)
            })
            .collect();
        let privacy = settings.privacy.clone();
        Ok(Self(Arc::new(Inner {
            privacy,
            ledger,
            queues,
            tasks: Mutex::new(tasks),
            ending,
            faults,
        })))
    }

    /// Queues the SDK's own metrics: what the program tells of itself.
    pub fn sdk_metrics(&self, metrics: &ResourceMetrics) {
        let request = ExportMetricsServiceRequest::from(metrics);
        let scopes = request.resource_metrics.iter().flat_map(|resource| &resource.scope_metrics);
        let metrics = scopes.flat_map(|scope| &scope.metrics);
        if let Some(queue) = self.metrics_queue() {
            // They count from the start of the process: what is told now has what waits.
            self.0.ledger.lost(Signal::Metrics, Lost::Superseded, queue.supersede_own());
        }
        self.queue(Signal::Metrics, metrics.map(encode::own_metric).collect());
    }

    /// Delivers what is queued, with back-off cut short, and at `deadline` counts the rest as
    /// lost. What is queued after that is lost too.
    pub async fn shutdown(&self, deadline: Instant) -> Undelivered {
        self.0.ending.send_replace(true);
        let tasks = std::mem::take(&mut *self.0.tasks.lock());
        let mut undelivered = Undelivered::default();
        for (signal, mut task) in tasks {
            if tokio::time::timeout_at(deadline, &mut task).await.is_err() {
                task.abort();
                // Only once it is gone nothing is delivered behind the count.
                let _ = task.await;
            }
            let queue = self.0.queues[signal as usize].as_ref();
            let left = queue.map_or(0, |queue| queue.abandon());
            self.0.ledger.lost(signal, Lost::Shutdown, left);
            match signal {
                Signal::Traces => undelivered.traces = left,
                Signal::Logs => undelivered.logs = left,
                Signal::Metrics => undelivered.metrics = left,
            }
        }
        undelivered
    }

    /// Whether a delivery broke off.
    pub fn faults(&self) -> &Faults {
        &self.0.faults
    }

    /// How far the records of each signal are numbered.
    pub fn numbered(&self) -> [Saved; 3] {
        let mut numbered = [Saved::default(); 3];
        for (signal, queue) in self.queues() {
            numbered[signal as usize] = queue.numbered();
        }
        numbered
    }

    /// Leaves out the numbers before these: records have them that are not made again.
    pub fn skip_to(&self, numbered: [Saved; 3]) {
        for (signal, queue) in self.queues() {
            queue.skip_to(numbered[signal as usize]);
        }
    }

    /// Puts all that waits on disk; gives what a snapshot has to know of each signal.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn save(&self) -> io::Result<[Saved; 3]> {
        let mut saved = [Saved::default(); 3];
        for (signal, queue) in self.queues() {
            saved[signal as usize] = queue.save()?.unwrap_or_default();
        }
        Ok(saved)
    }

    /// Goes on from a snapshot; without one, `is_whole` says that none was ever needed.
    pub fn restore(&self, saved: Option<[Saved; 3]>, is_whole: bool) {
        for (signal, queue) in self.queues() {
            queue.restore(saved.map(|saved| saved[signal as usize]), is_whole);
        }
    }

    fn metrics_queue(&self) -> Option<&Queue> {
        self.0.queues[Signal::Metrics as usize].as_deref()
    }

    fn queues(&self) -> impl Iterator<Item = (Signal, &Arc<Queue>)> {
        let queues = Signal::ALL.into_iter().zip(&self.0.queues);
        queues.filter_map(|(signal, queue)| Some((signal, queue.as_ref()?)))
    }

    fn queue(&self, signal: Signal, records: Vec<Record>) {
        let ledger = &self.0.ledger;
        match &self.0.queues[signal as usize] {
            None => {
                let items = records.iter().map(|record| record.items).sum();
                ledger.queued(signal, items);
                ledger.lost(signal, Lost::Disabled, items);
            }
            Some(queue) => {
                ledger.queued(signal, queue.uncounted(&records));
                let (lost, why) = queue.push(records);
                ledger.lost(signal, why, lost);
                if queue.is_newly_full(lost > 0) {
                    let signal = signal.as_str();
                    tracing::error!(
                        signal,
                        "the queue is full: new records are lost until it moves"
                    );
                }
            }
        }
    }
}

/// Queues records for the collector; none of the methods blocks. Records that find no capacity are lost and
/// counted.
impl Sink for Exporter {
    fn spans(&self, spans: &[Span]) {
        let records = spans.iter().map(|span| encode::span(&self.0.privacy, span));
        self.queue(Signal::Traces, records.collect());
    }

    fn logs(&self, records: &[LogRecord]) {
        let records = records.iter().map(|log| encode::log(&self.0.privacy, log));
        self.queue(Signal::Logs, records.collect());
    }

    fn metrics(&self, metrics: &[Metric]) {
        let mut records = Vec::new();
        for metric in metrics {
            encode::metric(&self.0.privacy, metric, &mut records);
        }
        self.queue(Signal::Metrics, records);
    }

    fn table(&self, table: &Table) {
        let mut records = Vec::new();
        table::table(&self.0.privacy, table, &mut records);
        self.queue(Signal::Metrics, records);
    }

    /// Whether more waits than memory has capacity for, and it could not be written to disk. Tries again.
    fn is_stalled(&self) -> bool {
        // No short circuit: each queue is tried.
        self.queues().filter(|(_, queue)| queue.is_stalled()).count() > 0
    }

    fn is_backlogged(&self) -> bool {
        self.metrics_queue().is_some_and(|queue| queue.is_backlogged())
    }

    fn is_failing(&self) -> bool {
        self.metrics_queue().is_some_and(|queue| queue.is_failing())
    }

    fn wait_for_capacity(&self) -> Capacity<'_> {
        Box::pin(async {
            if let Some(queue) = self.metrics_queue() {
                queue.wait_for_capacity().await;
            }
        })
    }
}
