//! What was received, taken apart: each span, log record and metric point with its resource and scope.

use std::collections::{BTreeMap, BTreeSet};

use livekit_otel_tools::demo::Received;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, InstrumentationScope, KeyValue, any_value::Value,
};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::{self as metrics, Metric, metric::Data};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;

#[derive(Clone)]
pub(super) struct Item {
    pub(super) resource: Resource,
    pub(super) scope: InstrumentationScope,
    pub(super) schemas: [String; 2],
    pub(super) what: What,
}

#[derive(Debug, Clone)]
pub(super) enum What {
    Span(Span),
    Log(LogRecord),
    /// A metric with one point.
    Point(Metric),
}

pub(super) fn attribute(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value.to_owned())) });
    KeyValue { key: key.to_owned(), value, ..Default::default() }
}

impl Item {
    pub(super) fn attributes(&self) -> &[KeyValue] {
        match &self.what {
            What::Span(span) => &span.attributes,
            What::Log(log) => &log.attributes,
            What::Point(metric) => match metric.data.as_ref().unwrap() {
                Data::Gauge(data) => &data.data_points[0].attributes,
                Data::Sum(data) => &data.data_points[0].attributes,
                Data::Histogram(data) => &data.data_points[0].attributes,
                Data::ExponentialHistogram(data) => &data.data_points[0].attributes,
                Data::Summary(data) => &data.data_points[0].attributes,
            },
        }
    }

    pub(super) fn attributes_mut(&mut self) -> &mut Vec<KeyValue> {
        match &mut self.what {
            What::Span(span) => &mut span.attributes,
            What::Log(log) => &mut log.attributes,
            What::Point(metric) => match metric.data.as_mut().unwrap() {
                Data::Gauge(data) => &mut data.data_points[0].attributes,
                Data::Sum(data) => &mut data.data_points[0].attributes,
                Data::Histogram(data) => &mut data.data_points[0].attributes,
                Data::ExponentialHistogram(data) => &mut data.data_points[0].attributes,
                Data::Summary(data) => &mut data.data_points[0].attributes,
            },
        }
    }

    pub(super) fn text(&self, key: &str) -> Option<&str> {
        let value = &self.attributes().iter().find(|attribute| attribute.key == key)?.value;
        match value.as_ref()?.value.as_ref()? {
            Value::StringValue(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn set(&mut self, key: &str, value: &str) {
        self.attributes_mut().retain(|attribute| attribute.key != key);
        self.attributes_mut().push(attribute(key, value));
    }

    pub(super) fn span(&self) -> Option<&Span> {
        match &self.what {
            What::Span(span) => Some(span),
            _ => None,
        }
    }
}

/// How many there are.
pub(super) fn count(received: &Received) -> usize {
    let spans = received.traces.iter().flat_map(|request| &request.resource_spans);
    let spans = spans.flat_map(|of| &of.scope_spans).map(|scope| scope.spans.len());
    spans.sum::<usize>() + count_unsampled(received)
}

/// How many log records and points there are, which no gateway samples.
pub(super) fn count_unsampled(received: &Received) -> usize {
    let logs = received.logs.iter().flat_map(|request| &request.resource_logs);
    let logs = logs.flat_map(|of| &of.scope_logs).map(|scope| scope.log_records.len());
    let metrics = received.metrics.iter().flat_map(|request| &request.resource_metrics);
    let metrics = metrics.flat_map(|of| &of.scope_metrics).flat_map(|scope| &scope.metrics);
    let points = metrics.map(|metric| match metric.data.as_ref().unwrap() {
        Data::Gauge(data) => data.data_points.len(),
        Data::Sum(data) => data.data_points.len(),
        Data::Histogram(data) => data.data_points.len(),
        other => panic!("{} is sent as {other:?}", metric.name),
    });
    logs.chain(points).sum()
}

/// The traces of the spans.
pub(super) fn traces(received: &Received) -> BTreeSet<Vec<u8>> {
    let spans = received.traces.iter().flat_map(|request| &request.resource_spans);
    let spans = spans.flat_map(|of| &of.scope_spans).flat_map(|scope| &scope.spans);
    spans.map(|span| span.trace_id.clone()).collect()
}

pub(super) fn items(received: &Received) -> Vec<Item> {
    let mut items = Vec::new();
    for of in received.traces.iter().flat_map(|request| &request.resource_spans) {
        for scope in &of.scope_spans {
            let schemas = [&of.schema_url, &scope.schema_url];
            let whats = scope.spans.iter().map(span);
            put(&mut items, of.resource.as_ref(), scope.scope.as_ref(), schemas, whats);
        }
    }
    for of in received.logs.iter().flat_map(|request| &request.resource_logs) {
        for scope in &of.scope_logs {
            let schemas = [&of.schema_url, &scope.schema_url];
            let whats = scope.log_records.iter().cloned().map(What::Log);
            put(&mut items, of.resource.as_ref(), scope.scope.as_ref(), schemas, whats);
        }
    }
    for of in received.metrics.iter().flat_map(|request| &request.resource_metrics) {
        for scope in &of.scope_metrics {
            let schemas = [&of.schema_url, &scope.schema_url];
            let whats = scope.metrics.iter().flat_map(points).map(What::Point);
            put(&mut items, of.resource.as_ref(), scope.scope.as_ref(), schemas, whats);
        }
    }
    items
}

// A collector puts an unset status where there is none, which means the same.
fn span(span: &Span) -> What {
    let status = Some(span.status.clone().unwrap_or_default());
    What::Span(Span { status, ..span.clone() })
}

fn put(
    items: &mut Vec<Item>,
    resource: Option<&Resource>,
    scope: Option<&InstrumentationScope>,
    schemas: [&String; 2],
    whats: impl Iterator<Item = What>,
) {
    let resource = resource.cloned().unwrap_or_default();
    let scope = scope.cloned().unwrap_or_default();
    items.extend(whats.map(|what| Item {
        resource: resource.clone(),
        scope: scope.clone(),
        schemas: schemas.map(Clone::clone),
        what,
    }));
}

fn points(metric: &Metric) -> Vec<Metric> {
    let with = |data: Data| Metric { data: Some(data), ..metric.clone() };
    match metric.data.as_ref().unwrap() {
        Data::Gauge(data) => {
            let of = |point: &metrics::NumberDataPoint| metrics::Gauge {
                data_points: vec![point.clone()],
            };
            data.data_points.iter().map(|point| with(Data::Gauge(of(point)))).collect()
        }
        Data::Sum(data) => {
            let of = |point: &metrics::NumberDataPoint| metrics::Sum {
                data_points: vec![point.clone()],
                ..data.clone()
            };
            data.data_points.iter().map(|point| with(Data::Sum(of(point)))).collect()
        }
        Data::Histogram(data) => {
            let of = |point: &metrics::HistogramDataPoint| metrics::Histogram {
                data_points: vec![point.clone()],
                ..data.clone()
            };
            data.data_points.iter().map(|point| with(Data::Histogram(of(point)))).collect()
        }
        other => panic!("{} is sent as {other:?}", metric.name),
    }
}

/// How often each is there, whatever its place and the order of attributes.
pub(super) fn counted(items: &[Item]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for item in items {
        let mut item = item.clone();
        sort(item.attributes_mut());
        sort(&mut item.resource.attributes);
        sort(&mut item.scope.attributes);
        if let What::Span(span) = &mut item.what {
            span.events.iter_mut().for_each(|event| sort(&mut event.attributes));
        }
        *counts.entry(format!("{item:?}")).or_default() += 1;
    }
    counts
}

fn sort(attributes: &mut [KeyValue]) {
    attributes.sort_by(|one, other| one.key.cmp(&other.key));
}

impl std::fmt::Debug for Item {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { resource, scope, schemas, what } = self;
        write!(f, "{what:?} {resource:?} {scope:?} {schemas:?}")
    }
}

/// Nothing is lost, nothing doubled, nothing changed.
pub(super) fn assert_same(actual: &[Item], expected: &[Item]) {
    compare(&counted(actual), &counted(expected));
}

/// Nothing is lost and nothing changed; some may be there twice.
pub(super) fn assert_at_least_once(actual: &[Item], expected: &[Item]) {
    let once = |items| counted(items).into_keys().map(|item| (item, 1)).collect();
    compare(&once(actual), &once(expected));
}

fn compare(actual: &BTreeMap<String, usize>, expected: &BTreeMap<String, usize>) {
    let without = |of: &BTreeMap<String, usize>, from: &BTreeMap<String, usize>| {
        let missing = of.iter().filter(|(item, count)| from.get(*item) != Some(count));
        missing.map(|(item, count)| format!("{count} x {item}")).collect::<Vec<_>>()
    };
    let (lost, new) = (without(expected, actual), without(actual, expected));
    assert!(
        lost.is_empty() && new.is_empty(),
        "{} lost, {} new: {:#?}\n{:#?}",
        lost.len(),
        new.len(),
        lost.first(),
        new.first()
    );
}
