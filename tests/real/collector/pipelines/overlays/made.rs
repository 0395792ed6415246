//! Telemetry made up of given attributes.

use livekit_otel_tools::demo::Received;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, exemplar,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{
    ResourceSpans, ScopeSpans, Span, Status, span::Event, status::StatusCode,
};

use super::super::items::attribute;

pub(super) type Attributes<'a> = &'a [(&'a str, &'a str)];

/// A span with an event, a log record, and a point with an exemplar.
#[derive(Default)]
pub(super) struct Made<'a> {
    /// Of the resource and the scope.
    pub(super) around: Attributes<'a>,
    /// Of the span, its event, the record and the point.
    pub(super) own: Attributes<'a>,
    pub(super) exemplar: Attributes<'a>,
    /// The span's, which failed.
    pub(super) status: &'a str,
}

fn attributes(of: Attributes<'_>) -> Vec<KeyValue> {
    of.iter().map(|(key, value)| attribute(key, value)).collect()
}

impl Made<'_> {
    pub(super) fn received(&self) -> Received {
        let around = || (Some(self.resource()), Some(self.scope()));
        let ((resource, scope), spans) = (around(), vec![self.span()]);
        let scope_spans = vec![ScopeSpans { scope, spans, ..Default::default() }];
        let spans = ResourceSpans { resource, scope_spans, ..Default::default() };
        let ((resource, scope), log_records) = (around(), vec![self.record()]);
        let scope_logs = vec![ScopeLogs { scope, log_records, ..Default::default() }];
        let logs = ResourceLogs { resource, scope_logs, ..Default::default() };
        let ((resource, scope), metrics) = (around(), vec![self.metric()]);
        let scope_metrics = vec![ScopeMetrics { scope, metrics, ..Default::default() }];
        let metrics = ResourceMetrics { resource, scope_metrics, ..Default::default() };
        Received {
            traces: vec![ExportTraceServiceRequest { resource_spans: vec![spans] }],
            logs: vec![ExportLogsServiceRequest { resource_logs: vec![logs] }],
            metrics: vec![ExportMetricsServiceRequest { resource_metrics: vec![metrics] }],
        }
    }

    fn resource(&self) -> Resource {
        Resource { attributes: attributes(self.around), ..Default::default() }
    }

    fn scope(&self) -> InstrumentationScope {
        let attributes = attributes(self.around);
        InstrumentationScope { name: "made".to_owned(), attributes, ..Default::default() }
    }

    fn span(&self) -> Span {
        let attributes = attributes(self.own);
        let event = Event { attributes: attributes.clone(), ..Default::default() };
        let status = Status { code: StatusCode::Error.into(), message: self.status.to_owned() };
        Span {
            trace_id: vec![1; 16],
            span_id: vec![2; 8],
            name: "made".to_owned(),
            attributes,
            events: vec![event],
            status: Some(status),
            ..Default::default()
        }
    }

    fn record(&self) -> LogRecord {
        let body = attribute("", "made").value;
        LogRecord { body, attributes: attributes(self.own), ..Default::default() }
    }

    fn metric(&self) -> Metric {
        let exemplar = Exemplar {
            filtered_attributes: attributes(self.exemplar),
            value: Some(exemplar::Value::AsDouble(1.0)),
            ..Default::default()
        };
        let point = NumberDataPoint {
            time_unix_nano: 1,
            attributes: attributes(self.own),
            exemplars: vec![exemplar],
            value: Some(Value::AsDouble(1.0)),
            ..Default::default()
        };
        let data = Some(Data::Gauge(Gauge { data_points: vec![point] }));
        Metric { name: "made".to_owned(), data, ..Default::default() }
    }
}
