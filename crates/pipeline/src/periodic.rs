//! The SDK's periodic reader as the clock of the stats flush, and the program's own metrics: all of their
//! rows, also those that count nothing yet, as no rate sees a series begin with what it should tell of.

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

/// A periodic reader that ticks at each collection and hands on the ledger's counts.
pub struct Clock {
    provider: SdkMeterProvider,
    stopped: Arc<AtomicBool>,
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").field("stopped", &self.stopped).finish_non_exhaustive()
    }
}

impl Clock {
    /// Calls `tick`, then `export` with the ledger's counts, every `interval` (one of
    /// zero means the SDK's 60 s). Both are called on the reader's own thread and should return at
    /// once: they hold up the next tick.
    pub fn start(
        interval: Duration,
        own: impl Into<Own>,
        tick: impl Fn() + Send + Sync + 'static,
        export: impl Fn(&ResourceMetrics) + Send + Sync + 'static,
    ) -> Self {
        let own = own.into();
        let stopped = Arc::new(AtomicBool::new(false));
        let exporter = HandOn { export, stopped: Arc::clone(&stopped) };
        let reader = PeriodicReader::builder(exporter).with_interval(interval).build();
        // The exporter has the resource: what is handed on gets it there.
        let provider = SdkMeterProvider::builder().with_reader(reader).build();
        let meter = provider.meter(env!("CARGO_PKG_NAME"));
        let unless_stopped = Arc::clone(&stopped);
        let counts = Counts::default();
        let read = counts.clone();
        let mut first = Some(move || {
            read.take(own.observe());
            if !unless_stopped.load(Ordering::Acquire) {
                unless_it_panics(&tick);
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

    /// Ticks and exports one last time, then ends the reader's thread.
    pub async fn stop(self) {
        let stop = move || {
            // The SDK's shutdown waits 5 s for its own collection, whatever is asked: the flush
            // waits for as long as it takes, and what shutdown collects after it is not new.
            let flushed = self.provider.force_flush();
            self.stopped.store(true, Ordering::Release);
            flushed.and(self.provider.shutdown())
        };
        match tokio::task::spawn_blocking(stop).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the last metrics could not be collected"),
            Err(_) => tracing::warn!("the last collection of metrics broke off"),
        }
    }
}

/// The ledger at the begin of a collection: what a tick makes meanwhile would be in some rows and not in
/// others.
#[derive(Clone, Default)]
struct Counts(Arc<Mutex<Option<Arc<Observed>>>>);

impl Counts {
    fn take(&self, observed: Observed) {
        *self.0.lock() = Some(Arc::new(observed));
    }

    fn get(&self) -> Option<Arc<Observed>> {
        self.0.lock().clone()
    }
}

// A panic would end the reader's thread, and with it all flushes.
fn unless_it_panics(call: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(call)).is_err() {
        tracing::error!("a collection of metrics broke off: the next one goes on");
    }
}

/// A push exporter that does not wait for delivery.
struct HandOn<F> {
    export: F,
    stopped: Arc<AtomicBool>,
}

impl<F: Fn(&ResourceMetrics) + Send + Sync + 'static> PushMetricExporter for HandOn<F> {
    fn export(&self, metrics: &ResourceMetrics) -> impl Future<Output = OTelSdkResult> + Send {
        if !self.stopped.load(Ordering::Acquire) {
            unless_it_panics(|| (self.export)(metrics));
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
                    // What only grows is never below 0.
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
    async fn it_ticks_every_interval_without_any_counts() {
        let (ticks, mut ticked) = mpsc::unbounded_channel();
        let tick = move || ticks.send(()).unwrap_or_default();
        let clock = Clock::start(Duration::from_millis(5), Arc::<Ledger>::default(), tick, |_| {});
        for _ in 0..3 {
            assert_eq!(ticked.recv().await, Some(()));
        }
        clock.stop().await;
    }

    #[tokio::test]
    async fn a_tick_that_panics_does_not_end_the_clock() {
        let (ticks, mut ticked) = mpsc::unbounded_channel();
        let tick = move || {
            ticks.send(()).unwrap_or_default();
            panic!("made up");
        };
        let clock = Clock::start(Duration::from_millis(5), Arc::default(), tick, |_| panic!());
        for _ in 0..3 {
            let next = tokio::time::timeout(Duration::from_secs(20), ticked.recv()).await;
            assert_eq!(next, Ok(Some(())));
        }
        clock.stop().await;
    }

    #[tokio::test]
    async fn stopping_ticks_once_more_and_ends() {
        let (ticks, mut ticked) = mpsc::unbounded_channel();
        let tick = move || ticks.send(()).unwrap_or_default();
        let clock = Clock::start(LONG, Arc::<Ledger>::default(), tick, |_| {});
        assert!(ticked.try_recv().is_err());
        clock.stop().await;
        assert_eq!(ticked.recv().await, Some(()));
        // The reader's thread and with it the sender are gone.
        assert_eq!(ticked.recv().await, None);
    }

    #[tokio::test]
    async fn the_ledgers_counts_arrive() {
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
        Clock::start(LONG, ledger, || {}, export).stop().await;
        let exports = exports.lock();
        let (memory, rows): (Vec<_>, Vec<_>) =
            exports.concat().into_iter().partition(|row| row.starts_with("lk.otel.memory"));
        assert_eq!(memory.len(), 1);
        let (zero, counted): (Vec<_>, Vec<_>) =
            rows.into_iter().partition(|row| row.ends_with(" = 0"));
        // Five sources in ten rows, three signals in ten and one; what was forgotten, the journal,
        // the snapshot; what is unknown; four listeners in two.
        assert_eq!(zero.len() + counted.len(), 5 * 10 + 3 * 11 + 5 + 3 + 4 * 2);
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
    async fn the_rows_of_a_collection_add_up_whatever_its_tick_makes() {
        let ledger = Arc::new(Ledger::default());
        ledger.queued(Signal::Metrics, 5);
        let ticked = Arc::clone(&ledger);
        let tick = move || ticked.queued(Signal::Metrics, 7);
        let exports = Arc::new(Mutex::new(Vec::new()));
        let exported = Arc::clone(&exports);
        let export = move |metrics: &ResourceMetrics| exported.lock().push(rows(metrics));
        Clock::start(LONG, ledger, tick, export).stop().await;
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
    async fn more_that_ended_than_was_accepted_is_below_nothing_waiting() {
        let ledger = Arc::new(Ledger::default());
        ledger.delivered(Signal::Traces, 2);
        let exports = Arc::new(Mutex::new(Vec::new()));
        let exported = Arc::clone(&exports);
        let export = move |metrics: &ResourceMetrics| exported.lock().push(rows(metrics));
        Clock::start(LONG, ledger, || {}, export).stop().await;
        let counted = exports.lock().concat();
        let waiting = "lk.otel.waiting{lk.otel.signal=traces} = -2";
        assert!(counted.iter().any(|row| row == waiting), "{counted:#?}");
    }
}
