//! Tables to metrics, encoded without building a message first: the fifteen points of a series at a flush
//! differ in nothing but their values.
//!
//! The points of the first sum are encoded, and copied for the next ones with the values replaced. A
//! test compares the bytes with opentelemetry-proto's types.

use std::borrow::Cow;

use bytes::{BufMut, BytesMut};

use crate::record::{Record, Scope};
use crate::wire::{self, FIXED_LEN, NO_RECORDED_VALUE, field, field_len, put_fixed, put_head};
use crate::wire::{put_varint, sum_tail};
use livekit_otel_model::privacy::Privacy;
use livekit_otel_model::signal::{Column, Row, Table};

// A metric's points are sent in parts of about this many bytes, so that requests can be split.
const PART: usize = 128 << 10;

/// Encodes the metrics of a table, each in as many parts as its points need.
pub(super) fn table(privacy: &Privacy, table: &Table, to: &mut Vec<Record>) {
    let mut rest = &table.rows[..];
    while !rest.is_empty() {
        let rows = &rest[..part(privacy, rest)];
        rest = &rest[rows.len()..];
        counters(privacy, table, rows, to);
        for (nth, column) in table.gauges.iter().enumerate() {
            gauge(privacy, column, nth, rows, to);
        }
    }
}

// How many rows make a part; at least one.
fn part(privacy: &Privacy, rows: &[Row]) -> usize {
    let mut size = 0;
    let is_over = |row: &Row| {
        size += 2 * (encoded(privacy, row).len() + 4 * FIXED_LEN);
        size > PART
    };
    rows.iter().position(is_over).unwrap_or(rows.len()).max(1)
}

fn encoded<'a>(privacy: &Privacy, row: &'a Row) -> Cow<'a, [u8]> {
    wire::encoded(privacy, &row.series)
}

fn counters(privacy: &Privacy, table: &Table, rows: &[Row], to: &mut Vec<Record>) {
    let tail = sum_tail(true, crate::encode::temporality(table.temporality));
    // The points, and the place of each row's value in them.
    let mut points = BytesMut::with_capacity(PART);
    let mut values = Vec::with_capacity(rows.len());
    let mut items = 0;
    for row in rows {
        let attributes = &*encoded(privacy, row);
        let len = 3 * FIXED_LEN + attributes.len();
        if let Some(time) = row.time {
            if row.opens {
                put_sum_head(row, row.start.nanos(), len, &mut points);
                points.put_u64_le(0);
                points.put_slice(attributes);
                items += 1;
            }
            put_sum_head(row, time.nanos(), len, &mut points);
            values.push((points.len(), row));
            points.put_u64_le(0);
            points.put_slice(attributes);
            items += 1;
        }
        if let Some((time, _)) = row.ends {
            put_head(field::DATA_POINTS, 2 * FIXED_LEN + attributes.len() + 2, &mut points);
            put_fixed(field::START, row.start.nanos(), &mut points);
            put_fixed(field::TIME, time.nanos(), &mut points);
            points.put_slice(attributes);
            put_varint(field::FLAGS, NO_RECORDED_VALUE, &mut points);
            items += 1;
        }
    }
    for (nth, column) in table.counters.iter().enumerate() {
        for (at, row) in &values {
            let value = row.counts[nth].min(i64::MAX.cast_unsigned());
            points[*at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        if items > 0 {
            to.push(metric(column, field::SUM, &points, &tail, items));
        }
    }
}

fn put_sum_head(row: &Row, time: u64, len: usize, to: &mut BytesMut) {
    put_head(field::DATA_POINTS, len, to);
    put_fixed(field::START, row.start.nanos(), to);
    put_fixed(field::TIME, time, to);
    wire::put_fixed_head(field::AS_INT, to);
}

fn gauge(privacy: &Privacy, column: &Column, nth: usize, rows: &[Row], to: &mut Vec<Record>) {
    let mut points = BytesMut::new();
    let mut items = 0;
    for row in rows {
        let attributes = &*encoded(privacy, row);
        if let Some((time, value)) = row.time.zip(row.measured[nth]) {
            put_head(field::DATA_POINTS, 2 * FIXED_LEN + attributes.len(), &mut points);
            put_fixed(field::TIME, time.nanos(), &mut points);
            put_fixed(field::AS_DOUBLE, value.to_bits(), &mut points);
            points.put_slice(attributes);
            items += 1;
        }
        if let Some((time, _)) = row.ends.filter(|(_, ever)| ever[nth]) {
            put_head(field::DATA_POINTS, FIXED_LEN + attributes.len() + 2, &mut points);
            put_fixed(field::TIME, time.nanos(), &mut points);
            points.put_slice(attributes);
            put_varint(field::FLAGS, NO_RECORDED_VALUE, &mut points);
            items += 1;
        }
    }
    if items > 0 {
        to.push(metric(column, field::GAUGE, &points, &[], items));
    }
}

// A metric of these points; `tail` follows them in its data.
fn metric(column: &Column, data: u32, points: &[u8], tail: &[u8], items: u64) -> Record {
    let texts = [
        (field::NAME, column.name),
        (field::DESCRIPTION, column.description),
        (field::UNIT, column.unit),
    ];
    let data_len = points.len() + tail.len();
    let texts_len: usize = texts.iter().map(|(_, text)| field_len(text.len())).sum();
    let mut bytes = BytesMut::with_capacity(texts_len + field_len(data_len));
    for (number, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
        put_head(number, text.len(), &mut bytes);
        bytes.put_slice(text.as_bytes());
    }
    put_head(data, data_len, &mut bytes);
    bytes.put_slice(points);
    bytes.put_slice(tail);
    Record { scope: Scope::LiveKit, items, bytes: bytes.freeze(), number: 0 }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::metrics::v1 as otlp;
    use otlp::metric::Data;
    use proptest::prelude::*;
    use prost::Message;

    use super::*;
    use livekit_otel_model::event::Time;
    use livekit_otel_model::signal::{Attribute, Temporality};

    static COUNTERS: [Column; Row::COUNTERS] =
        [Column { name: "lk.x", unit: "By", description: "A count." }; Row::COUNTERS];
    static GAUGES: [Column; Row::GAUGES] =
        [Column { name: "lk.y", unit: "", description: "A measure." }; Row::GAUGES];

    fn time() -> impl Strategy<Value = Time> {
        (1u64 << 60..1 << 61).prop_map(|nanos| Time::from_nanos(nanos).unwrap())
    }

    prop_compose! {
        fn row()(
            text in "[a-z]{0,300}",
            start in time(),
            time in proptest::option::of(time()),
            opens in any::<bool>(),
            counts in any::<[u64; Row::COUNTERS]>(),
            measured in any::<[Option<i32>; Row::GAUGES]>(),
            ends in proptest::option::of((time(), any::<[bool; Row::GAUGES]>())),
        ) -> Row {
            let series = vec![Attribute::new("lk.a", &*text), Attribute::new("lk.b", true)].into();
            let measured = measured.map(|value| value.map(f64::from));
            Row { series, start, time, opens, counts, measured, ends }
        }
    }

    // The points of each metric part.
    fn points(records: &[Record]) -> Vec<(String, u64, Vec<otlp::NumberDataPoint>)> {
        let mut all: Vec<(String, u64, Vec<_>)> = Vec::new();
        for record in records {
            let metric = otlp::Metric::decode(record.bytes.clone()).unwrap();
            let (kind, points) = match metric.data.unwrap() {
                Data::Sum(sum) => {
                    let kind = format!("{} {}", sum.aggregation_temporality, sum.is_monotonic);
                    (kind, sum.data_points)
                }
                Data::Gauge(gauge) => (String::new(), gauge.data_points),
                _ => panic!("a sum or a gauge"),
            };
            assert_eq!(record.items, points.len() as u64);
            let kind = format!("{} {} {} {kind}", metric.name, metric.unit, metric.description);
            all.push((kind, record.items, points));
        }
        all
    }

    proptest! {
        #[test]
        fn a_table_is_encoded_as_its_metrics_are(
            rows in proptest::collection::vec(row(), 1..30),
            delta in any::<bool>(),
        ) {
            let temporality = if delta { Temporality::Delta } else { Temporality::Cumulative };
            let all = Table { counters: &COUNTERS, gauges: &GAUGES, temporality, rows };
            let (mut actual, mut expected) = (Vec::new(), Vec::new());
            table(&Privacy::Plain, &all, &mut actual);
            for metric in all.metrics() {
                crate::encode::metric(&Privacy::Plain, &metric, &mut expected);
            }
            actual.retain(|record| record.items > 0);
            prop_assert_eq!(points(&actual), points(&expected));
        }
    }

    #[test]
    fn many_rows_are_sent_in_parts_of_bounded_size() {
        let time = Time::from_secs(1_795_400_000);
        let row = |nth: usize| Row {
            series: vec![Attribute::new("lk.a", &*format!("{nth:0>300}"))].into(),
            start: time.unwrap(),
            time,
            opens: true,
            counts: [nth as u64; Row::COUNTERS],
            measured: [Some(1.0); Row::GAUGES],
            ends: None,
        };
        let rows = (0..1000).map(row).collect();
        let temporality = Temporality::Cumulative;
        let all = Table { counters: &COUNTERS, gauges: &GAUGES, temporality, rows };
        let mut records = Vec::new();
        table(&Privacy::Plain, &all, &mut records);
        assert!(records.iter().all(|record| record.bytes.len() < PART + 1000));
        let items: u64 = records.iter().map(|record| record.items).sum();
        assert_eq!(items, 1000 * (2 * 12 + 3));
    }
}
