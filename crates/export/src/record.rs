//! What is queued: one encoded span, log record or metric.

use bytes::Bytes;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};

use crate::privacy::Privacy;
use livekit_otel_model::signal::{Attribute, Value};

/// Who tells it: OTLP's instrumentation scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// LiveKit.
    LiveKit,
    /// This program, of itself.
    Own,
}

/// An encoded `Span`, `LogRecord` or `Metric`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Record {
    pub(super) scope: Scope,
    /// How many the ledger counts: a metric's points.
    pub(super) items: u64,
    pub(super) bytes: Bytes,
    /// Its place among all of LiveKit's that this directory ever had; 0 outside of one.
    pub(super) number: u64,
}

impl Record {
    /// Whether this program tells it of itself: told again and again, it is never kept on disk.
    pub(super) fn is_own(&self) -> bool {
        self.scope == Scope::Own
    }
}

/// How many the ledger counts.
pub(super) fn items(records: &[Record]) -> u64 {
    records.iter().map(|record| record.items).sum()
}

// A metric with more points than fit here leaves in parts, so that requests can be split.
pub(super) const POINTS_PER_METRIC: usize = 200;

/// The attributes of any record of LiveKit's: here personal data is kept, hashed or left out.
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
