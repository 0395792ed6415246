//! The OpenTelemetry SDK recording what a stats call records: the stream's 15 measurements, by bound
//! instruments and by instruments that get the attributes each time, and the node's 14.

use std::time::Duration;

use livekit_otel_telemetry::messages::AnalyticsStat;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Gauge, Histogram, Meter, MeterProvider};
use opentelemetry_sdk::metrics::{
    InMemoryMetricExporter, PeriodicReader, SdkMeterProvider, Stream,
};

use crate::clock::{Took, took};
use crate::load::Load;

const COUNTERS: usize = 12;
const GAUGES: usize = 3;
const NODE_COUNTERS: usize = 9;
const DISTRIBUTIONS: usize = 5;
const PASSES: u32 = 50;

fn provider(streams: usize) -> SdkMeterProvider {
    let reader = PeriodicReader::builder(InMemoryMetricExporter::default())
        .with_interval(Duration::from_hours(24))
        .build();
    // By default it accepts 2000 series.
    let unlimited = move |_: &opentelemetry_sdk::metrics::Instrument| {
        Stream::builder().with_cardinality_limit(streams + 1).build().ok()
    };
    SdkMeterProvider::builder().with_reader(reader).with_view(unlimited).build()
}

fn instruments(meter: &Meter) -> ([Counter<u64>; COUNTERS], [Gauge<f64>; GAUGES]) {
    let counter = |nth| meter.u64_counter(format!("counter.{nth}")).build();
    let gauge = |nth| meter.f64_gauge(format!("gauge.{nth}")).build();
    (std::array::from_fn(counter), std::array::from_fn(gauge))
}

fn attributes(load: &Load, nth: usize) -> [KeyValue; 7] {
    let key = &load.keys[nth];
    [
        KeyValue::new("lk.room_id", key.room_sid().to_owned()),
        KeyValue::new("lk.pii.room_name", "room"),
        KeyValue::new("lk.participant_id", key.participant_sid().to_owned()),
        KeyValue::new("lk.pii.participant_identity", "user"),
        KeyValue::new("lk.track_id", key.track_sid().to_string()),
        KeyValue::new("lk.track.kind", "video"),
        KeyValue::new("lk.direction", key.direction().as_str()),
    ]
}

fn measured(stat: &AnalyticsStat) -> ([u64; COUNTERS], [f64; GAUGES]) {
    let stream = &stat.streams[0];
    let counts = [
        stream.primary_packets.into(),
        stream.primary_bytes,
        stream.retransmit_packets.into(),
        stream.retransmit_bytes,
        stream.padding_packets.into(),
        stream.padding_bytes,
        stream.packets_lost.into(),
        stream.packets_out_of_order.into(),
        stream.frames.into(),
        stream.nacks.into(),
        stream.plis.into(),
        stream.firs.into(),
    ];
    (counts, [f64::from(stream.rtt), f64::from(stream.jitter), f64::from(stat.score)])
}

pub fn unbound(load: &Load) -> Took {
    let provider = provider(load.keys.len());
    let (counters, gauges) = instruments(&provider.meter("bench"));
    let attributes: Vec<_> = (0..load.keys.len()).map(|nth| attributes(load, nth)).collect();
    let record = || {
        for (stat, attributes) in load.stats.iter().zip(&attributes) {
            let (counts, values) = measured(stat);
            counters.iter().zip(counts).for_each(|(counter, n)| counter.add(n, attributes));
            gauges.iter().zip(values).for_each(|(gauge, value)| gauge.record(value, attributes));
        }
    };
    // The first pass makes the series.
    record();
    took(|| (0..PASSES / 10).for_each(|_| record())).1 / (PASSES / 10)
}

/// With `node`, also the node's counters and distributions, which a stats call records as well.
pub fn bound(load: &Load, node: bool) -> Took {
    let provider = provider(load.keys.len());
    let meter = provider.meter("bench");
    let (counters, gauges) = instruments(&meter);
    let bound: Vec<_> = (0..load.keys.len())
        .map(|nth| {
            let attributes = attributes(load, nth);
            (
                counters.each_ref().map(|counter| counter.bind(&attributes)),
                gauges.each_ref().map(|gauge| gauge.bind(&attributes)),
            )
        })
        .collect();
    let (counts, distributions) = of_node(&meter);
    let of_class = ["upstream", "downstream"].map(|direction| {
        let attributes = [
            KeyValue::new("lk.direction", direction),
            KeyValue::new("lk.track.kind", "video"),
            KeyValue::new("lk.track_source", "SOURCE_CAMERA"),
            KeyValue::new("lk.client.country", "DE"),
        ];
        (
            counts.each_ref().map(|counter| counter.bind(&attributes)),
            distributions.each_ref().map(|histogram| histogram.bind(&attributes)),
        )
    });
    let record = || {
        for (nth, (stat, (counters, gauges))) in load.stats.iter().zip(&bound).enumerate() {
            let (counts, values) = measured(stat);
            counters.iter().zip(counts).for_each(|(counter, n)| counter.add(n));
            gauges.iter().zip(values).for_each(|(gauge, value)| gauge.record(value));
            if node {
                let (counters, histograms) = &of_class[nth % 2];
                let (counts, values) = measured_of_node(stat);
                counters.iter().zip(counts).for_each(|(counter, n)| counter.add(n));
                histograms.iter().zip(values).for_each(|(one, value)| one.record(value));
            }
        }
    };
    record();
    took(|| (0..PASSES).for_each(|_| record())).1 / PASSES
}

fn of_node(meter: &Meter) -> ([Counter<u64>; NODE_COUNTERS], [Histogram<f64>; DISTRIBUTIONS]) {
    let counter = |nth| meter.u64_counter(format!("node.counter.{nth}")).build();
    // As many bounds as ours.
    let bounds = [12, 12, 15, 15, 9];
    let distribution = |nth: usize| {
        let bounds = (0..bounds[nth]).map(f64::from).collect();
        meter.f64_histogram(format!("node.{nth}")).with_boundaries(bounds).build()
    };
    (std::array::from_fn(counter), std::array::from_fn(distribution))
}

fn measured_of_node(stat: &AnalyticsStat) -> ([u64; NODE_COUNTERS], [f64; DISTRIBUTIONS]) {
    let (
        [packets, bytes, again, bytes_again, .., lost, disorder, _, nacks, plis, firs],
        [rtt, jitter, score],
    ) = measured(stat);
    let counts = [packets, bytes, again, bytes_again, lost, disorder, nacks, plis, firs];
    let part = |n: u64| n as f64 / packets.max(1) as f64;
    (counts, [part(lost), part(disorder), rtt / 1e3, jitter / 1e6, score])
}
