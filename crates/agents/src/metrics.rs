//! Metrics: gauges, sums, and histograms with explicit bounds.

use std::sync::Arc;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Exemplar, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum,
    exemplar, metric, number_data_point,
};
use prost::encoding::message;

use livekit_otel_model::foreign::{
    Facts, ForeignData, ForeignExemplar, ForeignHistogram, ForeignMetric, ForeignPoint, Origin,
};
use livekit_otel_model::signal::Number;

use crate::classes::Place;
use crate::clean::Pass;
use crate::facts;
use crate::origin::{Program, encoded};
use crate::rules::Rules;

// The field of the attributes in a point.
const OF_NUMBER: u32 = 7;
const OF_HISTOGRAM: u32 = 9;

/// The metrics of a request that have usable points, how many points these are, and how many more it has. Points of
/// exponential histograms and summaries are not usable, nor are those without a value.
pub(crate) fn read(
    rules: &Rules<'_>,
    request: ExportMetricsServiceRequest,
) -> (Vec<ForeignMetric>, u64, u64) {
    let (mut metrics, mut items, mut all) = (Vec::new(), 0, 0);
    for resource in request.resource_metrics {
        let program = Program::read(rules.privacy, resource.resource, resource.schema_url);
        for scope in resource.scope_metrics {
            let origin = program.scope(rules.privacy, scope.scope, scope.schema_url);
            for metric in scope.metrics {
                all += points(&metric);
                if let Some((metric, usable)) = one(rules, &origin, metric) {
                    items += usable as u64;
                    metrics.push(metric);
                }
            }
        }
    }
    (metrics, items, all as u64 - items)
}

fn points(metric: &Metric) -> usize {
    match &metric.data {
        None => 0,
        Some(metric::Data::Gauge(gauge)) => gauge.data_points.len(),
        Some(metric::Data::Sum(sum)) => sum.data_points.len(),
        Some(metric::Data::Histogram(histogram)) => histogram.data_points.len(),
        Some(metric::Data::ExponentialHistogram(histogram)) => histogram.data_points.len(),
        Some(metric::Data::Summary(summary)) => summary.data_points.len(),
    }
}

fn one(rules: &Rules<'_>, origin: &Arc<Origin>, metric: Metric) -> Option<(ForeignMetric, usize)> {
    let numbers = |points: Vec<NumberDataPoint>| -> Vec<ForeignPoint> {
        points.into_iter().filter_map(|point| number(rules, point)).collect()
    };
    let (data, usable) = match metric.data? {
        metric::Data::Gauge(gauge) => {
            let points = numbers(gauge.data_points);
            let usable = points.len();
            (ForeignData::Gauge(points), usable)
        }
        metric::Data::Sum(Sum { data_points, aggregation_temporality, is_monotonic }) => {
            let is_delta = is_delta(aggregation_temporality)?;
            let points = numbers(data_points);
            let usable = points.len();
            (ForeignData::Sum { is_monotonic, is_delta, points }, usable)
        }
        metric::Data::Histogram(Histogram { data_points, aggregation_temporality }) => {
            let is_delta = is_delta(aggregation_temporality)?;
            let points: Vec<_> =
                data_points.into_iter().filter_map(|point| histogram(rules, point)).collect();
            let usable = points.len();
            (ForeignData::Histogram { is_delta, points }, usable)
        }
        metric::Data::ExponentialHistogram(_) | metric::Data::Summary(_) => return None,
    };
    let metric = ForeignMetric {
        origin: Arc::clone(origin),
        name: metric.name.into(),
        unit: metric.unit.into(),
        description: metric.description.into(),
        data,
    };
    (usable > 0).then_some((metric, usable))
}

// OTLP forbids a temporality that is not set, as its points mean nothing.
fn is_delta(temporality: i32) -> Option<bool> {
    match AggregationTemporality::try_from(temporality) {
        Ok(AggregationTemporality::Delta) => Some(true),
        Ok(AggregationTemporality::Cumulative) => Some(false),
        _ => None,
    }
}

fn number(rules: &Rules<'_>, point: NumberDataPoint) -> Option<ForeignPoint> {
    if point.flags & NO_RECORDED_VALUE != 0 {
        return None;
    }
    let value = match point.value? {
        number_data_point::Value::AsInt(value) => Number::Int(value),
        number_data_point::Value::AsDouble(value) => Number::Float(value),
    };
    let (facts, attributes) = attributes(rules, OF_NUMBER, point.attributes);
    Some(ForeignPoint {
        facts,
        attributes,
        start: livekit_otel_model::event::Time::from_nanos(point.start_time_unix_nano),
        time: facts::time(point.time_unix_nano),
        value,
        exemplars: exemplars(rules, point.exemplars),
    })
}

fn histogram(rules: &Rules<'_>, point: HistogramDataPoint) -> Option<ForeignHistogram> {
    let (bounds, buckets) = (point.explicit_bounds, point.bucket_counts);
    let has_no_value = point.flags & NO_RECORDED_VALUE != 0;
    let fits = buckets.len() == bounds.len() + 1 || (buckets.is_empty() && bounds.is_empty());
    let ascends = bounds.windows(2).all(|pair| pair[0] < pair[1]);
    let ascends = ascends && !bounds.iter().any(|bound| bound.is_nan());
    if has_no_value || !fits || !ascends {
        return None;
    }
    let (facts, attributes) = attributes(rules, OF_HISTOGRAM, point.attributes);
    Some(ForeignHistogram {
        facts,
        attributes,
        start: livekit_otel_model::event::Time::from_nanos(point.start_time_unix_nano),
        time: facts::time(point.time_unix_nano),
        count: point.count,
        sum: point.sum,
        range: point.min.zip(point.max),
        bounds: bounds.into(),
        buckets,
        exemplars: exemplars(rules, point.exemplars),
    })
}

// DataPointFlags of OTLP: the series has ended, and the point has no value.
const NO_RECORDED_VALUE: u32 = 1;

// Points of all jobs are added up, one of which may be redacted: they never have content.
fn attributes(rules: &Rules<'_>, field: u32, mut attributes: Vec<KeyValue>) -> (Facts, Bytes) {
    let mut facts = rules.facts();
    facts::read(&attributes, &mut facts);
    attributes.retain(|attribute| !facts::is_fact_of_point(&attribute.key));
    Pass { who: Some(rules.privacy), strips: true }.attributes(Place::Any, &mut attributes);
    attributes.sort_by(|one, other| one.key.cmp(&other.key));
    let mut encoded = Vec::new();
    message::encode_repeated(field, &attributes, &mut encoded);
    (facts, encoded.into())
}

fn exemplars(rules: &Rules<'_>, exemplars: Vec<Exemplar>) -> Vec<ForeignExemplar> {
    exemplars.into_iter().filter_map(|exemplar| self::exemplar(rules, exemplar)).collect()
}

fn exemplar(rules: &Rules<'_>, mut exemplar: Exemplar) -> Option<ForeignExemplar> {
    let trace = std::mem::take(&mut exemplar.trace_id);
    let context = facts::context(&trace, &std::mem::take(&mut exemplar.span_id));
    let _: &exemplar::Value = exemplar.value.as_ref()?;
    let body = rules.body(|pass| {
        let found = pass.attributes(Place::Any, &mut exemplar.filtered_attributes);
        (found, encoded(&exemplar))
    });
    Some(ForeignExemplar { context, body })
}
