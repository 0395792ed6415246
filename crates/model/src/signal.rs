//! The program's output before it is encoded as OTLP: finished spans, log records and metric points.
//! `session` and `stats` of the engine make them, the crate `export` encodes them.
//!
//! The enums are exhaustive on purpose: whatever encodes a record must handle each kind, so a new kind is
//! a breaking release.

mod attribute;
mod log;
mod metric;
mod span;

pub use attribute::{Attribute, Series, Value};
pub use log::{LogRecord, Severity};
pub use metric::{
    Column, Data, Exemplar, ExponentialPoint, HistogramPoint, Metric, Number, NumberPoint, Row,
    Table, Temporality,
};
pub use span::{Link, Span, SpanId, SpanKind, TraceId};
