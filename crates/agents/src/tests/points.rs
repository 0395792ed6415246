//! Points of metrics.

use livekit_otel_model::Source;
use livekit_otel_model::event::{RoomSid, Time};
use livekit_otel_model::foreign::{ForeignData, ForeignMetric, Upload};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics,
    Sum, Summary, SummaryDataPoint, metric, number_data_point,
};
use prost::Message;

use super::DROP;
use super::made::{attribute, text};

fn keys(attributes: &[KeyValue]) -> Vec<&str> {
    attributes.iter().map(|attribute| attribute.key.as_str()).collect()
}

#[test]
fn points_have_their_room_and_job_as_facts_and_their_other_attributes_sorted() {
    let attributes = || {
        let keys = ["severity", "room_id", "cause", "job_id", "lk.redaction.enabled", "lk.pii.a"];
        keys.iter().map(|key| attribute(key, text("x"))).collect::<Vec<_>>()
    };
    let sum = NumberDataPoint {
        attributes: attributes(),
        start_time_unix_nano: 5,
        value: Some(number_data_point::Value::AsInt(3)),
        ..Default::default()
    };
    let histogram = HistogramDataPoint {
        attributes: attributes(),
        count: 2,
        sum: Some(0.7),
        bucket_counts: vec![2, 0],
        explicit_bounds: vec![5.0],
        min: Some(0.3),
        max: Some(0.4),
        ..Default::default()
    };
    let data = [
        metric::Data::Sum(Sum {
            data_points: vec![sum],
            aggregation_temporality: 1,
            is_monotonic: true,
        }),
        metric::Data::Histogram(Histogram {
            data_points: vec![histogram],
            aggregation_temporality: 2,
        }),
    ];
    let (metrics, unusable) = read_metrics(data);
    assert_eq!((metrics.len(), unusable), (2, 0));
    let ForeignData::Sum { is_monotonic: true, is_delta: true, points } = &metrics[0].data else {
        panic!("{metrics:?}")
    };
    let sent = NumberDataPoint::decode(points[0].attributes.clone()).unwrap();
    assert_eq!(keys(&sent.attributes), ["cause", "severity"]);
    assert_eq!((&points[0].facts.room, points[0].facts.is_redacted), (&RoomSid::new("x"), true));
    assert_eq!((points[0].start.map(Time::nanos), points[0].time.nanos()), (Some(5), 0));
    let ForeignData::Histogram { is_delta: false, points } = &metrics[1].data else {
        panic!("{metrics:?}")
    };
    let sent = HistogramDataPoint::decode(points[0].attributes.clone()).unwrap();
    assert_eq!(keys(&sent.attributes), ["cause", "severity"]);
    assert_eq!(
        (points[0].sum, points[0].range, points[0].start),
        (Some(0.7), Some((0.3, 0.4)), None)
    );
}

#[test]
fn points_that_cant_be_read_are_counted_and_the_others_are_kept() {
    let value = Some(number_data_point::Value::AsDouble(1.0));
    let point = NumberDataPoint { value, ..Default::default() };
    let points = vec![
        point.clone(),
        NumberDataPoint::default(),
        NumberDataPoint { flags: 1, ..point.clone() },
    ];
    let histogram = |bounds: &[f64], buckets: &[u64], flags| HistogramDataPoint {
        explicit_bounds: bounds.to_vec(),
        bucket_counts: buckets.to_vec(),
        flags,
        ..Default::default()
    };
    let histograms = vec![
        histogram(&[], &[], 0),
        histogram(&[1.0], &[1, 1], 0),
        histogram(&[1.0], &[1], 0),
        histogram(&[2.0, 1.0], &[1, 1, 1], 0),
        histogram(&[f64::NAN, 1.0], &[1, 1, 1], 0),
        histogram(&[f64::NAN], &[1, 1], 0),
        histogram(&[], &[], 1),
    ];
    let data = [
        metric::Data::Gauge(Gauge { data_points: points }),
        metric::Data::Sum(Sum { data_points: vec![point.clone()], ..Default::default() }),
        metric::Data::Summary(Summary { data_points: vec![SummaryDataPoint::default(); 2] }),
        metric::Data::Histogram(Histogram { data_points: histograms, aggregation_temporality: 2 }),
    ];
    let (metrics, unusable) = read_metrics(data);
    // Two of the gauge, that without a temporality, two of the summary, five of the histogram.
    assert_eq!((metrics.len(), unusable), (2, 10));
}

fn read_metrics(data: impl IntoIterator<Item = metric::Data>) -> (Vec<ForeignMetric>, u64) {
    let metrics = data.into_iter().map(|data| Metric { data: Some(data), ..Default::default() });
    let scope_metrics = vec![ScopeMetrics { metrics: metrics.collect(), ..Default::default() }];
    let resource_metrics = vec![ResourceMetrics { scope_metrics, ..Default::default() }];
    let request = ExportMetricsServiceRequest { resource_metrics }.encode_to_vec();
    let read = DROP.read(Source::AgentMetrics, &request).unwrap();
    let Upload::Metrics(metrics) = read.upload else { panic!("no metrics") };
    (metrics, read.unusable)
}
