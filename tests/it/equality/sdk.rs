//! The OpenTelemetry SDK exports the same points for the same measurements, except for what it can't
//! express: a series' start, opening zero and end, and exemplars.

use std::collections::BTreeMap;

use livekit_otel_engine::stats::{Histograms, Level, Settings};
use livekit_otel_model::event::Time;
use livekit_otel_model::signal::Temporality;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Meter, MeterProvider};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_sdk::metrics::{
    Aggregation, InMemoryMetricExporter, InMemoryMetricExporterBuilder, Instrument, PeriodicReader,
    SdkMeterProvider, Stream, Temporality as SdkTemporality,
};
use proptest::prelude::*;

use super::history::{self, Step, Window};
use super::points::{self, Point, Value};
use super::received;

// Metric, series and value of each flush.
type Flushes = Vec<BTreeMap<(String, BTreeMap<String, String>), Value>>;

fn provider(settings: Settings, exporter: InMemoryMetricExporter) -> SdkMeterProvider {
    let reader = PeriodicReader::builder(exporter).build();
    let view = move |instrument: &Instrument| {
        let bounds = match instrument.name() {
            "lk.node.loss" | "lk.node.out_of_order" => super::model::RATIO.to_vec(),
            "lk.node.round_trip" | "lk.node.jitter" => super::model::LATENCY.to_vec(),
            "lk.node.score" => super::model::SCORE.to_vec(),
            _ => return None,
        };
        let aggregation = match settings.histograms {
            Histograms::Explicit => {
                Aggregation::ExplicitBucketHistogram { boundaries: bounds, record_min_max: true }
            }
            Histograms::Exponential => Aggregation::Base2ExponentialHistogram {
                max_size: 160,
                max_scale: 20,
                record_min_max: true,
            },
            other => panic!("{other:?}"),
        };
        Stream::builder().with_aggregation(aggregation).build().ok()
    };
    SdkMeterProvider::builder().with_reader(reader).with_view(view).build()
}

fn record(meter: &Meter, window: &Window) {
    let pairs = |attributes: BTreeMap<String, String>| -> Vec<KeyValue> {
        attributes.into_iter().map(|(key, text)| KeyValue::new(key, text)).collect()
    };
    let series = pairs(super::model::series(Level::Participant, window));
    for (name, count) in super::model::STREAM.iter().zip(window.counts) {
        meter.u64_counter(format!("lk.stream.{name}")).build().add(count.into(), &series);
    }
    let class = pairs(super::model::class(window));
    for (name, count) in super::model::NODE.iter().zip(super::model::node_counts(window)) {
        let count = u64::try_from(count).unwrap();
        meter.u64_counter(format!("lk.node.{name}")).build().add(count, &class);
    }
    for (nth, (name, _)) in super::model::QUALITY.iter().enumerate() {
        if let Some(value) = super::model::measured(window, nth) {
            meter.f64_histogram(format!("lk.node.{name}")).build().record(value, &class);
        }
    }
}

fn of_sdk(settings: Settings, steps: &[(Time, Step)]) -> Flushes {
    let temporality = match settings.temporality {
        Temporality::Cumulative => SdkTemporality::Cumulative,
        Temporality::Delta => SdkTemporality::Delta,
    };
    let exporter = InMemoryMetricExporterBuilder::new().with_temporality(temporality).build();
    let provider = provider(settings, exporter.clone());
    let meter = provider.meter("equality");
    let mut flushes = Vec::new();
    for (_, step) in steps {
        match step {
            Step::Window(window) => record(&meter, window),
            Step::Flush => {
                exporter.reset();
                provider.force_flush().unwrap();
                let finished = exporter.get_finished_metrics().unwrap();
                let requests: Vec<_> =
                    finished.iter().map(ExportMetricsServiceRequest::from).collect();
                flushes.push(values(points::all(&requests)));
            }
            _ => {}
        }
    }
    flushes
}

fn values(mut points: Vec<Point>) -> BTreeMap<(String, BTreeMap<String, String>), Value> {
    let of = |point: Point| ((point.metric, point.attributes), point.value);
    points::forget_exemplars(&mut points);
    points.into_iter().map(of).collect()
}

// Each flush's own points, without opening zeros and gauges.
fn of_ours(settings: Settings, steps: &[(Time, Step)]) -> Flushes {
    let is_flush = |step: &(Time, Step)| matches!(step.1, Step::Flush);
    let mut before = 0;
    let flushes = steps.iter().enumerate().filter(|(_, step)| is_flush(step));
    flushes
        .map(|(nth, _)| {
            let all = received(settings, &steps[..=nth]);
            let had = received(settings, &steps[..before]);
            before = nth + 1;
            let new = all.into_iter().filter(|point| !had.contains(point));
            values(new.filter(|point| point.time > point.start && point.kind != "gauge").collect())
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn the_sdk_exports_the_same_for_the_same_measurements(
        delta in any::<bool>(),
        exponential in any::<bool>(),
        steps in history::plain(),
    ) {
        let temporality = if delta { Temporality::Delta } else { Temporality::Cumulative };
        let histograms =
            if exponential { Histograms::Exponential } else { Histograms::Explicit };
        let settings = Settings { temporality, histograms, ..Settings::default() };
        let steps = history::timed(&steps);
        let (ours, theirs) = (of_ours(settings, &steps), of_sdk(settings, &steps));
        prop_assert_eq!(ours.len(), theirs.len());
        for (ours, theirs) in ours.iter().zip(&theirs) {
            for (series, value) in ours {
                prop_assert_eq!(Some(value), theirs.get(series), "{:?}", series);
            }
            // The SDK repeats cumulative sums that did not change.
            let more = theirs.keys().filter(|series| !ours.contains_key(series));
            prop_assert!(!delta || more.count() == 0);
        }
    }
}
