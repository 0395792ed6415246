//! The OpenTelemetry SDK with as many series, collected and encoded; and sent to a collector of
//! default limits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use livekit_otel_tools::demo::Collector;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Meter, MeterProvider};
use opentelemetry_otlp::{MetricExporter, WithExportConfig};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider, Stream, Temporality};
use prost::Message;

use crate::clock::{Took, took};
use crate::encode;

const COUNTERS: usize = 12;
const GAUGES: usize = 3;
// As many as end the noise; one of 100,000 streams takes seconds.
const ROUNDS: usize = 3;

/// Encodes, and drops what it made.
#[derive(Default)]
struct Drop(Arc<AtomicUsize>);

impl PushMetricExporter for Drop {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let bytes = ExportMetricsServiceRequest::from(metrics).encode_to_vec();
        self.0.fetch_add(bytes.len(), Relaxed);
        Ok(())
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

fn provider(exporter: impl PushMetricExporter, streams: usize) -> SdkMeterProvider {
    let reader = PeriodicReader::builder(exporter).with_interval(Duration::from_hours(24)).build();
    // Its default takes 2000 series.
    let unlimited = move |_: &opentelemetry_sdk::metrics::Instrument| {
        Stream::builder().with_cardinality_limit(streams + 1).build().ok()
    };
    SdkMeterProvider::builder().with_reader(reader).with_view(unlimited).build()
}

fn attributes(nth: usize) -> [KeyValue; 7] {
    [
        KeyValue::new("lk.room_id", format!("RM_{:012}", nth / 100)),
        KeyValue::new("lk.pii.room_name", format!("standup-{}", nth / 100)),
        KeyValue::new("lk.participant_id", format!("PA_{:012}", nth / 10)),
        KeyValue::new("lk.pii.participant_identity", format!("user-{}", nth / 10)),
        KeyValue::new("lk.track_id", format!("TR_{nth:012}")),
        KeyValue::new("lk.track.kind", "video"),
        KeyValue::new("lk.direction", "upstream"),
    ]
}

fn observed(meter: &Meter, streams: usize) {
    let all: Arc<Vec<_>> = Arc::new((0..streams).map(attributes).collect());
    for nth in 0..COUNTERS {
        let all = Arc::clone(&all);
        let observe = move |counter: &dyn opentelemetry::metrics::AsyncInstrument<u64>| {
            (0..).zip(&*all).for_each(|(value, attributes)| counter.observe(value, attributes));
        };
        meter.u64_observable_counter(format!("counter.{nth}")).with_callback(observe).build();
    }
    for nth in 0..GAUGES {
        let all = Arc::clone(&all);
        let observe = move |gauge: &dyn opentelemetry::metrics::AsyncInstrument<f64>| {
            all.iter().for_each(|attributes| gauge.observe(0.5, attributes));
        };
        meter.f64_observable_gauge(format!("gauge.{nth}")).with_callback(observe).build();
    }
}

// Records once; what is bound is not needed to collect it.
fn bound(meter: &Meter, streams: usize) {
    for nth in 0..COUNTERS {
        let counter = meter.u64_counter(format!("counter.{nth}")).build();
        (0..streams).for_each(|nth| counter.bind(&attributes(nth)).add(nth as u64));
    }
    for nth in 0..GAUGES {
        let gauge = meter.f64_gauge(format!("gauge.{nth}")).build();
        (0..streams).for_each(|nth| gauge.bind(&attributes(nth)).record(0.5));
    }
}

fn collects(streams: usize, make: fn(&Meter, usize)) -> (Took, usize) {
    let exporter = Drop::default();
    let encoded = Arc::clone(&exporter.0);
    let provider = provider(exporter, streams);
    make(&provider.meter("bench"), streams);
    provider.force_flush().unwrap();
    encoded.store(0, Relaxed);
    let flush = |_| took(|| provider.force_flush().unwrap()).1;
    let best = (0..ROUNDS).map(flush).min_by_key(|took| took.cpu).unwrap();
    (best, encoded.load(Relaxed) / ROUNDS)
}

pub fn run(sizes: &[usize]) {
    println!("\ncollected and encoded, beside the OpenTelemetry SDK 0.33");
    println!(
        "{:>12}{:>12}{:>16}{:>10}{:>16}{:>10}{:>10}",
        "streams", "ours, ns", "observable, ns", "ratio", "bound, ns", "ratio", "target"
    );
    for streams in sizes {
        let ours = encode::ours(*streams).0.cpu_ns_per(*streams);
        let observable = collects(*streams, observed).0.cpu_ns_per(*streams);
        let bound = collects(*streams, bound).0.cpu_ns_per(*streams);
        println!(
            "{streams:>12}{ours:>12.0}{observable:>16.0}{:>10.3}{bound:>16.0}{:>10.3}{:>10}",
            ours / observable,
            ours / bound,
            "0.1"
        );
    }
    loses();
}

// One request of all that was collected is larger than what a collector takes.
fn loses() {
    const STREAMS: usize = 10_000;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (failed, received) = runtime.block_on(async {
        let collector = Collector::start().await.unwrap();
        let exporter = MetricExporter::builder()
            .with_tonic()
            .with_endpoint(collector.endpoint())
            .build()
            .unwrap();
        let provider = provider(exporter, STREAMS);
        observed(&provider.meter("bench"), STREAMS);
        let flush = tokio::task::spawn_blocking(move || provider.force_flush().is_err());
        (flush.await.unwrap(), collector.stop().await.metrics.len())
    });
    println!(
        "{STREAMS} streams of the SDK over gRPC to a collector that takes 4 MiB: flush {}, {received} requests arrived",
        if failed { "failed" } else { "succeeded" }
    );
}
