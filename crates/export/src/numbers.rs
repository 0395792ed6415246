//! Sums and gauges, encoded without building a message first. A test compares the bytes with
//! opentelemetry-proto's types.

use std::borrow::Cow;

use bytes::{BufMut, BytesMut};

use crate::record::{POINTS_PER_METRIC, Record, Scope};
use crate::wire::{self, FIXED_LEN, NO_RECORDED_VALUE, field, field_len, put_fixed};
use crate::wire::{put_head, put_varint, sum_tail};
use livekit_otel_model::privacy::Privacy;
use livekit_otel_model::signal::{Metric, Number, NumberPoint};

pub(super) fn gauge(
    privacy: &Privacy,
    metric: &Metric,
    points: &[NumberPoint],
    to: &mut Vec<Record>,
) {
    for points in points.chunks(POINTS_PER_METRIC) {
        to.push(record(privacy, metric, (field::GAUGE, &[]), points));
    }
}

pub(super) fn sum(
    privacy: &Privacy,
    metric: &Metric,
    (is_monotonic, temporality): (bool, i32),
    points: &[NumberPoint],
    to: &mut Vec<Record>,
) {
    let tail = sum_tail(is_monotonic, temporality);
    for points in points.chunks(POINTS_PER_METRIC) {
        to.push(record(privacy, metric, (field::SUM, &tail), points));
    }
}

// A metric of these points; `tail` follows them in its data.
fn record(
    privacy: &Privacy,
    metric: &Metric,
    (data, tail): (u32, &[u8]),
    points: &[NumberPoint],
) -> Record {
    let lens: Vec<usize> = points.iter().map(|point| point_len(privacy, point)).collect();
    let data_len = lens.iter().map(|len| field_len(*len)).sum::<usize>() + tail.len();
    let texts = [
        (field::NAME, metric.name),
        (field::DESCRIPTION, metric.description),
        (field::UNIT, metric.unit),
    ];
    let texts_len: usize = texts.iter().map(|(_, text)| field_len(text.len())).sum();
    let mut bytes = BytesMut::with_capacity(texts_len + field_len(data_len));
    for (number, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
        put_head(number, text.len(), &mut bytes);
        bytes.put_slice(text.as_bytes());
    }
    put_head(data, data_len, &mut bytes);
    for (point, len) in points.iter().zip(lens) {
        put_head(field::DATA_POINTS, len, &mut bytes);
        put_point(privacy, point, &mut bytes);
    }
    bytes.put_slice(tail);
    Record { scope: Scope::LiveKit, items: points.len() as u64, bytes: bytes.freeze(), number: 0 }
}

fn point_len(privacy: &Privacy, point: &NumberPoint) -> usize {
    let start = if point.start.is_some() { FIXED_LEN } else { 0 };
    let value = if point.value.is_some() { FIXED_LEN } else { 2 };
    start + FIXED_LEN + value + encoded(privacy, point).len()
}

fn put_point(privacy: &Privacy, point: &NumberPoint, to: &mut BytesMut) {
    if let Some(start) = point.start {
        put_fixed(field::START, start.nanos(), to);
    }
    put_fixed(field::TIME, point.time.nanos(), to);
    match point.value {
        Some(Number::Float(measure)) => put_fixed(field::AS_DOUBLE, measure.to_bits(), to),
        Some(Number::Int(count)) => put_fixed(field::AS_INT, count.cast_unsigned(), to),
        None => {}
    }
    to.put_slice(&encoded(privacy, point));
    if point.value.is_none() {
        put_varint(field::FLAGS, NO_RECORDED_VALUE, to);
    }
}

fn encoded<'a>(privacy: &Privacy, point: &'a NumberPoint) -> Cow<'a, [u8]> {
    wire::encoded(privacy, &point.attributes)
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::metrics::v1 as otlp;
    use otlp::{metric, number_data_point};
    use proptest::prelude::*;
    use prost::Message;

    use super::*;
    use crate::record;
    use livekit_otel_model::event::Time;
    use livekit_otel_model::signal::{Attribute, Data, Temporality};

    fn point() -> impl Strategy<Value = NumberPoint> {
        let value = prop_oneof![
            any::<i64>().prop_map(|count| Some(Number::Int(count))),
            any::<f64>()
                .prop_filter("comparable", |value| !value.is_nan())
                .prop_map(|measure| Some(Number::Float(measure))),
            Just(None),
        ];
        let texts = proptest::collection::vec(".{0,200}", 0..4);
        (value, texts, proptest::option::of(1..u64::MAX), 1..u64::MAX).prop_map(
            |(value, texts, start, time)| {
                let attributes = texts.iter().map(|text| Attribute::new("key", text.as_str()));
                NumberPoint {
                    attributes: attributes.collect::<Vec<_>>().into(),
                    start: start.and_then(Time::from_nanos),
                    time: Time::from_nanos(time).unwrap(),
                    value,
                }
            },
        )
    }

    fn expected(point: &NumberPoint) -> otlp::NumberDataPoint {
        let no_value = otlp::DataPointFlags::NoRecordedValueMask as u32;
        let value = point.value.map(|value| match value {
            Number::Int(count) => number_data_point::Value::AsInt(count),
            Number::Float(measure) => number_data_point::Value::AsDouble(measure),
        });
        otlp::NumberDataPoint {
            attributes: record::attributes(&Privacy::Plain, &point.attributes),
            start_time_unix_nano: point.start.map_or(0, Time::nanos),
            time_unix_nano: point.time.nanos(),
            flags: if value.is_none() { no_value } else { 0 },
            value,
            ..Default::default()
        }
    }

    proptest! {
        #[test]
        fn the_bytes_are_those_of_the_messages(
            points in proptest::collection::vec(point(), 1..20),
            monotonic in any::<bool>(),
            is_gauge in any::<bool>(),
        ) {
            let data_points: Vec<_> = points.iter().map(expected).collect();
            let temporality = Temporality::Delta;
            let (data, message) = if is_gauge {
                (Data::Gauge(points), metric::Data::Gauge(otlp::Gauge { data_points }))
            } else {
                let sum = otlp::Sum {
                    data_points,
                    aggregation_temporality: otlp::AggregationTemporality::Delta.into(),
                    is_monotonic: monotonic,
                };
                (Data::Sum { monotonic, temporality, points }, metric::Data::Sum(sum))
            };
            let metric = Metric { name: "lk.x", unit: "", description: "A count.", data };
            let expected = otlp::Metric {
                name: "lk.x".into(),
                description: "A count.".into(),
                data: Some(message),
                ..Default::default()
            };
            // Twice: the second time the attributes are encoded already.
            for _ in 0..2 {
                let mut records = Vec::new();
                match &metric.data {
                    Data::Gauge(points) => gauge(&Privacy::Plain, &metric, points, &mut records),
                    Data::Sum { points, .. } => {
                        let delta = otlp::AggregationTemporality::Delta.into();
                        sum(&Privacy::Plain, &metric, (monotonic, delta), points, &mut records);
                    }
                    _ => panic!("a sum or a gauge"),
                }
                prop_assert_eq!(records.len(), 1);
                prop_assert_eq!(otlp::Metric::decode(records[0].bytes.clone()).unwrap(), expected.clone());
            }
        }
    }
}
