//! What an OTLP request holds, by name, without attributes, bodies and values.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::{DecodeError, Message};

use livekit_otel_model::Signal;

/// The spans, log records or metrics of a request in protobuf: how many there are of each name. A log record without
/// an event name has an empty one.
///
/// # Errors
/// If it is not a request of that signal.
pub fn names(signal: Signal, request: &[u8]) -> Result<BTreeMap<String, u64>, DecodeError> {
    let mut names = BTreeMap::new();
    let mut count = |name: String| *names.entry(name).or_default() += 1;
    match signal {
        Signal::Traces => {
            let request = ExportTraceServiceRequest::decode(request)?;
            let scopes = request.resource_spans.into_iter().flat_map(|it| it.scope_spans);
            scopes.flat_map(|it| it.spans).for_each(|span| count(span.name));
        }
        Signal::Logs => {
            let request = ExportLogsServiceRequest::decode(request)?;
            let scopes = request.resource_logs.into_iter().flat_map(|it| it.scope_logs);
            scopes.flat_map(|it| it.log_records).for_each(|record| count(record.event_name));
        }
        Signal::Metrics => {
            let request = ExportMetricsServiceRequest::decode(request)?;
            let scopes = request.resource_metrics.into_iter().flat_map(|it| it.scope_metrics);
            scopes.flat_map(|it| it.metrics).for_each(|metric| count(metric.name));
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};

    use super::*;

    #[test]
    fn records_are_counted_by_name() {
        let record = |name: &str| LogRecord { event_name: name.to_owned(), ..LogRecord::default() };
        let log_records = vec![record("lk.room.created"), record(""), record("lk.room.created")];
        let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
        let resource_logs = vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }];
        let request = ExportLogsServiceRequest { resource_logs }.encode_to_vec();
        let expected = BTreeMap::from([(String::new(), 1), ("lk.room.created".to_owned(), 2)]);
        assert_eq!(names(Signal::Logs, &request).unwrap(), expected);
        assert!(names(Signal::Traces, b"\xff\xff").is_err());
    }
}
