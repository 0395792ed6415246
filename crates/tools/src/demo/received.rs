//! Decoded OTLP requests as flat lists of spans, log records and metric points, without what the
//! report does not use (scopes, resources, exemplars).

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1 as logs;
use opentelemetry_proto::tonic::metrics::v1 as metrics;
use opentelemetry_proto::tonic::trace::v1 as trace;

use super::collector::Received;
use crate::labels::AttributeLookup;
use livekit_otel_model::hex;
use livekit_otel_model::semconv::key;

/// An attribute's value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A flag.
    Bool(bool),
    /// A count.
    Int(i64),
    /// A measure.
    Float(f64),
    /// Text.
    Text(String),
    /// A list, a map, bytes, or no value. livekit-otel sends none of these.
    Other,
}

/// Attributes by key.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Attributes(pub BTreeMap<String, Value>);

impl Attributes {
    /// The text under `key`; `None` if there is none or it is empty.
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.0.get(key) {
            Some(Value::Text(text)) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    /// Whether the flag under `key` is set.
    pub fn is_set(&self, key: &str) -> bool {
        matches!(self.0.get(key), Some(Value::Bool(true)))
    }

    /// The integer or floating-point number under `key`.
    pub fn number(&self, key: &str) -> Option<f64> {
        match self.0.get(key) {
            Some(Value::Int(count)) => Some(*count as f64),
            Some(Value::Float(measure)) => Some(*measure),
            _ => None,
        }
    }
}

impl AttributeLookup for Attributes {
    fn text(&self, key: &str) -> Option<&str> {
        Self::text(self, key)
    }

    fn number(&self, key: &str) -> Option<f64> {
        Self::number(self, key)
    }
}

/// A span.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// Its trace, in hex.
    pub trace_id: String,
    /// Its id, in hex.
    pub span_id: String,
    /// Its parent, in hex; `None` for a root.
    pub parent: Option<String>,
    /// Its name.
    pub name: String,
    /// When it started, in Unix nanoseconds.
    pub start: u64,
    /// When it ended, in Unix nanoseconds.
    pub end: u64,
    /// Its attributes.
    pub attributes: Attributes,
    /// The status message if the status is an error; it may be empty.
    pub error: Option<String>,
    /// The spans that it is linked to: trace id and span id, in hex.
    pub links: Vec<(String, String)>,
}

/// Whether the span is a failure: by its status or by an error type.
pub(super) fn failed(span: &Span) -> bool {
    span.error.is_some() || span.attributes.text(key::ERROR_TYPE).is_some()
}

/// A log record.
#[derive(Debug, Clone, PartialEq)]
pub struct LogRecord {
    /// Its event name, which may be empty.
    pub event_name: String,
    /// The name of its scope, which may be empty: that of a logger for what agents log.
    pub scope: String,
    /// When it happened, in Unix nanoseconds.
    pub time: u64,
    /// OTLP's severity number, 1 to 24; 0 if unset.
    pub severity: i32,
    /// Its attributes.
    pub attributes: Attributes,
}

/// The start of a point's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counts {
    /// None: the value is the last one.
    Gauge,
    /// The start of its series.
    Cumulative,
    /// The previous point.
    Delta,
}

/// A metric point's value.
#[derive(Debug, Clone, PartialEq)]
pub enum Measured {
    /// `NO_RECORDED_VALUE`, which ends a series, or a point without a value.
    Nothing,
    /// A number.
    Number(f64),
    /// A histogram or summary.
    Distribution {
        /// The number of values.
        count: u64,
        /// Their sum, if it is known.
        sum: Option<f64>,
    },
}

/// A metric point.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// The metric's name.
    pub name: String,
    /// The metric's UCUM unit.
    pub unit: String,
    /// The start of the value.
    pub counts: Counts,
    /// The attributes of its series.
    pub attributes: Attributes,
    /// When its series started, in Unix nanoseconds; 0 if unset.
    pub start: u64,
    /// When it was measured, in Unix nanoseconds.
    pub time: u64,
    /// The value.
    pub value: Measured,
}

/// All received records, in the order in which they arrived.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Telemetry {
    /// The spans.
    pub spans: Vec<Span>,
    /// The log records.
    pub logs: Vec<LogRecord>,
    /// The metric points.
    pub points: Vec<Point>,
}

impl Telemetry {
    /// Decodes the requests.
    pub fn read(received: &Received) -> Self {
        let spans = received.traces.iter().flat_map(|request| &request.resource_spans);
        let spans = spans.flat_map(|resource| &resource.scope_spans).flat_map(|s| &s.spans);
        let logs = received.logs.iter().flat_map(|request| &request.resource_logs);
        let logs = logs.flat_map(|resource| &resource.scope_logs).flat_map(|s| {
            let scope = s.scope.as_ref().map_or("", |scope| scope.name.as_str());
            s.log_records.iter().map(move |record| log_record(scope, record))
        });
        let metrics = received.metrics.iter().flat_map(|request| &request.resource_metrics);
        let metrics = metrics.flat_map(|resource| &resource.scope_metrics).flat_map(|s| &s.metrics);
        Self {
            spans: spans.map(span).collect(),
            logs: logs.collect(),
            points: metrics.flat_map(points).collect(),
        }
    }

    /// Whether nothing was received.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty() && self.logs.is_empty() && self.points.is_empty()
    }
}

fn span(span: &trace::Span) -> Span {
    let failed = |status: &&trace::Status| status.code() == trace::status::StatusCode::Error;
    let link = |link: &trace::span::Link| (hex(&link.trace_id), hex(&link.span_id));
    Span {
        trace_id: hex(&span.trace_id),
        span_id: hex(&span.span_id),
        parent: (!span.parent_span_id.is_empty()).then(|| hex(&span.parent_span_id)),
        name: span.name.clone(),
        start: span.start_time_unix_nano,
        end: span.end_time_unix_nano,
        attributes: attributes(&span.attributes),
        error: span.status.as_ref().filter(failed).map(|status| status.message.clone()),
        links: span.links.iter().map(link).collect(),
    }
}

fn log_record(scope: &str, record: &logs::LogRecord) -> LogRecord {
    LogRecord {
        scope: scope.to_owned(),
        event_name: record.event_name.clone(),
        time: record.time_unix_nano,
        severity: record.severity_number,
        attributes: attributes(&record.attributes),
    }
}

fn points(metric: &metrics::Metric) -> Vec<Point> {
    use metrics::metric::Data;
    let point = |counts, attrs: &[KeyValue], start, time, value| Point {
        name: metric.name.clone(),
        unit: metric.unit.clone(),
        counts,
        attributes: attributes(attrs),
        start,
        time,
        value,
    };
    let number = |counts, p: &metrics::NumberDataPoint| {
        let value = number(p);
        point(counts, &p.attributes, p.start_time_unix_nano, p.time_unix_nano, value)
    };
    match &metric.data {
        None => Vec::new(),
        Some(Data::Gauge(data)) => {
            data.data_points.iter().map(|p| number(Counts::Gauge, p)).collect()
        }
        Some(Data::Sum(data)) => {
            let counts = counts(data.aggregation_temporality);
            data.data_points.iter().map(|p| number(counts, p)).collect()
        }
        Some(Data::Histogram(data)) => {
            let counts = counts(data.aggregation_temporality);
            let read = |p: &metrics::HistogramDataPoint| {
                let value = distribution(p.flags, p.count, p.sum);
                point(counts, &p.attributes, p.start_time_unix_nano, p.time_unix_nano, value)
            };
            data.data_points.iter().map(read).collect()
        }
        Some(Data::ExponentialHistogram(data)) => {
            let counts = counts(data.aggregation_temporality);
            let read = |p: &metrics::ExponentialHistogramDataPoint| {
                let value = distribution(p.flags, p.count, p.sum);
                point(counts, &p.attributes, p.start_time_unix_nano, p.time_unix_nano, value)
            };
            data.data_points.iter().map(read).collect()
        }
        Some(Data::Summary(data)) => {
            let read = |p: &metrics::SummaryDataPoint| {
                let value = distribution(p.flags, p.count, Some(p.sum));
                let (start, time) = (p.start_time_unix_nano, p.time_unix_nano);
                point(Counts::Cumulative, &p.attributes, start, time, value)
            };
            data.data_points.iter().map(read).collect()
        }
    }
}

fn counts(temporality: i32) -> Counts {
    if temporality == metrics::AggregationTemporality::Delta as i32 {
        Counts::Delta
    } else {
        Counts::Cumulative
    }
}

fn ended(flags: u32) -> bool {
    flags & metrics::DataPointFlags::NoRecordedValueMask as u32 != 0
}

fn number(point: &metrics::NumberDataPoint) -> Measured {
    use metrics::number_data_point::Value;
    match point.value {
        _ if ended(point.flags) => Measured::Nothing,
        None => Measured::Nothing,
        Some(Value::AsDouble(value)) => Measured::Number(value),
        Some(Value::AsInt(value)) => Measured::Number(value as f64),
    }
}

fn distribution(flags: u32, count: u64, sum: Option<f64>) -> Measured {
    if ended(flags) { Measured::Nothing } else { Measured::Distribution { count, sum } }
}

fn attributes(pairs: &[KeyValue]) -> Attributes {
    let read = |pair: &KeyValue| {
        let value = match pair.value.as_ref().and_then(|any| any.value.as_ref()) {
            Some(any_value::Value::BoolValue(flag)) => Value::Bool(*flag),
            Some(any_value::Value::IntValue(count)) => Value::Int(*count),
            Some(any_value::Value::DoubleValue(measure)) => Value::Float(*measure),
            Some(any_value::Value::StringValue(text)) => Value::Text(text.clone()),
            _ => Value::Other,
        };
        (pair.key.clone(), value)
    };
    Attributes(pairs.iter().map(read).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use metrics::metric::Data;
    use metrics::number_data_point::Value::AsInt;

    fn one_point(flags: u32, temporality: i32) -> Point {
        let point = metrics::NumberDataPoint {
            time_unix_nano: 7,
            flags,
            value: Some(AsInt(3)),
            ..Default::default()
        };
        let data = Data::Sum(metrics::Sum {
            data_points: vec![point],
            aggregation_temporality: temporality,
            is_monotonic: true,
        });
        let metric = metrics::Metric { name: "m".into(), data: Some(data), ..Default::default() };
        points(&metric).remove(0)
    }

    #[test]
    fn a_point_without_recorded_value_has_none() {
        assert_eq!(one_point(0, 2).value, Measured::Number(3.0));
        assert_eq!(one_point(1, 2).value, Measured::Nothing);
    }

    #[test]
    fn delta_and_cumulative_sums_are_distinguished() {
        assert_eq!(one_point(0, 1).counts, Counts::Delta);
        assert_eq!(one_point(0, 2).counts, Counts::Cumulative);
    }

    #[test]
    fn only_an_error_status_is_a_failure() {
        let with = |code| {
            let status = trace::Status { message: "no".into(), code };
            span(&trace::Span { status: Some(status), ..Default::default() }).error
        };
        assert_eq!(with(2), Some("no".into()));
        assert_eq!(with(1), None);
        assert_eq!(span(&trace::Span::default()).error, None);
    }

    #[test]
    fn ids_are_hex_and_a_root_has_no_parent() {
        let read = span(&trace::Span {
            span_id: vec![0, 0xAB, 1],
            parent_span_id: Vec::new(),
            ..Default::default()
        });
        assert_eq!(read.span_id, "00ab01");
        assert_eq!(read.parent, None);
    }
}
