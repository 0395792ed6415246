//! What leaves, before it is OTLP: finished spans, log records and metric points in plain terms.
//! `session` and `stats` make them, `export` encodes them. Imports only [`crate::event::Time`].

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::event::Time;
use crate::interned::Name;

mod metric;
pub use metric::{
    Column, Data, Exemplar, ExponentialPoint, HistogramPoint, Metric, Number, NumberPoint, Row,
    Table, Temporality,
};

/// An attribute's value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Value {
    /// A flag.
    Bool(bool),
    /// A count, or a time in Unix nanoseconds.
    Int(i64),
    /// A measure.
    Float(f64),
    /// Text.
    Text(Arc<str>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(Arc::from(text))
    }
}

impl From<Arc<str>> for Value {
    fn from(text: Arc<str>) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Value {
    fn from(count: i64) -> Self {
        Self::Int(count)
    }
}

impl From<u64> for Value {
    fn from(count: u64) -> Self {
        Self::Int(i64::try_from(count).unwrap_or(i64::MAX))
    }
}

impl From<f64> for Value {
    fn from(measure: f64) -> Self {
        Self::Float(measure)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Bool(flag)
    }
}

/// A key of [`crate::semconv`] and its value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attribute {
    /// The key.
    #[serde(with = "crate::interned")]
    pub key: Name,
    /// The value.
    pub value: Value,
}

impl Attribute {
    /// An attribute of anything that is a [`Value`].
    pub fn new(key: &'static str, value: impl Into<Value>) -> Self {
        Self { key, value: value.into() }
    }
}

/// What a series is told apart by; a clone is the same. An encoder keeps the bytes that it makes of
/// them here, as a series has a point of each instrument at each flush.
#[derive(Clone)]
pub struct Series(Arc<Inner>);

struct Inner {
    attributes: Vec<Attribute>,
    // What the first encoder made, and which one that is.
    encoded: OnceLock<(u128, Box<[u8]>)>,
}

impl Series {
    /// The bytes that `encode` makes, kept for the first `encoder` that asks: encoders that make
    /// different bytes of the same attributes have different numbers.
    pub fn encoded(
        &self,
        encoder: u128,
        encode: impl Fn(&[Attribute]) -> Vec<u8>,
    ) -> Cow<'_, [u8]> {
        let make = || encode(&self.0.attributes);
        let (of, kept) = self.0.encoded.get_or_init(|| (encoder, make().into()));
        if *of == encoder { Cow::Borrowed(kept) } else { Cow::Owned(make()) }
    }
}

impl From<Vec<Attribute>> for Series {
    fn from(attributes: Vec<Attribute>) -> Self {
        Self(Arc::new(Inner { attributes, encoded: OnceLock::new() }))
    }
}

impl std::ops::Deref for Series {
    type Target = [Attribute];

    fn deref(&self) -> &[Attribute] {
        &self.0.attributes
    }
}

impl Serialize for Series {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.attributes.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Series {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Vec::deserialize(from).map(Self::from)
    }
}

impl PartialEq for Series {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl std::fmt::Debug for Series {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(&**self).finish()
    }
}

/// 16 bytes, never all zero.
pub type TraceId = [u8; 16];
/// 8 bytes, never all zero.
pub type SpanId = [u8; 8];

/// A finished span.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// Its trace.
    pub trace_id: TraceId,
    /// Its id.
    pub span_id: SpanId,
    /// The span above it; the room's has none.
    pub parent: Option<SpanId>,
    /// Its name (see [`crate::semconv::span`]).
    pub name: &'static str,
    /// Whether it is a call, and which end of it.
    pub kind: SpanKind,
    /// When it began.
    pub start: Time,
    /// When it ended; never before `start`.
    pub end: Time,
    /// Its attributes.
    pub attributes: Vec<Attribute>,
    /// Spans that it belongs to without being their child.
    pub links: Vec<Link>,
    /// The status message, where it failed; a span that did not has no status.
    pub failure: Option<Arc<str>>,
}

/// OTLP's kinds of spans, as far as LiveKit has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub enum SpanKind {
    #[default]
    Internal,
    Server,
    Client,
}

/// A reference from one span to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// The other's trace.
    pub trace_id: TraceId,
    /// The other's id.
    pub span_id: SpanId,
}

/// How much a log record matters: OTLP's short names, the first number of each range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Severity {
    Debug,
    Info,
    Warn,
    Error,
}

/// A log record: one event, told once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogRecord {
    /// Its `event_name`.
    pub event_name: Arc<str>,
    /// When it happened.
    pub time: Time,
    /// When it reached this program.
    pub observed: Time,
    /// How much it matters.
    pub severity: Severity,
    /// The trace and the span that it belongs to.
    pub context: Option<(TraceId, SpanId)>,
    /// Its attributes.
    pub attributes: Vec<Attribute>,
}
