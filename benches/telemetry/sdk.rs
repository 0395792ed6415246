//! The OpenTelemetry SDK recording what a stats call does: 15 measurements, by bound instruments
//! and by instruments that are given the attributes each time.

use std::time::Duration;

use livekit_otel::telemetry::messages::AnalyticsStat;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Gauge, Meter, MeterProvider};
use opentelemetry_sdk::metrics::{
    InMemoryMetricExporter, PeriodicReader, SdkMeterProvider, Stream,
};

use crate::clock::{Took, took};
use crate::load::Load;

const COUNTERS: usize = 12;
const GAUGES: usize = 3;

fn provider(streams: usize) -> SdkMeterProvider {
    let reader = PeriodicReader::builder(InMemoryMetricExporter::default())
        .with_interval(Duration::from_hours(24))
        .build();
    // Its default takes 2000 series.
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
        KeyValue::new("lk.room.sid", key.room_sid().to_owned()),
        KeyValue::new("lk.room.name", "room"),
        KeyValue::new("lk.participant.sid", key.participant_sid().to_owned()),
        KeyValue::new("lk.participant.identity", "user"),
        KeyValue::new("lk.track.sid", key.track_sid().to_string()),
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
    // The first makes the series.
    record();
    took(record).1
}

pub fn bound(load: &Load) -> Took {
    let provider = provider(load.keys.len());
    let (counters, gauges) = instruments(&provider.meter("bench"));
    let bound: Vec<_> = (0..load.keys.len())
        .map(|nth| {
            let attributes = attributes(load, nth);
            (
                counters.each_ref().map(|counter| counter.bind(&attributes)),
                gauges.each_ref().map(|gauge| gauge.bind(&attributes)),
            )
        })
        .collect();
    let record = || {
        for (stat, (counters, gauges)) in load.stats.iter().zip(&bound) {
            let (counts, values) = measured(stat);
            counters.iter().zip(counts).for_each(|(counter, n)| counter.add(n));
            gauges.iter().zip(values).for_each(|(gauge, value)| gauge.record(value));
        }
    };
    record();
    took(record).1
}
