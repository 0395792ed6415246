//! The exporter: a queue and a delivery task for each signal.

use std::io;
use std::sync::Arc;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::delivery::Delivery;
use crate::error::StartError;
use crate::fullness::Fullness;
use crate::outbox::{Outbox, OutboxSettings, Saved};
use crate::queue::Queue;
use crate::record::Record;
use crate::request::Assembler;
use crate::sender::Sender;
use crate::settings::Settings;
use crate::{encode, foreign, table};
use livekit_otel_durable::journal::DeadLetters;
use livekit_otel_ledger::faults::Faults;
use livekit_otel_ledger::{Ledger, Lost};
use livekit_otel_model::Signal;
use livekit_otel_model::foreign::Foreign;
use livekit_otel_model::privacy::Privacy;
use livekit_otel_model::signal::{LogRecord, Metric, Span, Table};
use livekit_otel_model::sink::{Capacity, Sink};

/// Queues spans, log records and metric points, and delivers them over OTLP. A handle that is cheap to clone.
#[derive(Debug, Clone)]
pub struct Exporter(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    privacy: Privacy,
    max_group_bytes: usize,
    ledger: Arc<Ledger>,
    // By signal; `None` where it is not sent.
    queues: [Option<Arc<Queue>>; 3],
    fullness: [Fullness; 3],
    tasks: Mutex<Vec<(Signal, JoinHandle<()>)>>,
    // Set at shutdown.
    ending: watch::Sender<bool>,
    faults: Faults,
}

/// How many items could not be delivered before shutdown, by signal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Undelivered {
    /// Spans.
    pub traces: u64,
    /// Log records.
    pub logs: u64,
    /// Metric points.
    pub metrics: u64,
}

impl Undelivered {
    /// The items of all signals.
    pub fn total(self) -> u64 {
        self.traces + self.logs + self.metrics
    }
}

impl Exporter {
    /// Starts a delivery task for each signal on the current tokio runtime. The collector need not be
    /// reachable yet. Queued records are in memory only.
    ///
    /// # Errors
    /// If a target can't be used, whatever the collector answers.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(
        settings: &Settings,
        ledger: Arc<Ledger>,
        dead_letters: &Arc<DeadLetters>,
    ) -> Result<Self, StartError> {
        Self::start_with(settings, ledger, dead_letters, None)
    }

    /// As [`Exporter::start`]. With `outbox`, queued records survive restarts, and those that exceed the
    /// memory are written to disk.
    ///
    /// # Errors
    /// If a target can't be used, whatever the collector answers, or the outbox can't be opened.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start_with(
        settings: &Settings,
        ledger: Arc<Ledger>,
        dead_letters: &Arc<DeadLetters>,
        outbox: Option<OutboxSettings<'_>>,
    ) -> Result<Self, StartError> {
        let assembler = Assembler::new(&settings.resource, settings.max_request_bytes);
        let (ending, _) = watch::channel(false);
        // No task is started before everything that may fail has succeeded.
        let mut deliveries = Vec::new();
        let mut queues = [None, None, None];
        for signal in Signal::ALL {
            let target = settings.target(signal);
            if !target.enabled {
                continue;
            }
            let outbox = outbox.map(|outbox| Outbox::open(signal, outbox, &ledger)).transpose()?;
            let queue = Arc::new(Queue::new(settings.max_queue_bytes, outbox));
            queues[signal as usize] = Some(Arc::clone(&queue));
            let (ledger, dead_letters) = (Arc::clone(&ledger), Arc::clone(dead_letters));
            let sender =
                Sender::new(signal, target, queue, assembler.clone(), ledger, dead_letters)?;
            deliveries.push((signal, Delivery::new(sender, ending.subscribe())));
        }
        let faults = Faults::default();
        let tasks = deliveries.into_iter().map(|(signal, delivery)| {
            let faults = faults.clone();
            let task = async move { faults.watch(name(signal), delivery.run()).await };
            (signal, tokio::spawn(task))
        });
        let tasks = Mutex::new(tasks.collect());
        let privacy = settings.privacy.clone();
        let max_group_bytes = assembler.max_group_bytes();
        let fullness = <[Fullness; 3]>::default();
        let inner =
            Inner { privacy, max_group_bytes, ledger, queues, fullness, tasks, ending, faults };
        Ok(Self(Arc::new(inner)))
    }

    /// Queues the SDK's own metrics, which the program reports of itself.
    pub fn sdk_metrics(&self, metrics: &ResourceMetrics) {
        let request = ExportMetricsServiceRequest::from(metrics);
        let scopes = request.resource_metrics.iter().flat_map(|resource| &resource.scope_metrics);
        let metrics = scopes.flat_map(|scope| &scope.metrics);
        if let Some(queue) = self.metrics_queue() {
            // They count from the start of the process, so these include those that still wait.
            self.0.ledger.lost(Signal::Metrics, Lost::Superseded, queue.supersede_own());
        }
        self.queue(Signal::Metrics, metrics.map(encode::own_metric).collect());
    }

    /// Delivers the queued records, with pauses cut short. At `deadline` the rest is lost, and counted. Records
    /// that are queued later are lost too.
    pub async fn shutdown(&self, deadline: Instant) -> Undelivered {
        self.0.ending.send_replace(true);
        let tasks = std::mem::take(&mut *self.0.tasks.lock());
        let mut undelivered = Undelivered::default();
        for (signal, mut task) in tasks {
            if tokio::time::timeout_at(deadline, &mut task).await.is_err() {
                task.abort();
                // Nothing may be delivered after the count.
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

    /// Which deliveries panicked.
    pub fn faults(&self) -> &Faults {
        &self.0.faults
    }

    /// The position behind the last numbered record of each signal.
    pub fn numbered(&self) -> [Saved; 3] {
        let mut numbered = [Saved::default(); 3];
        for (signal, queue) in self.queues() {
            numbered[signal as usize] = queue.numbered();
        }
        numbered
    }

    /// Continues numbering from these positions: the numbers before them belong to records that are not
    /// created again.
    pub fn skip_to(&self, positions: [Saved; 3]) {
        for (signal, queue) in self.queues() {
            queue.skip_to(positions[signal as usize]);
        }
    }

    /// Writes all waiting records to disk. Returns what a snapshot stores of each signal.
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

    /// Resumes from a snapshot. `is_whole`: no part of it is missing, or without one, the journal is read from its
    /// first entry.
    pub fn restore(&self, saved: Option<[Saved; 3]>, is_whole: bool) {
        for (signal, queue) in self.queues() {
            queue.restore(saved.map(|saved| saved[signal as usize]), is_whole);
        }
    }

    fn metrics_queue(&self) -> Option<&Queue> {
        self.0.queues[Signal::Metrics as usize].as_deref()
    }

    #[cfg(test)]
    pub(crate) fn is_in_flight(&self, signal: Signal) -> bool {
        self.0.queues[signal as usize].as_ref().is_some_and(|queue| queue.is_in_flight())
    }

    fn queues(&self) -> impl Iterator<Item = (Signal, &Arc<Queue>)> {
        let queues = Signal::ALL.into_iter().zip(&self.0.queues);
        queues.filter_map(|(signal, queue)| Some((signal, queue.as_ref()?)))
    }

    fn queue(&self, signal: Signal, records: Vec<Record>) {
        let ledger = &self.0.ledger;
        let Some(queue) = &self.0.queues[signal as usize] else {
            let items = records.iter().map(|record| record.items).sum();
            ledger.queued(signal, items);
            ledger.lost(signal, Lost::Disabled, items);
            return;
        };
        ledger.queued(signal, queue.uncounted(&records));
        let (lost, why) = queue.push(records);
        ledger.lost(signal, why, lost);
        let lost = if why == Lost::QueueFull { lost } else { 0 };
        self.0.fullness[signal as usize].note(signal, queue.memory_use(), lost, ledger.health());
    }
}

fn name(signal: Signal) -> &'static str {
    match signal {
        Signal::Traces => "the delivery of traces",
        Signal::Logs => "the delivery of logs",
        Signal::Metrics => "the delivery of metrics",
    }
}

/// No method blocks. Records that find no capacity are lost, and counted.
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

    fn foreign(&self, records: &Foreign) {
        let Inner { privacy, max_group_bytes: most, .. } = &*self.0;
        let all = [
            (Signal::Traces, foreign::spans(privacy, &records.spans, *most)),
            (Signal::Logs, foreign::logs(&records.logs, *most)),
            (Signal::Metrics, foreign::metrics(privacy, &records.metrics, *most)),
        ];
        for (signal, records) in all.into_iter().filter(|(_, records)| !records.is_empty()) {
            self.queue(signal, records);
        }
    }

    /// Tries to write to disk what exceeds the memory of the queues; returns whether that failed for one.
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
