//! Signals to OTLP records. Each span, log record and metric is encoded once, and stays encoded through queues,
//! splits and retries.

use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value};
use opentelemetry_proto::tonic::logs::v1 as logs;
use opentelemetry_proto::tonic::metrics::v1::{self as metrics, metric};
use opentelemetry_proto::tonic::trace::v1 as trace;
use prost::Message;

use crate::numbers;
use crate::record::{POINTS_PER_METRIC, Record, Scope, attributes};
use livekit_otel_model::privacy::Privacy;
use livekit_otel_model::signal::{
    Data, Exemplar, ExponentialPoint, HistogramPoint, LogRecord, Metric, Severity, Span, SpanKind,
    Temporality,
};

// W3C Trace Context's "sampled".
pub(super) const SAMPLED: u32 = 1;

pub(super) fn span(privacy: &Privacy, span: &Span) -> Record {
    let status = span.failure().map(|error_type| trace::Status {
        message: error_type.to_owned(),
        code: trace::status::StatusCode::Error.into(),
    });
    let links = span.links.iter().map(|link| trace::span::Link {
        trace_id: link.trace_id.to_vec(),
        span_id: link.span_id.to_vec(),
        flags: SAMPLED,
        ..Default::default()
    });
    let kind = match span.kind {
        SpanKind::Internal => trace::span::SpanKind::Internal,
        SpanKind::Server => trace::span::SpanKind::Server,
        SpanKind::Client => trace::span::SpanKind::Client,
    };
    let message = trace::Span {
        trace_id: span.trace_id.to_vec(),
        span_id: span.span_id.to_vec(),
        parent_span_id: span.parent.map(|id| id.to_vec()).unwrap_or_default(),
        flags: SAMPLED,
        name: span.name.to_owned(),
        kind: kind.into(),
        start_time_unix_nano: span.start.nanos(),
        end_time_unix_nano: span.end.nanos(),
        attributes: attributes(privacy, &span.attributes),
        links: links.collect(),
        status,
        ..Default::default()
    };
    record(Scope::LiveKit, 1, &message)
}

pub(super) fn log(privacy: &Privacy, log: &LogRecord) -> Record {
    let severity = match log.severity {
        Severity::Debug => (logs::SeverityNumber::Debug, "DEBUG"),
        Severity::Info => (logs::SeverityNumber::Info, "INFO"),
        Severity::Warn => (logs::SeverityNumber::Warn, "WARN"),
        Severity::Error => (logs::SeverityNumber::Error, "ERROR"),
    };
    let (trace_id, span_id) = log
        .context
        .map(|(trace_id, span_id)| (trace_id.to_vec(), span_id.to_vec()))
        .unwrap_or_default();
    let name = log.event_name.to_string();
    let message = logs::LogRecord {
        time_unix_nano: log.time.nanos(),
        observed_time_unix_nano: log.observed.nanos(),
        severity_number: severity.0.into(),
        severity_text: severity.1.to_owned(),
        // Log viewers show the body.
        body: Some(AnyValue { value: Some(any_value::Value::StringValue(name.clone())) }),
        attributes: attributes(privacy, &log.attributes),
        flags: if trace_id.is_empty() { 0 } else { SAMPLED },
        trace_id,
        span_id,
        event_name: name,
        ..Default::default()
    };
    record(Scope::LiveKit, 1, &message)
}

/// Encodes a metric, in as many parts as its points need.
pub(super) fn metric(privacy: &Privacy, metric: &Metric, to: &mut Vec<Record>) {
    match &metric.data {
        Data::Gauge(points) => numbers::gauge(privacy, metric, points, to),
        Data::Sum { monotonic, temporality, points } => {
            let temporality = self::temporality(*temporality);
            numbers::sum(privacy, metric, (*monotonic, temporality), points, to);
        }
        Data::Histogram { temporality, bounds, points } => {
            for points in points.chunks(POINTS_PER_METRIC) {
                let data_points =
                    points.iter().map(|point| histogram_point(privacy, point, bounds)).collect();
                let aggregation_temporality = self::temporality(*temporality);
                let histogram = metrics::Histogram { data_points, aggregation_temporality };
                let data = metric::Data::Histogram(histogram);
                to.push(distribution(metric, points.len(), data));
            }
        }
        Data::Exponential { temporality, points } => {
            for points in points.chunks(POINTS_PER_METRIC) {
                let data_points =
                    points.iter().map(|point| exponential_point(privacy, point)).collect();
                let aggregation_temporality = self::temporality(*temporality);
                let histogram =
                    metrics::ExponentialHistogram { data_points, aggregation_temporality };
                let data = metric::Data::ExponentialHistogram(histogram);
                to.push(distribution(metric, points.len(), data));
            }
        }
    }
}

fn distribution(metric: &Metric, points: usize, data: metric::Data) -> Record {
    let message = metrics::Metric {
        name: metric.name.to_owned(),
        description: metric.description.to_owned(),
        unit: metric.unit.to_owned(),
        data: Some(data),
        ..Default::default()
    };
    record(Scope::LiveKit, points as u64, &message)
}

/// Encodes a metric of the SDK, converted by opentelemetry-proto.
pub(super) fn own_metric(message: &metrics::Metric) -> Record {
    let items = match &message.data {
        Some(metric::Data::Gauge(data)) => data.data_points.len(),
        Some(metric::Data::Sum(data)) => data.data_points.len(),
        Some(metric::Data::Histogram(data)) => data.data_points.len(),
        Some(metric::Data::ExponentialHistogram(data)) => data.data_points.len(),
        Some(metric::Data::Summary(data)) => data.data_points.len(),
        None => 0,
    };
    record(Scope::Own, items as u64, message)
}

fn record(scope: Scope, items: u64, message: &impl Message) -> Record {
    Record { scope, items, bytes: message.encode_to_vec().into(), number: 0 }
}

pub(super) fn temporality(temporality: Temporality) -> i32 {
    let temporality = match temporality {
        Temporality::Cumulative => metrics::AggregationTemporality::Cumulative,
        Temporality::Delta => metrics::AggregationTemporality::Delta,
    };
    temporality.into()
}

fn histogram_point(
    privacy: &Privacy,
    point: &HistogramPoint,
    bounds: &[f64],
) -> metrics::HistogramDataPoint {
    metrics::HistogramDataPoint {
        attributes: attributes(privacy, &point.attributes),
        start_time_unix_nano: point.start.nanos(),
        time_unix_nano: point.time.nanos(),
        count: point.count,
        sum: Some(point.sum),
        bucket_counts: point.buckets.clone(),
        explicit_bounds: bounds.to_vec(),
        exemplars: point.exemplars.iter().map(exemplar).collect(),
        min: point.range.map(|(min, _)| min),
        max: point.range.map(|(_, max)| max),
        ..Default::default()
    }
}

fn exponential_point(
    privacy: &Privacy,
    point: &ExponentialPoint,
) -> metrics::ExponentialHistogramDataPoint {
    let buckets = metrics::exponential_histogram_data_point::Buckets {
        offset: point.offset,
        bucket_counts: point.buckets.clone(),
    };
    metrics::ExponentialHistogramDataPoint {
        attributes: attributes(privacy, &point.attributes),
        start_time_unix_nano: point.start.nanos(),
        time_unix_nano: point.time.nanos(),
        count: point.count,
        sum: Some(point.sum),
        scale: point.scale,
        zero_count: point.zero_count,
        positive: Some(buckets),
        exemplars: point.exemplars.iter().map(exemplar).collect(),
        min: point.range.map(|(min, _)| min),
        max: point.range.map(|(_, max)| max),
        ..Default::default()
    }
}

fn exemplar(exemplar: &Exemplar) -> metrics::Exemplar {
    let (trace_id, span_id) = exemplar
        .context
        .map(|(trace_id, span_id)| (trace_id.to_vec(), span_id.to_vec()))
        .unwrap_or_default();
    metrics::Exemplar {
        time_unix_nano: exemplar.time.nanos(),
        trace_id,
        span_id,
        value: Some(metrics::exemplar::Value::AsDouble(exemplar.value)),
        ..Default::default()
    }
}
