//! Metrics of operations and of usage: their series, and how they agree with the spans.

pub(crate) mod facts;
mod running;
mod series;
mod usage;

use std::collections::BTreeMap;

use livekit_otel_model::event::Time;
use livekit_otel_model::signal::{Attribute, Data, Metric, Number, Value};

/// The attributes of a series, as text.
fn labels(attributes: &[Attribute]) -> String {
    let value = |value: &Value| match value {
        Value::Text(text) => text.to_string(),
        other => format!("{other:?}"),
    };
    let all: Vec<_> =
        attributes.iter().map(|it| format!("{}={}", it.key, value(&it.value))).collect();
    all.join(" ")
}

/// The points of the sum of that name, each with its labels, start, time and value.
fn points(metrics: &[Metric], name: &str) -> Vec<(String, Option<Time>, Time, Option<Number>)> {
    let metrics = metrics.iter().filter(|metric| metric.name == name);
    let points = metrics.flat_map(|metric| match &metric.data {
        Data::Sum { points, .. } => points.iter(),
        other => panic!("{name} is no sum: {other:?}"),
    });
    points.map(|it| (labels(&it.attributes), it.start, it.time, it.value)).collect()
}

/// The last value of each series of the sum of that name.
fn sums(metrics: &[Metric], name: &str) -> BTreeMap<String, Option<Number>> {
    points(metrics, name).into_iter().map(|(labels, _, _, value)| (labels, value)).collect()
}

/// How many durations each series of that name has, and their sum.
fn durations(metrics: &[Metric], name: &str) -> BTreeMap<String, (u64, f64)> {
    let metrics = metrics.iter().filter(|metric| metric.name == name);
    let points = metrics.flat_map(|metric| match &metric.data {
        Data::Histogram { points, .. } => points.iter(),
        other => panic!("{name} is no histogram: {other:?}"),
    });
    points.map(|it| (labels(&it.attributes), (it.count, it.sum))).collect()
}
