//! The messages of a program, and the same as the reader makes them.

use std::sync::Arc;

use bytes::Bytes;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::logs::v1::LogRecord as OtlpLog;
use opentelemetry_proto::tonic::metrics::v1::{self as metrics, metric, number_data_point};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{self as trace, span};
use prost::Message;

use livekit_otel_model::event::{RoomSid, Time};
use livekit_otel_model::foreign::{
    Body, Facts, ForeignData, ForeignExemplar, ForeignHistogram, ForeignLink, ForeignLog,
    ForeignMetric, ForeignPoint, ForeignSpan, Origin,
};
use livekit_otel_model::semconv::key;
use livekit_otel_model::signal::{Attribute, Number};

pub(super) fn any(value: Any) -> AnyValue {
    AnyValue { value: Some(value) }
}

pub(super) fn text(key: &str, text: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(any(Any::StringValue(text.to_owned()))),
        ..Default::default()
    }
}

// An attribute of each type, and a text of this size.
pub(super) fn all_types(size: usize) -> Vec<KeyValue> {
    let list = vec![text("nested", "x")];
    let array = vec![AnyValue { value: Some(Any::IntValue(-1)) }, AnyValue { value: None }];
    let values = [
        Any::BoolValue(false),
        Any::IntValue(i64::MIN),
        Any::DoubleValue(-0.5),
        Any::StringValue("x".repeat(size)),
        Any::BytesValue(vec![0, 255]),
        Any::ArrayValue(ArrayValue { values: array }),
        Any::KvlistValue(KeyValueList { values: list }),
    ];
    let attribute = |(nth, value): (usize, Any)| KeyValue {
        key: format!("key.{nth}"),
        value: Some(any(value)),
        ..Default::default()
    };
    values.into_iter().enumerate().map(attribute).collect()
}

pub(super) type Sent<T> = (Resource, String, InstrumentationScope, String, T);

// Three origins; the last has nothing, the first a process.
pub(super) fn origin(nth: usize) -> Sent<()> {
    let mut attributes = vec![text("service.name", &format!("program-{nth}"))];
    if nth == 0 {
        attributes.push(text("service.instance.id", "7f-0"));
    }
    if nth == 2 {
        return Default::default();
    }
    let scope = InstrumentationScope {
        name: "livekit-agents".to_owned(),
        version: "1.8.9".to_owned(),
        attributes: all_types(3),
        dropped_attributes_count: 1,
    };
    let resource = Resource { attributes, dropped_attributes_count: 2, ..Default::default() };
    (resource, "https://a".to_owned(), scope, format!("https://b/{nth}"), ())
}

pub(super) fn with<T>(nth: usize, record: T) -> Sent<T> {
    let (resource, resource_schema, scope, scope_schema, ()) = origin(nth);
    (resource, resource_schema, scope, scope_schema, record)
}

// As the reader makes it.
pub(super) fn read(nth: usize) -> Arc<Origin> {
    let (mut resource, resource_schema, scope, scope_schema, ()) = origin(nth);
    let process = resource.attributes.pop_if(|attribute| attribute.key == "service.instance.id");
    let process = process.and_then(|attribute| match attribute.value?.value? {
        Any::StringValue(text) => Some(text.into()),
        _ => None,
    });
    Arc::new(Origin {
        resource: resource.encode_to_vec().into(),
        process,
        resource_schema: resource_schema.into(),
        scope: scope.encode_to_vec().into(),
        scope_schema: scope_schema.into(),
        is_framework: true,
    })
}

pub(super) fn time(nanos: u64) -> Time {
    Time::from_nanos(nanos).unwrap()
}

pub(super) fn body(message: &impl Message) -> Body {
    Body { sent: message.encode_to_vec().into(), redacted: None }
}

pub(super) fn id<const N: usize>(nth: usize) -> [u8; N] {
    let mut id = [7; N];
    id[..2].copy_from_slice(&u16::try_from(nth).unwrap().to_le_bytes());
    id
}

// A span with all fields, as it is sent and as the reader makes it.
pub(super) fn of_span(nth: usize, size: usize) -> (Sent<trace::Span>, ForeignSpan) {
    let link = |link: usize| span::Link {
        trace_id: id::<16>(link + 1).to_vec(),
        span_id: id::<8>(link + 1).to_vec(),
        trace_state: "a=b".to_owned(),
        attributes: all_types(1),
        dropped_attributes_count: 4,
        flags: 0x301,
    };
    let event = span::Event {
        time_unix_nano: 5,
        name: "first token".to_owned(),
        attributes: all_types(2),
        dropped_attributes_count: 3,
    };
    let parent: Option<[u8; 8]> = (nth % 2 == 1).then(|| id(nth + 100));
    let sent = trace::Span {
        trace_id: id::<16>(nth).to_vec(),
        span_id: id::<8>(nth).to_vec(),
        trace_state: "c=d".to_owned(),
        parent_span_id: parent.map(Vec::from).unwrap_or_default(),
        flags: 0x100,
        name: format!("llm_node {nth}"),
        kind: span::SpanKind::Producer.into(),
        start_time_unix_nano: 10,
        end_time_unix_nano: 20,
        attributes: all_types(size),
        dropped_attributes_count: 1,
        events: vec![event; nth % 3],
        dropped_events_count: 2,
        links: (0..nth % 3).map(link).collect(),
        dropped_links_count: 3,
        status: Some(trace::Status { message: "no".to_owned(), code: 2 }),
    };
    let mut rest = sent.clone();
    (rest.trace_id, rest.span_id, rest.parent_span_id) = Default::default();
    let links = std::mem::take(&mut rest.links);
    let links = links.into_iter().enumerate().map(|(link, mut rest)| {
        (rest.trace_id, rest.span_id) = Default::default();
        ForeignLink { to: (id(link + 1), id(link + 1)), body: body(&rest) }
    });
    let links = links.collect();
    let span = ForeignSpan {
        origin: read(nth % 3),
        trace_id: id(nth),
        span_id: id(nth),
        parent,
        name: rest.name.as_str().into(),
        start: time(10),
        end: time(20),
        failure: Some("no".into()),
        links,
        facts: Facts::default(),
        added: Vec::new(),
        added_links: Vec::new(),
        body: body(&rest),
    };
    (with(nth % 3, sent), span)
}

pub(super) fn of_log(nth: usize, size: usize) -> (Sent<OtlpLog>, ForeignLog) {
    let context = (nth % 2 == 1).then(|| (id::<16>(nth), id::<8>(nth)));
    let mut sent = OtlpLog {
        time_unix_nano: nth as u64 + 1,
        observed_time_unix_nano: 9,
        severity_number: 17,
        severity_text: "ERROR".to_owned(),
        body: Some(any(Any::KvlistValue(KeyValueList { values: all_types(1) }))),
        attributes: all_types(size),
        dropped_attributes_count: 5,
        flags: 1,
        trace_id: Vec::new(),
        span_id: Vec::new(),
        event_name: "exception".to_owned(),
    };
    let body = body(&sent);
    if let Some((trace_id, span_id)) = context {
        (sent.trace_id, sent.span_id) = (trace_id.to_vec(), span_id.to_vec());
    }
    let facts = Facts::default();
    let log =
        ForeignLog { origin: read(nth % 3), time: time(1), context, facts, failure: None, body };
    (with(nth % 3, sent), log)
}

pub(super) fn exemplar(nth: usize) -> (metrics::Exemplar, ForeignExemplar) {
    let mut sent = metrics::Exemplar {
        filtered_attributes: vec![text("lk.speech_id", "x")],
        time_unix_nano: 3,
        value: Some(metrics::exemplar::Value::AsInt(4)),
        ..Default::default()
    };
    let body = body(&sent);
    (sent.trace_id, sent.span_id) = (id::<16>(nth).to_vec(), id::<8>(nth).to_vec());
    (sent, ForeignExemplar { context: Some((id(nth), id(nth))), body })
}

// Attributes with the key of this field.
pub(super) fn encoded(number: u32, attributes: &[KeyValue]) -> Bytes {
    let mut bytes = Vec::new();
    for attribute in attributes {
        crate::wire::put_bytes(number, &attribute.encode_to_vec(), &mut bytes);
    }
    bytes.into()
}

pub(super) fn facts(nth: usize) -> (Vec<KeyValue>, Facts) {
    let facts = Facts {
        room: RoomSid::new("RM_1").filter(|_| nth.is_multiple_of(2)),
        job: Some("AJ_1".into()).filter(|_| nth.is_multiple_of(3)),
        attributes: vec![Attribute::new(key::METRIC_OVERFLOW, true)],
        ..Facts::default()
    };
    let room = facts.room.iter().map(|room| text("lk.room_id", room.as_str()));
    let job = facts.job.iter().map(|job| text("lk.job_id", job));
    let overflow = KeyValue {
        key: "otel.metric.overflow".to_owned(),
        value: Some(any(Any::BoolValue(true))),
        ..Default::default()
    };
    (room.chain(job).chain([overflow]).collect(), facts)
}

pub(super) fn number_point(nth: usize, size: usize) -> (metrics::NumberDataPoint, ForeignPoint) {
    let (exemplar, foreign) = exemplar(nth);
    let (added, facts) = facts(nth);
    let attributes = all_types(size);
    let (value, number) = match nth % 2 {
        0 => (number_data_point::Value::AsInt(-4), Number::Int(-4)),
        _ => (number_data_point::Value::AsDouble(0.0), Number::Float(0.0)),
    };
    let point = ForeignPoint {
        facts,
        attributes: encoded(7, &attributes),
        start: Some(time(1)).filter(|_| nth % 2 == 1),
        time: time(nth as u64 + 2),
        value: number,
        exemplars: vec![foreign],
    };
    let sent = metrics::NumberDataPoint {
        attributes: attributes.into_iter().chain(added).collect(),
        start_time_unix_nano: point.start.map_or(0, Time::nanos),
        time_unix_nano: nth as u64 + 2,
        exemplars: vec![exemplar],
        flags: 0,
        value: Some(value),
    };
    (sent, point)
}

pub(super) fn histogram(
    nth: usize,
    size: usize,
) -> (metrics::HistogramDataPoint, ForeignHistogram) {
    let (exemplar, foreign) = exemplar(nth);
    let (added, facts) = facts(nth);
    let attributes = all_types(size);
    let (bounds, buckets) = match nth % 3 {
        0 => (Vec::new(), Vec::new()),
        _ => (vec![0.5, 1.0], vec![1, 0, 2]),
    };
    let point = ForeignHistogram {
        facts,
        attributes: encoded(9, &attributes),
        start: Some(time(1)),
        time: time(nth as u64 + 2),
        count: 3,
        sum: Some(2.5).filter(|_| nth % 2 == 1),
        range: Some((0.25, 1.5)).filter(|_| nth.is_multiple_of(2)),
        bounds: bounds.clone().into(),
        buckets: buckets.clone(),
        exemplars: vec![foreign],
    };
    let sent = metrics::HistogramDataPoint {
        attributes: attributes.into_iter().chain(added).collect(),
        start_time_unix_nano: 1,
        time_unix_nano: nth as u64 + 2,
        count: 3,
        sum: point.sum,
        bucket_counts: buckets,
        explicit_bounds: bounds,
        exemplars: vec![exemplar],
        flags: 0,
        min: point.range.map(|(min, _)| min),
        max: point.range.map(|(_, max)| max),
    };
    (sent, point)
}

// A metric with points of these sizes; what is sent has one point each.
pub(super) fn of_metric(
    nth: usize,
    sizes: &[usize],
) -> (Vec<Sent<metrics::Metric>>, ForeignMetric) {
    let named = |data| metrics::Metric {
        name: format!("gen_ai.metric.{nth}"),
        description: "d".repeat(nth % 4),
        unit: "s".to_owned(),
        data: Some(data),
        ..Default::default()
    };
    let (mut sent, mut numbers, mut histograms) = (Vec::new(), Vec::new(), Vec::new());
    for (at, size) in sizes.iter().enumerate() {
        let (number, point) = number_point(at, *size);
        let (distribution, histogram) = histogram(at, *size);
        let data_points = vec![number];
        sent.push(named(match nth % 3 {
            0 => metric::Data::Gauge(metrics::Gauge { data_points }),
            1 => metric::Data::Sum(metrics::Sum {
                data_points,
                aggregation_temporality: 1,
                is_monotonic: true,
            }),
            _ => metric::Data::Histogram(metrics::Histogram {
                data_points: vec![distribution],
                aggregation_temporality: 2,
            }),
        }));
        numbers.push(point);
        histograms.push(histogram);
    }
    let metric = ForeignMetric {
        origin: read(nth % 3),
        name: format!("gen_ai.metric.{nth}").into(),
        unit: "s".into(),
        description: "d".repeat(nth % 4).into(),
        data: match nth % 3 {
            0 => ForeignData::Gauge(numbers),
            1 => ForeignData::Sum { is_monotonic: true, is_delta: true, points: numbers },
            _ => ForeignData::Histogram { is_delta: false, points: histograms },
        },
    };
    (sent.into_iter().map(|sent| with(nth % 3, sent)).collect(), metric)
}
