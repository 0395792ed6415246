//! The SDK's periodic reader, which times the flushes, and the metrics of the program itself. Rows with a
//! count of 0 are exported too: a rate would not see the first count of a series that begins above 0.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{AsyncInstrument, Meter, MeterProvider};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider, Temporality};
use parking_lot::Mutex;

use super::own::{FAMILIES, Family, Kind, Observed, Own};

/// A periodic reader that ticks at each collection and exports the ledger's counts.
pub struct FlushTimer {
    provider: SdkMeterProvider,
    stopped: Arc<AtomicBool>,
}

impl fmt::Debug for FlushTimer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlushTimer").field("stopped", &self.stopped).finish_non_exhaustive()
    }
}

impl FlushTimer {
    /// Calls `tick`, then `export` with the ledger's counts, every `interval` (zero means the SDK's 60 s).
    /// Both run on the reader's own thread and should return quickly: they delay the next tick.
    pub fn start(
        interval: Duration,
        own: impl Into<Own>,
        tick: impl Fn() + Send + Sync + 'static,
        export: impl Fn(&ResourceMetrics) + Send + Sync + 'static,
    ) -> Self {
        let own = own.into();
        let stopped = Arc::new(AtomicBool::new(false));
        let exporter = CallbackExporter { export, stopped: Arc::clone(&stopped) };
        let reader = PeriodicReader::builder(exporter).with_interval(interval).build();
        // Without a resource: the OTLP exporter adds it.
        let provider = SdkMeterProvider::builder().with_reader(reader).build();
        let meter = provider.meter(env!("CARGO_PKG_NAME"));
        let unless_stopped = Arc::clone(&stopped);
        let counts = Counts::default();
        let read = counts.clone();
        let mut first = Some(move || {
            read.set(own.observe());
            if !unless_stopped.load(Ordering::Acquire) {
                catch_panic(&tick);
            }
        });
        for family in &FAMILIES {
            // The first instrument's callback is the first to be called.
            match first.take() {
                Some(first) => instrument(&meter, family, counts.clone(), first),
                None => instrument(&meter, family, counts.clone(), || {}),
            }
        }
        Self { provider, stopped }
    }

    /// Ticks and exports once more, then ends the reader's thread.
    pub async fn stop(self) {
        let stop = move || {
            // The SDK's shutdown waits for its own collection, but never longer than 5 s. The flush waits as
            // long as it takes, and leaves nothing new for the shutdown to collect.
            let flushed = self.provider.force_flush();
            self.stopped.store(true, Ordering::Release);
            flushed.and(self.provider.shutdown())
        };
        match tokio::task::spawn_blocking(stop).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the last metrics could not be collected"),
            Err(_) => tracing::warn!("the last collection of metrics panicked"),
        }
    }
}

/// The counts at the start of a collection: those that a tick adds would be in some rows and not in others.
#[derive(Clone, Default)]
struct Counts(Arc<Mutex<Option<Arc<Observed>>>>);

impl Counts {
    fn set(&self, observed: Observed) {
        *self.0.lock() = Some(Arc::new(observed));
    }

    fn get(&self) -> Option<Arc<Observed>> {
        self.0.lock().clone()
    }
}

// A panic would end the reader's thread, and all flushes with it.
fn catch_panic(call: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(call)).is_err() {
        tracing::error!("a collection of metrics panicked: the next one is not affected");
    }
}

/// Calls a function with the collected metrics.
struct CallbackExporter<F> {
    export: F,
    stopped: Arc<AtomicBool>,
}

impl<F: Fn(&ResourceMetrics) + Send + Sync + 'static> PushMetricExporter for CallbackExporter<F> {
    fn export(&self, metrics: &ResourceMetrics) -> impl Future<Output = OTelSdkResult> + Send {
        if !self.stopped.load(Ordering::Acquire) {
            catch_panic(|| (self.export)(metrics));
        }
        std::future::ready(Ok(()))
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        Temporality::Cumulative
    }
}

fn instrument(
    meter: &Meter,
    family: &'static Family,
    counts: Counts,
    first: impl Fn() + Send + Sync + 'static,
) {
    let each = move |point: &mut dyn FnMut(i64, &[KeyValue])| {
        first();
        let Some(observed) = counts.get() else { return };
        (family.points)(&observed, &mut |value, attributes| {
            let attributes: Vec<_> =
                attributes.iter().map(|(key, value)| KeyValue::new(*key, *value)).collect();
            point(value, &attributes);
        });
    };
    match family.kind {
        Kind::Counter => {
            let callback = move |counter: &dyn AsyncInstrument<u64>| {
                each(&mut |value, attributes| {
                    // A counter is never negative.
                    counter.observe(value.unsigned_abs(), attributes);
                });
            };
            let counter = meter.u64_observable_counter(family.name).with_unit(family.unit);
            counter.with_description(family.brief).with_callback(callback).build();
        }
        Kind::UpDown => {
            let callback = move |sum: &dyn AsyncInstrument<i64>| {
                each(&mut |value, attributes| sum.observe(value, attributes));
            };
            let sum = meter.i64_observable_up_down_counter(family.name).with_unit(family.unit);
            sum.with_description(family.brief).with_callback(callback).build();
        }
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData};
    use tokio::sync::mpsc;

    use super::*;
    use livekit_otel_ledger::{Ledger, Lost, Refused};
    use livekit_otel_model::event::Unknown;
    use livekit_otel_model::{Signal, Source};

    const LONG: Duration = Duration::from_hours(1);

    /// Each row as `name{values} = n`.
    fn rows(metrics: &ResourceMetrics) -> Vec<String> {
        let mut rows = Vec::new();
        for metric in metrics.scope_metrics().flat_map(|scope| scope.metrics()) {
            let mut row = |attributes: Vec<String>, n: String| {
                let mut attributes = attributes;
                attributes.sort();
                rows.push(format!("{}{{{}}} = {n}", metric.name(), attributes.join(",")));
            };
            let text = |pair: &KeyValue| format!("{}={}", pair.key, pair.value);
            match metric.data() {
                AggregatedMetrics::U64(MetricData::Sum(sum)) => {
                    for point in sum.data_points() {
                        row(point.attributes().map(text).collect(), point.value().to_string());
                    }
                }
                AggregatedMetrics::I64(MetricData::Sum(sum)) => {
                    for point in sum.data_points() {
                        row(point.attributes().map(text).collect(), point.value().to_string());
                    }
                }
                _ => panic!("{} is no sum", metric.name()),
            }
        }
        rows.sort();
        rows
    }

    #[tokio::test]
    async fn it_ticks_every_interval() {
        let (ticks, mut ticked) = mpsc::unbounded_channel();
        let tick = move || ticks.send(()).unwrap_or_default();
        let timer =
            FlushTimer::start(Duration::from_millis(5), Arc::<Ledger>::default(), tick, |_| {});
        for _ in 0..3 {
            assert_eq!(ticked.recv().await, Some(()));
        }
        timer.stop().await;
    }

    #[tokio::test]
    async fn a_tick_that_panics_does_not_end_the_timer() {
        let (ticks, mut ticked) = mpsc::unbounded_channel();
        let tick = move || {
            ticks.send(()).unwrap_or_default();
            panic!("made up");
        };
        let timer = FlushTimer::start(Duration::from_millis(5), Arc::default(), tick, |_| panic!());
        for _ in 0..3 {
            let next = tokio::time::timeout(Duration::from_secs(20), ticked.recv()).await;
            assert_eq!(next, Ok(Some(())));
        }
        timer.stop().await;
    }

    #[tokio::test]
    async fn stopping_ticks_once_more_and_ends() {
        let (ticks, mut ticked) = mpsc::unbounded_channel();
        let tick = move || ticks.send(()).unwrap_or_default();
        let timer = FlushTimer::start(LONG, Arc::<Ledger>::default(), tick, |_| {});
        assert!(ticked.try_recv().is_err());
        timer.stop().await;
        assert_eq!(ticked.recv().await, Some(()));
        // The reader's thread and with it the sender are gone.
        assert_eq!(ticked.recv().await, None);
    }

    #[tokio::test]
    async fn all_rows_of_the_ledger_are_exported() {
        let ledger = Arc::new(Ledger::default());
        ledger.accepted(Source::Webhook, 3);
        ledger.refused(Source::Stats, Refused::Busy);
        ledger.queued(Signal::Traces, 5);
        ledger.delivered(Signal::Traces, 2);
        ledger.lost(Signal::Traces, Lost::QueueFull, 1);
        ledger.unknown(Unknown { fields: 4, ..Unknown::default() });
        ledger.journal_failed();
        let exports = Arc::new(Mutex::new(Vec::new()));
        let exported = Arc::clone(&exports);
        let export = move |metrics: &ResourceMetrics| exported.lock().push(rows(metrics));
        FlushTimer::start(LONG, ledger, || {}, export).stop().await;
        let exports = exports.lock();
        let (memory, rows): (Vec<_>, Vec<_>) =
            exports.concat().into_iter().partition(|row| row.starts_with("lk.otel.memory"));
        assert_eq!(memory.len(), 1);
        let (zero, counted): (Vec<_>, Vec<_>) =
            rows.into_iter().partition(|row| row.ends_with(" = 0"));
        // Twelve sources with eighteen rows, three signals with ten and one; five single rows for what was forgotten,
        // the journal and the snapshot; three kinds of unknown contents; four listeners with two; three
        // outcomes of recordings.
        assert_eq!(zero.len() + counted.len(), 12 * 18 + 3 * 11 + 5 + 3 + 4 * 2 + 3);
        let first_loss =
            "lk.otel.records{lk.otel.outcome=lost,lk.otel.reason=rejected,lk.otel.signal=logs} = 0";
        assert!(zero.iter().any(|row| row == first_loss), "{zero:#?}");
        assert_eq!(
            counted,
            [
                "lk.otel.items{lk.otel.outcome=accepted,lk.otel.source=webhook} = 3",
                "lk.otel.items{lk.otel.outcome=refused,lk.otel.reason=busy,lk.otel.source=stats} = 1",
                "lk.otel.journal.failures{} = 1",
                "lk.otel.records{lk.otel.outcome=accepted,lk.otel.signal=traces} = 5",
                "lk.otel.records{lk.otel.outcome=delivered,lk.otel.signal=traces} = 2",
                "lk.otel.records{lk.otel.outcome=lost,lk.otel.reason=queue_full,lk.otel.signal=traces} = 1",
                "lk.otel.unknown{lk.otel.reason=field} = 4",
                "lk.otel.waiting{lk.otel.signal=traces} = 2",
            ]
        );
    }

    #[tokio::test]
    async fn the_rows_of_a_collection_add_up_whatever_its_tick_counts() {
        let ledger = Arc::new(Ledger::default());
        ledger.queued(Signal::Metrics, 5);
        let ticked = Arc::clone(&ledger);
        let tick = move || ticked.queued(Signal::Metrics, 7);
        let exports = Arc::new(Mutex::new(Vec::new()));
        let exported = Arc::clone(&exports);
        let export = move |metrics: &ResourceMetrics| exported.lock().push(rows(metrics));
        FlushTimer::start(LONG, ledger, tick, export).stop().await;
        let mut counted = exports.lock().concat();
        counted.retain(|row| !row.ends_with(" = 0") && !row.starts_with("lk.otel.memory"));
        assert_eq!(
            counted,
            [
                "lk.otel.records{lk.otel.outcome=accepted,lk.otel.signal=metrics} = 5",
                "lk.otel.waiting{lk.otel.signal=metrics} = 5",
            ]
        );
    }

    #[tokio::test]
    async fn more_outcomes_than_accepted_is_a_negative_number_of_waiting_records() {
        let ledger = Arc::new(Ledger::default());
        ledger.delivered(Signal::Traces, 2);
        let exports = Arc::new(Mutex::new(Vec::new()));
        let exported = Arc::clone(&exports);
        let export = move |metrics: &ResourceMetrics| exported.lock().push(rows(metrics));
        FlushTimer::start(LONG, ledger, || {}, export).stop().await;
        let counted = exports.lock().concat();
        let waiting = "lk.otel.waiting{lk.otel.signal=traces} = -2";
        assert!(counted.iter().any(|row| row == waiting), "{counted:#?}");
    }
}
