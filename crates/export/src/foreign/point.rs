//! Metrics of other programs.

use super::fields::{Ids, put_attributes, put_text_attribute};
use crate::encode::temporality;
use crate::wire::{field, field_len, put_bytes, put_fixed, put_head, sum_tail};
use livekit_otel_model::foreign::{
    Facts, ForeignData, ForeignExemplar, ForeignHistogram, ForeignMetric, ForeignPoint,
};
use livekit_otel_model::privacy::Privacy;
use livekit_otel_model::semconv::key;
use livekit_otel_model::signal::{Number, Temporality};

// A metric with more points is sent in parts.
const POINTS: u64 = 250;
const HISTOGRAM: u32 = 9;
const HISTOGRAM_ATTRIBUTES: u32 = 9;

/// Passes a `Metric` message and the number of its points to `to`: several, if one would have more than `most`
/// bytes, or too many points.
pub(super) fn parts(
    privacy: &Privacy,
    metric: &ForeignMetric,
    most: usize,
    to: &mut dyn FnMut(Vec<u8>, u64),
) {
    let of =
        |is_delta| temporality(if is_delta { Temporality::Delta } else { Temporality::Cumulative });
    match &metric.data {
        ForeignData::Gauge(points) => {
            let points = points.iter().map(|point| number_point(privacy, point));
            split(metric, (field::GAUGE, &[]), most, points, to);
        }
        ForeignData::Sum { is_monotonic, is_delta, points } => {
            let tail = sum_tail(*is_monotonic, of(*is_delta));
            let points = points.iter().map(|point| number_point(privacy, point));
            split(metric, (field::SUM, &tail), most, points, to);
        }
        ForeignData::Histogram { is_delta, points } => {
            let tail = sum_tail(false, of(*is_delta));
            let points = points.iter().map(|point| histogram_point(privacy, point));
            split(metric, (HISTOGRAM, &tail), most, points, to);
        }
    }
}

fn split(
    metric: &ForeignMetric,
    (data, tail): (u32, &[u8]),
    most: usize,
    points: impl Iterator<Item = Vec<u8>>,
    to: &mut dyn FnMut(Vec<u8>, u64),
) {
    let (mut gathered, mut items) = (Vec::new(), 0);
    for point in points {
        let len = field_len(point.len());
        let is_full = gathered.len() + len > most / 2 || items >= POINTS;
        if is_full && items > 0 {
            to(message(metric, (data, tail), &gathered), items);
            gathered.clear();
            items = 0;
        }
        put_bytes(field::DATA_POINTS, &point, &mut gathered);
        items += 1;
    }
    if items > 0 {
        to(message(metric, (data, tail), &gathered), items);
    }
}

fn message(metric: &ForeignMetric, (data, tail): (u32, &[u8]), points: &[u8]) -> Vec<u8> {
    let texts = [
        (field::NAME, &metric.name),
        (field::DESCRIPTION, &metric.description),
        (field::UNIT, &metric.unit),
    ];
    let mut bytes = Vec::with_capacity(points.len() + metric.description.len() + 200);
    for (number, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
        put_bytes(number, text.as_bytes(), &mut bytes);
    }
    put_head(data, points.len() + tail.len(), &mut bytes);
    bytes.extend_from_slice(points);
    bytes.extend_from_slice(tail);
    bytes
}

fn number_point(privacy: &Privacy, point: &ForeignPoint) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(point.attributes.len() + 100);
    if let Some(start) = point.start {
        put_fixed(field::START, start.nanos(), &mut bytes);
    }
    put_fixed(field::TIME, point.time.nanos(), &mut bytes);
    match point.value {
        Number::Float(measure) => put_fixed(field::AS_DOUBLE, measure.to_bits(), &mut bytes),
        Number::Int(count) => put_fixed(field::AS_INT, count.cast_unsigned(), &mut bytes),
    }
    bytes.extend_from_slice(&point.attributes);
    put_facts(field::ATTRIBUTES, privacy, &point.facts, &mut bytes);
    put_exemplars(5, &point.exemplars, &mut bytes);
    bytes
}

fn histogram_point(privacy: &Privacy, point: &ForeignHistogram) -> Vec<u8> {
    let size = point.attributes.len() + 16 * point.buckets.len() + 150;
    let mut bytes = Vec::with_capacity(size);
    if let Some(start) = point.start {
        put_fixed(field::START, start.nanos(), &mut bytes);
    }
    put_fixed(field::TIME, point.time.nanos(), &mut bytes);
    put_fixed(4, point.count, &mut bytes);
    if let Some(sum) = point.sum {
        put_fixed(5, sum.to_bits(), &mut bytes);
    }
    put_packed(6, point.buckets.iter().copied(), &mut bytes);
    put_packed(7, point.bounds.iter().map(|bound| bound.to_bits()), &mut bytes);
    bytes.extend_from_slice(&point.attributes);
    put_facts(HISTOGRAM_ATTRIBUTES, privacy, &point.facts, &mut bytes);
    if let Some((min, max)) = point.range {
        put_fixed(11, min.to_bits(), &mut bytes);
        put_fixed(12, max.to_bits(), &mut bytes);
    }
    put_exemplars(8, &point.exemplars, &mut bytes);
    bytes
}

// 64-bit numbers of fixed length.
fn put_packed(number: u32, values: impl ExactSizeIterator<Item = u64>, to: &mut Vec<u8>) {
    if values.len() > 0 {
        put_head(number, 8 * values.len(), to);
        values.for_each(|value| to.extend_from_slice(&value.to_le_bytes()));
    }
}

fn put_facts(number: u32, privacy: &Privacy, facts: &Facts, to: &mut Vec<u8>) {
    if let Some(room) = &facts.room {
        put_text_attribute(number, key::ROOM_ID, room.as_str(), to);
    }
    if let Some(job) = &facts.job {
        put_text_attribute(number, key::JOB_ID, job, to);
    }
    put_attributes(number, privacy, &facts.attributes, to);
}

fn put_exemplars(number: u32, exemplars: &[ForeignExemplar], to: &mut Vec<u8>) {
    for exemplar in exemplars {
        let mut ids = Ids::new();
        if let Some((trace_id, span_id)) = &exemplar.context {
            ids.put(4, span_id);
            ids.put(5, trace_id);
        }
        let body = &exemplar.body.sent;
        put_head(number, ids.fields().len() + body.len(), to);
        to.extend_from_slice(ids.fields());
        to.extend_from_slice(body);
    }
}
