//! Metric points as a collector receives them, in a form that can be compared.

use std::collections::BTreeMap;

use livekit_otel_model::hex;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogramDataPoint, HistogramDataPoint, Metric, NumberDataPoint, exemplar,
    metric, number_data_point,
};

/// A point: its series, times and value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Point {
    pub(crate) metric: String,
    /// The metric's temporality and kind.
    pub(crate) kind: String,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) start: u64,
    pub(crate) time: u64,
    pub(crate) value: Value,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// `NO_RECORDED_VALUE`.
    Nothing,
    Int(i64),
    Float(f64),
    Distribution(Distribution),
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Distribution {
    pub(crate) count: u64,
    pub(crate) sum: f64,
    pub(crate) range: Option<(f64, f64)>,
    pub(crate) bounds: Vec<f64>,
    /// Scale, zero count and offset of exponential buckets.
    pub(crate) scale: Option<(i32, u64, i32)>,
    pub(crate) buckets: Vec<u64>,
    /// Value, time, trace and span.
    pub(crate) exemplars: Vec<(f64, u64, String, String)>,
}

/// All points of requests, sorted.
pub(crate) fn all(requests: &[ExportMetricsServiceRequest]) -> Vec<Point> {
    let resources = requests.iter().flat_map(|request| &request.resource_metrics);
    let scopes = resources.flat_map(|resource| &resource.scope_metrics);
    let mut points: Vec<_> = scopes.flat_map(|scope| &scope.metrics).flat_map(of_metric).collect();
    sort(&mut points);
    points
}

pub(crate) fn sort(points: &mut [Point]) {
    points.sort_by(|a, b| {
        let key = |point: &Point| (point.time, point.start);
        (&a.metric, &a.attributes, key(a)).cmp(&(&b.metric, &b.attributes, key(b)))
    });
}

/// Drops exemplars: which of them exponential buckets keep depends on the scale at the time.
pub(crate) fn forget_exemplars(points: &mut [Point]) {
    for point in points {
        if let Value::Distribution(distribution) = &mut point.value {
            distribution.exemplars.clear();
        }
    }
}

fn of_metric(metric: &Metric) -> Vec<Point> {
    let named = |kind: String, points: Vec<Point>| -> Vec<Point> {
        let name = |point| Point { metric: metric.name.clone(), kind: kind.clone(), ..point };
        points.into_iter().map(name).collect()
    };
    let counts = |temporality| if temporality == 1 { "delta" } else { "cumulative" };
    match metric.data.as_ref().unwrap() {
        metric::Data::Gauge(data) => {
            named("gauge".to_owned(), data.data_points.iter().map(number).collect())
        }
        metric::Data::Sum(data) => {
            let monotonic = if data.is_monotonic { "counter" } else { "up-down" };
            let kind = format!("{} {monotonic}", counts(data.aggregation_temporality));
            named(kind, data.data_points.iter().map(number).collect())
        }
        metric::Data::Histogram(data) => {
            let kind = format!("{} histogram", counts(data.aggregation_temporality));
            named(kind, data.data_points.iter().map(explicit).collect())
        }
        metric::Data::ExponentialHistogram(data) => {
            let kind = format!("{} histogram", counts(data.aggregation_temporality));
            named(kind, data.data_points.iter().map(exponential).collect())
        }
        metric::Data::Summary(_) => panic!("{} is a summary", metric.name),
    }
}

fn point(attributes: &[KeyValue], start: u64, time: u64, value: Value) -> Point {
    let text = |pair: &KeyValue| match pair.value.as_ref().unwrap().value.as_ref().unwrap() {
        any_value::Value::StringValue(text) => text.clone(),
        other => format!("{other:?}"),
    };
    let attributes = attributes.iter().map(|pair| (pair.key.clone(), text(pair))).collect();
    Point { metric: String::new(), kind: String::new(), attributes, start, time, value }
}

fn number(of: &NumberDataPoint) -> Point {
    let value = match of.value {
        _ if of.flags & 1 == 1 => Value::Nothing,
        Some(number_data_point::Value::AsInt(value)) => Value::Int(value),
        Some(number_data_point::Value::AsDouble(value)) => Value::Float(value),
        None => panic!("a point with neither a value nor the flag for none"),
    };
    point(&of.attributes, of.start_time_unix_nano, of.time_unix_nano, value)
}

fn explicit(of: &HistogramDataPoint) -> Point {
    let distribution = Distribution {
        count: of.count,
        sum: of.sum.unwrap(),
        range: of.min.zip(of.max),
        bounds: of.explicit_bounds.clone(),
        scale: None,
        buckets: of.bucket_counts.clone(),
        exemplars: of.exemplars.iter().map(example).collect(),
    };
    let value = Value::Distribution(distribution);
    point(&of.attributes, of.start_time_unix_nano, of.time_unix_nano, value)
}

fn exponential(of: &ExponentialHistogramDataPoint) -> Point {
    let positive = of.positive.clone().unwrap_or_default();
    let distribution = Distribution {
        count: of.count,
        sum: of.sum.unwrap(),
        range: of.min.zip(of.max),
        bounds: Vec::new(),
        scale: Some((of.scale, of.zero_count, positive.offset)),
        buckets: positive.bucket_counts,
        exemplars: of.exemplars.iter().map(example).collect(),
    };
    let value = Value::Distribution(distribution);
    point(&of.attributes, of.start_time_unix_nano, of.time_unix_nano, value)
}

fn example(of: &Exemplar) -> (f64, u64, String, String) {
    let Some(exemplar::Value::AsDouble(value)) = of.value else { panic!("no number") };
    (value, of.time_unix_nano, hex(&of.trace_id), hex(&of.span_id))
}
