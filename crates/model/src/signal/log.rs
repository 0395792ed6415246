//! Log records.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::attribute::Attribute;
use super::span::{SpanId, TraceId};
use crate::event::Time;

/// A log record's severity: OTLP's short names, the first number of each range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Severity {
    Debug,
    Info,
    Warn,
    Error,
}

/// A log record: one event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogRecord {
    /// Its `event_name`.
    pub event_name: Arc<str>,
    /// When it happened.
    pub time: Time,
    /// When it reached this program.
    pub observed: Time,
    /// Its severity.
    pub severity: Severity,
    /// The trace and the span that it belongs to.
    pub context: Option<(TraceId, SpanId)>,
    /// Its attributes.
    pub attributes: Vec<Attribute>,
}
