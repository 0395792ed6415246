//! What a queue holds: encoded spans, log records and metrics.

use bytes::Bytes;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};

use livekit_otel_model::privacy::Privacy;
use livekit_otel_model::signal::{Attribute, Value};

/// The source of a record, which decides under which resource and scope it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// LiveKit.
    LiveKit,
    /// This program's own metrics.
    Own,
    /// Another program: the record has its resource and its scope.
    Foreign,
}

/// An encoded `Span`, `LogRecord` or `Metric`; of another program, a whole `ResourceSpans`, `ResourceLogs` or
/// `ResourceMetrics`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Record {
    pub(super) scope: Scope,
    /// What the ledger counts: spans, log records or points.
    pub(super) items: u64,
    pub(super) bytes: Bytes,
    /// Its number among all records that the outbox ever had; 0 without an outbox, and for the program's own.
    pub(super) number: u64,
}

impl Record {
    /// Whether it is one of the program's own metrics. A later report replaces it, so it is never on disk.
    pub(super) fn is_own(&self) -> bool {
        self.scope == Scope::Own
    }
}

/// The items of all `records`.
pub(super) fn items(records: &[Record]) -> u64 {
    records.iter().map(|record| record.items).sum()
}

/// A metric with more points is sent in parts, so that requests can be split.
pub(super) const POINTS_PER_METRIC: usize = 200;

/// Encodes the attributes of any of LiveKit's records: here personal data is kept, hashed or left out.
pub(super) fn attributes(privacy: &Privacy, attributes: &[Attribute]) -> Vec<KeyValue> {
    let value = |value: &Value| match value {
        Value::Bool(flag) => any_value::Value::BoolValue(*flag),
        Value::Int(count) => any_value::Value::IntValue(*count),
        Value::Float(measure) => any_value::Value::DoubleValue(*measure),
        Value::Text(text) => any_value::Value::StringValue(text.to_string()),
    };
    attributes
        .iter()
        .filter_map(|attribute| {
            let sent = privacy.value(attribute.key, &attribute.value)?;
            Some(KeyValue {
                key: attribute.key.to_owned(),
                value: Some(AnyValue { value: Some(value(&sent)) }),
                ..Default::default()
            })
        })
        .collect()
}
