//! Requests, and what was read of them put together again.

use livekit_otel_model::foreign::{ForeignLog, ForeignSpan, Origin};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, span};
use prost::Message;

pub(super) fn text(text: &str) -> Value {
    Value::StringValue(text.to_owned())
}

pub(super) fn attribute(key: &str, value: Value) -> KeyValue {
    let value = Some(AnyValue { value: Some(value) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

pub(super) fn span(attributes: Vec<KeyValue>) -> Span {
    Span {
        trace_id: vec![7; 16],
        span_id: vec![8; 8],
        name: "agent_turn".to_owned(),
        start_time_unix_nano: 1_795_981_975_000_000_000,
        end_time_unix_nano: 1_795_981_976_000_000_000,
        attributes,
        ..Span::default()
    }
}

pub(super) fn spans(spans: Vec<Span>) -> Vec<u8> {
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

pub(super) fn logs(scope: &str, log_records: Vec<LogRecord>) -> Vec<u8> {
    let scope = Some(InstrumentationScope { name: scope.to_owned(), ..Default::default() });
    let scope_logs = vec![ScopeLogs { scope, log_records, ..ScopeLogs::default() }];
    let resource_logs = vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }];
    ExportLogsServiceRequest { resource_logs }.encode_to_vec()
}

/// The span that leaves, if the engine changes nothing.
pub(super) fn sent_span(read: &ForeignSpan) -> Span {
    let links = read.links.iter().map(|link| span::Link {
        trace_id: link.to.0.to_vec(),
        span_id: link.to.1.to_vec(),
        ..span::Link::decode(link.body.sent.clone()).unwrap()
    });
    Span {
        trace_id: read.trace_id.to_vec(),
        span_id: read.span_id.to_vec(),
        parent_span_id: read.parent.map(|id| id.to_vec()).unwrap_or_default(),
        links: links.collect(),
        ..Span::decode(read.body.sent.clone()).unwrap()
    }
}

/// The log record that leaves, if the engine changes nothing.
pub(super) fn sent_log(read: &ForeignLog) -> LogRecord {
    let (trace_id, span_id) =
        read.context.map(|(trace, span)| (trace.to_vec(), span.to_vec())).unwrap_or_default();
    LogRecord { trace_id, span_id, ..LogRecord::decode(read.body.sent.clone()).unwrap() }
}

/// A resource without the attribute that has its own field, and its scope.
pub(super) fn sent_origin(origin: &Origin) -> (Resource, InstrumentationScope) {
    let resource = Resource::decode(origin.resource.clone()).unwrap();
    (resource, InstrumentationScope::decode(origin.scope.clone()).unwrap())
}

/// A resource as it is sent, but for the id of its process.
pub(super) fn without_process(resource: Option<Resource>) -> Resource {
    let mut resource = resource.unwrap_or_default();
    resource.attributes.retain(|attribute| attribute.key != "service.instance.id");
    resource
}
